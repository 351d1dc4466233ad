"""Running configurations of a model and measuring how far their outputs are from the float ones."""

from hmct_track.engine.evaluate import Engine
from hmct_track.engine.reference import float_gap
from hmct_track.engine.runtime import RUNTIME
from hmct_track.engine.spill import Spill
from hmct_track.engine.statistics import pair_statistics
from hmct_track.engine.summaries import bounds_of, channel_summaries, histogram, summarize

__all__ = [
    "RUNTIME",
    "Engine",
    "Spill",
    "bounds_of",
    "channel_summaries",
    "float_gap",
    "histogram",
    "pair_statistics",
    "summarize",
]
