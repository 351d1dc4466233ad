"""Two runs, node by node or tensor by tensor, by the queries of the compare command."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from hmct_track.types import Metric

from .base import ListScreen, Notice, feet
from .grid import Grid, GridColumn, stretched
from .reads import RunInfo
from .text import bar, clean, moment, number, plain, shortened

if TYPE_CHECKING:
    from hmct_track.lake import DeviceComparison, Row, RunComparison

_LABEL = 19
"""Cells of the names of what is told of two nodes."""

_STATUS = {"worse": "bad", "removed": "poor", "added": "poor", "better": "good"}


_NEEDED = ("status", "change", "a", "b", "drop")


def _tensors(found: DeviceComparison) -> list[Row]:
    """The tensors of devices as rows of the table, largest change first, as nodes are."""
    several = len({row["device"] for row in found.rows}) > 1
    rows: list[dict[str, Any]] = []
    for row in found.rows:
        name = f"{row['tensor']} ({row['device']})" if several else row["tensor"]
        parts = [{None: "-", True: "yes", False: "no"}[row[k]] for k in ("parts_a", "parts_b")]
        told = {"node": name, "node_a": None, "op_type": row["node"], "parts": " > ".join(parts)}
        rows.append({**row, **told})
    return sorted(rows, key=lambda row: -abs(row["drop"] or 0))


def _told(row: Row, run: str) -> dict[str, str]:
    """What one of the runs says of a tensor; ``a`` is before, ``b`` after."""
    if row[f"device_{run}"] is None:
        return {}
    return {
        "tensor": row["tensor"],
        "node": row["op_type"] or "",
        "device": row[f"device_{run}"],
        "parts": "yes" if row[f"parts_{run}"] else "no",
        "error / rounding": number(row[f"ratio_{run}"]),
        "float/simulation": number(row[f"quantization_{run}"]),
        "simulation/device": number(row[f"value_{run}"]),
        "float/device": number(row[f"total_{run}"]),
    }


def _ranks(row: Row) -> str:
    return f"{row['rank_a'] or '-'} > {row['rank_b'] or '-'}"


class CompareScreen(ListScreen):
    """What became worse, and what better."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "metric", "Metric"),
        Binding("o", "order", "Order"),
        Binding("x", "swap", "Swap"),
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("enter", "both", "Both nodes"),
        Binding("w", "why", "What changed"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, before: RunInfo, after: RunInfo) -> None:
        super().__init__()
        # The older one comes first, however they were marked.
        self.before, self.after = sorted((before, after), key=lambda run: run.run_id)
        self._metric = self.before.metric
        self._by_name = False
        self._found: RunComparison | DeviceComparison | None = None
        self._rows: Sequence[Row] = ()

    def compose(self) -> ComposeResult:
        """A filter above the table."""
        yield Static(markup=False, classes="heading")
        yield Input(placeholder="/ filters: node name, op type, worse, better ...", compact=True)
        yield Grid("Comparing ...", id="comparison")
        yield from feet()

    def on_mount(self) -> None:
        """Compare."""
        self.set_focus(self.query_one(Grid))
        self._compare()

    def _compare(self) -> None:
        call = partial(self.reader.comparison, self.before, self.after, self._metric)
        self.ask("comparison", call)

    def show_comparison(self, found: RunComparison | DeviceComparison) -> None:
        """The nodes, or the tensors of devices."""
        self._found = found
        self._rows = found.nodes if hasattr(found, "nodes") else _tensors(found)
        self.fill()

    def refused(self, what: str, reason: str) -> None:
        """Say why they cannot be compared, where there is room for all of it."""
        if what != "comparison":
            super().refused(what, reason)
            return
        self._found = None
        self.query_one(Grid).show((), [], lambda row: (), empty="")
        text = plain(f"{self._label(self.before)}  ->  {self._label(self.after)}", "bold")
        text.append("\n\n").append(f"They cannot be compared: {clean(reason)}", self.color("bad"))
        self.query_one(".heading", Static).update(text)

    def action_both(self) -> None:
        """The node under the cursor in both runs, side by side."""
        row = self.query_one(Grid).current
        if row is None or self._found is None:
            return
        if "parts" in row:
            self.show_both([_told(row, run) for run in "ab"])
            return
        names = row["node_a"] or row["node"], row["node"]
        runs = self._found.run_a, self._found.run_b
        self.ask("both", partial(self._read_both, names, runs))

    def _read_both(self, names: tuple[str, str], runs: tuple[str, str]) -> list[dict[str, str]]:
        """In a worker: what is known of the node in each run."""
        return [self.reader.told_of(run, name) for run, name in zip(runs, names, strict=True)]

    def show_both(self, found: list[dict[str, str]]) -> None:
        """A line for each thing; what differs stands out."""
        before, after = found
        width = max(min(self.size.width * 96 // 100, 100) - 8 - _LABEL, 20) // 2
        text = plain(f"{'':{_LABEL}}{'before':{width}}after", "bold")
        for what in dict.fromkeys([*before, *after]):
            old, new = before.get(what, "-"), after.get(what, "-")
            style = "" if old == new else self.color("poor")
            parts = [textwrap.wrap(clean(v), width - 1) or [""] for v in (old, new)]
            for i, (left, right) in enumerate(zip_longest(*parts, fillvalue="")):
                label = "" if i else what[: _LABEL - 1]
                line = f"{label:{_LABEL}}{left:{width}}{right}"
                text.append("\n").append_text(plain(line, style))
        self.app.push_screen(Notice("Both", text))

    def action_metric(self) -> None:
        """Compare by the next metric."""
        metrics = list(Metric)
        self._metric = metrics[(metrics.index(self._metric) + 1) % len(metrics)]
        self._compare()

    def action_order(self) -> None:
        """By difference, or by name."""
        self._by_name = not self._by_name
        self.fill()

    def action_swap(self) -> None:
        """The other one is before."""
        self.before, self.after = self.after, self.before
        self._compare()

    @on(Grid.Chosen)
    def _chosen(self) -> None:
        self.action_both()

    def action_why(self) -> None:
        """In what else the runs differ: settings, quantizers, channels."""
        if self._found is None:
            return
        found = self._found
        lines = [f"{r['setting']}: {r['a']} -> {r['b']}" for r in found.settings]
        lines += [
            f"{r['node']}: {', '.join(r['changed'])}; {r['qtype_a']} {number(r['threshold_a'])} -> "
            f"{r['qtype_b']} {number(r['threshold_b'])}"
            for r in getattr(found, "calibration", ())
        ]
        text = Text("\n").join(plain(line) for line in lines or ["nothing else differs"])
        self.app.push_screen(Notice("What changed besides", text))

    def fill(self, *, from_top: bool = False) -> None:
        """Show the rows anew."""
        if self._found is None:
            return
        words = self.words
        rows = [
            row
            for row in self._rows
            if all(w in f"{row['node']} {row['op_type']} {row['status']}".lower() for w in words)
        ]
        if self._by_name:
            rows.sort(key=lambda row: row["node"])
        longest = max((len(row["node"]) for row in self._rows), default=8)
        of_device = any("parts" in row for row in self._rows)
        columns: tuple[GridColumn, ...] = (
            GridColumn("node", "tensor" if of_device else "node", 28, is_fixed=True),
            GridColumn("status", "", 7),
            GridColumn("change", "change", 10),
            GridColumn("a", "before", 10, right=True),
            GridColumn("b", "after", 10, right=True),
            GridColumn("drop", "worse by", 10, right=True),
            GridColumn("ranks", "parts" if of_device else "rank", 10),
            GridColumn("op", "node" if of_device else "op", 14),
            GridColumn("other", "was called", 40),
        )
        columns = stretched(columns, self.size.width - 3, {"node": longest}, _NEEDED)
        self._width = columns[0].width
        drops = [abs(row["drop"]) for row in rows if row["drop"] is not None]
        self._largest = max((d for d in drops if d < float("inf")), default=0.0)
        self.query_one(Grid).show(columns, rows, self._cells, lambda row: row["node"],
                                   empty="No node fits the filter.", from_top=from_top)  # fmt: skip
        s: Row = self._found.summary
        counts = ", ".join(f"{s[k]} {k}" for k in ("worse", "better", "same", "added", "removed"))
        if of_device:
            apart = f"{s['newly_parting']} newly part, {s['no_longer_parting']} no longer"
            counts = f"simulation and device; {apart}; {counts}"
        heading = plain(f"{self._label(self.before)}  ->  {self._label(self.after)}", "bold")
        heading.append("\n")
        heading.append_text(self._whole())
        self.query_one(".heading", Static).update(
            heading.append_text(plain(f"{self._metric.value}: {counts}", "dim"))
        )

    def _whole(self) -> Text:
        """The fully quantized model before and after, if both runs measured it."""
        found: Row = self._found.summary if self._found else {}
        if found.get("whole_drop") is None:
            return Text()
        drop = found["whole_drop"]
        same = abs(drop) <= (self._found.tolerance if self._found else 0)
        word = "same" if same else "worse" if drop > 0 else "better"
        values = f"{number(found['whole_a'])} -> {number(found['whole_b'])}"
        style = self.color(_STATUS[word]) if word in _STATUS else ""
        told = plain(f"all nodes quantized: {self._metric.value} {values}, ")
        return told.append_text(plain(word, style)).append("\n")

    def _label(self, run: RunInfo) -> str:
        return f"{run.model} {run.label} {moment(run.started_at)}"

    def _cells(self, row: Row) -> list[Text]:
        style = self.color(_STATUS[row["status"]]) if row["status"] in _STATUS else "dim"
        drop = row["drop"]
        part = min(abs(drop) / self._largest, 1) if drop and self._largest else 0
        if row["status"] == "same":
            part = 0
        old = row["node_a"] if row["node_a"] not in (None, row["node"]) else ""
        return [
            plain(shortened(row["node"], self._width)),
            plain(row["status"], style),
            bar(part, 10, style),
            plain(number(row["value_a"])),
            plain(number(row["value_b"])),
            plain(number(drop), style),
            plain(row["parts"] if "parts" in row else _ranks(row)),
            plain(row["op_type"] or ""),
            plain(old),
        ]
