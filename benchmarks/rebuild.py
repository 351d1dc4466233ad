"""The plain way: for each node build a model with its quantizers on, make a session, run it.

Written apart from ``hmct_track``, to be compared with it: it reads the attributes of calibration
nodes itself, writes ONNX ``Round`` and ``Clip`` (opset 11 and later), keeps everything in one proto
and computes metrics on whole arrays in float64. Slow, and meant to stay so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

Array = np.ndarray
Sample = Mapping[str, Array]


def metrics(x: Array, y: Array) -> dict[str, float]:
    """The five metrics of float output ``x`` and quantized output ``y``, in float64."""
    x, y = x.astype(np.float64).ravel(), y.astype(np.float64).ravel()
    norms = max(float(np.linalg.norm(x)), 1e-8) * max(float(np.linalg.norm(y)), 1e-8)
    error = float(np.linalg.norm(x - y))
    return {
        "cosine-similarity": float(x @ y) / norms,
        "mse": float(np.mean((x - y) ** 2)),
        "mre": float(np.abs(x - y).sum() / np.abs(x).sum()),
        "sqnr": 20 * np.log10(float(np.linalg.norm(x)) / error) if error else np.inf,
        "chebyshev": float(np.abs(x - y).max()),
    }


def sensitivity(
    model: onnx.ModelProto,
    samples: Sequence[Sample],
    quantizers: Mapping[str, Sequence[str]],
    outputs: Sequence[str] | None = None,
    *,
    fused: bool = True,
) -> dict[str, dict[str, float]]:
    """Metrics of each subject, mean over samples, then over outputs.

    Args:
        model: the calibrated model; calibration nodes must have names.
        samples: the inputs.
        quantizers: subject to the calibration nodes that are on for it.
        outputs: tensors to compare; the model's outputs by default.
        fused: whether onnxruntime may fuse and reorder; without, sums round otherwise, which shows
            how much of a value is rounding.
    """
    names = list(outputs or [value.name for value in model.graph.output])
    expected = run(build(model, (), names), samples, names, fused=fused)
    found = {}
    for subject, on in quantizers.items():
        got = run(build(model, on, names), samples, names, fused=fused)
        per_output = [
            [metrics(x[k], y[k]) for x, y in zip(expected, got, strict=True)]
            for k in range(len(names))
        ]
        found[subject] = {
            metric: _mean([_mean([m[metric] for m in ms]) for ms in per_output])
            for metric in per_output[0][0]
        }
    return found


def _mean(values: Sequence[float]) -> float:
    """The mean; infinite values are left out, unless there are no others."""
    finite = [v for v in values if np.isfinite(v)]
    return float(np.mean(finite or values))


def feeding(model: onnx.ModelProto) -> dict[str, list[str]]:
    """General node to the calibration nodes among its direct inputs."""
    maker = {o: n.name for n in model.graph.node if n.op_type == "HzCalibration" for o in n.output}
    return {
        node.name: list(dict.fromkeys(maker[i] for i in node.input if i in maker))
        for node in model.graph.node
        if node.op_type != "HzCalibration" and any(i in maker for i in node.input)
    }


def build(
    model: onnx.ModelProto, on: Sequence[str], outputs: Sequence[str] | None = None
) -> onnx.ModelProto:
    """A standard ONNX model in which the calibration nodes ``on`` quantize and no others."""
    ranks = _constant_ranks(model.graph)
    built = onnx.ModelProto()
    built.CopyFrom(model)
    del built.graph.node[:]
    for node in model.graph.node:
        if node.op_type != "HzCalibration":
            built.graph.node.append(node)
        elif node.name in on:
            built.graph.node.extend(_quantizer(node, ranks.get(node.input[0], 4)))
        else:
            built.graph.node.append(helper.make_node("Identity", node.input, node.output))
    if outputs is not None:
        del built.graph.output[:]
        built.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return built


def run(
    model: onnx.ModelProto,
    samples: Sequence[Sample],
    outputs: Sequence[str],
    *,
    fused: bool = True,
) -> list[list[Array]]:
    """The outputs of each sample, from a session made for this."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [session.run(list(outputs), dict(sample)) for sample in samples]


def _constant_ranks(graph: onnx.GraphProto) -> dict[str, int]:
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            ranks[node.output[0]] = len(node.attribute[0].t.dims)
    return ranks


def _quantizer(node: onnx.NodeProto, rank: int) -> list[onnx.NodeProto]:
    """``clip(round(x / scale) + zero_point, qmin, qmax)``, and back."""
    attributes: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    qtype = attributes.get("qtype", b"int8").decode()
    bits = int(qtype.lstrip("uint"))
    low, high = (0, 2**bits - 1) if qtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    scales = np.array(attributes["scales"], np.float32)
    zeros = np.array(attributes.get("zero_point") or [0] * len(scales), np.float32)
    if len(scales) > 1:
        shape = [1] * rank
        shape[attributes.get("axis", 1)] = len(scales)
        scales, zeros = scales.reshape(shape), zeros.reshape(shape)
    else:
        scales, zeros = scales.reshape(()), zeros.reshape(())
    base = node.output[0]

    def constant(name: str, value: Any) -> onnx.NodeProto:
        tensor = numpy_helper.from_array(np.array(value, np.float32))
        return helper.make_node("Constant", [], [f"{base}/{name}"], value=tensor)

    def step(op: str, *names: str, output: str) -> onnx.NodeProto:
        inputs = [n if n == node.input[0] else f"{base}/{n}" for n in names]
        return helper.make_node(op, inputs, [base if not output else f"{base}/{output}"])

    return [
        constant("scale", scales),
        constant("zero", zeros),
        constant("low", low),
        constant("high", high),
        step("Div", node.input[0], "scale", output="divided"),
        step("Round", "divided", output="rounded"),
        step("Add", "rounded", "zero", output="shifted"),
        step("Clip", "shifted", "low", "high", output="clipped"),
        step("Sub", "clipped", "zero", output="centred"),
        step("Mul", "centred", "scale", output=""),
    ]
