"""The demo model before it was calibrated, its data, and QDQ models as onnxruntime runs them."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader

from hmct_track import demo
from hmct_track.model import Lowering, QuantModel
from tests.support import graphs

SAMPLES = [
    {"input": np.load(file)}
    for file in sorted(demo.calibration_data_path().glob("input/*.npy"))[:3]
]


@cache
def float_model() -> onnx.ModelProto:
    """The demo model without its calibration nodes."""
    return without_calibration(onnx.load(demo.model_path()))


def without_calibration(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, every node reading what its calibration nodes read; ``model`` is changed."""
    nodes = list(model.graph.node)
    source = {n.output[0]: n.input[0] for n in nodes if n.op_type == "HzCalibration"}
    del model.graph.node[:]
    for node in nodes:
        if node.op_type != "HzCalibration":
            inputs = [source.get(name, name) for name in node.input]
            del node.input[:]
            node.input.extend(inputs)
            model.graph.node.append(node)
    return model


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self._samples = iter(SAMPLES)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)


def outputs_of(source: str | bytes, sample: dict[str, np.ndarray]) -> np.ndarray:
    """What onnxruntime gives, node by node: fused kernels add in another order, round otherwise."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run(None, sample)[0]


def as_calibrated(model: QuantModel) -> bytes:
    """The model with all its quantizers on, weights included."""
    lowered = Lowering(model).lower(graphs.CALIBRATED)
    values = {name: model.weights[source] for name, source in lowered.weights.items()}
    values |= lowered.arrays
    whole = onnx.load_from_string(lowered.proto)
    for tensor in whole.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    return whole.SerializeToString()


def qdq(
    source: str, target: str, scale: float | list[float], zero: int | list[int], **options: object
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    dtype = options.pop("dtype", np.int8)
    constants = {
        f"{target}_s": np.array(scale, np.float32),
        f"{target}_z": np.array(zero, dtype),  # type: ignore[call-overload]
    }
    names = list(constants)
    return [
        helper.make_node(
            "QuantizeLinear", [source, *names], [f"{target}_q"], name=f"{target}_Q", **options
        ),
        helper.make_node("DequantizeLinear", [f"{target}_q", *names], [target], **options),
    ], constants
