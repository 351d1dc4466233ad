"""The types that a built model gives to what its nodes read."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from hmct_track.model.reader import QuantModel

_FLOAT = "float32"


def built_types(model: QuantModel) -> dict[str, tuple[str, ...]]:
    """General node to the type of each of its inputs: of its quantizer; float32 without one.

    A cast to float16 and back is float16. Inputs that are left out are empty.
    """
    quantizers = {
        node.output: node.params.qtype.name if node.enabled else _FLOAT
        for node in model.calibration_nodes
        if not node.is_correction
    }
    makers = {name: node for node in model.proto.graph.node for name in node.output}
    return {
        node.name: tuple(
            (quantizers.get(name) or _cast_type(name, makers)) if name else ""
            for name in node.inputs
        )
        for node in model.general_nodes
    }


def _cast_type(name: str, makers: dict[str, onnx.NodeProto]) -> str:
    back = makers.get(name)
    if back is None or back.op_type != "Cast" or _to(back) != TensorProto.FLOAT:
        return _FLOAT
    half = makers.get(back.input[0])
    is_half = half is not None and half.op_type == "Cast" and _to(half) == TensorProto.FLOAT16
    return "float16" if is_half else _FLOAT


def _to(node: onnx.NodeProto) -> int:
    found = [helper.get_attribute_value(a) for a in node.attribute if a.name == "to"]
    return int(found[0]) if found else 0
