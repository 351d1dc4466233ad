"""Pairs of nodes: a matrix in text, a table and a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hmct_track.report.html import Table
from hmct_track.report.labels import distinct_labels
from hmct_track.report.shares import interval, percent
from hmct_track.text import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

_WIDTH = 80
_CELL = 7
_MOST_PAIRS = 20
_LARGEST = 5
"""Pairs that are shown with their intervals however little is known of them."""
_PALE = 0.3


def interactions_text(rows: Rows) -> str:
    """The matrix in at most 80 columns, and the pairs that interact.

    Args:
        rows: rows of the query ``interactions``.
    """
    if not rows:
        return ""
    first = rows[0]
    samples = f"{first['samples']} samples" if first["samples"] > 1 else "1 sample, rounding alone"
    title = (
        f"percent of the whole model's mse ({samples}, {first['copies']} moved copies): each node\n"
        "alone on the diagonal, beside it what two cost together beyond the sum of both"
    )
    pairs = _pairs(rows)
    sure = [row for row in pairs if row["interacts"]]
    shown = [row for row in pairs if row["interacts"] or row in pairs[:_LARGEST]][:_MOST_PAIRS]
    said = "no pair differs from the sum of both by more than noise"
    if sure:
        said = f"* more than noise, {100 * first['level']:g} % for all pairs: {len(sure)}"
        said += f" of {len(pairs)}"
    unsure = len(pairs) - len(sure)
    if unsure:
        said += f"\n0?: not told apart from 0 %, {unsure} of {len(pairs)} pairs"
    hidden = len(sure) - sum(row["interacts"] for row in shown)
    more = [f"and {hidden} more that are"] if hidden else []
    parts = [title, _matrix(rows), "\n".join([*map(_line, shown), *more]), said]
    return "\n\n".join(part for part in parts if part)


def _line(row: Mapping[str, Any]) -> str:
    """A pair: what it costs beyond the sum, the interval, and which way it goes."""
    way = "worse together" if row["value"] > 0 else "less together"
    return (
        f"{percent(row['value']):>9}  {interval(row['low'], row['high']):>18}  "
        f"{row['rank']} with {row['other_rank']}: {way if row['interacts'] else '0?'}"
    )


def _matrix(rows: Rows) -> str:
    """The matrix, and below it the names of its rows where they are too long to stand there."""
    names = {row["rank"]: row["node"] for row in rows if row["rank"] == row["other_rank"]}
    values = {(row["rank"], row["other_rank"]): row for row in rows}
    shown = max(min(len(names), (_WIDTH - 16) // _CELL), 1)
    room = _WIDTH - shown * _CELL - 5
    width = min(room, max(map(len, map(visible, names.values()))) + 1)
    labels = dict(zip(names, distinct_labels([*names.values()], room - 1), strict=True))
    whole = all(labels[rank] == visible(name) for rank, name in names.items())
    width = width if whole else 0
    lines = [" " * (5 + width) + "".join(f"{k:>{_CELL - 1}} " for k in range(1, shown + 1))]
    for rank in names:
        cells = ""
        for other in range(1, shown + 1):
            row = values.get((rank, other)) or values.get((other, rank))
            mark = "*" if row and row["interacts"] else " "
            cells += f"{_percent(row):>{_CELL - 1}}{mark}" if row else " " * _CELL
        lines.append(f"{rank:>3}  {labels[rank] if whole else '':<{width}}{cells}")
    if not whole:
        full = distinct_labels([*names.values()], _WIDTH - 5)
        lines += ["", *(f"{rank:>3}  {name}" for rank, name in zip(names, full, strict=True))]
    return "\n".join(line.rstrip() for line in lines)


def _percent(row: Mapping[str, Any]) -> str:
    return f"{100 * row['value']:z.1f}"


def interactions_table(rows: Rows) -> Table:
    """The pairs, the largest interaction first, for pages and notebooks."""
    lines = [
        [
            row["node"],
            row["other"],
            percent(row["value"]),
            interval(row["low"], row["high"]),
            percent(row["together"]),
            "yes" if row["interacts"] else "",
        ]
        for row in _pairs(rows)
    ]
    header = ("node", "other", "beyond the sum", "interval", "together", "interacts")
    return Table(header, lines, frozenset({2, 3, 4}))


def interactions_figure(rows: Rows, title: str) -> Figure:
    """A heat map: red is worse together, blue is better, and pale what may be noise.

    Args:
        rows: rows of the query ``interactions``.
        title: heading, drawn as it is.
    """
    import numpy as np
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from hmct_track.report.style import head, settle, style

    names = [row["node"] for row in rows if row["rank"] == row["other_rank"]]
    count = len(names)
    values, sure = np.full((count, count), np.nan), np.zeros((count, count), dtype=bool)
    for row in _pairs(rows):
        for place in (
            (row["rank"] - 1, row["other_rank"] - 1),
            (row["other_rank"] - 1, row["rank"] - 1),
        ):
            values[place], sure[place] = 100 * row["value"], row["interacts"]
    own = [100 * row["value"] for row in rows if row["rank"] == row["other_rank"]]
    most = max(float(np.nanmax(np.abs(values))), 1e-9) if count > 1 else 1.0
    with style():
        labels = distinct_labels([str(name) for name in names], 48)
        wide = 0.085 * max(map(len, labels), default=0)
        figure = Figure(
            figsize=(max(2.6 + 0.62 * count + wide, 6.5), 2.6 + 0.5 * count), layout="constrained"
        )
        axes = figure.subplots()
        head(figure, title)
        image = axes.imshow(
            values, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto",
            alpha=np.where(sure, 1.0, _PALE),
        )  # fmt: skip
        for i in range(count):
            for j in range(count):
                dark = sure[i, j] and abs(values[i, j]) > 0.6 * most
                text = f"{own[i]:z.1f}" if i == j else f"{values[i, j]:z.1f}"
                axes.text(
                    j, i, f"{text} •" if sure[i, j] else text, ha="center", va="center",
                    fontsize=8, color="white" if dark else "0.1",
                    fontweight="bold" if i == j else "normal",
                )  # fmt: skip
        ranked = [f"{label}  {rank}" for rank, label in enumerate(labels, start=1)]
        axes.set_yticks(range(count), ranked, fontsize=9, parse_math=False)
        axes.set_xticks(range(count), [str(k + 1) for k in range(count)])
        axes.grid(visible=False)
        axes.set_xlabel("diagonal: alone; beside it: together beyond the sum\n"
                        "• more than noise; pale: not told apart from 0")  # fmt: skip
        scale = ScalarMappable(image.norm, image.cmap)  # with no paleness of its own
        figure.colorbar(scale, ax=axes, label="percent of the whole model's mse", shrink=0.8)
    settle(figure)
    return figure


def _pairs(rows: Rows) -> list[Mapping[str, Any]]:
    """The pairs, the largest interaction first."""
    pairs = [row for row in rows if row["rank"] != row["other_rank"]]
    return sorted(pairs, key=lambda row: (-abs(row["value"]), row["rank"], row["other_rank"]))
