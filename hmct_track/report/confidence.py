"""How sure a ranking is, as text: a note below the table, and a table with intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from hmct_track.report.tables import adapted_values
from hmct_track.types import Metric

Rows = Sequence[Mapping[str, Any]]
Found = Mapping[int, Mapping[str, Any]]
"""Rows of the query ``intervals`` by position."""

_WIDTH = 80
_MOST_GROUPS = 6
_METHODS = {"bootstrap": "bootstrap", "student": "Student's t"}


def confidence_note(rows: Rows, found: Found, samples: int) -> str:
    """What the ranking above it does not tell apart; empty where nothing is known of it.

    Args:
        rows: rows of the query ``sensitivity``, in order.
        found: how sure each is.
        samples: how many samples the run has.
    """
    if not any(row["position"] in found for row in rows):
        return ""
    sure = [found[row["position"]] for row in rows if row["position"] in found]
    said = []
    if samples == 1:
        said.append("one sample: no interval; -d 8 gives one")
    ties = _groups(sure)
    if ties:
        shown = ", ".join(f"{a} to {b}" for a, b in ties[:_MOST_GROUPS])
        more = f" and {len(ties) - _MOST_GROUPS} more groups" if len(ties) > _MOST_GROUPS else ""
        said.append(f"not told apart: ranks {shown}{more} ({_how(sure, samples)})")
    elif min(samples, len(sure)) > 1 and all(row["method"] in _METHODS for row in sure):
        said.append(f"each rank is told apart from the next ({_how(sure, samples)})")
    zero = sum(not row["told_from_zero"] for row in sure)
    if zero:
        said.append(f"not told apart from zero: {zero} node{'s' * (zero > 1)}")
    return "\n".join(textwrap.fill(line, _WIDTH, subsequent_indent="  ") for line in said)


def _groups(sure: Rows) -> list[tuple[int, int]]:
    """First and last rank of each group of near ties that are more than zero."""
    ranks: dict[int, list[int]] = {}
    for rank, row in enumerate(sure, start=1):
        if row["tie_group"] and row["told_from_zero"]:
            ranks.setdefault(row["tie_group"], []).append(rank)
    return [(min(g), max(g)) for g in ranks.values() if len(g) > 1]


def _how(sure: Rows, samples: int) -> str:
    if samples == 1:
        return "rounding alone, of the worst nodes"
    methods = {row["method"] for row in sure if row["method"] in _METHODS}
    if not methods:  # an interrupted run has one sample of many
        return "rounding alone"
    named = " and ".join(_METHODS[m] for m in sorted(methods))
    counts = {row["samples"] for row in sure}
    shown = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{min(counts)}"
    return f"{100 * sure[0]['level']:g} %, {named} of {shown} samples"


def intervals_table(rows: Rows, found: Found, metric: Metric) -> str:
    """The ranking by its first metric with intervals, in at most 80 columns.

    Args:
        rows: rows of the query ``sensitivity``, in order.
        found: how sure each is.
        metric: the metric that ranked.
    """
    shown = adapted_values([row[metric.column] for row in rows], metric)
    spans = ranges(rows, found, metric) or [("", "")] * len(rows)
    sure = [found.get(row["position"]) for row in rows]
    top = next((s["top_k"] for s in sure if s and s["top_k"]), 0)
    counts = [str(s["samples"]) if s else "" for s in sure]
    uneven = len(set(counts)) > 1
    header = ["", "node", shown.name, "interval", "ranks", f"top {top}"]
    header += ["samples"] * uneven
    lines = [
        [str(k + 1), row["subject"], shown.texts[k], *spans[k], _chance(sure[k])]
        + [counts[k]] * uneven
        for k, row in enumerate(rows)
    ]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    spare = _WIDTH - 2 * (len(header) - 1) - sum(widths) + widths[1]
    widths[1] = min(widths[1], max(spare, 8))
    return "\n".join(
        "  ".join(_cut(cell, width).ljust(width) for cell, width in zip(line, widths, strict=True))
        .rstrip()
        for line in (header, *lines)
    )  # fmt: skip


def ranges(rows: Rows, found: Found, metric: Metric) -> list[tuple[str, str]]:
    """Of each node the interval of its metric and the ranks it may have; empty if none is known.

    Args:
        rows: rows of the query ``sensitivity``, in order.
        found: how sure each is.
        metric: the metric of the values, which the ends of intervals are written like.
    """
    sure = [found.get(row["position"]) for row in rows]
    if not any(s and s["low"] is not None for s in sure):
        return []
    values = [row[metric.column] for row in rows]
    ends = [[None if s is None else s[end] for s in sure] for end in ("low", "high")]
    texts = adapted_values([*ends[0], *ends[1]], metric, values)
    lows, highs = texts.texts[: len(rows)], texts.texts[len(rows) :]
    if texts.name != metric:  # what is missing to 1 is most where the metric is lowest
        lows, highs = highs, lows
    return [
        ("" if s is None or s["low"] is None else f"{low} .. {high}", _ranks(s))
        for s, low, high in zip(sure, lows, highs, strict=True)
    ]


def _ranks(sure: Mapping[str, Any] | None) -> str:
    if sure is None or sure["rank_low"] is None:
        return ""
    low, high = sure["rank_low"], sure["rank_high"]
    return str(low) if low == high else f"{low}-{high}"


def _chance(sure: Mapping[str, Any] | None) -> str:
    if sure is None or sure["top_k_probability"] is None:
        return ""
    return f"{100 * sure['top_k_probability']:.0f} %"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else "..." + text[3 - width :]
