"""The figure of partial quantization, in the documented colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from hmct_track.report.style import best_value, label_steps, settle, style
from hmct_track.types import Metric


def partial_figure(rows: Sequence[Mapping[str, Any]], metric: Metric, title: str) -> Figure:
    """Baseline, single-node quantization and cumulative un-quantization over the sensitive nodes.

    Args:
        rows: rows of the query ``partial_quantization``, in order.
        metric: the metric of the values.
        title: heading, drawn as it is.
    """
    steps = [row["step"] for row in rows]
    with style():
        figure = Figure(figsize=(min(8 + 0.12 * len(rows), 16), 6.5), layout="constrained")
        axes = figure.subplots()
        best = best_value(metric)
        if best is not None:
            axes.axhline(best, color="blue", linestyle="--", linewidth=1.5, label="float model")
        sns.lineplot(
            x=steps,
            y=np.array([row["partial"] for row in rows], float),
            ax=axes,
            color="red",
            linewidth=1.8,
            marker="o",
            markersize=4,
            errorbar=None,
            label="this node and those before it not quantized",
        )
        axes.scatter(
            steps,
            np.array([row["single"] for row in rows], float),
            color="green",
            marker="x",
            s=45,
            linewidths=1.8,
            zorder=3,
            label="only this node quantized",
        )
        label_steps(axes, [row["node"] for row in rows])
        unit = " (dB)" if metric is Metric.SQNR else ""
        axes.set(xlabel="sensitive node, the most sensitive first", ylabel=f"{metric.value}{unit}")
        axes.set_title(title, parse_math=False)
        axes.legend(loc="best", fontsize=9)
    return settle(figure)
