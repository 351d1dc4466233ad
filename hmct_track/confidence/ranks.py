"""Where a node may rank: drawn from what the samples say of all nodes together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmct_track.confidence.intervals import BOOTSTRAP_FROM, LEVEL, resamples_for, resampling
from hmct_track.confidence.values import Floats, Means
from hmct_track.metrics import Metric

_SEED = 20240301


@dataclass(frozen=True)
class Ranks:
    """Of each node, in the order given, where it may rank."""

    low: NDArray[np.int64]
    """The interval of its rank begins here; 1 is the most sensitive."""
    high: NDArray[np.int64]
    top: Floats
    """The probability to be among the ``k`` most sensitive."""
    groups: NDArray[np.int64]
    """The rank of the first of the group of near ties that it belongs to; 0 if it is told apart."""


def rank_nodes(
    means: Means, metric: Metric, k: int, noise: Floats | None = None, level: float = LEVEL
) -> Ranks:
    """Ranks of nodes with what is uncertain of them.

    All nodes' means are drawn together, as they were measured on the same samples: what a sample
    does to all nodes alike moves no rank.

    Args:
        means: the nodes.
        metric: what ranks; nodes without a value rank first, equal ones in the order given.
        k: how many are the top.
        noise: the rounding noise of each node's value where that is known, else NaN; counts where
            there is one sample, as several contain it.
        level: of the rank intervals; nodes are near ties where their order is less sure than this.
    """
    badness = np.array([metric.badness(value) for value in means.values])
    order = np.argsort(-badness, kind="stable")
    drawn = _draws(means, metric, badness, noise)[order]
    places = np.argsort(np.argsort(-drawn, axis=0, kind="stable"), axis=0) + 1
    tail = (1 - level) / 2
    first, last = np.quantile(places, [tail, 1 - tail], axis=1, method="nearest")
    stands = np.arange(1, len(order) + 1)
    ranks = np.minimum(first, stands), np.maximum(last, stands)
    found = np.stack([*ranks, (places <= k).mean(axis=1), _groups(drawn, tail)]).astype(float)
    back = np.empty_like(found)
    back[:, order] = found
    low, high, top, groups = back
    return Ranks(low.astype(int), high.astype(int), top, groups.astype(int))


def _draws(means: Means, metric: Metric, badness: Floats, noise: Floats | None) -> Floats:
    """Badness of nodes by draws."""
    sign = -1.0 if metric.higher_is_better else 1.0
    known, counts = np.isfinite(means.series), means.counts
    away = np.where(known, sign * (means.series - means.values[:, None]), 0.0)
    number = resamples_for(len(badness))
    alike = counts.size and (counts == counts.max()).all()
    if alike and counts.max() >= BOOTSTRAP_FROM and known.all():
        samples = away.shape[1]
        moves = away @ resampling(samples, number) / np.sqrt(samples * (samples - 1))
    else:
        moves = _student_draws(away, counts, number)
    if noise is not None:
        random = np.random.default_rng(_SEED + 1)
        alone = np.where(counts == 1, np.nan_to_num(noise), 0.0)
        moves += alone[:, None] * random.standard_normal(moves.shape)
    # Infinite badness stays where it is.
    return badness[:, None] + np.where(np.isfinite(badness)[:, None], moves, 0.0)


def _student_draws(away: Floats, counts: NDArray[np.int64], number: int) -> Floats:
    """Moves of means whose scale is known from few samples, in common where samples are.

    Each node's moves alone have Student's distribution; samples weigh at random, alike for all.
    """
    if counts.max(initial=0) < 2:
        return np.zeros((len(away), number))
    from scipy.special import chdtri  # scipy.stats takes long to load

    random = np.random.default_rng(_SEED)
    moves = away @ random.standard_normal((away.shape[1], number))
    even = random.random(number)
    for count in sorted(set(counts.tolist())):
        rows = counts == count
        if count < 2:
            moves[rows] = 0.0
        else:
            scale = np.sqrt(chdtri(count - 1, even) / (count - 1))
            moves[rows] /= np.sqrt(count * (count - 1.0)) * scale
    return np.asarray(moves)


def _groups(drawn: Floats, tail: float) -> NDArray[np.int64]:
    """Runs of ranks of which no two are told apart, from the top on."""
    groups = np.zeros(len(drawn), dtype=np.int64)
    first = 0
    while first < len(drawn):
        last = first + 1
        while last < len(drawn) and not _told_apart(drawn[first:last], drawn[last], tail):
            last += 1
        if last - first > 1:
            groups[first:last] = first + 1
        first = last
    return groups


def _told_apart(above: Floats, below: Floats, tail: float) -> bool:
    """Whether a node surely ranks below one of a group."""
    with np.errstate(invalid="ignore"):
        ahead = (below > above).mean(axis=1) + (below == above).mean(axis=1) / 2
    return bool((ahead < tail).any())
