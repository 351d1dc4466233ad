"""The nodes of a run, ranked."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from hmct_track.analyses import GetSensitivityOfNodes, analysis_of_kind
from hmct_track.text import counted
from hmct_track.types import Metric

from .base import feet
from .grid import Grid, GridColumn, stretched
from .marks import MarkingScreen
from .reads import Ranked, Ranking, RunInfo
from .text import SINGLE, bar, clean, moment, number, plain, severity, share, shortened, worst_of

if TYPE_CHECKING:
    from hmct_track.lake.rows import SharesRow

_TYPES = ("all", "node", "weight", "activation")
_BAR = 10


class RankingScreen(MarkingScreen):
    """What each node of a run costs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Node"),
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("space", "mark", "Mark"),
        Binding("a", "act", "Act"),
        Binding("x", "try_out", "Try marked"),
        Binding("s", "sort", "Sort by"),
        Binding("r", "reverse", "Reverse"),
        Binding("t", "type", "Type"),
        Binding("m", "mark_many", "Mark by"),
        Binding("o", "steps", "Rows"),
        Binding("g", "tree", "By module"),
        Binding("p", "figure", "Figure"),
        Binding("w", "widen", "Measure type"),
        Binding("y", "copy", "Copy name"),
        Binding("e", "note", "Note"),
        Binding("u", "page", "MLflow"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, run: RunInfo) -> None:
        super().__init__()
        self.run = run
        self._metric = run.metric
        self._sort = "metric"
        self._reversed = False
        self._type = "all"
        self._values: list[float | None] = []
        self._columns: tuple[GridColumn, ...] = ()
        self._widths: dict[str, int] = {}

    @property
    def ranking(self) -> Ranking | None:
        """What is shown; None until it was read."""
        return self._ranking

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
        """Read the ranking anew; what a follow-up has measured appears as well."""
        self.ask("ranking", partial(self.reader.ranking, self.run, self.run.metric))

    def show_ranking(self, ranking: Ranking) -> None:
        """The rows."""
        if ranking is self._ranking:
            return
        is_first, self._ranking, self.run = self._ranking is None, ranking, ranking.run
        if is_first:
            self.recall_marks()
        self.fill()

    def refused(self, what: str, reason: str) -> None:
        """Say why there is no ranking where it would be; another refusal is only told."""
        if what == "ranking" and self._ranking is None:
            self.query_one(Grid).show((), [], lambda row: (), empty="")
            self.query_one(".heading", Static).update(Text(clean(reason), self.color("bad")))
        else:
            super().refused(what, reason)

    @on(Grid.HeaderClicked)
    def _header(self, message: Grid.HeaderClicked) -> None:
        if message.key in list(Metric):
            again = self._sort == "metric" and self._metric == message.key
            self._sort = "metric"
            self._rank_by(Metric(message.key))
        else:
            again = self._sort == message.key
            self._sort = message.key if message.key != "bar" else "metric"
        self._reversed = not self._reversed if again else False
        self.fill()

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

    def action_sort(self) -> None:
        """Rank by the next metric."""
        if self._sort == "metric":
            metrics = list(Metric)
            self._rank_by(metrics[(metrics.index(self._metric) + 1) % len(metrics)])
        self._sort, self._reversed = "metric", False
        self.fill()

    def _rank_by(self, metric: Metric) -> None:
        """By a metric; what the marked nodes would give is asked by it as well."""
        if metric is not self._metric:
            self._metric, self._steps = metric, []
            self._try_marked()

    def action_reverse(self) -> None:
        """The other way round."""
        self._reversed = not self._reversed
        self.fill()

    def action_type(self) -> None:
        """Only the next type of nodes."""
        self._type = _TYPES[(_TYPES.index(self._type) + 1) % len(_TYPES)]
        self.fill()

    def action_copy(self) -> None:
        """Copy the node's name."""
        if row := self.query_one(Grid).current:
            self.app.copy_to_clipboard(row.name)
            self.app.notify(f"copied {row.name}", markup=False)

    def action_figure(self) -> None:
        """The figure of the run that ranked the node under the cursor."""
        row = self.query_one(Grid).current
        self.debugger.show_figure(row.run_id if row else self.run.run_id)

    @property
    def run_here(self) -> RunInfo | None:
        """The run that is looked at."""
        return self.run

    def action_tree(self) -> None:
        """The listed nodes as a tree of their modules."""
        from .tree import TreeScreen

        rows = self.query_one(Grid).rows
        if self._ranking and rows:
            self.app.push_screen(TreeScreen(self._ranking, rows, self._metric))

    def action_steps(self) -> None:
        """What a run found besides its ranking, such as the steps of a partial quantization."""
        from .views import VIEWS, ViewScreen

        if self.run.kind in VIEWS:
            self.app.push_screen(ViewScreen(self.run))
        else:
            self.app.notify("this run has nothing besides its ranking", markup=False)

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

    def _every(self) -> list[Ranked]:
        """The rows of the type that is looked at; those of other runs where this one has none."""
        ranking = self._ranking
        if ranking is None:
            return []
        if self._type == "all" or any(row.type == self._type for row in ranking.rows):
            return ranking.rows
        return ranking.others

    def fill(self, *, from_top: bool = False) -> None:
        """Show the rows anew."""
        if self._ranking is None:
            return
        every = self._every()
        words = self.words
        rows = [
            row
            for row in every
            if self._type in ("all", row.type)
            and all(w in f"{row.name} {row.op_type} {row.type}".lower() for w in words)
        ]
        rows.sort(key=self._key, reverse=self._reversed)
        self._values = [row.values[self._metric] for row in every]
        self._columns = self._make_columns(rows)
        self._widths = {column.key: column.width for column in self._columns}
        self.query_one(Grid).show(
            self._columns,
            rows,
            self._cells,
            lambda row: row.name,
            empty=self._nothing(len(words)),
            from_top=from_top,
            marked=frozenset(self.marked),
        )
        self._show_heading(len(rows), len(every))

    def _show_heading(self, shown: int, known: int) -> None:
        run, metric = self.run, self._metric
        about = [run.model, run.label, moment(run.started_at), counted(run.data_num, "sample")]
        place = run.parameters.get("output_node") or run.parameters.get("output")
        text = plain("  ".join([*about, *([f"at {place}"] if place else [])]), "bold")
        text.append("\n")
        whole = self._ranking.whole if self._ranking else {}
        if metric in whole:
            value = whole[metric]
            style = self.color(severity(value, metric))
            text.append_text(plain(f"all nodes quantized: {metric.value} "))
            text.append_text(plain("nan" if value is None else number(value), style))
            text.append("  ")
        order = metric.value if self._sort == "metric" else self._sort
        what = f"{shown} of {known}" if shown < known else str(known)
        state = "" if run.state == "FINISHED" else f"{run.state}  "
        told = f"{state}{what} nodes  type: {self._type}  sorted by {order}"
        text.append_text(plain(told, "dim")).append_text(self.told())
        if self._ranking and self._ranking.is_single and metric is Metric.COSINE_SIMILARITY:
            text.append(f"\n{SINGLE}; s: another metric", self.color("poor"))
        if run.note:
            text.append_text(Text(f"\nnote: {clean(run.note)}"))
        self.query_one(".heading", Static).update(text)

    def _nothing(self, filtered: int) -> str:
        if filtered:
            return "No node fits the filter."
        if self.run.state == "RUNNING":
            return "Nothing measured yet."
        if self._type != "all":
            return f"This run has no {self._type} nodes; w measures them."
        if self.run.error:
            return f"The run failed: {self.run.error}"
        known = analysis_of_kind(self.run.kind)
        shows = "; p shows its figure" if known and known.has_figures else ""
        return f"A run of {self.run.kind} ranks no nodes{shows}."

    def _key(self, row: Ranked) -> tuple[object, ...]:
        keys: dict[str, object] = {
            "name": row.name,
            "op": row.op_type,
            "type": row.type,
            "bits": row.bits or 0,
            "threshold": -(row.threshold or 0),
            "feeds": row.consumers,
            "share": -(self._shares[row.name]["share"] if row.name in self._shares else -math.inf),
        }
        if self._sort in keys:
            return (keys[self._sort], row.position)
        return (-self._metric.badness(row.values[self._metric]), row.position)

    def _make_columns(self, rows: list[Ranked]) -> tuple[GridColumn, ...]:
        others = [m for m in Metric if m is not self._metric]
        quantizers = bool(rows) and all(row.type != "node" for row in rows)
        # What quantizes says little by its name: the layer that it belongs to says more.
        feeds = GridColumn("feeds", "feeds", 24, is_fixed=quantizers)
        columns = (
            GridColumn("name", "node", 21 if quantizers else 30, is_fixed=True),
            *([feeds] if quantizers else [GridColumn("op", "op", 13)]),
            *([GridColumn("so far", "so far", 10, right=True)] if self._steps else []),
            GridColumn("bar", self._metric.value[:_BAR], _BAR),
            GridColumn(self._metric.value, self._metric.value[:9], 10, right=True),
            *([GridColumn("share", "share", 19, right=True)] if self._shares else []),
            *(GridColumn(part, part, 10, right=True) for part in self._parts(rows)),
            *(GridColumn(m.value, m.value[:10], 10, right=True) for m in others),
            GridColumn("type", "type", 10),
            GridColumn("bits", "bits", 4, right=True),
            GridColumn("threshold", "threshold", 10, right=True),
            *([] if quantizers else [feeds]),
        )
        longest = {
            "name": max((len(row.name) for row in rows), default=0),
            **(
                {"feeds": max((len("; ".join(row.consumers)) for row in rows), default=0)}
                if quantizers
                else {}
            ),
        }
        needed = ("op", "bar", "so far", self._metric.value)
        fitting = stretched(columns, self.size.width - 3, longest, needed)
        return tuple(self._sign(column) for column in fitting)

    def _parts(self, rows: list[Ranked]) -> list[str]:
        """Whether weights and activations of general nodes are known, to be told beside them."""
        return [
            *(["weight"] if any(row.weight for row in rows) else []),
            *(["activation"] if any(row.activation for row in rows) else []),
        ]

    @property
    def _shares(self) -> dict[str, SharesRow]:
        return self._ranking.shares if self._ranking else {}

    def _share(self, name: str) -> str:
        """A node's share of the whole model's error, and its interval; a star if it interacts."""
        row = self._shares.get(name)
        if row is None or row["share_low"] is None or row["share_high"] is None:
            return ""
        low, high = 100 * row["share_low"], 100 * row["share_high"]
        return f"{100 * row['share']:.0f} ({low:.0f}..{high:.0f}) %{'*' * row['interacts']}"

    def _sign(self, column: GridColumn) -> GridColumn:
        """The column with the sign of the order, if the rows are sorted by it."""
        sorted_by = self._metric.value if self._sort == "metric" else self._sort
        if column.key != sorted_by:
            return column
        title = column.title[: column.width - 1]
        return replace(column, title=f"{title}{'▲' if self._reversed else '▼'}")

    def _named(self, name: str) -> str:
        """As much of a name as fits; the sign of a marked one is told without colours, too."""
        sign = "•" if name in self.marked else ""
        return sign + shortened(name, self._widths["name"] - len(sign))

    def _cells(self, row: Ranked) -> list[Text]:
        metric, value = self._metric, row.values[self._metric]
        style = self.color(severity(value, metric, worst_of(self._values, metric)))
        known = {
            "name": plain(self._named(row.name)),
            "op": plain(row.op_type),
            "bar": bar(share(value, self._values, metric), _BAR, style),
            metric.value: plain("nan" if value is None else number(value), style),
            **{m.value: plain(number(row.values[m])) for m in Metric if m is not metric},
            "weight": plain(number(row.weight.get(metric))),
            "activation": plain(number(row.activation.get(metric))),
            "so far": plain(number(self.so_far.get(row.name))),
            "share": plain(self._share(row.name)),
            "type": plain(row.type),
            "bits": plain(number(row.bits)),
            "threshold": plain(number(row.threshold)),
            "feeds": plain(shortened("; ".join(row.consumers), self._widths["feeds"])),
        }
        return [known[column.key] for column in self._columns]
