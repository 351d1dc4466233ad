"""Intervals of proportions: of one, and of the difference of two of the same samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def wilson(hits: int, samples: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22, 1927.

    Args:
        hits: samples that are right, 0 to ``samples``.
        samples: at least 1.
        level: how often such intervals hold the proportion, 0 to 1.
    """
    z = _normal(level)
    share = hits / samples
    middle = (share + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    half /= 1 + z * z / samples
    return max(middle - half, 0.0), min(middle + half, 1.0)


def paired_difference(before: Floats, after: Floats, level: float) -> tuple[float, float]:
    """Interval of ``mean(before) - mean(after)`` of the same samples, each 0 or 1.

    Wilson's intervals of both, combined with the correlation of the two. Source: R. G. Newcombe,
    Improved confidence intervals for the difference between binomial proportions based on paired
    data, Statistics in Medicine 17, 1998, method 10.

    Args:
        before: of each sample whether it is right, shape (n,).
        after: likewise.
        level: as in `wilson`.
    """
    n = len(before)
    both = int(np.sum((before == 1) & (after == 1)))
    lost = int(np.sum((before == 1) & (after == 0)))
    won = int(np.sum((before == 0) & (after == 1)))
    none = n - both - lost - won
    first, second = (both + lost) / n, (both + won) / n
    low_1, high_1 = wilson(both + lost, n, level)
    low_2, high_2 = wilson(both + won, n, level)
    product = (both + lost) * (won + none) * (both + won) * (lost + none)
    excess: float = both * none - lost * won
    if excess > 0:
        excess = max(excess - n / 2, 0.0)
    phi = excess / math.sqrt(product) if product else 0.0
    down_1, up_1 = first - low_1, high_1 - first
    down_2, up_2 = second - low_2, high_2 - second
    drop = first - second
    low = drop - math.sqrt(max(down_1**2 - 2 * phi * down_1 * up_2 + up_2**2, 0.0))
    high = drop + math.sqrt(max(up_1**2 - 2 * phi * up_1 * down_2 + down_2**2, 0.0))
    return max(low, -1.0), min(high, 1.0)


def _normal(level: float) -> float:
    """How many standard deviations of a normal distribution hold ``level``."""
    from scipy.special import ndtri  # scipy.stats takes long to load

    return float(ndtri((1 + level) / 2))
