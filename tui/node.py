"""One node: what it is, what feeds it, how its data are distributed, what its error does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from hmct_track.analyses import (
    Diagnose,
    GetChannelwiseDataDistribution,
    PlotAccError,
    PlotDistribution,
)
from hmct_track.metrics import value_of
from hmct_track.text import counted
from hmct_track.types import Metric

from . import charts
from .base import LakeScreen, Notice, feet
from .charts import Panel, facts
from .launch import Job
from .reads import Curve, Evidence, Ranked, Ranking
from .text import (
    SINGLE,
    bar,
    clean,
    moment,
    number,
    numbers,
    plain,
    severity,
    share,
    shortened,
    worst_of,
)

if TYPE_CHECKING:
    from hmct_track.lake.rows import ModelNodesRow, NodeHistoryOfModelRow

_MOST_SAMPLES = 16
"""For histograms and boxes: the values of a node are held at once."""

_CLIPPED, _WIDE = 1.05, 2.0
"""How far data may be beyond a threshold, or a threshold beyond the data, before it is told."""

_MOST_KEYS = 8
"""Nodes before and after a node that are drawn."""

_RUN_KEYS = "123456789abcdefghij"
"""Keys of the newest runs of a node."""

_PATIENCE = 0.2
"""Seconds in which the panels of a node may follow its name."""

_TITLES = {
    "histogram": "2 Distribution",
    "channels": "3 Channels",
    "curve": "4 Error through the model",
    "history": "5 History",
}
_PANELS = ("facts", *_TITLES)


def _ranks(rows: Iterable[Ranked], metric: Metric) -> dict[str, int]:
    """Node to its rank among its like by a metric."""
    found: dict[str, int] = {}
    for kind in sorted({row.type for row in rows}):
        own = [row for row in rows if row.type == kind]
        own.sort(key=lambda row: (-metric.badness(row.values[metric]), row.position))
        found |= {row.name: rank for rank, row in enumerate(own, start=1)}
    return found


class NodeScreen(LakeScreen):
    """A node of a ranking; the neighbours in the ranking are a key away."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p,enter", "figure", "Figure"),
        Binding("left", "step(-1)", "Previous", key_display="←"),
        Binding("right", "step(1)", "Next", key_display="→"),
        Binding("u", "go('fed_by')", "Fed by"),
        Binding("f", "go('feeds')", "Feeds"),
        Binding("g", "around", "Around"),
        Binding("t", "tensor", "Tensor"),
        Binding("d", "compute('histogram')", "Histograms"),
        Binding("b", "compute('channels')", "Boxes"),
        Binding("e", "compute('curve')", "Curve"),
        Binding("w", "diagnose", "Why"),
        Binding("h", "history", "Runs of it"),
        *(
            Binding(str(i), f"panel('{name}')", name, show=False)
            for i, name in enumerate(_PANELS, start=1)
        ),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, ranking: Ranking, names: Sequence[str], place: int, metric: Metric) -> None:
        super().__init__()
        names = list(names)  # others are put between them
        self._ranking, self._names, self._place, self._metric = ranking, names, place, metric
        every = [*ranking.rows, *ranking.others]
        self._rows: dict[str, Ranked] = {row.name: row for row in every}
        self._ranks = _ranks(ranking.rows, metric) | _ranks(ranking.others, metric)
        self._tensor = ""
        self._evidence: dict[str, Evidence] = {}
        self._curve: Curve | None = None
        self._waits_for: set[str] = set()
        """Panels that still show another node."""
        self._diagnosis: list[str] = []
        self._history: list[NodeHistoryOfModelRow] = []

    @property
    def ranking(self) -> Ranking:
        """The ranking that it is of."""
        return self._ranking

    @property
    def name_shown(self) -> str:
        """The node's name."""
        return self._names[self._place]

    def compose(self) -> ComposeResult:
        """Panels, stacked or side by side as the terminal allows."""
        yield Static(markup=False, classes="heading")
        with VerticalScroll(id="panels", can_focus=False):
            yield Panel("1 What it is", id="facts")
            with Container(id="charts"):
                yield from (Panel(title, id=name) for name, title in _TITLES.items())
        yield from feet()

    def on_mount(self) -> None:
        """Show the node."""
        self.query_one("#facts", Panel).focus()
        self._show_node()

    def lake_changed(self) -> None:
        """Ask again: an analysis may have found what is missing."""
        self._ask()

    def resized(self) -> None:
        """Values in the colours of the theme."""
        self._show_heading()
        self._show_facts()

    # What is shown

    def _show_node(self) -> None:
        self._tensor, self._evidence, self._curve = self.name_shown, {}, None
        self._diagnosis = []
        self._waits_for = set(_TITLES)
        self.set_timer(_PATIENCE, partial(self._say_reading, self.name_shown))
        self._show_heading()
        self._show_facts()
        self._ask()

    def _say_reading(self, name: str) -> None:
        """Where it takes a while, nothing of the node before may stand below this one's name."""
        if name == self.name_shown:
            for panel in self._waits_for:
                self.query_one(f"#{panel}", Panel).name_it(_TITLES[panel])
                self.query_one(f"#{panel}", Panel).say("Reading ...")

    def _show_heading(self) -> None:
        row = self._rows.get(self.name_shown)
        text = plain(self.name_shown, "bold")
        if row:
            value = row.values[self._metric]
            rank = self._ranks[row.name]
            text.append_text(plain(f"  {row.op_type}  rank {rank}  {self._metric.value} "))
            style = self.color(severity(value, self._metric, self._worst()))
            text.append_text(plain("nan" if value is None else number(value), style))
        self.query_one(".heading", Static).update(text)

    def _worst(self) -> float | None:
        return worst_of((r.values[self._metric] for r in self._rows.values()), self._metric)

    def _ask(self) -> None:
        run, name = self._ranking.run, self.name_shown
        self.ask("evidence", partial(self.reader.evidence, run, self._tensors()))
        self.ask("curve", partial(self.reader.curve, run, name))
        self.ask("diagnosis", partial(self.reader.diagnosis, run, name, self._metric))
        self.ask("history", partial(self.reader.history, run, name))

    def _tensors(self) -> list[str]:
        node = self._ranking.nodes.get(self.name_shown)
        return [self.name_shown, *((node["calibration_nodes"] if node else None) or ())]

    def show_evidence(self, evidence: dict[str, Evidence]) -> None:
        """Histogram and boxes of the tensor that is looked at."""
        self._waits_for -= {"histogram", "channels"}
        first = not self._evidence
        self._evidence = evidence
        seen = [name for name in self._tensors() if evidence[name].series]
        if first and seen:
            self._tensor = seen[0]
        self._show_tensor()
        self._show_facts()

    def _show_tensor(self) -> None:
        names = self._tensors()
        panel = self.query_one("#histogram", Panel)
        found = self._evidence.get(self._tensor)
        more = f"  (t: {names.index(self._tensor) + 1} of {len(names)})" if len(names) > 1 else ""
        panel.name_it(f"2 Distribution of {shortened(self._tensor, 40)}{more}")
        if found and found.series:
            panel.plot(charts.histogram(found.series, found.bins))
        else:
            panel.say("Not looked at yet.  d computes histograms of the node and what feeds it.")
        boxes = self.query_one("#channels", Panel)
        boxed = self._boxed()
        if boxed:
            boxes.name_it(f"3 Channels of {shortened(boxed.node, 40)}")
            boxes.show_text(charts.boxes(boxed.channels))
        else:
            boxes.name_it("3 Channels")
            boxes.say("Not looked at yet.  b computes a box plot of the channels.")

    def _boxed(self) -> Evidence | None:
        """The boxes of this tensor, or of the first that has some."""
        found = self._evidence.get(self._tensor)
        if found and found.channels:
            return found
        if self._tensor == self.name_shown:
            return next((e for e in self._evidence.values() if e.channels), None)
        return None

    def show_curve(self, found: Curve | None) -> None:
        """The error curve."""
        self._waits_for.discard("curve")
        self._curve = found
        panel = self.query_one("#curve", Panel)
        if found and found.points:
            panel.name_it(f"4 {found.metric.value} through the model")
            panel.plot(charts.curve(found.points, self.name_shown, found.metric))
        else:
            panel.say(
                "Not measured yet.  e computes the error curve of this node through the model."
            )

    def show_diagnosis(self, lines: list[str]) -> None:
        """Why it costs accuracy, and what mends it."""
        self._diagnosis = lines
        self._show_facts()

    def show_history(self, rows: list[NodeHistoryOfModelRow]) -> None:
        """The node in other runs."""
        self._waits_for.discard("history")
        self._history = rows[::-1]
        panel = self.query_one("#history", Panel)
        panel.name_it(f"5 {self._metric.value} in {len(rows)} runs, newest first (h opens one)")
        notes = {run.run_id: run.note for run in self.debugger.runs if run.note}
        panel.show_text(charts.history(rows, self._metric, self.color, notes))

    def _show_facts(self) -> None:
        lines = self._facts()
        self.query_one("#facts", Panel).show_text(lambda width, _: facts(lines, width))

    def _facts(self) -> list[tuple[str, str]]:
        nodes, name = self._ranking.nodes, self.name_shown
        node, row = nodes.get(name), self._rows.get(name)
        lines = [("diagnosis", told) for told in self._diagnosis]
        lines += [("verdict", told) for told in self._verdicts()]
        if row:
            for what, part in (("weight", row.weight), ("activation", row.activation)):
                if part:
                    alone = number(part[self._metric]) or "nan"
                    lines.append((what, f"alone {self._metric.value} {alone}"))
            values = "  ".join(f"{m.value} {number(row.values[m]) or 'nan'}" for m in Metric)
            lines.append(("metrics", values))
            if self._ranking.is_single:
                lines.append(("", SINGLE))
        if node:
            quantizers = node["calibration_nodes"] or ()
            if node["type"] == "node":
                for calibration in quantizers:
                    lines += self._quantizer(nodes.get(calibration), calibration)
            else:
                lines += self._quantizer(node, name)
        graph = self._ranking.graph
        lines.append(("fed by", ", ".join(map(self._ranked, graph.fed_by(name))) or "no node"))
        lines.append(("feeds", ", ".join(map(self._ranked, graph.feeds(name))) or "the output"))
        if constants := graph.constants(name):
            lines.append(("constants", ", ".join(constants)))
        for found in self._evidence.values():
            for series in found.series:
                of = series["series"] if found.node == name else f"{found.node} {series['series']}"
                lines.append((
                    "data",
                    f"{of}: {series['min']:.4g} to {series['max']:.4g}, mean {series['mean']:.4g}, "
                    f"std {series['std']:.4g}, median {series['median']:.4g}, "
                    f"99 % {series['q99']:.4g}, {series['zeros']:,} of {series['count']:,} zeros, "
                    f"{series['nan'] + series['inf']} not finite",
                ))  # fmt: skip
        return lines

    def _ranked(self, name: str) -> str:
        return f"{name} (rank {self._ranks[name]})" if name in self._ranks else name

    def _verdicts(self) -> list[str]:
        """What the thresholds do to the data that were seen."""
        told = []
        for name, found in self._evidence.items():
            for series in found.series:
                low, high, threshold = series["min"], series["max"], series["threshold"]
                if low is None or high is None or threshold is None or series["series"] == "after":
                    continue
                reach = max(abs(low), abs(high))
                node = self._ranking.nodes.get(name)
                whose = "what reads it has " if node and node["type"] == "node" else ""
                told.append(f"{name}: {whose}{_verdict(threshold, reach)}")
        return told

    def _quantizer(self, node: ModelNodesRow | None, name: str) -> list[tuple[str, str]]:
        if node is None:
            return [("quantizer", name)]
        scales, points = node["scales"] or (), node["zero_points"] or ()
        channels = f"per channel (axis {node['axis']})" if len(scales) > 1 else "per tensor"
        off = "" if node["enabled"] else ", switched off"
        zeros = f"  zero points {numbers(points)}" if any(points) else ""
        return [
            (node["type"], f"{name}  {node['qtype']}, {node['bits']} bits, {channels}{off}"),
            ("", f"thresholds {numbers(node['thresholds'])}  scales {numbers(scales)}{zeros}"),
        ]

    # Keys

    def action_back(self) -> None:
        """Back to the ranking, the cursor on this node."""
        self.dismiss(self.name_shown)

    def action_step(self, by: int) -> None:
        """The next node of the ranking."""
        place = self._place + by
        if 0 <= place < len(self._names):
            self._place = place
            self._show_node()

    def action_go(self, where: str) -> None:
        """Go to a node that feeds this one, or that this one feeds; of several one is chosen."""
        graph = self._ranking.graph
        found = graph.fed_by(self.name_shown) if where == "fed_by" else graph.feeds(self.name_shown)
        if not found:
            at = "the input" if where == "fed_by" else "the output"
            self.app.notify(f"this node is at {at} of the model", markup=False)
        elif len(found) == 1:
            self._go_to(found[0])
        else:
            answers = {str(i): self._ranked(name) for i, name in enumerate(found[:9], start=1)}

            def choose(answer: str | None) -> None:
                if answer:
                    self._go_to(found[int(answer) - 1])

            self.app.push_screen(Notice("Which node?", "", answers), choose)

    def action_around(self) -> None:
        """What feeds the node and what it feeds, drawn around it with what each costs."""
        graph, name = self._ranking.graph, self.name_shown
        before, after = graph.fed_by(name)[:_MOST_KEYS], graph.feeds(name)[:_MOST_KEYS]
        keys = dict(zip("123456789abcfghij", [*before, *after], strict=False))
        named = {near: key for key, near in keys.items()}
        text = Text(no_wrap=True)
        for near in before:
            text.append_text(self._costs(near, named.get(near, ""))).append("\n")
        text.append("  │\n  ▼\n" if before else "the input\n  ▼\n")
        text.append_text(self._costs(name, "")).append("\n")
        text.append("  │\n  ▼\n" if after else "  ▼\nthe output")
        for near in after:
            text.append_text(self._costs(near, named.get(near, ""))).append("\n")

        def choose(answer: str | None) -> None:
            if answer:
                self._go_to(keys[answer])

        self.app.push_screen(Notice("Around it", text, {k: clean(n) for k, n in keys.items()}),
                             choose)  # fmt: skip

    def _costs(self, name: str, key: str) -> Text:
        """A node with its bar, as bad as it is beside the others of the ranking."""
        row, node = self._rows.get(name), self._ranking.nodes.get(name)
        value = row.values[self._metric] if row else None
        values = [r.values[self._metric] for r in self._rows.values() if row and r.type == row.type]
        style = self.color(severity(value, self._metric, self._worst())) if row else "dim"
        text = plain(
            f"{key:2}{shortened(name, 40):40} {(node['op_type'] if node else '') or '':12} "
        )
        if row is None:
            return text.append_text(plain("not ranked", "dim"))
        text.append_text(bar(share(value, values, self._metric), 10, style))
        return text.append_text(plain(f" {number(value) or 'nan'}", style))

    def _go_to(self, name: str) -> None:
        if name not in self._names:
            self._names.insert(self._place + 1, name)
        self._place = self._names.index(name)
        self._show_node()

    def action_history(self) -> None:
        """Open one of the runs that quantized this node alone."""
        runs = {run.run_id: run for run in self.debugger.runs}
        known = [(row, runs[row["run_id"]]) for row in self._history if row["run_id"] in runs]
        keys = dict(zip(_RUN_KEYS, known, strict=False))
        answers = {
            key: f"{moment(run.started_at)}  {number(value_of(row, self._metric)):>10}  "
            f"{counted(run.data_num, 'sample')}  {clean(run.note or '')}"
            for key, (row, run) in keys.items()
        }

        def choose(answer: str | None) -> None:
            if answer:
                self.debugger.open_run(keys[answer][1])

        said = f"{self._metric.value} of this node, newest first" if answers else "No run yet."
        self.app.push_screen(Notice("Which run?", said, answers), choose)

    def action_tensor(self) -> None:
        """The node's output, or the next of its calibration nodes."""
        names = self._tensors()
        self._tensor = names[(names.index(self._tensor) + 1) % len(names)]
        self._show_tensor()

    def action_panel(self, name: str) -> None:
        """Go to a panel."""
        panel = self.query_one(f"#{name}", Panel)
        panel.focus()
        panel.scroll_visible(animate=False)

    def action_figure(self) -> None:
        """The real figure of the panel that has the focus; what it needs is computed first."""
        panel = self.focused.id if self.focused else None
        if panel == "histogram":
            found = self._evidence.get(self._tensor)
            self._figure_or_compute(panel, found.distribution_run if found else None, self._tensor)
        elif panel == "channels":
            boxed = self._boxed()
            node = boxed.node if boxed else self._channel_nodes()[0]
            self._figure_or_compute(panel, boxed.channels_run if boxed else None, node)
        elif panel == "curve":
            self._figure_or_compute(panel, self._curve.run_id if self._curve else None, None)
        elif panel == "history":
            self.action_history()
        else:
            row = self._rows.get(self.name_shown)
            self.debugger.show_figure(row.run_id if row else self._ranking.run.run_id)

    def _figure_or_compute(self, panel: str, run_id: str | None, node: str | None) -> None:
        if run_id:
            self.debugger.show_figure(run_id, node)
        else:
            self._compute(panel, node, with_figure=True)

    def action_diagnose(self) -> None:
        """Why it costs accuracy and what mends it: the form of a diagnosis of this node."""
        row, node = self._rows.get(self.name_shown), self._ranking.nodes.get(self.name_shown)
        names = [self.name_shown]
        if node and node["type"] != "node":
            names = list(row.consumers) if row else []
        given = {"nodes": names, "metric": self._metric.value}
        run_id = row.run_id if row else self._ranking.run.run_id
        self.follow_up(run_id, Diagnose.command, None, **given)

    def action_compute(self, panel: str) -> None:
        """Compute what a panel shows."""
        self._compute(panel, None, with_figure=False)

    def _channel_nodes(self) -> list[str]:
        names = self._tensors()
        node = self._ranking.nodes.get(self.name_shown)
        return names[1:] if node and node["type"] == "node" and len(names) > 1 else names

    def _compute(self, panel: str, node: str | None, *, with_figure: bool) -> None:
        row = self._rows.get(self.name_shown)
        run = self._ranking.run
        samples = min(run.data_num, _MOST_SAMPLES)
        asked: dict[str, tuple[str, dict[str, Any]]] = {
            "histogram": (
                PlotDistribution.command,
                {"nodes_list": self._tensors(), "data_num": samples},
            ),
            "channels": (
                GetChannelwiseDataDistribution.command,
                {"nodes_list": self._channel_nodes(), "data_num": samples},
            ),
            "curve": (
                PlotAccError.command,
                {
                    "quantize_node": [self.name_shown],
                    "non_quantize_node": None,
                    "metric": self._metric.value,
                },
            ),
        }
        command, given = asked[panel]

        def show(job: Job) -> None:
            if job.run_id:
                self.debugger.show_figure(job.run_id, node)

        run_id = row.run_id if row else run.run_id
        self.follow_up(run_id, command, show if with_figure else None, **given)


def _verdict(threshold: float, reach: float) -> str:
    if reach > _CLIPPED * threshold:
        return f"threshold {threshold:.4g} cuts data that reach {reach:.4g} in these samples"
    if threshold > _WIDE * reach:
        return f"threshold {threshold:.4g} over data that reach {reach:.4g} in these samples"
    return f"threshold {threshold:.4g} fits data that reach {reach:.4g} in these samples"
