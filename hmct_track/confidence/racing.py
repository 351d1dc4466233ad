"""Which nodes need more samples before the top of a ranking is known.

Nodes race: each of the top is compared with each of the rest, and those that some comparison
leaves open are measured on more (O. Maron and A. W. Moore, The Racing Algorithm, 1997; the top
against the rest as in S. Kalyanakrishnan et al., PAC Subset Selection in Stochastic Multi-armed
Bandits, 2012).

Decibels are taken to be a node's own value, what a sample does to all nodes alike, and what is
left, so that nodes are compared by all their samples. Of errors in proportion logarithms are
compared, as nodes differ by factors, on the samples that both have; how far these scatter is taken
to be at least what a log-normal distribution of the same logarithms would have, as a few samples of
errors with a long tail look tamer than they are. The scatter of single samples is pooled over all
nodes or pairs (as in G. K. Smyth, Linear models and empirical Bayes methods, 2004), since two
samples of one say little. The share of samples that is not measured yet scales the variance: with
all of them nothing is open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmct_track.confidence.values import Floats, means_of
from hmct_track.metrics import Metric

Flags = NDArray[np.bool_]

_PRIOR = 8.0
"""So many degrees of freedom the pooled scatter is worth."""

_LOOKS = 4.0
"""A single comparison has to be surer by this factor, as there are several at the edge of the top,
looked at again and again. Measured: benchmarks/confidence.py."""
_USUAL = 16
"""With more samples than these there are more looks, and the factor grows with their number."""

_SWEEPS = 10

_GROWTH = 1.25
_LEAST = 1e-300
_DEEPEST = 1e-4
"""An error of a sample is not taken for a smaller part of the node's mean."""
_LONGEST_TAIL = 7.0


@dataclass(frozen=True)
class Standing:
    """How a race stands."""

    order: NDArray[np.int64]
    """The nodes, most sensitive first."""
    open: Flags
    """Of each node whether more samples of it may change the top."""

    @property
    def is_settled(self) -> bool:
        """Whether the top is known with the confidence asked for."""
        return not self.open.any()


def stand(values: Floats, measured: Flags, metric: Metric, k: int, level: float) -> Standing:
    """How nodes stand in the race for the top ``k``.

    Args:
        values: nodes by outputs by samples; NaN where nothing was measured, or it is no number.
        measured: nodes by samples.
        metric: what ranks.
        k: how many are the top.
        level: how sure the top has to be, 0 to 1.
    """
    means = means_of(values, metric)
    badness = np.array([metric.badness(value) for value in means.values])
    counts = measured.sum(axis=1)
    badness[counts == 0] = -math.inf
    order = np.argsort(-badness, kind="stable")
    nodes, samples = measured.shape
    opened = (counts < 2) & (counts < samples)
    if opened.any() or not 0 < k < nodes:
        return Standing(order, opened if k < nodes else counts < 1)
    errors = _errors(means.series, metric)
    top, rest = order[:k], order[k:]
    compare = lead_in_decibels if metric.unit == "dB" else _errors_of_pairs
    left = ~_told_apart(*compare(errors, top, rest, samples), badness, top, rest, samples, level)
    left &= np.minimum(counts[top][:, None], counts[rest]) < samples
    opened[top[left.any(axis=1)]] = True
    opened[rest[left.any(axis=0)]] = True
    return Standing(order, opened & (counts < samples))


def next_count(counts: NDArray[np.int64], opened: Flags, samples: int) -> int:
    """To how many samples the open nodes that have the fewest go next."""
    least = int(counts[opened].min())
    return min(samples, max(least + 1, int(least * _GROWTH)))


def _errors(series: Floats, metric: Metric) -> Floats:
    """Errors that are 0 at best, or decibels; larger is worse."""
    if metric.unit == "dB":
        return -series
    sign = -1.0 if metric.higher_is_better else 1.0
    return np.where(np.isnan(series), np.nan, np.maximum(sign * (series - metric.optimum), 0.0))


def _told_apart(
    lead: Floats,
    error: Floats,
    free: Floats,
    badness: Floats,
    top: NDArray[np.int64],
    rest: NDArray[np.int64],
    samples: int,
    level: float,
) -> Flags:
    """Whether each of the top surely is worse than each of the rest: top by rest.

    Args:
        lead: by how much it is worse, of shape (top, rest); NaN where nothing is known.
        error: the standard error of that.
        free: its degrees of freedom.
        badness: of each node.
        top: the nodes that are ahead.
        rest: the others.
        samples: how many there are in all.
        level: how sure the top has to be, 0 to 1.
    """
    from scipy.special import stdtrit  # scipy.stats takes long to load

    looks = _LOOKS * max(math.log(max(samples, 2) / 2) / math.log(_USUAL / 2), 1.0)
    with np.errstate(invalid="ignore"):
        sure = lead > stdtrit(free, 1 - (1 - level) / looks) * error
    # Nodes without a finite value are where they are, however many samples there will be.
    infinite = ~np.isfinite(badness[top])[:, None] | ~np.isfinite(badness[rest])
    return np.asarray(infinite | sure)


def lead_in_decibels(
    errors: Floats, top: NDArray[np.int64], rest: NDArray[np.int64], samples: int
) -> tuple[Floats, Floats, Floats]:
    """Of decibels lead, standard error and degrees of freedom: top by rest.

    A value is taken to be the node's own, what the sample does to all nodes alike, and what is
    left. So a node that is known on two samples and one that is known on ten are compared by all
    of them, and not by two. A sample of a single node tells nothing.
    """
    known = np.isfinite(errors)
    known &= known.sum(axis=0) > 1
    own, left = _additive(errors, known)
    count = known.sum(axis=1)
    free, squares = np.maximum(count - 1, 0), (left**2).sum(axis=1)
    pooled = squares.sum() / max(int(free.sum()), 1)
    with np.errstate(divide="ignore"):
        scatter = (_PRIOR * pooled + squares) / (_PRIOR + free) * (1 / count - 1 / samples)
    common = known[top].astype(np.int64) @ known[rest].T.astype(np.int64)
    lead = np.where(common > 1, own[top][:, None] - own[rest], np.nan)
    error = np.sqrt(np.maximum(scatter[top][:, None] + scatter[rest], 0.0))
    return lead, error, np.minimum(free[top][:, None], free[rest]) + _PRIOR


def _additive(errors: Floats, known: Flags) -> tuple[Floats, Floats]:
    """Least squares of a value per node and one per sample: those of nodes, and what is left."""
    values = np.where(known, errors, 0.0)
    nodes, samples = np.maximum(known.sum(axis=1), 1), np.maximum(known.sum(axis=0), 1)
    own, alike = np.zeros(len(values)), np.zeros(values.shape[1])
    for _ in range(_SWEEPS):
        own = (values - known * alike).sum(axis=1) / nodes
        alike = (values - known * own[:, None]).sum(axis=0) / samples
    return own, np.where(known, values - own[:, None] - alike, 0.0)


def _errors_of_pairs(
    errors: Floats, top: NDArray[np.int64], rest: NDArray[np.int64], samples: int
) -> tuple[Floats, Floats, Floats]:
    """The same of errors in proportion, on the samples that both nodes have."""
    found = np.stack([_ratios(errors[node], errors[rest]) for node in top])
    lead, scatter, tail, common = np.moveaxis(found, -1, 0)
    own = np.maximum(common - 1, 0)
    known = common > 1
    pooled = float(scatter[known].mean()) if known.any() else 0.0
    least = math.expm1(min(float(tail[known].mean()), _LONGEST_TAIL)) if known.any() else 0.0
    variance = np.maximum((_PRIOR * pooled + own * scatter) / (_PRIOR + own), least)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(variance * (1 / common - 1 / samples))
    return np.where(known, lead, np.nan), error, own + _PRIOR


def _ratios(one: Floats, others: Floats) -> Floats:
    """Of a node against others: log ratio of means, scatter of shares, that of logs, samples."""
    both = np.isfinite(one) & np.isfinite(others)
    number = both.sum(axis=1)
    count = np.maximum(number, 1)
    x, y = np.where(both, one, 0.0), np.where(both, others, 0.0)
    mean_x = np.maximum(x.sum(axis=1) / count, _LEAST)[:, None]
    mean_y = np.maximum(y.sum(axis=1) / count, _LEAST)[:, None]
    lead = np.log(mean_x / mean_y)[:, 0]
    shares = np.where(both, x / mean_x - y / mean_y, 0.0)
    logs = np.log(np.maximum(x / mean_x, _DEEPEST)) - np.log(np.maximum(y / mean_y, _DEEPEST))
    logs = np.where(both, logs - (logs * both).sum(axis=1, keepdims=True) / count[:, None], 0.0)
    free = np.maximum(number - 1, 1)
    scatter, tail = (shares**2).sum(axis=1) / free, (logs**2).sum(axis=1) / free
    return np.stack([lead, scatter, tail, number], axis=1)
