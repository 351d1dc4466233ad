"""Care of a lake: merging parts, dropping runs, finding what is wrong, moving runs."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from hmct_track.lake.lake import Lake
from hmct_track.lake.schema import TABLES, Table

_LARGE = 128 * 2**20
"""A part of so many bytes is left as it is."""


def compact(lake: Lake) -> dict[str, tuple[int, int]]:
    """Merge the parts of each table into one, while others read and write.

    The merged part is in place before those that it was made of go, so that every row is there at
    any moment; a row that is there twice for that time counts once, as always.

    Returns:
        Table name to number of parts before and after, of the tables that had more than one.

    Raises:
        LakeError: a part cannot be read or written; no row was lost.
    """
    merged = {}
    for table in TABLES:
        before = _parts(lake, table)
        small = [part for part in before if part.stat().st_size < _LARGE]
        if len(small) > 1:
            _merge(lake, table, small)
            merged[table.name] = (len(before), len(_parts(lake, table)))
    return merged


def _merge(lake: Lake, table: Table, parts: Sequence[Path]) -> None:
    folder = lake.path / "tables" / table.name
    lake.write_merged(table, parts, folder / f"merged-{uuid.uuid4().hex}.parquet")
    for part in parts:
        part.unlink(missing_ok=True)  # another process may merge as well


def _parts(lake: Lake, table: Table) -> list[Path]:
    """The parts of a table that have rows; ``0.parquet`` has none and stays."""
    folder = lake.path / "tables" / table.name
    found = [Path(entry) for entry in os.scandir(folder)] if folder.is_dir() else []
    return sorted(p for p in found if p.suffix == ".parquet" and p.name != "0.parquet")
