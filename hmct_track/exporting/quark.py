"""AMD Quark's ``QConfig`` for ONNX, as JSON: what its ``QConfig.from_dict`` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hmct_track.exporting.view import Exported, NodePlan, PlanView, TensorPlan
from hmct_track.types import CalibrationKind

_TYPES = {"int8": "Int8", "uint8": "UInt8", "int16": "Int16", "uint16": "UInt16",
          "float16": "Float16"}  # fmt: skip

_Spec = dict[str, Any]


def quark_config(view: PlanView) -> Exported:
    """``global_config``, ``specific_layer_config`` by nodes that change, ``exclude`` of float ones.

    Quark gives the types of a node to the tensors that it reads: all before its first constant are
    ``input_tensors``, and that one is ``weight``. Use it with ``ModelQuantizer`` as
    ``QConfig.from_dict(json.load(file))``.
    """
    unsaid = ["thresholds and scales: Quark finds its own, by minimum and maximum"]
    layers: dict[str, tuple[_Spec, list[str]]] = {}
    exclude = []
    for node in view.nodes:
        if not node.is_changed:
            continue
        if node.name.startswith("^"):
            unsaid.append(f"node {node.name!r}: Quark takes its name for a pattern")
        elif set(node.types) == {"float32"}:
            exclude.append(node.name)
            unsaid.append(f"node {node.name!r}: Quark still quantizes what it reads of other nodes")
        elif layer := _layer(node, unsaid):
            layers.setdefault(json.dumps(layer), (layer, []))[1].append(node.name)
    unsaid += _shared(view)
    found = {
        "global_config": _global(view, unsaid),
        "specific_layer_config": list(layers.values()),
        "layer_type_config": [],
        "exclude": exclude,
        "algo_config": [],
        "use_external_data_format": False,
    }
    return Exported(json.dumps(found, indent=2) + "\n", unsaid)


def _layer(node: NodePlan, unsaid: list[str]) -> dict[str, _Spec]:
    """The specs of a node; empty where Quark cannot say its types."""
    inputs = sorted(node.inputs, key=lambda i: i.position)
    strange = {i.after for i in inputs} - _TYPES.keys()
    if strange:
        unsaid.append(f"node {node.name!r}: {', '.join(node.types)}")
        return {}
    found: dict[str, _Spec] = {}
    for tensor in inputs:
        is_weight = tensor.kind is CalibrationKind.WEIGHT
        place = "weight" if is_weight else "input_tensors"
        spec = _spec(tensor)
        if not is_weight and "weight" in found:
            unsaid.append(f"node {node.name!r}: its input {tensor.position}, behind a constant")
        elif found.setdefault(place, spec) != spec:
            unsaid.append(
                f"node {node.name!r}: inputs of different types ({', '.join(node.types)}); all "
                "have that of the first"
            )
    return found


def _spec(tensor: TensorPlan) -> _Spec:
    return _tensor_config(
        _TYPES[tensor.after],
        symmetric=tensor.params.is_symmetric,
        per_channel=tensor.params.is_per_channel and tensor.kind is CalibrationKind.WEIGHT,
    )


def _tensor_config(data_type: str, *, symmetric: bool, per_channel: bool) -> _Spec:
    return {
        "symmetric": symmetric,
        "scale_type": "ScaleType.Float32",
        "calibration_method": "CalibMethod.MinMax",
        "quant_granularity": f"QuantGranularity.{'Channel' if per_channel else 'Tensor'}",
        "data_type": data_type,
    }


def _global(view: PlanView, unsaid: list[str]) -> dict[str, _Spec]:
    """What nodes have that the plan leaves as they are calibrated."""
    found = {}
    for place, kind in (
        ("input_tensors", CalibrationKind.ACTIVATION),
        ("weight", CalibrationKind.WEIGHT),
    ):
        own = [t for t in view.tensors if t.kind is kind]
        usual = view.usual(kind)
        if usual not in _TYPES:
            unsaid.append(f"{kind}s of {usual}; the default is Int8")
        found[place] = _tensor_config(
            _TYPES.get(usual, "Int8"),
            symmetric=all(t.params.is_symmetric for t in own),
            per_channel=kind is CalibrationKind.WEIGHT
            and any(t.params.is_per_channel for t in own),
        )
    return found


def _shared(view: PlanView) -> Iterator[str]:
    """Tensors that are read in several types: Quark gives them one."""
    types: dict[str, dict[str, str]] = {}
    for node in view.nodes:
        for tensor in node.inputs:
            types.setdefault(tensor.tensor, {})[node.name] = tensor.after
    for name, by_node in types.items():
        if len(set(by_node.values()) - {"float32"}) > 1:
            told = ", ".join(f"{node} in {kind}" for node, kind in by_node.items())
            yield f"tensor {name!r}: read by {told}; Quark gives a tensor one type"
