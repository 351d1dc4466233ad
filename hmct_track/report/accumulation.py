"""The figure of accumulated error: one curve per selection over the nodes of the model."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hmct_track.report.style import PALETTE, label_steps, settle, shortened, style
from hmct_track.types import Metric

_DASHES = ("", (4, 2), (1, 1.5), (6, 2, 1, 2))


def accumulation_figure(
    rows: Sequence[Mapping[str, Any]], metric: Metric, title: str, *, average_mode: bool
) -> Figure:
    """Curves over the general nodes in topological order.

    Args:
        rows: rows of the query ``error_accumulation``.
        metric: the metric of the values.
        title: heading, drawn as it is.
        average_mode: whether the values are running means; changes the axis label only.
    """
    curves: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        curves[row["curve"]].append(row)
    nodes = {row["step"]: row["node"] for row in rows}
    names = [nodes[step] for step in sorted(nodes)]
    # Colours repeat after seven curves; the dashes tell their bearers apart.
    looks = itertools.product(_DASHES, PALETTE)
    with style():
        figure = Figure(figsize=(min(9 + 0.06 * len(names), 16), 6.5), layout="constrained")
        axes = figure.subplots()
        for (name, points), (dashes, color) in zip(curves.items(), itertools.cycle(looks)):
            reference = points[0]["role"] == "reference"
            sns.lineplot(
                x=[p["step"] for p in points],
                y=np.array([p["value"] for p in points], float),
                ax=axes,
                label=shortened(name).replace("$", r"\$"),
                color="0.35" if reference else color,
                linewidth=1.4 if reference else 1.8,
                linestyle="--" if reference else "-",
                dashes=dashes or (1, 0),
                marker="o" if len(points) <= 60 and not reference else None,
                markersize=4,
                errorbar=None,
            )
            if not reference:
                _label_worst(axes, points, metric, color)
        label_steps(axes, names)
        average = "mean of the first n nodes' " if average_mode else ""
        unit = " (dB)" if metric is Metric.SQNR else ""
        axes.set(xlabel="node, in topological order", ylabel=f"{average}{metric.value}{unit}")
        axes.margins(x=0.01)
        axes.set_title(title, parse_math=False)
        axes.legend(loc="best", fontsize=9)
    return settle(figure)


def _label_worst(
    axes: Axes, points: Sequence[Mapping[str, Any]], metric: Metric, color: str
) -> None:
    """Name the node at which a curve is worst, in the curve's colour."""
    valued = [p for p in points if p["value"] is not None and np.isfinite(p["value"])]
    if not valued:
        return
    worst = max(valued, key=lambda p: metric.badness(p["value"]))
    right = worst["step"] > len(points) / 2
    axes.annotate(
        shortened(worst["node"], 30),
        (worst["step"], worst["value"]),
        xytext=(-6 if right else 6, -4 if metric.higher_is_better else 4),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top" if metric.higher_is_better else "bottom",
        fontsize=8,
        color=color,
        parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        zorder=5,
    )
