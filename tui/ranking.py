"""The nodes of a run, ranked."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from hmct_track.analyses import GetSensitivityOfNodes
from hmct_track.types import Metric

from .base import LakeScreen, feet
from .grid import Grid, GridColumn
from .reads import Ranked, Ranking, RunInfo
from .text import bar, moment, number, plain, severity, share, shortened, worst_of

_TYPES = ("all", "node", "weight", "activation")
_BAR = 10


class RankingScreen(LakeScreen):
    """What each node of a run costs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Node"),
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("s", "sort", "Sort by"),
        Binding("r", "reverse", "Reverse"),
        Binding("t", "type", "Type"),
        Binding("p", "figure", "Figure"),
        Binding("w", "widen", "Measure type", show=False),
        Binding("y", "copy", "Copy name", show=False),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, run: RunInfo) -> None:
        super().__init__()
        self.run = run
        self._ranking: Ranking | None = None
        self._metric = run.metric
        self._sort = "metric"
        self._reversed = False
        self._type = "all"
        self._values: list[float | None] = []
        self._columns: tuple[GridColumn, ...] = ()

    def compose(self) -> ComposeResult:
        """A filter above the table."""
        yield Static(markup=False, classes="heading")
        yield Input(placeholder="/ filters: node name, op type, weight, activation", compact=True)
        yield Grid("Reading the run ...", id="nodes")
        yield from feet()

    def on_mount(self) -> None:
        """Read the run."""
        self.set_focus(self.query_one(Grid))
        self.lake_changed()

    def lake_changed(self) -> None:
        """Read the ranking anew; rows of a run that measures appear as it goes."""
        if self._ranking is None or self._ranking.run.state == "RUNNING":
            self.ask("ranking", partial(self.reader.ranking, self.run, self.run.metric))

    def show_ranking(self, ranking: Ranking) -> None:
        """The rows."""
        self._ranking, self.run = ranking, ranking.run
        self._fill()

    @on(Input.Changed)
    def _filter_changed(self) -> None:
        self._fill()

    @on(Input.Submitted)
    def _filter_done(self) -> None:
        self.set_focus(self.query_one(Grid))

    @on(Grid.HeaderClicked)
    def _header(self, message: Grid.HeaderClicked) -> None:
        if message.key in list(Metric):
            again = self._sort == "metric" and self._metric == message.key
            self._metric, self._sort = Metric(message.key), "metric"
        else:
            again = self._sort == message.key
            self._sort = message.key if message.key != "bar" else "metric"
        self._reversed = not self._reversed if again else False
        self._fill()

    @on(Grid.Chosen)
    def _chosen(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Open the node under the cursor."""
        from .node import NodeScreen

        table = self.query_one(Grid)
        if table.current and self._ranking:
            names = [row.name for row in table.rows]
            self.app.push_screen(
                NodeScreen(self._ranking, names, table.cursor, self._metric), table.go_to
            )

    def action_back(self) -> None:
        """Empty the filter, or go back to the runs."""
        if self.query_one(Input).value:
            self.query_one(Input).value = ""
            self.set_focus(self.query_one(Grid))
        elif self.query_one(Input).has_focus:
            self.set_focus(self.query_one(Grid))
        else:
            self.app.pop_screen()

    def action_filter(self) -> None:
        """Go to the filter."""
        self.set_focus(self.query_one(Input))

    def action_sort(self) -> None:
        """Rank by the next metric."""
        if self._sort == "metric":
            metrics = list(Metric)
            self._metric = metrics[(metrics.index(self._metric) + 1) % len(metrics)]
        self._sort, self._reversed = "metric", False
        self._fill()

    def action_reverse(self) -> None:
        """The other way round."""
        self._reversed = not self._reversed
        self._fill()

    def action_type(self) -> None:
        """Only the next type of nodes."""
        self._type = _TYPES[(_TYPES.index(self._type) + 1) % len(_TYPES)]
        self._fill()

    def action_copy(self) -> None:
        """Copy the node's name."""
        if row := self.query_one(Grid).current:
            self.app.copy_to_clipboard(row.name)
            self.app.notify(f"copied {row.name}", markup=False)

    def action_figure(self) -> None:
        """The figure of the run that ranked the node under the cursor."""
        row = self.query_one(Grid).current
        self.debugger.show_figure(row.run_id if row else self.run.run_id)

    def action_widen(self) -> None:
        """Measure the nodes of the type that is shown, which this run has not."""
        if self._type == "all":
            return
        self.follow_up(
            self.run.run_id,
            GetSensitivityOfNodes.command,
            node_type=self._type,
            interested_nodes=None,
        )

    def _fill(self) -> None:
        if self._ranking is None:
            return
        every = self._ranking.rows
        words = self.query_one(Input).value.lower().split()
        rows = [
            row
            for row in every
            if self._type in ("all", row.type)
            and all(w in f"{row.name} {row.op_type} {row.type}".lower() for w in words)
        ]
        rows.sort(key=self._key, reverse=self._reversed)
        self._values = [row.values[self._metric] for row in every]
        self._columns = self._make_columns()
        self.query_one(Grid).show(
            self._columns, rows, self._cells, lambda row: row.name, empty=self._nothing(len(words))
        )
        run = self.run
        text = f"{run.model}  {run.label}  {moment(run.started_at)}  {run.data_num} samples"
        order = self._metric.value if self._sort == "metric" else self._sort
        what = f"{len(rows)} of {len(every)}" if len(rows) < len(every) else str(len(every))
        self.query_one(".heading", Static).update(
            plain(text, "bold")
            + Text("\n")
            + plain(f"{run.state}  {what} nodes  type: {self._type}  sorted by {order}", "dim")
        )

    def _nothing(self, filtered: int) -> str:
        if filtered:
            return "No node fits the filter."
        if self.run.state == "RUNNING":
            return "Nothing measured yet."
        if self._type != "all":
            return f"This run has no {self._type} nodes; w measures them."
        if self.run.error:
            return f"The run failed: {self.run.error}"
        return f"A run of {self.run.kind} ranks no nodes; p shows its figure."

    def _key(self, row: Ranked) -> tuple[object, ...]:
        keys: dict[str, object] = {
            "name": row.name,
            "op": row.op_type,
            "type": row.type,
            "bits": row.bits or 0,
            "threshold": -(row.threshold or 0),
            "feeds": row.consumers,
        }
        if self._sort in keys:
            return (keys[self._sort], row.position)
        return (-self._metric.badness(row.values[self._metric]), row.position)

    def _make_columns(self) -> tuple[GridColumn, ...]:
        wide = self.size.width >= 120
        name = min(
            max((len(row.name) for row in self._ranking.rows), default=20) if self._ranking else 20,
            60 if wide else 30,
        )
        others = [m for m in Metric if m is not self._metric]
        mark = "▲" if self._reversed else "▼"
        return (
            GridColumn("name", "node", max(name, 8), is_fixed=True),
            GridColumn("op", "op", 13 if wide else 10),
            GridColumn("bar", self._metric.value[:_BAR], _BAR),
            GridColumn(self._metric.value, f"{self._metric.value[:9]}{mark}", 10, right=True),
            *(GridColumn(m.value, m.value[:10], 10, right=True) for m in others),
            GridColumn("type", "type", 10),
            GridColumn("bits", "bits", 4, right=True),
            GridColumn("threshold", "threshold", 10, right=True),
            GridColumn("feeds", "feeds", 40),
        )

    def _cells(self, row: Ranked) -> list[Text]:
        metric, value = self._metric, row.values[self._metric]
        style = self.color(severity(value, metric, worst_of(self._values, metric)))
        return [
            plain(shortened(row.name, self._columns[0].width)),
            plain(row.op_type),
            bar(share(value, self._values, metric), _BAR, style),
            plain("nan" if value is None else number(value), style),
            *(plain(number(row.values[m])) for m in Metric if m is not metric),
            plain(row.type),
            plain(number(row.bits)),
            plain(number(row.threshold)),
            plain("; ".join(row.consumers)),
        ]
