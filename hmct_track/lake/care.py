"""Care of a lake: merging parts, dropping runs, finding what is wrong, moving runs."""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from hmct_track.errors import LakeError, QueryError, UsageError
from hmct_track.lake.apart import part_problems
from hmct_track.lake.duck import is_gone
from hmct_track.lake.lake import Lake
from hmct_track.lake.parts import arrow_schema, fitted, read_part, write_table
from hmct_track.lake.places import is_remote
from hmct_track.lake.rows import RunningRow
from hmct_track.lake.schema import (
    CONFIGS,
    MEASUREMENTS,
    MOVED_MEASUREMENTS,
    RUNS,
    SAMPLES,
    SCORES,
    TABLES,
    TAGS,
    Table,
)
from hmct_track.types import RunState

GRACE_SECONDS = 1.0
"""How long parts that were merged stay for those who are reading them."""
_DAY = 24 * 3600
_LOST_AFTER = 7 * _DAY
_MOST_PID = 2**31 - 1
_TRIES = 20
_PAUSE = 0.1
_LARGE = 128 * 2**20
"""A part of so many bytes is left as it is."""


def compact(lake: Lake) -> dict[str, tuple[int, int]]:
    """Merge the parts of each table into one, while others read and write.

    The merged part is in place before those that it was made of go, so that every row is there at
    any moment; a row that is there twice for that time counts once, as always.

    Returns:
        Table name to number of parts that were merged, and of those that they became.

    Raises:
        LakeError: a part cannot be read or written; no row was lost.
    """
    _refuse_links(lake)
    merged = {}
    for table in TABLES:
        parts = _merge(lake, table)
        if parts:
            merged[table] = parts
    _remove(part for parts in merged.values() for part in parts)
    return {table.name: (len(parts), 1) for table, parts in merged.items()}


def _is_linked(lake: Lake, table: Table) -> bool:
    """Whether a table's folder is a link, in a lake from someone else perhaps to files of yours."""
    folder = lake.path / "tables" / table.name
    return not is_remote(lake.path) and (folder.is_symlink() or folder.parent.is_symlink())


def _refuse_links(lake: Lake) -> None:
    for table in TABLES:
        if _is_linked(lake, table):
            raise LakeError(
                f"the folder of {table.name} in the lake {str(lake.path)!r} is a link; what is in "
                "it is not removed, so put the folder itself there"
            )


def _merge(lake: Lake, table: Table) -> list[Path]:
    """Merge the small parts of a table, and return them; none if there is nothing to merge.

    Another process may merge as well, and have removed some in the meantime; then what is there now
    is merged.
    """
    for left in reversed(range(_TRIES)):
        try:
            parts = [part for part in parts_of(lake, table) if part.stat().st_size < _LARGE]
            if len(parts) > 1:
                lake.write_merged(table, parts, _merged_path(lake, table))
                return parts
        except (FileNotFoundError, QueryError) as error:
            gone = isinstance(error, FileNotFoundError) or is_gone(error.__cause__)
            if not (gone and left):
                raise LakeError(f"cannot merge the parts of {table.name}: {error}") from error
            time.sleep(_PAUSE)
        else:
            return []
    return []


def _merged_path(lake: Lake, table: Table) -> Path:
    return lake.path / "tables" / table.name / f"merged-{uuid.uuid4().hex}.parquet"


def _remove(parts: Iterable[Path]) -> None:
    """Remove parts whose rows are in another by now.

    A reader that began to list the folder before the other part was there must have come to the end
    of the list; if it then opens one that is gone, it tries again.
    """
    gone = list(parts)
    if gone:
        time.sleep(GRACE_SECONDS)
    for part in gone:
        part.unlink(missing_ok=True)  # another process may merge as well


def parts_of(lake: Lake, table: Table) -> list[Path]:
    """The parts of a table that have rows; ``0.parquet`` has none and stays."""
    folder = lake.path / "tables" / table.name
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in found if p.suffix == ".parquet" and p.name != "0.parquet")


def lost_runs(lake: Lake) -> list[str]:
    """Runs that are RUNNING in the lake though nothing runs them any more, such as after SIGKILL.

    On this machine the process is looked for. Of a run on another machine nothing is known; it is
    taken for lost after a week.
    """
    return [row["run_id"] for row in lake.query("running") if _is_lost(row)]


def mark_killed(lake: Lake, run_ids: Sequence[str]) -> None:
    """Set runs to KILLED.

    Raises:
        LakeError: it cannot be written.
    """
    told = {"state": RunState.KILLED.value, "error": "the process ended without a word"}
    now = datetime.now(UTC).replace(tzinfo=None)
    wanted = set(run_ids)
    lake.append(
        RUNS,
        [
            {**row, **told, "updated_at": now, "version": _after(row["version"])}
            for row in lake.rows(RUNS)
            if row["run_id"] in wanted and row["state"] == RunState.RUNNING
        ],
    )


def _after(version: int | None) -> int | None:
    """The version of what others say of a run: before the run's own next row."""
    return None if version is None else version + 1


def check(lake: Lake) -> list[str]:
    """What is wrong with a lake, a line each; nothing if it is whole.

    Parts are read by a process of its own: what is in them may make a library end it.
    """
    parts = [(table, part) for table in TABLES for part in parts_of(lake, table)]
    problems = part_problems(parts)
    found = [
        f"{part} {problem}"
        for (_, part), problem in zip(parts, problems, strict=True)
        if problem and part.exists()  # it may have been merged meanwhile
    ]
    if found:
        return found  # a query would fail at the same parts
    return [
        f"{row['keys']} {row['source']} lead nowhere in {row['target']}, such as {row['example']}"
        for row in lake.query("orphans")
    ]


def leftovers(lake: Lake) -> list[Path]:
    """Temporary files of writers that were killed more than a day ago."""
    if is_remote(lake.path):
        return []  # what is uploaded shows only when it is whole
    before = time.time() - _DAY
    found = {*lake.path.glob(".*.tmp"), *lake.path.glob(".*.tmp.wal")}
    for table in TABLES:
        if not _is_linked(lake, table):
            found |= set((lake.path / "tables" / table.name).glob(".*.tmp"))
    return sorted(path for path in found if _age_time(path) < before)


def _age_time(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # its writer has just ended
        return time.time()


def drop_runs(lake: Lake, run_ids: Sequence[str]) -> None:
    """Drop runs, their steps, and what no other run rests on. Nothing may run meanwhile.

    Raises:
        UsageError: an analysis is running.
        LakeError: a part cannot be read or written.
    """
    _refuse_links(lake)
    running = [row["run_id"] for row in lake.query("running") if not _is_lost(row)]
    if running:
        raise UsageError(f"run {running[0]} is running; drop runs when it has ended")
    gone = with_steps(lake, run_ids)
    kept = [row["run_id"] for row in lake.query("runs") if row["run_id"] not in gone]
    masks = {table: _of_runs(lake, table, kept) for table in TABLES}
    before = {table: parts_of(lake, table) for table in TABLES}
    for table, keep in masks.items():
        if before[table]:
            write_table(_merged_path(lake, table), _table(lake, table, keep))
    _remove(part for parts in before.values() for part in parts)


def _is_lost(row: RunningRow) -> bool:
    process = row["pid"] or 0
    if row["host"] == platform.node() and 0 < process <= _MOST_PID:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is someone else's, and runs
            return False
        return False
    if row["started_at"] is None:
        return True
    started = row["started_at"].replace(tzinfo=UTC).timestamp()
    return bool(time.time() - started > _LOST_AFTER)


def with_steps(lake: Lake, run_ids: Sequence[str]) -> set[str]:
    """Run ids, and those of their steps."""
    wanted = set(run_ids)
    return wanted | {row["run_id"] for row in lake.query("runs") if row["parent_run_id"] in wanted}


def rows_of_runs(lake: Lake, table: Table, run_ids: Sequence[str]) -> pa.Table:
    """The rows of a table that runs rest on."""
    return _table(lake, table, _of_runs(lake, table, run_ids))


def _of_runs(lake: Lake, table: Table, run_ids: Sequence[str]) -> pa.Table:
    """The keys of a table's rows that these runs rest on."""
    chosen = set(run_ids)
    if table is TAGS or table.key[0] == "run_id":
        return _only(table, "run_id", sorted(chosen))
    if table in (MEASUREMENTS, MOVED_MEASUREMENTS, SCORES):
        rows = [row for row in lake.query("used_measurements") if row["run_id"] in chosen]
        names = ("model_id", "config_id", "sample_id")
        keys = {(row["model_id"], row["config_id"], row["sample_id"]) for row in rows}
        return pa.table(
            {n: pa.array([k[i] for k in keys], pa.string()) for i, n in enumerate(names)}
        )
    if table is CONFIGS:
        rows = lake.query("used_measurements")
        return _only(table, "config_id", {r["config_id"] for r in rows if r["run_id"] in chosen})
    runs = [row for row in lake.query("runs") if row["run_id"] in chosen]
    if table is SAMPLES:
        return _only(table, "data_id", {row["data_id"] for row in runs})
    return _only(table, "model_id", {row["model_id"] for row in runs})


def _only(table: Table, column: str, values: Collection[str]) -> pa.Table:
    kind = arrow_schema(table).field(column).type
    return pa.table({column: pa.array(sorted(values), kind)})


def _table(lake: Lake, table: Table, keys: pa.Table) -> pa.Table:
    """The rows of a table, as they were written, that have one of these keys."""
    tables = [fitted(read_part(part), table) for part in parts_of(lake, table)]
    rows = pa.concat_tables(tables) if tables else arrow_schema(table).empty_table()
    # Lists cannot be carried through a join, so that the places of rows are.
    places = rows.select(keys.column_names)
    places = places.append_column("place", pa.array(range(len(rows)), pa.int64()))
    found = places.join(keys, keys.column_names, join_type="left semi").column("place")
    return rows.take(found.sort())
