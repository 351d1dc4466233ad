"""How the demo model is calibrated; apart from its training, so that tests can do it again."""

from __future__ import annotations

import numpy as np
import onnx

from hmct_track.engine.calibration import Settings, find_parameters
from hmct_track.model import insert_calibration, load_float_model, plan_placements, whole_proto
from hmct_track.types import QuantType

QUANTIZED_OPS = ("Conv", "Gemm", "Add", "GlobalAveragePool")


def calibrate(model: onnx.ModelProto, samples: list[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """Plain maxima and one scale per tensor; nodes are numbered as Horizon's toolchain does it."""
    source = load_float_model(model)
    int8 = QuantType("int8")
    placements = plan_placements(source.proto, QUANTIZED_OPS, (int8, int8), {})
    found = find_parameters(source, placements, samples, Settings(per_channel=False))
    calibrated = whole_proto(
        insert_calibration(source.skeleton, list(zip(placements, found, strict=True)))
    )
    nodes = [n for n in calibrated.graph.node if n.op_type == "HzCalibration"]
    for number, node in enumerate(nodes, start=301):
        node.name = f"{number}_HzCalibration"
    return calibrated
