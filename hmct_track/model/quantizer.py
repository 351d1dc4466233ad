"""What a configuration does to a tensor, in standard ONNX ops that exist at every opset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from hmct_track.errors import ModelError
from hmct_track.model.builder import Builder
from hmct_track.model.calibration_node import check_channels
from hmct_track.model.fakequant import clip_bounds
from hmct_track.types import BiasShift, CalibrationNode, Effect, QuantParams

# Adding and taking off 1.5 * 2^(mantissa bits) rounds half to even in the arithmetic itself, at
# every opset; ONNX has Round only from opset 11. Exact here because values are clipped before.
_ROUNDER = {TensorProto.FLOAT: 1.5 * 2**23, TensorProto.DOUBLE: 1.5 * 2**52}
# From here on every number is an integer. Of the sign of a number that is nearer to zero, adding
# it and taking it off rounds as well: for values that are not clipped.
_WHOLE = {TensorProto.FLOAT: 2.0**23, TensorProto.DOUBLE: 2.0**52}

# onnxruntime's own operators, which are there at every opset of the model.
MICROSOFT = "com.microsoft"
_OPERATOR_TYPES = {"int8", "uint8", "int16", "uint16"}

_Shape = tuple[int | None, ...]


def add_quantizer(
    builder: Builder, node: CalibrationNode, params: QuantParams | None, shape: _Shape | None
) -> None:
    """Append what a calibration node does.

    Args:
        builder: where to.
        node: the calibration node.
        params: how it quantizes; None to pass its input through.
        shape: of its input, as far as it is known.

    Raises:
        ModelError: the input has not one channel for each scale, or each factor.
    """
    if params is None:
        # Runtimes drop an Identity; a renamed tensor would have to be renamed in bodies as well.
        builder.node("Identity", [node.input], node.output)
    elif params.factors:
        _add_equalized(builder, node, params, shape)
    elif params.qtype.name == "float16":
        half = builder.node("Cast", [node.input], to=TensorProto.FLOAT16)
        builder.node("Cast", [half], node.output, to=TensorProto.FLOAT)
    elif _has_operator(params):
        _quantize_dequantize(builder, node, params)
    else:
        _Quantizer(builder, node, params, shape).add()


def _add_equalized(
    builder: Builder, node: CalibrationNode, params: QuantParams, shape: _Shape | None
) -> None:
    """Quantize the input times factors, and divide by them."""
    factors, axis = np.array(params.factors, np.float32), params.factor_axis
    inner = replace(node, input=builder.name("times"), output=builder.name("quantized"))
    _per_channel(builder, node.name, "Mul", node.input, factors, axis, shape, inner.input)
    add_quantizer(builder, inner, replace(params, factors=()), shape)
    _per_channel(builder, node.name, "Div", inner.output, factors, axis, shape, node.output)


class _Quantizer:
    """``fakequant.fake_quantize`` of one node's input, in ops that exist at every opset."""

    def __init__(
        self, builder: Builder, node: CalibrationNode, params: QuantParams, shape: _Shape | None
    ) -> None:
        self._builder = builder
        self._node = node
        self._params = params
        self._rank = None if shape is None else len(shape)
        self._wide = params.qtype.bits > 16  # beyond the integers that float32 holds exactly
        self._dtype = TensorProto.DOUBLE if self._wide else TensorProto.FLOAT
        self._work = np.float64 if self._wide else np.float32
        self._checked = not params.is_per_channel
        if params.is_per_channel and shape is not None:
            check_channels(node.name, params.axis, len(params.scales), shape)
            self._checked = shape[params.axis] is not None

    def add(self) -> None:
        scales: NDArray[Any] = np.array(self._params.scales, np.float32).astype(self._work)
        bounds: list[NDArray[Any]] = [b.astype(self._work) for b in clip_bounds(self._params)]
        low, high = bounds
        x = self._op("Cast", self._node.input, to=self._dtype) if self._wide else self._node.input
        if self._params.effect is Effect.CLIP_ONLY:
            self._finish(self._fit(self._clip(x, low * scales, high * scales)))
            return
        x = self._op("Div", x, self._constant(np.where(scales == 0, 1, scales)))
        if self._params.effect is Effect.ROUND_ONLY:
            # Without steps there is nothing to round to: the value stays, times 1.
            reach = np.where(scales == 0, 0, _WHOLE[self._dtype])
            x = self._round_any(self._fit(x), reach)
            scales = np.where(scales == 0, 1, scales)
        else:
            x = self._fit(self._clip(x, low, high))
            rounder = self._scalar(_ROUNDER[self._dtype])
            x = self._op("Sub", self._op("Add", x, rounder), rounder)
        self._finish(x, self._constant(scales))

    def _finish(self, x: str, scale: str | None = None) -> None:
        """Give out ``x``, or its product with ``scale``, as float32."""
        last = "Mul" if scale else "Identity"
        inputs = [x, scale] if scale else [x]
        if self._wide:
            x = self._op(last, *inputs)
            last, inputs = "Cast", [x]
        to = {"to": TensorProto.FLOAT} if self._wide else {}
        self._builder.node(last, inputs, self._node.output, label=self._node.name, **to)

    def _clip(self, x: str, low: NDArray[Any], high: NDArray[Any]) -> str:
        return self._op("Min", self._op("Max", x, self._constant(low)), self._constant(high))

    def _round_any(self, x: str, reach: NDArray[Any]) -> str:
        """``x`` rounded where it is below ``reach``; numbers from ``_WHOLE`` on are integers."""
        sign = self._op("Mul", self._op("Sign", x), self._scalar(_WHOLE[self._dtype]))
        rounded = self._op("Sub", self._op("Add", x, sign), sign)
        below = self._op("Less", self._op("Abs", x), self._constant(reach))
        return self._op("Where", below, rounded, x)

    def _fit(self, x: str) -> str:
        """Fail at run time where ``x`` has another shape than the input."""
        if self._checked:
            return x
        # Broadcasting has repeated the tensor if it has one channel; then it does not fit any more.
        return self._op("Reshape", x, self._op("Shape", self._node.input))

    def _op(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self._builder.node(op, inputs, label=self._node.name, **attributes)

    def _scalar(self, value: float) -> str:
        return self._builder.constant(np.array(value, self._work))

    def _constant(self, values: NDArray[Any]) -> str:
        """One value, or one per channel in a shape that broadcasts."""
        values = values.astype(self._work)
        if len(values) == 1 or np.all(values == values[0]):
            return self._builder.constant(values[:1].reshape(()))
        axis, node = self._params.axis, self._node
        return _along_axis(self._builder, values, axis, self._rank, node.input, node.name)


def _has_operator(params: QuantParams) -> bool:
    """Whether onnxruntime quantizes in one operator what ``params`` says, for a float tensor."""
    zero = params.zero_points[0] if params.zero_points else 0
    return (
        params.qtype.name in _OPERATOR_TYPES
        and params.effect is Effect.BOTH
        and not params.is_per_channel
        and params.scales[0] > 0
        and params.qtype.qmin <= zero <= params.qtype.qmax
    )


def _quantize_dequantize(builder: Builder, node: CalibrationNode, params: QuantParams) -> None:
    """The formula in two ops instead of six; NaN, which no integer is, becomes the smallest."""
    zero = params.zero_points[0] if params.zero_points else 0
    by = [
        builder.constant(np.array(params.scales[0], np.float32)),
        builder.constant(np.array(zero, params.qtype.name)),
    ]
    q = builder.node("QuantizeLinear", [node.input, *by], label=node.name, domain=MICROSOFT)
    builder.node("DequantizeLinear", [q, *by], node.output, label=node.name, domain=MICROSOFT)


def add_shift(
    builder: Builder, name: str, source: str, target: str, shift: BiasShift, shape: _Shape | None
) -> None:
    """Append the correction of a general node's output.

    Args:
        builder: where to.
        name: the general node.
        source: its output as it is.
        target: the tensor to give out.
        shift: what to add.
        shape: of the output, as far as it is known.

    Raises:
        ModelError: the output has not one channel for each value.
    """
    values = np.array(shift.values, np.float32)
    _per_channel(builder, name, "Add", source, values, shift.axis, shape, target)


def check_fit(name: str, count: int, axis: int, shape: _Shape | None) -> None:
    """Complain if a tensor has not one channel for each of several values.

    Raises:
        ModelError: the axis is outside ``shape``, or is known to have another number of channels.
    """
    if count <= 1 or shape is None:
        return
    if not -len(shape) <= axis < len(shape) or shape[axis] not in (None, count):
        raise ModelError(
            f"node {name!r}: {count} values along axis {axis} do not fit a tensor of shape "
            f"{list(shape)}"
        )


def _per_channel(
    builder: Builder,
    name: str,
    op: str,
    source: str,
    values: NDArray[np.float32],
    axis: int,
    shape: _Shape | None,
    target: str,
) -> None:
    """Append an op of a tensor and one value, or one per channel."""
    check_fit(name, len(values), axis, shape)
    if len(values) == 1:
        builder.node(op, [source, builder.constant(values.reshape(()))], target, label=name)
        return
    rank = None if shape is None else len(shape)
    by = _along_axis(builder, values, axis, rank, source, name)
    if shape is not None and shape[axis] is not None:
        builder.node(op, [source, by], target, label=name)
        return
    # Broadcasting has repeated the tensor if it has one channel; then it does not fit any more.
    found = builder.node(op, [source, by], label=name)
    like = builder.node("Shape", [source], label=name)
    builder.node("Reshape", [found, like], target, label=name)


def _along_axis(
    builder: Builder, values: np.ndarray, axis: int, rank: int | None, source: str, label: str
) -> str:
    """``values`` in a shape that broadcasts along ``axis`` of the tensor ``source``."""
    if axis >= 0 and rank is None:
        # Broadcasting aligns from the right: as many ones behind as the rank at run time asks for.
        shape = builder.node("Shape", [builder.node("Shape", [source])])
        behind = builder.node("Sub", [shape, builder.constant(np.array([axis + 1], np.int64))])
        one = onnx.numpy_helper.from_array(np.array([1], np.int64))
        ones = builder.node("ConstantOfShape", [behind], label=label, value=one)
        count = builder.constant(np.array([len(values)], np.int64))
        target = builder.node("Concat", [count, ones], axis=0)
        return builder.node("Reshape", [builder.constant(values), target])
    trailing = -axis - 1 if axis < 0 or rank is None else rank - axis - 1
    return builder.constant(values.reshape(-1, *[1] * trailing))
