"""QDQ models: each QuantizeLinear and DequantizeLinear pair becomes an HzCalibration node.

What reads calibrated models then reads the QDQ models of any vendor, and gives the same results for
the same quantizers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hmct_track.errors import ModelError
from hmct_track.model.activations import restore_activations
from hmct_track.model.calibration_node import check_channels, make_calibration
from hmct_track.model.fakequant import fake_quantize
from hmct_track.model.float_weights import FloatWeights, along_axis, written_constants
from hmct_track.model.graph import subgraphs
from hmct_track.types import QuantParams, QuantType

_DOMAINS = ("", "ai.onnx", "com.microsoft")
_INTEGER_OPS = ("QLinear", "ConvInteger", "MatMulInteger", "QGemm", "QAttention", "DynamicQuantize")


@dataclass
class Conversion:
    """What became of a QDQ model. Weights go by the output tensor of their calibration nodes."""

    fixed: set[str] = field(default_factory=set)
    """Those whose float values are lost."""
    stored: dict[str, str] = field(default_factory=dict)
    """Those that the file does not round to nearest: the initializer with what it holds."""
    corrected: dict[str, str | None] = field(default_factory=dict)
    """Constants that the quantizer changed by more than rounding: the output tensor of the
    calibration node with which each is switched; None if it is switched by itself."""
    assumed: list[str] = field(default_factory=list)
    """Activations that were put back and may not have been there, by node name."""


def is_quantize(node: onnx.NodeProto) -> bool:
    """Whether this is a QuantizeLinear of any domain that defines one."""
    return node.op_type == "QuantizeLinear" and node.domain in _DOMAINS


def is_dequantize(node: onnx.NodeProto) -> bool:
    """Whether this is a DequantizeLinear of any domain that defines one."""
    return node.op_type == "DequantizeLinear" and node.domain in _DOMAINS


def has_integer_ops(graph: onnx.GraphProto) -> bool:
    """Whether a node computes in integers, as models in the operator-oriented format do."""
    return any(node.op_type.startswith(_INTEGER_OPS) for node in graph.node)


def convert_qdq(proto: onnx.ModelProto, float_model: onnx.ModelProto | None) -> Conversion:
    """Replace the pairs in ``proto``, and the DequantizeLinear nodes of integer weights.

    A pair keeps the name of its QuantizeLinear, a weight's that of its DequantizeLinear. Pairs on
    one tensor stay apart; one that repeats another in a row is dropped.

    Args:
        proto: the model; changed in place.
        float_model: the model that was quantized, for what the quantizer took away: the float
            values of integer weights, and activations.

    Raises:
        ModelError: a quantizer is not static, not of a supported type or not part of a pair.
    """
    if not any(is_quantize(node) or is_dequantize(node) for node in _every_node(proto.graph)):
        return Conversion()
    conversion = _Converter(proto, FloatWeights(float_model) if float_model else None).convert()
    conversion.assumed = restore_activations(proto, float_model)
    return conversion


def _every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for body in subgraphs(node):
            yield from _every_node(body)


class _Converter:
    """The conversion of one graph."""

    def __init__(self, proto: onnx.ModelProto, float_weights: FloatWeights | None) -> None:
        self._graph = proto.graph
        self._float_weights = float_weights
        self._constants = written_constants(self._graph)
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self._graph.node:
            for tensor in dict.fromkeys(node.input):
                self._readers[tensor].append(node)
        self._outputs = {value.name for value in self._graph.output}
        # Before IR 4 initializers were inputs as well; those that go must not stay behind as such.
        inputs = [value for value in self._graph.input if value.name not in self._constants]
        del self._graph.input[:]
        self._graph.input.extend(inputs)
        self._inputs = {value.name for value in inputs}
        self._renamed: dict[str, str] = {}
        self._made: dict[str, QuantParams] = {}
        self._result = Conversion()

    def convert(self) -> Conversion:
        for node in self._graph.node:
            _refuse_in_bodies(node)
            if is_quantize(node) or is_dequantize(node):
                _check_form(node)
        nodes = list(self._graph.node)
        converted: set[int] = set()
        kept: list[onnx.NodeProto] = []
        for node in nodes:
            if is_quantize(node):
                replaced, gone = self._pair(node)
                kept += replaced
                converted.update(map(id, gone))
            elif is_dequantize(node) and id(node) not in converted:
                kept += self._lone(node)
            elif id(node) not in converted:
                kept.append(node)
        scales = {name for node in nodes if is_quantize(node) or is_dequantize(node)
                  for name in node.input[1:]}  # fmt: skip
        for node in kept:
            _rename(node, self._renamed)
        _replace_nodes(self._graph, _without_dead(kept, scales, self._outputs))
        _drop_unused(self._graph, scales)
        return self._result

    def _pair(self, node: onnx.NodeProto) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
        """What replaces a QuantizeLinear and what it is read by, and the nodes that go with it."""
        readers = self._readers[node.output[0]]
        dequantizers = [reader for reader in readers if is_dequantize(reader)]
        if not dequantizers and node.output[0] in self._outputs:
            return [node], []  # the model gives out integers
        others = [reader for reader in readers if not is_dequantize(reader)]
        if others or not readers:
            what = f"feeds {others[0].op_type} {others[0].name!r}" if others else "feeds nothing"
            _refuse(
                node,
                f"it {what}; a QuantizeLinear can be switched only where DequantizeLinear "
                "nodes alone read it, so export the model in QDQ format",
            )
        params = self._params(node)
        for dequantizer in dequantizers:
            if self._params(dequantizer, params.qtype) != params:
                _refuse(node, f"its scale or zero point differs from that of {dequantizer.name!r}")
        source = self._renamed.get(node.input[0], node.input[0])
        targets = [dequantizer.output[0] for dequantizer in dequantizers]
        if self._made.get(source) == params and not self._outputs & set(targets):
            self._renamed.update(dict.fromkeys(targets, source))  # twice alike is once
            return [], dequantizers
        targets.sort(key=lambda name: name not in self._outputs)
        self._renamed.update(
            {name: targets[0] for name in targets[1:] if name not in self._outputs}
        )
        copies = [
            helper.make_node("Identity", targets[:1], [name], name=f"{name}_copy")
            for name in targets[1:]
            if name in self._outputs
        ]
        name = node.name or f"{node.input[0]}_QuantizeLinear"
        self._made[targets[0]] = params
        held = self._rounded(source, params)
        if held is not None:
            source = self._float(source, targets[0], held, params)
        return [make_calibration(name, source, targets[0], params), *copies], dequantizers

    def _lone(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """What replaces a DequantizeLinear that no QuantizeLinear feeds: an integer weight's."""
        source = node.input[0]
        if source in self._inputs:
            return [node]  # the model takes in integers
        if source not in self._constants:
            _refuse(
                node,
                f"it reads {source!r}, which is neither a constant nor made by a QuantizeLinear; "
                "models that compute in integers cannot be switched, so export it in QDQ format",
            )
        tensor = self._constants[source]
        params = self._params(node, _quant_type(node, tensor.data_type))
        integers = numpy_helper.to_array(tensor).astype(np.int64)
        if params.is_per_channel:
            check_channels(node.name, params.axis, len(params.scales), integers.shape)
        held = _dequantized(integers, params)
        name = node.name or f"{source}_DequantizeLinear"
        target = node.output[0]
        return [make_calibration(name, self._float(source, target, held, params), target, params)]

    def _float(
        self, source: str, target: str, held: NDArray[np.float32], params: QuantParams
    ) -> str:
        """The constant with the float values of a weight of which the model holds rounded ones."""
        found = self._float_weights
        values = found.find(source, target, held, params) if found else None
        if values is None:
            self._result.fixed.add(target)
            values = held
        elif not np.array_equal(fake_quantize(values, params), held):
            # Biases that were rounded in float32, or weights whose rounding was learnt.
            self._result.stored[target] = f"{target}:stored"
            self._graph.initializer.append(numpy_helper.from_array(held, f"{target}:stored"))
        self._graph.initializer.append(numpy_helper.from_array(values, f"{target}:float"))
        return f"{target}:float"

    def _rounded(self, source: str, params: QuantParams) -> NDArray[np.float32] | None:
        """The values of a float constant that was quantized before, as AIMET writes weights."""
        tensor = self._constants.get(source)
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            return None
        values: NDArray[np.float32] = numpy_helper.to_array(tensor)
        if params.is_per_channel:
            check_channels(source, params.axis, len(params.scales), values.shape)
        return values if np.array_equal(fake_quantize(values, params), values) else None

    def _params(self, node: onnx.NodeProto, known: QuantType | None = None) -> QuantParams:
        """The parameters of a Q or DQ node; of a DQ without zero point the type is known."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        scale = self._constant(node, 1, "scale")
        if scale.dtype != np.float32:
            _refuse(node, f"its scale is {scale.dtype}; convert the model to float32")
        if not scale.size:
            _refuse(node, "its scale has no values")
        if attributes.get("block_size") or scale.ndim > 1:
            _refuse(node, "it quantizes block by block; per tensor and per channel are supported")
        zeros: tuple[int, ...] = (0,) * scale.size
        if len(node.input) > 2 and node.input[2]:
            zero = self._constant(node, 2, "zero point")
            qtype = _quant_type(node, self._constants[node.input[2]].data_type)
            zeros = tuple(zero.astype(np.int64).reshape(-1).tolist())
            if len(zeros) != scale.size:
                _refuse(node, f"it has {scale.size} scales but {len(zeros)} zero points")
        else:
            default = attributes.get("output_dtype") or TensorProto.UINT8
            qtype = known or _quant_type(node, default)
        return QuantParams(
            qtype, tuple(scale.reshape(-1).tolist()), zeros, axis=attributes.get("axis", 1)
        )

    def _constant(self, node: onnx.NodeProto, position: int, what: str) -> NDArray[Any]:
        name = node.input[position]
        if name not in self._constants:
            _refuse(node, f"its {what} {name!r} is computed at run time, so it is not static")
        return numpy_helper.to_array(self._constants[name])


def _check_form(node: onnx.NodeProto) -> None:
    """Its inputs, its output, and attributes of the types that they should have."""
    if not 2 <= len(node.input) <= 3 or len(node.output) != 1 or not all(node.input[:2]):
        _refuse(
            node,
            f"it has {len(node.input)} inputs and {len(node.output)} outputs; a value, its scale "
            "and at most a zero point were expected, and one output",
        )
    for attribute in node.attribute:
        if attribute.type != onnx.AttributeProto.INT:
            _refuse(node, f"attribute {attribute.name} is not an integer")


def _quant_type(node: onnx.NodeProto, data_type: int) -> QuantType:
    try:
        name = TensorProto.DataType.Name(data_type).lower()
        qtype = QuantType(name)
    except ValueError as error:
        _refuse(node, str(error))
    if not qtype.is_integer:
        _refuse(node, f"it quantizes to {name}; integer types are supported")
    return qtype


def _dequantized(integers: NDArray[np.int64], params: QuantParams) -> NDArray[np.float32]:
    """``(integer - zero point) * scale`` in float32, as DequantizeLinear computes it."""
    scales = along_axis(np.array(params.scales, np.float32), params, integers.ndim)
    zeros = along_axis(np.array(params.zero_points, np.int64), params, integers.ndim)
    product: NDArray[np.float32] = (integers - zeros).astype(np.float32) * scales
    return product


def _refuse(node: onnx.NodeProto, why: str) -> NoReturn:
    raise ModelError(f"node {node.name or node.output[0]!r} ({node.op_type}): {why}")


def _refuse_in_bodies(node: onnx.NodeProto) -> None:
    for body in subgraphs(node):
        for inner in body.node:
            if is_quantize(inner) or is_dequantize(inner):
                _refuse(
                    inner,
                    f"it is inside the body of {node.op_type} {node.name!r}; quantizers are "
                    "understood only in the main graph",
                )
            _refuse_in_bodies(inner)


def _rename(node: onnx.NodeProto, renamed: Mapping[str, str]) -> None:
    """Let a node, and what is in its bodies, read the tensors under their new names."""
    if node.op_type != "HzCalibration":
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
    for body in subgraphs(node):
        for inner in body.node:
            _rename(inner, renamed)


def _without_dead(
    nodes: Sequence[onnx.NodeProto], scales: set[str], outputs: set[str]
) -> list[onnx.NodeProto]:
    """The nodes without those that only carried scales and zero points."""
    used = set(outputs)
    alive = []
    for node in reversed(nodes):
        carrier = node.op_type in ("Constant", "Identity") and set(node.output) & scales
        if carrier and not used & set(node.output):
            scales.update(node.input)
            continue
        alive.append(node)
        used.update(_reads(node))
    return alive[::-1]


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for body in subgraphs(node):
        for inner in body.node:
            yield from _reads(inner)
        yield from (value.name for value in body.output)


def _replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _drop_unused(graph: onnx.GraphProto, scales: set[str]) -> None:
    """Drop the initializers that only quantizers read: scales, zero points, integer weights."""
    used = {value.name for value in graph.output}
    for node in graph.node:
        used.update(_reads(node))
    others = (TensorProto.FLOAT, TensorProto.INT64)
    kept = [
        tensor
        for tensor in graph.initializer
        if tensor.name in used
        or tensor.name.endswith(":stored")
        or (tensor.name not in scales and tensor.data_type in others)
    ]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
