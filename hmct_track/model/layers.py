"""Layers that multiply by a weight: their axes, and what of them can be changed in a file."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from hmct_track.model.float_weights import written_constants
from hmct_track.model.folding import reads_of
from hmct_track.model.placement import WEIGHTED_OPS, channel_axis
from hmct_track.model.reader import QuantModel
from hmct_track.types import CalibrationNode

SHIFTED_OPS = ("Conv", "ConvTranspose", "Gemm")
"""Ops that add a bias, one value per channel along axis 1 of what they give."""


class Layers:
    """The layers of a model, by the names of its general nodes."""

    def __init__(self, model: QuantModel) -> None:
        self.model = model
        self._protos = dict(zip(model.node_names, model.proto.graph.node, strict=True))
        self._written = written_constants(model.proto.graph)
        self.reads = Counter(reads_of(model.proto.graph))
        """How often each tensor is read, by bodies and as an output of the model as well."""
        self.reads.update(value.name for value in model.proto.graph.output)

    def proto(self, name: str) -> onnx.NodeProto:
        """The node of this name."""
        return self._protos[name]

    def attributes(self, name: str) -> dict[str, Any]:
        """The attributes of a node."""
        return {a.name: helper.get_attribute_value(a) for a in self._protos[name].attribute}

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """The values of a constant that is written in the model."""
        found = self._written.get(tensor)
        if found is None:
            return None
        if found.name in self.model.weights:
            return np.asarray(self.model.weights[found.name])
        return numpy_helper.to_array(found)

    def bias(self, name: str) -> NDArray[np.float32] | None:
        """The bias of a layer as it is added, float32 of shape (channels,) or a scalar's (1,).

        Zero where it has none; None where it is computed, or not one value per channel.
        """
        proto = self._protos[name]
        if proto.op_type not in SHIFTED_OPS:
            return None
        if len(proto.input) < 3 or not proto.input[2]:
            return np.zeros(1, np.float32)
        values = self.constant(proto.input[2])
        if values is None or values.dtype != np.float32 or values.size != max(values.shape or (1,)):
            return None
        if values.ndim > 1 and values.shape[-1] != values.size:
            return None
        if proto.op_type == "Gemm":
            values = values * np.float32(self.attributes(name).get("beta", 1.0))
        return values.reshape(-1)

    def can_shift(self, name: str) -> bool:
        """Whether a correction of what the node gives can be written into its bias."""
        return self.bias(name) is not None

    def weight_axis(self, node: CalibrationNode) -> int:
        """The output channels of a weight, by the first node that multiplies it; 0 if none does."""
        for name in node.consumers:
            proto = self._protos[name]
            if proto.op_type in WEIGHTED_OPS:
                return channel_axis(proto)
        return 0

    def input_axis(self, name: str, weight: NDArray[Any]) -> int | None:
        """The axis of a layer's weight that runs over its input channels.

        Of a depthwise Conv it is the first; None where no axis does.
        """
        proto, attributes = self._protos[name], self.attributes(name)
        if proto.op_type == "Gemm":
            return None if attributes.get("transA") else 1 if attributes.get("transB") else 0
        if proto.op_type != "Conv":
            return None
        group = attributes.get("group", 1)
        if group == 1:
            return 1
        return 0 if weight.shape[:2] == (group, 1) else None
