"""How far a choice among many configurations favours the samples that chose.

The margin of `target.margin` is that of one configuration. The cheapest of a thousand that keeps a
limit is likely to be one that these samples happen to favour, and misses it on others more often.
So the choice itself is repeated: half of the samples choose the cheapest that keeps the limit with
its margin, the other half judges, over many halvings (repeated learning-testing; source: Burman,
"A comparative study of ordinary cross-validation, v-fold cross-validation and the repeated
learning-testing methods", Biometrika 76, 1989). The margin is widened until enough of the choices
keep the limit. What remains is that the configurations were found with all of these samples.

A bootstrap in place of the halves was tried: it takes the samples themselves for the truth, with
the luck of each configuration in it, and so finds too little of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmct_track.planning.target import Reading, Target, margin

FACTORS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
_HALVINGS = 400
_SEED = 0
_FEWEST = 8
"""Half of fewer samples tells nothing of how they scatter."""
_LEAST_FOUND = 0.5
"""Where fewer halves have a plan at all, they do not tell."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Surer:
    """By what margins are multiplied, and what that gives."""

    factor: float
    kept: float | None
    """Share of the halves whose choice keeps the limit on the others; None if they do not tell."""


@dataclass(frozen=True)
class _Halved:
    """Configurations on a half and on the others; shapes (configurations, halvings)."""

    badness: Array
    margin: Array
    judged: Array
    limit: float

    def kept(self, factor: float) -> float | None:
        """How often the first that keeps the limit with its margin keeps it where it is judged."""
        keeps = self.badness + factor * self.margin <= self.limit
        found = keeps.any(axis=0)
        if found.mean() < _LEAST_FOUND:
            return None
        chosen = keeps.argmax(axis=0)
        holds = self.judged[chosen, np.arange(keeps.shape[1])] <= self.limit
        return float(holds[found].mean())


def surer(
    target: Target,
    readings: Sequence[Reading],
    confidence: float,
    held_out: int,
    least: float = 1,
    most: float = FACTORS[-1],
) -> Surer:
    """The smallest factor from ``least`` on with which a choice keeps the limit as often as asked.

    Args:
        target: what is to be kept.
        readings: of configurations on the samples that choose, the cheapest first.
        confidence: how often.
        held_out: how many samples will judge; 0 for the mean of all that there are.
        least: the smallest factor.
        most: the largest.

    Returns:
        The largest factor that leaves a plan where none is enough; ``least`` where halves do not
        tell.
    """
    halved = _halved(target, readings, confidence)
    if halved is None:
        return Surer(least, None)
    best = Surer(least, halved.kept(least))
    if best.kept is None:
        return best
    margins = [margin(reading, confidence, held_out) for reading in readings]
    for factor in (f for f in FACTORS if least < f <= most):
        if best.kept is not None and best.kept >= confidence:
            break
        allowed = any(
            _keeps(target, r, factor * by) for r, by in zip(readings, margins, strict=True)
        )
        kept = halved.kept(factor)
        if not allowed or kept is None:
            break
        best = Surer(factor, kept)
    return best


def _keeps(target: Target, reading: Reading, by: float) -> bool:
    higher = target.metric.higher_is_better and not target.is_share
    return target.meets(reading.value - by if higher else reading.value + by)


def _halved(target: Target, readings: Sequence[Reading], confidence: float) -> _Halved | None:
    known = [r for r in readings if np.isfinite(r.value) and np.isfinite(r.series).any()]
    count = max((r.samples for r in known), default=0)
    if count < _FEWEST:
        return None
    series = np.stack([r.series for r in known])
    sign = -1.0 if target.metric.higher_is_better and not target.is_share else 1.0
    half, random = count // 2, np.random.default_rng(_SEED)
    places = random.permuted(np.tile(np.arange(count), (_HALVINGS, 1)), axis=1).T
    chose = (places < half).astype(np.float64)
    mean, spread = _moments(series, chose)
    judged, _ = _moments(series, 1 - chose)
    # Of one standard deviation, and what a score may lose unseen, which no half shows.
    unit = margin(Reading(0.0, _of_spread_one(half)), confidence, count - half)
    exact = [Reading(r.value, np.zeros(half), r.losing and r.losing // 2) for r in known]
    floor = np.array([margin(reading, confidence, count - half) for reading in exact])
    return _Halved(
        sign * mean,
        np.maximum(unit * spread, floor[:, None]),
        sign * judged,
        sign * target.threshold,
    )


def _of_spread_one(count: int) -> Array:
    values = np.arange(count, dtype=np.float64)
    scaled: Array = values / values.std(ddof=1)
    return scaled


def _means(series: Array) -> Array:
    finite = np.isfinite(series)
    found: Array = np.where(finite, series, 0.0).sum(axis=1) / finite.sum(axis=1)
    return found[:, None]


def _moments(series: Array, weights: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of some samples, those that are not finite left out.

    Shapes: (configurations, samples) and 0 or 1 by (samples, halvings); given (configurations,
    halvings).
    """
    finite = np.isfinite(series)
    count = finite.astype(np.float64) @ weights
    # Deviations from a mean keep their digits where they are squared.
    center = _means(series)
    apart = np.where(finite, series - center, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = apart @ weights / count
        square = (apart * apart) @ weights / count - mean * mean
        spread = np.sqrt(np.maximum(square, 0.0) * count / np.maximum(count - 1, 1))
    # Of a half that is exact in all of its samples, the mean of all is the nearest that is known.
    return np.where(count > 0, center + mean, center), np.where(count > 1, spread, 0.0)
