"""The figure of two rankings: a dumbbell per node, from before to after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hmct_track.report.style import BLUE, GREEN, RED, settle, style
from hmct_track.types import Metric

_MOST = 40
_GREY = "#8a8a8a"


def comparison_figure(
    rows: Sequence[Mapping[str, Any]], metric: Metric, before: str, after: str
) -> Figure:
    """The nodes that changed most, the worst on top; a hollow dot is before, a full one after.

    Args:
        rows: rows of the query ``compare_nodes``, in order.
        metric: the metric of the values.
        before: name of the first run, drawn as it is.
        after: name of the second run.
    """
    both = [row for row in rows if row["drop"] is not None]
    chosen = sorted(both, key=lambda row: -abs(row["drop"]))[:_MOST]
    drawn = [row for row in both if row in chosen]
    with style():
        figure = Figure(figsize=(9, max(3.0, 1.8 + 0.26 * len(drawn))), layout="constrained")
        axes = figure.subplots()
        colours = [_colour(row) for row in drawn]
        a = np.array([row["value_a"] for row in drawn], float)
        b = np.array([row["value_b"] for row in drawn], float)
        places = np.arange(len(drawn))
        # An infinite value has no place on the axis; its partner is drawn alone.
        a, b = (np.where(np.isfinite(values), values, np.nan) for values in (a, b))
        axes.hlines(places, a, b, colors=colours, linewidth=2.2)
        axes.scatter(
            a, places, s=42, facecolors="white", edgecolors=colours, linewidths=1.5, zorder=3
        )
        axes.scatter(b, places, s=42, c=colours, zorder=4)
        labels = [shortened(row["node"]) for row in drawn]
        axes.set_yticks(places, labels, fontsize=8, parse_math=False)
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        unit = " (dB)" if metric is Metric.SQNR else ""
        left = len(both) - len(drawn)
        rest = f"; {left} nodes that changed less are not shown" if left else ""
        axes.set_xlabel(f"{metric.value}{unit}{rest}")
        axes.set_title(f"before: {before}\nafter: {after}", fontsize=10, parse_math=False)
        axes.legend(handles=_legend(), loc="best", fontsize=9)
    return settle(figure)


def _colour(row: Mapping[str, Any]) -> str:
    return {"worse": RED, "better": GREEN}.get(row["status"], _GREY)


def _legend() -> list[Line2D]:
    def dot(colour: str, label: str, face: str | None = None) -> Line2D:
        return Line2D(
            [], [], color=colour, marker="o", markerfacecolor=face or colour, lw=0, label=label
        )

    return [
        dot(BLUE, "before", "white"),
        dot(BLUE, "after"),
        dot(RED, "worse"),
        dot(GREEN, "better"),
        dot(_GREY, "same"),
    ]
