"""``plan-check``: whether the model that a toolchain built has the types of its plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import Analysis, Answer, Result, Round, Seen
from hmct_track.analyses.configurations import every
from hmct_track.errors import UsageError
from hmct_track.options import option
from hmct_track.options.kinds import COUNT, FILE, FOLDER
from hmct_track.types import Metric, Planned

if TYPE_CHECKING:
    from hmct_track.data import Samples
    from hmct_track.engine import Engine
    from hmct_track.lake.rows import PlanCheckRow
    from hmct_track.model import QuantModel
    from hmct_track.planning.built import Deviation
    from hmct_track.recording import Recording
    from hmct_track.report.html import Table

PLANNED, BUILT, DEVIATION = "planned", "built", "deviation"


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanCheckResult(Result["PlanCheckRow"]):
    """Where a built model differs from its plan."""

    deviations: tuple[Deviation, ...]

    @property
    def is_honoured(self) -> bool:
        """Whether every input has its planned type."""
        return not self.deviations


@dataclass(frozen=True, kw_only=True)
class PlanCheck(Analysis["PlanCheckRow"]):
    """Compare a built model with its plan, node by node, and measure what differences cost."""

    command: ClassVar[str] = "plan-check"
    kind: ClassVar[str] = "plan-check"
    summary: ClassVar[str] = "Tell where a built model has other types than its plan."
    result_class: ClassVar[type[Result[Any]]] = PlanCheckResult
    reads_slowly: ClassVar[bool] = False
    has_figures: ClassVar[bool] = False

    model_or_file: Any = None
    float_model: None = None
    save_dir: None = None
    plan: str = option(
        FILE, "the plan.json of a plan, or its folder", metavar="PLAN", positional=True
    )
    built_model: Any = option(
        FILE, "the model that the toolchain built", metavar="BUILT_MODEL", positional=True
    )
    calibrated_data: Any = option(
        FOLDER, "the data to measure on, if not those of the plan", default=None, stored=False
    )
    data_num: int | None = option(
        COUNT, "number of samples; None is all", "-d", default=8, stored=False
    )

    def check(self) -> None:
        """Read the plan."""
        if self.plan is None or self.built_model is None:
            raise UsageError("plan and built_model are required")
        self._plan  # noqa: B018 - it complains

    @cached_property
    def _plan(self) -> dict[str, Any]:
        from hmct_track.planning.built import read_plan

        return read_plan(self.plan)

    @cached_property
    def _deviations(self) -> list[Deviation]:
        from hmct_track.model import built_types, load_model
        from hmct_track.planning.built import deviations

        built = load_model(self.built_model, may_be_float=True)
        return deviations(self._plan, built_types(built))

    @property
    def metrics_asked(self) -> tuple[Metric, ...]:
        """The metric of the plan."""
        if self._plan["metric"] not in tuple(Metric):
            raise UsageError(
                f"the plan is of {self._plan['metric']}, which plan-check does not measure; it "
                "checks plans by a metric"
            )
        return (Metric(self._plan["metric"]),)

    def open(self, recording: Recording) -> tuple[QuantModel, Engine]:
        """The model that was planned.

        Raises:
            UsageError: it is not where it was, or has changed.
        """
        from hmct_track.model import load_model

        path = self._plan["model"]
        if path is None:
            raise UsageError(f"plan {self.plan!r} is of a model that was no file")
        model = load_model(path, self._plan["float_model"])
        if model.model_id != self._plan["model_id"]:
            raise UsageError(f"model {path!r} is not the one that was planned; it has changed")
        return self.engine_of(model, recording)

    def samples(self, model: QuantModel) -> Samples:
        """Those given, else of the plan."""
        from hmct_track.data import open_data

        source = self.calibrated_data or self._plan["data"]
        if source is None:
            raise UsageError("the data of the plan were no files; give some: --calibrated-data")
        samples = open_data(source, model.inputs)
        return samples.first(min(self.data_num or len(samples), len(samples)))

    def parameters(self, model: QuantModel) -> dict[str, Any]:
        """As given, with what was found."""
        from hmct_track.options import to_stored
        from hmct_track.planning.built import to_rows

        return {
            **to_stored(self),
            "deviations": to_rows(self._deviations),
            "metric": self._plan["metric"],
        }

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """The plan, the plan with all deviations, and with those of each node."""
        from hmct_track.planning.built import as_built, planned_config

        if seen.rounds:
            return Round()
        config, known = planned_config(self._plan), every(model)
        found = [Planned("plan", PLANNED, config.canonical(known))]
        by_node: dict[str, list[Deviation]] = {}
        for deviation in self._deviations:
            if deviation.state is not None:
                by_node.setdefault(deviation.node, []).append(deviation)
        if by_node:
            whole = as_built(config, self._deviations)
            found.append(Planned("built", BUILT, whole.canonical(known)))
        for node, own in by_node.items():
            found.append(Planned(node, DEVIATION, as_built(config, own).canonical(known)))
        return Round(found)

    def rows(self, answer: Answer[PlanCheckRow]) -> list[PlanCheckRow]:
        """The configurations with their values."""
        return answer.lake.query(
            "plan_check", run_id=answer.run_id, metric=answer.parameters["metric"]
        )

    def text(self, answer: Answer[PlanCheckRow]) -> str:
        """Each deviation, and what it costs."""
        from hmct_track.report.tables import plain_table

        table = self.table(answer)
        lines = list(self._lines(answer))
        if table.rows:
            lines += ["", plain_table(table.header, table.rows)]
        return "\n".join(lines)

    def _lines(self, answer: Answer[PlanCheckRow]) -> Iterator[str]:
        values = {row["role"]: row["value"] for row in answer.rows if row["role"] != DEVIATION}
        metric, found = answer.parameters["metric"], answer.parameters["deviations"]
        if not found:
            yield f"the plan is honoured: {metric} {_text(values.get(PLANNED))} as planned"
            return
        nodes = {d["node"] for d in found}
        yield f"{len(found)} inputs of {len(nodes)} nodes have other types than planned"
        yield (
            f"{metric} {_text(values.get(PLANNED))} as planned, {_text(values.get(BUILT))} with "
            "the types as built"
        )

    def heading(self, answer: Answer[PlanCheckRow]) -> str:
        """What it shows."""
        return "Plan and built model"

    def table(self, answer: Answer[PlanCheckRow]) -> Table:
        """The deviations."""
        from hmct_track.report.html import Table as Made

        metric = answer.parameters["metric"]
        values = {row["subject"]: row["value"] for row in answer.rows if row["role"] == DEVIATION}
        lines = [
            [d["node"], d["kind"], str(d["position"]), d["planned"], d["built"],
             _text(values.get(d["node"]))]
            for d in answer.parameters["deviations"]
        ]  # fmt: skip
        header = ("node", "kind", "input", "planned", "built", f"{metric} of the plan with it")
        return Made(header, lines, frozenset({2, 5}))

    def warnings(self, answer: Answer[PlanCheckRow]) -> Iterator[str]:
        """What was not found."""
        gone = [d["node"] for d in answer.parameters["deviations"] if d["built"] == "not there"]
        if gone:
            yield (
                f"{len(set(gone))} nodes of the plan are not in the built model by their names, "
                f"such as {gone[0]!r}; what they cost is not measured"
            )

    def texts(self, answer: Answer[PlanCheckRow]) -> dict[str, str]:
        """The deviations."""
        return {"plan_check.log": self.text(answer) + "\n"}

    def extras(self, answer: Answer[PlanCheckRow], run: Any) -> dict[str, Any]:
        """The deviations."""
        return {"deviations": tuple(self._deviations)}

    def run_summary(self, answer: Answer[PlanCheckRow]) -> dict[str, float]:
        """How many deviations there are, and the values."""
        metric = answer.parameters["metric"]
        values = {
            f"{row['role']}.{metric}": row["value"]
            for row in answer.rows
            if row["role"] != DEVIATION and row["value"] is not None
        }
        return {"deviations": float(len(answer.parameters["deviations"])), **values}


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
