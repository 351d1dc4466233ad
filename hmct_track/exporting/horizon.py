"""Horizon's two forms: ``quant_config`` as JSON, and the older ``node_info`` of its YAML."""

from __future__ import annotations

import json
from typing import Any

from hmct_track.exporting.view import Exported, NodePlan, PlanView
from hmct_track.types import CalibrationKind

_SAID = ("int8", "int16", "float16", "float32")


def horizon_quant_config(view: PlanView) -> Exported:
    """``model_config``, ``op_config`` and ``node_config``.

    A node whose inputs have one type is ``{"qtype": "int16"}``; where they differ, each is named:
    ``{"input0": "int16", "input1": "int8"}``.
    """
    unsaid: list[str] = []
    nodes: dict[str, Any] = {}
    for node in view.nodes:
        if not node.is_changed:
            continue
        strange = [t for t in node.types if t not in _SAID]
        if strange:
            unsaid.append(f"node {node.name!r}: {', '.join(strange)}")
        elif len(node.types) == 1:
            nodes[node.name] = {"qtype": node.types[0]}
        else:
            nodes[node.name] = {f"input{i.position}": i.after for i in node.inputs}
    usual = view.usual(CalibrationKind.ACTIVATION)
    config = {
        "model_config": {"all_node_type": usual} if usual in _SAID else {},
        "op_config": {},
        "node_config": nodes,
    }
    return Exported(json.dumps(config, indent=2) + "\n", unsaid)


def horizon_node_info(view: PlanView) -> Exported:
    """``node_info`` below ``model_parameters``: where a node runs and its types.

    ``ON``, which YAML takes for a truth value, is quoted. All inputs of a node have one type there.
    """
    unsaid: list[str] = []
    lines = [
        f"    {json.dumps(node.name)}: {json.dumps(entry)}"
        for node in view.nodes
        if node.is_changed and (entry := _entry(node, unsaid))
    ]
    body = "\n".join(lines) if lines else "    {}"
    return Exported(f"# {view.title}\nmodel_parameters:\n  node_info:\n{body}\n", unsaid)


def _entry(node: NodePlan, unsaid: list[str]) -> dict[str, str]:
    activations = {i.after for i in node.inputs if i.kind is CalibrationKind.ACTIVATION}
    types = activations or set(node.types)
    if set(node.types) == {"float32"}:
        return {"ON": "CPU"}
    if types not in ({"int16"}, {"int8"}):
        unsaid.append(f"node {node.name!r}: {', '.join(node.types)}")
        return {}
    if len(node.types) > 1:
        unsaid.append(
            f"node {node.name!r}: inputs of different types ({', '.join(node.types)}); its "
            f"InputType is that of its activations"
        )
    found = {"ON": "BPU", "InputType": types.pop()}
    if set(node.output_types) == {"int16"}:
        found["OutputType"] = "int16"
    return found
