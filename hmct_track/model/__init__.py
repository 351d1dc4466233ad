"""Calibrated ONNX models: reading them, and lowering any configuration to standard ONNX.

The only package that touches ONNX protobuf.
"""

from hmct_track.model.fakequant import fake_quantize
from hmct_track.model.lowering import LoweredModel, Lowering
from hmct_track.model.reader import QuantModel, load_model

__all__ = ["LoweredModel", "Lowering", "QuantModel", "fake_quantize", "load_model"]
