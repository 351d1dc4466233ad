"""QDQ models of the demo network as other quantizers write them, for the tests.

``python scripts/qdq_exports.py TOOL FLOAT_MODEL CALIBRATION_DATA OUTPUT.gz``, where there
is the tool: aimet-onnx (2.42 made the file of the tests) or nncf (3.4), each with onnx and
onnxruntime.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import onnx

SAMPLES = 16


def aimet(model: onnx.ModelProto, data: list[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """Float weights that are rounded already, with Q and DQ behind them; biases float."""
    from aimet_onnx.quantsim import QuantizationSimModel  # type: ignore[import-not-found]

    simulated = QuantizationSimModel(model)
    simulated.compute_encodings(data)
    return simulated.to_onnx_qdq()  # type: ignore[no-any-return]


def nncf(model: onnx.ModelProto, data: list[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """Integer weights per channel, activations per tensor and per channel, corrected biases."""
    import nncf as tool  # type: ignore[import-not-found]

    return tool.quantize(model, tool.Dataset(data), subset_size=SAMPLES)  # type: ignore[no-any-return]


def main() -> None:
    """Quantize the model and write it compressed."""
    name, model, folder, output = sys.argv[1:]
    files = sorted(Path(folder).glob("input/*.npy"))[:SAMPLES]
    data = [{"input": np.load(file)} for file in files]
    quantized = {"aimet": aimet, "nncf": nncf}[name](onnx.load(model), data)
    Path(output).write_bytes(gzip.compress(quantized.SerializeToString(), 9, mtime=0))


if __name__ == "__main__":
    main()
