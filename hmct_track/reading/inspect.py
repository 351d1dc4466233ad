"""What the tool sees in a model, without running it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hmct_track.model import WEIGHTED_OPS, QuantModel, load_model
from hmct_track.types import CalibrationNode

if TYPE_CHECKING:
    import onnx

_NO_THRESHOLD = 1e-7
"""Thresholds up to this are those of tensors without data: calibrators have such a floor."""

_NARROW = 1 / 1000
"""Of the widest channel's scale; such a channel was dead or nearly so."""


@dataclass(frozen=True)
class Group:
    """Calibration nodes that quantize alike."""

    kind: str
    qtype: str
    granularity: str
    """``per tensor`` or ``per channel``."""
    symmetric: bool
    count: int


@dataclass(frozen=True)
class Oddity:
    """A node of which something is worth knowing before its numbers are trusted."""

    node: str
    what: str


@dataclass(frozen=True)
class Inspection:
    """A model as the tool sees it."""

    model: str
    model_id: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    general_nodes: int
    quantizable_nodes: int
    calibration_nodes: int
    groups: tuple[Group, ...]
    quantized_ops: dict[str, int]
    """Op type to the number of nodes that a calibration node feeds."""
    unquantized_ops: dict[str, int]
    """Op type to the number of the others."""
    unquantized_weighted: tuple[str, ...]
    """Nodes with weights (Conv, ConvTranspose, Gemm, MatMul) that nothing quantizes."""
    oddities: tuple[Oddity, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return asdict(self)


def inspect(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    float_model: str | os.PathLike[str] | onnx.ModelProto | None,
) -> Inspection:
    """Read a model and say what is in it.

    Raises:
        ModelError: it cannot be read, or holds what is not understood.
    """
    model = load_model(model_or_file, float_model, may_be_float=True)
    quantized = [n for n in model.general_nodes if n.calibration_nodes]
    others = [n for n in model.general_nodes if not n.calibration_nodes]
    counted = Counter(_group(node) for node in model.calibration_nodes)
    return Inspection(
        str(model.path or model.proto.graph.name or "model"),
        model.model_id,
        model.opset,
        tuple(f"{spec.name}: {spec}" for spec in model.inputs),
        tuple(f"{spec.name}: {spec}" for spec in model.outputs),
        len(model.general_nodes),
        len(model.quantizable_nodes),
        len(model.calibration_nodes),
        tuple(Group(*key, count) for key, count in sorted(counted.items())),
        dict(Counter(n.op_type for n in quantized).most_common()),
        dict(Counter(n.op_type for n in others).most_common()),
        tuple(n.name for n in others if n.op_type in WEIGHTED_OPS),
        tuple(_oddities(model)),
    )


def _group(node: CalibrationNode) -> tuple[str, str, str, bool]:
    params = node.params
    granularity = "per channel" if params.is_per_channel else "per tensor"
    return node.kind.value, params.qtype.name, granularity, not any(params.zero_points)


def _oddities(model: QuantModel) -> Iterator[Oddity]:
    for node in model.calibration_nodes:
        if not node.enabled:
            yield Oddity(node.name, "switch is OFF: as calibrated it passes its input through")
        if node.fixed:
            yield Oddity(node.name, "float weights are missing: it cannot be switched off")
        if node.is_correction or node.goes_with:
            owner = f"; it is switched with {node.goes_with}" if node.goes_with else ""
            yield Oddity(node.name, f"the quantizer changed it by more than rounding{owner}")
        elif node.stored:
            yield Oddity(node.name, "its integers are not the nearest to the float weights")
        if not node.consumers:
            outputs = {spec.name for spec in model.outputs}
            where = "the model's output" if node.output in outputs else "nothing"
            yield Oddity(node.name, f"feeds {where}, so no general node switches it")
        yield from _odd_scales(node)


def _odd_scales(node: CalibrationNode) -> Iterator[Oddity]:
    params = node.params
    thresholds = [abs(t) for t in params.thresholds]
    if thresholds and max(thresholds) <= _NO_THRESHOLD:
        yield Oddity(node.name, "its threshold is zero: the tensor held nothing but zeros")
    elif params.is_per_channel:
        widest = max(params.scales)
        dead = [k for k, scale in enumerate(params.scales) if scale < widest * _NARROW]
        if dead:
            shown = ", ".join(map(str, dead[:5])) + (", ..." if len(dead) > 5 else "")
            yield Oddity(
                node.name, f"{len(dead)} of {len(params.scales)} channels are dead ({shown})"
            )
