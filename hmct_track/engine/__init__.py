"""Running configurations of a model and measuring how far their outputs are from the float ones."""

from hmct_track.engine.evaluate import Engine
from hmct_track.engine.local import LocalError, local_errors
from hmct_track.engine.made import make_engine
from hmct_track.engine.protocols import (
    Evaluator,
    Judge,
    Keeper,
    Kept,
    OutputJudge,
    Record,
    SampleJudge,
)
from hmct_track.engine.reference import float_gap
from hmct_track.engine.runtime import RUNTIME
from hmct_track.engine.spill import Spill
from hmct_track.engine.statistics import PAIRS, pair_statistics
from hmct_track.engine.summaries import bounds_of, channel_summaries, histogram, summarize
from hmct_track.engine.survey import ChannelScales, channel_scales

__all__ = [
    "PAIRS",
    "RUNTIME",
    "ChannelScales",
    "Engine",
    "Evaluator",
    "Judge",
    "Keeper",
    "Kept",
    "LocalError",
    "OutputJudge",
    "Record",
    "SampleJudge",
    "Spill",
    "bounds_of",
    "channel_scales",
    "channel_summaries",
    "float_gap",
    "histogram",
    "local_errors",
    "make_engine",
    "pair_statistics",
    "summarize",
]
