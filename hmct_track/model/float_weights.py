"""The float values of weights that a quantized model holds as integers."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from hmct_track.errors import ModelError
from hmct_track.model.fakequant import clip_bounds
from hmct_track.types import QuantParams

_SUFFIXES = ("_quantized", "_q", "_int8", "_DequantizeLinear_Output", "_dequantized", "_dq")
_TOLERANCE = 1.001
"""Of a step: what float32 arithmetic of the quantizer may add to it."""


class FloatWeights:
    """Looks up constants of a float model by name, and if that fails by shape and values."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._by_name: dict[str, NDArray[Any]] = {}
        self._by_shape: dict[tuple[int, ...], list[NDArray[Any]]] = defaultdict(list)
        for name, tensor in written_constants(model.graph).items():
            if tensor.data_type == onnx.TensorProto.FLOAT:
                self._by_name[name] = array = constant_values(tensor)
                self._by_shape[array.shape].append(array)

    def find(
        self, integers: str, target: str, held: NDArray[np.float32], params: QuantParams
    ) -> NDArray[np.float32] | None:
        """The float values that became ``held``; None if no constant comes within a step of it.

        Args:
            integers: name of the integer constant.
            target: name of the tensor that it is dequantized to.
            held: the dequantized values.
            params: how they were quantized.
        """
        for name in (integers, target):
            stems = [name, *(name.removesuffix(s) for s in _SUFFIXES if name.endswith(s))]
            for stem in stems:
                value = self._by_name.get(stem)
                if value is not None and distance_in_steps(value, held, params) <= _TOLERANCE:
                    return value
        alike = self._by_shape[held.shape]
        distances = [distance_in_steps(value, held, params) for value in alike]
        if not distances or min(distances) > _TOLERANCE:
            return None
        # Among several that fit (small biases) the one whose values are nearest.
        fitting = [v for v, d in zip(alike, distances, strict=True) if d <= _TOLERANCE]
        return min(fitting, key=lambda value: float(np.abs(value - held).sum()))


def distance_in_steps(value: NDArray[Any], held: NDArray[np.float32], params: QuantParams) -> float:
    """The largest distance of clipped float values from quantized ones, in steps."""
    if value.shape != held.shape:
        return np.inf
    scales = along_axis(np.array(params.scales, np.float64), params, held.ndim)
    low, high = (
        along_axis(bound.astype(np.float64), params, held.ndim) * scales
        for bound in clip_bounds(params)
    )
    clipped = np.clip(value.astype(np.float64), low, high)
    # A bias has so many steps that float32, in which it was quantized, does not hold them all.
    distance = np.abs(clipped - held) - np.abs(clipped) * 2**-22
    return float((distance / np.where(scales == 0, 1, scales)).max(initial=0))


def along_axis(values: NDArray[Any], params: QuantParams, rank: int) -> NDArray[Any]:
    """One value per scale, in a shape that broadcasts to a tensor of ``rank`` dimensions."""
    shape = [1] * rank
    if params.is_per_channel:
        shape[params.axis] = len(params.scales)
    return values.reshape(shape)


def constant_values(tensor: onnx.TensorProto) -> NDArray[Any]:
    """The values of a constant.

    Raises:
        ModelError: they are not as many as its shape says.
    """
    try:
        values: NDArray[Any] = numpy_helper.to_array(tensor)
    except ValueError as error:
        raise ModelError(f"constant {tensor.name!r} is broken: {error}") from error
    return values


def written_constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Constants by tensor name: initializers, Constant nodes, and these behind Identity nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
        elif node.op_type == "Constant":
            value = helper.get_attribute_value(node.attribute[0])
            if isinstance(value, onnx.TensorProto):
                found[node.output[0]] = value
            elif isinstance(value, float | int):
                dtype = np.float32 if isinstance(value, float) else np.int64
                found[node.output[0]] = numpy_helper.from_array(np.array(value, dtype))
    return found
