"""Appends nodes and constants to a graph under names that nothing else has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_PREFIX = "hmct_track:"


class Builder:
    """Writes nodes behind those that a graph already has.

    Args:
        graph: where to.
        opset: version of the ONNX operator set.
        taken: how many names another builder may have given out in this graph.
    """

    def __init__(self, graph: onnx.GraphProto, opset: int, taken: int = 0) -> None:
        self._graph = graph
        self.opset = opset
        self._count = taken
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        output: str | None = None,
        *,
        label: str | None = None,
        **attrs: Any,
    ) -> str:
        """Append a node of one output and return the output's name, made up if None.

        The ``label`` goes into the node's name, which runtimes give in their errors.
        """
        output = output or self.name(op)
        self._graph.node.append(
            helper.make_node(
                op, list(inputs), [output], name=self.name(label or f"{op}_node"), **attrs
            )
        )
        return output

    def constant(self, value: np.ndarray) -> str:
        """Name of an initializer of this value, made at its first use."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            self._constants[key] = self.name("constant")
            self._graph.initializer.append(numpy_helper.from_array(value, self._constants[key]))
        return self._constants[key]

    def reduce(self, op: str, x: str, axes: Sequence[int]) -> str:
        """Append a reduction that keeps its dimensions; axes are an input in newer opsets."""
        if self.opset >= (13 if op == "ReduceSum" else 18):
            return self.node(op, [x, self.constant(np.array(axes, np.int64))], keepdims=1)
        return self.node(op, [x], axes=list(axes), keepdims=1)

    def name(self, what: str) -> str:
        """A name that nothing else has."""
        self._count += 1
        return f"{_PREFIX}{what}_{self._count}"
