"""Tables, rankings and comparisons as markdown, comparisons as text for people as well."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hmct_track.report.tables import format_value
from hmct_track.text import visible
from hmct_track.types import Metric, NodeType

if TYPE_CHECKING:
    from hmct_track.lake import RunComparison
    from hmct_track.report.drawings import Figures
from hmct_track.report.html import Table

Rows = Sequence[Mapping[str, Any]]

_MOST = 15
_LONG = 100
"""Characters of a setting that are shown."""
_BEFORE = 20
"""Of these before the first difference."""
_PLAIN = re.compile(r"[A-Za-z0-9.+▲▼= -]*")
_MARKS = {"worse": "▼", "better": "▲", "same": "=", "added": "+", "removed": "-"}


def comparison_table(comparison: RunComparison) -> str:
    """All sections as text: nodes, calibration nodes, channels, settings, and the counts."""
    c = comparison
    parts = [f"A  {c.run_a}\nB  {c.run_b}", *whole_change(c)]
    changed = [row for row in c.nodes if row["status"] != "same"]
    title = f"{c.metric} of the nodes that changed (drop: how much worse B is)"
    parts += [section(title, *_nodes(changed))] if changed else []
    if c.calibration:
        parts += [section("calibration nodes that changed", *_calibration(c.calibration))]
    if c.channels:
        parts += [section("channel statistics that changed", *_channels(c.channels))]
    parts += settings_section(c.settings)
    return "\n\n".join([*parts, _counts(c)])


def comparison_markdown(
    comparison: RunComparison, failed: Sequence[str], notes: Sequence[str]
) -> str:
    """A short summary: the verdict, the nodes that changed most, and what differs.

    Args:
        comparison: the two rankings.
        failed: conditions of the gate that hold.
        notes: what makes the values less comparable.
    """
    c = comparison
    lines = [f"### Quantization: {_counts(c)}", ""]
    lines += [f"**Failed:** {code(condition)}" for condition in failed]
    lines += [f"Note: {note}." for note in notes]
    lines += [f"**{line}**" for line in whole_change(c)]
    lines += [f"A {code(c.run_a)}, B {code(c.run_b)}, metric {c.metric}", ""]
    changed = [row for row in c.nodes if row["status"] != "same"]
    if changed:
        header, cells = _nodes(changed[:_MOST])
        lines += markdown_table(header, cells)
    if len(changed) > _MOST:
        lines += [f"and {len(changed) - _MOST} more", ""]
    return "\n".join([*lines, *settings_markdown(c.settings)])


def ranking_markdown(rows: Rows, node_type: NodeType, run_id: str) -> str:
    """The most sensitive nodes, for the description of a run.

    Args:
        rows: rows of the query ``sensitivity``, in order.
        node_type: what was ranked.
        run_id: the run in the lake.
    """
    header = ["", node_type.value, "op", *(metric.value for metric in Metric)]
    shown = rows[:_MOST]
    cells = [
        [
            str(row["rank"]),
            row["subject"],
            row["op_type"],
            *(format_value(row[metric.column]) for metric in Metric),
        ]
        for row in shown
    ]
    rest = [f"and {len(rows) - _MOST} more", ""] if len(rows) > _MOST else []
    ask = f"`hmct-debugger sql -q sensitivity -p run_id={run_id} -p metric=sqnr`"
    lines = ["**Most sensitive, each quantized alone:**", "", *markdown_table(header, cells)]
    return "\n".join([*lines, *rest, f"All of it: {ask}"])


def table_markdown(title: str, table: Table, query: str, run_id: str) -> str:
    """The first rows of an analysis' table, for the description of a run.

    Args:
        title: what the rows are.
        table: all of them.
        query: the query that gives them from the lake.
        run_id: the run in the lake.
    """
    lines = [f"**{title}:**", "", *markdown_table(table.header, table.rows[:_MOST])]
    if len(table.rows) > _MOST:
        lines += [f"and {len(table.rows) - _MOST} more", ""]
    ask = f"`hmct-debugger sql -q {query} -p run_id={run_id}`"
    return "\n".join([*lines, f"All of it: {ask}"])


def comparison_html(comparison: RunComparison) -> str:
    """What a notebook shows of two rankings: the whole model, and the nodes by size of change."""
    from hmct_track.report.html import notebook_html, plain_rows

    changed = [row for row in comparison.nodes if row["status"] != "same"]
    lines = [
        {
            "node": row["node"],
            "": row["status"],
            "A": row["value_a"],
            "B": row["value_b"],
            "drop": row["drop"],
        }
        for row in changed
    ]
    title = "; ".join([*whole_change(comparison), f"{len(changed)} of the nodes changed"])
    shown = plain_rows(lines, ("node", ""), ("A", "B", "drop"))
    return notebook_html(
        title, f"{comparison.run_a} against {comparison.run_b}", [("", shown, Figures())]
    )


def whole_change(comparison: RunComparison) -> list[str]:
    """The fully quantized model before and after, in a line; nothing if a run lacks it."""
    s, metric = comparison.summary, comparison.metric
    if s["whole_drop"] is None:
        return []
    verdict = "the same"
    if abs(s["whole_drop"]) > comparison.tolerance:
        verdict = "worse" if s["whole_drop"] > 0 else "better"
    values = f"{format_value(s['whole_a'])} -> {format_value(s['whole_b'])}"
    drop = f"drop {signed(s['whole_drop'])}{_sure(comparison)}"
    return [f"all nodes quantized: {metric} {values}, {verdict} ({drop})"]


def _sure(comparison: RunComparison) -> str:
    """Whether the whole model's drop is more than chance."""
    low, high = (comparison.sure.get(f"whole_drop_{end}") for end in ("low", "high"))
    if low is None or high is None or low == high == 0:
        return ""
    noise = ", no more than noise" if low <= 0 <= high else ""
    return f", 95 % {signed(low)} .. {signed(high)}{noise}"


def _counts(comparison: RunComparison) -> str:
    s = comparison.summary
    counts = [
        f"{s[name]} {name}"
        for name in ("worse", "better", "same", "added", "removed", "renamed")
        if s[name] or name in ("worse", "better", "same")
    ]
    drop = "none in common" if s["max_drop"] is None else f"max_drop {signed(s['max_drop'])}"
    worst = "" if s["worst_drop"] is None else f", worst_drop {signed(s['worst_drop'])}"
    return f"{', '.join(counts)}; {drop}{worst}{_surely(comparison)}"


def _surely(comparison: RunComparison) -> str:
    """How many of the nodes changed by more than chance."""
    said = [
        f"{int(count)} surely {way}"
        for way in ("worse", "better")
        if (count := comparison.sure.get(f"surely_{way}")) is not None
    ]
    return f"; {', '.join(said)}" if said else ""


def _nodes(rows: Rows) -> tuple[list[str], list[list[str]]]:
    header = ["", "node", "was", "op", "rank A", "rank B", "A", "B", "drop"]
    return header, [
        [
            _MARKS[row["status"]],
            row["node"],
            row["node_a"] if row["matched_by"] == "structure" else "",
            row["op_type"],
            _text(row["rank_a"]),
            _text(row["rank_b"]),
            format_value(row["value_a"]) if row["node_a"] else "",
            format_value(row["value_b"]) if row["node_b"] else "",
            "" if row["drop"] is None else signed(row["drop"]),
        ]
        for row in rows
    ]


def _calibration(rows: Rows) -> tuple[list[str], list[list[str]]]:
    header = ["node", "kind", "changed", "type", "threshold", "scales", "scale max/median"]
    return header, [
        [
            row["node"],
            row["kind"],
            ", ".join(row["changed"]),
            _pair(row, "qtype"),
            _pair(row, "threshold"),
            _pair(row, "channels"),
            _pair(row, "imbalance"),
        ]
        for row in rows
    ]


def _channels(rows: Rows) -> tuple[list[str], list[list[str]]]:
    names = ("channels", "abs_max", "imbalance", "outliers")
    return ["node", *names], [[r["node"], *(_pair(r, name) for name in names)] for r in rows]


def _pair(row: Mapping[str, Any], name: str) -> str:
    before, after = _text(row[f"{name}_a"]), _text(row[f"{name}_b"])
    return before if before == after else f"{before or '-'} -> {after or '-'}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def signed(value: float) -> str:
    """A change with its sign, to three digits."""
    return "0" if value == 0 else f"{value:+.3g}"


def settings_section(rows: Rows) -> list[str]:
    """The settings in which two runs differ, as a section of text; none where there are none."""
    cells = _settings(rows)
    return [section("settings that differ", ["setting", "A", "B"], cells)] if cells else []


def settings_markdown(rows: Rows) -> list[str]:
    """The same in markdown."""
    cells = _settings(rows)
    return markdown_table(["setting", "A", "B"], cells) if cells else []


def _settings(rows: Rows) -> list[list[str]]:
    """Their cells. Of long values, such as lists of nodes, what is around the first difference."""
    lines = []
    for row in rows:
        both = [_text(row["a"]), _text(row["b"])]
        pairs = enumerate(zip(*both, strict=False))
        same = next((k for k, (a, b) in pairs if a != b), min(map(len, both)))
        start = max(same - _BEFORE, 0)
        if max(map(len, both)) > _LONG:
            ends = [start + _LONG < len(text) for text in both]
            both = [
                ("..." if start else "") + text[start : start + _LONG] + ("..." if cut else "")
                for text, cut in zip(both, ends, strict=True)
            ]
        lines.append([row["setting"], *both])
    return lines


def section(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A titled table as text, its columns aligned and control characters visible."""
    lines = [[visible(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *lines)
    ]
    return "\n".join([f"{title}:", *shown])


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table in markdown, an empty one at the end; what could be markup is code."""

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    body = [row([cell if _PLAIN.fullmatch(cell) else code(cell) for cell in c]) for c in lines]
    return [row([name or " " for name in header]), row(["---"] * len(header)), *body, ""]


def code(text: str) -> str:
    """Text as it is, whatever a name holds: no markup of it is markdown's."""
    return "`" + visible(re.sub(r"[`|\r\n]", "_", text)) + "`"
