"""The demo model before it was calibrated, and its data as onnxruntime's quantizer reads them."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader

from hmct_track import demo

SAMPLES = [
    {"input": np.load(file)}
    for file in sorted(demo.calibration_data_path().glob("input/*.npy"))[:3]
]


@cache
def float_model() -> onnx.ModelProto:
    """The demo model without its calibration nodes."""
    model = onnx.load(demo.model_path())
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
