"""The lake: every measurement and run as tables that SQL can ask."""

from hmct_track.lake.duck import Limits
from hmct_track.lake.history import (
    BASELINE,
    TOLERANCE,
    RunComparison,
    compare_runs,
    find_ranking,
    find_run,
    find_runs,
    set_tag,
)
from hmct_track.lake.lake import Lake, Row
from hmct_track.lake.places import DEFAULT_FOLDER, ENVIRONMENT, is_remote, lake_path
from hmct_track.lake.queries import Query, Use, load_query, query_names
from hmct_track.lake.result import Result
from hmct_track.lake.schema import (
    CALIBRATION_NODES,
    CHANNEL_SUMMARIES,
    CONFIGS,
    HISTOGRAMS,
    MEASUREMENTS,
    MODELS,
    NODES,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    SCHEMA_VERSION,
    TABLES,
    TAGS,
    TENSOR_SUMMARIES,
    Column,
    Table,
)

__all__ = [
    "BASELINE",
    "CALIBRATION_NODES",
    "CHANNEL_SUMMARIES",
    "CONFIGS",
    "DEFAULT_FOLDER",
    "ENVIRONMENT",
    "HISTOGRAMS",
    "MEASUREMENTS",
    "MODELS",
    "NODES",
    "RUNS",
    "RUN_CONFIGS",
    "SAMPLES",
    "SCHEMA_VERSION",
    "TABLES",
    "TAGS",
    "TENSOR_SUMMARIES",
    "TOLERANCE",
    "Column",
    "Lake",
    "Limits",
    "Query",
    "Result",
    "Row",
    "RunComparison",
    "Table",
    "Use",
    "compare_runs",
    "find_ranking",
    "find_run",
    "find_runs",
    "is_remote",
    "lake_path",
    "load_query",
    "query_names",
    "set_tag",
]
