"""Histograms of the data of a node, in the documented signs.

Blue triangles stand at the largest absolute value, red dashed lines at the largest threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from hmct_track.report.boxes import channel_figure, threshold_pairs
from hmct_track.report.labels import owner, shortened
from hmct_track.report.style import head, settle, style

__all__ = ["channel_figure", "distribution_figure", "threshold_pairs"]

_TITLES = {
    "before": "before quantization",
    "after": "after quantization",
    "error": "error (after - before)",
    "input": "input",
}
_COLORS = {"before": "#56b4e9", "after": "#e69f00", "error": "#cc79a7", "input": "#56b4e9"}


def distribution_figure(
    rows: Sequence[Mapping[str, Any]],
    bins: Sequence[Mapping[str, Any]],
    *,
    consumers: Sequence[str] = (),
) -> Figure:
    """Histograms of the series of one node, side by side.

    Args:
        rows: the node's rows of the query ``distribution``.
        bins: the node's rows of the query ``histogram``.
        consumers: the general nodes that read a calibration node, whose weight or input it is.
    """
    # It takes long, and other figures do without. It takes what it finds set for the user's style.
    from seaborn import histplot

    with style():
        figure = Figure(figsize=(1.8 + 5.2 * len(rows), 5.2), layout="constrained")
        panels = figure.subplots(1, len(rows), squeeze=False)[0]
        for axes, row in zip(panels, rows, strict=True):
            own = [b for b in bins if b["series"] == row["series"]]
            _draw_histogram(histplot, axes, row, own)
        head(figure, f"{shortened(rows[0]['node'], 70)}: {owner(rows[0]['kind'], consumers)}")
    return settle(figure)


def _draw_histogram(
    draw: Callable[..., Any],
    axes: Axes,
    row: Mapping[str, Any],
    bins: Sequence[Mapping[str, Any]],
) -> None:
    edges = [bins[0]["low"], *(b["high"] for b in bins)]
    draw(
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
    axes.set_ylim(0.7, 2 * max([10, *(b["count"] for b in bins)]))
    _draw_extremes(axes, row)
    _draw_thresholds(axes, row)
    axes.set(xlabel="value", ylabel="count")
    axes.set_title(
        f"{_TITLES[row['series']]}\nmean {row['mean']:.4g}, std {row['std']:.4g}", fontsize=10
    )
    if axes.get_legend_handles_labels()[0]:
        # Below the axes, where no threshold line is.
        axes.legend(
            fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False
        )


def _draw_extremes(axes: Axes, row: Mapping[str, Any]) -> None:
    if row["abs_max"] != row["abs_max"]:
        return
    at = sorted({-row["abs_max"], row["abs_max"]} & {row["min"], row["max"]})
    axes.scatter(
        at, [0.0] * len(at), marker="^", color="blue", s=70, zorder=4, clip_on=False,
        transform=axes.get_xaxis_transform(), label=f"largest absolute value {row['abs_max']:.4g}",
    )  # fmt: skip


def _draw_thresholds(axes: Axes, row: Mapping[str, Any]) -> None:
    if row["threshold"] is None:
        return
    places = [row["threshold"]] + ([-row["threshold"]] if row["min"] < 0 else [])
    for place, label in zip(places, (f"threshold {row['threshold']:.4g}", None), strict=False):
        axes.axvline(place, color="red", linestyle="--", linewidth=1.4, label=label)
