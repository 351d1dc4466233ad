"""Showing rows: text tables here, figures in modules of their own, which need seaborn."""

from hmct_track.report.comparison import (
    comparison_markdown,
    comparison_table,
    ranking_markdown,
)
from hmct_track.report.tables import format_value, partial_table, samples_table, sensitivity_table

__all__ = [
    "comparison_markdown",
    "comparison_table",
    "format_value",
    "partial_table",
    "ranking_markdown",
    "samples_table",
    "sensitivity_table",
]
