"""What the screens read: the lake's queries, asked in workers. Nothing here knows Textual."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hmct_track.analyses import ANALYSES, Analysis
from hmct_track.errors import HmctTrackError, UsageError
from hmct_track.metrics import Metric, value_of
from hmct_track.options.recording import Recording
from hmct_track.text import counted
from hmct_track.types import NodeType

from .graph import Graph
from .text import number, numbers

if TYPE_CHECKING:
    from hmct_track.lake import DeviceComparison, Lake, Result, RunComparison
    from hmct_track.lake.rows import (
        CausesRow,
        ChannelDistributionRow,
        DistributionRow,
        HistogramRow,
        ModelNodesRow,
        NodeHistoryOfModelRow,
        PartialQuantizationRow,
        RunListRow,
        SensitivityRow,
        SharesRow,
        WholeModelRow,
    )

    _OfNode = TypeVar("_OfNode", DistributionRow, HistogramRow, ChannelDistributionRow)

RANKED = ("sensitivity", "sensitivity-analysis")
"""Kinds of runs that quantize nodes alone."""

_MOST_MEASURING = 4
"""Runs that were killed outright stay in the state RUNNING; not all of them are looked at."""

MOST_ROWS = 10_000
"""Rows of an answer to SQL that are fetched and held."""

_PRICES = ["free", "int16", "float16", "float32"]
"""What remedies cost at run time, the cheapest first."""

_TICK = 100_000_000
"""Nanoseconds."""


@dataclass(frozen=True)
class RunInfo:
    """A run in the list."""

    run_id: str
    parent: str | None
    kind: str
    state: str
    started_at: Any
    seconds: float | None
    model_id: str
    model_path: str | None
    model: str
    """Its name for people."""
    data_path: str | None
    data_num: int
    metrics: tuple[str, ...]
    parameters: dict[str, Any] = field(hash=False)
    error: str | None
    updated_at: Any
    worst_node: str | None
    worst_value: float | None
    whole_value: float | None
    note: str | None = None

    @property
    def metric(self) -> Metric:
        """The metric that ranks."""
        known = list(Metric)
        return next((Metric(m) for m in self.metrics if m in known), Metric.COSINE_SIMILARITY)

    @property
    def label(self) -> str:
        """The run in a few words."""
        of = self.parameters.get("node_type") if self.kind == "sensitivity" else None
        given = self.parameters.get("sensitive_nodes")
        if self.kind == "sensitivity-analysis" and isinstance(given, list) and given:
            return f"{counted(len(given), 'node')} as {self.parameters.get('qtype', 'float32')}"
        return f"{self.kind} of {of}" if of else self.kind


@dataclass(frozen=True)
class Ranked:
    """A node in a ranking."""

    rank: int
    name: str
    type: str
    position: int
    op_type: str
    consumers: tuple[str, ...]
    threshold: float | None
    bits: int | None
    run_id: str
    values: dict[Metric, float | None] = field(hash=False)
    weight: dict[Metric, float | None] = field(hash=False, default_factory=dict)
    """Of a general node: where its weight alone is quantized, if some run ranked weights."""
    activation: dict[Metric, float | None] = field(hash=False, default_factory=dict)
    """The same of the worst of its activations."""


@dataclass(frozen=True)
class Ranking:
    """The rankings of a run and of its steps as one list, with the nodes of the model."""

    run: RunInfo
    rows: list[Ranked]
    others: list[Ranked]
    """Nodes that only other runs ranked: of the same model, data, samples and output."""
    whole: dict[Metric, float | None]
    """The fully quantized model; empty if the run has not measured it."""
    nodes: dict[str, ModelNodesRow]
    graph: Graph
    shares: dict[str, SharesRow] = field(default_factory=dict)
    """What share of the whole model's error is a node's, where that was measured."""
    is_single: bool = False
    """Whether an output has a single element: its cosine similarity is 1 or -1 in any case."""


@dataclass(frozen=True)
class Evidence:
    """What runs found out about a node or its calibration nodes."""

    node: str
    series: list[DistributionRow]
    """Rows of ``distribution``; empty if no run has looked."""
    bins: list[HistogramRow]
    distribution_run: str | None
    channels: list[ChannelDistributionRow]
    channels_run: str | None


@dataclass(frozen=True)
class Elsewhere:
    """A run that some process makes, as it said itself."""

    run_id: str
    kind: str
    host: str
    pid: int
    started_at: Any


@dataclass(frozen=True)
class Curve:
    """The error at every node when only one is quantized."""

    run_id: str
    metric: Metric
    points: list[tuple[int, float, str]]


class Reader:
    """Asks one lake. Its methods block: they are for workers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: tuple[int, ...] | None = None
        """The revision that the runs were last read at; none before they could be read."""
        self._lock = threading.Lock()
        self._opened: Lake | None = None
        self._reading = threading.Lock()
        self._runs: list[RunInfo] = []
        self._nodes: dict[str, dict[str, ModelNodesRow]] = {}
        self._last_ranking: tuple[Any, Any] = (None, None)
        """What the ranking that was read last is about, and the ranking."""

    @property
    def lake(self) -> Lake:
        """The lake, opened at first use; asked again as long as that fails.

        Raises:
            LakeError: there is none, or it cannot be read.
        """
        from hmct_track.lake import Lake  # loads DuckDB and Arrow

        with self._lock:
            if self._opened is None:
                self._opened = Lake.open(self.path)
            return self._opened

    def revision(self) -> tuple[int, ...]:
        """Something that changes whenever a part is written; cheap enough to ask every second."""
        found = []
        try:
            folders = sorted((self.path / "tables").iterdir())
            found = [folder.stat().st_mtime_ns for folder in folders]
        except OSError:
            pass  # the next query says what is wrong
        return tuple(found)

    def runs(self) -> list[RunInfo]:
        """All runs, newest first, each followed by its steps; read anew if the lake has changed.

        Raises:
            LakeError: the lake cannot be read.
        """
        with self._reading:
            revision, before = self.revision(), self.seen
            if before is None or revision != before:
                self.seen = None  # asked again until it can be read
                self._runs = _with_worst_steps([_run(r) for r in self.lake.query("run_list")])
                # A part may follow in the same tick of the clock that the file system keeps.
                age = time.time_ns() - max(revision, default=0)
                self.seen = None if 0 <= age < _TICK else revision
            return list(self._runs)

    def bury(self) -> list[str]:
        """Record runs as killed whose processes have ended without a word, and give their ids.

        Raises:
            LakeError: the lake cannot be read or written.
        """
        if not any(run.state == "RUNNING" for run in self._runs):
            return []
        from hmct_track.lake.care import lost_runs, mark_killed

        lost = lost_runs(self.lake)
        if lost:
            mark_killed(self.lake, lost)
        return lost

    def elsewhere(self) -> list[Elsewhere]:
        """The runs that are going on, newest first; steps are told by the run that they are of."""
        runs = {run.run_id: run for run in self.runs() if not run.parent}
        rows = sorted(self.lake.query("running"), key=lambda row: row["run_id"], reverse=True)
        return [
            Elsewhere(row["run_id"], runs[row["run_id"]].label, row["host"] or "?",
                      row["pid"] or 0, row["started_at"])
            for row in rows if row["run_id"] in runs
        ]  # fmt: skip

    def current(self, run: RunInfo) -> RunInfo:
        """A run as it is now: it may have ended, or somebody has written a note."""
        return next((r for r in self.runs() if r.run_id == run.run_id), run)

    def read_ahead(self) -> None:
        """Read the runs before a screen asks for them, which tells what goes wrong."""
        with contextlib.suppress(HmctTrackError, OSError):
            self.runs()

    def worst_so_far(self, runs: Iterable[RunInfo]) -> dict[str, tuple[str, float | None]]:
        """Run id to the worst node that a run has found, and its value, while it still measures."""
        measuring = [
            run for run in runs if run.state == "RUNNING" and run.kind in RANKED
            and not run.parameters.get("sensitive_nodes")  # of these it is not asked which is worst
        ]  # fmt: skip
        found = {}
        for run in measuring[:_MOST_MEASURING]:
            metric = run.metric
            rows = self.lake.query("sensitivity", run_id=run.run_id, metric=metric.value)
            if rows:
                found[run.run_id] = rows[0]["subject"], rows[0]["value"]
        return found

    def ranking(self, run: RunInfo, metric: Metric) -> Ranking:
        """What a run and its steps ranked, by ``metric``.

        Raises:
            LakeError: the lake cannot be read.
        """
        run, current = self.current(run), self.runs()
        family = [run, *(r for r in current if r.parent == run.run_id)]
        ranking = next((r for r in family if r.kind == "sensitivity"), run)
        alike = [r for r in current if _is_like(ranking, r)]
        about = family, alike, metric
        before: Any
        found: Ranking
        before, found = self._last_ranking
        if before == about and all(r.state != "RUNNING" for r in (*family, *alike)):
            return found  # the lake has changed, but not of this
        ranked = self._read_ranking(family, alike, metric, ranking)
        self._last_ranking = about, ranked
        return ranked

    def _read_ranking(
        self, family: list[RunInfo], alike: list[RunInfo], metric: Metric, ranking: RunInfo
    ) -> Ranking:
        run = family[0]
        nodes = self.nodes(run)
        own = self._ranked(family, metric, nodes)
        others = self._ranked(alike, metric, nodes)
        others = {name: row for name, row in others.items() if name not in own}
        whole = self._whole(family)
        values = {Metric(row["metric"]): row["value"] for row in whole}
        single = any(row["elements"] == 1 for row in whole)
        every = others | own
        rows, rest = ([_apart(row, every, nodes, metric) for row in found.values()]
                      for found in (own, others))  # fmt: skip
        shares = {s["subject"]: s for s in self.lake.query("shares", run_id=ranking.run_id)}
        return Ranking(run, rows, rest, values, nodes, Graph.of(nodes), shares, single)

    def _ranked(
        self, runs: list[RunInfo], metric: Metric, nodes: dict[str, ModelNodesRow]
    ) -> dict[str, Ranked]:
        """The nodes that runs ranked; of several values of a node the first."""
        seen: dict[str, Ranked] = {}
        # A step that only needed a node's value again must not add it a second time.
        for run in sorted(runs, key=lambda r: r.kind != "sensitivity"):
            if run.kind in RANKED:
                rows = self.lake.query("sensitivity", run_id=run.run_id, metric=metric.value)
                for row in rows:
                    seen.setdefault(row["subject"], _ranked(row, run.run_id, nodes))
        return seen

    def _whole(self, family: list[RunInfo]) -> list[WholeModelRow]:
        """The fully quantized model, by the first of the runs that measured it at its output."""
        for run in family:
            if run.kind in RANKED:
                rows = self.lake.query("whole_model", run_id=run.run_id)
                if rows:
                    return rows
        return []

    def nodes(self, run: RunInfo) -> dict[str, ModelNodesRow]:
        """The nodes of the model of a run, by name."""
        if run.model_id not in self._nodes:
            rows = self.lake.query("model_nodes", run_id=run.run_id)
            self._nodes[run.model_id] = {row["node"]: row for row in rows}
        return self._nodes[run.model_id]

    def evidence(self, run: RunInfo, names: Iterable[str]) -> dict[str, Evidence]:
        """What the newest runs on the same model found out about these nodes."""
        found = {}
        for name in names:
            rows = self.lake.query("node_evidence", run_id=run.run_id, node=name)
            latest = {row["evidence"]: row["run_id"] for row in reversed(rows)}
            seen = latest.get("distribution")
            boxed = latest.get("channels")
            found[name] = Evidence(
                name,
                _of(name, self.lake.query("distribution", run_id=seen) if seen else []),
                _of(name, self.lake.query("histogram", run_id=seen) if seen else []),
                seen,
                _of(name, self.lake.query("channel_distribution", run_id=boxed) if boxed else []),
                boxed,
            )
        return found

    def curve(self, run: RunInfo, node: str) -> Curve | None:
        """The newest error curve of a node of the same model."""
        rows = self.lake.query("node_evidence", run_id=run.run_id, node=node)
        latest = next((row for row in rows if row["evidence"] == "curve"), None)
        if latest is None or latest["metric"] is None:
            return None
        metric = Metric(latest["metric"])
        points = self.lake.query(
            "error_accumulation",
            run_id=latest["run_id"],
            metric=metric.value,
            average_mode=False,
        )
        kept = [
            (p["step"], p["value"], p["node"])
            for p in points
            if p["curve"] == node and p["value"] is not None
        ]
        return Curve(latest["run_id"], metric, kept)

    def diagnosis(self, run: RunInfo, node: str, metric: Metric) -> list[str]:
        """Why a node costs accuracy and what mends it: of the newest diagnosis of it, in lines.

        Values are those of the node's quantizers at the model's output, by ``metric``.
        """
        for other in self.runs():
            if other.kind != "diagnosis" or other.model_id != run.model_id:
                continue
            given: dict[str, Any] = {"run_id": other.run_id, "metric": metric.value}
            causes = [c for c in self.lake.query("causes", **given) if c["subject"] == node]
            if not causes:
                continue
            told = [_cause(c, metric) for c in causes]
            mended = [r for r in self.lake.query("remedies", **given) if r["subject"] == node]
            best: dict[str, str] = {}
            for r in mended:
                if r["gain"] > 0:
                    values = f"{number(r['before'])} -> {number(r['after'])}"
                    named = "" if r["remedy"] == r["price"] else f"{r['remedy']}, "
                    best.setdefault(r["price"], f"{r['price']}: {named}{values}")
            cheap = [best[price] for price in sorted(best, key=_PRICES.index)]
            return [*told, *(cheap or ["no remedy that was tried makes it better"])]
        return []

    def history(self, run: RunInfo, node: str) -> list[NodeHistoryOfModelRow]:
        """What the node cost in every run of the model."""
        return self.lake.query("node_history_of_model", run_id=run.run_id, node=node)

    def comparison(
        self, before: RunInfo, after: RunInfo, metric: Metric
    ) -> RunComparison | DeviceComparison:
        """Two rankings side by side; of a runall its ranking of nodes, or else its first.

        Two runs of ``device`` likewise.

        Raises:
            UsageError: one of them ranks no nodes, or only one is of a device.
        """
        from hmct_track.lake import compare_devices, compare_runs, find_device_runs, find_ranking

        if find_device_runs(self.lake, (before.run_id, after.run_id)):
            return compare_devices(self.lake, before.run_id, after.run_id, metric)
        wanted = [NodeType.NODE, NodeType.WEIGHT, NodeType.ACTIVATION]
        problem: UsageError | None = None
        for node_type in wanted:
            try:
                rows = [
                    find_ranking(self.lake, run.run_id, node_type=node_type)
                    for run in (before, after)
                ]
            except UsageError as error:
                problem = problem or error
            else:
                types = [row["node_type"] for row in rows]
                if types[0] != types[1]:
                    raise UsageError(
                        f"one run ranks {types[0]}s, the other {types[1]}s; compare two of a kind"
                    )
                return compare_runs(self.lake, rows[0]["run_id"], rows[1]["run_id"], metric)
        raise problem or UsageError("the runs rank no nodes")

    def told_of(self, run_id: str, name: str) -> dict[str, str]:
        """What a run knows of a node, to be laid beside what another one does; empty if nothing."""
        runs = self.runs()
        run = next((r for r in runs if r.run_id == run_id), None)
        nodes = self.nodes(run) if run else {}
        if run is None or name not in nodes:
            return {}
        told = {"node": name, "op": nodes[name]["op_type"] or ""}
        for row in self.lake.query("sensitivity", run_id=run_id, metric=run.metric.value):
            if row["subject"] == name:
                told["rank"] = str(row["rank"])
                told |= {m.value: number(value_of(row, m)) or "nan" for m in Metric}
        own = nodes[name]["calibration_nodes"] or [name]
        for place, quantizer in enumerate(own, start=1):
            q = nodes.get(quantizer)
            if q and q["qtype"]:
                told[f"quantizer {place}"] = quantizer
                told[f"{place} type"] = f"{q['qtype']}{'' if q['enabled'] else ', switched off'}"
                told[f"{place} thresholds"] = numbers(q["thresholds"])
                told[f"{place} scales"] = numbers(q["scales"])
        graph = Graph.of(nodes)
        told["fed by"] = ", ".join(graph.fed_by(name)) or "no node"
        return told

    def partial(self, run_id: str, metric: Metric) -> list[PartialQuantizationRow]:
        """The steps of a partial quantization."""
        return self.lake.query("partial_quantization", run_id=run_id, metric=metric.value)

    def verdict(self, run: RunInfo) -> list[str]:
        """What is to be known of a plan or a mending before its rows.

        Of a mending, whose answer ends with whether it helps, that comes first.
        """
        from hmct_track.analyses.stored import answer_of

        answer = answer_of(self.lake, run.run_id)
        first, *rest = (answer.analysis.text(answer) or "").split("\n\n")
        said = [rest[-1]] if rest and run.kind == "mending" else []
        return [line for part in (*said, first) for line in part.splitlines()]

    def rows_of(self, query: str, run_id: str, metric: Metric | None) -> list[Any]:
        """The rows of a shipped query about one run.

        Args:
            query: its name.
            run_id: the run.
            metric: where the query takes one.
        """
        by: dict[str, Any] = {"metric": metric.value} if metric else {}
        return list(self.lake.query(query, run_id=run_id, **by))

    def follow_up(
        self, run_id: str, command: str, given: dict[str, Any]
    ) -> tuple[Analysis, Recording]:
        """Another analysis of what a run was about, and what it may use of the machine.

        Raises:
            UsageError: the run's model or its data were no files.
        """
        from hmct_track.analyses.stored import answer_of, follow_up, recording_of

        answer = answer_of(self.lake, run_id)
        return follow_up(answer, ANALYSES[command], **given), recording_of(answer)

    def sql(self, text: str, parameters: dict[str, Any] | None = None) -> Result:
        """Run a shipped query by name with its parameters, or one SELECT of the user's.

        Raises:
            QueryError: it was refused, it failed, or it was interrupted.
        """
        from hmct_track.lake import load_query

        if parameters is None:
            return self._sql_lake.sql(text, MOST_ROWS)
        return self._sql_lake.run_query(load_query(text), parameters, MOST_ROWS)

    def interrupt_sql(self) -> None:
        """Interrupt what `sql` runs, and nothing else that is asked of the lake."""
        self._sql_lake.interrupt()

    @cached_property
    def _sql_lake(self) -> Lake:
        from hmct_track.lake import Lake

        return Lake.open(self.path)


def _with_worst_steps(runs: list[RunInfo]) -> list[RunInfo]:
    """A run of several rankings has the worst node of all of them, not of its first."""
    steps = defaultdict(list)
    for run in runs:
        if run.parent and run.kind == "sensitivity" and run.worst_node:
            steps[run.parent].append(run)

    def whole(run: RunInfo) -> RunInfo:
        own = [step for step in steps[run.run_id] if step.metric == run.metric]
        if not own:
            return run
        worst = max(own, key=lambda step: run.metric.badness(step.worst_value))
        return replace(run, worst_node=worst.worst_node, worst_value=worst.worst_value)

    return [whole(run) for run in runs]


def _is_like(run: RunInfo, other: RunInfo) -> bool:
    """Whether another run ranks other nodes by values that are comparable."""
    if other.kind != "sensitivity" or other.run_id == run.run_id or other.parent:
        return False
    about = ("output_node", "output", "float_model")
    return (
        (run.model_id, run.data_path, run.data_num)
        == (other.model_id, other.data_path, other.data_num)
    ) and all(run.parameters.get(name) == other.parameters.get(name) for name in about)


def _of(node: str, rows: list[_OfNode]) -> list[_OfNode]:
    return [row for row in rows if row["node"] == node]


def _run(row: RunListRow) -> RunInfo:
    try:
        parameters = json.loads(row["parameters"] or "{}")
    except ValueError:
        parameters = {}
    return RunInfo(
        run_id=row["run_id"],
        parent=row["parent_run_id"],
        kind=row["kind"],
        state=row["state"],
        started_at=row["started_at"],
        seconds=row["seconds"],
        model_id=row["model_id"],
        model_path=row["model_path"],
        model=row["model"],
        data_path=row["data_path"],
        data_num=row["data_num"],
        metrics=tuple(row["metrics"] or ()),
        parameters=parameters if isinstance(parameters, dict) else {},
        error=row["error"],
        updated_at=row["updated_at"],
        worst_node=row["worst_node"],
        worst_value=row["worst_value"],
        whole_value=row["whole_value"],
        note=row["note"],
    )


def _cause(cause: CausesRow, metric: Metric) -> str:
    parts = [f"{cause['node']} alone {metric.value} {number(cause['alone'])}"]
    for what in ("clipping", "rounding"):
        value = number(cause["clipping"] if what == "clipping" else cause["rounding"])
        parts += [f"{what} only {value}"] if value else []
    if cause["effective_bits"] is not None:
        parts.append(f"{cause['effective_bits']:.1f} bits used of {cause['bits']}")
    if cause["imbalance"] is not None and (cause["scales"] or 1) == 1:
        parts.append(f"channels {cause['imbalance']:.4g} to 1 with one scale")
    return ", ".join(parts)


def _apart(
    row: Ranked, every: dict[str, Ranked], nodes: dict[str, ModelNodesRow], metric: Metric
) -> Ranked:
    """A general node with what its weight and its worst activation cost alone, where known."""
    node = nodes.get(row.name)
    if row.type != "node" or node is None:
        return row
    parts = [every[name] for name in node["calibration_nodes"] or () if name in every]
    worst: dict[str, Ranked] = {}
    for part in sorted(parts, key=lambda p: metric.badness(p.values[metric])):
        worst[part.type] = part
    return replace(
        row,
        weight=worst["weight"].values if "weight" in worst else {},
        activation=worst["activation"].values if "activation" in worst else {},
    )


def _ranked(row: SensitivityRow, run_id: str, nodes: dict[str, ModelNodesRow]) -> Ranked:
    node = nodes.get(row["subject"])
    return Ranked(
        rank=row["rank"],
        name=row["subject"],
        type=node["type"] if node else "node",
        position=row["position"],
        op_type=row["op_type"],
        consumers=tuple(row["consumers"] or ()),
        threshold=row["threshold"],
        bits=row["bits"],
        run_id=run_id,
        values={metric: value_of(row, metric) for metric in Metric},
    )
