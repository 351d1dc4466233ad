"""ONNX files and protos in; a skeleton without large constants, and those constants as arrays, out.

A lowered model is built and handed to the runtime for every configuration. Keeping the weights out
of the proto makes that cheap, lets all sessions share one copy, and steps round the 2 GB limit.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from hmct_track.errors import ModelError, UsageError
from hmct_track.model.graph import every_node, subgraphs
from hmct_track.model.soundness import check_sound
from hmct_track.types import digest

LARGE = 1024
"""Constants of more bytes than this leave the skeleton."""

LARGEST_PROTO = 2**31 - 2**20

_PAGE = 4096
"""Where weights in a file of their own begin, so that runtimes can map them into memory."""

_NATIVE = {
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.FLOAT16,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT16,
    TensorProto.UINT16,
    TensorProto.INT32,
    TensorProto.INT64,
}


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A model whose large constants are placeholders with external data."""

    proto: onnx.ModelProto
    weights: dict[str, NDArray[np.generic]]
    model_id: str
    path: Path | None


@dataclass(frozen=True, eq=False)
class SkeletonModel:
    """What models that are kept as a skeleton have in common."""

    skeleton: Skeleton

    @property
    def path(self) -> Path | None:
        """Where it was loaded from; None for a proto."""
        return self.skeleton.path

    @property
    def proto(self) -> onnx.ModelProto:
        """The graph, with placeholders for large constants. Not to be changed."""
        return self.skeleton.proto

    @property
    def weights(self) -> Mapping[str, NDArray[np.generic]]:
        """The large constants by tensor name."""
        return self.skeleton.weights


def read_proto(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
) -> tuple[onnx.ModelProto, Path | None]:
    """A model from a file, with its external data, or a copy of a proto; and the file's path.

    Raises:
        ModelError: the file is missing, not ONNX, or its external data cannot be read.
    """
    if isinstance(model_or_file, onnx.ModelProto):
        path = None
        proto = onnx.ModelProto()
        proto.CopyFrom(model_or_file)
    else:
        path = Path(model_or_file)
        proto = _read(path)
    if not proto.graph.node:
        raise ModelError(f"{path or 'the model'}: the graph has no nodes; is it an ONNX model?")
    if not any(o.domain in ("", "ai.onnx") for o in proto.opset_import):
        raise ModelError(
            f"{path or 'the model'} names no version of the ONNX operator set; is it truncated?"
        )
    for tensor in _tensors(proto.graph):
        _check_loaded(tensor)
    check_sound(proto)
    _use_short_domain(proto)
    _forget_sizes(proto.graph)
    return proto, path and path.absolute()


def _use_short_domain(proto: onnx.ModelProto) -> None:
    """``ai.onnx`` is another name of the standard domain, which shape inference does not know."""
    # Only there: to write an empty domain is to change the model's content hash.
    for opset in proto.opset_import:
        if opset.domain == "ai.onnx":
            opset.domain = ""
    for node in every_node(proto.graph.node):
        if node.domain == "ai.onnx":
            node.domain = ""


def _forget_sizes(graph: onnx.GraphProto) -> None:
    """Sizes of 0 and below, as which exporters write those that they do not know, are unknown."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.ClearField("dim_value")
    for node in graph.node:
        for body in subgraphs(node):
            _forget_sizes(body)


def make_skeleton(proto: onnx.ModelProto, path: Path | None) -> Skeleton:
    """Take the large constants out of ``proto``, which is emptied of them in place.

    Raises:
        ModelError: a constant is broken.
    """
    weights = _take_constants(proto.graph)
    for tensor in _tensors(proto.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            _write_one_way(tensor)
    # Before IR 4 initializers had to be inputs as well, which keeps runtimes from folding them.
    proto.ir_version = max(proto.ir_version, 7)
    # A message keeps the memory of fields that were cleared; a new one has none of the weights.
    return fill_skeleton(onnx.ModelProto.FromString(proto.SerializeToString()), weights, path)


def fill_skeleton(
    proto: onnx.ModelProto, weights: dict[str, NDArray[np.generic]], path: Path | None
) -> Skeleton:
    """A skeleton of a graph that has placeholders for these constants."""
    return Skeleton(proto, weights, _model_id(proto, weights), path)


def whole_proto(skeleton: Skeleton) -> onnx.ModelProto:
    """The model with its constants in it. Over 2 GB it cannot be serialized."""
    proto = onnx.ModelProto()
    proto.CopyFrom(skeleton.proto)
    for tensor in _placeholders(proto):
        tensor.CopyFrom(numpy_helper.from_array(skeleton.weights[tensor.name], tensor.name))
    return proto


def save_model(skeleton: Skeleton, path: Path) -> None:
    """Write a model, with its weights beside it if it is too large for one file.

    Raises:
        UsageError: the file cannot be written.
    """
    token = uuid.uuid4().hex
    aside, data = (path.with_name(f".{path.name}-{token}.{end}") for end in ("tmp", "data.tmp"))
    held = sum(array.nbytes for array in skeleton.weights.values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if held + skeleton.proto.ByteSize() > LARGEST_PROTO:
            proto = _write_weights(skeleton, data, f"{path.name}.data")
            aside.write_bytes(proto.SerializeToString())
            os.replace(data, path.with_name(f"{path.name}.data"))
        else:
            aside.write_bytes(whole_proto(skeleton).SerializeToString())
        os.replace(aside, path)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
        data.unlink(missing_ok=True)


def _write_weights(skeleton: Skeleton, file: Path, location: str) -> onnx.ModelProto:
    """Write the constants one after the other; the graph that says where each of them is."""
    proto = onnx.ModelProto()
    proto.CopyFrom(skeleton.proto)
    with file.open("wb") as stream:
        for tensor in _placeholders(proto):
            stream.write(b"\0" * (-stream.tell() % _PAGE))
            array = np.ascontiguousarray(skeleton.weights[tensor.name])
            place = {"location": location, "offset": stream.tell(), "length": array.nbytes}
            del tensor.external_data[:]
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            stream.write(array.data.cast("B"))
    return proto


def _placeholders(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    return (t for t in proto.graph.initializer if t.data_location == TensorProto.EXTERNAL)


def _read(path: Path) -> onnx.ModelProto:
    if not path.exists():
        raise ModelError(f"model file {str(path)!r} does not exist")
    if not path.is_file():
        raise ModelError(f"model file {str(path)!r} is not a file; give the path of an .onnx file")
    try:
        # By default a name that ends in .json or .txt selects another parser, with other errors.
        return onnx.load(path, format="protobuf")
    except DecodeError as error:
        raise ModelError(f"{str(path)!r} is not an ONNX model, or is truncated: {error}") from error
    except TypeError as error:  # protobuf gives text that is not UTF-8 as bytes, which onnx refuses
        raise ModelError(
            f"model {str(path)!r} names its external data in what is not UTF-8 text; the file is "
            "damaged, so export it again"
        ) from error
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"cannot read model {str(path)!r} or its external data: {error}"
        ) from error


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The initializers and the tensors in attributes, those of bodies included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)
            for body in attribute.graphs:
                yield from _tensors(body)


def _take_constants(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """Move large initializers and Constant nodes out of the graph, leaving placeholders."""
    weights: dict[str, NDArray[np.generic]] = {}
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initializers]
    del graph.input[:]
    graph.input.extend(inputs)
    for tensor in graph.initializer:
        if _is_large(tensor):
            weights[tensor.name] = _take(tensor)
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        value = node.attribute[0].t if _is_tensor_constant(node) else None
        if value is None or not _is_large(value):
            graph.node.append(node)
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        weights[tensor.name] = _take(tensor)
    return weights


def _is_tensor_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and [a.name for a in node.attribute] == ["value"]


def _is_large(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type not in _NATIVE:
        return False
    size = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    return int(np.prod(tensor.dims, dtype=np.int64)) * size > LARGE


def _check_loaded(tensor: onnx.TensorProto) -> None:
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ModelError(
            f"the data of constant {tensor.name!r} lie in an external file that was not loaded; "
            "give the path of the model, or load it with onnx.load"
        )


def _take(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    """The tensor's values; the tensor becomes a placeholder."""
    array = _array(tensor)
    values = ("raw_data", "float_data", "int32_data", "int64_data", "double_data")
    for field in (*values, "doc_string"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "held-in-memory"), ("length", str(array.nbytes))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return array


def _write_one_way(tensor: onnx.TensorProto) -> None:
    """Drop what tells apart equal tensors of several writers, as the model id must not."""
    if tensor.data_type in _NATIVE:
        tensor.CopyFrom(numpy_helper.from_array(_array(tensor), tensor.name))
    else:
        tensor.ClearField("data_location")


def _array(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = numpy_helper.to_array(tensor)
    except ValueError as error:
        raise ModelError(f"constant {tensor.name!r} is broken: {error}") from error
    return array


def _model_id(proto: onnx.ModelProto, weights: dict[str, NDArray[np.generic]]) -> str:
    """Hash of what the model computes: equal from file or proto, whatever wrote it."""
    described = onnx.ModelProto()
    described.CopyFrom(proto)
    for field in ("producer_name", "producer_version", "doc_string", "model_version", "domain"):
        described.ClearField(field)
    del described.metadata_props[:]
    described.graph.ClearField("doc_string")
    parts: list[bytes | memoryview] = [described.SerializeToString(deterministic=True)]
    for name, array in weights.items():
        parts += [name.encode(), np.ascontiguousarray(array).data.cast("B")]
    return digest(*parts)
