"""``plot-acc-error``: how the error grows from node to node when only some nodes are quantized."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hmct_track.analyses.base import (
    Analysis,
    Answer,
    Round,
    Seen,
    data_num,
    metric,
    save_dir,
)
from hmct_track.analyses.configurations import every, whole
from hmct_track.errors import ModelError, UsageError
from hmct_track.options import option
from hmct_track.options.kinds import SELECTION, SWITCH
from hmct_track.report.drawings import Drawing
from hmct_track.types import CalibrationKind, Metric, Planned, QuantConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmct_track.engine import Engine
    from hmct_track.lake.rows import ErrorAccumulationRow
    from hmct_track.model import QuantModel
    from hmct_track.report.html import Table
    from hmct_track.tracking import NestedRun

_SHAPES = ("Shape", "Size")
"""Operators that look at the shape of a tensor and not at its values."""

Selection = str | Sequence[str] | Sequence[Sequence[str]] | None
"""Nodes, or lists of nodes."""


@dataclass(frozen=True, kw_only=True)
class PlotAccError(Analysis["ErrorAccumulationRow"]):
    """Plot how the error grows from node to node when only some nodes are quantized."""

    command: ClassVar[str] = "plot-acc-error"
    kind: ClassVar[str] = "error-accumulation"
    summary: ClassVar[str] = "Plot how the error grows from node to node."

    save_dir: str | os.PathLike[str] | None = save_dir("-s")
    quantize_node: Selection = option(
        SELECTION, "quantize only these: a list (a curve each), a nested list, weight, activation",
        "-q", default=None,
    )  # fmt: skip
    non_quantize_node: Selection = option(
        SELECTION, "quantize all but these: a list (a curve each) or a nested list", "-nq",
        default=None,
    )  # fmt: skip
    metric: str = metric()
    average_mode: bool = option(
        SWITCH, "plot the mean of the first n nodes at the nth", "-a", default=False
    )
    data_num: int | None = data_num()

    def outputs(self, model: QuantModel, engine: Engine) -> tuple[str, ...]:
        """The float outputs of the nodes that depend on the input's values, in topological order.

        Constants, and what is computed of shapes, are the same in every configuration.
        """
        from_input = {spec.name for spec in model.inputs}
        calibrations = {node.output: node.input for node in model.calibration_nodes}
        names: list[str] = []
        for node in model.general_nodes:
            sources = {calibrations.get(name, name) for name in node.inputs}
            if sources & from_input and node.op_type not in _SHAPES:
                from_input.update(node.outputs)
                names += node.outputs
        kept = engine.output_tensors(names)
        if not kept:
            raise ModelError("no node of the model has a float output to compare")
        return kept

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """One curve per element of the selection, and the fully quantized model as a reference.

        Raises:
            UsageError: both or neither selection is given, or an element is not allowed there.
            UnknownNodeError: a node does not exist.
        """
        if seen.rounds:
            return Round()
        chosen = [s for s in (self.quantize_node, self.non_quantize_node) if s]
        if len(chosen) != 1:
            given = "both were" if len(chosen) == 2 else "neither was"
            raise UsageError(f"give either quantize_node or non_quantize_node; {given} given")
        inverted = not self.quantize_node
        make = QuantConfig.all_but if inverted else QuantConfig.only
        curves = _curves(model, chosen[0], inverted=inverted)
        known = every(model)
        planned = [
            Planned(name, "curve", make(nodes).canonical(known)) for name, nodes in curves.items()
        ]
        return Round([*planned, whole(model)])

    def rows(self, answer: Answer[ErrorAccumulationRow]) -> list[ErrorAccumulationRow]:
        """The points of the curves."""
        return answer.lake.query(
            "error_accumulation",
            run_id=answer.run_id,
            metric=self.metric,
            average_mode=self.average_mode,
        )

    def text(self, answer: Answer[ErrorAccumulationRow]) -> str:
        """Where each curve ends."""
        from hmct_track.report import curves_text

        return curves_text(answer.rows, Metric(self.metric))

    def heading(self, answer: Answer[ErrorAccumulationRow]) -> str:
        """What it shows."""
        return "Accumulated error"

    def table(self, answer: Answer[ErrorAccumulationRow]) -> Table:
        """The end and the worst point of each curve."""
        from hmct_track.report.html import curves

        return curves(answer.rows, Metric(self.metric))

    def drawings(self, answer: Answer[ErrorAccumulationRow]) -> list[Drawing]:
        """The curves."""

        def draw() -> Figure:
            from hmct_track.report.accumulation import accumulation_figure

            if not answer.rows:
                raise UsageError(f"run {answer.run_id!r} has no curve")
            what = "only these" if self.quantize_node else "all but these"
            title = f"Accumulated error of {answer.label}: {what} quantized"
            return accumulation_figure(
                answer.rows,
                Metric(self.metric),
                title,
                average_mode=self.average_mode,
                curve_nodes=self._curve_nodes(),
                quantized=bool(self.quantize_node),
            )

        average = "_average" if self.average_mode else ""
        return [Drawing(f"accumulated_error_{self.metric}{average}", draw)]

    def _curve_nodes(self) -> dict[str, list[str]]:
        """The nodes of each nested list by the name of its curve, as they were given."""
        given = self.quantize_node or self.non_quantize_node or ()
        elements = [given] if isinstance(given, str) else list(given)
        if not _is_nested(elements):
            return {}
        return {f"partial_qmodel_{i}": list(group) for i, group in enumerate(elements)}

    def nested(self, answer: Answer[ErrorAccumulationRow]) -> list[NestedRun]:
        """Each curve is a nested run, so that any two can be overlaid."""
        from hmct_track.tracking import NestedRun

        return [
            NestedRun(
                name,
                params={"curve": name, "role": points[0]["role"], "metric": self.metric},
                summary=_present({f"at_last_node.{self.metric}": points[-1]["value"]}),
                curves={f"by_node.{self.metric}": _points(points)},
            )
            for name, points in _lines(answer.rows).items()
        ]

    def note(self, answer: Answer[ErrorAccumulationRow]) -> str:
        """The ends and the worst points."""
        from hmct_track.report import table_markdown

        query = f"error_accumulation -p metric={self.metric} -p average_mode=false"
        return table_markdown("Accumulated error", self.table(answer), query, answer.run_id)


def _is_nested(elements: Sequence[str] | Sequence[Sequence[str]]) -> bool:
    nested = [not isinstance(element, str) for element in elements]
    if any(nested) and not all(nested):
        raise UsageError(
            f"{elements!r} mixes names and lists; give a list of names or a list of lists"
        )
    return any(nested)


def _curves(
    model: QuantModel, selection: str | Sequence[str] | Sequence[Sequence[str]], *, inverted: bool
) -> dict[str, list[str]]:
    """Name of each curve, and the calibration nodes that it is about."""
    elements = [selection] if isinstance(selection, str) else list(selection)
    if _is_nested(elements):
        return {
            f"partial_qmodel_{i}": _calibrations(model, group) for i, group in enumerate(elements)
        }
    curves = {}
    for element in elements:
        if element in list(CalibrationKind):
            if inverted:
                raise UsageError(
                    f"non_quantize_node cannot have {element!r}; use quantize_node with the other "
                    "kind, which comes to the same"
                )
            nodes = [n.name for n in model.calibration_nodes if n.kind == element and not n.fixed]
            curves[f"only_{element}_calibrated"] = nodes
        else:
            for name in model.expand([str(element)]):
                curves[name] = _calibrations(model, [name])
    return curves


def _calibrations(model: QuantModel, names: Sequence[str]) -> list[str]:
    """The calibration nodes of a group of nodes."""
    if not names:
        raise UsageError("a list of nodes is empty; name at least one node in each")
    for name in names:
        if name in list(CalibrationKind):
            raise UsageError(f"{name!r} is allowed in a plain list only, not in a nested one")
    return list(dict.fromkeys(c for n in model.expand(names) for c in model.calibrations_of(n)))


def _lines(rows: Sequence[ErrorAccumulationRow]) -> dict[str, list[ErrorAccumulationRow]]:
    lines: dict[str, list[ErrorAccumulationRow]] = defaultdict(list)
    for row in rows:
        lines[row["curve"]].append(row)
    return lines


def _present(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _points(rows: Sequence[ErrorAccumulationRow]) -> list[tuple[int, float]]:
    return [(row["step"], row["value"]) for row in rows if row["value"] is not None]
