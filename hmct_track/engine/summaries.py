"""Exact statistics of the values of a tensor over samples, whole and channel by channel.

A tensor comes as its arrays, one per sample, of which few are in memory at a time (see `Spill`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.errors import UsageError
from hmct_track.types import ChannelSummary, TensorSummary

MOST_OUTLIERS = 100
"""Outliers kept per channel."""

_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
_DIGIT = 16
"""Bits by which order statistics are narrowed down in each pass."""

BLOCK_VALUES = 1 << 23
"""Channels are summarized in groups of about so many values, 64 MB in float64."""


def summarize(parts: Sequence[NDArray[Any]]) -> TensorSummary:
    """Statistics of all values of a real tensor, in float64.

    Of a tensor without finite values everything but the counts is NaN.

    Args:
        parts: the tensor's arrays, of any shapes and one dtype.
    """
    count = sum(part.size for part in parts)
    nan = sum(int(np.isnan(part).sum()) for part in parts)
    inf = sum(int(np.isinf(part).sum()) for part in parts)
    if count == nan + inf:
        none = math.nan
        return TensorSummary(
            count, none, none, none, none, none, none, none, none, none, none, 0, nan, inf
        )
    low, high = bounds_of(parts)
    finite = count - nan - inf
    mean = sum(float(values.sum()) for values in _finite(parts)) / finite
    squares = sum(float(np.square(values - mean).sum()) for values in _finite(parts))
    return TensorSummary(
        count,
        low,
        high,
        mean,
        math.sqrt(squares / finite),
        *_quantiles(parts, finite),
        max(-low, high),
        sum(part.size - int(np.count_nonzero(part)) for part in parts),
        nan,
        inf,
    )


def bounds_of(parts: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Smallest and largest finite value; 0 and 1 where there is none."""
    extremes = [(float(v.min()), float(v.max())) for v in _finite(parts) if v.size]
    return (
        min((low for low, _ in extremes), default=0.0),
        max((high for _, high in extremes), default=1.0),
    )


def histogram(
    parts: Sequence[NDArray[Any]], bins: int, bounds: tuple[float, float] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Counts of the finite values in bins of equal width.

    Args:
        parts: a real tensor's arrays, of any shapes.
        bins: number of bins.
        bounds: lowest and highest edge; those of the values by default.

    Returns:
        Edges, float64 of shape (bins + 1,), and counts, int64 of shape (bins,).
    """
    bounds = wide_enough(*(bounds or bounds_of(parts)), bins)
    edges = np.histogram_bin_edges([], bins=bins, range=bounds)
    counts = np.zeros(bins, np.int64)
    for values in _finite(parts):
        counts += np.histogram(values, bins=bins, range=bounds)[0]
    return edges, counts


def wide_enough(low: float, high: float, bins: int) -> tuple[float, float]:
    """The bounds, moved apart where float64 has not so many numbers between them as bins need.

    Equal bounds stay: NumPy gives them a width of one.
    """
    least = 2 * bins * float(np.spacing(max(abs(low), abs(high))))
    if (low == high and least < 1) or high - low >= least:
        return low, high
    middle = low + (high - low) / 2
    return middle - least, middle + least


def channel_summaries(parts: Sequence[NDArray[Any]], axis: int) -> list[ChannelSummary]:
    """Box statistics of the finite values of each channel along ``axis``.

    Whiskers reach to the last value within 1.5 times the interquartile range of the box (Tukey).

    Args:
        parts: a real tensor's arrays, of one size along ``axis``.
        axis: the dimension that holds the channels, inside the arrays.

    Raises:
        UsageError: the arrays differ in their number of channels.
    """
    sizes = {part.shape[axis] for part in parts}
    if len(sizes) > 1:
        raise UsageError(
            f"samples have {min(sizes)} to {max(sizes)} channels along axis {axis}; "
            "choose another axis, or samples of one shape"
        )
    (channels,) = sizes
    if not channels:
        raise UsageError(f"the tensor has no channels along axis {axis}, so nothing to show")
    values = sum(part.size for part in parts)
    group = max(1, BLOCK_VALUES * channels // max(values, 1))
    found: list[ChannelSummary] = []
    for first in range(0, channels, group):
        block = np.concatenate(
            [_by_channel(part, axis, slice(first, first + group)) for part in parts], axis=1
        )
        found += [_box(first + k, channel) for k, channel in enumerate(block)]
    return found


def _by_channel(part: NDArray[Any], axis: int, chosen: slice) -> NDArray[np.float64]:
    """Some channels as rows."""
    rows = np.moveaxis(part, axis, 0)[chosen]
    flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    return np.asarray(flat, np.float64)


def _box(place: int, channel: NDArray[np.float64]) -> ChannelSummary:
    channel = channel[np.isfinite(channel)]
    if not channel.size:
        none = math.nan
        return ChannelSummary(place, 0, none, none, none, none, none, none, none, none, 0, ())
    q25, median, q75 = np.quantile(channel, [0.25, 0.5, 0.75]).tolist()
    reach = 1.5 * (q75 - q25)
    inside = (channel >= q25 - reach) & (channel <= q75 + reach)
    beyond = np.sort(channel[~inside])
    kept = channel[inside]
    return ChannelSummary(
        place,
        channel.size,
        float(channel.min()),
        float(channel.max()),
        float(channel.mean()),
        q25,
        median,
        q75,
        float(kept.min()),
        float(kept.max()),
        beyond.size,
        tuple(_thinned(beyond).tolist()),
    )


def _thinned(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most MOST_OUTLIERS of sorted values, evenly by rank, first and last included."""
    if ordered.size <= MOST_OUTLIERS:
        return ordered
    ranks = np.linspace(0, ordered.size - 1, MOST_OUTLIERS).round().astype(np.intp)
    return np.take(ordered, ranks)


def _finite(parts: Sequence[NDArray[Any]]) -> Iterator[NDArray[np.float64]]:
    for part in parts:
        yield part[np.isfinite(part)].astype(np.float64)


def _quantiles(
    parts: Sequence[NDArray[Any]], finite: int
) -> tuple[float, float, float, float, float]:
    """Quantiles of the finite values, between two values by linear interpolation as in NumPy."""
    places = [(finite - 1) * q for q in _QUANTILES]
    wanted = sorted({rank for at in places for rank in (math.floor(at), math.ceil(at))})
    value = dict(zip(wanted, _order_statistics(parts, wanted), strict=True))

    def between(at: float) -> float:
        low, high = value[math.floor(at)], value[math.ceil(at)]
        return low + (high - low) * (at - math.floor(at))

    q01, q25, median, q75, q99 = map(between, places)
    return q01, q25, median, q75, q99


def _order_statistics(parts: Sequence[NDArray[Any]], ranks: Sequence[int]) -> list[float]:
    """The finite values of these ranks, exactly, without sorting: a radix select.

    Each pass counts the values by the next 16 bits, among those that share a rank's bits so far.
    """
    dtype = parts[0].dtype
    bits = 8 * dtype.itemsize
    prefixes, below = [0] * len(ranks), list(ranks)
    for shift in range(bits - _DIGIT, -1, -_DIGIT):
        counts = {prefix: np.zeros(1 << _DIGIT, np.int64) for prefix in prefixes}
        for part in parts:
            keys = _ordered_keys(part[np.isfinite(part)])
            digits = (keys >> np.array(shift, keys.dtype)) & np.array((1 << _DIGIT) - 1, keys.dtype)
            for prefix in counts:
                alike = digits
                if shift + _DIGIT < bits:
                    alike = digits[keys >> np.array(shift + _DIGIT, keys.dtype) == prefix]
                counts[prefix] += np.bincount(alike.astype(np.intp), minlength=1 << _DIGIT)
        for k, prefix in enumerate(prefixes):
            cumulative = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(cumulative, below[k], side="right"))
            below[k] -= int(cumulative[digit - 1]) if digit else 0
            prefixes[k] = prefix << _DIGIT | digit
    keys = np.array(prefixes, f"u{dtype.itemsize}")
    top = np.array(1 << (bits - 1), keys.dtype)
    return [float(v) for v in np.where(keys & top, keys ^ top, ~keys).view(dtype)]


def _ordered_keys(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers in the order of floats: their bits, the sign bit turned, negatives reversed."""
    keys = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
    top = np.array(1 << (8 * values.dtype.itemsize - 1), keys.dtype)
    return np.where(keys & top, ~keys, keys ^ top)
