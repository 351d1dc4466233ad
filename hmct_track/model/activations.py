"""Putting back activations that a quantizer dropped.

Where a quantizer's range begins at zero, quantizing clips as Relu does, and onnxruntime's tools and
what builds on them drop the Relu or Clip before it. Such a quantizer cannot be switched off: the
network would lose its nonlinearity. With the activation put back quantized results stay the same,
since the range clips once more, and the float reference is the network that was trained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import onnx
from onnx import helper

from hmct_track.model.attributes import parse_calibration
from hmct_track.model.float_weights import written_constants

_DROPPED = ("Relu", "Clip")
_SIGNED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "BatchNormalization")
"""Ops of whose results hardly any are free of negative values unless an activation follows."""


def restore_activations(proto: onnx.ModelProto, float_model: onnx.ModelProto | None) -> list[str]:
    """Insert the activations that are missing before calibration nodes.

    The float model tells which they are. Where it does not have the tensor, a Relu is assumed if
    a per-tensor range begins at zero and the tensor comes right from an op whose results may be
    negative.

    Args:
        proto: a model with calibration nodes; changed in place.
        float_model: the model that was quantized.

    Returns:
        The names of the assumed nodes.
    """
    graph = proto.graph
    makers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    given_out = {value.name for value in graph.output}
    originals = _Originals(float_model.graph if float_model else onnx.GraphProto())
    inserted: dict[int, onnx.NodeProto] = {}
    assumed: list[str] = []
    for tensor, read_by in readers.items():
        maker = makers.get(tensor)
        quantizers = [node for node in read_by if node.op_type == "HzCalibration"]
        # What others read as well was not clipped in the quantized model either.
        if maker is None or len(quantizers) < len(read_by) or tensor in given_out:
            continue
        if tensor in originals.makers:
            made = originals.missing(tensor, maker, makers)
        else:
            made = _assumed(tensor, maker, quantizers)
            assumed += [made.name] if made else []
        if made is not None:
            inserted[id(maker)] = made
    _insert(graph, inserted)
    if float_model is not None:
        _copy_constants(graph, float_model.graph, inserted.values())
    return assumed


def _assumed(
    tensor: str, maker: onnx.NodeProto, quantizers: list[onnx.NodeProto]
) -> onnx.NodeProto | None:
    """The Relu that was before quantizers whose ranges all begin at zero."""
    if maker.op_type not in _SIGNED or maker.domain not in ("", "ai.onnx"):
        return None
    for node in quantizers:
        params = parse_calibration(node, node.name).params
        if params.is_per_channel or params.zero_points != (params.qtype.qmin,):
            return None
    return helper.make_node("Relu", [f"{tensor}:unclipped"], [tensor], name=f"{tensor}:Relu")


class _Originals:
    """What made and what read the tensors of the float model."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.makers = {output: node for node in graph.node for output in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._readers[name].append(node)

    def missing(
        self, tensor: str, maker: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]
    ) -> onnx.NodeProto | None:
        """The activation that is missing between ``maker`` and the quantizers of ``tensor``.

        Its output gave the tensor its name (onnxruntime) or its input did (Neural Compressor).
        """
        node = self.makers[tensor]
        if node.op_type in _DROPPED and node.op_type != maker.op_type:
            before = self.makers.get(node.input[0])
            alike = before is not None and before.op_type == maker.op_type
            return _between(node, tensor) if alike else None
        readers = self._readers[tensor]
        gone = len(readers) == 1 and readers[0].op_type in _DROPPED
        if gone and node.op_type == maker.op_type and readers[0].output[0] not in makers:
            return _between(readers[0], tensor)
        return None


def _between(node: onnx.NodeProto, tensor: str) -> onnx.NodeProto:
    """A copy of an activation that gives ``tensor``, from what its maker gives from now on."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[0], copy.output[0] = f"{tensor}:unclipped", tensor
    return copy


def _insert(graph: onnx.GraphProto, inserted: dict[int, onnx.NodeProto]) -> None:
    nodes = []
    for node in graph.node:
        nodes.append(node)
        activation = inserted.get(id(node))
        if activation is not None:
            position = list(node.output).index(activation.output[0])
            node.output[position] = activation.input[0]
            nodes.append(activation)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _copy_constants(
    graph: onnx.GraphProto, source: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]
) -> None:
    """Give the graph the bounds of Clip nodes that it has not."""
    have = {tensor.name for tensor in graph.initializer}
    have.update(output for node in graph.node for output in node.output)
    constants = written_constants(source)
    for name in dict.fromkeys(name for node in nodes for name in node.input[1:]):
        if name in constants and name not in have:
            tensor = graph.initializer.add()
            tensor.CopyFrom(constants[name])
            tensor.name = name
