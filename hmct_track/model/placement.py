"""Which tensors of a float model are quantized, and how: where calibration nodes go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from hmct_track.errors import ModelError, UnknownNodeError, UsageError
from hmct_track.model.calibration_node import make_calibration
from hmct_track.model.folding import tensor_types
from hmct_track.model.graph import constant_tensors, subgraphs
from hmct_track.model.onnx_io import Skeleton, fill_skeleton
from hmct_track.options.patterns import REGEX, matching
from hmct_track.types import CalibrationKind, QuantParams, QuantType

WEIGHTED_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Ops whose second input is a weight, if it is constant; quantized unless asked otherwise."""
JOINING_OPS = ("Add", "Sub", "Mul", "Div", "Concat", "Max", "Min", "Sum", "Where")
POOLING_OPS = ("AveragePool", "GlobalAveragePool", "MaxPool", "GlobalMaxPool", "ReduceMean")
OTHER_OPS = ("Resize", "Softmax", "Sigmoid", "Tanh", "Relu", "Clip", "LeakyRelu", "PRelu", "Gelu",
             "HardSigmoid", "HardSwish", "Erf", "LayerNormalization", "Pad")  # fmt: skip
QUANTIZABLE_OPS = (*WEIGHTED_OPS, *JOINING_OPS, *POOLING_OPS, *OTHER_OPS)

Types = tuple[QuantType, QuantType]
"""Of a node's activations and of its weight; float32 leaves it alone."""


@dataclass(frozen=True)
class Placement:
    """A calibration node to be made, and the inputs of nodes that read it."""

    tensor: str
    kind: CalibrationKind
    qtype: QuantType
    axis: int | None
    """The output channels of a weight; None for an activation."""
    readers: tuple[tuple[str, int], ...]
    """Node name and position of the input."""


def plan_placements(
    proto: onnx.ModelProto, op_types: Sequence[str], default: Types, chosen: Mapping[str, Types]
) -> list[Placement]:
    """The calibration nodes for a prepared float model, in topological order.

    One tensor has one activation quantizer, of the widest type that a reader asks for.

    Args:
        proto: the model, its nodes named.
        op_types: ops whose inputs are quantized.
        default: the types of all nodes that ``chosen`` says nothing of.
        chosen: types by op type, node name, pattern or module path; a plain node name wins over a
            pattern, a pattern over an op type.

    Raises:
        UsageError: an op type cannot be quantized, or a name is unknown.
        ModelError: nothing in the model is to be quantized.
    """
    for op in op_types:
        if op not in QUANTIZABLE_OPS:
            raise UsageError(
                f"op_types has {op!r}; it can hold: {', '.join(sorted(QUANTIZABLE_OPS))}"
            )
    nodes = [node for node in proto.graph.node if node.op_type in op_types]
    types = _types(nodes, proto, default, chosen)
    constants, known = constant_tensors(proto.graph), tensor_types(proto)
    found: dict[tuple[str, int | None], list[tuple[str, int, QuantType]]] = {}
    for node in nodes:
        for position in _data_inputs(node):
            name = node.input[position] if position < len(node.input) else ""
            if not name or known.get(name, TensorProto.FLOAT) != TensorProto.FLOAT:
                continue
            weight = name in constants
            if weight and (position != 1 or node.op_type not in WEIGHTED_OPS):
                continue
            qtype = types[node.name][weight]
            if qtype.name != "float32":
                key = (name, channel_axis(node) if weight else None)
                found.setdefault(key, []).append((node.name, position, qtype))
    if not found:
        raise ModelError(_nothing_to_quantize(proto, op_types))
    return [
        Placement(
            tensor,
            CalibrationKind.ACTIVATION if axis is None else CalibrationKind.WEIGHT,
            max((qtype for _, _, qtype in readers), key=lambda q: q.bits),
            axis,
            tuple((node, position) for node, position, _ in readers),
        )
        for (tensor, axis), readers in found.items()
    ]


def insert_calibration(
    source: Skeleton, placed: Sequence[tuple[Placement, QuantParams]]
) -> Skeleton:
    """A float model with calibration nodes, each before its first reader; it shares weights."""
    calibrated = onnx.ModelProto()
    calibrated.CopyFrom(source.proto)
    graph = calibrated.graph
    by_name = {node.name: node for node in graph.node}
    before: dict[str, list[onnx.NodeProto]] = {}
    taken = set(by_name)
    for placement, params in placed:
        name = f"{placement.tensor}_HzCalibration"
        while name in taken:
            name += "_2"
        taken.add(name)
        target = f"{name}_output"
        constant = int(placement.kind is CalibrationKind.WEIGHT)
        made = make_calibration(name, placement.tensor, target, params, constant=constant)
        before.setdefault(placement.readers[0][0], []).append(made)
        for reader, position in placement.readers:
            by_name[reader].input[position] = target
    nodes = [n for node in graph.node for n in (*before.get(node.name, ()), node)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    if not any(opset.domain == "horizon" for opset in calibrated.opset_import):
        calibrated.opset_import.append(helper.make_opsetid("horizon", 1))
    return fill_skeleton(calibrated, source.weights, source.path)


def _types(
    nodes: Sequence[onnx.NodeProto],
    proto: onnx.ModelProto,
    default: Types,
    chosen: Mapping[str, Types],
) -> dict[str, Types]:
    """The types of each node: by name, else by pattern, else by op, else the default."""
    names = [node.name for node in nodes]
    found = dict.fromkeys(names, default)
    ops = {node.op_type for node in proto.graph.node}
    ranked: list[tuple[int, list[str], Types]] = []
    for key, types in chosen.items():
        if key in names:
            ranked.append((2, [key], types))
        elif key in QUANTIZABLE_OPS and not key.startswith(REGEX):
            if key not in ops:
                raise UsageError(f"types are given for {key}, but the model has no such node")
            ranked.append((0, [n.name for n in nodes if n.op_type == key], types))
        else:
            matched = matching(key, names)
            if not matched:
                raise UnknownNodeError(key, names, what="node of the quantized op types")
            ranked.append((1, matched, types))
    for _, matched, types in sorted(ranked, key=lambda r: r[0]):
        found.update(dict.fromkeys(matched, types))
    return found


def _data_inputs(node: onnx.NodeProto) -> range:
    """The inputs of a node that are data: not biases, sizes or bounds."""
    if node.op_type in WEIGHTED_OPS:
        return range(2)
    if node.op_type == "Where":
        return range(1, 3)
    return range(len(node.input) if node.op_type in JOINING_OPS else 1)


def channel_axis(node: onnx.NodeProto) -> int:
    """The output channels of the weight of a node that multiplies."""
    if node.op_type == "MatMul":
        return -1
    if node.op_type == "ConvTranspose":
        return 1
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 1 if node.op_type == "Gemm" and not transposed else 0


def _nothing_to_quantize(proto: onnx.ModelProto, op_types: Sequence[str]) -> str:
    inner = [
        node
        for node in proto.graph.node
        for body in subgraphs(node)
        if any(n.op_type in op_types for n in body.node)
    ]
    hint = ""
    if inner:
        hint = (
            f"; they are inside the body of {inner[0].op_type} {inner[0].name!r}, and only nodes "
            "of the main graph can be calibrated"
        )
    return f"the model has no float32 node of the ops {', '.join(op_types)} to quantize{hint}"
