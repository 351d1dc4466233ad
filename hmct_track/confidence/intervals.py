"""Intervals of means: Student's for few samples, a studentized bootstrap from eight on.

The bootstrap resamples whole samples, the same ones for all nodes. The plain percentiles of its
means are too narrow for few and skewed samples, which errors are; scaled by each resample's own
standard error they are not (B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993,
section 12.5).

Errors have long tails that a few samples do not show. So the worse end of an interval of what is no
decibel is at least what Student's t gives with the scatter of a log-normal distribution of the same
logarithms, as in `hmct_track.confidence.racing`. Measured: benchmarks/confidence.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmct_track.confidence.values import Floats, Means
from hmct_track.metrics import Metric

LEVEL = 0.95
"""The share of such intervals that hold what they are of."""

BOOTSTRAP_FROM = 8
"""The number of samples from which resampling is better than Student's distribution."""

STUDENT, BOOTSTRAP, NONE = "student", "bootstrap", "none"

RESAMPLES = 2000
_DEEPEST = 1e-4
"""An error of a sample is not taken for a smaller part of the node's mean."""
_LONGEST_TAIL = 7.0
_MOST_VALUES = 4_000_000
_SEED = 20240229
"""Fixed, so that the same measurements give the same intervals."""


@dataclass(frozen=True)
class Intervals:
    """Of each node the interval of its mean; NaN where there is none."""

    low: Floats
    high: Floats
    methods: tuple[str, ...]
    """Of each node ``student``, ``bootstrap`` or ``none``."""


def mean_intervals(means: Means, metric: Metric | None = None, level: float = LEVEL) -> Intervals:
    """Two-sided intervals of the means that more samples of the same kind would give.

    A node measured on one sample, or without a finite value, has none.

    Args:
        means: the nodes.
        metric: what they are of: intervals end at its best value. None for what has no best.
        level: how often such intervals hold the mean, 0 to 1.
    """
    counts = means.counts
    low, high = np.full((2, len(counts)), np.nan)
    methods = [NONE] * len(counts)
    # Nodes of the same samples share their resamples.
    known = np.isfinite(means.series)
    for pattern in np.unique(known, axis=0):
        chosen = np.flatnonzero((known == pattern).all(axis=1))
        number = int(pattern.sum())
        if number < 2:
            continue
        series = means.series[chosen][:, pattern]
        resampled = number >= BOOTSTRAP_FROM
        ends = (_bootstrap if resampled else student)(series, level)
        if resampled and metric is not None and np.isfinite(metric.optimum):
            ends = _with_tail(*ends, series, metric, level)
        low[chosen], high[chosen] = ends
        for k in chosen:
            methods[k] = BOOTSTRAP if resampled else STUDENT
    if metric is None:
        return Intervals(low, high, tuple(methods))
    if metric is Metric.COSINE_SIMILARITY:
        low = np.maximum(low, -1.0)
    if metric.higher_is_better:
        return Intervals(low, np.minimum(high, metric.optimum), tuple(methods))
    return Intervals(np.maximum(low, metric.optimum), high, tuple(methods))


def student(series: Floats, level: float) -> tuple[Floats, Floats]:
    """Student's intervals of the means of rows of at least two values."""
    from scipy.special import stdtrit  # scipy.stats takes long to load

    number = series.shape[1]
    mean = series.mean(axis=1)
    width = stdtrit(number - 1, (1 + level) / 2) * series.std(axis=1, ddof=1) / np.sqrt(number)
    return mean - width, mean + width


def _with_tail(
    low: Floats, high: Floats, series: Floats, metric: Metric, level: float
) -> tuple[Floats, Floats]:
    """Intervals whose worse end allows for a log-normal tail."""
    from scipy.special import stdtrit  # scipy.stats takes long to load

    number, sign = series.shape[1], -1.0 if metric.higher_is_better else 1.0
    errors = np.maximum(sign * (series - metric.optimum), 0.0)
    mean = errors.mean(axis=1)
    parts = np.divide(errors, mean[:, None], out=np.ones_like(errors), where=mean[:, None] > 0)
    spread = np.log(np.maximum(parts, _DEEPEST)).var(axis=1, ddof=1)
    scatter = np.sqrt(np.expm1(np.minimum(spread, _LONGEST_TAIL)))
    reach = stdtrit(number - 1, (1 + level) / 2) * scatter * mean / np.sqrt(number)
    worst = metric.optimum + sign * (mean + reach)
    if metric.higher_is_better:
        return np.minimum(low, worst), high
    return low, np.maximum(high, worst)


def _bootstrap(series: Floats, level: float) -> tuple[Floats, Floats]:
    number = series.shape[1]
    mean, error = series.mean(axis=1), series.std(axis=1, ddof=1) / np.sqrt(number)
    away = series - mean[:, None]  # small beside a mean near 1, so that squares lose no digits
    weights = resampling(number, resamples_for(len(series))) / number
    drawn = away @ weights
    spread = np.sqrt(np.maximum(away**2 @ weights - drawn**2, 0.0) / (number - 1))
    scaled = np.divide(drawn, spread, out=np.zeros_like(drawn), where=spread > 0)
    first, last = np.quantile(scaled, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return mean - last * error, mean - first * error


def resampling(samples: int, count: int) -> Floats:
    """How often each sample is in each resample: samples by resamples."""
    random = np.random.default_rng(_SEED)
    drawn = random.multinomial(samples, np.full(samples, 1 / samples), count)
    return np.ascontiguousarray(drawn.T, dtype=np.float64)


def resamples_for(nodes: int) -> int:
    """How many resamples so many nodes can afford."""
    return int(np.clip(_MOST_VALUES // max(nodes, 1), 400, RESAMPLES))
