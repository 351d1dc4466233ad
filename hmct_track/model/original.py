"""The float model that a model was made from: what it gives back, where it fits."""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path

import onnx

from hmct_track.errors import ModelError
from hmct_track.model.corrections import Corrections
from hmct_track.model.counterparts import Reading, counterparts
from hmct_track.model.float_biases import restore_float_biases
from hmct_track.model.float_fit import Fit
from hmct_track.model.folding import fold_batch_normalization
from hmct_track.model.graph import is_calibration
from hmct_track.model.onnx_io import read_proto
from hmct_track.model.qdq import Conversion, convert_qdq, is_dequantize, is_quantize

LOG = logging.getLogger(__name__)


def convert(
    proto: onnx.ModelProto,
    path: Path | None,
    float_model: str | os.PathLike[str] | onnx.ModelProto | None,
) -> Conversion:
    """Bring ``proto`` into the form with calibration nodes, with all that the float model tells.

    Args:
        proto: a QDQ model, or one with HzCalibration nodes; changed in place.
        path: where it is from.
        float_model: the model that was quantized.

    Raises:
        ModelError: the float model cannot be read, or is not what ``proto`` was made from; or
            ``proto`` is not understood.
    """
    if float_model is None:
        conversion = convert_qdq(proto, None)
        restore_float_biases(proto, conversion)
        return conversion
    original, name, folded = _read(float_model, proto)
    held = any(is_calibration(node) for node in proto.graph.node)
    conversion = convert_qdq(proto, original)
    readings = Reading(proto.graph), Reading(original.graph)
    pairs = counterparts(*readings)
    Fit(name, path).check(*readings, pairs)
    Corrections(*readings, conversion, folded=folded).separate(pairs)
    if held and not conversion.corrected:
        warn_once(f"{path or 'the model'} holds its float values itself; {name} adds nothing")
    return conversion


@cache
def warn_once(message: str) -> None:
    """Warn, unless the same was said before: an analysis of several steps reads its model anew."""
    LOG.warning("%s", message)


def _read(
    float_model: str | os.PathLike[str] | onnx.ModelProto, subject: onnx.ModelProto
) -> tuple[onnx.ModelProto, str, bool]:
    """The float model, its name for messages, and whether its BatchNormalization was folded.

    It is where ``subject`` has less of it.
    """
    proto, path = read_proto(float_model)
    name = f"float model {str(path)!r}" if path else "the float model"
    for node in proto.graph.node:
        if is_calibration(node) or is_quantize(node) or is_dequantize(node):
            raise ModelError(
                f"{name} is quantized itself ({node.op_type} {node.name!r}); give the model that "
                "was quantized, or leave --float-model (float_model=) away"
            )
    own, others = (
        sum(node.op_type == "BatchNormalization" for node in model.graph.node)
        for model in (proto, subject)
    )
    if own > others:
        fold_batch_normalization(proto.graph)
    return proto, name, own > others
