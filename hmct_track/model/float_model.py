"""Float models: read for calibration, run with any of their tensors given out, and written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from hmct_track.errors import ModelError, UsageError
from hmct_track.model.float_weights import written_constants
from hmct_track.model.folding import prepare
from hmct_track.model.graph import is_calibration
from hmct_track.model.lowering import LoweredModel
from hmct_track.model.onnx_io import make_skeleton, read_proto
from hmct_track.model.qdq import is_dequantize, is_quantize
from hmct_track.model.reader import tensor_spec
from hmct_track.types import TensorSpec

_LARGEST_PROTO = 2**31 - 2**20


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A float model, prepared for calibration."""

    proto: onnx.ModelProto
    path: Path | None
    inputs: tuple[TensorSpec, ...]

    @cached_property
    def _skeleton(self) -> Any:
        copy = onnx.ModelProto()
        copy.CopyFrom(self.proto)
        return make_skeleton(copy, self.path)

    @property
    def weights(self) -> dict[str, NDArray[np.generic]]:
        """The large constants by tensor name."""
        found: dict[str, NDArray[np.generic]] = self._skeleton.weights
        return found

    @cached_property
    def constants(self) -> dict[str, NDArray[Any]]:
        """All constants that are written in the model, by tensor name."""
        tensors = written_constants(self.proto.graph)
        return {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}

    def giving(self, tensors: Sequence[str]) -> LoweredModel:
        """The model with these tensors as its outputs, to be run."""
        model = onnx.ModelProto()
        model.CopyFrom(self._skeleton.proto)
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
    proto = prepare(proto)
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    return FloatModel(proto, path, tuple(tensor_spec(value) for value in inputs))


def save_proto(proto: onnx.ModelProto, path: Path) -> None:
    """Write a model, with its weights beside it if it is too large for one file.

    Raises:
        UsageError: the file cannot be written.
    """
    aside = path.with_name(f".{path.name}-{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if proto.ByteSize() > _LARGEST_PROTO:
            onnx.save(proto, path, save_as_external_data=True, location=f"{path.name}.data")
            return
        aside.write_bytes(proto.SerializeToString())
        os.replace(aside, path)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
