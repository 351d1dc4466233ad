"""Figures of how the data of a node are distributed, in the documented signs.

Blue triangles stand at the largest absolute value, red dashed lines at the largest threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

from hmct_track.report.style import RED, settle, style

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
        element="step",  # one shape; a bar per bin takes several times as long to draw
        linewidth=0,
        alpha=0.75,
    )
    # Rare values are what stretches a threshold; on a linear scale they cannot be seen.
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    # Room above for the legend.
    axes.set_ylim(0.7, 10 * max([10, *(b["count"] for b in bins)]) ** 1.15)
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

    Red solid lines are medians, blue dashed lines means, points outliers; of each row the channel
    with the largest absolute value is named.

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
            first = chunk[0]["channel"]
            axes.set_xlim(first - 0.6, first + len(chunks[0]) - 0.4)
            _label_widest(axes, chunk, len(chunks[0]))
        panels[-1].set_xlabel(f"channel (axis {rows[0]['axis']})")
        outliers = sum(row["outliers"] for row in rows)
        title = f"{shortened(rows[0]['node'], 70)} ({kind}): {len(rows)} channels"
        note = f"median red, mean blue dashed, {outliers} outliers"
        figure.suptitle(f"{title}\n{note}", parse_math=False, fontsize=12)
    return settle(figure)


def _draw_boxes(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    # Collections, not an artist per line: thousands of channels would take a minute to draw.
    def column(name: str) -> Any:
        return np.array([row[name] for row in rows], float)

    x, q25, q75 = column("channel"), column("q25"), column("q75")
    left, right = x - 0.35, x + 0.35
    corners = np.stack([left, q25, right, q25, right, q75, left, q75], axis=1)
    boxes = corners[np.isfinite(corners).all(axis=1)].reshape(-1, 4, 2)
    line: dict[str, Any] = {"color": "0.2", "linewidth": 0.8}
    axes.add_collection(PolyCollection(boxes, facecolor="none", edgecolor="0.2", linewidth=0.8))
    for edge, whisker in ((q25, "whisker_low"), (q75, "whisker_high")):
        axes.vlines(x, edge, column(whisker), **line)
        axes.hlines(column(whisker), x - 0.18, x + 0.18, **line)
    axes.hlines(column("median"), left, right, color="red", linewidth=1.4)
    axes.hlines(column("mean"), left, right, color="blue", linewidth=1.2, linestyles="--")
    outliers = [(row["channel"], value) for row in rows for value in row["outlier_sample"]]
    if outliers:
        across, up = zip(*outliers, strict=True)
        axes.scatter(across, up, s=6, color="0.45", linewidths=0)
    ticks = MaxNLocator(integer=True, steps=[1, 2, 5, 10]).tick_values(x[0], x[-1])
    axes.set_xticks([tick for tick in ticks if x[0] <= tick <= x[-1]])
    axes.set_ylabel("value")
    axes.grid(axis="x", visible=False)


def _label_widest(axes: Axes, rows: Sequence[Mapping[str, Any]], most: int) -> None:
    """Name the channel with the largest absolute value, at it."""
    extremes = [(abs(row[end]), row["channel"], row[end]) for row in rows for end in ("min", "max")]
    finite = [extreme for extreme in extremes if np.isfinite(extreme[0])]
    if not finite:
        return
    _, channel, value = max(finite)
    right = channel - rows[0]["channel"] > most / 2
    axes.annotate(
        f"channel {channel}: {value:.4g}",
        (channel, value),
        xytext=(-5 if right else 5, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontsize=8,
        color=RED,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        zorder=5,
    )
