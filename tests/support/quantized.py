"""A float model quantized by onnxruntime."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantFormat, quantize_static

from tests.support.floats import Reader, float_model


def quantized(folder: Path, name: str, **options: object) -> Path:
    source = folder / "float.onnx"
    onnx.save(float_model(), source)
    path = folder / f"{name}.onnx"
    logging.disable(logging.WARNING)
    try:
        quantize_static(source, path, Reader(), quant_format=QuantFormat.QDQ, **options)
    finally:
        logging.disable(logging.NOTSET)
    return path
