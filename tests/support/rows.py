"""Rows of a lake, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.lake import CONFIGS, MEASUREMENTS, MODELS, NODES, RUN_CONFIGS, RUNS, SAMPLES, Lake
from hmct_track.types import Metric


def run_row(run_id: str, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {column.name: None for column in RUNS.columns}
    row |= {
        "run_id": run_id,
        "kind": "sensitivity",
        "state": "RUNNING",
        "started_at": datetime(2026, 1, 1),
        "updated_at": datetime(2026, 1, 1),
        "model_id": "m",
        "data_id": "d",
        "outputs": ["y"],
        "runtime": "r",
        "numeric_version": 1,
    }
    return row | changes


def measurement_row(config_id: str, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {c.name: 1.0 if c.type == "DOUBLE" else 1 for c in MEASUREMENTS.columns}
    row |= {
        "model_id": "m",
        "config_id": config_id,
        "sample_id": "s",
        "output": "y",
        "runtime": "r",
        "run_id": "first",
        "imported_from": None,
    }
    return row | changes


def node_row(model: str, node: str, index: int, op: str, reads: str, gives: str) -> dict[str, Any]:
    row = {"model_id": model, "node": node, "node_index": index, "op_type": op}
    return {**row, "inputs": [reads], "outputs": [gives], "calibration_nodes": []}


def calibration_row(model: str, node: str, **changes: Any) -> dict[str, Any]:
    row = {"model_id": model, "node": node, "node_index": 0, "kind": "activation", "input": "x"}
    row |= {"output": f"{node}_out", "consumers": [], "qtype": "int8", "bits": 8, "axis": 1}
    row |= {"scales": [0.1], "zero_points": [0], "thresholds": [12.7], "enabled": True}
    return row | changes


def add_ranking(
    lake: Lake, run_id: str, cosines: dict[str, float], model: str = "m", **run: Any
) -> None:
    """A finished ranking with these cosine similarities on the one sample and output there are."""
    parameters = '{"node_type": "node"}'
    ended = {"state": "FINISHED", "model_id": model, "parameters": parameters}
    lake.append(RUNS, [run_row(run_id, **ended, **run)])
    lake.append(SAMPLES, [{"data_id": "d", "position": 0, "sample_id": "s", "source": ""}])
    for position, (node, cosine) in enumerate(cosines.items()):
        row = {"run_id": run_id, "position": position, "config_id": f"{model}{node}"}
        lake.append(RUN_CONFIGS, [{**row, "subject": node, "role": "only"}])
        sums = {"sum_xx": 1.0, "sum_yy": 1.0, "sum_xy": cosine, "sum_dd": 1 - cosine}
        lake.append(MEASUREMENTS, [measurement_row(f"{model}{node}", model_id=model, **sums)])


def chain(lake: Lake, model: str, names: list[str], ops: list[str]) -> None:
    """A model whose nodes read one another in a row."""
    rows = [
        node_row(model, name, k, op, f"t{k}", f"t{k + 1}")
        for k, (name, op) in enumerate(zip(names, ops, strict=True))
    ]
    lake.append(NODES, rows)


def finished_run(lake: Lake, run_id: str, nodes: Sequence[str], **changes: Any) -> None:
    """A finished ranking of these nodes with all that it rests on; a config per node."""
    model = {"model_id": "m", "name": "g", "opset": 13, "general_nodes": 1, "quantizable_nodes": 1}
    model |= {"calibration_nodes": 1, "inputs": [], "outputs": []}
    lake.append(MODELS, [model])
    lake.append(SAMPLES, [{"data_id": "d", "position": 0, "sample_id": "s", "source": ""}])
    lake.append(CONFIGS, [{"config_id": node, "config": "{}"} for node in nodes])
    plan = [
        {"run_id": run_id, "position": k, "config_id": node, "subject": node, "role": "only"}
        for k, node in enumerate(nodes)
    ]
    lake.append(RUN_CONFIGS, plan)
    lake.append(MEASUREMENTS, [measurement_row(node) for node in nodes])
    ended = {"state": "FINISHED", "parameters": '{"node_type": "node"}', "metrics": ["mse"]}
    lake.append(RUNS, [run_row(run_id, **(ended | changes))])


def rank(lake: Path, model: Path | None = None, **options: Any) -> None:
    dbg.get_sensitivity_of_nodes(
        model or demo.model_path(),
        calibrated_data=demo.calibration_data_path(),
        lake=lake,
        **{"track": False, **options},
    )


def ranked_rows(
    values: Sequence[float | None], names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Rows, most sensitive first, at places in topological order that differ from the ranks."""
    count = len(values)
    names = names or [f"Conv_{k}" for k in range(count)]
    return [
        {"subject": name, "position": count - 1 - k, **{m.column: value for m in Metric}}
        for k, (name, value) in enumerate(zip(names, values, strict=True))
    ]
