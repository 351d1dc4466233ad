"""Calibrated ONNX models: reading them, and lowering any configuration to standard ONNX.

The only package that touches ONNX protobuf.
"""

from hmct_track.model.built import built_types
from hmct_track.model.fakequant import fake_quantize
from hmct_track.model.float_model import FloatModel, load_float_model, load_original
from hmct_track.model.inference import size_of
from hmct_track.model.layers import Layers
from hmct_track.model.lowering import LoweredModel, Lowering, effective_params
from hmct_track.model.means import away_of, means, target_of, with_means
from hmct_track.model.mending import mended
from hmct_track.model.names import expand, expand_one
from hmct_track.model.onnx_io import Skeleton, save_model, whole_proto
from hmct_track.model.placement import (
    QUANTIZABLE_OPS,
    WEIGHTED_OPS,
    Placement,
    insert_calibration,
    plan_placements,
)
from hmct_track.model.planned import planned_model, written_params
from hmct_track.model.qdq_writer import qdq_model
from hmct_track.model.reader import QuantModel, load_model, model_of

__all__ = [
    "QUANTIZABLE_OPS",
    "WEIGHTED_OPS",
    "FloatModel",
    "Layers",
    "LoweredModel",
    "Lowering",
    "Placement",
    "QuantModel",
    "Skeleton",
    "away_of",
    "built_types",
    "effective_params",
    "expand",
    "expand_one",
    "fake_quantize",
    "insert_calibration",
    "load_float_model",
    "load_model",
    "load_original",
    "means",
    "mended",
    "model_of",
    "plan_placements",
    "planned_model",
    "qdq_model",
    "save_model",
    "size_of",
    "target_of",
    "whole_proto",
    "with_means",
    "written_params",
]
