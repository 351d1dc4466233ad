"""Which configurations tell how sensitive nodes are: each node quantized alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hmct_track.errors import ModelError, UsageError
from hmct_track.model import QuantModel
from hmct_track.types import CalibrationKind, NodeType, Planned, QuantConfig


@dataclass(frozen=True)
class SensitivityPlan:
    """The configurations, in topological order, and the kind of table that shows them."""

    planned: tuple[Planned, ...]
    node_type: NodeType


def plan(
    model: QuantModel, node_type: NodeType, interested_nodes: Sequence[str] | None = None
) -> SensitivityPlan:
    """One configuration per node of a type, or per interested node, which alone is quantized.

    Raises:
        UnknownNodeError: an interested node does not exist.
        UsageError: an interested node cannot be quantized, or the list is empty.
        ModelError: the model has no nodes of the type.
    """
    if interested_nodes is None:
        names = _names_of_type(model, node_type)
        if not names:
            lost = any(node.fixed for node in model.calibration_nodes)
            hint = ", or give the float values of its weights with --float-model" if lost else ""
            raise ModelError(
                f"the model has no {node_type} to quantize; choose another node_type{hint}"
            )
    else:
        names = _in_order(model, interested_nodes)
        node_type = _common_type(model, names)
    every = [node.name for node in model.calibration_nodes]
    output = node_type is NodeType.OUTPUT
    switched = model.output_quantizers if output else model.calibrations_of
    planned = tuple(
        Planned(name, "only", QuantConfig.only(switched(name)).canonical(every)) for name in names
    )
    return SensitivityPlan(planned, node_type)


def _names_of_type(model: QuantModel, node_type: NodeType) -> list[str]:
    if node_type is NodeType.NODE:
        return [node.name for node in model.quantizable_nodes]
    if node_type is NodeType.OUTPUT:
        return [n.name for n in model.general_nodes if model.output_quantizers(n.name)]
    kind = CalibrationKind(node_type.value)
    return [n.name for n in model.switchable_calibrations if n.kind is kind]


def _in_order(model: QuantModel, names: Sequence[str]) -> list[str]:
    if not names:
        raise UsageError("interested_nodes is empty; name nodes, or leave it out for all of them")
    order = {name: i for i, name in enumerate(model.node_names)}
    return sorted(model.expand(names), key=order.__getitem__)


def _common_type(model: QuantModel, names: Sequence[str]) -> NodeType:
    """The type of all the nodes, or ``node`` where they differ."""
    found = {
        NodeType(model.calibration_by_name[name].kind.value)
        if name in model.calibration_by_name
        else NodeType.NODE
        for name in names
    }
    return found.pop() if len(found) == 1 else NodeType.NODE
