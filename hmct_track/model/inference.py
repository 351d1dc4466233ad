"""Types and shapes of a graph's tensors, and whether memory can hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count
from math import prod

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from onnx import checker, helper, inliner, shape_inference

from hmct_track.errors import ModelError
from hmct_track.memory import total_memory
from hmct_track.model.graph import every_node, subgraphs
from hmct_track.types import TensorSpec

_UNKNOWN_MEMORY = 1 << 36
"""Bytes taken for what a machine has that does not say."""

_HIDDEN = "hmct_track.hidden"
_MOST_PHASES = 8

_GIVES_UP = (
    shape_inference.InferenceError,
    checker.ValidationError,
    EncodeError,
    ValueError,
    IndexError,
    OverflowError,
    RuntimeError,
)
"""What ONNX's inference raises for graphs that may run all the same."""


def inferred_graph(proto: onnx.ModelProto) -> onnx.GraphProto | None:
    """The graph with functions written out and types and shapes; None where inference gives up.

    Raises:
        ModelError: a tensor is larger than memory could hold.
    """
    for data_prop in (True, False):
        try:
            whole = inliner.inline_local_functions(proto) if proto.functions else proto
            graph = _infer(whole, data_prop)
        except _GIVES_UP:
            continue
        _check_sizes(graph)
        return graph
    return None


def _infer(proto: onnx.ModelProto, data_prop: bool) -> onnx.GraphProto:
    """ONNX's inference, which ends the process at a Slice of something of negative size.

    So does onnxruntime's. Sizes become negative by what lies before, such as a pooling larger than
    its input. A Slice is hidden until the sizes of what it reads are known.

    Raises:
        ModelError: they are negative.
    """
    hidden = [n for n in every_node(proto.graph.node) if n.op_type == "Slice" and not n.domain]
    if not hidden:
        return shape_inference.infer_shapes(proto, data_prop=data_prop).graph
    _hide(hidden, _HIDDEN)
    proto.opset_import.add(domain=_HIDDEN, version=1)
    try:
        return _in_phases(proto, hidden, data_prop)
    finally:
        # The model is the caller's: whatever comes of it, its nodes are as they were.
        _hide(hidden, "")
        del proto.opset_import[-1]


def _in_phases(
    proto: onnx.ModelProto, hidden: list[onnx.NodeProto], data_prop: bool
) -> onnx.GraphProto:
    """Inference that shows one Slice after the other, as the sizes of what they read are known."""
    for phase in count():
        graph = shape_inference.infer_shapes(proto, data_prop=data_prop).graph
        values = (*graph.input, *_values(graph))
        sizes = {v.name: _sizes(v) for v in values if v.type.tensor_type.HasField("shape")}
        sizes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
        for node in hidden:
            if min(sizes.get(next(iter(node.input), ""), ()), default=0) < 0:
                raise ModelError(
                    f"node {node.name!r} (Slice) reads {node.input[0]!r}, whose sizes would be "
                    f"{sizes[node.input[0]]}; what makes it takes away more than there is"
                )
        # So many behind each other that a phase for each would take long are shown at once.
        shown = [n for n in hidden if phase >= _MOST_PHASES or {*n.input[:1]} & sizes.keys()]
        if not shown:
            _hide([n for n in every_node(graph.node) if n.domain == _HIDDEN], "")
            return graph
        _hide(shown, "")
        hidden = [n for n in hidden if n.domain]
    raise AssertionError


def _hide(nodes: Iterable[onnx.NodeProto], domain: str) -> None:
    for node in nodes:
        if domain:
            node.domain = domain
        else:
            node.ClearField("domain")


def _sizes(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def spec_of(value: onnx.ValueInfoProto) -> TensorSpec | None:
    """Type and shape of a tensor as far as they are known; None without a type."""
    tensor = value.type.tensor_type
    if not tensor.elem_type:
        return None
    dtype = dtype_name(tensor.elem_type)
    dims = tuple(d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim)
    return TensorSpec(value.name, dtype, dims if tensor.HasField("shape") else None)


@cache
def dtype_name(element: int) -> str:
    """NumPy's name of one of ONNX's types, which NumPy takes long to put together."""
    return helper.tensor_dtype_to_np_dtype(element).name


def size_of(spec: TensorSpec | None) -> int | None:
    """Bytes of a tensor; None where they are not known."""
    if spec is None or spec.shape is None or None in spec.shape:
        return None
    return prod(d for d in spec.shape if d) * np.dtype(spec.dtype).itemsize


def _check_sizes(graph: onnx.GraphProto) -> None:
    """Refuse a tensor that a node cannot read and write, in float and quantized, in memory."""
    most = (total_memory() or _UNKNOWN_MEMORY) // 4
    makers = {name: node for node in graph.node for name in node.output}
    for value in _values(graph):
        size = size_of(spec_of(value)) or 0
        if size > most:
            node = makers.get(value.name)
            maker = f", made by node {node.name!r} ({node.op_type})," if node else ""
            raise ModelError(
                f"tensor {value.name!r}{maker} would take {size / 2**30:.0f} GiB as "
                f"{spec_of(value)}; "
                f"{most / 2**30:.1f} GiB, a quarter of this machine's memory, is the most; "
                "is the model damaged, or the input too large?"
            )


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.value_info
    yield from graph.output
    for node in graph.node:
        for body in subgraphs(node):
            yield from _values(body)
