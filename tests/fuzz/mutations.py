"""Ways to spoil a model: bytes of its file, fields of its messages, the structure of its graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import Message
from onnx import helper

Rng = np.random.Generator

INTEGERS = (-(2**63), -(2**31), -1, 0, 1, 2, 3, 7, 255, 10_000, 2**31 - 1, 2**31, 2**63 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, float("inf"), float("nan"))
TEXTS = (
    *("", "x", "y", "xq", "Conv_0", "a\nb", "\x1b[31m", "../weights", "/dev/zero"),
    *("ai.onnx", "horizon", "com.microsoft", "int8", "uint8", "int4", "float16", "OFF", "scales"),
)


def mutate_bytes(data: bytes, rng: Rng) -> bytes:
    """Bits turned, bytes changed, pieces cut out, put elsewhere or doubled."""
    spoilt = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if not spoilt:
            break
        at = int(rng.integers(len(spoilt)))
        length = int(rng.integers(1, 24))
        kind = rng.integers(5)
        if kind == 0:
            spoilt[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            spoilt[at] = int(rng.integers(256))
        elif kind == 2:
            del spoilt[at : at + length]
        elif kind == 3:
            to = int(rng.integers(len(spoilt)))
            spoilt[to:to] = spoilt[at : at + length]
        else:
            del spoilt[max(at, len(spoilt) // 2) :]
    return bytes(spoilt)


def mutate_field(proto: onnx.ModelProto, rng: Rng) -> None:
    """One field of one message, whichever, takes an odd value, goes away or comes twice."""
    messages = list(_messages(proto))
    message = messages[int(rng.integers(len(messages)))]
    fields = list(message.DESCRIPTOR.fields)
    there = [f for f, _ in message.ListFields()]
    field = _pick(there if there and rng.random() < 0.8 else fields, rng)
    if rng.random() < 0.1:
        message.ClearField(field.name)
        return
    if field.type == field.TYPE_MESSAGE:
        if field.is_repeated:
            _spoil_list(getattr(message, field.name), rng)
        return
    value = _odd_value(field, rng)
    if not field.is_repeated:
        setattr(message, field.name, value)
        return
    values = getattr(message, field.name)
    if not values or rng.random() < 0.2:
        values.append(value)
    elif rng.random() < 0.2:
        del values[int(rng.integers(len(values)))]
    else:
        values[int(rng.integers(len(values)))] = value


def mutate_structure(proto: onnx.ModelProto, rng: Rng) -> None:
    """Nodes and tensors are dropped, doubled, moved, renamed, rewired or replaced."""
    _pick(_STRUCTURE, rng)(proto, rng)


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from _messages(inner)


def _odd_value(field: Any, rng: Rng) -> Any:
    if field.type == field.TYPE_STRING:
        return _pick(TEXTS, rng)
    if field.type == field.TYPE_BYTES:
        return _pick([text.encode() for text in TEXTS] + [b"\xff\xfe", b"\0" * 64], rng)
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return _pick(FLOATS, rng)
    if field.type == field.TYPE_ENUM:
        return int(_pick([v.number for v in field.enum_type.values], rng))
    if field.type == field.TYPE_INT32:
        return int(_pick([v for v in (*INTEGERS, *range(25)) if abs(v) < 2**31], rng))
    return abs(_pick(INTEGERS, rng)) if field.type == field.TYPE_UINT64 else _pick(INTEGERS, rng)


def _spoil_list(values: Any, rng: Rng) -> None:
    if not values:
        values.add()
        return
    at = int(rng.integers(len(values)))
    copy = type(values[at])()
    copy.CopyFrom(values[at])
    if rng.random() < 0.5:
        values.append(copy)
    else:
        del values[at]


def _pick(items: Any, rng: Rng) -> Any:
    return items[int(rng.integers(len(items)))]


def _drop(proto: onnx.ModelProto, rng: Rng) -> None:
    del proto.graph.node[int(rng.integers(len(proto.graph.node)))]


def _double(proto: onnx.ModelProto, rng: Rng) -> None:
    proto.graph.node.append(_pick(proto.graph.node, rng))


def _move(proto: onnx.ModelProto, rng: Rng) -> None:
    nodes = list(proto.graph.node)
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    rng.shuffle(copies)  # type: ignore[arg-type]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


def _rewire(proto: onnx.ModelProto, rng: Rng) -> None:
    names = [name for node in proto.graph.node for name in (*node.input, *node.output)]
    node = _pick(proto.graph.node, rng)
    if node.input:
        node.input[int(rng.integers(len(node.input)))] = _pick(names, rng)


def _rename(proto: onnx.ModelProto, rng: Rng) -> None:
    node = _pick(proto.graph.node, rng)
    if node.output and rng.random() < 0.5:
        node.output[0] = _pick(TEXTS, rng)
    else:
        node.name = _pick([*TEXTS, *(n.name for n in proto.graph.node)], rng)


def _replace(proto: onnx.ModelProto, rng: Rng) -> None:
    ops = (
        *("Identity", "Relu", "Neg", "Sigmoid", "Transpose", "Shape", "Cast", "Constant", "Abs"),
        *("RandomNormalLike", "Dropout", "Exp", "NonZero", "HzFilter", "HzCalibration"),
    )
    node = _pick(proto.graph.node, rng)
    node.op_type = _pick(ops, rng)
    if rng.random() < 0.7:
        del node.attribute[:]


def _io_count(proto: onnx.ModelProto, rng: Rng) -> None:
    node = _pick(proto.graph.node, rng)
    values = _pick((node.input, node.output), rng)
    if values and rng.random() < 0.5:
        del values[int(rng.integers(len(values)))]
    else:
        values.append(_pick(TEXTS, rng))


def _shape(proto: onnx.ModelProto, rng: Rng) -> None:
    tensor = _pick(proto.graph.initializer, rng)
    if tensor.dims and rng.random() < 0.7:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = _pick(INTEGERS, rng)
    else:
        tensor.dims.append(_pick(INTEGERS, rng))


def _element_type(proto: onnx.ModelProto, rng: Rng) -> None:
    _pick(proto.graph.initializer, rng).data_type = int(rng.integers(-1, 27))


def _value(proto: onnx.ModelProto, rng: Rng) -> None:
    tensor = _pick(proto.graph.initializer, rng)
    if len(tensor.raw_data) >= 4 and tensor.data_type == onnx.TensorProto.FLOAT:
        array = np.frombuffer(tensor.raw_data, np.float32).copy()
        array[int(rng.integers(len(array)))] = _pick(FLOATS, rng)
        tensor.raw_data = array.tobytes()


def _output(proto: onnx.ModelProto, rng: Rng) -> None:
    names = [name for node in proto.graph.node for name in node.output]
    kind = int(_pick((0, 1, 1, 1, 7, 9, 10, 11), rng))
    proto.graph.output.append(helper.make_tensor_value_info(_pick(names, rng), kind, None))


def _large(proto: onnx.ModelProto, rng: Rng) -> None:
    """Something that takes memory."""
    size = int(_pick((2**20, 2**31, 2**40, 2**62), rng))
    shape = onnx.numpy_helper.from_array(np.array([size, 2]), "")
    made = [
        helper.make_node("Constant", [], ["lshape"], "lshape", value=shape),
        helper.make_node("ConstantOfShape", ["lshape"], ["lbig"], "lbig"),
        helper.make_node("ReduceMax", ["lbig"], ["lmax"], "lmax", keepdims=0),
    ]
    reader = _pick([n for n in proto.graph.node if n.input], rng)
    reader.input[len(reader.input) - 1] = "lmax"
    nodes = [*made, *proto.graph.node]
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


def _call(proto: onnx.ModelProto, rng: Rng) -> None:
    """A node of the graph, or of a function, calls a function."""
    if not proto.functions:
        return
    called = _pick(proto.functions, rng)
    holder = _pick([proto.graph, *proto.functions], rng)
    node = _pick(holder.node, rng)
    node.domain, node.op_type = called.domain, called.name


_STRUCTURE: list[Callable[[onnx.ModelProto, Rng], None]] = [
    _drop, _double, _move, _rewire, _rewire, _rename, _replace, _io_count, _shape, _element_type,
    _value, _value, _output, _large, _call,
]  # fmt: skip
