"""Whether a float model is the one that a calibrated or QDQ model was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from hmct_track.errors import ModelError
from hmct_track.model.counterparts import Reading

_LEAST_ALIKE = 0.5
"""Of the energy of a weight: a weight of another network explains less, a rounded one more."""


Pairs = Sequence[tuple[onnx.NodeProto, onnx.NodeProto]]


class Fit:
    """Compares a float model with a model made from it.

    Args:
        name: of the float model, for messages.
        path: of the other model.
    """

    def __init__(self, name: str, path: Path | None) -> None:
        self._name = name
        self._subject = repr(str(path)) if path else "the model"

    def check(self, subject: Reading, original: Reading, pairs: Pairs) -> None:
        """Compare inputs, outputs and weights.

        Raises:
            ModelError: one of them is another network's.
        """
        # Before IR 4 initializers were inputs as well.
        inputs = [v for v in original.graph.input if not original.is_constant(v.name)]
        self._check_values("input", inputs, subject.graph.input)
        self._check_values("output", original.graph.output, subject.graph.output)
        self._check_sizes(subject, original)
        self._check_alike(subject, original, pairs)

    def _check_values(
        self, what: str, given: Sequence[onnx.ValueInfoProto], own: Sequence[onnx.ValueInfoProto]
    ) -> None:
        """Compare inputs or outputs, ``own`` those of the quantized model.

        Outputs go by position, as tools give them other names.

        Raises:
            ModelError: their number, an input's name, a type or a size differs.
        """
        if len(given) != len(own):
            self._refuse(f"it has {len(given)} {what}s and not {len(own)}")
        others = {value.name: value for value in given}
        same_names = others.keys() == {value.name for value in own}
        if what == "input" and not same_names:
            names = [", ".join(repr(v.name) for v in values) for values in (given, own)]
            self._refuse(f"its inputs are {names[0]} and not {names[1]}")
        for value, by_position in zip(own, given, strict=True):
            other = others[value.name] if same_names else by_position
            if not _agree(value, other):
                self._refuse(
                    f"its {what} {other.name!r} is {_described(other)} and not {_described(value)}"
                )

    def _check_sizes(self, subject: Reading, original: Reading) -> None:
        """Compare the number and the sizes of weights.

        Raises:
            ModelError: they differ.
        """
        counts = [_counted(node.op_type for node, _ in r.weighted) for r in (original, subject)]
        if len(original.weighted) != len(subject.weighted):
            self._refuse(
                f"it has {len(original.weighted)} nodes with weights ({counts[0]}) and not "
                f"{len(subject.weighted)} ({counts[1]})"
            )
        there = Counter(_size(original, *found) for found in original.weighted)
        if () in there:  # computed from constants: of unknown size
            return
        for node, position in subject.weighted:
            values = subject.array(node.input[position])
            size = _size(subject, node, position)
            if values is not None and not there[size]:
                self._refuse(
                    f"the weight of {node.op_type} {node.name!r} has shape "
                    f"{list(values.shape)}, and it has none of these sizes but those of other nodes"
                )
            there[size] -= 1

    def _check_alike(
        self,
        subject: Reading,
        original: Reading,
        pairs: Pairs,
    ) -> None:
        """Compare the values of weights, as far as quantizers leave them recognizable.

        Rounding and clipping do, and so do factors of channels (equalization, folding).

        Raises:
            ModelError: a weight is another one.
        """
        partner = {id(node): other for node, other in pairs}
        all_originals = [
            a for n, p in original.weighted if (a := original.array(n.input[p])) is not None
        ]
        for node, position in subject.weighted:
            values = subject.array(node.input[position])
            other = partner.get(id(node))
            if values is None or not np.any(values):
                continue
            known = original.array(other.input[position]) if other is not None else None
            candidates = [known] if known is not None else []
            share = max((_explained(values, one) for one in candidates), default=0.0)
            if share < _LEAST_ALIKE:
                share = max((_explained(values, one) for one in all_originals), default=1.0)
            if share < _LEAST_ALIKE:
                self._refuse(
                    f"the weight of {node.op_type} {node.name!r} is none of its "
                    f"weights: they explain {share:.0%} of it at most, rounded ones nearly all"
                )

    def _refuse(self, why: str) -> NoReturn:
        raise ModelError(
            f"{self._name} is not what {self._subject} was made from: {why}; give the model that "
            "was quantized, or leave --float-model (float_model=) away"
        )


def _agree(value: onnx.ValueInfoProto, other: onnx.ValueInfoProto) -> bool:
    """Whether types are the same, and sizes as far as both are known."""
    a, b = value.type.tensor_type, other.type.tensor_type
    if a.elem_type != b.elem_type:
        return False
    if not (a.HasField("shape") and b.HasField("shape")):
        return True
    return len(a.shape.dim) == len(b.shape.dim) and all(
        x.dim_value == y.dim_value or x.dim_value <= 0 or y.dim_value <= 0
        for x, y in zip(a.shape.dim, b.shape.dim, strict=True)
    )


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    kind = TensorProto.DataType.Name(tensor.elem_type).lower()
    sizes = (str(d.dim_value) if d.dim_value > 0 else "?" for d in tensor.shape.dim)
    return f"{kind}[{', '.join(sizes)}]"


def _counted(ops: Iterable[str]) -> str:
    return ", ".join(f"{count} {op}" for op, count in sorted(Counter(ops).items())) or "none"


def _size(reading: Reading, node: onnx.NodeProto, position: int) -> tuple[int, ...]:
    """The dimensions of a weight but ones, sorted: tools turn Gemm into Conv and transpose."""
    values = reading.array(node.input[position])
    return () if values is None else tuple(sorted(d for d in values.shape if d != 1)) or (1,)


def _explained(values: NDArray[Any], original: NDArray[Any]) -> float:
    """The share of the energy of ``values`` that ``original`` explains, from -inf to 1.

    Channels of the first two axes have a factor each, at least 0, found by alternating least
    squares.
    """
    if values.shape != original.shape:
        values, original = values.squeeze(), original.squeeze()
    if values.shape == original.shape[::-1] != original.shape:
        original = original.T
    if values.shape != original.shape:
        return 0.0
    energy = float(np.square(values, dtype=np.float64).sum())
    if np.array_equal(values, original):
        return 1.0
    first, second = (*values.shape, 1, 1)[:2]
    a = values.astype(np.float64).reshape(first, second, -1)
    b = original.astype(np.float64).reshape(first, second, -1)
    cross, own = (a * b).sum(axis=2), (b * b).sum(axis=2)
    rows, columns = np.ones(first), np.ones(second)
    with np.errstate(invalid="ignore", over="ignore"):  # NaN explains itself
        for _ in range(4):
            rows = _factors(cross @ columns, own @ columns**2)
            columns = _factors(rows @ cross, rows**2 @ own)
    scales = np.outer(rows, columns)
    left = energy - 2 * float((scales * cross).sum()) + float((scales**2 * own).sum())
    return 1 - left / energy


def _factors(cross: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.maximum(cross, 0) / np.where(own == 0, 1, own)
    return found
