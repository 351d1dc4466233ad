"""Showing rows: text tables, and figures (``hmct_track.report.ranking``, which needs seaborn)."""

from hmct_track.report.tables import format_value, partial_table, samples_table, sensitivity_table

__all__ = ["format_value", "partial_table", "samples_table", "sensitivity_table"]
