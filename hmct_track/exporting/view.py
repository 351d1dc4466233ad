"""What exporters are given: each node's inputs with their types before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hmct_track.types import CalibrationKind, QuantParams


@dataclass(frozen=True)
class TensorPlan:
    """One quantizer of a node's input."""

    position: int
    """The input of the node, from 0."""
    tensor: str
    """The tensor that is quantized, by its name in the float model."""
    calibration: str
    """The calibration node."""
    kind: CalibrationKind
    before: str
    """Its type as calibrated."""
    params: QuantParams
    """How it quantizes in the plan; float32 where it does not."""
    is_named: bool = True
    """Whether ``tensor`` is surely what the float model calls it."""

    @property
    def after(self) -> str:
        """Its type in the plan."""
        return self.params.qtype.name

    @property
    def is_changed(self) -> bool:
        """Whether the plan changes its type."""
        return self.before != self.after


@dataclass(frozen=True)
class NodePlan:
    """A general node that quantizers feed."""

    name: str
    op_type: str
    inputs: tuple[TensorPlan, ...]
    output_types: tuple[str, ...] = ()
    """The types by which what it gives out is quantized, of all that read it."""

    @property
    def is_changed(self) -> bool:
        """Whether the plan changes a type of an input."""
        return any(i.is_changed for i in self.inputs)

    @property
    def types(self) -> tuple[str, ...]:
        """The types of its inputs, each once."""
        return tuple(dict.fromkeys(i.after for i in self.inputs))


@dataclass(frozen=True)
class PlanView:
    """A plan: what it is for, and its nodes in topological order."""

    title: str
    """A line for heads of files."""
    nodes: tuple[NodePlan, ...]

    @property
    def tensors(self) -> tuple[TensorPlan, ...]:
        """The quantizers, each once."""
        found = {i.calibration: i for node in self.nodes for i in node.inputs}
        return tuple(found.values())

    def usual(self, kind: CalibrationKind) -> str:
        """The type that most quantizers of a kind have as calibrated; int8 if there are none."""
        counts = Counter(t.before for t in self.tensors if t.kind is kind)
        return counts.most_common(1)[0][0] if counts else "int8"


@dataclass(frozen=True)
class Exported:
    """A text for a toolchain."""

    text: str
    unsaid: Sequence[str] = ()
    """What its format cannot say of the plan, a line each."""
