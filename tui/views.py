"""A run of any kind as rows with a chart above them: what its figure shows, and where to go on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static
from textual_plotext.plot import Plot

from hmct_track.analyses import Plan
from hmct_track.text import counted
from hmct_track.types import Metric

from . import charts
from .base import ListScreen, Question, feet
from .charts import Panel
from .grid import Grid, GridColumn, stretched
from .launch import Job
from .reads import Ranking, RunInfo
from .text import clean, moment, number, plain, shortened

Rows = Sequence[Mapping[str, Any]]

_FRONTIER = "plan_frontier"
_WITH_VERDICT = ("plan", "mending")
_VERDICTS = {
    "MISSED": "bad",
    "no model is written": "bad",
    "target is kept": "good",
    "chose nothing, ": "good",
}
"""Words of a verdict, and how they are coloured."""
_NUMBERS = 11
"""Cells of a column of numbers."""


@dataclass(frozen=True)
class View:
    """A shipped query of a run as a table, and what is drawn of it."""

    title: str
    query: str
    named: tuple[str, ...]
    """Columns of text; the first stays in sight."""
    numbered: tuple[str, ...]
    node: str | None = None
    """The column with the node that Enter opens."""
    by_metric: bool = False
    draw: Callable[[Rows, Metric], Callable[[Plot], None]] | None = None
    """The chart of all rows."""
    of_node: bool = False
    """Whether the chart is of the node under the cursor."""
    empty: str = ""
    """What is said where there is no row."""


def _curves(rows: Rows, metric: Metric) -> Callable[[Plot], None]:
    return charts.curves(
        [(row["curve"], row["step"], row["value"], row["node"]) for row in rows], metric
    )


def _steps(rows: Rows, metric: Metric) -> Callable[[Plot], None]:
    points = [("all of them", row["step"], row["partial"], row["node"]) for row in rows]
    alone = [("the node alone", row["step"], row["single"], row["node"]) for row in rows]
    return charts.curves([*points, *alone], metric)


def _devices(rows: Rows, metric: Metric) -> Callable[[Plot], None]:
    several = len({row["device"] for row in rows}) > 1
    points = [("quantization", r["position"], r["quantization"], r["tensor"]) for r in rows]
    for row in rows:
        name = f"{row['device']} adds" if several else "the device adds"
        points.append((name, row["position"], row["device_value"], row["tensor"]))
    return charts.curves(points, metric)


def _frontier(rows: Rows, _: Metric) -> Callable[[Plot], None]:
    return charts.frontier(
        [(r["cost"], r["value"], r["step"] is not None, r["chosen"]) for r in rows]
    )


_CALIBRATION = View(
    "thresholds", "calibration", ("node", "kind", "qtype", "consumers"),
    ("threshold", "scales", "smallest", "largest"), "node",
)  # fmt: skip

VIEWS: dict[str, tuple[View, ...]] = {
    "sensitivity-analysis": (
        View("partial quantization", "partial_quantization", ("node",),
             ("step", "single", "partial"), "node", by_metric=True, draw=_steps),
    ),
    "error-accumulation": (
        View("error curves", "error_accumulation", ("node", "op_type", "curve"),
             ("value", "step"), "node", by_metric=True, draw=_curves),
    ),
    "distribution": (
        View("distributions", "distribution", ("node", "series", "kind"),
             ("threshold", "min", "max", "mean", "std", "median", "q99", "zeros", "count"),
             "node", of_node=True),
    ),
    "channelwise-distribution": (
        View("channels", "channel_distribution", ("node",),
             ("channel", "min", "max", "mean", "median", "outliers"), "node", of_node=True),
    ),
    "calibration": (_CALIBRATION,),
    "plan": (
        View("the plan, node by node", "plan_nodes", ("slot", "qtype", "calibration_nodes"),
             ("price", "without"), "slot"),
        View("frontier: cost against value", _FRONTIER, ("role",),
             ("step", "moves", "cost", "value", "keeps", "chosen"), draw=_frontier),
    ),
    "diagnosis": (
        View("causes", "causes", ("subject", "node", "kind"),
             ("alone", "clipping", "rounding", "clip_share", "effective_bits", "imbalance"),
             "subject", by_metric=True),
        View("remedies", "remedies", ("subject", "remedy", "price"), ("before", "after", "gain"),
             "subject", by_metric=True),
    ),
    "mending": (
        View("steps", "mending_steps", ("step",), ("nodes", "choosing", "checking"),
             empty="No change was taken."),
        _CALIBRATION,
    ),
    "local-errors": (
        View("local errors", "local_errors", ("node", "kind", "qtype"),
             ("own", "accumulated", "elements"), "node", by_metric=True),
    ),
    "interactions": (
        View("interactions", "interactions", ("node", "other"),
             ("together", "value", "low", "high", "interacts"), "node"),
    ),
    "device": (
        View("float model, simulation and device", "device_tensors", ("tensor", "node", "device"),
             ("quantization", "device_value", "total", "own_steps", "ratio", "parts", "is_first"),
             "node", by_metric=True, draw=_devices),
    ),
    "sensitive-samples": (
        View("samples", "sensitive_samples", ("source",), ("rank", "sample", "value"),
             by_metric=True),
    ),
}  # fmt: skip
"""Kind of run to what there is to see of it."""


class ViewScreen(ListScreen):
    """A run's rows, and its chart."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open"),
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("o", "other", "Other view"),
        Binding("s", "metric", "Metric"),
        Binding("w", "write", "Write files"),
        Binding("p", "figure", "Figure"),
        Binding("y", "copy", "Copy"),
        Binding("e", "note", "Note"),
        Binding("u", "page", "MLflow"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, run: RunInfo) -> None:
        super().__init__()
        self.run = run
        self._views = VIEWS[run.kind]
        self._at = 0
        self._metric = run.metric
        self._rows: Rows = ()
        self._bins: Rows = ()
        self._drawn: str | None = None
        self._widths: dict[str, int] = {}
        self._wanted = ""
        self._verdict: list[str] = []

    @property
    def view(self) -> View:
        """What is looked at."""
        return self._views[self._at]

    def compose(self) -> ComposeResult:
        """A chart above the table."""
        yield Static(markup=False, classes="heading")
        yield Panel("", id="chart")
        yield Input(placeholder="/ filters: any text of a row", compact=True)
        yield Grid("Reading the run ...", id="view")
        yield from feet()

    def on_mount(self) -> None:
        """Read the run."""
        self.set_focus(self.query_one(Grid))
        self.lake_changed()

    def lake_changed(self) -> None:
        """Read the rows anew."""
        metric = self._metric if self.view.by_metric else None
        self.ask("rows", partial(self.reader.rows_of, self.view.query, self.run.run_id, metric))
        self.ask("current", partial(self.reader.current, self.run))
        if self.run.kind == "distribution":
            self.ask("bins", partial(self.reader.rows_of, "histogram", self.run.run_id, None))

    def show_rows(self, rows: Rows) -> None:
        """The table and the chart."""
        if self.view.query == _FRONTIER:  # its steps, which can be taken, before all else tried
            rows = sorted(rows, key=lambda row: (row["step"] is None, row["step"] or 0))
        self._rows, self._drawn = rows, None
        self.fill()

    def show_current(self, run: RunInfo) -> None:
        """It may have ended meanwhile."""
        self.run = run
        if run.kind in _WITH_VERDICT and run.state == "FINISHED":
            self.ask("verdict", partial(self.reader.verdict, run))
        self.fill()

    def show_verdict(self, lines: list[str]) -> None:
        """What is to be known of the answer."""
        self._verdict = lines
        self.fill()

    def show_bins(self, bins: Rows) -> None:
        """What histograms are made of."""
        self._bins, self._drawn = bins, None
        self._draw()

    @on(Grid.Moved)
    def _moved(self) -> None:
        if self.view.of_node:
            self._draw()

    @on(Grid.Chosen)
    def _chosen(self) -> None:
        self.action_open()

    def fill(self, *, from_top: bool = False) -> None:
        """Show the rows anew."""
        view, words = self.view, self.words
        texts = {id(row): " ".join(_text(row[c]) for c in view.named).lower() for row in self._rows}
        rows = [row for row in self._rows if all(word in texts[id(row)] for word in words)]
        columns = (
            *(GridColumn(c, c, 18 if i == 0 else 12, is_fixed=i == 0)
              for i, c in enumerate(view.named)),
            *(GridColumn(c, c[:_NUMBERS], _NUMBERS, right=True) for c in view.numbered),
        )  # fmt: skip
        wanted = {c: max((len(_text(r[c])) for r in self._rows), default=0) for c in view.named}
        columns = stretched(columns, self.size.width - 3, wanted, view.numbered[:3])
        self._widths = {column.key: column.width for column in columns}
        none = view.empty or f"This run has no rows of {view.query}."
        empty = "No row fits the filter." if words else none
        self.query_one(Grid).show(columns, rows, self._cells, _identity, empty=empty,
                                  from_top=from_top)  # fmt: skip
        about = [self.run.model, self.run.label, moment(self.run.started_at)]
        text = plain("  ".join([*about, counted(self.run.data_num, "sample")]), "bold").append("\n")
        more = f"  ({self._at + 1} of {len(self._views)}, o)" if len(self._views) > 1 else ""
        metric = f"  by {self._metric.value}" if view.by_metric else ""
        text.append_text(plain(f"{self.run.state}  {view.title}{more}  {len(rows)} rows{metric}"))
        for line in self._verdict if self._at == 0 else ():
            word = next((w for w in _VERDICTS if w in line), "")
            style = self.color(_VERDICTS[word]) if word else ""
            text.append("\n").append(clean(line), style)
        if self.run.note:
            text.append(f"\nnote: {clean(self.run.note)}")
        if self.run.error:
            text.append("\n").append_text(plain(self.run.error, self.color("bad")))
        self.query_one(".heading", Static).update(text)
        self._draw()

    def _cells(self, row: Mapping[str, Any]) -> list[Text]:
        view = self.view
        named = [plain(shortened(_text(row[c]), self._widths[c])) for c in view.named]
        return [*named, *(plain(_value(row[c])) for c in view.numbered)]

    def _draw(self) -> None:
        view, panel = self.view, self.query_one("#chart", Panel)
        panel.display = bool(self._rows) and (view.of_node or view.draw is not None)
        if not panel.display:
            return
        if view.draw:
            panel.name_it(f"{view.title}, {self._metric.value}" if view.by_metric else view.title)
            panel.plot(view.draw(self._rows, self._metric))
            return
        row = self.query_one(Grid).current
        if row is None or row["node"] == self._drawn:
            return
        node = self._drawn = row["node"]
        panel.name_it(f"{view.title} of {node}")
        own: Any = [r for r in self._rows if r["node"] == node]
        if self.run.kind == "distribution":
            bins: Any = [b for b in self._bins if b["node"] == node]
            panel.plot(charts.histogram(own, bins))
        else:
            panel.show_text(charts.boxes(own))

    # Keys

    def action_open(self) -> None:
        """Open the node under the cursor, as in a ranking of the same model."""
        row, column = self.query_one(Grid).current, self.view.node
        if row is not None and self.view.query == _FRONTIER:
            self._take(row["step"])
        if row is None or column is None or row[column] in (None, "none"):
            return
        self._wanted = str(row[column])
        self.ask("ranking", partial(self.reader.ranking, self.run, self._metric))

    def show_ranking(self, ranking: Ranking) -> None:
        """The node, with the others of the list a key away."""
        from .node import NodeScreen

        column = self.view.node or ""
        names = list(dict.fromkeys(str(r[column]) for r in self.query_one(Grid).rows))
        known = [n for n in names if n in ranking.nodes]
        if self._wanted in known:
            place = known.index(self._wanted)
            self.app.push_screen(NodeScreen(ranking, known, place, self._metric))
        else:
            self.app.notify(f"{self._wanted} is no node of this model", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only a plan is written; not every run has another view, nor every view a metric."""
        lacking = {
            "write": self.run.kind != Plan.kind,
            "other": len(self._views) < 2,
            "metric": not self.view.by_metric,
        }
        if lacking.get(action):
            return False
        return super().check_action(action, parameters)

    def action_write(self) -> None:
        """Write the models and files of the plan; the lake knows what it takes to find it again."""

        def write(folder: str | None) -> None:
            if folder:
                given = {"output_folder": str(Path(folder).expanduser())}
                self.follow_up(self.run.run_id, Plan.command, self._written, **given)

        asks = Question("Write", "A folder for models and files for toolchains.", "plan", "plan")
        self.app.push_screen(asks, write)

    def _written(self, _: Job) -> None:
        self.app.notify("the plan is written", markup=False)

    def _take(self, step: int | None) -> None:
        """Another step of the frontier instead of the plan."""
        if step is None:
            self.app.notify("another point is cheaper and better; take one with a step")
        else:
            self.follow_up(self.run.run_id, Plan.command, self.show_answer, take=step)

    def action_other(self) -> None:
        """The next view of the run."""
        self._at = (self._at + 1) % len(self._views)
        self.refresh_bindings()
        self._rows = ()
        self.fill(from_top=True)
        self.lake_changed()

    def action_metric(self) -> None:
        """By the next metric."""
        if self.view.by_metric:
            metrics = list(Metric)
            self._metric = metrics[(metrics.index(self._metric) + 1) % len(metrics)]
            self.lake_changed()

    @property
    def run_here(self) -> RunInfo | None:
        """The run that is looked at."""
        return self.run

    def action_figure(self) -> None:
        """The real figure."""
        self.debugger.show_figure(self.run.run_id)

    def action_copy(self) -> None:
        """Copy what the first column has."""
        if row := self.query_one(Grid).current:
            self.app.copy_to_clipboard(_text(row[self.view.named[0]]))
            self.app.notify("copied", markup=False)


_KEYS = (
    "node", "slot", "subject", "series", "channel", "curve", "step", "remedy", "config_id", "other",
    "sample", "device", "tensor",
)  # fmt: skip
"""What tells rows of a view apart, of any query."""


def _identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in _KEYS)


def _text(value: Any) -> str:
    """A cell of text; of several values all of them."""
    if isinstance(value, list | tuple):
        return ", ".join(clean(v) for v in value)
    return "" if value is None else clean(value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return "nan" if isinstance(value, float) and math.isnan(value) else number(value)
