"""The figure of a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hmct_track.report.labels import distinct_labels
from hmct_track.report.markers import Numbered, draw_numbers
from hmct_track.report.scale import EQUAL, ErrorScale
from hmct_track.report.style import BLUE, RED, head, settle, style
from hmct_track.report.tables import adapted_values
from hmct_track.types import Metric

_MOST_BARS = 30
_LABELLED = 5
_WHOLE: dict[str, Any] = {"color": "0.25", "linestyle": (0, (5, 2)), "linewidth": 1.3}

Interval = tuple[float, float]
"""Low and high of a metric."""


@dataclass(frozen=True)
class Wording:
    """What the axes call the things that are ranked."""

    order: str = "quantized node, in topological order"
    worst: str = "most sensitive"
    things: str = "nodes"


_NODES = Wording()


def ranking_figure(
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
    title: str,
    wording: Wording = _NODES,
    *,
    intervals: Sequence[Interval | None] | None = None,
    whole: float | None = None,
    interval_name: str = "interval",
) -> Figure:
    """The most sensitive nodes as bars, and all nodes in topological order above them.

    What equals the float model stands hollow at the end of the axis, where a tick says so.

    Args:
        rows: rows of the query ``sensitivity``, most sensitive first.
        metric: the metric that ranked them.
        title: heading; node names and the title are drawn as they are.
        wording: what is ranked, where it is not nodes.
        intervals: low and high of the metric of each row, in the rows' order, drawn as error bars.
        whole: the metric of the fully quantized model, drawn as a line across both axes.
        interval_name: what the error bars are, for the legend: ``95 % interval``.
    """
    drawn = _Ranking(rows, metric, wording, list(intervals or [None] * len(rows)), whole)
    bars = min(len(rows), _MOST_BARS)
    heights = 3.2, 0.5 + 0.26 * bars
    with style():
        figure = Figure(figsize=(10, sum(heights) + 0.5), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=heights)
        head(figure, title)
        drawn.draw_order(above)
        drawn.draw_bars(below)
        handles = drawn.legend(interval_name)
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(len(handles), 3), fontsize=9,
            frameon=False,
        )  # fmt: skip
    settle(figure)
    drawn.number_worst(above)
    return figure


class _Ranking:
    """Rows of a ranking, and where they stand on the axis of their metric."""

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        metric: Metric,
        wording: Wording,
        intervals: Sequence[Interval | None],
        whole: float | None,
    ) -> None:
        self.rows, self.metric, self.wording, self.whole = rows, metric, wording, whole
        self.values, self.intervals = [row[metric.column] for row in rows], intervals
        self.scale = self._scale(self.values, intervals)
        self.places = self.scale.places(self.values)
        self.equal = self.scale.is_equal(self.values)
        self.spans = _spans(self.scale, intervals)
        # A node without an error is not one of the worst, however few the others are.
        self.worst = ~self.equal & (np.arange(len(rows)) < _LABELLED)
        self.colors = np.where(self.worst, RED, BLUE)

    def _scale(
        self, values: Sequence[float | None], intervals: Sequence[Interval | None]
    ) -> ErrorScale:
        ends = [end for interval in intervals if interval for end in interval]
        return ErrorScale([*values, *ends, self.whole], self.metric)

    def draw_order(self, axes: Axes) -> None:
        x = np.array([row["position"] for row in self.rows])
        order = np.argsort(x, kind="stable")
        axes.plot(x[order], self.places[order], color="0.8", linewidth=1, zorder=1)
        if np.isfinite(self.spans).any():
            axes.vlines(x, *self.spans, color=self.colors, linewidth=1.2, alpha=0.6, zorder=2)
        self._scatter(axes, x, self.places, size=24 if len(x) > 200 else 32)
        self._draw_whole(axes, "y", self.scale)
        self.scale.apply(axes, "y", before=0.04, after=0.12)
        axes.set(xlabel=self.wording.order, ylabel=self.scale.label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        width = x.max() - x.min()
        beside = max(0.5, 0.02 * width)
        axes.set_xlim(x.min() - beside, x.max() + beside)  # nodes without a value keep their place

    def number_worst(self, axes: Axes) -> None:
        """Write the rank beside the worst, once the figure is laid out."""
        x = np.array([row["position"] for row in self.rows], float)
        order = np.argsort(x, kind="stable")
        worst = np.flatnonzero(self.worst & np.isfinite(self.places))
        numbers = [Numbered(x[k], self.places[k], str(k + 1), RED) for k in worst]
        lines = [(x[order], self.places[order])]
        lines += [(x[[k, k]], self.spans[:, k]) for k in worst]
        if self.whole is not None:
            lines.append((np.array(axes.get_xlim()), self.scale.places([self.whole] * 2)))
        draw_numbers(axes, numbers, lines)

    def draw_bars(self, axes: Axes) -> None:
        count = min(len(self.rows), _MOST_BARS)
        values, intervals = self.values[:count], self.intervals[:count]
        scale = self._scale(values, intervals)
        x, y = scale.places(values), np.arange(count)
        scale.apply(axes, "x", after=0.16)
        ends = np.where(self.equal[:count], np.nan, x)
        axes.hlines(y, axes.get_xlim()[0], ends, color=self.colors[:count], linewidth=2)
        low, high = _spans(scale, intervals)
        if np.isfinite(low).any():
            axes.hlines(y, low, high, color="0.15", linewidth=1.1, zorder=4)
            for side in (low, high):
                axes.vlines(side, y - 0.2, y + 0.2, color="0.15", linewidth=1.1, zorder=4)
        self._scatter(axes, x, y, size=36)
        self._draw_whole(axes, "x", scale)
        labels = distinct_labels([str(row["subject"]) for row in self.rows[:count]], 42)
        names = [f"{label}  {rank}" for rank, label in enumerate(labels, start=1)]
        axes.set_yticks(y, names, fontsize=9, parse_math=False)
        axes.set_ylim(count - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        texts = adapted_values(values, self.metric)
        self._write_values(axes, texts.texts, np.fmax(x, np.fmax(low, high)))
        things = self.wording.things
        shown = f"all {things}"
        if count < len(self.rows):
            shown = f"the {count} {self.wording.worst} of {len(self.rows)} {things}"
        beside = f"beside each point: {texts.name}; {shown}"
        axes.set(xlabel=f"{self.scale.label}   ({beside})", ylabel="")

    def _write_values(self, axes: Axes, texts: Sequence[str], ends: np.ndarray) -> None:
        for place, (text, end) in enumerate(zip(texts, ends, strict=True)):
            drawn = np.isfinite(end)
            axes.annotate(
                text,
                (end if drawn else 0, place),
                xycoords="data" if drawn else ("axes fraction", "data"),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color="0.3",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            )

    def _scatter(self, axes: Axes, x: np.ndarray, y: np.ndarray, size: float) -> None:
        # The worst last, so that none of the others lies over them.
        edges = self.colors[: len(y)][::-1]
        faces = np.where(self.equal[: len(y)][::-1], "white", edges)
        axes.scatter(
            x[::-1], y[::-1], s=size, c=faces, edgecolors=list(edges), linewidths=1, zorder=5
        )

    def _draw_whole(self, axes: Axes, which: Literal["x", "y"], scale: ErrorScale) -> None:
        place = scale.places([self.whole])[0]
        if np.isfinite(place):
            (axes.axhline if which == "y" else axes.axvline)(place, zorder=3, **_WHOLE)

    def legend(self, interval_name: str) -> list[Artist]:
        """What the signs mean, of those that are drawn."""
        found: list[Artist] = []
        if self.worst.any():
            count = int(self.worst.sum())
            found.append(_dot(RED, f"the {f'{count} ' * (count > 1)}{self.wording.worst}"))
        if (~self.worst & ~self.equal & np.isfinite(self.places)).any():
            found.append(_dot(BLUE, "others"))
        if self.equal.any():
            count = int(self.equal.sum())
            found.append(_dot(BLUE, f"{EQUAL} to float: no error ({count})", "white"))
        if np.isfinite(self.spans).any():
            found.append(Line2D([], [], color="0.15", lw=1.1, marker="|", label=interval_name))
        if self.whole is not None:
            text = adapted_values([self.whole], self.metric)
            label = f"fully quantized model: {text.name} {text.texts[0]}"
            found.append(Line2D([], [], label=label, **_WHOLE))
        return found


def _spans(scale: ErrorScale, intervals: Sequence[Interval | None]) -> np.ndarray:
    """Where intervals begin and end, in two rows."""
    lows = scale.places([interval and interval[0] for interval in intervals])
    return np.stack([lows, scale.places([interval and interval[1] for interval in intervals])])


def _dot(color: str, label: str, face: str | None = None) -> Line2D:
    return Line2D(
        [], [], color=color, marker="o", lw=0, markersize=6, markerfacecolor=face or color,
        label=label,
    )  # fmt: skip
