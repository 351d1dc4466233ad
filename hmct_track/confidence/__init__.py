"""How sure a ranking is, from the values of each sample. Arrays in, arrays out; no lake, no model.

docs/confidence.md says in plain words what the results promise.
"""

from hmct_track.confidence.intervals import (
    BOOTSTRAP,
    BOOTSTRAP_FROM,
    LEVEL,
    NONE,
    STUDENT,
    Intervals,
    mean_intervals,
)
from hmct_track.confidence.proportions import paired_difference, wilson
from hmct_track.confidence.ranks import Ranks, rank_nodes
from hmct_track.confidence.shares import Shares, shares
from hmct_track.confidence.values import Means, means_of

__all__ = [
    "BOOTSTRAP",
    "BOOTSTRAP_FROM",
    "LEVEL",
    "NONE",
    "STUDENT",
    "Intervals",
    "Means",
    "Ranks",
    "Shares",
    "mean_intervals",
    "means_of",
    "paired_difference",
    "rank_nodes",
    "shares",
    "wilson",
]
