"""Whether a mended model is better, by samples that chose nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmct_track.confidence.intervals import student

LEVEL = 0.95
"""Of the intervals."""


@dataclass(frozen=True)
class Gain:
    """A mean gain in dB, paired by sample, and the ends of its 95 % interval (Student's t)."""

    mean: float
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether 0 is outside the interval: better or worse is more than chance."""
        return self.low > 0 or self.high < 0


def gain_of(values: Sequence[float] | NDArray[np.float64]) -> Gain | None:
    """The gain that samples show; None where fewer than two of them have a finite one."""
    finite = np.array(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if len(finite) < 2:
        return None
    (low,), (high,) = student(finite[None], LEVEL)
    return Gain(float(finite.mean()), float(low), float(high))


def is_better(by_mean: bool, outputs: Gain | None, compared: Gain | None) -> bool:
    """Whether a mended model is to be written.

    The outputs decide where they tell. Where it could be chance, as with few numbers and few
    samples, what the search compared decides, if that tells. Else it is the mean of the outputs.

    Args:
        by_mean: whether the outputs are better in mean.
        outputs: the gain at the outputs.
        compared: the gain of what the search compared; see `hmct_track.remedies.tried.telling`.
    """
    for gain in (outputs, compared):
        if gain is not None and gain.tells:
            return gain.low > 0
    return by_mean
