"""Thresholds from histograms: percentile, KL divergence and mean squared error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.model import fake_quantize
from hmct_track.model.fakequant import derive
from hmct_track.types import QuantType

BINS = 2048
_KL_STEP = 8
_FRACTIONS = np.linspace(0.02, 1, 99)
_COARSE = np.linspace(1, 0.3, 29)
_LEAST = 1e-8

Range = tuple[float, float]


def percentile_range(
    counts: NDArray[np.int64], edges: NDArray[np.float64], percent: float, *, symmetric: bool
) -> Range:
    """The range that holds ``percent`` of the values: from zero, or cut alike at either end.

    Args:
        counts: values per bin, int64 of shape (bins,).
        edges: float64 of shape (bins + 1,); of absolute values if symmetric.
        percent: 0 to 100.
        symmetric: whether the histogram is of absolute values.
    """
    share = np.cumsum(counts) / max(counts.sum(), 1)
    cut = (1 - percent / 100) / (1 if symmetric else 2)
    high = edges[min(int(np.searchsorted(share, 1 - cut)), len(counts) - 1) + 1]
    low = edges[0] if symmetric else edges[int(np.searchsorted(share, cut, side="right"))]
    return float(low), float(high)


def kl_threshold(counts: NDArray[np.int64], edges: NDArray[np.float64], qtype: QuantType) -> float:
    """The threshold whose quantized histogram diverges least from the clipped one.

    Both are distributions over the bins of absolute values; source: Migacz, "8-bit inference with
    TensorRT", GTC 2017. As there, the first bin counts as the second does, because zeros after a
    Relu would drown all else. Types with more levels than bins clip nothing.
    """
    levels = qtype.qmax + 1
    heights = counts.astype(np.float64)
    heights[0] = min(heights[0], heights[1])
    best, chosen = np.inf, len(heights)
    for stop in range(levels, len(heights) + 1, _KL_STEP):
        inside = heights[:stop]
        clipped = inside.copy()
        clipped[-1] += heights[stop:].sum()
        level = np.arange(stop) * levels // stop
        filled = inside > 0
        per_level = np.bincount(level, inside, levels)
        share = per_level / np.maximum(np.bincount(level, filled, levels), 1)
        merged = np.where(filled, share[level], 0.0)
        divergence = _divergence(clipped, merged)
        if divergence < best:
            best, chosen = divergence, stop
    return float(edges[chosen])


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    p, q = p / max(p.sum(), 1e-12), q / max(q.sum(), 1e-12)
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], 1e-12))))


def mse_range(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    bounds: Range,
    qtype: QuantType,
    *,
    symmetric: bool,
) -> Range:
    """The part of a range, shrunk towards zero, in which quantizing gives the least squared error.

    Args:
        values: of any shape (n,), as the centres of bins.
        weights: how often each occurs, of shape (n,).
        bounds: minimum and maximum of the data.
        qtype: the type that is quantized to.
        symmetric: whether thresholds are absolute maxima.
    """
    best, chosen = np.inf, bounds
    for fraction in _FRACTIONS[::-1]:
        tried = (bounds[0] * fraction, bounds[1] * fraction)
        params = derive(
            qtype, _thresholds(tried, symmetric=symmetric), asymmetric=not symmetric, axis=0
        )
        error = float(((fake_quantize(values, params) - values) ** 2 * weights).sum())
        if error < best:
            best, chosen = error, tried
    return chosen


def _thresholds(bounds: Range, *, symmetric: bool) -> Sequence[float]:
    return [max(-bounds[0], bounds[1])] if symmetric else bounds


def mse_maxima(
    channels: NDArray[Any], maxima: NDArray[np.float64], qtype: QuantType
) -> NDArray[np.float64]:
    """For each channel the threshold, at most its maximum, of the least squared error.

    Args:
        channels: float values of shape (channels, n).
        maxima: the largest absolute value of each, of shape (channels,).
        qtype: the integer type that is quantized to.
    """
    best = np.full(len(maxima), np.inf)
    chosen = maxima.astype(np.float64)
    for fraction in _COARSE:
        tried = np.maximum(maxima * fraction, _LEAST)
        params = derive(qtype, tried.tolist(), asymmetric=False, axis=0)
        errors = ((fake_quantize(channels, params) - channels) ** 2).sum(1, dtype=np.float64)
        better = errors < best
        best = np.where(better, errors, best)
        chosen = np.where(better, tried, chosen)
    return chosen
