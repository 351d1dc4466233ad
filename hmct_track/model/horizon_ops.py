"""The horizon domain's custom ops (all but HzCalibration) in standard ONNX ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from hmct_track.errors import ModelError
from hmct_track.model.builder import Builder

_MOST_BLOCK = 1024
"""Values of a block of HzSpaceToDepth: each becomes a node."""


class _Op:
    """A node to lower: its inputs, its output, its attributes and the builder to write with."""

    def __init__(self, builder: Builder, node: onnx.NodeProto, name: str) -> None:
        self.builder = builder
        self.name = name
        self.op_type = node.op_type
        self.inputs = list(node.input)
        self.outputs = list(node.output)
        self._attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self._read: set[str] = set()

    def attribute(self, name: str, kind: type, default: Any = None) -> Any:
        """An attribute's value, of type ``kind``; one without default is required."""
        self._read.add(name)
        if name not in self._attributes and default is None:
            raise ModelError(f"node {self.name!r} ({self.op_type}) lacks its attribute {name}")
        value = self._attributes.get(name, default)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if not isinstance(value, (int, float) if kind is float else kind):
            raise ModelError(
                f"node {self.name!r} ({self.op_type}): attribute {name} is {value!r}; "
                f"one of type {kind.__name__} was expected"
            )
        return value

    def refuse_unread(self) -> None:
        """Complain of attributes that nobody asked for: they might change the result."""
        for name in self._attributes:
            if name not in self._read:
                raise ModelError(
                    f"node {self.name!r} ({self.op_type}): attribute {name} is not understood"
                )

    def scalar(self, value: float) -> str:
        return self.builder.constant(np.array(value, np.float32))


def lower_horizon_op(builder: Builder, node: onnx.NodeProto, name: str) -> None:
    """Append the standard meaning of a horizon node.

    Raises:
        ModelError: an attribute is missing or not understood.
    """
    op = _Op(builder, node, name)
    HORIZON_OPS[node.op_type](op)
    op.refuse_unread()


def _preprocess(op: _Op) -> None:
    """A grouped 1x1 convolution that normalises the input."""
    layout = op.attribute("data_format", str, "NCHW")
    if layout not in ("NCHW", "NHWC"):
        raise ModelError(
            f"node {op.name!r} (HzPreprocess): attribute data_format is {layout!r}; "
            "NCHW or NHWC was expected"
        )
    # What the camera delivers; the arithmetic is the same.
    op.attribute("input_type", object, "")
    build, output = op.builder.node, op.outputs[0]
    x = build("Cast", op.inputs[:1], to=TensorProto.FLOAT)
    group = op.attribute("channel_group", int, 1)
    weights = [name for name in op.inputs[1:] if name]
    if layout == "NCHW":
        build("Conv", [x, *weights], output, group=group)
        return
    x = build("Transpose", [x], perm=[0, 3, 1, 2])
    x = build("Conv", [x, *weights], group=group)
    build("Transpose", [x], output, perm=[0, 2, 3, 1])


def _softmax(op: _Op) -> None:
    """Softmax along one axis; spelt out because ONNX flattened behind the axis before opset 13."""
    axis = op.attribute("axis", int)
    build = op.builder
    peak = build.reduce("ReduceMax", op.inputs[0], [axis])
    powers = build.node("Exp", [build.node("Sub", [op.inputs[0], peak])])
    build.node("Div", [powers, build.reduce("ReduceSum", powers, [axis])], op.outputs[0])


def _gelu(op: _Op) -> None:
    """x/2 (1 + erf(x/sqrt 2)), or its tanh approximation as ONNX Gelu defines it."""
    build, x = op.builder.node, op.inputs[0]
    approximate = op.attribute("approximate", str, "none")
    if approximate == "tanh":
        cube = build("Mul", [build("Mul", [x, x]), x])
        inner = build("Add", [x, build("Mul", [cube, op.scalar(0.044715)])])
        bent = build("Tanh", [build("Mul", [inner, op.scalar(math.sqrt(2 / math.pi))])])
    elif approximate == "none":
        bent = build("Erf", [build("Div", [x, op.scalar(math.sqrt(2))])])
    else:
        raise ModelError(
            f"node {op.name!r} (HzGelu): attribute approximate is {approximate!r}; "
            "none or tanh was expected"
        )
    half = build("Mul", [x, op.scalar(0.5)])
    build("Mul", [half, build("Add", [bent, op.scalar(1)])], op.outputs[0])


def _relux(op: _Op) -> None:
    """min(max(x, 0), clip_value)."""
    low = op.builder.node("Max", [op.inputs[0], op.scalar(0)])
    op.builder.node("Min", [low, op.scalar(op.attribute("clip_value", float))], op.outputs[0])


def _rsqrt(op: _Op) -> None:
    """1/sqrt(x + epsilon), or 1/(sqrt(x) + epsilon) with is_sqrt_add_reciprocal."""
    build, epsilon = op.builder.node, op.scalar(op.attribute("epsilon", float, 0.0))
    if op.attribute("is_sqrt_add_reciprocal", int, 0):
        root = build("Add", [build("Sqrt", op.inputs[:1]), epsilon])
    else:
        root = build("Sqrt", [build("Add", [op.inputs[0], epsilon])])
    build("Reciprocal", [root], op.outputs[0])


def _space_to_depth(op: _Op) -> None:
    """ONNX SpaceToDepth with blocks that need not be square: NCHW, block offsets outermost."""
    height, width = op.attribute("block_height", int), op.attribute("block_width", int)
    if height < 1 or width < 1 or height * width > _MOST_BLOCK:
        raise ModelError(
            f"node {op.name!r} (HzSpaceToDepth): attributes block_height={height} and "
            f"block_width={width}; blocks of 1 to {_MOST_BLOCK} values were expected"
        )
    far = np.iinfo(np.int32).max

    def integers(*values: int) -> str:
        return op.builder.constant(np.array(values, np.int64))

    parts = [
        op.builder.node(
            "Slice",
            [
                op.inputs[0],
                integers(row, column),
                integers(far, far),
                integers(2, 3),
                integers(height, width),
            ],
        )
        for row in range(height)
        for column in range(width)
    ]
    op.builder.node("Concat", parts, op.outputs[0], axis=1)


def _filter(op: _Op) -> None:
    """Passes its inputs through."""
    for source, target in zip(op.inputs, op.outputs, strict=False):
        op.builder.node("Identity", [source], target)


HORIZON_OPS: dict[str, Callable[[_Op], None]] = {
    "HzPreprocess": _preprocess,
    "HzSoftmax": _softmax,
    "HzGelu": _gelu,
    "HzReluX": _relux,
    "HzRsqrt": _rsqrt,
    "HzSpaceToDepth": _space_to_depth,
    "HzFilter": _filter,
}
