"""Showing rows: text tables here, figures in modules of their own, which need seaborn."""

from hmct_track.report.tables import format_value, partial_table, samples_table, sensitivity_table

__all__ = ["format_value", "partial_table", "samples_table", "sensitivity_table"]
