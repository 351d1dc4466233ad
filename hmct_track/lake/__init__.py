"""The lake: every measurement and run as tables that SQL can ask."""

from hmct_track.lake.lake import DEFAULT_FOLDER, ENVIRONMENT, Lake, Result, Row, lake_path
from hmct_track.lake.queries import Query, load_query, query_names
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
    TENSOR_SUMMARIES,
    Column,
    Table,
)

__all__ = [
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
    "TENSOR_SUMMARIES",
    "Column",
    "Lake",
    "Query",
    "Result",
    "Row",
    "Table",
    "lake_path",
    "load_query",
    "query_names",
]
