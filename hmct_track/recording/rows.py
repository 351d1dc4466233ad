"""Rows of what a run is about, its model and its samples, and of what was measured."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hmct_track.engine import Record
from hmct_track.lake import CALIBRATION_NODES, MODELS, NODES, SAMPLES, Lake
from hmct_track.model import QuantModel
from hmct_track.recording.moved import of_moved
from hmct_track.recording.subject import Subject
from hmct_track.types import NUMERIC_VERSION


def write_subject(lake: Lake, subject: Subject) -> None:
    """Write model and samples, unless the lake has them: their parts are named by content.

    What refers comes last, so that a kill in between leaves nothing that leads nowhere.
    """
    model, part = subject.model, subject.model.model_id
    if not lake.has_part(NODES, part) or not lake.has_part(MODELS, part):
        lake.append(MODELS, [_model_row(model)], part)
        lake.append(CALIBRATION_NODES, _calibration_rows(model), part)
        lake.append(NODES, _node_rows(model), part)
    data_id = subject.data_id
    if not lake.has_part(SAMPLES, data_id):
        rows = [
            {
                "data_id": data_id,
                "position": k,
                "sample_id": sample_id,
                "source": subject.samples.label(k),
            }
            for k, sample_id in enumerate(subject.sample_ids)
        ]
        lake.append(SAMPLES, rows, data_id)


def measurement_row(
    record: Record, is_moved: bool, *, model_id: str, runtime: str, run_id: str
) -> dict[str, Any]:
    """The row of pair statistics; of a moved sample, the sample's own id and which copy it is."""
    moved: dict[str, Any] = {}
    if is_moved:
        sample_id, copy = of_moved(record.sample_id)
        moved = {"sample_id": sample_id, "copy": copy}
    return {
        "model_id": model_id,
        "config_id": record.config_id,
        "sample_id": record.sample_id,
        "output": record.output,
        "runtime": runtime,
        "numeric_version": NUMERIC_VERSION,
        "run_id": run_id,
        **asdict(record.value),
        **moved,
    }


def score_rows(subject: Subject, run_id: str) -> list[dict[str, Any]]:
    """Which record of each score a run uses for each sample."""
    return [
        {
            "run_id": run_id,
            "score": judge.scorer.name,
            "place": place,
            "source": judge.scorer.source,
            "higher_is_better": judge.scorer.higher_is_better,
            "sample": sample,
            "sample_id": sample_id,
            "score_id": judge.ids[sample_id],
        }
        for place, judge in enumerate(subject.scores)
        for sample, sample_id in enumerate(subject.sample_ids)
    ]


def _model_row(model: QuantModel) -> dict[str, Any]:
    return {
        "model_id": model.model_id,
        "name": model.proto.graph.name,
        "opset": model.opset,
        "general_nodes": len(model.general_nodes),
        "quantizable_nodes": len(model.quantizable_nodes),
        "calibration_nodes": len(model.calibration_nodes),
        "inputs": [f"{spec.name}: {spec}" for spec in model.inputs],
        "outputs": [f"{spec.name}: {spec}" for spec in model.outputs],
    }


def _node_rows(model: QuantModel) -> list[dict[str, Any]]:
    return [
        {
            "model_id": model.model_id,
            "node": node.name,
            "node_index": node.index,
            "op_type": node.op_type,
            "inputs": list(node.inputs),
            "outputs": list(node.outputs),
            "calibration_nodes": list(node.calibration_nodes),
        }
        for node in model.general_nodes
    ]


def _calibration_rows(model: QuantModel) -> list[dict[str, Any]]:
    return [
        {
            "model_id": model.model_id,
            "node": node.name,
            "node_index": node.index,
            "kind": node.kind,
            "input": node.input,
            "output": node.output,
            "consumers": list(node.consumers),
            "qtype": node.params.qtype.name,
            "bits": node.params.qtype.bits,
            "axis": node.params.axis,
            "scales": list(node.params.scales),
            "zero_points": list(node.params.zero_points),
            "thresholds": list(node.params.thresholds),
            "enabled": node.enabled,
        }
        for node in model.calibration_nodes
    ]
