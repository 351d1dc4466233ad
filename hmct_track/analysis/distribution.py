"""Which tensors show how the data of a node are distributed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hmct_track.errors import UsageError
from hmct_track.model import QuantModel, expand
from hmct_track.types import CalibrationKind, CalibrationNode

NODE_OUTPUT = "node_output"


@dataclass(frozen=True)
class Observed:
    """A node whose data are looked at: one tensor, float and perhaps calibrated."""

    node: str
    kind: str
    """``node_output``, ``weight`` or ``activation``."""
    tensor: str
    """Of a calibration node its output, which is its input where the node is off."""
    threshold: float | None
    axis: int

    @property
    def is_compared(self) -> bool:
        """Whether the calibrated model's values are looked at as well."""
        return self.kind != CalibrationKind.ACTIVATION


def plan(
    model: QuantModel, nodes: Sequence[str], is_real: Callable[[str], bool]
) -> tuple[Observed, ...]:
    """What to look at for nodes of any type.

    Args:
        model: the model.
        nodes: names of general and calibration nodes.
        is_real: tells whether a tensor holds real numbers.

    Raises:
        UnknownNodeError: a node does not exist.
        UsageError: the list is empty, or a node has no float output.
    """
    _refuse_empty(nodes)
    real = [n.name for n in model.general_nodes if any(is_real(output) for output in n.outputs)]
    names = _expanded(nodes, real, list(model.calibration_by_name), list(model.general_by_name))
    return tuple(_observed(model, name, is_real) for name in names)


def plan_channels(
    model: QuantModel, nodes: Sequence[str], axis: int | None
) -> tuple[Observed, ...]:
    """What to look at channel by channel: calibration nodes only.

    Raises:
        UnknownNodeError: a node does not exist.
        UsageError: the list is empty, or a node is no calibration node.
    """
    _refuse_empty(nodes)
    observed = []
    for name in _expanded(nodes, list(model.calibration_by_name), list(model.general_by_name)):
        if name not in model.calibration_by_name:
            node = model.general_node(name)
            feeding = f"; those of this one are {', '.join(node.calibration_nodes)}"
            raise UsageError(
                f"node {name!r} ({node.op_type}) is not a calibration node"
                f"{feeding if node.calibration_nodes else ', and none feeds it'}"
            )
        observed.append(_of_calibration(model.calibration_by_name[name], axis))
    return tuple(observed)


def _refuse_empty(nodes: Sequence[str]) -> None:
    if not nodes:
        raise UsageError("nodes_list is empty; name at least one node")


def _expanded(names: Sequence[str], *groups: Sequence[str]) -> list[str]:
    """The nodes that names, patterns and module paths stand for."""
    return list(dict.fromkeys(n for name in names for n in expand(name, *groups)))


def _observed(model: QuantModel, name: str, is_real: Callable[[str], bool]) -> Observed:
    if name in model.calibration_by_name:
        return _of_calibration(model.calibration_by_name[name], None)
    node = model.general_node(name)
    tensor = next((output for output in node.outputs if is_real(output)), None)
    if tensor is None:
        raise UsageError(f"node {name!r} ({node.op_type}) has no float output to look at")
    readers = [c.params.max_threshold for c in model.calibration_nodes if c.input == tensor]
    threshold = max((t for t in readers if t is not None), default=None)
    return Observed(name, NODE_OUTPUT, tensor, threshold, 1)


def _of_calibration(node: CalibrationNode, axis: int | None) -> Observed:
    if axis is None:
        axis = node.params.axis if node.kind is CalibrationKind.WEIGHT else 1
    return Observed(node.name, node.kind.value, node.output, node.params.max_threshold, axis)
