"""A calibrated model in: what are its nodes, which quantize, and who feeds whom."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import onnx
from onnx import TensorProto, helper

from hmct_track.errors import ModelError, UnknownNodeError, UsageError
from hmct_track.model.attributes import parse_calibration
from hmct_track.model.calibration_node import check_channels
from hmct_track.model.graph import (
    constant_tensors,
    is_calibration,
    outer_inputs,
    subgraphs,
    unique_names,
)
from hmct_track.model.inference import dtype_name
from hmct_track.model.names import expand, expand_one
from hmct_track.model.onnx_io import Skeleton, SkeletonModel, make_skeleton, read_proto
from hmct_track.model.original import convert, warn_once
from hmct_track.model.qdq import Conversion, has_integer_ops
from hmct_track.types import (
    CalibrationKind,
    CalibrationNode,
    GeneralNode,
    QuantParams,
    TensorSpec,
)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class QuantModel(SkeletonModel):
    """A calibrated model: its graph, its weights, its general and its calibration nodes."""

    node_names: tuple[str, ...]
    """A unique name for each node of the graph, in its order; unnamed nodes are given one."""
    general_nodes: tuple[GeneralNode, ...]
    calibration_nodes: tuple[CalibrationNode, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def model_id(self) -> str:
        """Content hash of the model."""
        return self.skeleton.model_id

    @property
    def opset(self) -> int:
        """Version of the ONNX operator set."""
        return next(o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx"))

    @cached_property
    def general_by_name(self) -> dict[str, GeneralNode]:
        """General nodes by name."""
        return {node.name: node for node in self.general_nodes}

    @cached_property
    def calibration_by_name(self) -> dict[str, CalibrationNode]:
        """Calibration nodes by name."""
        return {node.name: node for node in self.calibration_nodes}

    @property
    def quantizable_nodes(self) -> tuple[GeneralNode, ...]:
        """General nodes that a calibration node feeds which can be switched."""
        return tuple(node for node in self.general_nodes if self._switchable(node))

    @property
    def switchable_calibrations(self) -> tuple[CalibrationNode, ...]:
        """Calibration nodes that can be switched by themselves."""
        return tuple(n for n in self.calibration_nodes if not n.fixed and n.goes_with is None)

    @property
    def corrections(self) -> tuple[CalibrationNode, ...]:
        """Those of constants (biases) that the quantizer changed by more than rounding."""
        return tuple(n for n in self.calibration_nodes if n.is_correction or n.goes_with)

    def _switchable(self, node: GeneralNode) -> tuple[str, ...]:
        by_name = self.calibration_by_name
        return tuple(name for name in node.calibration_nodes if not by_name[name].fixed)

    def expand(self, names: Iterable[str]) -> list[str]:
        """The nodes that names, patterns and module paths stand for (see `options.patterns`).

        A pattern stands for general nodes that can be quantized; where none matches, for
        calibration nodes; where none does either, for any node.

        Raises:
            UnknownNodeError: nothing has such a name.
        """
        quantizable = [node.name for node in self.quantizable_nodes]
        calibrations = [node.name for node in self.switchable_calibrations]
        groups = quantizable, calibrations, self.node_names
        found = (self._expanded(name, *groups) for name in names)
        return list(dict.fromkeys(name for group in found for name in group))

    def _expanded(self, name: str, *groups: Sequence[str]) -> list[str]:
        try:
            return expand(name, *groups)
        except UnknownNodeError as error:
            # The names of calibration nodes say nothing: those of their owners do. Conv_22 does
            # not mean Conv_2, Conv_2_weight does.
            owners = [
                n
                for n in self.general_nodes
                if n.calibration_nodes and re.search(rf"(?<!\w){re.escape(n.name)}(?![^\W_])", name)
            ]
            if not owners:
                raise
            owner = max(owners, key=lambda node: len(node.name))
            feeding = ", ".join(
                f"{c} ({self.calibration_by_name[c].kind})" for c in owner.calibration_nodes
            )
            more = f"those that feed {owner.name!r} are {feeding}"
            raise UnknownNodeError(name, self.node_names, more=more) from error

    def calibrations_of(self, name: str) -> tuple[str, ...]:
        """The calibration nodes that quantize a node: those that feed it, or itself.

        With a weight goes what the quantizer changed to make up for its rounding.

        Raises:
            UnknownNodeError: no node has this name.
            UsageError: no calibration node feeds it, or only such whose float values are lost.
        """
        if name in self.calibration_by_name:
            found: tuple[str, ...] = () if self.calibration_by_name[name].fixed else (name,)
        else:
            node = self.general_node(name)
            found = self._switchable(node)
            if not node.calibration_nodes:
                raise UsageError(
                    f"node {name!r} ({node.op_type}) cannot be quantized: no calibration node "
                    "feeds it"
                )
        if not found:
            raise UsageError(
                f"node {name!r} cannot be switched: the model holds its weight only as it was "
                "rounded; give the float model that was quantized (--float-model, float_model=)"
            )
        return (*found, *(name for owner in found for name in self._companions[owner]))

    def output_quantizers(self, name: str) -> tuple[str, ...]:
        """The calibration nodes that quantize what a general node gives out.

        Empty where nothing quantizes it. Where several nodes read it with quantizers of their own,
        all of them.

        Raises:
            UnknownNodeError: no general node has this name.
        """
        outputs = self.general_node(name).outputs
        return tuple(found for output in outputs for found in self._reading[output])

    @cached_property
    def _reading(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for node in self.switchable_calibrations:
            found[node.input].append(node.name)
        return found

    @cached_property
    def _companions(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for node in self.corrections:
            if node.goes_with:
                found[node.goes_with].append(node.name)
        return found

    def output_node(self, name: str) -> GeneralNode:
        """The one general node that a name, pattern or module path stands for.

        As in lists, those that can be quantized come first.

        Raises:
            UnknownNodeError: no general node has such a name.
            UsageError: several have, or a calibration node is meant.
        """
        if name in self.calibration_by_name:
            read_by = ", ".join(map(repr, self.calibration_by_name[name].consumers)) or "none"
            raise UsageError(
                f"{name!r} is a calibration node, and the output of a general node was expected; "
                f"those that read it: {read_by}"
            )
        quantizable = [node.name for node in self.quantizable_nodes]
        return self.general_by_name[expand_one(name, quantizable, list(self.general_by_name))]

    def general_node(self, name: str) -> GeneralNode:
        """The general node of this name.

        Raises:
            UnknownNodeError: no general node has this name.
        """
        if name not in self.general_by_name:
            known = [*self.general_by_name, *self.calibration_by_name]
            raise UnknownNodeError(name, known)
        return self.general_by_name[name]


def load_model(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    float_model: str | os.PathLike[str] | onnx.ModelProto | None = None,
    *,
    may_be_float: bool = False,
) -> QuantModel:
    """Read a calibrated model, or a QDQ model.

    Args:
        model_or_file: the model.
        float_model: the model that was quantized: it has the float values of weights that
            ``model_or_file`` holds as integers, and of what else the quantizer changed.
        may_be_float: whether a model without calibration nodes is accepted.

    Raises:
        ModelError: it cannot be read, has no calibration nodes, or holds what is not understood;
            or it was not made from the float model.
    """
    proto, path = read_proto(model_or_file)
    integer_ops = has_integer_ops(proto.graph)
    conversion = convert(proto, path, float_model)
    model = model_of(make_skeleton(proto, path), conversion)
    if not model.calibration_nodes and not may_be_float:
        raise ModelError(
            f"{path or 'the model'} has no calibration nodes (HzCalibration, or "
            "QuantizeLinear and DequantizeLinear), so there is nothing to switch on or off; "
            + (
                "its quantized operators compute in integers, so export it in QDQ format"
                if integer_ops
                else "make them with: hmct-debugger calibrate MODEL CALIBRATION_DATA "
                "-o calibrated_model.onnx"
            )
        )
    _tell_of_losses(model, conversion, float_model is not None)
    return model


def model_of(skeleton: Skeleton, conversion: Conversion | None = None) -> QuantModel:
    """The model whose graph this is.

    Args:
        skeleton: a graph with HzCalibration nodes.
        conversion: what became of it, if it was a QDQ model.

    Raises:
        ModelError: it holds what is not understood.
    """
    conversion = conversion or Conversion()
    graph = skeleton.proto.graph
    names = unique_names(graph.node)
    constants = constant_tensors(graph)
    consumers = _consumers(graph, names)
    general: list[GeneralNode] = []
    calibrations: list[CalibrationNode] = []
    odd: list[tuple[str, int]] = []
    calibration_of_tensor = {
        output: name
        for node, name in zip(graph.node, names, strict=True)
        if is_calibration(node)
        for output in node.output
    }
    written = {t.name: t for t in graph.initializer}
    for node, name in zip(graph.node, names, strict=True):
        _refuse_nested(node, name)
        if is_calibration(node):
            calibrations.append(
                _calibration_node(
                    node,
                    name,
                    len(calibrations),
                    constants,
                    consumers,
                    written,
                    odd,
                    conversion,
                )
            )
        elif node.op_type != "Constant":
            feeding = (
                calibration_of_tensor[i]
                for i in node.input
                if i in calibration_of_tensor and not conversion.corrected.get(i)
            )
            general.append(
                GeneralNode(
                    name,
                    len(general),
                    node.op_type,
                    tuple(node.input),
                    tuple(o for o in node.output if o),
                    tuple(dict.fromkeys(feeding)),
                )
            )
    if odd:
        name, constant = odd[0]
        LOG.warning(
            "calibration node %r says constant=%d but its input is %s; the graph decides%s",
            name,
            constant,
            "not a constant" if constant else "a constant",
            f" (as for {len(odd) - 1} other nodes)" if odd[1:] else "",
        )
    owners = {
        target: calibration_of_tensor.get(owner or "")
        for target, owner in conversion.corrected.items()
    }
    return QuantModel(
        skeleton,
        tuple(names),
        tuple(general),
        tuple(replace(node, goes_with=owners.get(node.output)) for node in calibrations),
        tuple(tensor_spec(value) for value in graph.input),
        tuple(tensor_spec(value) for value in graph.output),
    )


def _tell_of_losses(model: QuantModel, conversion: Conversion, searched: bool) -> None:
    """Say once which weights cannot be switched, and which activations are a guess."""
    subject = model.path or "the model"
    if conversion.assumed:
        warn_once(
            f"{subject} has quantizers that clip at zero and no Relu before them; one was put back "
            f"before {len(conversion.assumed)} of them, as quantization tools take it away. The "
            "float model tells for certain: --float-model (float_model=)"
        )
    names = [node.name for node in model.calibration_nodes if node.fixed]
    if not names:
        return
    if searched:
        hint = (
            "the quantizer changed them first (equalized channels, say), so that no constant of "
            "the float model rounds to them"
        )
    else:
        hint = "give the model that was quantized with --float-model (float_model=) to switch them"
    warn_once(
        f"{subject} holds {len(names)} weights only as they were rounded, among them {names[0]}: "
        f"they stay quantized in every configuration, the float reference included; {hint}"
    )


def _calibration_node(
    node: onnx.NodeProto,
    name: str,
    index: int,
    constants: set[str],
    consumers: Mapping[str, Sequence[str]],
    written: Mapping[str, onnx.TensorProto],
    odd: list[tuple[str, int]],
    conversion: Conversion,
) -> CalibrationNode:
    if len(node.input) != 1 or len(node.output) != 1:
        raise ModelError(
            f"calibration node {name!r} has {len(node.input)} inputs and {len(node.output)} "
            "outputs; one of each was expected"
        )
    source, target = node.input[0], node.output[0]
    attributes = parse_calibration(node, name)
    weight = source in constants
    if attributes.constant in (0, 1) and weight != bool(attributes.constant):
        odd.append((name, attributes.constant))
    params = attributes.params
    if source in written:
        _check_weight(written[source], name, params)
    return CalibrationNode(
        name,
        index,
        CalibrationKind.WEIGHT if weight else CalibrationKind.ACTIVATION,
        source,
        target,
        tuple(dict.fromkeys(consumers.get(target, ()))),
        params,
        attributes.enabled,
        target in conversion.fixed,
        conversion.stored.get(target),
    )


def _check_weight(weight: onnx.TensorProto, name: str, params: QuantParams) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(weight.data_type)
    if dtype.kind != "f":
        raise ModelError(
            f"calibration node {name!r} quantizes the constant {weight.name!r} of type "
            f"{TensorProto.DataType.Name(weight.data_type).lower()}; a float type was expected"
        )
    if params.is_per_channel:
        check_channels(name, params.axis, len(params.scales), weight.dims)


def _consumers(graph: onnx.GraphProto, names: Iterable[str]) -> dict[str, list[str]]:
    """Which general nodes read each tensor, those that read it inside a body included."""
    found: dict[str, list[str]] = defaultdict(list)
    for node, name in zip(graph.node, names, strict=True):
        if not is_calibration(node):
            for tensor in (*node.input, *outer_inputs(node)):
                found[tensor].append(name)
    return found


def _refuse_nested(node: onnx.NodeProto, name: str) -> None:
    for body in subgraphs(node):
        for inner in body.node:
            if inner.domain == "horizon" or is_calibration(inner):
                raise ModelError(
                    f"node {inner.name!r} ({inner.op_type}) is inside the body of {name!r} "
                    f"({node.op_type}); nodes of the horizon domain are understood only in the "
                    "main graph"
                )
            _refuse_nested(inner, name)


def tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """Name, type and shape of an input or output.

    Raises:
        ModelError: it is not a tensor.
    """
    if not value.type.HasField("tensor_type"):
        raise ModelError(
            f"{value.name!r} is not a tensor; models whose inputs or outputs are sequences, maps "
            "or optionals are not supported"
        )
    tensor = value.type.tensor_type
    if not tensor.elem_type:
        raise ModelError(f"{value.name!r} has no element type; export the model again")
    dtype = dtype_name(tensor.elem_type)
    if not tensor.HasField("shape"):
        return TensorSpec(value.name, dtype, None)
    # Exporters write unknown dimensions as names, as nothing, or as 0 and -1.
    dims = (d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None
            for d in tensor.shape.dim)  # fmt: skip
    return TensorSpec(value.name, dtype, tuple(dims))
