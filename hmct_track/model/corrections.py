"""Constants that a quantizer changed beside rounding weights: bias correction above all.

The float reference has the float model's values, the fully quantized model the file's. Between
them such a constant goes with the weight for whose rounding it makes up (docs/decisions/0011).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from hmct_track.model.attributes import parse_calibration
from hmct_track.model.calibration_node import make_calibration
from hmct_track.model.counterparts import Reading
from hmct_track.model.fakequant import fake_quantize
from hmct_track.model.float_weights import distance_in_steps
from hmct_track.model.placement import WEIGHTED_OPS
from hmct_track.model.qdq import Conversion
from hmct_track.types import QuantParams, QuantType

_FOLDED = 1e-5
"""Of the largest value: by how much biases that two tools folded differ."""
_STEP = 1.001
_FLOAT = QuantParams(QuantType("float32"))


class Corrections:
    """Gives the constants of a model that differ from the float model's both values.

    Args:
        subject: the model; its graph is changed in place.
        original: the float model.
        conversion: takes note of what is changed.
        folded: whether BatchNormalization was folded here, so that last digits differ.
    """

    def __init__(
        self, subject: Reading, original: Reading, conversion: Conversion, *, folded: bool
    ) -> None:
        self._subject = subject
        self._graph = subject.graph
        self._original = original
        self._result = conversion
        self._tolerance = _FOLDED if folded else 0.0
        self._inserted: dict[int, list[onnx.NodeProto]] = {}
        self._names = {node.name for node in subject.graph.node}
        self._initializers = {tensor.name for tensor in subject.graph.initializer}
        self._tensors = {*self._initializers, *subject.makers}

    def separate(self, pairs: Sequence[tuple[onnx.NodeProto, onnx.NodeProto]]) -> None:
        """Look at the constants that nodes read at the same input.

        Where a weight is not the float model's (equalized, say), its node keeps its constants, as
        they belong together; and so do all nodes without a weight, which may carry its factors.
        """
        changed = [(node, list(self._changed(node, other))) for node, other in pairs]
        weighted = {id(node) for node, _ in self._subject.weighted}
        kept = {
            id(node)
            for node, found in changed
            if id(node) in weighted and any(own.ndim > 1 for _, own, _ in found)
        }
        alike = weighted.intersection(id(node) for node, _ in changed) - kept
        for node, found in changed:
            if alike == weighted or id(self._multiplying(node)) in alike:
                for position, own, original in found:
                    self._separate(node, position, own, original)
        self._insert()

    def _multiplying(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """The node whose bias ``node`` adds; itself where it is none, or multiplies itself."""
        if node.op_type != "Add":
            return node
        makers = (self._subject.maker(name) for name in node.input)
        return next((m for m in makers if m is not None and m.op_type in WEIGHTED_OPS), node)

    def _changed(
        self, node: onnx.NodeProto, other: onnx.NodeProto
    ) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
        originals = dict(self._original.constant_inputs(other))
        for position, own in self._subject.constant_inputs(node):
            original = originals.get(position)
            if original is None or original.shape != own.shape or np.array_equal(own, original):
                continue
            most = self._tolerance * np.abs(original).max(initial=0)
            if not np.abs(own - original).max(initial=0) <= most:
                yield position, own, original

    def _separate(
        self, node: onnx.NodeProto, position: int, own: NDArray[Any], original: NDArray[Any]
    ) -> None:
        tensor = node.input[position]
        calibration = self._subject.calibration(tensor)
        if calibration is None:
            target = self._add_node(node, position, own, original)
        elif tensor in self._result.corrected:
            return  # another reader was first
        else:
            params = parse_calibration(calibration, calibration.name).params
            name, held = self._held(tensor, own, params)
            calibration.input[0] = self._constant(f"{tensor}:original", original)
            self._result.fixed.discard(tensor)
            if np.array_equal(fake_quantize(original, params), held):
                self._result.stored.pop(tensor, None)
                return
            self._result.stored[tensor] = name or self._constant(f"{tensor}:held", held)
            if distance_in_steps(original, held, params) <= _STEP:
                return
            target = tensor
        self._result.corrected[target] = self._owner(node, position)

    def _held(
        self, tensor: str, own: NDArray[Any], params: QuantParams
    ) -> tuple[str | None, NDArray[Any]]:
        """What a calibration node gives as the file has it, and the initializer that holds it."""
        if tensor in self._result.fixed:
            return self._initializer(tensor), own
        if tensor in self._result.stored:
            name = self._result.stored[tensor]
            stored = self._subject.array(name)
            return name, own if stored is None else stored
        return None, fake_quantize(own, params)

    def _add_node(
        self, node: onnx.NodeProto, position: int, own: NDArray[Any], original: NDArray[Any]
    ) -> str:
        """A calibration node that gives the float model's values or, as calibrated, the file's."""
        tensor = node.input[position]
        target = self._free(f"{tensor}:corrected", self._tensors)
        source = self._constant(f"{tensor}:original", original)
        held = self._initializer(tensor) or self._constant(f"{tensor}:held", own)
        self._result.stored[target] = held
        name = self._free(f"{tensor}_correction", self._names)
        made = make_calibration(name, source, target, _FLOAT, constant=1)
        self._inserted.setdefault(id(node), []).append(made)
        node.input[position] = target
        return target

    def _owner(self, node: onnx.NodeProto, position: int) -> str | None:
        """What the calibration node gives with which a constant of ``node`` is switched."""
        others = [tensor for k, tensor in enumerate(node.input) if k != position]
        before = self._multiplying(node)
        candidates = others if before is node else [*before.input, *others]
        switched = [
            tensor
            for tensor in candidates
            if self._subject.calibration(tensor) is not None
            and tensor not in self._result.fixed
            and tensor not in self._result.corrected
        ]
        weights = [tensor for tensor in switched if self._subject.array(tensor) is not None]
        return next(iter([*weights, *switched]), None)

    def _initializer(self, tensor: str) -> str | None:
        """The initializer that is passed on as a tensor; None where a Constant node holds it."""
        root = self._subject.root(tensor)
        return root if root in self._initializers else None

    def _constant(self, wanted: str, values: NDArray[Any]) -> str:
        name = self._free(wanted, self._tensors)
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _free(self, wanted: str, taken: set[str]) -> str:
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        return name

    def _insert(self) -> None:
        nodes = []
        for node in self._graph.node:
            nodes += self._inserted.get(id(node), [])
            nodes.append(node)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self._graph.node[:]
        self._graph.node.extend(copies)
