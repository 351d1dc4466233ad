"""Figures of how the data of a node are distributed, in the documented signs.

Blue triangles stand at the largest absolute value, red dashed lines at the largest threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hmct_track.report.style import settle, shortened, style

_TITLES = {
    "before": "before quantization",
    "after": "after quantization",
    "error": "error (after - before)",
    "input": "input",
}
_COLORS = {"before": "#56b4e9", "after": "#e69f00", "error": "#cc79a7", "input": "#56b4e9"}
_PER_ROW = 128


def distribution_figure(
    rows: Sequence[Mapping[str, Any]], bins: Sequence[Mapping[str, Any]]
) -> Figure:
    """Histograms of the series of one node, side by side.

    Args:
        rows: the node's rows of the query ``distribution``.
        bins: the node's rows of the query ``histogram``.
    """
    with style():
        figure = Figure(figsize=(1.5 + 5.2 * len(rows), 4.8), layout="constrained")
        panels = figure.subplots(1, len(rows), squeeze=False)[0]
        for axes, row in zip(panels, rows, strict=True):
            _draw_histogram(axes, row, [b for b in bins if b["series"] == row["series"]])
        title = f"{shortened(rows[0]['node'], 70)} ({rows[0]['kind']})"
        figure.suptitle(title, parse_math=False, fontsize=13)
    return settle(figure)


def _draw_histogram(axes: Axes, row: Mapping[str, Any], bins: Sequence[Mapping[str, Any]]) -> None:
    edges = [bins[0]["low"], *(b["high"] for b in bins)]
    sns.histplot(
        x=[(b["low"] + b["high"]) / 2 for b in bins],
        weights=[b["count"] for b in bins],
        bins=edges,
        ax=axes,
        color=_COLORS[row["series"]],
        edgecolor=None,
    )
    # Rare values are what stretches a threshold; on a linear scale they cannot be seen.
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    if row["abs_max"] == row["abs_max"]:
        at = sorted({-row["abs_max"], row["abs_max"]} & {row["min"], row["max"]})
        label = f"largest absolute value {row['abs_max']:.4g}"
        bottom = [0.0] * len(at)
        across = axes.get_xaxis_transform()
        axes.scatter(
            at, bottom, marker="^", color="blue", s=70, zorder=4, clip_on=False,
            transform=across, label=label,
        )  # fmt: skip
    if row["threshold"] is not None:
        low = -row["threshold"] if row["min"] < 0 else None
        for place in (row["threshold"], low):
            if place is not None:
                axes.axvline(
                    place,
                    color="red",
                    linestyle="--",
                    linewidth=1.4,
                    label=f"threshold {row['threshold']:.4g}" if place > 0 else None,
                )
    axes.set(xlabel="value", ylabel="count")
    axes.set_title(
        f"{_TITLES[row['series']]}\nmean {row['mean']:.4g}, std {row['std']:.4g}", fontsize=10
    )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="upper right")


def channel_figure(rows: Sequence[Mapping[str, Any]], kind: str) -> Figure:
    """Box plots of the channels of one calibration node, in rows of at most 128.

    Red solid lines are medians, blue dashed lines means, points outliers.

    Args:
        rows: the node's rows of the query ``channel_distribution``.
        kind: ``weight`` or ``activation``.
    """
    chunks = [rows[i : i + _PER_ROW] for i in range(0, len(rows), _PER_ROW)]
    width = float(np.clip(0.16 * len(chunks[0]) + 2, 6, 20))
    with style():
        figure = Figure(figsize=(width, 1.2 + 3.4 * len(chunks)), layout="constrained")
        panels = figure.subplots(len(chunks), 1, squeeze=False, sharey=True)[:, 0]
        for axes, chunk in zip(panels, chunks, strict=True):
            _draw_boxes(axes, chunk)
            axes.set_xlim(chunk[0]["channel"] - 1, chunk[0]["channel"] + len(chunks[0]))
        panels[-1].set_xlabel(f"channel (axis {rows[0]['axis']})")
        outliers = sum(row["outliers"] for row in rows)
        title = f"{shortened(rows[0]['node'], 70)} ({kind}): {len(rows)} channels"
        note = f"median red, mean blue dashed, {outliers} outliers"
        figure.suptitle(f"{title}\n{note}", parse_math=False, fontsize=12)
    return settle(figure)


def _draw_boxes(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    boxes = [
        {
            "med": row["median"],
            "mean": row["mean"],
            "q1": row["q25"],
            "q3": row["q75"],
            "whislo": row["whisker_low"],
            "whishi": row["whisker_high"],
            "fliers": row["outlier_sample"],
        }
        for row in rows
    ]
    places = [row["channel"] for row in rows]
    axes.bxp(
        boxes,
        positions=places,
        widths=0.7,
        showmeans=True,
        meanline=True,
        manage_ticks=False,
        medianprops={"color": "red", "linestyle": "-", "linewidth": 1.4},
        meanprops={"color": "blue", "linestyle": "--", "linewidth": 1.2},
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": "0.45"},
        boxprops={"linewidth": 0.8},
        whiskerprops={"linewidth": 0.8},
    )
    axes.set_ylabel("value")
    axes.grid(axis="x", visible=False)
