"""What the two analyses of how data are distributed have in common: nodes that are looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from hmct_track.errors import UsageError
from hmct_track.types import CalibrationKind, CalibrationNode, NodeType, QuantConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmct_track.analyses.base import Answer
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run

_R = TypeVar("_R", bound="Mapping[str, Any]")


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


def observed_calibration(node: CalibrationNode, axis: int | None) -> Observed:
    """A calibration node to look at; the axis is by default 1, or of a weight its own."""
    if axis is None:
        axis = node.params.axis if node.kind is CalibrationKind.WEIGHT else 1
    return Observed(node.name, node.kind.value, node.output, node.params.max_threshold, axis)


def expanded(model: QuantModel, names: Sequence[str], *groups: Sequence[str]) -> list[str]:
    """The nodes that names, patterns and module paths stand for.

    Raises:
        UsageError: there are none.
        UnknownNodeError: a node does not exist.
    """
    from hmct_track.model import expand

    if not names:
        raise UsageError("nodes_list is empty; name at least one node")
    return list(dict.fromkeys(n for name in names for n in expand(name, *groups)))


def with_progress(run: Run, observed: Sequence[Observed]) -> Iterator[tuple[int, Observed]]:
    """Each node with its place, while progress is shown."""
    from hmct_track.recording.progress import progress

    return progress(
        enumerate(observed),
        total=len(observed),
        what="observing",
        unit="nodes",
        shown=run.recording.progress,
        steps=run.steps,
    )


def values_of(run: Run, item: Observed, config: QuantConfig) -> Sequence[NDArray[Any]]:
    """A tensor's values, one array per sample; of a weight one in all."""
    from hmct_track.engine import Spill

    found = Spill()
    subject = run.subject
    for tensors in subject.engine.observe(config, subject.inputs(), [item.tensor]):
        found.append(tensors[item.tensor])
        if item.kind == CalibrationKind.WEIGHT:
            break  # the same for every sample
    return found


def by_node(rows: Sequence[_R]) -> dict[str, list[_R]]:
    """Rows by node, in the order of the run's list."""
    found: dict[str, list[_R]] = {}
    for row in rows:
        found.setdefault(row["node"], []).append(row)
    return found


def consumers_of(answer: Answer, node: str) -> list[str]:
    """The general nodes that read a calibration node; none of a general one."""
    for row in answer.query("model_nodes"):
        if row["node"] == node and row["type"] != NodeType.NODE:
            return list(row["consumers"] or ())
    return []


def figure_stem(position: int, node: str) -> str:
    """A file name from a node's: unlike names may become alike, so the position is part of it."""
    return f"{position:02d}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', node).strip('_.')[-80:]}"
