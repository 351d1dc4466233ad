"""What a query gives, and how it is written for programs."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from typing import IO, Any


@dataclass(frozen=True)
class Result:
    """Rows of a query with the names of their columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_cut: bool = False
    """Whether there are more rows than were asked for."""

    def write_csv(self, stream: IO[str]) -> None:
        """Write a line of names, then the rows; lists and objects as JSON."""
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
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
