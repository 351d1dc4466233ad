"""Shares of the whole model's error in words and figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hmct_track.report.html import Table
from hmct_track.report.labels import distinct_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

_WIDTH = 80
_MOST_BARS = 30
_SHOWN = 10
"""Nodes that are shown however little is known of them."""
_HEADER = ("node", "left out", "interval", "alone", "interval", "")


def percent(value: float | None) -> str:
    """A share in percent."""
    return "" if value is None else f"{100 * value:.1f} %"


def interval(low: float | None, high: float | None) -> str:
    """An interval of shares in percent; empty if there is none."""
    return "" if low is None or high is None else f"{100 * low:.1f} .. {100 * high:.1f}"


def shares_text(rows: Rows, added: Mapping[str, Any] | None) -> str:
    """The nodes with a share, in at most 80 columns, and whether sums predict the whole.

    Args:
        rows: rows of the query ``shares``.
        added: the row of the query ``share_sum``, where the sum is known.
    """
    if not rows:
        return ""
    largest = sorted(rows, key=lambda row: -abs(row["share"]))[:_SHOWN]
    shown = [row for row in rows if row["told"] or row["interacts"] or row in largest]
    first = rows[0]
    how = f"{first['samples']} samples" if first["samples"] > 1 else "1 sample, rounding alone"
    title = (
        f"share of the whole model's mse ({100 * first['level']:g} %, {how}, "
        f"{first['copies']} moved copies)"
    )
    lines = [_HEADER, *(_line(row) for row in shown)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths[0] = min(widths[0], max(_WIDTH - 2 * (len(widths) - 1) - sum(widths[1:]), 8))
    names = [_HEADER[0], *distinct_labels([row["subject"] for row in shown], widths[0])]
    table = [
        "  ".join(cell.ljust(w) for cell, w in zip((name, *line[1:]), widths, strict=True)).rstrip()
        for name, line in zip(names, lines, strict=True)
    ]
    hidden = len(rows) - len(shown)
    if hidden:
        table.append(f"and {hidden} more node{'s' * (hidden > 1)} with smaller shares")
    unsure = sum(not row["told"] for row in rows)
    said = [f"0?: not told apart from 0 %, {unsure} of {len(rows)} nodes"] if unsure else []
    said += [f"interacts: {_INTERACTS}"] if any(row["interacts"] for row in rows) else []
    said += [sum_line(added)] if added else []
    return "\n\n".join(
        ["\n".join([title, "", *table]), *(["\n".join(map(_filled, said))] if said else [])]
    )


_INTERACTS = (
    "left out and alone differ by more than noise; interactions of the worst nodes says with which"
)


def sum_line(added: Mapping[str, Any]) -> str:
    """Whether sums of single errors predict, and by what they are off."""
    spread = f"{added['least']:.2g} to {added['most']:.2g} times what was measured"
    total = f"the errors of all {added['nodes']} nodes alone add up to {percent(added['sum'])}"
    if added["agrees"]:
        return f"{total}; with one left out to {spread}, so that sums predict about so well"
    return f"{total}, with one left out to {spread}: sums of shares predict nothing here"


def shares_table(rows: Rows) -> Table:
    """All nodes, for pages and notebooks."""
    lines = [_line(row) for row in rows]
    return Table(_HEADER, lines, frozenset({1, 2, 3, 4}))


def shares_figure(rows: Rows, title: str) -> Figure:
    """The nodes with the largest shares: full dots are left out, hollow ones alone.

    Args:
        rows: rows of the query ``shares``.
        title: heading, drawn as it is.
    """
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from hmct_track.report.style import BLUE, RED, head, settle, style

    drawn = rows[:_MOST_BARS]
    y = np.arange(len(drawn))
    values = {
        name: np.array([np.nan if row[name] is None else 100 * row[name] for row in drawn])
        for name in ("share", "share_low", "share_high", "alone")
    }
    colors = [RED if row["interacts"] else BLUE for row in drawn]
    with style():
        figure = Figure(figsize=(10, 2 + 0.26 * len(drawn)), layout="constrained")
        axes = figure.subplots()
        head(figure, title)
        axes.axvline(0, color="0.6", linewidth=1, zorder=1)
        axes.hlines(y, values["share_low"], values["share_high"], colors=colors, linewidth=1.5)
        axes.scatter(values["share"], y, s=34, c=colors, zorder=4)
        axes.scatter(values["alone"], y, s=40, facecolors="none", edgecolors="0.3", zorder=3)
        labels = distinct_labels([str(row["subject"]) for row in drawn], 42)
        axes.set_yticks(y, labels, fontsize=9, parse_math=False)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        of = f"the {len(drawn)} largest of {len(rows)} nodes" if len(drawn) < len(rows) else ""
        axes.set(xlabel=f"share of the whole model's mse in percent  {of}".rstrip(), ylabel="")
        signs: dict[str, Any] = {"marker": "o", "lw": 0, "markersize": 6}
        handles = [
            Line2D([], [], color=BLUE, label="gone when left out, with interval", **signs),
            Line2D([], [], color="0.3", markerfacecolor="none", label="alone", **signs),
        ]
        if RED in colors:
            handles.insert(1, Line2D([], [], color=RED, label="the same, interacting", **signs))
        figure.legend(
            handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False
        )
    settle(figure)
    return figure


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["subject"],
        percent(row["share"]),
        interval(row["share_low"], row["share_high"]),
        percent(row["alone"]),
        interval(row["alone_low"], row["alone_high"]),
        "interacts" if row["interacts"] else "" if row["told"] else "0?",
    )


def _filled(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
