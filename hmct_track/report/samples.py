"""The figure of the samples on which quantization hurts most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from matplotlib.figure import Figure

from hmct_track.report.ranking import Wording, ranking_figure
from hmct_track.types import Metric

_WORDING = Wording("sample, in the order of the data", "worst", "samples")


def samples_figure(rows: Sequence[Mapping[str, Any]], metric: Metric, title: str) -> Figure:
    """The worst samples as bars, and all samples in their order above them.

    Args:
        rows: rows of the query ``sensitive_samples``, the worst first.
        metric: the metric that ranked them.
        title: heading, drawn as it is.
    """
    ranked = [
        {
            "subject": PurePath(row["source"]).name or f"sample {row['sample']}",
            "position": row["sample"],
            metric.column: row["value"],
        }
        for row in rows
    ]
    return ranking_figure(ranked, metric, title, _WORDING)
