"""Small graphs for tests."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hmct_track.engine.runtime import Runtime
from hmct_track.model import Lowering, QuantModel, load_model
from hmct_track.types import QuantConfig, Quantization

CALIBRATED = QuantConfig(Quantization.AS_CALIBRATED)
Shape = Sequence[int | str | None] | None


def calibration(source: str, target: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    """An HzCalibration node; int8 with scale 0.1 unless attributes say otherwise."""
    attributes = attributes or {"scales": [0.1], "thresholds": [12.7], "qtype": "int8"}
    return helper.make_node(
        "HzCalibration", [source], [target], name=name, domain="horizon", **attributes
    )


def onnx_identity(source: str, target: str) -> onnx.NodeProto:
    """A node that passes a tensor on."""
    return helper.make_node("Identity", [source], [target], name=f"to_{target}")


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Shape] | None = None,
    outputs: Sequence[str] = ("y",),
    constants: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 13,
    input_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model of these nodes; by default from ``x`` of unknown shape to ``y``."""
    inputs = {"x": [None, 4]} if inputs is None else inputs
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, input_type, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(v, n) for n, v in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("horizon", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=7 if opset < 20 else 10)


def two_convolutions(**first: Any) -> onnx.ModelProto:
    """x -> Conv_0 -> Relu_1 -> Conv_2 -> y with activation and weight calibration nodes."""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((4, 4, 1, 1)).astype(np.float32) for i in (0, 2)}
    return model(
        [
            calibration("x", "xq", "1_HzCalibration", **first),
            calibration("w0", "w0q", "2_HzCalibration", scales=[0.02], qtype="int8", axis=0),
            helper.make_node("Conv", ["xq", "w0q"], ["a"], name="Conv_0"),
            helper.make_node("Relu", ["a"], ["b"], name="Relu_1"),
            calibration("b", "bq", "3_HzCalibration", scales=[0.05], qtype="uint8"),
            calibration("w2", "w2q", "4_HzCalibration", scales=[0.02] * 4, axis=0),
            helper.make_node("Conv", ["bq", "w2q"], ["y"], name="Conv_2"),
        ],
        {"x": [1, 4, 5, 5]},
        constants=weights,
    )


def run(
    subject: onnx.ModelProto | str | os.PathLike[str] | QuantModel,
    sample: Mapping[str, np.ndarray],
    config: QuantConfig = CALIBRATED,
    outputs: Sequence[str] | None = None,
) -> list[np.ndarray]:
    """What the runtime gives for one sample; fully quantized unless ``config`` says otherwise."""
    loaded = subject if isinstance(subject, QuantModel) else load_model(subject)
    session = Runtime(loaded.weights).session(Lowering(loaded).lower(config, outputs))
    return session.run(sample)
