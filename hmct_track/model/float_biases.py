"""Corrected biases that a file holds together with the float ones."""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx

from hmct_track.model.calibration_node import make_calibration
from hmct_track.model.graph import is_calibration
from hmct_track.model.qdq import Conversion
from hmct_track.types import QuantParams, QuantType

FLOAT_BIASES = "hmct_track.float_biases"
"""Property of a model: JSON, corrected bias to the constant with the float one."""


def restore_float_biases(proto: onnx.ModelProto, conversion: Conversion) -> None:
    """Give biases that `mended` has corrected both their values, as decision 11 has it.

    What the property names and is not there, or does not fit, is left as it is in the file.
    """
    pairs = _float_biases(proto)
    constants = {t.name: tuple(t.dims) for t in proto.graph.initializer}
    makers = {output: node for node in proto.graph.node for output in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        own = node.input[2] if len(node.input) > 2 else ""
        source = pairs.get(own)
        if source and constants.get(own) is not None and constants.get(source) == constants[own]:
            target = f"{own}:corrected"
            params = QuantParams(QuantType("float32"))
            nodes.append(make_calibration(f"{own}_correction", source, target, params, constant=1))
            weight = makers.get(node.input[1])
            conversion.stored[target] = own
            conversion.corrected[target] = (
                node.input[1] if weight is not None and is_calibration(weight) else None
            )
            node.input[2] = target
        nodes.append(node)
    if len(nodes) > len(proto.graph.node):
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del proto.graph.node[:]
        proto.graph.node.extend(copies)


def _float_biases(proto: onnx.ModelProto) -> Mapping[str, str]:
    for held in proto.metadata_props:
        if held.key == FLOAT_BIASES:
            try:
                found = json.loads(held.value)
            except json.JSONDecodeError:
                return {}
            return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
    return {}
