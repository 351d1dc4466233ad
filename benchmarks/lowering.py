"""Time of one per-tensor int8 quantizer, as the engine lowers it and as Q/DQ: see decision 1.

Run ``python -m benchmarks.lowering``.
"""

from __future__ import annotations

import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from hmct_track.model import Lowering, load_model
from hmct_track.types import QuantConfig, Quantization

SCALE = 0.037


def _session(proto: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])


def _model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "quantizer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 4)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid(*o) for o in (("", 13), ("com.microsoft", 1), ("horizon", 1))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def main() -> None:
    """Print milliseconds for 1.2 million values, the best of five rounds taken in turn."""
    calibration = helper.make_node(
        "HzCalibration", ["x"], ["y"], domain="horizon", scales=[SCALE], qtype="int8"
    )
    lowering = Lowering(load_model(_model([calibration], {})))
    qdq = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], domain="com.microsoft"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], domain="com.microsoft"),
    ]
    constants = {"s": np.array(SCALE, np.float32), "z": np.array(0, np.int8)}
    sessions = {
        "Div, Max, Min, Add, Sub, Mul": _session(
            lowering.lower(QuantConfig(Quantization.AS_CALIBRATED)).proto
        ),
        "QuantizeLinear, DequantizeLinear": _session(_model(qdq, constants).SerializeToString()),
    }
    x = np.random.default_rng(0).standard_normal((1, 96, 112, 112)).astype(np.float32) * 3
    best = dict.fromkeys(sessions, float("inf"))
    for _ in range(5):
        for name, session in sessions.items():
            session.run(None, {"x": x})
            start = time.perf_counter()
            for _ in range(10):
                session.run(None, {"x": x})
            best[name] = min(best[name], (time.perf_counter() - start) * 100)
    fastest = min(best.values())
    for name, milliseconds in best.items():
        print(f"{name:<34}{milliseconds:6.2f} ms  {milliseconds / fastest:4.1f}x")


if __name__ == "__main__":
    main()
