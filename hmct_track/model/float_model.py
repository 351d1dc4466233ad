"""Float models: read for calibration, and run with any of their tensors given out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from hmct_track.errors import ModelError
from hmct_track.model.float_weights import written_constants
from hmct_track.model.folding import prepare
from hmct_track.model.graph import is_calibration
from hmct_track.model.lowering import LoweredModel
from hmct_track.model.onnx_io import SkeletonModel, make_skeleton, read_proto
from hmct_track.model.qdq import is_dequantize, is_quantize
from hmct_track.model.reader import tensor_spec
from hmct_track.types import TensorSpec


@dataclass(frozen=True, eq=False)
class FloatModel(SkeletonModel):
    """A float model, prepared for calibration."""

    inputs: tuple[TensorSpec, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of its output tensors."""
        return tuple(value.name for value in self.proto.graph.output)

    @cached_property
    def constants(self) -> dict[str, NDArray[Any]]:
        """All constants that are written in the model, by tensor name."""
        return {
            name: self.weights[tensor.name]
            if tensor.data_location == onnx.TensorProto.EXTERNAL
            else numpy_helper.to_array(tensor)
            for name, tensor in written_constants(self.proto.graph).items()
        }

    def giving(self, tensors: Sequence[str]) -> LoweredModel:
        """The model with these tensors as its outputs, to be run."""
        model = onnx.ModelProto()
        model.CopyFrom(self.proto)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
        names = {name: name for name in self.weights}
        return LoweredModel(model.SerializeToString(), names, {}, tuple(tensors))


def load_float_model(model_or_file: str | os.PathLike[str] | onnx.ModelProto) -> FloatModel:
    """Read a float model, fold its BatchNormalization and name its nodes.

    Raises:
        ModelError: it cannot be read, or is quantized already.
    """
    proto, path = read_proto(model_or_file)
    for node in proto.graph.node:
        if is_calibration(node) or is_quantize(node) or is_dequantize(node):
            raise ModelError(
                f"{path or 'the model'} is quantized already ({node.op_type} {node.name!r}); give "
                "the float model"
            )
    skeleton = make_skeleton(prepare(proto), path)
    inputs = tuple(tensor_spec(value) for value in skeleton.proto.graph.input)
    return FloatModel(skeleton, inputs)


def load_original(model_or_file: str | os.PathLike[str] | onnx.ModelProto) -> FloatModel:
    """Read a float model as it is, to be run by itself.

    Raises:
        ModelError: it cannot be read.
    """
    skeleton = make_skeleton(*read_proto(model_or_file))
    return FloatModel(skeleton, tuple(tensor_spec(value) for value in skeleton.proto.graph.input))
