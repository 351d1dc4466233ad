"""Showing rows: text tables here, figures in modules of their own, which need seaborn."""

from hmct_track.report.comparison import (
    comparison_markdown,
    comparison_table,
    ranking_markdown,
    table_markdown,
)
from hmct_track.report.tables import (
    channels_text,
    curves_text,
    distribution_text,
    format_value,
    partial_table,
    samples_table,
    sensitivity_table,
    whole_line,
)

__all__ = [
    "channels_text",
    "comparison_markdown",
    "comparison_table",
    "curves_text",
    "distribution_text",
    "format_value",
    "partial_table",
    "ranking_markdown",
    "samples_table",
    "sensitivity_table",
    "table_markdown",
    "whole_line",
]
