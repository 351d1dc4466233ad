"""What a query gives, and how it is written for programs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

CHUNK = 10_000
"""Rows that are fetched and held at once."""


@dataclass(frozen=True)
class Result:
    """Rows of a query with the names of their columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_cut: bool = False
    """Whether there are more rows than were asked for."""

    def write_csv(self, stream: IO[str]) -> None:
        """Write a line of names, then the rows; lists and objects as JSON."""
        write_csv(stream, self.columns, [self.rows])


class Rows:
    """Rows of a query as they are computed: iterating gives some thousands at a time, once."""

    def __init__(
        self,
        columns: tuple[str, ...],
        first: list[tuple[Any, ...]],
        more: Callable[[], list[tuple[Any, ...]]],
        most: int | None = None,
    ) -> None:
        self.columns = columns
        self.is_cut = False
        """Whether there are more rows than were asked for; known at the end."""
        self._first, self._more, self._most = first, more, most

    def __iter__(self) -> Iterator[list[tuple[Any, ...]]]:
        chunk, given = self._first, 0
        while chunk:
            kept = chunk if self._most is None else chunk[: self._most - given]
            self.is_cut = len(kept) < len(chunk)
            given += len(kept)
            if kept:
                yield kept
            if self.is_cut:
                return
            chunk = self._more()


def write_csv(
    stream: IO[str], columns: Sequence[str], chunks: Iterable[list[tuple[Any, ...]]]
) -> None:
    """Write a line of names, then the rows as they come; lists and objects as JSON."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for rows in chunks:
        for row in rows:
            writer.writerow([to_json(v) if isinstance(v, list | dict) else v for v in row])


def to_json(value: Any) -> str:
    """A value as JSON on one line."""
    return json.dumps(plain(value), default=str, ensure_ascii=False)


def plain(value: Any) -> Any:
    """A value for JSON, which has no NaN and no infinity: they become their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
