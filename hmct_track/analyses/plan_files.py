"""The files of a plan: models, its JSON, and a text for each toolchain."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmct_track.errors import UsageError
from hmct_track.exporting import EXPORTERS, NodePlan, PlanView, TensorPlan
from hmct_track.model import planned_model, qdq_model, save_model, written_params
from hmct_track.planning.moves import is_operand
from hmct_track.types import CalibrationNode, GeneralNode, QuantConfig

if TYPE_CHECKING:
    from hmct_track.analyses.base import Answer
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run

MENDED = "mended_model.onnx"
"""The model with its free remedies, before anything is raised; lists of nodes are of it."""
VERSION = 1
"""Of the form of ``plan.json``."""
_REMEDIES = (
    "free remedies: moved factors, corrected biases and, where no scales are given, thresholds are "
    f"in {MENDED}, to whose nodes this applies"
)
_QDQ_WEIGHT = "_DequantizeLinear_Output:float"


def write_plan(
    folder: Path, answer: Answer, run: Run, config: QuantConfig, *, mended: bool = False
) -> tuple[Path, ...]:
    """Write everything into a folder; ``plan.json`` last, when all others are there.

    Args:
        folder: where to.
        answer: of the plan.
        run: that has measured it.
        config: the plan.
        mended: whether the model has free remedies that no file has; it is written as well.

    Raises:
        UsageError: the folder cannot be written to.
    """
    folder = folder.absolute()
    model = run.subject.model
    (row,) = answer.lake.query("plan_result", run_id=answer.run_id)
    view = plan_view(model, config, f"hmct-track: plan for {row['target']} of {answer.label}")
    unsaid: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for name, export in EXPORTERS.items():
        exported = export(view)
        texts[name] = exported.text
        unsaid[name] = list(exported.unsaid)
    files = []
    if mended:
        save_model(model.skeleton, folder / MENDED)
        files.append(folder / MENDED)
        for name in EXPORTERS:
            unsaid[name].append(_REMEDIES)
    for name, write in (("calibrated_model.onnx", planned_model), ("qdq_model.onnx", qdq_model)):
        written, lines = write(model, config)
        unsaid[name] = lines
        save_model(written, folder / name)
        files.append(folder / name)
    path = str(folder / MENDED) if mended else run.row["model_path"]
    found = plan_json(view, row, run, config, unsaid, path)
    texts["plan.json"] = json.dumps(found, indent=2) + "\n"
    for name, text in texts.items():
        _replace(folder / name, text)
        files.append(folder / name)
    return tuple(files)


def plan_json(
    view: PlanView,
    row: Mapping[str, Any],
    run: Run,
    config: QuantConfig,
    unsaid: Mapping[str, list[str]],
    model: str | None,
) -> dict[str, Any]:
    """The plan as data: what it is for, what it does, and what formats do not say."""
    subject = run.subject
    return {
        "hmct_track_plan": VERSION,
        "run_id": run.run_id,
        "model_id": subject.model.model_id,
        "model": model,
        "float_model": _path(run),
        "data": run.row["data_path"],
        "samples": row["samples"],
        "target": row["target"],
        "metric": row["metric"],
        "value": row["value"],
        "held_out": {
            "samples": row["held_out"],
            "value": row["held_out_value"],
            "low": row["held_out_low"],
            "high": row["held_out_high"],
            "kept": row["kept"],
        },
        "cost": {"added": row["cost"], "of_all": row["cost_of_all"], "unit": row["unit"]},
        "certified": row["certified"],
        "nodes": {
            node.name: {
                "op_type": node.op_type,
                "inputs": [
                    {
                        "position": i.position,
                        "calibration_node": i.calibration,
                        "tensor": i.tensor,
                        "kind": i.kind.value,
                        "calibrated": i.before,
                        "planned": i.after,
                    }
                    for i in node.inputs
                ],
            }
            for node in view.nodes
        },
        "config": json.loads(config.to_json()),
        "unsaid": {name: lines for name, lines in unsaid.items() if lines},
    }


def plan_view(model: QuantModel, config: QuantConfig, title: str) -> PlanView:
    """What exporters are given of a model in a configuration."""
    return PlanView(
        title,
        tuple(
            NodePlan(
                node.name,
                node.op_type,
                tuple(_tensor(model, node, c, config) for c in _operands(model, node)),
                _output_types(model, node, config),
            )
            for node in model.general_nodes
            if _operands(model, node)
        ),
    )


def _operands(model: QuantModel, node: GeneralNode) -> list[CalibrationNode]:
    known = [model.calibration_by_name[name] for name in node.calibration_nodes]
    return [c for c in known if is_operand(c)]


def _tensor(
    model: QuantModel, node: GeneralNode, calibration: CalibrationNode, config: QuantConfig
) -> TensorPlan:
    name = calibration.input
    named = not name.endswith(":float")
    if name.endswith(_QDQ_WEIGHT):  # as onnxruntime's quantizer names them
        name, named = name.removesuffix(_QDQ_WEIGHT), True
    before = calibration.params.qtype.name if calibration.enabled else "float32"
    return TensorPlan(
        node.inputs.index(calibration.output),
        name,
        calibration.name,
        calibration.kind,
        before,
        written_params(calibration, config),
        named,
    )


def _output_types(model: QuantModel, node: GeneralNode, config: QuantConfig) -> tuple[str, ...]:
    readers = [
        written_params(model.calibration_by_name[name], config).qtype.name
        for name in model.output_quantizers(node.name)
    ]
    outputs = {spec.name for spec in model.outputs}
    if outputs & set(node.outputs):
        readers.append("float32")
    return tuple(dict.fromkeys(readers))


def _path(run: Run) -> str | None:
    given = json.loads(run.row["parameters"]).get("float_model")
    return given if isinstance(given, str) and given != "a proto" else None


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
