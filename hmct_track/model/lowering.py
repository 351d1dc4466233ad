"""A model and a configuration in; a standard ONNX model out that any runtime can execute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, shape_inference

from hmct_track.errors import ModelError
from hmct_track.model.builder import Builder
from hmct_track.model.calibration_node import check_channels
from hmct_track.model.fakequant import clip_bounds, with_type
from hmct_track.model.horizon_ops import HORIZON_OPS, lower_horizon_op
from hmct_track.model.reader import QuantModel, is_calibration
from hmct_track.types import CalibrationNode, QuantConfig, Quantization, QuantParams, TensorSpec

# Adding and taking off 1.5 * 2^(mantissa bits) rounds half to even in the arithmetic itself, at
# every opset; ONNX has Round only from opset 11. Exact here because values are clipped before.
_ROUNDER = {TensorProto.FLOAT: 1.5 * 2**23, TensorProto.DOUBLE: 1.5 * 2**52}

_Shape = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class LoweredModel:
    """A serialized standard ONNX model; the weights it names are to be supplied beside it."""

    proto: bytes
    weights: tuple[str, ...]
    outputs: tuple[str, ...]


class Lowering:
    """Lowers one model for many configurations; what they share is computed once."""

    def __init__(self, model: QuantModel) -> None:
        self.model = model
        for node, name in zip(model.proto.graph.node, model.node_names, strict=True):
            own = node.domain == "horizon" and not is_calibration(node)
            if own and node.op_type not in HORIZON_OPS:
                raise ModelError(
                    f"node {name!r}: op {node.op_type!r} of the horizon domain is not known; "
                    f"known are HzCalibration, {', '.join(sorted(HORIZON_OPS))}"
                )

    def lower(self, config: QuantConfig, outputs: Sequence[str] | None = None) -> LoweredModel:
        """The model as ``config`` has it, in standard ONNX.

        Args:
            config: what each calibration node does.
            outputs: the tensors to give out, in this order; the model's own by default.

        Raises:
            ModelError: a calibration node cannot do what the configuration asks.
        """
        return self._lower(config, outputs, shapes=self._specs)

    @cached_property
    def _specs(self) -> dict[str, TensorSpec]:
        """Types and shapes of the float model's tensors, as far as inference knows them."""
        lowered = onnx.load_from_string(self._lower(QuantConfig(), None, shapes={}).proto)
        try:
            inferred = shape_inference.infer_shapes(lowered, data_prop=True)
        except shape_inference.InferenceError:  # the graph runs even where shapes are unknown
            return {}
        found = {}
        values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
        for value in values:
            tensor = value.type.tensor_type
            if tensor.elem_type:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
                dims = [d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim]
                shape = tuple(dims) if tensor.HasField("shape") else None
                found[value.name] = TensorSpec(value.name, dtype, shape)
        for constant in inferred.graph.initializer:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(constant.data_type).name
            found[constant.name] = TensorSpec(constant.name, dtype, tuple(constant.dims))
        return found

    def spec(self, tensor: str) -> TensorSpec | None:
        """Type and shape of a tensor of the float model, where inference knows them."""
        return self._specs.get(tensor)

    def _lower(
        self, config: QuantConfig, outputs: Sequence[str] | None, shapes: dict[str, TensorSpec]
    ) -> LoweredModel:
        source = self.model.proto
        lowered = onnx.ModelProto(ir_version=source.ir_version)
        lowered.opset_import.extend(o for o in source.opset_import if o.domain != "horizon")
        lowered.functions.extend(source.functions)
        graph = lowered.graph
        graph.name = source.graph.name or "lowered"
        graph.input.extend(source.graph.input)
        graph.initializer.extend(source.graph.initializer)
        graph.sparse_initializer.extend(source.graph.sparse_initializer)
        builder = Builder(graph, self.model.opset)
        for node, name in zip(source.graph.node, self.model.node_names, strict=True):
            if is_calibration(node):
                calibration = self.model.calibration_by_name[name]
                spec = shapes.get(calibration.input)
                _lower_calibration(builder, calibration, config, spec.shape if spec else None)
            elif node.domain == "horizon":
                lower_horizon_op(builder, node, name)
            else:
                graph.node.append(node)
        if outputs is None:
            graph.output.extend(source.graph.output)
        else:
            # A value without a type takes the one that the runtime infers.
            graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(outputs))
        weights = tuple(t.name for t in graph.initializer if t.name in self.model.weights)
        return LoweredModel(
            lowered.SerializeToString(), weights, tuple(value.name for value in graph.output)
        )


def effective_params(node: CalibrationNode, config: QuantConfig) -> QuantParams | None:
    """How ``node`` quantizes in a configuration; None if it passes a tensor through.

    Raises:
        ModelError: it is to take another type but has no thresholds.
    """
    state = config.state(node.name)
    if state is Quantization.OFF or node.fixed or _is_stored(node, config):
        return None
    if state is Quantization.AS_CALIBRATED and not node.enabled:
        return None
    if isinstance(state, Quantization):
        params = node.params
    else:
        try:
            params = with_type(node.params, state)
        except ValueError as error:
            raise ModelError(
                f"calibration node {node.name!r} ({node.params.qtype}) cannot become {state}: "
                f"{error}"
            ) from error
    return None if params.qtype.name == "float32" else params


def _is_stored(node: CalibrationNode, config: QuantConfig) -> bool:
    """Whether ``node`` gives out the quantized values that the model holds."""
    return node.stored is not None and config.state(node.name) is Quantization.AS_CALIBRATED


def _lower_calibration(
    builder: Builder, node: CalibrationNode, config: QuantConfig, shape: _Shape | None
) -> None:
    params = effective_params(node, config)
    if params is None:
        # Runtimes drop an Identity; a renamed tensor would have to be renamed in bodies as well.
        source = node.stored if node.stored and _is_stored(node, config) else node.input
        builder.node("Identity", [source], node.output)
    elif params.qtype.name == "float16":
        half = builder.node("Cast", [node.input], to=TensorProto.FLOAT16)
        builder.node("Cast", [half], node.output, to=TensorProto.FLOAT)
    else:
        _fake_quantize(builder, node, params, shape)


def _fake_quantize(
    builder: Builder, node: CalibrationNode, params: QuantParams, shape: _Shape | None
) -> None:
    """``fakequant.fake_quantize`` in ops that exist at every opset."""
    wide = params.qtype.bits > 16  # beyond the integers that float32 holds exactly
    dtype = TensorProto.DOUBLE if wide else TensorProto.FLOAT
    work = np.float64 if wide else np.float32
    scales = np.array(params.scales, np.float32).astype(work)
    low, high = clip_bounds(params)
    checked = not params.is_per_channel
    if params.is_per_channel and shape is not None:
        check_channels(node.name, params.axis, len(params.scales), shape)
        checked = shape[params.axis] is not None
    rank = None if shape is None else len(shape)

    def append(op: str, inputs: Sequence[str], output: str | None = None, **attrs: Any) -> str:
        return builder.node(op, inputs, output, label=node.name, **attrs)

    def constant(values: np.ndarray) -> str:
        if len(values) == 1 or np.all(values == values[0]):
            return builder.constant(values[:1].reshape(()).astype(work))
        return _along_axis(builder, values.astype(work), params.axis, rank, node)

    x = append("Cast", [node.input], to=dtype) if wide else node.input
    x = append("Div", [x, constant(np.where(scales == 0, 1, scales))])
    x = append("Min", [append("Max", [x, constant(low)]), constant(high)])
    if not checked:
        # Broadcasting has repeated the tensor if it has one channel; then it does not fit any more.
        x = append("Reshape", [x, append("Shape", [node.input])])
    rounder = builder.constant(np.array(_ROUNDER[dtype], work))
    x = append("Sub", [append("Add", [x, rounder]), rounder])
    if wide:
        x = append("Mul", [x, constant(scales)])
        append("Cast", [x], node.output, to=TensorProto.FLOAT)
    else:
        append("Mul", [x, constant(scales)], node.output)


def _along_axis(
    builder: Builder, values: np.ndarray, axis: int, rank: int | None, node: CalibrationNode
) -> str:
    """``values`` in a shape that broadcasts along ``axis`` of the node's input."""
    if axis >= 0 and rank is None:
        # Broadcasting aligns from the right: as many ones behind as the rank at run time asks for.
        shape = builder.node("Shape", [builder.node("Shape", [node.input])])
        behind = builder.node("Sub", [shape, builder.constant(np.array([axis + 1], np.int64))])
        one = onnx.numpy_helper.from_array(np.array([1], np.int64))
        ones = builder.node("ConstantOfShape", [behind], label=node.name, value=one)
        count = builder.constant(np.array([len(values)], np.int64))
        target = builder.node("Concat", [count, ones], axis=0)
        return builder.node("Reshape", [builder.constant(values), target])
    trailing = -axis - 1 if axis < 0 or rank is None else rank - axis - 1
    return builder.constant(values.reshape(-1, *[1] * trailing))
