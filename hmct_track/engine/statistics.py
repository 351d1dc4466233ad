"""Sufficient statistics of a pair of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.types import PairStatistics

_CHUNK = 1 << 13  # stays in the cache, and below where BLAS starts threads of its own


def pair_statistics(x: NDArray[Any], y: NDArray[Any]) -> PairStatistics:
    """Statistics of float output ``x`` against quantized output ``y``.

    Args:
        x: any shape and real dtype.
        y: the shape of ``x``.

    Returns:
        Sums accumulated in float64, chunk by chunk, so that big outputs are not copied whole.

    Raises:
        ValueError: the shapes differ.
    """
    if x.shape != y.shape:
        raise ValueError(f"shapes {x.shape} and {y.shape} differ")
    x, y = x.reshape(-1), y.reshape(-1)
    sums = np.zeros(6)
    largest = 0.0
    bad_x = bad_y = 0
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, x.size, _CHUNK):
            a = x[start : start + _CHUNK].astype(np.float64)
            b = y[start : start + _CHUNK].astype(np.float64)
            d = a - b
            magnitude = np.abs(d)
            sums += (a @ a, b @ b, a @ b, d @ d, magnitude.sum(), np.abs(a).sum())
            largest = float(np.maximum(largest, magnitude.max()))
            bad_x += a.size - int(np.isfinite(a).sum())
            bad_y += b.size - int(np.isfinite(b).sum())
    xx, yy, xy, dd, abs_d, abs_x = sums.tolist()
    return PairStatistics(x.size, xx, yy, xy, dd, abs_d, abs_x, largest, bad_x, bad_y)
