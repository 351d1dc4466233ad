"""Configurations that several analyses ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hmct_track.types import CalibrationKind, NodeType, Planned, QuantConfig, Quantization, State

if TYPE_CHECKING:
    from hmct_track.model import QuantModel

WHOLE = "calibrated_model"
"""What the fully quantized model is called among the subjects of a run."""


def every(model: QuantModel) -> list[str]:
    """The calibration nodes of a model."""
    return [node.name for node in model.calibration_nodes]


def whole(model: QuantModel) -> Planned:
    """Everything quantized, as calibrated."""
    config = QuantConfig(Quantization.AS_CALIBRATED).canonical(every(model))
    return Planned(WHOLE, "reference", config)


def alone(
    model: QuantModel, names: Iterable[str], node_type: NodeType = NodeType.NODE
) -> list[Planned]:
    """Each node quantized alone; of type output, what each gives out."""
    known = every(model)
    output = node_type is NodeType.OUTPUT
    switched = model.output_quantizers if output else model.calibrations_of
    return [
        Planned(name, "only", QuantConfig.only(switched(name)).canonical(known)) for name in names
    ]


def without(
    model: QuantModel, nodes: Sequence[str], state: State = Quantization.OFF
) -> QuantConfig:
    """Everything quantized but the calibration nodes of these nodes, which do something else."""
    switched = dict.fromkeys(c for name in nodes for c in model.calibrations_of(name))
    return QuantConfig.all_but(switched, state).canonical(every(model))


def left_out(
    model: QuantModel, names: Iterable[str], node_type: NodeType = NodeType.NODE
) -> list[Planned]:
    """Everything quantized but one node each; of type output, what each gives out."""
    known = every(model)
    output = node_type is NodeType.OUTPUT
    switched = model.output_quantizers if output else model.calibrations_of
    return [
        Planned(name, "without", QuantConfig.all_but(switched(name)).canonical(known))
        for name in names
    ]


def names_of_type(model: QuantModel, node_type: NodeType) -> list[str]:
    """The nodes of a type that can be quantized alone, in topological order."""
    if node_type is NodeType.NODE:
        return [node.name for node in model.quantizable_nodes]
    if node_type is NodeType.OUTPUT:
        return [n.name for n in model.general_nodes if model.output_quantizers(n.name)]
    kind = CalibrationKind(node_type.value)
    return [n.name for n in model.switchable_calibrations if n.kind is kind]
