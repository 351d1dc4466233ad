"""The figure of a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hmct_track.report.style import BLUE, RED, settle, shortened, style
from hmct_track.types import Metric

_MOST_BARS = 30
_LABELLED = 5


@dataclass(frozen=True)
class Wording:
    """What the axes call the things that are ranked."""

    order: str = "quantized node, in topological order"
    worst: str = "most sensitive"
    things: str = "nodes"


_NODES = Wording()


def ranking_figure(
    rows: Sequence[Mapping[str, Any]], metric: Metric, title: str, wording: Wording = _NODES
) -> Figure:
    """The most sensitive nodes as bars, and all nodes in topological order above them.

    Args:
        rows: rows of the query ``sensitivity``, most sensitive first.
        metric: the metric that ranked them.
        title: heading; node names and the title are drawn as they are.
        wording: what is ranked, where it is not nodes.
    """
    bars = rows[:_MOST_BARS]
    height = 3.2 + 0.5 + 0.26 * len(bars)
    with style():
        figure = Figure(figsize=(10, height), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=(3.2, 0.5 + 0.26 * len(bars)))
        figure.suptitle(title, parse_math=False, fontsize=13)
        _draw_order(above, rows, metric, wording)
        _draw_bars(below, bars, metric, len(rows), wording)
    return settle(figure)


def _draw_order(
    axes: Axes, rows: Sequence[Mapping[str, Any]], metric: Metric, wording: Wording
) -> None:
    ordered = sorted(rows, key=lambda row: row["position"])
    x = [row["position"] for row in ordered]
    y = _errors(ordered, metric)
    worst = {row["position"] for row in rows[:_LABELLED]}
    axes.plot(x, y, color="0.75", linewidth=1, zorder=1)
    sns.scatterplot(
        x=x,
        y=y,
        hue=["most sensitive" if p in worst else "other" for p in x],
        palette={"most sensitive": RED, "other": BLUE},
        ax=axes,
        s=30,
        legend=False,
        zorder=2,
    )
    axes.margins(y=0.12)
    finite = y[np.isfinite(y)]
    if len(finite) and _is_log(metric):
        # Limits come before the scale: of one value matplotlib makes an interval of no width.
        margin = max((finite.max() / finite.min()) ** 0.12, 2)
        axes.set_ylim(finite.min() / margin, finite.max() * margin)
        axes.set_yscale("log")
    axes.set(xlabel=wording.order, ylabel=_label(metric))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, min_n_ticks=1))
    beside = max(0.5, 0.02 * (x[-1] - x[0]))
    axes.set_xlim(x[0] - beside, x[-1] + beside)  # nodes without a value keep their place
    by_position = dict(zip(x, y, strict=True))
    near = 0.02 * (x[-1] - x[0])
    for rank, row in enumerate(rows[:_LABELLED], start=1):
        place = row["position"]
        if np.isfinite(by_position[place]):
            # Beside the point where another one's number would be above it, too.
            lefts = any(0 < other - place <= near for other in worst)
            rights = any(0 < place - other <= near for other in worst)
            side = int(rights) - int(lefts)
            axes.annotate(
                str(rank),
                (place, by_position[place]),
                xytext=(8 * side, 0 if side else 6),
                textcoords="offset points",
                ha="center",
                va="center" if side else "bottom",
                color=RED,
                fontsize=9,
            )


def _draw_bars(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
    total: int,
    wording: Wording,
) -> None:
    y = _errors(rows, metric)
    places = np.arange(len(rows))
    colors = [RED if i < _LABELLED else BLUE for i in places]
    finite = y[np.isfinite(y)]
    log = len(finite) > 0 and _is_log(metric)
    floor = min(finite.min() / 2, finite.max() / 1e3) if log else 0.0
    axes.hlines(places, floor, y, color=colors, linewidth=2)
    axes.scatter(y, places, color=colors, s=36, zorder=3)
    if log:
        axes.set_xlim(floor, finite.max() * 3)
        axes.set_xscale("log")
    names = [f"{shortened(row['subject'])}  {i}" for i, row in enumerate(rows, start=1)]
    axes.set_yticks(places, names, fontsize=9, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    for place, (row, value) in enumerate(zip(rows, y, strict=True)):
        drawn = np.isfinite(value)
        axes.annotate(
            _number(row[metric.column]),
            (value if drawn else 0, place),
            xycoords="data" if drawn else ("axes fraction", "data"),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="0.3",
        )
    things = wording.things
    shown = f"all {things}"
    if len(rows) < total:
        shown = f"the {len(rows)} {wording.worst} of {total} {things}"
    axes.set(xlabel=f"{_label(metric)}   (beside each point: {metric.value}; {shown})", ylabel="")


def _errors(rows: Sequence[Mapping[str, Any]], metric: Metric) -> np.ndarray:
    """What is drawn: larger is worse, but for sqnr; NaN for what has no value or no place on a log
    scale.
    """
    y = np.array([np.nan if r[metric.column] is None else r[metric.column] for r in rows], float)
    if metric is Metric.COSINE_SIMILARITY:
        y = 1 - y
    y[~np.isfinite(y)] = np.nan
    if _is_log(metric):
        y[y <= 0] = np.nan
    return y


def _is_log(metric: Metric) -> bool:
    return metric is not Metric.SQNR


def _label(metric: Metric) -> str:
    names = {Metric.COSINE_SIMILARITY: "1 - cosine similarity", Metric.SQNR: "sqnr (dB)"}
    return names.get(metric, metric.value)


def _number(value: float | None) -> str:
    if value is None:
        return "nan"
    return f"{value:.5f}" if 1e-4 <= abs(value) < 1e5 else f"{value:.3g}"
