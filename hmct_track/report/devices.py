"""Two runs of devices compared, as text, markdown and figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hmct_track.report.comparison import (
    code,
    markdown_table,
    section,
    settings_markdown,
    settings_section,
    signed,
)
from hmct_track.report.device import device_figure
from hmct_track.report.drawings import Figures
from hmct_track.report.html import notebook_html, plain_rows
from hmct_track.report.tables import format_value
from hmct_track.text import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmct_track.lake import DeviceComparison

Row = Mapping[str, Any]

_MOST = 15
_MARKS = {"worse": "▼", "better": "▲", "same": "=", "added": "+", "removed": "-"}


def devices_table(comparison: DeviceComparison) -> str:
    """All sections as text: outputs and where it parts, tensors, settings, and the counts."""
    c = comparison
    shown = changed_rows(c.rows)
    title = f"tensors, by depth: {c.metric} of simulation and device (drop: how much worse B is)"
    parts = [f"A  {c.run_a}\nB  {c.run_b}", "\n".join(devices_lines(c))]
    parts += [section(title, *_cells(shown))] if shown else []
    parts += settings_section(c.settings)
    return "\n\n".join([*parts, _rest(c, shown) + _counts(c)])


def devices_markdown(
    comparison: DeviceComparison, failed: Sequence[str], notes: Sequence[str]
) -> str:
    """A short summary: the verdict, the tensors that count, and what differs.

    Args:
        comparison: the two runs.
        failed: conditions of the gate that hold.
        notes: what makes the values less comparable.
    """
    c = comparison
    shown = changed_rows(c.rows)
    lines = [f"### Device: {_counts(c)}", ""]
    lines += [f"**Failed:** {code(condition)}" for condition in failed]
    lines += [f"Note: {note}." for note in notes]
    lines += [f"{code(line)}\n" for line in devices_lines(c)]
    lines += [f"A {code(c.run_a)}, B {code(c.run_b)}, metric {c.metric}", ""]
    lines += markdown_table(*_cells(shown)) if shown else []
    return "\n".join([*lines, *settings_markdown(c.settings)])


def devices_html(comparison: DeviceComparison) -> str:
    """What a notebook shows of two runs of devices."""
    c = comparison
    lines = [
        {
            "tensor": row["tensor"],
            "": row["status"],
            "A": row["value_a"],
            "B": row["value_b"],
            "drop": row["drop"],
            "parts": _parting(row),
        }
        for row in changed_rows(c.rows)
    ]
    shown = plain_rows(lines, ("tensor", "", "parts"), ("A", "B", "drop"))
    return notebook_html("; ".join(devices_lines(c)), f"{c.run_a} against {c.run_b}",
                         [("", shown, Figures())])  # fmt: skip


def devices_lines(comparison: DeviceComparison) -> Iterator[str]:
    """What changed at the outputs, and where each device parts, before and after; a line each."""
    c, unit = comparison, f" {comparison.metric.unit}" if comparison.metric.unit else ""
    for device in dict.fromkeys(row["device"] for row in c.rows):
        own = [row for row in c.rows if row["device"] == device]
        name = _name(own)
        for row in own:
            if row["is_output"] and row["drop"] is not None:
                verdict = "the same"
                if row["status"] != "same":
                    verdict = f"{row['status']} (drop {signed(row['drop'])})"
                yield (
                    f"{name} at output {visible(row['tensor'])}: {c.metric} of simulation "
                    f"and device {format_value(row['value_a'])} -> "
                    f"{format_value(row['value_b'])}{unit}, {verdict}; of float and device "
                    f"{format_value(row['total_a'])} -> {format_value(row['total_b'])}{unit}"
                )
        yield f"{name}: {_where(own, 'a')} -> {_where(own, 'b')}"
    if any(row["setting"] == "model_id" for row in c.settings):
        ends = [
            f"{format_value(row['quantization_a'])} -> {format_value(row['quantization_b'])}{unit}"
            for row in c.rows
            if row["is_output"] and row["drop"] is not None
        ]
        said = "the runs simulate two models, so not only the device changed"
        values = f": {c.metric} of float and simulation at the outputs {', '.join(ends)}"
        yield said + (values if ends else "")


def _name(rows: Sequence[Row]) -> str:
    """A device, with both names where it was renamed."""
    names = [next((row[k] for row in rows if row[k]), None) for k in ("device_a", "device_b")]
    return " -> ".join(dict.fromkeys(visible(name) for name in names if name))


def _where(rows: Sequence[Row], run: str) -> str:
    """Where a device parts in one of the runs."""
    own = [row for row in rows if row[f"device_{run}"] is not None]
    if not own:
        return f"not in {run.upper()}"
    first = next((row for row in own if row[f"first_{run}"]), None)
    if first is None:
        return f"rounding explains all {len(own)} tensors"
    parting = sum(bool(row[f"parts_{run}"]) for row in own)
    node = f" of node {visible(first['node'])}" if first["node"] else ""
    return f"parts at {visible(first['tensor'])}{node} ({parting} of {len(own)} tensors part)"


def changed_rows(rows: Sequence[Row]) -> list[Row]:
    """Outputs, what parts in one run only, and what changed most; in topological order."""
    changed = [row for row in rows if row["status"] != "same"]
    parted = [row for row in rows if row["drop"] is not None and row["parts_a"] != row["parts_b"]]
    outputs = [row for row in rows if row["is_output"]]
    largest = sorted((r for r in changed if r["drop"] is not None), key=lambda r: -abs(r["drop"]))
    apart = [row for row in changed if row["drop"] is None]
    chosen = {id(row) for row in [*parted, *outputs, *(largest + apart)[:_MOST]]}
    return [row for row in rows if id(row) in chosen]


def _rest(comparison: DeviceComparison, shown: Sequence[Row]) -> str:
    left = sum(row["status"] != "same" for row in comparison.rows)
    left -= sum(row["status"] != "same" for row in shown)
    if not left:
        return ""
    ask = f"-p run_a={comparison.run_a} -p run_b={comparison.run_b} -p metric={comparison.metric}"
    return f"{left} more changed less: hmct-debugger sql -q compare_devices {ask}\n"


def _cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    several = len({row["device"] for row in rows}) > 1
    header = ["", "tensor", "node", "A", "B", "drop", "parts"]
    lines = [
        [
            _MARKS[row["status"]],
            row["tensor"],
            row["node"] or "",
            format_value(row["value_a"]) if row["device_a"] else "",
            format_value(row["value_b"]) if row["device_b"] else "",
            "" if row["drop"] is None else signed(row["drop"]),
            _parting(row),
        ]
        for row in rows
    ]
    if several:
        header.insert(1, "device")
        for line, row in zip(lines, rows, strict=True):
            line.insert(1, row["device"])
    return header, lines


def _parting(row: Row) -> str:
    """Whether a device parts at a tensor in A and in B, in words."""
    a, b = row["parts_a"], row["parts_b"]
    if a is not None and b is not None and a != b:
        return "newly" if b else "no longer"
    return "both" if a and b else "yes" if a or b else ""


def _counts(comparison: DeviceComparison) -> str:
    s = comparison.summary
    changes = ", ".join(
        f"{s[name]} {name}"
        for name in ("worse", "better", "same", "added", "removed")
        if s[name] or name in ("worse", "better", "same")
    )
    drop = "none in common" if s["max_drop"] is None else f"max_drop {signed(s['max_drop'])}"
    return (
        f"{s['newly_parting']} newly part, {s['no_longer_parting']} no longer part; {changes}; "
        f"{drop}"
    )


def devices_figure(comparison: DeviceComparison, title: str) -> Figure:
    """The distance of device and simulation over depth, before and after.

    Args:
        comparison: the two runs.
        title: heading, drawn as it is.
    """
    several = len({row["device"] for row in comparison.rows}) > 1
    drawn, rows = [], [*map(dict[str, Any], comparison.rows)]
    for run, word in (("a", "before"), ("b", "after")):
        for row in rows:
            if row[f"device_{run}"] is not None:
                name = row[f"device_{run}"]
                drawn.append(
                    {
                        "device": f"{word}, {name}" if several else f"{word} ({name})",
                        "position": row["position"],
                        "tensor": row["tensor"],
                        "ratio": row[f"ratio_{run}"],
                        "is_first": row[f"first_{run}"],
                    }
                )
    return device_figure(drawn, title)
