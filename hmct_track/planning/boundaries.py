"""What it costs that a tensor passes from a node of one type to a node of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hmct_track.model import QuantModel
from hmct_track.planning.moves import Board, is_operand
from hmct_track.types import CalibrationKind, CalibrationNode, Quantization, QuantType, State


@dataclass(frozen=True)
class End:
    """A node at one end of a boundary."""

    calibrated: str
    """The type in which it reads activations, as calibrated."""
    slot: int | None
    """The slot that changes it; None where none does."""
    types: tuple[str, ...]
    """Its type by the choice of the slot; a single one without a slot."""

    def type_in(self, state: Sequence[int]) -> str:
        """Its type in a state."""
        return self.types[0 if self.slot is None else state[self.slot]]


@dataclass(frozen=True)
class Boundaries:
    """Pairs of nodes of which one reads what the other gives, and the price of unlike types."""

    pairs: tuple[tuple[End, End], ...]
    price: float

    def count(self, state: Sequence[int]) -> int:
        """How many more there are than in the calibrated model; below 0 where there are fewer."""
        now = sum(a.type_in(state) != b.type_in(state) for a, b in self.pairs)
        return now - sum(a.calibrated != b.calibrated for a, b in self.pairs)

    def cost(self, state: Sequence[int]) -> float:
        """What they add to the cost of the calibrated model."""
        return self.price * self.count(state)


def find_boundaries(model: QuantModel, board: Board, price: float) -> Boundaries:
    """Where boundaries can be, of a board whose slots are nodes.

    A node has the type in which it reads its first activation. What has no quantizers of its own,
    such as a Relu, has that of the node before it; inputs of the model are in no type.

    Args:
        model: the model.
        board: its slots and moves.
        price: of one boundary.
    """
    leading = {
        node.name: first
        for node in model.quantizable_nodes
        if (first := _first_activation(model, node.calibration_nodes))
    }
    ends = {name: _end(name, first, board) for name, first in leading.items()}
    pairs = dict.fromkeys(
        (before, name) for name in leading for before in _before(model, name, leading)
    )
    return Boundaries(tuple((ends[a], ends[b]) for a, b in pairs), price)


def _first_activation(model: QuantModel, names: Sequence[str]) -> CalibrationNode | None:
    own = (model.calibration_by_name[name] for name in names)
    found = (c for c in own if c.kind is CalibrationKind.ACTIVATION and is_operand(c))
    return next(found, None)


def _end(name: str, first: CalibrationNode, board: Board) -> End:
    calibrated = first.params.qtype.name if first.enabled else "float32"
    for slot, move in board.raised:
        if name in slot.nodes:
            return End(calibrated, None, (_type(move.fragment, first.name, calibrated),))
    for place, (slot, moves) in enumerate(zip(board.slots, board.moves, strict=True)):
        if name in slot.nodes:
            types = (_type(move.fragment, first.name, calibrated) for move in moves)
            return End(calibrated, place, (calibrated, *types))
    return End(calibrated, None, (calibrated,))


def _type(fragment: Mapping[str, State], name: str, calibrated: str) -> str:
    state = fragment.get(name, Quantization.AS_CALIBRATED)
    if state is Quantization.OFF:
        return "float32"
    return state.name if isinstance(state, QuantType) else calibrated


def _before(model: QuantModel, name: str, leading: Mapping[str, object]) -> Iterator[str]:
    """The nodes with a type whose outputs a node reads, through those without one."""
    makers = {tensor: node for node in model.general_nodes for tensor in node.outputs}
    passed = {c.output: c.input for c in model.calibration_nodes}
    left, seen = list(model.general_by_name[name].inputs), set()
    while left:
        tensor = left.pop()
        tensor = passed.get(tensor, tensor)
        node = makers.get(tensor)
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.name in leading:
            yield node.name
        else:
            left += node.inputs
