"""``plan``: the cheapest mixed precision that meets a target, verified and written out."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import (
    Analysis,
    Answer,
    Result,
    Round,
    Seen,
    as_list_of_scores,
    labels,
    output,
    save_dir,
    score,
)
from hmct_track.analyses.diagnose import allow, free_families
from hmct_track.errors import DataError, UsageError
from hmct_track.options import option, parse_metric
from hmct_track.options.kinds import (
    COUNT,
    FOLDER,
    MAYBE_NAMES,
    METRIC,
    NUMBER,
    TEXT,
    WHOLE,
    as_list,
    as_words,
    choice,
    texts,
)
from hmct_track.report.drawings import Drawing
from hmct_track.types import Metric, QuantConfig, QuantType

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmct_track.analyses.base import DataSource
    from hmct_track.analyses.plan_free import Freed
    from hmct_track.analyses.plan_session import Session
    from hmct_track.data import Samples
    from hmct_track.engine import Engine
    from hmct_track.lake.rows import PlanFrontierRow, PlanNodesRow, PlanResultRow
    from hmct_track.model import QuantModel
    from hmct_track.planning.target import Target
    from hmct_track.recording import Recording, Run, Subject
    from hmct_track.report.html import Table
    from hmct_track.report.plan import Beside
    from hmct_track.tracking import NestedRun

_TYPES = ("int16", "float16", "float32")
FREE = "free"
"""The move that stands for the free remedies."""
_MOST_NESTED = 40
_WELL_BELOW = 0.1
"""A share of plans so far below the confidence that is asked for is worth a word."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanResult(Result["PlanNodesRow"]):
    """The plan: its configuration, its nodes as rows, and whether it holds."""

    config: QuantConfig = field(repr=False)
    """What each calibration node does."""
    types: dict[str, str] = field(repr=False)
    """General or calibration node that the plan changes to its type."""

    @property
    def summary(self) -> PlanResultRow:
        """The row of the query ``plan_result``: cost, values, held-out interval, certificate."""
        (row,) = self.answer.lake.query("plan_result", run_id=self.answer.run_id)
        return row

    @property
    def frontier(self) -> list[PlanFrontierRow]:
        """Rows of the query ``plan_frontier`` that are on it, by cost."""
        return [
            r
            for r in self.answer.lake.query("plan_frontier", run_id=self.answer.run_id)
            if r["step"] is not None
        ]


@dataclass(frozen=True, kw_only=True)
class Plan(Analysis["PlanNodesRow"]):
    """Find the cheapest mixed precision that meets a target."""

    command: ClassVar[str] = "plan"
    kind: ClassVar[str] = "plan"
    summary: ClassVar[str] = "Find the cheapest mixed precision that meets a target."
    result_class: ClassVar[type[Result[Any]]] = PlanResult

    target: str | None = option(
        TEXT, "what to reach, such as 'sqnr >= 30', 'cosine-similarity >= 0.99' or 'error <= 10 %' "
        "of the fully quantized model's mse, or of a score 'top1 drop <= 0.5 %'", "-t",
        default=None, metavar="TARGET",
    )  # fmt: skip
    max_cost: str | None = option(
        TEXT, "instead of a target: the best for at most this cost, such as '30 %' of changing "
        "everything, or a number", default=None, metavar="COST",
    )  # fmt: skip
    metric: str = option(
        METRIC, "what is best, with --max-cost, and what is shown beside a score: "
        f"{', '.join(Metric)}", "-m",
        default=Metric.SQNR.value,
    )  # fmt: skip
    moves: str | Sequence[str] = option(
        texts("TYPES"), f"what nodes may become: {', '.join(_TYPES)}; with {FREE} what costs "
        "nothing is done first, as mend does it", default=("int16",),
    )  # fmt: skip
    allow: str | Sequence[str] = allow()
    nodes: str | Sequence[str] | None = option(
        MAYBE_NAMES, "only these nodes may change (default: all)", "-n", default=None
    )
    raised: str | Sequence[str] | None = option(
        MAYBE_NAMES, "these nodes become the first of the moves in any case; what else changes is "
        "chosen around them", default=None,
    )  # fmt: skip
    granularity: str = option(
        choice("WHAT", "node", "calibration"), "what changes: a node with its weight and inputs, "
        "or each calibration node", "-g", default="node",
    )  # fmt: skip
    cost: str = option(
        TEXT, "macs (multiply-accumulates times bits), bytes (of weights), nodes, or a CSV with "
        "the columns node, type and cost", "-c", default="macs", metavar="COST",
    )  # fmt: skip
    boundary: str | None = option(
        TEXT, "what each boundary adds to the cost, where a node reads what one of another type "
        "gives: a number, or a share of changing everything such as '0.5 %'", default=None,
        metavar="COST",
    )  # fmt: skip
    data_num: int | None = option(
        COUNT, "number of samples; None is all (default)", "-d", default=None
    )
    held_out: DataSource | None = option(
        FOLDER, "a folder of samples that choose nothing and judge the plan", default=None
    )
    held_out_share: float = option(
        NUMBER, "share of the samples that is set aside for that, where no folder is given; 0 is "
        "none", default=0.25,
    )  # fmt: skip
    confidence: float = option(
        NUMBER, "with which the target is to hold on samples held out, 0.5 (no margin) to 0.99",
        default=0.9,
    )  # fmt: skip
    budget: float | None = option(
        NUMBER, "seconds after which the best so far is taken", default=None, metavar="SECONDS"
    )
    take: int | None = option(
        WHOLE, "take this step of the frontier instead of the plan", default=None, metavar="STEP"
    )
    output_folder: str | os.PathLike[str] | None = option(
        FOLDER, "write models and files for toolchains here", "-o", default=None, stored=False
    )
    save_dir: str | os.PathLike[str] | None = save_dir("-s")
    output: str | Sequence[str] | None = output()
    score: Any = score()
    labels: Any = labels()

    # What it asks.

    def check(self) -> None:
        """Check the parameters by themselves."""
        super().check()
        if (self.target is None) == (self.max_cost is None):
            given = "both were" if self.target is not None else "neither was"
            raise UsageError(f"give either target or max_cost; {given} given")
        self.goal  # noqa: B018 - it complains
        for name in self._types:
            if name not in _TYPES:
                raise UsageError(f"moves has {name!r}; choose from {', '.join((*_TYPES, FREE))}")
        if not self._types:
            raise UsageError(f"moves has no type to change to; choose from {', '.join(_TYPES)}")
        if FREE in as_words(self.moves):
            free_families(self.allow)
        if self.boundary is not None:
            from hmct_track.analyses.plan_session import amount

            amount("boundary", self.boundary, 1.0)
            if self.granularity != "node":
                raise UsageError(
                    "boundary is of nodes; use it with granularity node, or leave it out"
                )
        if not 0 <= self.held_out_share < 1:
            raise UsageError(f"held_out_share is {self.held_out_share}; 0 to below 1 was expected")
        if not 0.5 <= self.confidence <= 0.99:
            raise UsageError(f"confidence is {self.confidence}; 0.5 to 0.99 was expected")
        if self.budget is not None and not self.budget > 0:
            raise UsageError(f"budget is {self.budget} seconds; a number above 0 was expected")

    @property
    def _types(self) -> list[str]:
        return [name for name in dict.fromkeys(as_words(self.moves)) if name != FREE]

    def open(self, recording: Recording) -> tuple[QuantModel, Engine]:
        """The model; with its free remedies, if they are among the moves and any of them helps.

        Raises:
            ModelError: the model cannot be read.
            DataError: a sample is broken, or does not fit the model.
            UsageError: there are too few samples to choose remedies by.
        """
        from hmct_track.analyses.plan_free import free_first
        from hmct_track.model import model_of

        model, engine = super().open(recording)
        if FREE not in as_words(self.moves):
            return model, engine
        samples = self.samples(model)
        found = free_first(
            model,
            lambda other: self.engine_of(other, recording)[1],
            samples,
            self._split(model, len(samples))[0],
            self.outputs(model, engine),
            free_families(self.allow),
            shown=recording.progress,
        )
        if found is None:
            return model, engine
        self._freed["now"] = found
        return self.engine_of(model_of(found.skeleton), recording)

    @cached_property
    def _freed(self) -> dict[str, Freed]:
        return {}

    def _split(self, model: QuantModel, count: int) -> tuple[list[int], list[int]]:
        """Positions of the samples that choose, and of those that are held out."""
        from hmct_track.analyses.plan_session import split

        if self.held_out is None:
            return split(count, self.held_out_share)
        own = len(super().samples(model))
        return list(range(own)), list(range(own, count))

    @property
    def goal(self) -> Target:
        """What is to be reached; of a highest cost, the metric to improve."""
        from hmct_track.planning.target import Target, parse_target

        if self.target is not None:
            return parse_target(self.target, self._score_names)
        metric = parse_metric(self.metric)
        return Target(metric, metric.optimum)

    @cached_property
    def _score_names(self) -> tuple[str, ...]:
        from hmct_track.scoring import load_scores

        given = as_list_of_scores(self.score)
        return tuple(scorer.name for scorer in load_scores(given)) if given else ()

    @property
    def metrics_asked(self) -> tuple[Metric, ...]:
        """The metric of the target, or the one that is shown beside a score."""
        goal = self.goal.metric
        return (goal if isinstance(goal, Metric) else parse_metric(self.metric),)

    @cached_property
    def _sessions(self) -> dict[str, Session]:
        return {}

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """Each node alone, all but each, then what the search asks for, and the held-out samples.

        Raises:
            UsageError: no node can move, or the target is met already or out of reach.
        """
        if not seen.rounds:
            self._sessions["now"] = self._session(model)
            return self._sessions["now"].first()
        return self._sessions["now"].next(seen)

    def _session(self, model: QuantModel) -> Session:
        from hmct_track.analyses.plan_session import Session
        from hmct_track.planning.moves import COSTS, Tariff, make_board, read_costs

        table = {} if self.cost in COSTS else read_costs(self.cost)
        tariff = Tariff(model, self.cost, table=table)
        types = [QuantType(name) for name in self._types]
        only = None if self.nodes is None else model.expand(as_list(self.nodes))
        raised = model.expand(as_list(self.raised)) if self.raised else ()
        board = make_board(
            model, types, tariff, by_node=self.granularity == "node", only=only, raised=raised
        )
        return Session(
            model, board, tariff, self.goal, self.max_cost, self.confidence, self.budget, self.take,
            self.boundary,
        )  # fmt: skip

    def samples(self, model: QuantModel) -> Samples:
        """The samples, and behind them those of the held-out folder."""
        from hmct_track.data import open_data

        own = super().samples(model)
        if self.held_out is None:
            return own
        try:
            return own.followed_by(open_data(self.held_out, model.inputs))
        except DataError as error:
            raise DataError(f"held out: {error}") from error

    def check_subject(self, subject: Subject) -> None:
        """Find the samples that are held out, and what moves cost.

        Raises:
            UsageError: a held-out sample is one of those that choose, or a cost is missing.
        """
        from hmct_track.analyses.plan_session import same_samples

        session, count = self._sessions["now"], len(subject.samples)
        choosing, held = self._split(subject.model, count)
        if self.held_out is not None:
            twice = same_samples(subject, choosing, held)
            if twice:
                raise UsageError(
                    f"{len(twice)} held-out samples are among those that choose, such as "
                    f"{twice[0]}; give others"
                )
        session.choosing[:], session.held_out[:] = choosing, held
        freed = self._freed.get("now")
        session.freed = bool(freed) if FREE in as_words(self.moves) else None
        session.given = freed.mse(subject) if freed and self.goal.is_share else None
        session.tariff.shapes = subject.engine.shapes(next(iter(subject.inputs().values())))
        session.board.prices()

    def observe(self, run: Run) -> None:
        """Write down the plan, all points, and what it says of each node."""
        from hmct_track.analyses.scored import HELD_OUT, record_scores
        from hmct_track.lake import MENDING_STEPS, PLAN_MOVES, PLAN_POINTS, PLANS

        session = self._sessions["now"]
        held_out = set(session.held_out)
        # Of a configuration that other runs have measured, the lake knows more samples.
        record_scores(
            run, counts=lambda row: (row["sample"] in held_out) == (row["role"] == HELD_OUT)
        )
        freed = self._freed.get("now")
        run.lake.append(MENDING_STEPS, freed.rows(run.run_id) if freed else [])
        run.lake.append(PLAN_POINTS, list(session.point_rows(run.run_id)))
        run.lake.append(PLAN_MOVES, list(session.move_rows(run.run_id)))
        run.lake.append(PLANS, [session.plan_row(run.run_id)])

    # What it answers.

    def rows(self, answer: Answer[PlanNodesRow]) -> list[PlanNodesRow]:
        """What the plan says of each node, those that change first."""
        return answer.lake.query("plan_nodes", run_id=answer.run_id)

    def text(self, answer: Answer[PlanNodesRow]) -> str:
        """The plan in words, its nodes, and the frontier."""
        from hmct_track.report.plan import plan_text

        (row,) = answer.lake.query("plan_result", run_id=answer.run_id)
        points = answer.lake.query("plan_frontier", run_id=answer.run_id)
        return plan_text(row, answer.rows, points, self._beside(answer, row))

    def _beside(self, answer: Answer[PlanNodesRow], row: PlanResultRow) -> Beside:
        """The scores of all points, and a metric where the target is a score."""
        from hmct_track.analyses.scored import HELD_OUT, results
        from hmct_track.report.plan import Beside

        found = results(answer)
        chosen = {(r["config_id"], r["score"]): r for r in found if r["role"] != HELD_OUT}
        held = {(r["subject"], r["score"]): r for r in found if r["role"] == HELD_OUT}
        values = {} if isinstance(self.goal.metric, Metric) else self._values(answer, row)
        remedies = answer.query("mending_steps") if row["freed"] else []
        return Beside(chosen, held, parse_metric(self.metric), values, remedies)

    def _values(self, answer: Answer[PlanNodesRow], row: PlanResultRow) -> dict[str, float]:
        """Configuration to the metric that is shown beside a score, on the samples that choose."""
        import numpy as np

        from hmct_track.analyses.plan_session import split
        from hmct_track.planning.target import Target, read

        metric = parse_metric(self.metric)
        share = self.held_out_share if self.held_out is None else 0
        count = row["samples"] + (row["held_out"] if share else 0)
        choosing, _ = split(count, share)
        by_config: dict[str, dict[str, dict[int, float]]] = {}
        for each in answer.query("plan_values", metric=metric.value, after=0):
            value = math.nan if each["value"] is None else each["value"]
            outputs = by_config.setdefault(each["config_id"], {})
            outputs.setdefault(each["output"], {})[each["sample"]] = value
        found = {}
        for config_id, outputs in by_config.items():
            values = {
                o: np.array([v.get(k, math.nan) for k in choosing]) for o, v in outputs.items()
            }
            found[config_id] = read(Target(metric, metric.optimum), values, {}).value
        return found

    def warnings(self, answer: Answer[PlanNodesRow]) -> Iterator[str]:
        """What the plan does not keep, or was not tested for."""
        (row,) = answer.lake.query("plan_result", run_id=answer.run_id)
        if row["kept"] is False:
            yield (
                f"the target {row['target']} is missed on the {row['held_out']} samples held out; "
                "give more samples, or a higher confidence"
            )
        halved = row["halved"]
        if halved is not None and halved < self.confidence - _WELL_BELOW:
            yield (
                f"of plans that half of the samples choose only {100 * halved:.0f} % keep the "
                "target on the others: these samples hardly tell; give more"
            )
        if not row["held_out"]:
            yield "no samples were held out: the plan is tested only on those that chose it"
        if row["stopped"]:
            yield f"the budget of {self.budget:g} s ended the search; this is the best so far"

    def heading(self, answer: Answer[PlanNodesRow]) -> str:
        """What it shows."""
        return "Plan"

    def table(self, answer: Answer[PlanNodesRow]) -> Table:
        """The nodes that change."""
        from hmct_track.report.plan import plan_table

        return plan_table(answer.rows, self.goal.metric)

    def drawings(self, answer: Answer[PlanNodesRow]) -> list[Drawing]:
        """The frontier, with the scores below it."""

        def draw() -> Figure:
            from hmct_track.report.plan_figure import frontier_figure

            (row,) = answer.lake.query("plan_result", run_id=answer.run_id)
            points = answer.lake.query("plan_frontier", run_id=answer.run_id)
            beside = self._beside(answer, row)
            return frontier_figure(points, row, f"Plan for {answer.label}", beside)

        return [Drawing("plan_frontier", draw)]

    def texts(self, answer: Answer[PlanNodesRow]) -> dict[str, str]:
        """The plan."""
        return {"plan.log": self.text(answer) + "\n"}

    def save_more(
        self, answer: Answer[PlanNodesRow], run: Run, folder: Path | None
    ) -> tuple[Path, ...]:
        """Models and files for toolchains, where they were asked for."""
        if self.output_folder is None:
            return ()
        from hmct_track.analyses.plan_files import write_plan

        session = self._sessions["now"]
        config = session.config(session.state)
        return write_plan(Path(self.output_folder), answer, run, config, mended=bool(session.freed))

    def extras(self, answer: Answer[PlanNodesRow], run: Run) -> dict[str, Any]:
        """The configuration and the types."""
        session = self._sessions["now"]
        types = {
            name: str(row["qtype"])
            for row in answer.rows
            if row["qtype"]
            for name in ([row["slot"]] if self.granularity != "node" else row["nodes"])
        }
        return {"config": session.config(session.state), "types": types}

    def run_summary(self, answer: Answer[PlanNodesRow]) -> dict[str, float]:
        """The plan's values and cost."""
        (row,) = answer.lake.query("plan_result", run_id=answer.run_id)
        name = "error_share" if row["is_share"] else row["metric"]
        found = {
            f"plan.{name}": row["value"],
            f"held_out.{name}": row["held_out_value"],
            "plan.cost_share": row["cost"] / row["cost_of_all"] if row["cost_of_all"] else None,
            "plan.cost": row["cost"],
            "plan.moves": float(row["moves"]),
            "configurations": float(row["configurations"]),
        }
        beside = self._beside(answer, row)
        for name, scored in beside.of_plan(row["config_id"]):
            found |= {name: scored["value"], f"{name}.lost": scored["lost"]}
        return {**answer.whole_summary, **{k: v for k, v in found.items() if v is not None}}

    def run_curves(self, answer: Answer[PlanNodesRow]) -> dict[str, list[tuple[int, float]]]:
        """The frontier, over per mille of the cost of changing everything."""
        points: list[tuple[int, float]] = []
        for row in answer.lake.query("plan_frontier", run_id=answer.run_id):
            share, value = row["share"], row["value"]
            if row["step"] and share is not None and value is not None:
                points.append((round(1000 * share), value))
        return {"frontier": points}

    def nested(self, answer: Answer[PlanNodesRow]) -> list[NestedRun]:
        """The points of the frontier, which the web UI compares."""
        from hmct_track.tracking import NestedRun

        (row,) = answer.lake.query("plan_result", run_id=answer.run_id)
        points = [
            p
            for p in answer.lake.query("plan_frontier", run_id=answer.run_id)
            if p["step"] or p["chosen"]
        ]
        every = -(-len(points) // _MOST_NESTED)
        shown = [p for k, p in enumerate(points) if k % every == 0 or p["chosen"]] if points else []
        name = "error_share" if row["is_share"] else row["metric"]
        beside = self._beside(answer, row)
        return [
            NestedRun(
                f"step {p['step'] or 0:03d}{', the plan' if p['chosen'] else ''}",
                params={"config_id": p["config_id"], "role": p["role"], "chosen": p["chosen"]},
                summary={
                    key: value
                    for key, value in (
                        (name, p["value"]),
                        ("cost_share", p["share"]),
                        ("cost", p["cost"]),
                        ("moves", float(p["moves"])),
                        *beside.of_point(p["config_id"]).items(),
                    )
                    if value is not None
                },
                curves={},
            )
            for p in shown
        ]

    def note(self, answer: Answer[PlanNodesRow]) -> str:
        """The plan in words, and its nodes."""
        from hmct_track.report import table_markdown
        from hmct_track.report.plan import plan_lines

        (row,) = answer.lake.query("plan_result", run_id=answer.run_id)
        said = "\n\n".join(
            plan_lines(
                row,
                answer.rows,
                answer.lake.query("plan_frontier", run_id=answer.run_id),
                self._beside(answer, row),
            )
        )
        table = table_markdown("Nodes", self.table(answer), "plan_nodes", answer.run_id)
        return f"{said}\n\n{table}"
