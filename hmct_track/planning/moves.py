"""What may change in a model, together, to which types, and what that costs."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hmct_track.errors import ModelError, UsageError
from hmct_track.model import QuantModel, effective_params
from hmct_track.types import (
    CalibrationKind,
    CalibrationNode,
    GeneralNode,
    QuantConfig,
    Quantization,
    QuantType,
    State,
    TensorSpec,
)

TYPES = ("int16", "float16", "float32")
COSTS = ("macs", "bytes", "nodes")
_MATRIX_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_FLOAT_BITS = 32

Shapes = Mapping[str, TensorSpec]


@dataclass(frozen=True)
class Slot:
    """What changes together: a node, or several that share a quantizer."""

    name: str
    nodes: tuple[str, ...]
    """The general nodes whose inputs it changes, in topological order."""
    calibrations: tuple[str, ...]
    position: int = 0
    """Its place among those of a board, in topological order."""

    @property
    def names(self) -> set[str]:
        """All that it may be called by."""
        return {self.name, *self.nodes, *self.calibrations}


@dataclass(frozen=True)
class Move:
    """A change of a slot: its name, what it makes of a configuration, and its price."""

    name: str
    """Such as ``int16``."""
    fragment: Mapping[str, State]
    """Calibration node to what it does instead."""
    price: Callable[[], float]
    """Added to the cost of the calibrated model; known once the shapes of tensors are."""


@dataclass(frozen=True)
class Board:
    """All slots with their moves, and why some are not possible."""

    slots: tuple[Slot, ...]
    moves: tuple[tuple[Move, ...], ...]
    """Of each slot, in the order in which types were given."""
    refused: tuple[str, ...] = ()
    raised: tuple[tuple[Slot, Move], ...] = ()
    """What is changed in every state."""

    def config(self, state: Sequence[int], known: Sequence[str]) -> QuantConfig:
        """The configuration of a state: for each slot the number of its move, 0 for none."""
        overrides = {name: s for _, move in self.raised for name, s in move.fragment.items()}
        for moves, k in zip(self.moves, state, strict=True):
            overrides.update(moves[k - 1].fragment if k else {})
        return QuantConfig(Quantization.AS_CALIBRATED, overrides).canonical(known)

    def prices(self) -> list[list[float]]:
        """Of each choice of each slot; choice 0 costs nothing."""
        return [[0.0, *(move.price() for move in moves)] for moves in self.moves]

    @property
    def base(self) -> float:
        """What is changed in every state costs this."""
        return sum((move.price() for _, move in self.raised), 0.0)


@dataclass
class Tariff:
    """What a node costs as it is quantized.

    Args:
        model: the model.
        kind: ``macs``, ``bytes``, ``nodes`` or the path of a CSV of costs by node and type.
        shapes: types and shapes of tensors, by name.
    """

    model: QuantModel
    kind: str
    shapes: Shapes = field(default_factory=dict)
    table: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """What a cost counts."""
        names = {"macs": "MAC bits", "bytes": "bytes of weights", "nodes": "nodes"}
        return names.get(self.kind, "of the table")

    def price(self, slot: Slot, qtype: QuantType, fragment: Mapping[str, State]) -> float:
        """What a move adds to the cost."""
        if self.kind == "nodes":
            return float(max(len(slot.nodes), 1))
        if self.kind == "bytes":
            return sum(self._bytes(name, state) for name, state in fragment.items())
        if self.kind == "macs":
            return sum(self._work(name, fragment) for name in slot.nodes)
        names = slot.nodes if slot.name in self.model.general_by_name else (slot.name,)
        return sum(self._listed(name, str(qtype)) - self._listed(name, None) for name in names)

    def _bytes(self, name: str, state: State) -> float:
        node = self.model.calibration_by_name[name]
        if node.kind is not CalibrationKind.WEIGHT or node.goes_with or node.is_correction:
            return 0.0
        return self._size(node.output) * (bits_of(state, node) - node.params.qtype.bits) / 8

    def _work(self, name: str, fragment: Mapping[str, State]) -> float:
        """Multiply-accumulates times the mean of the bits that its inputs gain."""
        node = self.model.general_by_name[name]
        known = self.model.calibration_by_name
        inputs = [known[c] for c in node.calibration_nodes if is_operand(known[c])]
        gained = [
            bits_of(fragment[c.name], c) - c.params.qtype.bits for c in inputs if c.name in fragment
        ]
        return self.work(node) * sum(gained) / max(len(inputs), 1)

    def work(self, node: GeneralNode) -> float:
        """Multiply-accumulates of a node for one sample; the elements it gives out, of others.

        Unknown dimensions count as 1.
        """
        out = self._size(node.outputs[0]) if node.outputs else 1.0
        if node.op_type not in _MATRIX_OPS or len(node.inputs) < 2:
            return out
        first, second = (self._shape(name) for name in node.inputs[:2])
        if node.op_type == "Conv":
            return out * math.prod(second[1:])
        if node.op_type == "ConvTranspose":
            return math.prod(first) * math.prod(second[1:])
        if node.op_type == "Gemm":
            given = self._shape(node.outputs[0])
            return out * math.prod(second) / max(given[-1] if given else 1, 1)
        return out * (first[-1] if first else 1)

    def _listed(self, name: str, qtype: str | None) -> float:
        found = self.table.get((name, qtype or self._own_type(name)))
        if found is None:
            raise UsageError(
                f"costs {self.kind!r} has no line for node {name!r} as "
                f"{qtype or self._own_type(name)}; give one for each node and type"
            )
        return found

    def _own_type(self, name: str) -> str:
        """The widest type of what a node reads, as it is calibrated."""
        known = self.model.calibration_by_name
        nodes = [known[name]] if name in known else [
            known[c]
            for c in self.model.general_by_name[name].calibration_nodes
            if is_operand(known[c])
        ]  # fmt: skip
        widest = max(nodes, key=lambda n: n.params.qtype.bits, default=None)
        return widest.params.qtype.name if widest else "float32"

    def _shape(self, tensor: str) -> tuple[int, ...]:
        spec = self.shapes.get(tensor)
        return tuple(d or 1 for d in spec.shape or ()) if spec else ()

    def _size(self, tensor: str) -> float:
        return float(math.prod(self._shape(tensor)))


def read_costs(path: str) -> dict[tuple[str, str], float]:
    """Costs of a CSV with the columns node, type and cost: such as a user's own latencies.

    Raises:
        UsageError: it cannot be read, lacks a column or has a cost that is no number.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            missing = {"node", "type", "cost"} - set(rows.fieldnames or ())
            if missing:
                raise UsageError(
                    f"costs {path!r} has no column {', '.join(sorted(missing))}; a CSV with "
                    "node, type and cost was expected"
                )
            return {(row["node"], row["type"]): _cost(path, row) for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"cost {path!r} is neither {', '.join(COSTS)} nor a CSV that can be read: {error}"
        ) from error


def _cost(path: str, row: Mapping[str, str | None]) -> float:
    text = row["cost"]
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(
            f"costs {path!r}: the cost of node {row['node']!r} as {row['type']} is {text!r}; a "
            "number of 0 or more was expected"
        )
    return value


def make_board(
    model: QuantModel,
    types: Sequence[QuantType],
    tariff: Tariff,
    *,
    by_node: bool,
    only: Collection[str] | None = None,
    raised: Collection[str] = (),
) -> Board:
    """The slots of a model with the moves to these types.

    Args:
        model: the model.
        types: what slots may become.
        tariff: what that costs.
        by_node: whether a node changes with all that it reads, or each calibration node by itself.
        only: names of nodes that may change; None is all of them.
        raised: names of nodes that become the first of the types in every state.

    Raises:
        UsageError: no move is possible, or not that of a node that is to be raised.
    """
    kept: list[tuple[Slot, tuple[Move, ...]]] = []
    changed: list[tuple[Slot, Move]] = []
    refused: list[str] = []
    for slot in _slots(model) if by_node else _single(model):
        is_raised = not slot.names.isdisjoint(raised)
        if only is not None and not is_raised and slot.names.isdisjoint(only):
            continue
        placed = replace(slot, position=len(kept) + len(changed))
        moves = []
        for qtype in types[:1] if is_raised else types:
            fragment = _fragment(model, slot, qtype, refused)
            if fragment:
                moves.append(_move(placed, qtype, fragment, tariff))
        if moves and is_raised:
            changed.append((placed, moves[0]))
        elif moves:
            kept.append((placed, tuple(moves)))
    why = f": {refused[0]}" if refused else ", as all of them are as wide already"
    missing = set(raised).difference(*(slot.names for slot, _ in changed))
    if missing:
        why = f": {refused[0]}" if refused else ", as it is as wide already, or not quantized"
        raise UsageError(f"raised names {min(missing)!r}, which cannot become {types[0]}{why}")
    if not kept and not changed:
        which = "no node" if only is None else "none of the nodes that may change"
        raise UsageError(f"{which} can become {', '.join(map(str, types))}{why}")
    slots = tuple(slot for slot, _ in kept)
    return Board(slots, tuple(moves for _, moves in kept), tuple(refused), tuple(changed))


def _move(slot: Slot, qtype: QuantType, fragment: Mapping[str, State], tariff: Tariff) -> Move:
    return Move(str(qtype), fragment, lambda: tariff.price(slot, qtype, fragment))


def _slots(model: QuantModel) -> list[Slot]:
    """Nodes, those that share a quantizer together: it has one type."""
    names = [node.name for node in model.quantizable_nodes]
    head = {name: name for name in names}

    def root(name: str) -> str:
        while head[name] != name:
            name = head[name]
        return name

    owner: dict[str, str] = {}
    for name in names:
        for calibration in model.calibrations_of(name):
            first = owner.setdefault(calibration, name)
            head[root(name)] = root(first)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[root(name)].append(name)
    return [
        Slot(
            members[0],
            tuple(members),
            tuple(dict.fromkeys(c for m in members for c in model.calibrations_of(m))),
        )
        for members in groups.values()
    ]


def _single(model: QuantModel) -> list[Slot]:
    return [
        Slot(node.name, node.consumers, model.calibrations_of(node.name))
        for node in model.switchable_calibrations
    ]


def _fragment(
    model: QuantModel, slot: Slot, qtype: QuantType, refused: list[str]
) -> dict[str, State]:
    """What the calibration nodes of a slot become; empty if none can be wider than it is."""
    known = model.calibration_by_name
    state: State = Quantization.OFF if qtype.name == "float32" else qtype
    found: dict[str, State] = {}
    for name in slot.calibrations:
        node = known[name]
        if node.goes_with or node.is_correction:
            continue
        if _is_wide(node, qtype):
            continue
        # What is kept in 32 bits is a bias: of a float node it is float.
        found[name] = Quantization.OFF if node.params.qtype.bits > 16 else state
        try:
            effective_params(node, QuantConfig(Quantization.AS_CALIBRATED, found))
        except ModelError as error:
            refused.append(str(error))
            del found[name]
    weights = {name for name in found if known[name].kind is CalibrationKind.WEIGHT}
    corrections = [n for n in slot.calibrations if known[n].goes_with in weights]
    return {**found, **dict.fromkeys(corrections, Quantization.OFF)} if found else {}


def _is_wide(node: CalibrationNode, qtype: QuantType) -> bool:
    own = node.params.qtype
    if not node.enabled or own == qtype or own.name == "float32":
        return True
    return own.bits >= qtype.bits if qtype.is_integer else False


def is_operand(node: CalibrationNode) -> bool:
    """Whether it quantizes what is multiplied: no bias, and no correction of one."""
    return not (node.goes_with or node.is_correction or node.params.qtype.bits > 16)


def bits_of(state: State, node: CalibrationNode) -> int:
    """Width in bits of what a calibration node gives out in a state."""
    if state is Quantization.OFF:
        return _FLOAT_BITS
    if isinstance(state, QuantType):
        return state.bits
    return node.params.qtype.bits
