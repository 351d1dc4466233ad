"""What is wrong with a model file, found before anything is made of it.

A file from elsewhere may hold whatever protobuf can write: names that are not text, types that do
not exist, constants with other sizes than they say, functions that call themselves. What is refused
here no other module has to expect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any, NoReturn

import onnx
from google.protobuf.message import Message
from onnx import TensorProto, helper, numpy_helper

from hmct_track.errors import ModelError
from hmct_track.model.graph import every_node, is_calibration, subgraphs

_TYPES = frozenset(helper.get_all_tensor_dtypes()) - {TensorProto.UNDEFINED}
_DEEPEST = 90
"""Messages inside each other; protobuf reads 100."""
_MOST_CALLED = 1_000_000
"""Nodes that calls of functions may stand for once they are written out."""
_MOST_VALUES = 2**62
"""Values of one tensor; their number is held in 64 bits."""
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", "HzCalibration")


def check_sound(proto: onnx.ModelProto) -> None:
    """Complain of what makes a model mean nothing.

    Raises:
        ModelError: with the node, the tensor or the attribute that is at fault.
    """
    _check_text(proto, "the model", 0)
    _check_functions(proto.functions)
    _check_graph(proto.graph)
    for function in proto.functions:
        for node in function.node:
            _check_node(node, f"of function {function.name!r}", inside=True)


def _check_text(message: Message, where: str, depth: int) -> None:
    """All strings but remarks are UTF-8; protobuf gives one that is not as bytes."""
    if depth > _DEEPEST:
        raise ModelError(
            f"{where} is inside too many others ({depth}); subgraphs may lie about "
            f"{_DEEPEST // 3} deep in each other, so write the model flatter"
        )
    if isinstance(message, onnx.NodeProto | onnx.TensorProto | onnx.AttributeProto):
        where = f"{message.DESCRIPTOR.name.removesuffix('Proto').lower()} {message.name!r}"
    for name, is_repeated, is_text in _fields(message.DESCRIPTOR):
        if is_text:
            found = getattr(message, name)
            for text in found if is_repeated else (found,):
                if isinstance(text, bytes):
                    _refuse(f"{name} {text[:60]!r} of {where} is not UTF-8 text")
        elif is_repeated:
            for inner in getattr(message, name):
                _check_text(inner, where, depth + 1)
        elif message.HasField(name):
            _check_text(getattr(message, name), where, depth + 1)


@cache
def _fields(descriptor: Any) -> tuple[tuple[str, bool, bool], ...]:
    """The fields of a message that hold text, but for remarks, or messages.

    Returns:
        The name of each, whether it is repeated, and whether it is text; texts come first.
    """
    held = [
        (f.name, f.is_repeated, f.type == f.TYPE_STRING)
        for f in descriptor.fields
        if f.type == f.TYPE_MESSAGE or (f.type == f.TYPE_STRING and f.name != "doc_string")
    ]
    return tuple(sorted(held, key=lambda field: not field[2]))


def _check_functions(functions: Sequence[onnx.FunctionProto]) -> None:
    """Functions end, and calls of calls do not multiply beyond measure."""
    by_key = {(f.domain, f.name): f for f in functions}
    sizes: dict[tuple[str, str], int] = {}
    open_calls: set[tuple[str, str]] = set()

    def size(key: tuple[str, str]) -> int:
        if key in open_calls:
            raise ModelError(
                f"function {key[1]!r} of domain {key[0]!r} calls itself, so it never ends; "
                "export the model without functions"
            )
        if key not in sizes:
            open_calls.add(key)
            calls = ((node.domain, node.op_type) for node in every_node(by_key[key].node))
            sizes[key] = 1 + sum(size(call) if call in by_key else 1 for call in calls)
            open_calls.remove(key)
        return sizes[key]

    for key, function in by_key.items():
        if size(key) > _MOST_CALLED:
            raise ModelError(
                f"function {key[1]!r} stands for {sizes[key]} nodes, more than {_MOST_CALLED}; "
                "export the model without functions"
            )
        for node in every_node(function.node):
            if node.op_type in _QUANTIZERS and (node.domain, node.op_type) not in by_key:
                raise ModelError(
                    f"node {node.name!r} ({node.op_type}) is inside function {key[1]!r}; "
                    "quantizers are understood only in the main graph, so export the model "
                    "without functions"
                )


def _check_graph(graph: onnx.GraphProto, inside: bool = False) -> None:
    made: dict[str, str] = {}
    for tensor in graph.initializer:
        _check_constant(tensor)
        if tensor.name in made:
            _refuse(f"constant {tensor.name!r} is written twice; each tensor has one value")
        made[tensor.name] = "an initializer"
    for sparse in graph.sparse_initializer:
        _check_constant(sparse.values)
        _check_constant(sparse.indices)
    for value in (*graph.input, *graph.output, *graph.value_info):
        _check_type(value)
    for name, count in Counter(value.name for value in graph.input).items():
        if not name or count > 1:
            _refuse(f"the graph has {count} inputs named {name!r}")
        made.setdefault(name, "an input")
    for node in graph.node:
        _check_node(node, "", inside=inside)
        label = f"node {node.name!r} ({node.op_type})"
        for name in node.output:
            if name in made:
                _refuse(f"tensor {name!r} is made twice, by {made[name]} and by {label}")
            if name:
                made[name] = label


def _check_node(node: onnx.NodeProto, where: str, *, inside: bool) -> None:
    label = " ".join(filter(None, (f"node {node.name!r} ({node.op_type})", where)))
    horizon = node.domain == "horizon" or is_calibration(node)  # whose own checks say more
    if not node.op_type or not (horizon or any(node.output)):
        _refuse(f"{label} has no operator or no output")
    if node.op_type == "Constant" and len(node.attribute) != 1:
        _refuse(f"{label} has {len(node.attribute)} attributes; one, its value, was expected")
    for attribute in node.attribute:
        _check_attribute(attribute, label, inside=inside)
    for body in subgraphs(node):
        _check_graph(body, inside)


def _check_attribute(attribute: onnx.AttributeProto, label: str, *, inside: bool) -> None:
    if attribute.ref_attr_name:
        if not inside:
            _refuse(
                f"{label}: attribute {attribute.name} refers to {attribute.ref_attr_name!r} of a "
                "function, but is in none"
            )
        return
    try:
        helper.get_attribute_value(attribute)
    except ValueError as error:
        _refuse(f"{label}: attribute {attribute.name} is broken: {error}")
    for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors):
        _check_constant(tensor, f"{label}: attribute {attribute.name}")


def _check_type(value: onnx.ValueInfoProto) -> None:
    kind = value.type.tensor_type
    if value.type.HasField("tensor_type") and kind.elem_type not in _TYPES | {0}:
        _refuse(f"{value.name!r} has element type {kind.elem_type}, which ONNX does not have")


def _check_constant(tensor: onnx.TensorProto, label: str = "") -> None:
    label = label or f"constant {tensor.name!r}"
    if tensor.data_type not in _TYPES:
        _refuse(f"{label} has element type {tensor.data_type}, which ONNX does not have")
    if any(d < 0 for d in tensor.dims) or prod(tensor.dims) > _MOST_VALUES:
        _refuse(f"{label} has shape {list(tensor.dims)}, which is not a shape")
    if tensor.data_location == TensorProto.EXTERNAL:
        return
    try:
        numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError, UnicodeDecodeError) as error:
        _refuse(f"{label} is broken: {error}")


def _refuse(why: str) -> NoReturn:
    raise ModelError(f"{why}; the model is damaged or was made wrongly, so export it again")
