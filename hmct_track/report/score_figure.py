"""A ranking by a score of the user's own, as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from hmct_track.report.labels import distinct_labels
from hmct_track.report.style import BLUE, RED, head, settle, style
from hmct_track.text import visible

Row = Mapping[str, Any]
_MOST_BARS = 30
_LABELLED = 5
_LABEL_WIDTH = 40


def score_figure(rows: Sequence[Row], found: Sequence[Row], title: str) -> Figure:
    """What each node alone loses of the first score, the worst on top, with its interval.

    Args:
        rows: rows of the query ``sensitivity``, in the order of the scores.
        found: rows of the query ``score_results``.
        title: heading, drawn as it is.
    """
    first = {row["position"]: row for row in found if row["place"] == 0}
    shown = [row for row in rows if row["position"] in first][:_MOST_BARS]
    whole = next((row for row in first.values() if row["role"] == "reference"), None)
    with style():
        figure = Figure(figsize=(10, 1.8 + 0.26 * len(shown)), layout="constrained")
        axes = figure.subplots()
        head(figure, title)
        for place, row in enumerate(shown):
            of = first[row["position"]]
            color = RED if place < _LABELLED and of["lost"] > 0 else BLUE
            axes.barh(place, of["lost"], color=color, height=0.6)
            if of["lost_low"] is not None:
                axes.hlines(place, of["lost_low"], of["lost_high"], color="0.15", linewidth=1.1)
        axes.axvline(0, color="0.6", linewidth=0.8)
        if whole is not None:
            line: dict[str, Any] = {"color": "0.25", "linestyle": (0, (5, 2))}
            axes.axvline(whole["lost"], label="all nodes quantized", **line)
            axes.legend(loc="lower right", frameon=False, fontsize=9)
        names = distinct_labels([row["subject"] for row in shown], _LABEL_WIDTH)
        axes.set_yticks(range(len(shown)), names)
        axes.invert_yaxis()
        name = visible(next(iter(first.values()))["score"])
        axes.set_xlabel(f"{name} lost against float, of each node quantized alone")
    settle(figure)
    return figure
