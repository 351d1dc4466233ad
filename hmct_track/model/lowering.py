"""A model and a configuration in; a standard ONNX model out that any runtime can execute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from hmct_track.errors import ModelError, UnknownNodeError, UsageError
from hmct_track.model.builder import Builder
from hmct_track.model.calibration_node import check_channels
from hmct_track.model.fakequant import fake_quantize, with_type
from hmct_track.model.flow import Flow
from hmct_track.model.graph import draws_random, every_node, is_calibration
from hmct_track.model.horizon_ops import HORIZON_OPS, lower_horizon_op
from hmct_track.model.inference import dtype_name, inferred_graph, spec_of
from hmct_track.model.quantizer import MICROSOFT, add_quantizer, add_shift, check_fit
from hmct_track.model.reader import QuantModel
from hmct_track.types import (
    CalibrationNode,
    QuantConfig,
    Quantization,
    QuantParams,
    State,
    TensorSpec,
)


@dataclass(frozen=True, eq=False)
class LoweredModel:
    """A serialized standard ONNX model; the values of large constants are supplied beside it."""

    proto: bytes
    weights: Mapping[str, str]
    """Constant to the weight of the model that it is."""
    arrays: Mapping[str, NDArray[Any]]
    """Constant to its value, where that is a quantized weight."""
    outputs: tuple[str, ...]


class Lowering:
    """Lowers one model for many configurations; what they share is computed once."""

    def __init__(self, model: QuantModel) -> None:
        self.model = model
        self.flow = Flow(model.proto.graph)
        self._initializers = {t.name: t for t in model.proto.graph.initializer}
        self._quantized = _Quantized()
        self._for_shapes: dict[Any, dict[str, TensorSpec]] = {}
        self.draws_random = _check_random(model.proto)
        """Whether the model draws random numbers, if by a seed."""
        for node, name in zip(model.proto.graph.node, model.node_names, strict=True):
            own = node.domain == "horizon" and not is_calibration(node)
            if own and node.op_type not in HORIZON_OPS:
                raise ModelError(
                    f"node {name!r}: op {node.op_type!r} of the horizon domain is not known; "
                    f"known are HzCalibration, {', '.join(sorted(HORIZON_OPS))}"
                )
            if own and not (node.input and node.output):
                raise ModelError(f"node {name!r} ({node.op_type}) has no input or no output")

    def check_shifts(self, config: QuantConfig) -> None:
        """Complain of corrections that mean nothing in this model.

        Raises:
            UnknownNodeError: there is no such general node.
            ModelError: it computes from constants alone, or its output is not float32, or the
                values are none.
        """
        if not config.shifts:
            return
        general = {node.name: node for node in self.model.general_nodes}
        for name, shift in config.shifts.items():
            output = general[name].outputs[0] if name in general else None
            if output is None:
                raise UnknownNodeError(name, general, what="general node")
            spec = self.specs.get(output)
            if output in self.flow.constants or (spec and spec.dtype != "float32"):
                raise ModelError(f"node {name!r} gives no float32 data that a shift could correct")
            try:
                shift.check()
            except UsageError as error:
                raise ModelError(f"node {name!r} cannot be shifted so: {error}") from error

    def lower(self, config: QuantConfig, outputs: Sequence[str] | None = None) -> LoweredModel:
        """The model as ``config`` has it, in standard ONNX.

        Args:
            config: what each calibration node does.
            outputs: the tensors to give out, in this order; the model's own by default.

        Raises:
            ModelError: a node cannot do what the configuration asks.
            UnknownNodeError: it corrects a node that the model does not have.
        """
        self.check_shifts(config)
        return self._lower(config, outputs, shapes=self.specs)

    def lower_part(
        self,
        config: QuantConfig,
        steps: Sequence[int],
        inputs: Sequence[str],
        outputs: Sequence[str],
        known: Mapping[str, TensorSpec] | None = None,
    ) -> LoweredModel:
        """Some steps of the model as a model of their own.

        Args:
            config: what each calibration node does.
            steps: the steps, in an order in which they can be computed; see `Flow`.
            inputs: the tensors that they read and do not make, but for constants.
            outputs: the tensors to give out.
            known: specs of tensors for some sample; types that inference does not know are
                taken from here.

        Raises:
            ModelError: a calibration node cannot do what the configuration asks.
        """
        own = {value.name: value for value in self.model.proto.graph.input}
        values = [own[n] if n in own else self._value_info(n, known or {}) for n in inputs]
        part = _Part(self, config, self.specs, values)
        for step in steps:
            part.add(step)
        return part.finish([onnx.ValueInfoProto(name=name) for name in outputs])

    @cached_property
    def specs(self) -> dict[str, TensorSpec]:
        """Types and shapes of the float model's tensors, as far as inference knows them."""
        return self._infer({})

    def specs_for(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, TensorSpec]:
        """Types and shapes of the float model's tensors for inputs of these shapes."""
        known = all(spec.shape == shapes.get(spec.name, spec.shape) for spec in self.model.inputs)
        if known:
            return dict(self.specs)
        key = tuple(shapes.items())
        if key not in self._for_shapes:
            self._for_shapes = {key: self._infer(shapes)}
        return dict(self._for_shapes[key])

    @cached_property
    def _float_proto(self) -> bytes:
        """The float model, serialized, to be looked at."""
        # All nodes, those as well that no output of the model depends on: they can be asked for.
        part = _Part(self, QuantConfig(), {}, self.model.proto.graph.input)
        for step in self.flow.steps(self.flow.makers):
            part.add(step)
        # Outputs are typed by what makes them: a declaration may say anything.
        names = (value.name for value in self.model.proto.graph.output)
        return part.finish([onnx.ValueInfoProto(name=name) for name in names]).proto

    def _infer(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, TensorSpec]:
        declared = {v.name: spec_of(v) for v in self.model.proto.graph.output}
        lowered = onnx.load_from_string(self._float_proto)
        for value in lowered.graph.input:
            for dim, size in zip(
                value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False
            ):
                dim.dim_value = size
        inferred = inferred_graph(lowered)
        if inferred is None:  # the graph may run even where shapes are unknown
            return {name: spec for name, spec in declared.items() if spec}
        values = (*inferred.value_info, *inferred.input, *inferred.output)
        found = {value.name: spec for value in values if (spec := spec_of(value))}
        for constant in inferred.initializer:
            dtype = dtype_name(constant.data_type)
            found[constant.name] = TensorSpec(constant.name, dtype, tuple(constant.dims))
        for name, spec in declared.items():
            if spec and found.setdefault(name, spec).dtype != spec.dtype:
                raise ModelError(
                    f"output {name!r} is declared {spec.dtype} but the graph makes it "
                    f"{found[name].dtype}; export the model again"
                )
        return found

    def _value_info(self, name: str, known: Mapping[str, TensorSpec]) -> onnx.ValueInfoProto:
        spec = self.specs.get(name) or TensorSpec(name, known[name].dtype, None)
        element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
        return onnx.helper.make_tensor_value_info(name, element, spec.shape)

    def spec(self, tensor: str) -> TensorSpec | None:
        """Type and shape of a tensor of the float model, where inference knows them."""
        return self.specs.get(tensor)

    def _lower(
        self, config: QuantConfig, outputs: Sequence[str] | None, shapes: dict[str, TensorSpec]
    ) -> LoweredModel:
        graph = self.model.proto.graph
        if outputs is None:
            given = list(graph.output)
        else:
            # A value without a type takes the one that the runtime infers.
            given = [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(outputs)]
        part = _Part(self, config, shapes, graph.input)
        for step in self.flow.steps(value.name for value in given):
            part.add(step)
        return part.finish(given)


class _Quantized:
    """Quantized weights, as long as some session holds them."""

    def __init__(self) -> None:
        self._arrays: WeakValueDictionary[Any, NDArray[Any]] = WeakValueDictionary()

    def of(self, name: str, weight: NDArray[Any], params: QuantParams) -> NDArray[Any]:
        """What a weight is with these parameters."""
        key = name, params
        array = self._arrays.get(key)
        if array is None:
            array = fake_quantize(np.asarray(weight, np.float32), params)
            self._arrays[key] = array
        return array


class _Part:
    """A lowered model while it is put together."""

    def __init__(
        self,
        lowering: Lowering,
        config: QuantConfig,
        shapes: Mapping[str, TensorSpec],
        inputs: Iterable[onnx.ValueInfoProto],
    ) -> None:
        source = lowering.model.proto
        self._model = lowering.model
        self._flow = lowering.flow
        self._constants = lowering._initializers
        self._config = config
        self._shapes = shapes
        self._quantized = lowering._quantized
        self._lowered = onnx.ModelProto(ir_version=source.ir_version)
        self._lowered.opset_import.extend(o for o in source.opset_import if o.domain != "horizon")
        if not any(o.domain == MICROSOFT for o in self._lowered.opset_import):
            self._lowered.opset_import.add(domain=MICROSOFT, version=1)
        self._lowered.functions.extend(source.functions)
        graph = self._lowered.graph
        graph.name = source.graph.name or "lowered"
        graph.input.extend(inputs)
        graph.sparse_initializer.extend(source.graph.sparse_initializer)
        self._builder = Builder(graph, self._model.opset)
        self._weights: dict[str, str] = {}
        self._arrays: dict[str, NDArray[Any]] = {}
        self._there: set[str] = set()

    def finish(self, outputs: Iterable[onnx.ValueInfoProto]) -> LoweredModel:
        self._lowered.graph.output.extend(outputs)
        names = tuple(value.name for value in self._lowered.graph.output)
        for name in names:
            self._supply(name)
        return LoweredModel(self._lowered.SerializeToString(), self._weights, self._arrays, names)

    def add(self, step: int) -> None:
        """Append a node, and before it the constants that it reads."""
        node, writes = self._flow.nodes[step], self._flow.writes(step)
        if self._there.issuperset(writes):
            return
        self._there.update(writes)
        if is_calibration(node) and self._fold(step):
            return
        for name in self._flow.reads(step):
            self._supply(name)
        if is_calibration(node):
            calibration = self._calibration(step)
            spec = self._shapes.get(calibration.input)
            shape = spec.shape if spec else None
            params = effective_params(calibration, self._config)
            add_quantizer(self._builder, calibration, params, shape)
        else:
            self._general(self._shifted(node, step), step)

    def _general(self, node: onnx.NodeProto, step: int) -> None:
        if node.domain == "horizon":
            lower_horizon_op(self._builder, node, self._model.node_names[step])
        else:
            self._lowered.graph.node.append(node)
        name, target = self._model.node_names[step], self._flow.nodes[step].output[0]
        if node.output[0] != target:
            spec = self._shapes.get(target)
            shift, shape = self._config.shifts[name], spec.shape if spec else None
            add_shift(self._builder, name, node.output[0], target, shift, shape)

    def _shifted(self, node: onnx.NodeProto, step: int) -> onnx.NodeProto:
        """The node, its first output under another name if the configuration shifts it."""
        if self._model.node_names[step] not in self._config.shifts:
            return node
        renamed = onnx.NodeProto()
        renamed.CopyFrom(node)
        renamed.output[0] = self._builder.name(node.output[0])
        return renamed

    def _calibration(self, step: int) -> CalibrationNode:
        return self._model.calibration_by_name[self._model.node_names[step]]

    def _supply(self, name: str) -> None:
        """Bring a tensor here if it is a constant."""
        if name in self._there or name not in self._flow.constants:
            return
        if name in self._constants:
            self._there.add(name)
            self._constant(name, self._constants[name])
        else:
            for step in self._flow.makers_of(name):
                self.add(step)

    def _constant(self, name: str, source: onnx.TensorProto) -> None:
        tensor = self._lowered.graph.initializer.add()
        tensor.CopyFrom(source)
        tensor.name = name
        if source.name in self._model.weights:
            self._weights[name] = source.name

    def _fold(self, step: int) -> bool:
        """Quantize a weight here rather than in each session; False where that is not possible."""
        calibration = self._calibration(step)
        stored = calibration.stored if is_stored(calibration, self._config) else None
        source = self._constants.get(stored or calibration.input)
        if source is None or source.data_type != TensorProto.FLOAT:
            return False
        params = effective_params(calibration, self._config)
        if params is None:
            self._constant(calibration.output, source)
            return True
        if source.name not in self._model.weights:
            return False
        if params.is_per_channel:
            check_channels(calibration.name, params.axis, len(params.scales), source.dims)
        check_fit(calibration.name, len(params.factors), params.factor_axis, tuple(source.dims))
        self._constant(calibration.output, source)
        del self._weights[calibration.output]
        weight = self._model.weights[source.name]
        self._arrays[calibration.output] = self._quantized.of(source.name, weight, params)
        return True


def _check_random(proto: onnx.ModelProto) -> bool:
    """Whether nodes draw random numbers; those without a seed are refused."""
    random = [
        node
        for nodes in (proto.graph.node, *(function.node for function in proto.functions))
        for node in every_node(nodes)
        if draws_random(node)
    ]
    for node in random:
        if not any(a.name == "seed" for a in node.attribute):
            raise ModelError(
                f"node {node.name or node.output[0]!r} ({node.op_type}) draws random numbers "
                "without a seed, so no number about the model would mean anything; export the "
                "model for inference"
            )
    return bool(random)


def effective_params(node: CalibrationNode, config: QuantConfig) -> QuantParams | None:
    """How ``node`` quantizes in a configuration; None if it passes a tensor through.

    Raises:
        ModelError: it is to take another type but has no thresholds, or is given parameters that
            are none.
    """
    state = config.state(node.name)
    if state is Quantization.OFF or node.fixed or node.is_correction or is_stored(node, config):
        return None
    if state is Quantization.AS_CALIBRATED and not node.enabled:
        return None
    params = _asked_for(node, state)
    return None if params.qtype.name == "float32" else params


def _asked_for(node: CalibrationNode, state: State) -> QuantParams:
    """The parameters that a state other than off means."""
    if isinstance(state, Quantization):
        return node.params
    if isinstance(state, QuantParams):
        try:
            state.check()
        except UsageError as error:
            raise ModelError(
                f"calibration node {node.name!r} cannot quantize so: {error}"
            ) from error
        return state
    try:
        return with_type(node.params, state)
    except ValueError as error:
        raise ModelError(
            f"calibration node {node.name!r} ({node.params.qtype}) cannot become {state}: {error}"
        ) from error


def is_stored(node: CalibrationNode, config: QuantConfig) -> bool:
    """Whether ``node`` gives out the quantized values that the model holds."""
    return node.stored is not None and config.state(node.name) is Quantization.AS_CALIBRATED
