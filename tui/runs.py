"""The list of runs."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import DescendantFocus
from textual.widgets import Input, Static

from .base import ListScreen, Notice, Question, feet
from .grid import Grid, GridColumn, stretched
from .launch import say
from .reads import RANKED, RunInfo
from .text import STATES, clean, moment, number, plain, seconds, severity, shortened, squeezed

_COLUMNS = (
    GridColumn("state", "", 2, is_fixed=True),
    GridColumn("kind", "analysis", 27, is_fixed=True),
    GridColumn("model", "model", 18),
    GridColumn("whole", "whole", 10, right=True),
    GridColumn("worst", "worst", 10, right=True),
    GridColumn("started", "started", 14),
    GridColumn("metric", "metric", 17),
    GridColumn("subject", "worst node", 34),
    GridColumn("seconds", "took", 9, right=True),
    GridColumn("samples", "samples", 7, right=True),
    GridColumn("run", "run id", 27),
)
_NOTE = GridColumn("note", "note", 12)
"""Beside the values, once somebody has written one."""
_NEEDED = ("state", "kind", "whole", "worst")


def open_run(app: App[Any], run: RunInfo) -> None:
    """The screen for a run of its kind: its ranking, or else its rows with their chart."""
    from .ranking import RankingScreen
    from .views import VIEWS, ViewScreen

    has_rows = run.kind in VIEWS and run.kind not in RANKED
    app.push_screen(ViewScreen(run) if has_rows else RankingScreen(run))


class RunsScreen(ListScreen):
    """All runs of the lake, live."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open"),
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("space,c", "mark", "Compare", key_display="c"),
        Binding("y", "copy", "Copy id"),
        Binding("b", "tag('baseline')", "Baseline"),
        Binding("t", "name_it", "Tag"),
        Binding("i", "inspect", "Inspect"),
        Binding("e", "note", "Note"),
        Binding("u", "page", "MLflow"),
        Binding("escape", "clear", "Clear", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[RunInfo] | None = None
        self._marked: str | None = None
        self._reading = self._again = self._is_noted = False
        self._worst: dict[str, tuple[str, float | None]] = {}
        self._widths: dict[str, int] = {}

    def compose(self) -> ComposeResult:
        """A filter above the table."""
        yield Static(markup=False, classes="heading")
        yield Input(placeholder="/ filters: model, analysis, state, node, run id", compact=True)
        yield Grid("Reading the lake ...", id="runs")
        yield from feet()

    def on_mount(self) -> None:
        """Read the lake."""
        self.set_focus(self.query_one(Grid))
        self.lake_changed()

    def lake_changed(self) -> None:
        """Read the runs anew; once more where that is going on."""
        self._again = self._reading
        if not self._reading:
            self._reading = True
            self.ask("runs", self.reader.runs)

    def show_runs(self, runs: list[RunInfo]) -> None:
        """The list."""
        self._reading = False
        if self._again:
            self.lake_changed()
        self.debugger.runs = runs
        self._runs = runs
        self.fill()
        if any(run.state == "RUNNING" for run in runs):
            self.ask("worst", partial(self.reader.worst_so_far, runs))

    def show_worst(self, found: dict[str, tuple[str, float | None]]) -> None:
        """The worst nodes of runs that still measure."""
        if found != self._worst:
            self._worst = found
            self.fill()

    def _worst_of(self, run: RunInfo) -> tuple[str | None, float | None]:
        known = run.worst_node, run.worst_value
        return known if run.worst_node else self._worst.get(run.run_id, known)

    def refused(self, what: str, reason: str) -> None:
        """Say what is wrong with the lake, in the place of the list."""
        if what == "worst":
            return  # the list stands without it
        if what != "runs":
            super().refused(what, reason)
            return
        self._reading = False
        if self._runs is None:
            self.query_one(Grid).show(_COLUMNS, [], self._cells, empty="")
            self.query_one(".heading", Static).update(
                Text(f"No runs to show.\n\n{clean(reason)}\n\n")
                + Text("This screen looks again every second.  n starts an analysis.", style="dim")
            )
        else:
            heading = plain("The lake cannot be read now: ", self.color("bad"))
            self.query_one(".heading", Static).update(heading.append_text(plain(reason)))

    @on(Grid.Chosen)
    def _chosen(self, message: Grid.Chosen) -> None:
        self._open(message.row)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Keys that are letters belong to the filter while it has the focus."""
        self.refresh_bindings()

    def action_open(self) -> None:
        """Open the run under the cursor."""
        if row := self.query_one(Grid).current:
            self._open(row)

    def action_clear(self) -> None:
        """Empty the filter, and forget the mark."""
        self.query_one(Input).value = ""
        self._marked = None
        self.fill()
        self.set_focus(self.query_one(Grid))

    def action_copy(self) -> None:
        """Copy the run id."""
        if row := self.query_one(Grid).current:
            self.app.copy_to_clipboard(row.run_id)
            self.app.notify(f"copied {row.run_id}", markup=False)

    def action_tag(self, name: str) -> None:
        """Give the run under the cursor a name that other commands take."""
        if row := self.query_one(Grid).current:
            self.ask("tagged", partial(say, self.reader.path, "tag", row.run_id, name))

    def action_name_it(self) -> None:
        """Ask for the name."""

        def tag(name: str | None) -> None:
            if name:
                self.action_tag(name)

        if self.query_one(Grid).current:
            asks = Question("Tag", "A name for this run, such as baseline.", "baseline")
            self.app.push_screen(asks, tag)

    def show_tagged(self, said: str) -> None:
        """What the command said."""
        self.app.notify(said.strip(), markup=False)

    @property
    def run_here(self) -> RunInfo | None:
        """The run under the cursor."""
        row: RunInfo | None = self.query_one(Grid).current
        return row

    def action_inspect(self) -> None:
        """What the model of the run under the cursor holds."""
        row = self.query_one(Grid).current
        if row and row.model_path:
            self.ask("inspected", partial(say, None, "inspect", row.model_path))
        elif row:
            self.app.notify("the model of this run was no file", markup=False)

    def show_inspected(self, said: str) -> None:
        """How it is quantized, and what is odd."""
        self.app.push_screen(Notice("Model", Text("\n".join(map(clean, said.splitlines())))))

    def action_mark(self) -> None:
        """Mark a run, or compare it with the marked one."""
        row = self.query_one(Grid).current
        if row is None:
            return
        if self._marked is None:
            self._marked = row.run_id
            self.app.notify("marked; c on another run compares the two", markup=False)
        elif self._marked == row.run_id:
            self._marked = None
        else:
            from .compare import CompareScreen

            first = next((r for r in self._runs or [] if r.run_id == self._marked), None)
            self._marked = None
            if first:
                self.app.push_screen(CompareScreen(first, row))
        self.fill()

    def _open(self, run: RunInfo) -> None:
        open_run(self.app, run)

    def fill(self, *, from_top: bool = False) -> None:
        """Show the rows anew."""
        if self._runs is None:
            return
        words = self.words
        rows = [run for run in self._runs if all(word in self._text(run) for word in words)]
        marked = frozenset({self._marked}) if self._marked else frozenset()
        empty = "No run fits the filter." if words else "No runs yet: n starts an analysis."
        wanted = {
            "model": max((len(run.model) for run in self._runs), default=0),
            "subject": max((len(self._worst_of(run)[0] or "") for run in self._runs), default=0),
        }
        noted = max((len(run.note or "") for run in self._runs), default=0)
        columns: tuple[GridColumn, ...] = _COLUMNS
        if noted:
            columns, wanted["note"] = (*_COLUMNS[:5], _NOTE, *_COLUMNS[5:]), noted
        columns = stretched(columns, self.size.width - 3, wanted, _NEEDED)
        self._is_noted = bool(noted)
        self._widths = {column.key: column.width for column in columns}
        self.query_one(Grid).show(
            columns, rows, self._cells, lambda run: run.run_id, marked, empty, from_top=from_top
        )
        shown = f"{len(rows)} of {len(self._runs)}" if words else str(len(self._runs))
        self.query_one(".heading", Static).update(
            plain(
                f"{shown} {'run' if shown == '1' else 'runs'} in {self.reader.path}", style="bold"
            )
        )

    def _text(self, run: RunInfo) -> str:
        parts: list[Any] = [run.kind, run.label, run.model, run.state, run.run_id, run.model_path]
        parts += [self._worst_of(run)[0] or "", run.note or ""]
        return " ".join(str(p) for p in parts).lower()

    def _cells(self, run: RunInfo) -> list[Text]:
        color = {"RUNNING": "poor", "FINISHED": "good"}.get(run.state, "bad")
        value = Text()
        worst_node, worst = self._worst_of(run)
        if worst_node:
            style = self.color(severity(worst, run.metric))
            value = plain("nan" if worst is None else number(worst), style)
        style = self.color(severity(run.whole_value, run.metric)) if run.whole_value else ""
        whole = plain(number(run.whole_value), style)
        return [
            plain(STATES.get(run.state, "?"), self.color(color)),
            plain(f"{'└ ' if run.parent else ''}{run.label}"),
            plain(squeezed(run.model, self._widths["model"])),
            whole,
            value,
            *([plain(squeezed(run.note or "", self._widths["note"]))] if self._is_noted else []),
            plain(moment(run.started_at)),
            plain(run.metric.value if worst_node or run.whole_value is not None else ""),
            plain(shortened(worst_node or "", self._widths["subject"])),
            plain(seconds(run.seconds)),
            plain(number(run.data_num)),
            plain(run.run_id),
        ]
