"""Writing a configuration into a model: other parameters, corrected biases, moved factors.

A corrected bias replaces the model's own. The float one stays in the file beside it, and a property
of the model (`FLOAT_BIASES`) says which it is, so that here the float reference is the float model
still; what else reads the file sees a bias and a constant that nothing reads.
"""

from __future__ import annotations

import json

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from hmct_track.errors import ModelError, UsageError
from hmct_track.model.calibration_node import make_calibration
from hmct_track.model.fakequant import with_type
from hmct_track.model.float_biases import FLOAT_BIASES
from hmct_track.model.layers import Layers
from hmct_track.model.onnx_io import Skeleton, fill_skeleton
from hmct_track.model.reader import QuantModel
from hmct_track.types import (
    CalibrationKind,
    CalibrationNode,
    Effect,
    QuantConfig,
    Quantization,
    QuantParams,
    QuantType,
    State,
)


def mended(model: QuantModel, config: QuantConfig) -> Skeleton:
    """The model with what a configuration says written into it.

    Fully quantized it computes what ``model`` does in ``config``, up to rounding in the last digits
    where factors are moved; with everything off it computes the float model.

    Args:
        model: a calibrated model that holds its float weights.
        config: every calibration node as calibrated, another type or explicit parameters.

    Raises:
        UsageError: it asks for what a file cannot say, such as clipping alone.
        ModelError: the model holds weights only as they were rounded.
    """
    return _Mending(model).write(config)


_ACTIVATION = CalibrationKind.ACTIVATION


class _Mending:
    def __init__(self, model: QuantModel) -> None:
        held = [n.name for n in model.calibration_nodes if n.stored and not n.is_correction]
        if held:
            raise ModelError(
                f"the model does not round {held[0]!r} to nearest; a file with other parameters "
                "would not hold its values, so start from the float model"
            )
        self._model = model
        self._layers = Layers(model)
        self._proto = onnx.ModelProto()
        self._proto.CopyFrom(model.proto)
        self._nodes = dict(zip(model.node_names, self._proto.graph.node, strict=True))
        for name, node in self._nodes.items():
            node.name = name  # names that were made up hold in the file as well
        self._weights: dict[str, NDArray[np.generic]] = dict(model.weights)
        self._taken = {t.name for t in self._proto.graph.initializer}
        self._taken |= {name for node in self._proto.graph.node for name in node.output}
        self._floats: dict[str, str] = {}

    def write(self, config: QuantConfig) -> Skeleton:
        if config.default is not Quantization.AS_CALIBRATED:
            raise UsageError(
                "only what is quantized can be written: the default must be calibrated"
            )
        biases = {n: s.values for n, s in config.shifts.items()}
        for node in self._model.calibration_nodes:
            state = config.state(node.name)
            if state is Quantization.AS_CALIBRATED or node.is_correction:
                continue
            params = _params(node, state)
            if params.factors:
                self._scale(node, params, biases, config)
            self._replace(node, params)
        for name, values in biases.items():
            self._shift(name, np.array(values, np.float32), np.ones(1, np.float32))
        self._keep_float_biases()
        return fill_skeleton(self._proto, self._weights, self._model.path)

    def _replace(self, node: CalibrationNode, params: QuantParams) -> None:
        proto = self._nodes[node.name]
        made = make_calibration(
            node.name, proto.input[0], proto.output[0], params,
            constant=int(node.kind is CalibrationKind.WEIGHT),
        )  # fmt: skip
        kept = [a for a in proto.attribute if a.name == "switch"]
        proto.CopyFrom(made)
        proto.attribute.extend(kept)

    def _scale(
        self,
        node: CalibrationNode,
        params: QuantParams,
        biases: dict[str, tuple[float, ...]],
        config: QuantConfig,
    ) -> None:
        """Multiply a weight by its factors, and the bias of its layer if they are its outputs'."""
        if node.kind is _ACTIVATION:
            return
        values = self._layers.constant(node.input)
        if values is None:
            raise ModelError(f"weight {node.input!r} is computed, so nothing can be moved into it")
        shape = [1] * values.ndim
        shape[params.factor_axis] = len(params.factors)
        factors = np.array(params.factors, np.float32)
        name = self._constant(f"{node.input}:scaled", values * factors.reshape(shape))
        self._nodes[node.name].input[0] = name
        for reader in node.consumers:
            if not self._reads_scaled(reader, config):
                self._shift(reader, np.array(biases.pop(reader, (0.0,)), np.float32), factors)

    def _reads_scaled(self, layer: str, config: QuantConfig) -> bool:
        """Whether a layer is the second of its pair: what it reads has factors, not what it gives.

        A weight takes part in one pair only.
        """
        quantizers = self._model.general_by_name[layer].calibration_nodes
        known = self._model.calibration_by_name
        states = (config.state(q) for q in quantizers if known[q].kind is _ACTIVATION)
        return any(isinstance(state, QuantParams) and state.factors for state in states)

    def _shift(self, name: str, shift: NDArray[np.float32], factors: NDArray[np.float32]) -> None:
        """Give a layer the bias ``(b + shift) factors``; the float one is ``b factors``."""
        bias = self._layers.bias(name)
        if bias is None:
            raise UsageError(f"node {name!r} has no bias that a correction could be written into")
        plain, corrected = bias * factors, (bias + shift) * factors
        size = max(len(plain), len(corrected))
        proto = self._nodes[name]
        wanted = proto.input[2] if len(proto.input) > 2 and proto.input[2] else f"{name}_bias"
        made = self._constant(f"{wanted}:mended", np.broadcast_to(corrected, size))
        if any(shift):
            self._floats[made] = self._constant(f"{wanted}:float", np.broadcast_to(plain, size))
        while len(proto.input) < 3:
            proto.input.append("")
        proto.input[2] = made
        for attribute in proto.attribute:
            if attribute.name == "beta":
                attribute.f = 1.0

    def _constant(self, wanted: str, values: NDArray[np.floating]) -> str:
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        array = np.ascontiguousarray(values, np.float32)
        self._proto.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _keep_float_biases(self) -> None:
        known = {p.key: p for p in self._proto.metadata_props}
        if not self._floats:
            return
        if FLOAT_BIASES not in known:
            known[FLOAT_BIASES] = self._proto.metadata_props.add(key=FLOAT_BIASES, value="{}")
        known[FLOAT_BIASES].value = json.dumps(self._floats)


def _params(node: CalibrationNode, state: State) -> QuantParams:
    if isinstance(state, QuantType):
        return with_type(node.params, state)
    if not isinstance(state, QuantParams) or state.effect is not Effect.BOTH:
        raise UsageError(f"calibration node {node.name!r}: a file cannot say {state}")
    return state
