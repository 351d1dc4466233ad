"""The figure of two rankings: a dumbbell per node, from before to after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hmct_track.report.labels import distinct_labels
from hmct_track.report.scale import EQUAL, ErrorScale
from hmct_track.report.style import BLUE, GREEN, RED, head, settle, style
from hmct_track.types import Metric

_MOST = 40
_GREY = "#8a8a8a"
_WHOLE = "fully quantized model"
_ORDER = {"worse": 0, "better": 1}


def comparison_figure(
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
    before: str,
    after: str,
    *,
    whole: tuple[float, float] | None = None,
) -> Figure:
    """The nodes that changed most; a hollow dot is before, a full one after.

    Those that became worse are on top, then those that became better, each by the size of the
    change. Errors are on a log scale, or decibels.

    Args:
        rows: rows of the query ``compare_nodes``.
        metric: the metric of the values.
        before: name of the first run, drawn as it is.
        after: name of the second run.
        whole: the metric of the fully quantized model before and after, drawn in the first row.
    """
    both = [row for row in rows if row["drop"] is not None]
    drawn = _largest_changes(both)
    if whole:
        drawn = [_whole_row(whole, metric), *drawn]
    a, b = ([row[name] for row in drawn] for name in ("value_a", "value_b"))
    scale = ErrorScale([*a, *b], metric)
    with style():
        figure = Figure(figsize=(10, max(3.4, 2.2 + 0.26 * len(drawn))), layout="constrained")
        axes = figure.subplots()
        colours = [_colour(row) for row in drawn]
        places = np.arange(len(drawn))
        start, end = scale.places(a), scale.places(b)
        axes.hlines(places, start, end, colors=colours, linewidth=2.2)
        axes.scatter(
            start, places, s=46, facecolors="white", edgecolors=colours, linewidths=1.5, zorder=3
        )
        axes.scatter(end, places, s=30, c=colours, zorder=4)
        _part(axes, drawn)
        scale.apply(axes, "x", before=0.02, after=0.02)
        labels = distinct_labels([row["node"] for row in drawn], 42)
        axes.set_yticks(places, labels, fontsize=8, parse_math=False)
        axes.set_ylim(max(len(drawn), 1) - 0.4, -0.6)
        if not drawn:
            axes.text(0.5, 0.5, "no node in common", ha="center", transform=axes.transAxes)
        left = len(both) - len(drawn) + bool(whole)
        rest = f"; not shown: {left} nodes that changed less or not at all" if left else ""
        equal = f"; at {EQUAL!r}: no error" if scale.has_equal else ""
        axes.set_xlabel(f"{scale.label}{equal}{rest}")
        head(figure, f"before: {before}\nafter: {after}")
        figure.legend(
            handles=_legend(drawn), loc="outside lower center", ncols=5, fontsize=9, frameon=False
        )
    return settle(figure)


def _largest_changes(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that changed most, the worse before the better; all where none changed."""
    changed = [row for row in rows if row["status"] != "same"] or rows
    chosen = sorted(changed, key=lambda row: -abs(row["drop"]))[:_MOST]
    return sorted(chosen, key=lambda row: _ORDER.get(row["status"], 2))


def _whole_row(whole: tuple[float, float], metric: Metric) -> Mapping[str, Any]:
    a, b = whole
    worse = metric.badness(b) > metric.badness(a)
    status = "same" if a == b else "worse" if worse else "better"
    return {"node": _WHOLE, "status": status, "value_a": a, "value_b": b}


def _part(axes: Axes, drawn: Sequence[Mapping[str, Any]]) -> None:
    """Draw a line between rows of unlike status."""
    statuses = [row["status"] for row in drawn]
    for place in range(1, len(drawn)):
        if statuses[place] != statuses[place - 1] or drawn[place - 1]["node"] is _WHOLE:
            axes.axhline(place - 0.5, color="0.6", linewidth=0.8)


def _colour(row: Mapping[str, Any]) -> str:
    return {"worse": RED, "better": GREEN}.get(row["status"], _GREY)


def _legend(drawn: Sequence[Mapping[str, Any]]) -> list[Line2D]:
    """What the signs mean, of those that are drawn."""

    def dot(colour: str, label: str, face: str | None = None) -> Line2D:
        return Line2D(
            [], [], color=colour, marker="o", markerfacecolor=face or colour, lw=0, label=label
        )

    known = {"worse": RED, "better": GREEN, "same": _GREY}
    statuses = {row["status"] for row in drawn}
    return [
        dot(BLUE, "before", "white"),
        dot(BLUE, "after"),
        *(dot(colour, status) for status, colour in known.items() if status in statuses),
    ]
