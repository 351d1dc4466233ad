"""Exact statistics of the values of a tensor, whole and channel by channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.types import ChannelSummary, TensorSummary

MOST_OUTLIERS = 100
"""Outliers kept per channel."""


def summarize(values: NDArray[Any]) -> TensorSummary:
    """Statistics of all values of a real tensor of any shape, in float64.

    Of a tensor without finite values everything but the counts is NaN.
    """
    flat = values.reshape(-1)
    finite = flat[np.isfinite(flat)].astype(np.float64)
    nan = int(np.isnan(flat).sum())
    bad = flat.size - finite.size
    if not finite.size:
        none = float("nan")
        return TensorSummary(
            flat.size, none, none, none, none, none, none, none, none, none, none, 0, nan, bad - nan
        )
    q01, q25, median, q75, q99 = np.quantile(finite, [0.01, 0.25, 0.5, 0.75, 0.99]).tolist()
    low, high = float(finite.min()), float(finite.max())
    return TensorSummary(
        flat.size,
        low,
        high,
        float(finite.mean()),
        float(finite.std()),
        q01,
        q25,
        median,
        q75,
        q99,
        max(-low, high),
        int((finite == 0).sum()),
        nan,
        bad - nan,
    )


def histogram(
    values: NDArray[Any], bins: int, bounds: tuple[float, float] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Counts of the finite values in bins of equal width.

    Args:
        values: a real tensor of any shape.
        bins: number of bins.
        bounds: lowest and highest edge; those of the values by default.

    Returns:
        Edges, float64 of shape (bins + 1,), and counts, int64 of shape (bins,).
    """
    flat = values.reshape(-1)
    finite = flat[np.isfinite(flat)].astype(np.float64)
    if bounds is None:
        bounds = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    counts, edges = np.histogram(finite, bins=bins, range=bounds)
    return edges, counts.astype(np.int64)


def channel_summaries(values: NDArray[Any], axis: int) -> list[ChannelSummary]:
    """Box statistics of each channel along ``axis``.

    Whiskers reach to the last value within 1.5 times the interquartile range of the box (Tukey).

    Args:
        values: a real tensor of finite values.
        axis: the dimension that holds the channels, inside the tensor.
    """
    channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float64)
    q25, median, q75 = np.quantile(channels, [0.25, 0.5, 0.75], axis=1)
    means = channels.mean(axis=1)
    reach = 1.5 * (q75 - q25)
    found = []
    for k, channel in enumerate(channels):
        inside = (channel >= q25[k] - reach[k]) & (channel <= q75[k] + reach[k])
        beyond = np.sort(channel[~inside])
        kept = channel[inside]
        found.append(
            ChannelSummary(
                k,
                channel.size,
                float(channel.min()),
                float(channel.max()),
                float(means[k]),
                float(q25[k]),
                float(median[k]),
                float(q75[k]),
                float(kept.min()),
                float(kept.max()),
                beyond.size,
                tuple(_thinned(beyond).tolist()),
            )
        )
    return found


def _thinned(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most MOST_OUTLIERS of sorted values, evenly by rank, first and last included."""
    if ordered.size <= MOST_OUTLIERS:
        return ordered
    ranks = np.linspace(0, ordered.size - 1, MOST_OUTLIERS).round().astype(np.intp)
    return np.take(ordered, ranks)
