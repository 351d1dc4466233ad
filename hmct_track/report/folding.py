"""How a network folds: by module path, runs of like blocks, and stretches of the rest.

Pure functions of names and operators. Exporters name nodes ``/model.2/cv1/conv/Conv``: all but the
last part is the module path. Names without a path fold by what repeats in their operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_OPEN = 1200
"""A network of so many nodes or fewer opens unfolded."""
FOLDED = 150
"""What is on the screen of a larger one, at most where its modules allow it."""
_STRETCH = 40
"""Nodes in a row that belong to nothing are folded from here on, so many at a time."""
_LONGEST_BLOCK = 64
"""Nodes of the longest block that is looked for among names without a path."""


@dataclass
class Group:
    """Nodes that fold into one."""

    label: str
    kind: str
    """module, repeat (like blocks in a row), block (one of them) or stretch."""
    parent: int | None
    nodes: list[int] = field(default_factory=list)
    """Positions of all nodes in it, those of groups below it as well."""
    opened: bool = False
    """Whether it is open when the graph is."""


@dataclass(frozen=True)
class Folding:
    """Groups, and the innermost group of each node."""

    groups: list[Group]
    group_of: list[int | None]


@dataclass
class _Tree:
    """A module: what is in it, in order; nodes are their positions."""

    label: str
    kind: str = "module"
    members: list[_Tree | int] = field(default_factory=list)

    def positions(self) -> list[int]:
        found: list[int] = []
        for member in self.members:
            found += [member] if isinstance(member, int) else member.positions()
        return found


def module_path(name: str) -> tuple[str, ...]:
    """The parts of a node's module path; none where its name has none."""
    separator = "/" if "/" in name.strip("/") or name.startswith("/") else ""
    parts = [part for part in name.split("/") if part] if separator else [name]
    return tuple(parts[:-1])


def fold(names: Sequence[str], operators: Sequence[str]) -> Folding:
    """The groups of a network.

    Args:
        names: of the nodes, in topological order.
        operators: theirs.
    """
    root = _modules(names)
    _repeat(root, operators)
    groups: list[Group] = []
    group_of: list[int | None] = [None] * len(names)
    _number(root, None, groups, group_of)
    found = Folding(groups, group_of)
    for number in opened(found, MOST_OPEN):
        groups[number].opened = True
    return found


def _modules(names: Sequence[str]) -> _Tree:
    """The tree of module paths; a module with one member that is a module is that one."""
    root = _Tree("")
    known: dict[tuple[str, ...], _Tree] = {(): root}
    for position, name in enumerate(names):
        path = module_path(name)
        for depth in range(1, len(path) + 1):
            if path[:depth] not in known:
                known[path[:depth]] = made = _Tree(path[depth - 1])
                known[path[: depth - 1]].members.append(made)
        known[path].members.append(position)
    _collapse(root)
    while len(root.members) == 1 and isinstance(root.members[0], _Tree):
        root = root.members[0]
    return root


def _collapse(tree: _Tree) -> None:
    for place, member in enumerate(tree.members):
        if isinstance(member, int):
            continue
        _collapse(member)
        only = member.members[0] if len(member.members) == 1 else None
        if isinstance(only, int):
            tree.members[place] = only
        elif only is not None:
            tree.members[place] = _Tree(f"{member.label}/{only.label}", "module", only.members)


def _repeat(tree: _Tree, operators: Sequence[str]) -> None:
    """Put like modules in a row, and what repeats among nodes, into groups of their own."""
    for member in tree.members:
        if isinstance(member, _Tree):
            _repeat(member, operators)
    keys = [
        (operators[m],) if isinstance(m, int) else ("", *(operators[p] for p in m.positions()))
        for m in tree.members
    ]
    members: list[_Tree | int] = []
    place = 0
    while place < len(keys):
        length, times = _repetition(keys, place, tree.members)
        if times < 2:
            members.append(tree.members[place])
            place += 1
            continue
        blocks = [tree.members[place + k * length :][:length] for k in range(times)]
        members.append(_repeated(blocks, operators))
        place += length * times
    if len(members) == 1 and isinstance(members[0], _Tree) and tree.label:
        members = members[0].members  # nothing but like blocks: it needs no group in the group
    tree.members = _stretches(members, operators)


def _repetition(
    keys: Sequence[tuple[str, ...]], place: int, members: Sequence[_Tree | int]
) -> tuple[int, int]:
    """How long a block that repeats from here is, and how often it comes; the one that covers most.

    A block of one is a module; nodes alone are blocks from two on.
    """
    best = (1, 1)
    for length in range(1, min(_LONGEST_BLOCK, (len(keys) - place) // 2) + 1):
        if length == 1 and isinstance(members[place], int):
            continue
        block = keys[place : place + length]
        if keys[place + length] != block[0] or len(set(block)) == 1 < length:
            continue
        times = 1
        while keys[place + times * length : place + (times + 1) * length] == block:
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def _repeated(blocks: list[list[_Tree | int]], operators: Sequence[str]) -> _Tree:
    made = []
    for number, block in enumerate(blocks, start=1):
        only = block[0] if len(block) == 1 else None
        if isinstance(only, _Tree):
            made.append(only)
        else:
            ends = [m.positions()[0] if isinstance(m, _Tree) else m for m in (block[0], block[-1])]
            label = f"block {number} ({operators[ends[0]]} to {operators[ends[1]]})"
            made.append(_Tree(label, "block", block))
    first, last = (made[k].label.partition(" (")[0] for k in (0, -1))
    return _Tree(f"{len(made)} like: {first} … {last}", "repeat", _parts(made))


def _stretches(members: list[_Tree | int], operators: Sequence[str]) -> list[_Tree | int]:
    """Long rows of nodes that belong to nothing, folded by number."""
    found: list[_Tree | int] = []
    row: list[int] = []

    def end() -> None:
        if len(row) <= _STRETCH:
            found.extend(row)
        else:
            size = -(-len(row) // -(-len(row) // _STRETCH))  # stretches of about one length
            for start in range(0, len(row), size):
                part = row[start : start + size]
                label = f"{operators[part[0]]} to {operators[part[-1]]}"
                found.append(_Tree(label, "stretch", [*part]))
        row.clear()

    for member in members:
        if isinstance(member, int):
            row.append(member)
        else:
            end()
            found.append(member)
    end()
    return _parts(found)


def _parts(members: Sequence[_Tree | int]) -> list[_Tree | int]:
    """Members, or about forty parts of them where they are more than fit a screen."""
    if len(members) <= FOLDED:
        return [*members]
    size = -(-len(members) // _STRETCH)
    parts = [[*members[start : start + size]] for start in range(0, len(members), size)]
    return [_Tree(f"part {number}", "stretch", part) for number, part in enumerate(parts, start=1)]


def _number(
    tree: _Tree, parent: int | None, groups: list[Group], group_of: list[int | None]
) -> None:
    for member in tree.members:
        if isinstance(member, int):
            group_of[member] = parent
        else:
            groups.append(Group(member.label, member.kind, parent, member.positions()))
            _number(member, len(groups) - 1, groups, group_of)


def opened(folding: Folding, most: int) -> set[int]:
    """The groups that are open where a network is first seen.

    All of a network of at most ``most`` nodes; of a larger one the largest, while it stays small.
    """
    groups, group_of = folding.groups, folding.group_of
    if len(group_of) <= most:
        return set(range(len(groups)))
    below: dict[int | None, int] = {}
    for group in groups:
        below[group.parent] = below.get(group.parent, 0) + 1
    for parent in group_of:
        below[parent] = below.get(parent, 0) + 1
    found = set[int]()
    shown, can = below.get(None, 0), [i for i, g in enumerate(groups) if g.parent is None]
    while can:
        can.sort(key=lambda i: (-len(groups[i].nodes), i))
        place = next((i for i in can if shown - 1 + below[i] <= FOLDED), None)
        if place is None:
            break
        shown += below[place] - 1
        found.add(place)
        can.remove(place)
        can += [i for i, g in enumerate(groups) if g.parent == place]
    return found
