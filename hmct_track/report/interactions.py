"""Pairs of nodes: a matrix in text, a table and a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hmct_track.report.html import Table
from hmct_track.report.labels import distinct_labels
from hmct_track.report.shares import interval, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

_WIDTH = 80
_CELL = 7
_MOST_PAIRS = 20


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
    sure = [row for row in _pairs(rows) if row["interacts"]]
    if not sure:
        return (
            f"{title}\n\n{_matrix(rows)}\n\nno pair differs from the sum of both by more than noise"
        )
    lines = [
        f"{percent(row['value']):>9}  {interval(row['low'], row['high']):>18}  "
        f"{row['rank']} with {row['other_rank']}"
        for row in sure[:_MOST_PAIRS]
    ]
    more = f"\nand {len(sure) - _MOST_PAIRS} more" if len(sure) > _MOST_PAIRS else ""
    count = len(_pairs(rows))
    said = (
        f"* more than noise, {100 * first['level']:g} % for all pairs: {len(sure)} of {count}, "
        "with intervals"
    )
    return f"{title}\n\n{_matrix(rows)}\n\n{said}\n\n" + "\n".join(lines) + more


def _matrix(rows: Rows) -> str:
    names = {row["rank"]: row["node"] for row in rows if row["rank"] == row["other_rank"]}
    values = {(row["rank"], row["other_rank"]): row for row in rows}
    shown = max(min(len(names), (_WIDTH - 16) // _CELL), 1)
    width = _WIDTH - shown * _CELL - 5
    lines = [" " * (5 + width) + "".join(f"{k:>{_CELL - 1}} " for k in range(1, shown + 1))]
    labels = dict(zip(names, distinct_labels([*names.values()], width - 1), strict=True))
    for rank in names:
        cells = ""
        for other in range(1, shown + 1):
            row = values.get((rank, other)) or values.get((other, rank))
            mark = "*" if row and row["interacts"] else " "
            cells += f"{100 * row['value']:>{_CELL - 1}.1f}{mark}" if row else " " * _CELL
        lines.append(f"{rank:>3}  {labels[rank]:<{width}}{cells}")
    return "\n".join(line.rstrip() for line in lines)


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
    """A heat map: red is worse together, blue is better; a dot where it is more than noise.

    Args:
        rows: rows of the query ``interactions``.
        title: heading, drawn as it is.
    """
    import numpy as np
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
        figure = Figure(figsize=(4.5 + 0.62 * count, 2.6 + 0.5 * count), layout="constrained")
        axes = figure.subplots()
        head(figure, title)
        image = axes.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
        for i in range(count):
            for j in range(count):
                dark = i != j and abs(values[i, j]) > 0.6 * most
                text = f"{own[i]:.1f}" if i == j else f"{values[i, j]:.1f}"
                axes.text(
                    j, i, f"{text} •" if sure[i, j] else text, ha="center", va="center",
                    fontsize=8, color="white" if dark else "0.1",
                    fontweight="bold" if i == j else "normal",
                )  # fmt: skip
        labels = distinct_labels([str(name) for name in names], 36)
        ranked = [f"{label}  {rank}" for rank, label in enumerate(labels, start=1)]
        axes.set_yticks(range(count), ranked, fontsize=9, parse_math=False)
        axes.set_xticks(range(count), [str(k + 1) for k in range(count)])
        axes.grid(visible=False)
        axes.set_xlabel("diagonal: alone; beside it: together beyond the sum; • more than noise")
        figure.colorbar(image, ax=axes, label="percent of the whole model's mse", shrink=0.8)
    settle(figure)
    return figure


def _pairs(rows: Rows) -> list[Mapping[str, Any]]:
    """The pairs, the largest interaction first."""
    pairs = [row for row in rows if row["rank"] != row["other_rank"]]
    return sorted(pairs, key=lambda row: (-abs(row["value"]), row["rank"], row["other_rank"]))
