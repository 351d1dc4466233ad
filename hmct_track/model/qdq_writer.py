"""A configuration as a QDQ model: QuantizeLinear and DequantizeLinear, as other tools read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hmct_track.model.builder import Builder
from hmct_track.model.fakequant import clip_bounds
from hmct_track.model.graph import is_calibration, outer_inputs
from hmct_track.model.horizon_ops import lower_horizon_op
from hmct_track.model.onnx_io import LARGE, Skeleton, fill_skeleton
from hmct_track.model.planned import source_of, written_params
from hmct_track.model.quantizer import MICROSOFT
from hmct_track.model.reader import QuantModel
from hmct_track.types import CalibrationNode, Effect, QuantConfig, QuantParams

_STANDARD_16 = 21
"""The opset from which the standard operators know 16 bits."""
_STANDARD_AXIS = 13
_STANDARD = 10
_TINY = float(np.finfo(np.float32).tiny)
_Array = NDArray[np.generic]


def qdq_model(model: QuantModel, config: QuantConfig) -> tuple[Skeleton, list[str]]:
    """The model in ``config`` with a QuantizeLinear and DequantizeLinear for each quantizer.

    Weights are integers behind a DequantizeLinear. Float16 is a pair of casts. Where the operators
    of the opset do not know a type, onnxruntime's of the domain ``com.microsoft`` are used. Types
    of other widths than 8 and 16 bits stand in the next wider one, clipped to their range, which
    gives the same values.

    Returns:
        The model, and what the format cannot say, a line each.
    """
    return _Writer(model, config).write()


@dataclass
class _Writer:
    model: QuantModel
    config: QuantConfig
    unsaid: list[str] = field(default_factory=list)

    def write(self) -> tuple[Skeleton, list[str]]:
        source = self.model.proto
        self._proto = onnx.ModelProto()
        self._proto.CopyFrom(source)
        graph = self._proto.graph
        del graph.node[:]
        self._weights: dict[str, _Array] = dict(self.model.skeleton.weights)
        self._small = {t.name: t for t in source.graph.initializer}
        self._builder = Builder(graph, self.model.opset)
        self._kept = {value.name for value in graph.output}
        for node in source.graph.node:
            self._kept.update(outer_inputs(node))
        self._renamed: dict[str, str] = {}
        self.unsaid += [f"node {name!r}: a shift of its output" for name in self.config.shifts]
        for node, name in zip(source.graph.node, self.model.node_names, strict=True):
            self._add(node, name)
        self._imports()
        self._drop_unused()
        return fill_skeleton(self._proto, self._weights, self.model.path), self.unsaid

    def _add(self, node: onnx.NodeProto, name: str) -> None:
        if is_calibration(node):
            self._calibration(self.model.calibration_by_name[name])
            return
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = name
        for position, tensor in enumerate(copy.input):
            copy.input[position] = self._renamed.get(tensor, tensor)
        if node.domain == "horizon":
            lower_horizon_op(self._builder, copy, name)
        else:
            self._proto.graph.node.append(copy)

    def _calibration(self, node: CalibrationNode) -> None:
        params = written_params(node, self.config)
        source = source_of(node, self.config)
        source = self._renamed.get(source, source)
        if params.effect is not Effect.BOTH or params.factors:
            self.unsaid.append(f"calibration node {node.name!r}: one effect alone, or factors")
        if params.qtype.name == "float32":
            self._pass(source, node.output)
        elif params.qtype.name == "float16":
            half = self._builder.node("Cast", [source], label=node.name, to=TensorProto.FLOAT16)
            self._builder.node("Cast", [half], node.output, label=node.name, to=TensorProto.FLOAT)
        else:
            self._integer(node, source, params)

    def _pass(self, source: str, target: str) -> None:
        """Let what reads ``target`` read ``source``, where that is possible."""
        if target in self._kept:
            self._builder.node("Identity", [source], target)
        else:
            self._renamed[target] = source

    def _integer(self, node: CalibrationNode, source: str, params: QuantParams) -> None:
        held = self._values(source)
        container = _container(params)
        if container != params.qtype.name and held is None:
            self.unsaid.append(
                f"calibration node {node.name!r}: {params.qtype} is {container} behind a clip"
            )
            source = self._clipped(node, source, params)
        by = self._scale(node.name, params, container)
        given: dict[str, Any] = {"axis": params.axis} if params.is_per_channel else {}
        domain = self._domain(params, container)
        if domain is not None:
            given["domain"] = domain
        if held is None:
            source = self._node("QuantizeLinear", [source, *by], f"{node.name}_q", node.name, given)
        else:
            integers = _integers(held, params).astype(container)
            source = self._constant(f"{node.name}_quantized", integers)
        self._node("DequantizeLinear", [source, *by], node.output, f"{node.name}_dq", given)

    def _node(
        self, op: str, inputs: list[str], output: str, name: str, given: dict[str, Any]
    ) -> str:
        self._proto.graph.node.append(helper.make_node(op, inputs, [output], name=name, **given))
        return output

    def _clipped(self, node: CalibrationNode, source: str, params: QuantParams) -> str:
        """The tensor clipped to the range of a type that has no integers of its own width."""
        shape = [-1] + [1] * self._behind(node, params) if params.is_per_channel else []
        scales = np.array(params.scales, np.float32)
        bounds = [(b.astype(np.float32) * scales).reshape(shape) for b in clip_bounds(params)]
        low, high = (self._builder.constant(b) for b in bounds)
        above = self._builder.node("Max", [source, low], label=node.name)
        return self._builder.node("Min", [above, high], label=node.name)

    def _behind(self, node: CalibrationNode, params: QuantParams) -> int:
        """Dimensions behind the channel axis; of activations per channel that is (N, C, H, W)."""
        return -params.axis - 1 if params.axis < 0 else max(3 - params.axis, 0)

    def _scale(self, name: str, params: QuantParams, container: str) -> list[str]:
        scales = np.maximum(np.array(params.scales, np.float32), _TINY)
        zeros = np.zeros(len(scales), np.int64) + np.array(params.zero_points or 0, np.int64)
        shape = [-1] if params.is_per_channel else []
        found = [self._constant(f"{name}_scale", scales.reshape(shape))]
        if container != "int32":
            zero = zeros.astype(container).reshape(shape)
            found.append(self._constant(f"{name}_zero_point", zero))
        return found

    def _constant(self, name: str, value: _Array) -> str:
        tensor = numpy_helper.from_array(value, name)
        if value.nbytes > LARGE:
            self._weights[name] = value
            tensor = _placeholder(tensor, value)
        self._proto.graph.initializer.append(tensor)
        return name

    def _values(self, name: str) -> NDArray[np.float32] | None:
        """The values of a float initializer; None if it is none."""
        tensor = self._small.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            return None
        if name in self.model.weights:
            return np.asarray(self.model.weights[name], np.float32)
        values: NDArray[np.float32] = numpy_helper.to_array(tensor)
        return values

    def _domain(self, params: QuantParams, container: str) -> str | None:
        """The domain of the operators; None for the standard one."""
        needed = _STANDARD_AXIS if params.is_per_channel else _STANDARD
        if "16" in container:
            needed = _STANDARD_16
        return None if self.model.opset >= needed else MICROSOFT

    def _imports(self) -> None:
        kept = [o for o in self._proto.opset_import if o.domain != "horizon"]
        used = any(node.domain == MICROSOFT for node in self._proto.graph.node)
        if used and not any(o.domain == MICROSOFT for o in kept):
            kept.append(helper.make_opsetid(MICROSOFT, 1))
        copies = [onnx.OperatorSetIdProto.FromString(o.SerializeToString()) for o in kept]
        del self._proto.opset_import[:]
        self._proto.opset_import.extend(copies)
        # Types of tensors between nodes may name what is not there any more.
        del self._proto.graph.value_info[:]

    def _drop_unused(self) -> None:
        """Drop the float weights that integers stand for."""
        graph = self._proto.graph
        used = self._kept | {name for node in graph.node for name in node.input}
        for node in graph.node:
            used.update(outer_inputs(node))
        kept = [t for t in graph.initializer if t.name in used]
        copies = [onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
        del graph.initializer[:]
        graph.initializer.extend(copies)
        names = {t.name for t in copies}
        self._weights = {n: w for n, w in self._weights.items() if n in names}


def _container(params: QuantParams) -> str:
    bits = params.qtype.bits
    width = 8 if bits <= 8 else 16 if bits <= 16 else 32
    return f"{'' if params.qtype.is_signed else 'u'}int{width}"


def _integers(values: NDArray[np.float32], params: QuantParams) -> NDArray[np.int64]:
    """``clip(round(x / scale) + zero_point, qmin, qmax)``; where the scale is 0, the zero point."""
    shape = [1] * values.ndim
    if params.is_per_channel:
        shape[params.axis] = len(params.scales)
    work = np.float64 if params.qtype.bits > 16 else np.float32
    scales = np.array(params.scales, np.float32).astype(work).reshape(shape)
    zeros = np.zeros(len(params.scales), np.int64) + np.array(params.zero_points or 0, np.int64)
    low, high = (bound.reshape(shape) for bound in clip_bounds(params))
    steps = np.rint(values.astype(work) / np.where(scales == 0, 1, scales))
    found = np.where(scales == 0, 0, np.clip(steps, low, high)).astype(np.int64)
    return found + zeros.reshape(shape)


def _placeholder(tensor: onnx.TensorProto, value: _Array) -> onnx.TensorProto:
    """The tensor without its values, which are kept beside the graph."""
    made = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    made.data_location = TensorProto.EXTERNAL
    for key, given in (("location", "held-in-memory"), ("length", str(value.nbytes))):
        entry = made.external_data.add()
        entry.key, entry.value = key, given
    return made
