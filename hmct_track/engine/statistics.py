"""Sufficient statistics of a pair of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.types import PairStatistics

CHUNK = 1 << 16
"""Elements at a time. A chunk stays in the cache, and takes long enough that threads that compare
do not wait for the interpreter's lock, which each step of NumPy takes anew."""


@dataclass(frozen=True)
class Sums:
    """What a pair's statistics need of one tensor alone."""

    squares: float
    magnitudes: float
    nonfinite: int


def tensor_sums(x: NDArray[Any]) -> Sums:
    """Sums over a tensor of any shape and real dtype."""
    x = x.reshape(-1)
    squares = magnitudes = 0.0
    bad = 0
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, x.size, CHUNK):
            a = x[start : start + CHUNK].astype(np.float64)
            own = _dot(a, a)
            squares += own
            magnitudes += float(np.abs(a).sum())
            bad += _nonfinite(a, own)
    return Sums(squares, magnitudes, bad)


def pair_statistics(x: NDArray[Any], y: NDArray[Any], sums: Sums | None = None) -> PairStatistics:
    """Statistics of float output ``x`` against quantized output ``y``.

    Args:
        x: any shape and real dtype.
        y: the shape of ``x``.
        sums: those of ``x``, where they are known from another pair.

    Returns:
        Sums accumulated in float64, chunk by chunk, so that big outputs are not copied whole.

    Raises:
        ValueError: the shapes differ.
    """
    if x.shape != y.shape:
        raise ValueError(f"shapes {x.shape} and {y.shape} differ")
    known = sums or tensor_sums(x)
    x, y = x.reshape(-1), y.reshape(-1)
    yy = xy = dd = abs_d = largest = 0.0
    bad = 0
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, x.size, CHUNK):
            a = x[start : start + CHUNK].astype(np.float64)
            b = y[start : start + CHUNK].astype(np.float64)
            own = _dot(b, b)
            yy += own
            bad += _nonfinite(b, own)
            xy += _dot(a, b)
            a -= b
            dd += _dot(a, a)
            np.abs(a, out=a)
            abs_d += float(a.sum())
            largest = float(np.maximum(largest, a.max()))
    return PairStatistics(
        x.size, known.squares, yy, xy, dd, abs_d, known.magnitudes, largest, known.nonfinite, bad
    )


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Their inner product, without BLAS, which would start threads of its own."""
    return float(np.einsum("i,i", a, b))


def _nonfinite(values: NDArray[np.float64], squares: float) -> int:
    """How many are NaN or infinite; none, where the sum of their squares is neither."""
    return 0 if isfinite(squares) else values.size - int(np.isfinite(values).sum())


class PairJudge:
    """Pair statistics of every output; see `PairStatistics`."""

    identity = "pair-statistics"

    def prepare(self, x: NDArray[Any], /) -> Sums:
        """Its own sums."""
        return tensor_sums(x)

    def judge_output(self, x: NDArray[Any], y: NDArray[Any], prepared: Sums, /) -> PairStatistics:
        """`pair_statistics`."""
        return pair_statistics(x, y, prepared)


PAIRS = PairJudge()
"""The judge that everything is measured with."""
