"""What share of the whole model's error belongs to a node: ratios of means, with intervals.

Everything is measured on the same moved copies of the same samples, so that differences are
paired. A share is a ratio of two means; its interval is that of the mean of the linear
approximation (W. G. Cochran, Sampling Techniques, 1977, section 2.11). Of several samples the
samples are what scatters, with the rounding that is in them; of one sample its copies, which is
rounding alone. Intervals are Student's: copies give few different values, of which a bootstrap
makes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmct_track.confidence.intervals import LEVEL, student
from hmct_track.confidence.values import Floats


@dataclass(frozen=True)
class Shares:
    """Of each part its share of the whole, 1 being all of it."""

    values: Floats
    low: Floats
    high: Floats
    rounding: Floats
    """Standard deviation of the value that rounding alone makes; NaN of one copy."""
    surely: Floats
    """How far the value is from 0 beyond what chance makes of any of them; 0 if it is not."""


def shares(parts: Floats, whole: Floats, level: float = LEVEL) -> Shares:
    """Shares of errors, or of differences of errors, in the whole model's error.

    Args:
        parts: nodes by outputs by samples by copies.
        whole: the whole model's error: outputs by samples by copies. An output without any error
            has no shares.
        level: of the intervals; and of all nodes together where they are told from 0.

    Returns:
        The mean over outputs. NaN where there is nothing to take a share of.
    """
    nodes, _, samples, copies = parts.shape
    full = whole.mean(axis=(1, 2))
    used = full > 0
    if not used.any() or not samples * copies:
        none = np.full(nodes, np.nan)
        return Shares(none, none, none, none, np.zeros(nodes))
    parts, whole, full = parts[:, used], whole[used], full[used]
    per_output = parts.mean(axis=(2, 3)) / full
    values = per_output.mean(axis=1)
    left = parts - per_output[:, :, None, None] * whole
    away = (left / full[:, None, None]).mean(axis=1)
    series = values[:, None] + (away.mean(axis=2) if samples > 1 else away[:, 0])
    low, high = np.full((2, nodes), np.nan) if series.shape[1] < 2 else student(series, level)
    rounding = np.full(nodes, np.nan)
    if copies > 1:
        rounding = np.sqrt(away.var(axis=2, ddof=1).mean(axis=1) / (copies * samples))
    return Shares(values, low, high, rounding, _surely(values, series, nodes, level))


def _surely(values: Floats, series: Floats, nodes: int, level: float) -> Floats:
    """Student's t at a level for all nodes together: by Bonferroni."""
    if series.shape[1] < 2:
        return np.zeros(nodes)
    low, high = student(series, 1 - (1 - level) / max(nodes, 1))
    return np.where(low > 0, low, np.where(high < 0, high, 0.0))
