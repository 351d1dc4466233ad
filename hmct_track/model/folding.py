"""Making a float model ready for calibration."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, inliner, numpy_helper

from hmct_track.errors import ModelError
from hmct_track.model.float_weights import written_constants
from hmct_track.model.graph import subgraphs, unique_names
from hmct_track.model.inference import inferred_graph

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


def prepare(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A float model with its functions inlined, BatchNormalization folded and all nodes named.

    Raises:
        ModelError: it has functions and is too large for the inliner.
    """
    try:
        prepared = inliner.inline_local_functions(proto) if proto.functions else proto
    except EncodeError as error:
        raise ModelError(
            f"the model has functions ({proto.functions[0].name!r}) and over 2 GB, which the "
            "inliner does not take; export it without functions"
        ) from error
    for node, name in zip(
        prepared.graph.node, unique_names(list(prepared.graph.node)), strict=True
    ):
        node.name = name
    fold_batch_normalization(prepared.graph)
    return prepared


def fold_batch_normalization(graph: onnx.GraphProto) -> None:
    """Fold each BatchNormalization into the Conv, ConvTranspose or Gemm that alone feeds it."""
    constants = written_constants(graph)
    makers = {output: node for node in graph.node for output in node.output}
    reads = Counter(reads_of(graph))
    reads.update(value.name for value in graph.output)
    folded: list[onnx.NodeProto] = []
    for node in graph.node:
        normalizes = node.op_type == "BatchNormalization" and len(node.input) == 5
        maker = makers.get(node.input[0]) if normalizes else None
        if (
            maker is None
            or len([o for o in node.output if o]) > 1
            or maker.op_type not in ("Conv", "ConvTranspose", "Gemm")
            or reads[node.input[0]] > 1
            or len(maker.input) < 2
            or any(name not in constants for name in (*node.input[1:], *maker.input[1:2]))
            or any(name not in constants for name in maker.input[2:] if name)
            or not _fits(maker, node, constants)
        ):
            continue
        _fold(graph, maker, node, constants)
        folded.append(node)
    for node in folded:
        graph.node.remove(node)
    _drop_unread(graph)


def _fits(
    maker: onnx.NodeProto, node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> bool:
    """Whether weight, bias and the four vectors have as many channels; the runtime tells if not."""
    weight = list(constants[maker.input[1]].dims)
    made = {a.name: helper.get_attribute_value(a) for a in maker.attribute}
    if len(weight) < 2 or constants[maker.input[1]].data_type not in _FLOATS:
        return False
    groups = made.get("group", 1)
    if maker.op_type == "ConvTranspose":
        channels = weight[1] * groups
        if not groups or weight[0] % groups:
            return False
    else:
        channels = weight[1 if maker.op_type == "Gemm" and not made.get("transB", 0) else 0]
    vectors = [constants[name] for name in node.input[1:]]
    bias = [constants[name] for name in maker.input[2:] if name]
    return all(list(v.dims) == [channels] and v.data_type in _FLOATS for v in vectors) and all(
        b.data_type in _FLOATS and prod(b.dims) in (1, channels) for b in bias
    )


def _fold(
    graph: onnx.GraphProto,
    maker: onnx.NodeProto,
    node: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
) -> None:
    gain, shift, mean, variance = (
        numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:5]
    )
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    gain = gain / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    weight = numpy_helper.to_array(constants[maker.input[1]])
    made = {a.name: helper.get_attribute_value(a) for a in maker.attribute}
    bias = np.zeros_like(mean)
    if len(maker.input) > 2 and maker.input[2]:
        bias = numpy_helper.to_array(constants[maker.input[2]]).astype(np.float64)
        bias = bias * made.get("beta", 1.0) if maker.op_type == "Gemm" else bias
    values = (
        (f"{maker.input[1]}_folded", _scaled(maker.op_type, weight, gain, made)),
        (f"{node.input[2]}_folded", (bias - mean) * gain + shift),
    )
    taken = {tensor.name for tensor in graph.initializer}
    names = []
    for wanted, value in values:
        name = wanted if wanted not in taken else f"{wanted}_{node.output[0]}"
        graph.initializer.append(numpy_helper.from_array(value.astype(weight.dtype), name))
        names.append(name)
    del maker.input[1:]
    maker.input.extend(names)
    maker.output[0] = node.output[0]
    for attribute in maker.attribute:
        if attribute.name == "beta":
            attribute.f = 1.0


def _scaled(
    op: str, weight: NDArray[Any], gain: NDArray[np.float64], attributes: dict[str, Any]
) -> NDArray[np.float64]:
    """The weight times one gain for each of its output channels."""
    wide = weight.astype(np.float64)
    if op == "ConvTranspose":
        groups = attributes.get("group", 1)
        split = wide.reshape(groups, -1, *weight.shape[1:])
        gains = gain.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
        scaled: NDArray[np.float64] = (split * gains).reshape(weight.shape)
        return scaled
    if op == "Gemm" and not attributes.get("transB", 0):
        return wide * gain
    return wide * gain.reshape(-1, *[1] * (weight.ndim - 1))


def reads_of(graph: onnx.GraphProto) -> list[str]:
    """What the nodes of a graph read, and what bodies read and give out, as often as they do."""
    found: list[str] = []
    for node in graph.node:
        found += node.input
        for body in subgraphs(node):
            found += reads_of(body)
            found += [value.name for value in body.output]
    return found


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Drop the constants that nothing reads any more."""
    read = {*reads_of(graph), *(value.name for value in graph.output)}
    gone = [n for n in graph.node if n.op_type == "Constant" and not read & set(n.output)]
    for node in gone:
        graph.node.remove(node)
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    if len(kept) < len(graph.initializer):
        dropped = {t.name for t in graph.initializer} - read
        del graph.initializer[:]
        graph.initializer.extend(kept)
        inputs = [value for value in graph.input if value.name not in dropped]
        del graph.input[:]
        graph.input.extend(inputs)


def tensor_types(proto: onnx.ModelProto) -> dict[str, int]:
    """Element types of the tensors of the main graph, as far as inference knows them."""
    graph = inferred_graph(proto) or proto.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}
