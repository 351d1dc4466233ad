"""QDQ models of the demo network as other quantizers write them, for the tests.

``python scripts/qdq_exports.py TOOL FLOAT_MODEL CALIBRATION_DATA OUTPUT.gz``, where there
is the tool, with onnx and onnxruntime: aimet-onnx (2.42 made the file of the tests), nncf (3.4),
onnx-neural-compressor (1.0, which needs prettytable and psutil as well) or amd-quark (0.13, which
needs torch as well).
"""

from __future__ import annotations

import copy
import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

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


class _Reader:
    """Samples as the calibrators of onnxruntime, Intel and AMD take them."""

    def __init__(self, data: list[dict[str, np.ndarray]]) -> None:
        self._data = data
        self.rewind()

    def rewind(self) -> None:
        """Begin anew."""
        self._left = iter(self._data)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next sample; None behind the last."""
        return next(self._left, None)


def intel(model: onnx.ModelProto, data: list[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """Integer weights per channel, biases in int32, Relu nodes dropped."""
    from onnx_neural_compressor import quantization  # type: ignore[import-not-found]
    from onnx_neural_compressor.quantization import config  # type: ignore[import-not-found]

    settings = config.StaticQuantConfig(
        calibration_data_reader=_Reader(data),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
    )
    return _through_files(model, lambda a, b: quantization.quantize(a, b, settings))


def quark(model: onnx.ModelProto, data: list[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """Nodes of com.microsoft, biases in int32."""
    return _quark("A8W8", model, data)


def quark_xint8(model: onnx.ModelProto, data: list[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """Scales that are powers of two, biases in int8, a factor behind GlobalAveragePool."""
    return _quark("XINT8", model, data)


def _quark(name: str, model: onnx.ModelProto, data: list[dict[str, np.ndarray]]) -> onnx.ModelProto:
    from quark.onnx import ModelQuantizer  # type: ignore[import-not-found]
    from quark.onnx.quantization.config import custom_config  # type: ignore[import-not-found]
    from quark.onnx.quantization.config.config import Config  # type: ignore[import-not-found]

    settings = copy.deepcopy(getattr(custom_config, f"{name}_CONFIG"))
    settings.include_cle = False  # equalized weights are not those of the float model
    quantizer = ModelQuantizer(Config(global_quant_config=settings))
    return _through_files(model, lambda a, b: quantizer.quantize_model(a, b, _Reader(data)))


def _through_files(
    model: onnx.ModelProto, quantize: Callable[[str, str], object]
) -> onnx.ModelProto:
    with TemporaryDirectory() as folder:
        source, target = f"{folder}/float.onnx", f"{folder}/quantized.onnx"
        onnx.save(model, source)
        quantize(source, target)
        return onnx.load(target)


TOOLS = {"aimet": aimet, "nncf": nncf, "intel": intel, "quark": quark, "quark-xint8": quark_xint8}


def main() -> None:
    """Quantize the model and write it compressed."""
    name, model, folder, output = sys.argv[1:]
    files = sorted(Path(folder).glob("input/*.npy"))[:SAMPLES]
    data = [{"input": np.load(file)} for file in files]
    quantized = TOOLS[name](onnx.load(model), data)
    Path(output).write_bytes(gzip.compress(quantized.SerializeToString(), 9, mtime=0))


if __name__ == "__main__":
    main()
