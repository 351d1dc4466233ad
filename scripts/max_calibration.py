"""Plain max calibration: a float ONNX model and samples in, a calibrated model out.

Thresholds are the largest absolute values that were seen, nothing cleverer. It makes the demo
model and the calibrated models of the tests; it is deliberately too simple for production.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

WEIGHT_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
QUANTIZED_OPS = (*WEIGHT_OPS, "Add", "GlobalAveragePool")


def calibrate(
    model: onnx.ModelProto,
    samples: Iterable[Mapping[str, np.ndarray]],
    *,
    per_channel: bool = True,
    activation_type: str = "int8",
    weight_type: str = "int8",
    op_types: Sequence[str] = QUANTIZED_OPS,
) -> onnx.ModelProto:
    """Return ``model`` with ``HzCalibration`` nodes on the inputs of ``op_types``.

    One activation calibration node per tensor, shared by its consumers, and one weight calibration
    node per weight. Weights are calibrated per channel (axis 0, or 1 for ConvTranspose and the last
    axis for MatMul) or per tensor; activations per tensor.
    """
    constants = _constants(model.graph)
    activations, weights = _quantized_tensors(model.graph, constants, op_types)
    seen = _absolute_maxima(model, samples, activations)
    calibrated = onnx.ModelProto()
    calibrated.CopyFrom(model)
    del calibrated.graph.node[:]
    made: dict[tuple[str, bool], str] = {}
    for node in model.graph.node:
        copy = calibrated.graph.node.add()
        copy.CopyFrom(node)
        if node.op_type not in op_types:
            continue
        calibrated.graph.node.pop()
        for position, name in enumerate(node.input):
            is_weight = name in weights and position == 1 and node.op_type in WEIGHT_OPS
            if not is_weight and name not in seen:
                continue
            key = (name, is_weight)
            if key not in made:
                made[key] = f"{name}_{'weight' if is_weight else 'activation'}_calibrated"
                if is_weight:
                    axis = _channel_axis(node, constants[name].ndim)
                    new = _weight_node(constants[name], axis if per_channel else None, weight_type)
                else:
                    new = _node(np.array([seen[name]]), 1, activation_type, constant=0)
                new.name = f"{len(made) + 300}_HzCalibration"
                new.input.append(name)
                new.output.append(made[key])
                calibrated.graph.node.append(new)
            copy.input[position] = made[key]
        calibrated.graph.node.append(copy)
    calibrated.opset_import.append(helper.make_opsetid("horizon", 1))
    return calibrated


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _quantized_tensors(
    graph: onnx.GraphProto, constants: Mapping[str, np.ndarray], op_types: Sequence[str]
) -> tuple[list[str], set[str]]:
    activations: dict[str, None] = {}
    weights = set()
    for node in graph.node:
        if node.op_type not in op_types:
            continue
        data = node.input[:2]
        for position, name in enumerate(data):
            if name not in constants:
                activations[name] = None
            elif position == 1 and node.op_type in WEIGHT_OPS:
                weights.add(name)
    return list(activations), weights


def _absolute_maxima(
    model: onnx.ModelProto, samples: Iterable[Mapping[str, np.ndarray]], names: Sequence[str]
) -> dict[str, float]:
    """Largest absolute value of each float tensor in ``names`` over the samples."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inputs = {value.name for value in model.graph.input}
    existing = {value.name for value in model.graph.output}
    inner = [name for name in names if name not in inputs]
    for name in inner:
        if name not in existing:
            probe.graph.output.append(onnx.ValueInfoProto(name=name))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    maxima: dict[str, float] = {}
    for sample in samples:
        tensors: dict[str, Any] = dict(zip(inner, session.run(inner, dict(sample)), strict=True))
        for name in names:
            value = tensors[name] if name in tensors else sample[name]
            if value.dtype == np.float32:
                maxima[name] = max(maxima.get(name, 0.0), float(np.abs(value).max()))
    return maxima


def _channel_axis(node: onnx.NodeProto, rank: int) -> int:
    if node.op_type == "MatMul":
        return rank - 1
    if node.op_type == "ConvTranspose":
        return 1
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 1 if node.op_type == "Gemm" and not transposed else 0


def _weight_node(weight: np.ndarray, axis: int | None, qtype: str) -> onnx.NodeProto:
    if axis is None:
        return _node(np.abs(weight).max(keepdims=True).reshape(1), 0, qtype, constant=1)
    others = tuple(d for d in range(weight.ndim) if d != axis)
    return _node(np.abs(weight).max(axis=others), axis, qtype, constant=1)


def _node(thresholds: np.ndarray, axis: int, qtype: str, constant: int) -> onnx.NodeProto:
    bits = int(qtype.lstrip("uint"))
    qmax = 2**bits - 1 if qtype.startswith("u") else 2 ** (bits - 1) - 1
    thresholds = np.maximum(thresholds, 1e-8).astype(np.float32)
    return helper.make_node(
        "HzCalibration",
        [],
        [],
        domain="horizon",
        scales=(thresholds / np.float32(qmax)).tolist(),
        thresholds=thresholds.tolist(),
        qtype=qtype,
        axis=axis,
        constant=constant,
    )
