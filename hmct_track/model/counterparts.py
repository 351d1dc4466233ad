"""Which node of a float model each node of a model made from it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from hmct_track.model.float_weights import constant_values, written_constants
from hmct_track.model.graph import constant_tensors, is_calibration
from hmct_track.model.placement import WEIGHTED_OPS


class Reading:
    """What the nodes of a graph read, with Identity and calibration nodes looked through."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.makers = {output: node for node in graph.node for output in node.output}
        self.nodes = [n for n in graph.node if not _passes(n) and n.op_type != "Constant"]
        self._computed = constant_tensors(graph)
        self._written = written_constants(graph)
        self._arrays: dict[str, NDArray[Any]] = {}

    def root(self, tensor: str) -> str:
        """The tensor that is passed on as ``tensor``."""
        for _ in self.graph.node:  # not for ever, should they form a circle
            node = self.makers.get(tensor)
            if node is None or not _passes(node) or not node.input:
                break
            tensor = node.input[0]
        return tensor

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node that computes a tensor."""
        return self.makers.get(self.root(tensor))

    def calibration(self, tensor: str) -> onnx.NodeProto | None:
        """The calibration node that gives a tensor."""
        node = self.makers.get(tensor)
        return node if node is not None and is_calibration(node) else None

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor depends on constants alone."""
        return self.root(tensor) in self._computed

    def array(self, tensor: str) -> NDArray[Any] | None:
        """The values of a float32 constant that is written in the graph."""
        name = self.root(tensor)
        if name not in self._arrays and name in self._written:
            found = self._written[name]
            if found.data_type == TensorProto.FLOAT:
                self._arrays[name] = constant_values(found)
        return self._arrays.get(name)

    def constant_inputs(self, node: onnx.NodeProto) -> Iterator[tuple[int, NDArray[Any]]]:
        """Positions and values of the float32 constants that a node reads."""
        for position, tensor in enumerate(node.input):
            values = self.array(tensor) if tensor else None
            if values is not None:
                yield position, values

    @cached_property
    def weighted(self) -> list[tuple[onnx.NodeProto, int]]:
        """The nodes that multiply by a constant, and the position of the constant."""
        return [
            (node, position)
            for node in self.nodes
            if node.op_type in WEIGHTED_OPS
            for position in (1, 0)[: 2 if node.op_type == "MatMul" else 1]
            if position < len(node.input) and self.is_constant(node.input[position])
        ]


def _passes(node: onnx.NodeProto) -> bool:
    return node.op_type == "Identity" or is_calibration(node)


def counterparts(
    subject: Reading, original: Reading
) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Pairs of a node of ``subject`` and the one of ``original`` that it was made from.

    Nodes go by their names and by those of their outputs; then what feeds the same input of two
    that belong together belongs together, where the op is the same. No node is in two pairs.
    """
    pairs: dict[int, tuple[onnx.NodeProto, onnx.NodeProto]] = {}
    taken: set[int] = set()
    stack: list[tuple[onnx.NodeProto, onnx.NodeProto]] = []

    def join(node: onnx.NodeProto | None, other: onnx.NodeProto | None) -> None:
        if node is None or other is None or node.op_type != other.op_type:
            return
        if id(node) not in pairs and id(other) not in taken:
            pairs[id(node)] = node, other
            taken.add(id(other))
            stack.append((node, other))

    names = Counter(node.name for node in original.nodes)
    by_name = {node.name: node for node in original.nodes if names[node.name] == 1}
    for node in subject.nodes:
        join(node, by_name.get(node.name) if node.name else None)
    for node in subject.nodes:
        join(node, original.makers.get(node.output[0]) if node.output else None)
    for value, other in zip(subject.graph.output, original.graph.output, strict=False):
        join(subject.maker(value.name), original.maker(other.name))
    while stack:
        node, other_node = stack.pop()
        for tensor, other_tensor in zip(node.input, other_node.input, strict=False):
            join(subject.maker(tensor), original.maker(other_tensor))
    return list(pairs.values())
