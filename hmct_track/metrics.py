"""The metrics, as data: what each is called, which way is better, its unit, optimum and formula.

Nothing else spells these out. `METRICS` has an entry for each; the lake makes its SQL macro
``badness`` of it. Its formula is evaluated in ``queries/metric_rows.sql``. Imports nothing heavy.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


class Metric(enum.StrEnum):
    """How far a quantized output y is from the float output x, both flattened.

    The formulas are evaluated in SQL on the sums of `PairStatistics`.
    """

    COSINE_SIMILARITY = "cosine-similarity"
    MSE = "mse"
    MRE = "mre"
    SQNR = "sqnr"
    CHEBYSHEV = "chebyshev"

    @property
    def column(self) -> str:
        """Name of the metric's column in SQL."""
        return self.value.replace("-", "_")

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value means a smaller error."""
        return METRICS[self].higher_is_better

    @property
    def unit(self) -> str:
        """``dB``, or empty for a plain number or one in the unit of the output."""
        return METRICS[self].unit

    @property
    def optimum(self) -> float:
        """The value of equal outputs; may be infinite."""
        return METRICS[self].optimum

    @property
    def formula(self) -> str:
        """Of x float, y quantized and d = x - y."""
        return METRICS[self].formula

    def badness(self, value: float | None) -> float:
        """How bad a value is: larger is worse; infinity where there is no value or it is NaN.

        The SQL macro of this name gives NULL where there is no value.
        """
        if value is None or math.isnan(value):
            return math.inf
        return -value if self.higher_is_better else value

    def error(self, value: float) -> float:
        """A value as an error that is 0 at best and grows in proportion to it.

        Decibels become the amplitude of the noise relative to the output.
        """
        if self.unit == "dB":
            return float(10 ** (-value / 20))
        return max(self.badness(value) - self.badness(self.optimum), 0.0)


@dataclass(frozen=True, kw_only=True)
class MetricFacts:
    """What is to be known of a metric."""

    higher_is_better: bool
    optimum: float
    formula: str
    unit: str = ""


METRICS: Mapping[Metric, MetricFacts] = MappingProxyType(
    {
        Metric.COSINE_SIMILARITY: MetricFacts(
            higher_is_better=True,
            optimum=1.0,
            formula="x.y / (max(|x|, 1e-8) max(|y|, 1e-8)), -1 to 1; 1 where x = y",
        ),
        Metric.MSE: MetricFacts(higher_is_better=False, optimum=0.0, formula="mean of d^2"),
        Metric.MRE: MetricFacts(
            higher_is_better=False, optimum=0.0, formula="sum of |d| / sum of |x|; 0 where x = y"
        ),
        Metric.SQNR: MetricFacts(
            higher_is_better=True,
            optimum=math.inf,
            formula="20 log10(|x| / |d|) in dB; infinite where x = y",
            unit="dB",
        ),
        Metric.CHEBYSHEV: MetricFacts(higher_is_better=False, optimum=0.0, formula="largest |d|"),
    }
)
"""What is known of every metric."""


def value_of(row: Mapping[str, Any], metric: Metric) -> float | None:
    """A metric in a row that has a column for each, such as those of ``sensitivity``.

    None where it is NaN for every sample.
    """
    value: float | None = row[metric.column]
    return value
