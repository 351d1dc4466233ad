"""What a plan is to reach, and how measured values stand to it: with a margin, and held out."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hmct_track.confidence.intervals import mean_intervals
from hmct_track.confidence.proportions import wilson
from hmct_track.confidence.values import Means
from hmct_track.errors import UsageError
from hmct_track.options import parse_metric
from hmct_track.types import Metric

Values = Mapping[str, NDArray[np.float64]]
"""Output to the metric of each sample, NaN where it has none; shape (samples,)."""

_FORM = re.compile(
    r"\s*(?P<name>[A-Za-z][\w-]*)\s*(?P<drop>drop)?\s*(?P<sign>>=|<=|>|<|≥|≤)"
    r"\s*(?P<value>[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(?P<unit>dB|%)?\s*"
)
_HINT = '"sqnr >= 30", "cosine-similarity >= 0.99" or "error <= 10 %"'
_POWERS = (Metric.MRE, Metric.CHEBYSHEV)
"""Metrics that grow as the amplitude of the error does: their squares add up."""


@dataclass(frozen=True)
class Lost:
    """What is lost of a score against the float model, in its own unit: less is better.

    It stands where a `Metric` does.
    """

    score: str
    unit: str = ""
    higher_is_better: bool = False
    optimum: float = 0.0

    @property
    def value(self) -> str:
        """Its name."""
        return f"{self.score} drop"

    def __str__(self) -> str:
        return self.value

    def badness(self, value: float | None) -> float:
        """How bad a value is: larger is worse; infinity where there is no value."""
        return math.inf if value is None or math.isnan(value) else value


@dataclass(frozen=True)
class Target:
    """A metric, or the error as a share of the fully quantized model's, and its threshold."""

    metric: Metric | Lost
    threshold: float
    """A value of the metric; of a share between 0 and 1."""
    is_share: bool = False
    """Whether the threshold is a share of the fully quantized model's mean squared error."""

    def __str__(self) -> str:
        if self.is_share:
            return f"error <= {100 * self.threshold:g} %"
        sign = ">=" if self.metric.higher_is_better else "<="
        unit = f" {self.metric.unit}" if self.metric.unit else ""
        return f"{self.metric} {sign} {self.threshold:g}{unit}"

    @property
    def limit(self) -> float:
        """The threshold as an error that adds up; see `power`."""
        return self.threshold if self.is_share else power(self.metric, self.threshold)

    def meets(self, value: float) -> bool:
        """Whether a value reaches it."""
        if self.is_share:
            return value <= self.threshold
        return self.metric.badness(value) <= self.metric.badness(self.threshold)

    def shown(self, value: float) -> str:
        """A value in words."""
        if self.is_share:
            return f"error {100 * value:.4g} %"
        unit = f" {self.metric.unit}" if self.metric.unit else ""
        return f"{self.metric} {value:.6g}{unit}"


def parse_target(text: str, scores: Collection[str] = ()) -> Target:
    """A target as it is written, such as ``sqnr >= 30`` or ``error <= 10 %``.

    ``cosine-similarity drop <= 0.01`` is a distance from the float model, and so is ``top1 drop <=
    0.5 %`` of a score: 0.005.

    Args:
        text: what was written.
        scores: names of the scores that are measured.

    Raises:
        UsageError: it is not understood, its metric is unknown, or no model could miss it.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise UsageError(f"target {text!r} is not understood; write it like {_HINT}")
    value, at_least = float(found["value"]), found["sign"] in (">=", ">", "≥")
    if found["name"] == "error":
        return _share(text, value, found["unit"], at_least=at_least)
    if found["name"] in scores:
        if not found["drop"] or at_least or found["unit"] == "dB" or value < 0:
            raise UsageError(
                f'target {text!r}: of a score write what may be lost, such as "top1 drop <= 0.5 %"'
            )
        return Target(Lost(found["name"]), value / 100 if found["unit"] == "%" else value)
    metric = parse_metric(found["name"])
    if found["unit"] == "%" or (found["unit"] == "dB" and metric.unit != "dB"):
        raise UsageError(f"target {text!r}: {metric} is not in {found['unit']}; write {_HINT}")
    if found["drop"]:
        if at_least or not math.isfinite(metric.optimum) or value < 0:
            raise UsageError(f"target {text!r}: a drop is <= a number above 0, and not of sqnr")
        value = metric.optimum - value if metric.higher_is_better else value
    elif at_least != metric.higher_is_better:
        sign = ">=" if metric.higher_is_better else "<="
        raise UsageError(f"target {text!r}: of {metric} better is {sign}; turn the sign round")
    if metric.badness(value) < metric.badness(metric.optimum):
        raise UsageError(
            f"target {text!r} is not reachable by any model: {metric} is at best {metric.optimum:g}"
        )
    return Target(metric, value)


def _share(text: str, value: float, unit: str | None, *, at_least: bool) -> Target:
    if unit == "dB" or at_least:
        raise UsageError(f"target {text!r}: an error is <= a share, such as error <= 10 %")
    share = value / 100 if unit == "%" else value
    if not 0 < share < 1:
        raise UsageError(
            f"target {text!r}: the error is a share of the fully quantized model's mse, above 0 "
            "and below 100 %"
        )
    return Target(Metric.MSE, share, is_share=True)


def power(metric: Metric | Lost, value: float) -> float:
    """A value as an error that adds up over independent causes: a power of noise; 0 at best."""
    if math.isnan(value):
        return math.inf
    if metric.unit == "dB":
        return float(10 ** (-value / 10)) if value > -3000 else math.inf
    error = max(metric.badness(value) - metric.badness(metric.optimum), 0.0)
    return error * error if metric in _POWERS else error


@dataclass(frozen=True)
class Reading:
    """What was measured of a configuration on some samples."""

    value: float
    """The metric, or the share; NaN where there is none."""
    series: NDArray[np.float64]
    """What each sample has to do with it: its mean is the value; not finite where a sample counts
    for nothing."""
    losing: int | None = None
    """Samples that lose something, of what is lost of a score; None of a metric."""

    @property
    def samples(self) -> int:
        """How many samples it rests on."""
        return len(self.series)

    @property
    def spread(self) -> float:
        """Standard deviation over the samples; 0 of one sample."""
        finite = self.series[np.isfinite(self.series)]
        return float(finite.std(ddof=1)) if len(finite) > 1 else 0.0


def read(target: Target, values: Values, whole: Values, losing: int | None = None) -> Reading:
    """The value of a configuration: the mean over samples per output, then over outputs.

    Infinite values are left out, unless there are no others, as in the views of the lake.

    Args:
        target: what is asked for.
        values: of the configuration.
        whole: of the fully quantized model, of the same samples.
        losing: samples that lose something of a score.
    """
    value = _mean(values)
    each = _by_sample(values)
    if target.is_share:
        scale, by_whole = _mean(whole), _by_sample(whole)
        value = value / scale if scale else 0.0
        # Of a ratio of means; source: Cochran, "Sampling Techniques", 1977, section 6.3.
        each = value + (each - value * by_whole) / scale if scale else each * 0
    return Reading(value, each, losing)


def _mean(values: Values) -> float:
    means = []
    for array in values.values():
        known = array[~np.isnan(array)]
        finite = known[np.isfinite(known)]
        if len(finite):
            means.append(float(finite.mean()))
        elif len(known):
            means.append(float(known[0]))
        else:
            return math.nan
    finite_means = [m for m in means if math.isfinite(m)]
    return float(np.mean(finite_means)) if finite_means else (means[0] if means else math.nan)


def _by_sample(values: Values) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.mean(np.stack(list(values.values())), axis=0)
    return found


def margin(reading: Reading, confidence: float, held_out: int) -> float:
    """How far a value may be worse on other samples, one-sided, in units of the value.

    ``t s sqrt(1/n + 1/m)``: the prediction interval of the mean of ``m`` further samples (of the
    expectation, where there are none) from ``n`` of standard deviation ``s``. Source: Hahn and
    Meeker, "Statistical Intervals", 1991, section 4.3.
    """
    if confidence <= 0.5 or reading.samples < 2:
        return 0.0
    unseen = _unseen(reading, 2 * confidence - 1)
    times = math.sqrt(1 / reading.samples + (1 / held_out if held_out else 0.0))
    return max(student(confidence, reading.samples - 1) * reading.spread * times, unseen)


def _unseen(reading: Reading, level: float) -> float:
    """What a score may lose more than the samples show, by Wilson's interval of those that lose.

    Where no sample loses anything, there is no spread, and yet one in so many may; 0 of a metric.
    """
    if reading.losing is None:
        return 0.0
    share = reading.losing / reading.samples
    return wilson(reading.losing, reading.samples, level)[1] - share


def error_of(target: Target, reading: Reading, by: float) -> float:
    """The error of a value that is worse by a margin; allowed up to ``target.limit``."""
    if target.is_share:
        return reading.value + by
    if math.isinf(reading.value):
        return power(target.metric, reading.value)
    worse = reading.value - by if target.metric.higher_is_better else reading.value + by
    return power(target.metric, worse)


def interval(reading: Reading, confidence: float = 0.9) -> tuple[float, float]:
    """Two-sided interval of the value that more samples of the same kind would give.

    Student's, a bootstrap from ten samples on; see `hmct_track.confidence`. NaN for one sample.
    """
    means = Means(np.array([reading.value]), reading.series[None])
    found = mean_intervals(means, level=confidence)
    high = float(found.high[0])
    if reading.losing is not None and reading.samples > 1:
        high = max(high, reading.value + _unseen(reading, confidence))
    return float(found.low[0]), high


@lru_cache(maxsize=64)
def student(probability: float, freedom: int) -> float:
    """Quantile of Student's distribution."""
    from scipy.special import stdtrit  # scipy.stats takes long to load

    return float(stdtrit(freedom, probability))
