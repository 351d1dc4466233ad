"""Where rows lie: which parts a question needs not open, and which are worth merging.

A part's name tells the keys in it, as ``k<depth>_<lowest>_<highest>_<random>``: the first column of
the table's key (a run, a model, a set of samples or a configuration), and by how many first
characters of it the rows were divided. So a list of the folder is all that a reader needs, on
disk and on object storage, and there is no manifest that writers would have to agree on. A part
without such a name may hold any keys.

Parts grow: those of about one size are merged into one some times as large, so that a row is
written a handful of times in its life. What is keyed by a hash is then divided by the hash's next
character, so that a model's rows lie in a few parts however many there are. Run ids begin with
their time: parts of runs follow one another, and are not divided.
"""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmct_track.lake.schema import Table

WHOLE = 32 * 2**20
"""Bytes. A part of so many is large enough; parts that have more together are divided."""
BUDGET = 2 * WHOLE
"""Bytes that are merged at a time."""

_NAME = re.compile(r"k(\d{1,2})_([0-9A-Za-z-]{1,64})_([0-9A-Za-z-]{1,64})_[0-9a-f]{32}")
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_ANY = "any-"
_DEEPEST = 16
_TINY = 2**16
_FACTOR = 8
TINY_PARTS, _PARTS = 32, 8
"""So many parts of one size are merged by themselves; of the smallest, which open fast, more."""


@dataclass(frozen=True)
class Span:
    """What a part's name tells: its keys lie between two, both included."""

    depth: int
    low: str
    high: str

    @property
    def group(self) -> tuple[int, str]:
        """Parts of one group have the beginning of their keys in common."""
        return self.depth, self.low[: self.depth]


@dataclass(frozen=True)
class Keys:
    """The keys that a question is about: some, or all from one on, perhaps to another."""

    some: frozenset[str] = frozenset()
    since: str | None = None
    until: str | None = None

    def may_lie_in(self, span: Span) -> bool:
        """Whether one of them may be in a part of this name."""
        if self.since is not None:
            return span.high >= self.since and (self.until is None or span.low <= self.until)
        return any(span.low <= key <= span.high for key in self.some)


Wanted = Mapping[str, Keys]
"""First column of a table's key to what a question is about; other tables are read whole."""


@dataclass(frozen=True)
class Piece:
    """A part as the list of its folder tells it."""

    path: Path
    size: int

    @property
    def span(self) -> Span | None:
        """What its name tells; None where that is nothing."""
        return span_of(self.path.stem)


@dataclass(frozen=True)
class Merge:
    """Parts that are worth merging."""

    pieces: tuple[Piece, ...]
    depth: int
    """By how many first characters of their keys they are divided."""
    divide: bool
    """Whether to divide them by the next one."""

    @property
    def size(self) -> int:
        """Bytes that are read."""
        return sum(piece.size for piece in self.pieces)


def part_name(depth: int, keys: Iterable[object]) -> str:
    """The name, without suffix, of a part that has these keys; if it must, one that tells none."""
    found = set(keys)
    texts = {key for key in found if isinstance(key, str) and _ID.fullmatch(key)}
    if not found or texts != found:
        return f"{_ANY}{uuid.uuid4().hex}"
    return f"k{depth}_{min(texts)}_{max(texts)}_{uuid.uuid4().hex}"


def span_of(name: str) -> Span | None:
    """What a part's name, without suffix, tells of its keys."""
    match = _NAME.fullmatch(name)
    return Span(int(match[1]), match[2], match[3]) if match else None


def may_hold(name: str, keys: Keys) -> bool:
    """Whether a part of this name, without suffix, may hold one of the keys."""
    span = span_of(name)
    return span is None or keys.may_lie_in(span)


def is_divided(table: Table) -> bool:
    """Whether a table's parts are divided by key: by hashes, not by names or times."""
    return table.key[0] in ("model_id", "data_id", "config_id")


def merges(table: Table, pieces: Sequence[Piece], *, all_small: bool = False) -> list[Merge]:
    """What is worth merging in a table, what costs least first; no part is in two of them.

    Args:
        table: the table.
        pieces: its parts.
        all_small: whether to merge all that can be; else only where parts of a size are many.
    """
    groups: dict[tuple[int, str], list[Piece]] = defaultdict(list)
    for piece in pieces:
        span = piece.span
        groups[span.group if span else (0, "")].append(piece)
    found: list[Merge] = []
    for (depth, _), members in groups.items():
        open_ = [piece for piece in members if not _is_settled(table, piece)]
        chosen = _all(table, open_) if all_small else _many(table, open_)
        found += (_merge(table, batch, depth) for batch in chosen)
    return sorted(found, key=lambda merge: merge.size)


def _merge(table: Table, pieces: Sequence[Piece], depth: int) -> Merge:
    large = sum(piece.size for piece in pieces) >= WHOLE
    divide = large and is_divided(table) and depth < _DEEPEST
    return Merge(tuple(pieces), depth, divide)


def _is_settled(table: Table, piece: Piece) -> bool:
    """Whether a part is left as it is for good."""
    span = piece.span
    if piece.size < WHOLE:
        return False
    if span is None:  # merged before names told keys: of use once they do
        return piece.path.stem.startswith(_ANY)
    return not is_divided(table) or span.low == span.high or span.depth >= _DEEPEST


def _all(table: Table, pieces: Sequence[Piece]) -> list[list[Piece]]:
    # By time, so that parts of runs go on following one another.
    batches = _batches(sorted(pieces, key=_place))
    return [batch for batch in batches if len(batch) > 1 or batch[0].size >= WHOLE]


def _many(table: Table, pieces: Sequence[Piece]) -> list[list[Piece]]:
    if is_divided(table) and sum(piece.size for piece in pieces) >= BUDGET:
        chosen = _batches(sorted(pieces, key=lambda piece: (piece.size, _place(piece))))
        return [batch for batch in chosen if sum(p.size for p in batch) >= WHOLE]
    sizes: dict[int, list[Piece]] = defaultdict(list)
    for piece in pieces:
        sizes[_size_class(piece.size)].append(piece)
    found = []
    for size, members in sizes.items():
        if len(members) >= (_PARTS if size else TINY_PARTS):
            batches = _batches(sorted(members, key=_place))
            found += [batch for batch in batches if len(batch) > 1]
    return found


def _place(piece: Piece) -> tuple[str, str]:
    span = piece.span
    return (span.low if span else "", piece.path.name)


def _size_class(size: int) -> int:
    found, limit = 0, _TINY
    while size >= limit:
        found, limit = found + 1, limit * _FACTOR
    return found


def _batches(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Parts in their order, as many at a time as may be merged at once; a larger one alone."""
    batches: list[list[Piece]] = []
    left = 0
    for piece in pieces:
        if not batches or piece.size > left:
            batches.append([])
            left = BUDGET
        batches[-1].append(piece)
        left -= piece.size
    return batches
