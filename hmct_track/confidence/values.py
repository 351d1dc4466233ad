"""From values per output and sample to a series per node, whose mean the ranking shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmct_track.metrics import Metric

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Means:
    """Means of nodes over samples and outputs, and what each sample has to do with them."""

    values: Floats
    """Per node, as the ranking shows it; NaN where there is none, infinite where all samples are.
    """
    series: Floats
    """Nodes by samples. The mean of a row, NaN left out, is the node's value; NaN where a sample
    was not measured or counts for nothing."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many samples each node's value rests on."""
        return np.asarray(np.isfinite(self.series).sum(axis=1), dtype=np.int64)


def means_of(values: Floats, metric: Metric) -> Means:
    """The means that the lake's ``mean_of`` gives, with a series of samples for each.

    Where all values are finite a sample's place in the series is its mean over outputs. Where some
    are not, the outputs' means are over other samples; then the series is that of the linear
    approximation of their mean, whose own mean is still exact.

    Args:
        values: nodes by outputs by samples; NaN where nothing was measured, or it is no number.
        metric: what they are, which says of two infinite values which is worse.
    """
    finite = np.isfinite(values)
    counts = finite.sum(axis=2, keepdims=True)
    known = np.where(finite, values, 0.0)
    per_output = known.sum(axis=2, keepdims=True) / np.maximum(counts, 1)
    has_any = counts[:, :, 0] > 0
    used = np.maximum(has_any.sum(axis=1), 1)
    value = np.where(has_any, per_output[:, :, 0], 0.0).sum(axis=1) / used
    # Each sample's pull on the mean, scaled so that the pulls average to nothing.
    drawn = finite.any(axis=1)
    total = drawn.sum(axis=1)[:, None, None]
    pulls = np.where(finite, (known - per_output) * total / np.maximum(counts, 1), 0.0)
    series = value[:, None] + pulls.sum(axis=1) / used[:, None]
    series = np.where(drawn, series, np.nan)
    lost = ~has_any.any(axis=1)
    value[lost] = [_infinite(row, metric) for row in values[lost]]
    return Means(value, series)


def _infinite(values: Floats, metric: Metric) -> float:
    """The worst infinite value; NaN if there is none."""
    found = values[np.isinf(values)]
    return max(map(float, found), key=metric.badness) if found.size else math.nan
