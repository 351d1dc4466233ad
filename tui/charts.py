"""Charts in characters: histograms, boxes, curves, drawn from the rows of queries."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import RenderResult
from textual.geometry import Size
from textual.markup import escape
from textual_plotext import PlotextPlot
from textual_plotext.plot import Plot

from hmct_track.metrics import Metric, value_of

from .text import bar, clean, moment, number, plain, severity, share, shortened, worst_of

if TYPE_CHECKING:
    from hmct_track.lake.rows import (
        ChannelDistributionRow,
        DistributionRow,
        HistogramRow,
        NodeHistoryOfModelRow,
    )

Draw = Callable[[int, int], Text] | Callable[[Plot], None]

_INDENT = 11
_TICKS = 6
_NAME = 16
"""Cells of a node's name on an axis."""
_NAMES = 4
_FAR = 4.0
"""A threshold that is so many times the data's reach would leave them no room in a chart."""
BLUE, ORANGE, RED = (0, 130, 200), (230, 159, 0), (220, 60, 50)
_SERIES = (BLUE, ORANGE, RED, (0, 158, 115), (204, 121, 167), (120, 120, 120))


class Panel(PlotextPlot):  # type: ignore[misc] # the package is untyped
    """A framed chart: a plot, or text that is made for the size of the frame."""

    can_focus = True

    def __init__(self, title: str, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id, classes="panel")
        self.border_title = title
        self._text: Callable[[int, int], Text] | None = lambda *_: Text("Reading ...", style="dim")

    def name_it(self, title: str) -> None:
        """Set the title, which may hold a node's name and so must not be taken for markup."""
        self.border_title = escape(clean(title))

    def show_text(self, make: Callable[[int, int], Text]) -> None:
        """Show what ``make`` gives for a width and a height."""
        self._text = make
        self.refresh(layout=True)

    def say(self, text: str) -> None:
        """Show a note."""
        self.show_text(lambda *_: Text(text, style="dim"))

    def plot(self, draw: Callable[[Plot], None]) -> None:
        """Show a plot."""
        self._text = None
        self.plt.clear_figure()
        draw(self.plt)
        self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The lines of a text at this width, for panels that are as high as what they show."""
        return self._text(width, 0).plain.count("\n") + 1 if self._text else 0

    def render(self) -> RenderResult:
        """The text, or the plot."""
        if self._text:
            return self._text(self.size.width, self.size.height)
        if self.size.width < 12 or self.size.height < 4:
            return Text()
        plotted: Text = super().render()
        return plotted


def facts(lines: Sequence[tuple[str, str]], width: int) -> Text:
    """Names and values; a value that is too long goes on below itself."""
    text = Text()
    for what, value in lines:
        room = max(width - _INDENT, 8)
        parts = textwrap.wrap(clean(value), room, break_on_hyphens=False) or [""]
        for place, part in enumerate(parts):
            text.append(f"{'' if place else what:<{_INDENT}}", "bold").append(part).append("\n")
    text.rstrip()
    return text


def histogram(
    rows: Sequence[DistributionRow], bins: Sequence[HistogramRow]
) -> Callable[[Plot], None]:
    """Before (or what goes in) as bars, after as dots, thresholds as red lines, counts as decades.

    Args:
        rows: the node's rows of the query ``distribution``.
        bins: the node's rows of the query ``histogram``.
    """

    def draw(plt: Plot) -> None:
        top = 1.0
        for series, color, marker in (("before", BLUE, "sd"), ("input", BLUE, "sd"),
                                      ("after", ORANGE, "braille")):  # fmt: skip
            own = [b for b in bins if b["series"] == series]
            if not own:
                continue
            x = [(b["low"] + b["high"]) / 2 for b in own]
            y = [math.log10(b["count"]) + 0.3 if b["count"] else 0.0 for b in own]
            top = max(top, *y)
            if series == "after":
                plt.scatter(x, y, color=color, marker="dot", label="after")
            else:
                plt.bar(x, y, color=color, marker=marker, width=1.0, label=series)
        low, high = _extent(rows, bins)
        drawn = []
        for threshold in sorted({r["threshold"] for r in rows if r["threshold"] is not None}):
            label = f"threshold {threshold:.4g}"
            if threshold > _FAR * max(abs(low), abs(high)):
                plt.title(f"{label} is far beyond the data")
                continue
            for place in (threshold, *([-threshold] if low < 0 else [])):
                plt.plot([place, place], [0, top], color=RED, marker="braille",
                         label=label if place > 0 else None)  # fmt: skip
                drawn.append(place)
        _name_ticks(plt, [low, high, *drawn])
        decades = range(math.ceil(top))
        plt.yticks([d + 0.3 for d in decades], [f"1e{d}" for d in decades])

    return draw


def curve(
    points: Sequence[tuple[int, float, str]], node: str, metric: Metric
) -> Callable[[Plot], None]:
    """The metric at every node; a red line stands where the node itself is.

    Args:
        points: step, value and node, in order.
        node: the node that alone is quantized.
        metric: the metric.
    """

    def draw(plt: Plot) -> None:
        kept = [(step, value) for step, value, _ in points if math.isfinite(value)]
        if not kept:
            return
        steps, values = [k[0] for k in kept], [k[1] for k in kept]
        plt.plot(steps, values, color=BLUE, marker="braille")
        own = [step for step, _, name in points if name == node]
        if own:
            plt.plot([own[0]] * 2, [min(values), max(values)], color=RED, marker="braille")
        _name_ticks(plt, values, vertical=True)
        _name_nodes(plt, points)
        plt.xlabel("node, in topological order")
        plt.ylabel(metric.value)

    return draw


def _extent(rows: Sequence[DistributionRow], bins: Sequence[HistogramRow]) -> tuple[float, float]:
    """From the smallest to the largest value that was seen."""
    lows = [r["min"] for r in rows if r["min"] is not None] or [b["low"] for b in bins] or [0.0]
    highs = [r["max"] for r in rows if r["max"] is not None] or [b["high"] for b in bins] or [0.0]
    return min(lows), max(highs)


def _name_nodes(plt: Plot, points: Sequence[tuple[int, float, str]]) -> None:
    """Names of a few nodes at even distances."""
    shown = points[:: max(math.ceil(len(points) / _NAMES), 1)]
    plt.xticks([step for step, *_ in shown], [shortened(clean(n), _NAME) for *_, n in shown])


def _name_ticks(plt: Plot, values: Sequence[float], *, vertical: bool = False) -> None:
    """Ticks at even distances; plotext names them with all the digits of a float."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    places = [low + (high - low) * i / (_TICKS - 1) for i in range(_TICKS)] if high > low else [low]
    (plt.yticks if vertical else plt.xticks)(places, [f"{place:.4g}" for place in places])


def boxes(rows: Sequence[ChannelDistributionRow]) -> Callable[[int, int], Text]:
    """A box per channel: │ whiskers, █ quartiles, ━ median, · extremes.

    Args:
        rows: the node's rows of the query ``channel_distribution``.
    """

    def make(width: int, height: int) -> Text:
        room, lines = max(width - 11, 1), max(height - 1, 2)
        widest = sorted(rows, key=lambda r: r["min"] - r["max"])[:room]
        shown = sorted(widest, key=lambda r: r["channel"])
        low, high = min(r["min"] for r in shown), max(r["max"] for r in shown)
        extent = (high - low) or 1.0
        step = max(room // len(shown), 1)

        def at(value: float) -> int:
            return int((high - value) / extent * (lines - 1) + 0.5)

        grid = [[" "] * (step * len(shown)) for _ in range(lines)]
        for place, row in enumerate(shown):
            x = place * step
            for a, b, sign in (
                (at(row["max"]), at(row["min"]), ""),
                (at(row["whisker_high"]), at(row["whisker_low"]), "│"),
                (at(row["q75"]), at(row["q25"]), "█"),
            ):
                for y in range(a, b + 1) if sign else (a, b):
                    grid[y][x] = sign or "·"
            grid[at(row["median"])][x] = "━"
        labels = {0: high, lines - 1: low}
        text = Text(no_wrap=True)
        for y, line in enumerate(grid):
            label = f"{labels[y]:.4g}" if y in labels else ""
            text.append(f"{label:>10} ", "dim").append("".join(line) + "\n")
        outliers = sum(row["outliers"] for row in rows)
        part = (
            f"the {len(shown)} widest of {len(rows)}" if len(shown) < len(rows) else str(len(rows))
        )
        first, last = shown[0]["channel"], shown[-1]["channel"]
        text.append(f"{part} channels, {first} to {last}, axis {rows[0]['axis']}; "
                    f"{outliers} outliers", "dim")  # fmt: skip
        return text

    return make


def history(
    rows: Sequence[NodeHistoryOfModelRow],
    metric: Metric,
    color: Callable[[str], str],
    notes: Mapping[str, str],
) -> Callable[[int, int], Text]:
    """The node in every run, the newest first, with a bar.

    Args:
        rows: rows of the query ``node_history_of_model``.
        metric: the metric shown.
        color: the style of a severity.
        notes: run id to what was remarked on it.
    """

    def make(width: int, height: int) -> Text:
        values = [value_of(row, metric) for row in rows]
        worst = worst_of(values, metric)
        text = Text(no_wrap=True)
        for row in list(reversed(rows))[:height]:
            value = value_of(row, metric)
            style = color(severity(value, metric, worst))
            other = "" if row["same_model"] else "  other content of the model"
            text.append_text(plain(f"{moment(row['started_at'])} {number(value):>10} ", style))
            text.append_text(bar(share(value, values, metric), 12, style))
            outputs = ",".join(row["outputs"] or ())
            text.append_text(plain(f" {row['data_num']} samples at {outputs}{other}", "dim"))
            text.append_text(plain(f"  {notes.get(row['run_id'], '')}"))
            text.append("\n")
        return text

    return make


def curves(
    points: Sequence[tuple[str, int, float | None, str]], metric: Metric
) -> Callable[[Plot], None]:
    """Several curves over the same nodes, each in its own colour.

    Args:
        points: curve, step, value and node; values that are not finite are left out.
        metric: the metric.
    """

    def draw(plt: Plot) -> None:
        kept = [p for p in points if p[2] is not None and math.isfinite(p[2])]
        for place, name in enumerate(dict.fromkeys(p[0] for p in kept)):
            own = [(p[1], p[2]) for p in kept if p[0] == name]
            plt.plot([x for x, _ in own], [y for _, y in own], color=_SERIES[place % len(_SERIES)],
                     marker="braille", label=shortened(clean(name), 2 * _NAME))  # fmt: skip
        if kept:
            _name_ticks(plt, [p[2] for p in kept if p[2] is not None], vertical=True)
            steps = {p[1]: p[3] for p in kept}
            _name_nodes(plt, [(step, 0.0, steps[step]) for step in sorted(steps)])
        plt.ylabel(metric.value)

    return draw


def frontier(points: Sequence[tuple[float, float | None, bool, bool]]) -> Callable[[Plot], None]:
    """What a plan's search measured: cost against value.

    Args:
        points: cost, value, whether nothing is cheaper and better, and whether it is the plan.
    """

    def draw(plt: Plot) -> None:
        kept = [p for p in points if p[1] is not None and math.isfinite(p[1])]
        for color, label, chosen in (
            (BLUE, "measured", [p for p in kept if not p[2]]),
            (ORANGE, "frontier", [p for p in kept if p[2]]),
            (RED, "the plan", [p for p in kept if p[3]]),
        ):
            if chosen:
                plt.scatter([p[0] for p in chosen], [p[1] for p in chosen], color=color,
                            marker="dot", label=label)  # fmt: skip
        if kept:
            _name_ticks(plt, [p[0] for p in kept])
            _name_ticks(plt, [p[1] for p in kept if p[1] is not None], vertical=True)
        plt.xlabel("cost")

    return draw
