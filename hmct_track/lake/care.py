"""Care of a lake: merging parts, dropping runs, finding what is wrong, moving runs."""

from __future__ import annotations

import io
import json
import os
import platform
import time
import uuid
import zipfile
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hmct_track.errors import LakeError, UsageError
from hmct_track.lake.lake import Lake
from hmct_track.lake.parts import arrow_schema, read_part, write_table
from hmct_track.lake.places import is_remote, written
from hmct_track.lake.rows import RunningRow
from hmct_track.lake.schema import (
    CONFIGS,
    MEASUREMENTS,
    RUNS,
    SAMPLES,
    SCHEMA_VERSION,
    TABLES,
    TAGS,
    Table,
)
from hmct_track.types import RunState, digest

_MANIFEST = "hmct_run.json"
_GRACE_SECONDS = 1.0
_DAY = 24 * 3600
_LOST_AFTER = 7 * _DAY
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
    small = {}
    for table in TABLES:
        parts = [part for part in _parts(lake, table) if part.stat().st_size < _LARGE]
        if len(parts) > 1:
            small[table] = parts
            lake.write_merged(table, parts, _merged_path(lake, table))
    _remove(part for parts in small.values() for part in parts)
    return {table.name: (len(parts), 1) for table, parts in small.items()}


def _merged_path(lake: Lake, table: Table) -> Path:
    return lake.path / "tables" / table.name / f"merged-{uuid.uuid4().hex}.parquet"


def _remove(parts: Iterable[Path]) -> None:
    """Remove parts whose rows are in another by now.

    A reader that began to list the folder before the other part was there must have come to the end
    of the list; if it then opens one that is gone, it tries again.
    """
    gone = list(parts)
    if gone:
        time.sleep(_GRACE_SECONDS)
    for part in gone:
        part.unlink(missing_ok=True)  # another process may merge as well


def _parts(lake: Lake, table: Table) -> list[Path]:
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
    rows = _table(lake, RUNS, _only(RUNS, "run_id", run_ids)).to_pylist()
    newest = {row["run_id"]: row for row in sorted(rows, key=lambda row: row["updated_at"])}
    told = {"state": RunState.KILLED.value, "error": "the process ended without a word"}
    now = datetime.now(UTC).replace(tzinfo=None)
    lake.append(RUNS, [{**row, **told, "updated_at": now} for row in newest.values()])


def check(lake: Lake) -> list[str]:
    """What is wrong with a lake, a line each; nothing if it is whole."""
    found = []
    for table in TABLES:
        for part in _parts(lake, table):
            try:
                data = read_part(part)
                _fitted(data, table)
            except (OSError, pa.ArrowException) as error:
                found.append(f"{part} cannot be read: {' '.join(str(error).split())}")
                continue
            lacking = [name for name in table.key if name not in data.column_names]
            if lacking:
                found.append(f"{part} is no part of {table.name}: it lacks {', '.join(lacking)}")
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
    found = [*lake.path.glob(".*.tmp"), *(lake.path / "tables").glob("*/.*.tmp")]
    return sorted(path for path in found if path.stat().st_mtime < before)


def drop_runs(lake: Lake, run_ids: Sequence[str]) -> None:
    """Drop runs, their steps, and what no other run rests on. Nothing may run meanwhile.

    Raises:
        UsageError: an analysis is running.
        LakeError: a part cannot be read or written.
    """
    running = [row["run_id"] for row in lake.query("running") if not _is_lost(row)]
    if running:
        raise UsageError(f"run {running[0]} is running; drop runs when it has ended")
    gone = _with_steps(lake, run_ids)
    kept = [row["run_id"] for row in lake.query("runs") if row["run_id"] not in gone]
    masks = {table: _of_runs(lake, table, kept) for table in TABLES}
    before = {table: _parts(lake, table) for table in TABLES}
    for table, keep in masks.items():
        if before[table]:
            write_table(_merged_path(lake, table), _table(lake, table, keep))
    _remove(part for parts in before.values() for part in parts)


def export_run(lake: Lake, run_id: str, target: Path) -> None:
    """Write a run, its steps and all that they rest on to one file.

    Raises:
        LakeError: a part cannot be read, or the file not be written.
    """
    chosen = sorted(_with_steps(lake, [run_id]))
    try:
        with written(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(_MANIFEST, json.dumps({"schema_version": SCHEMA_VERSION}))
            for table in TABLES:
                data = _table(lake, table, _of_runs(lake, table, chosen))
                if data.num_rows:
                    buffer = io.BytesIO()
                    pq.write_table(data, buffer, compression="zstd")
                    archive.writestr(f"{table.name}.parquet", buffer.getvalue())
    except OSError as error:
        raise LakeError(f"cannot write {str(target)!r}: {error}") from error


def import_run(lake: Lake, source: Path) -> list[str]:
    """Add what `export_run` wrote, and return the ids of its runs; a second time changes nothing.

    Raises:
        UsageError: the file is none that `export_run` wrote, or of a newer version.
        LakeError: it cannot be written.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            version = json.loads(archive.read(_MANIFEST))["schema_version"]
            if version > SCHEMA_VERSION:
                raise UsageError(
                    f"{str(source)!r} has schema version {version}; this hmct-track knows up to "
                    f"{SCHEMA_VERSION}, so upgrade it"
                )
            names = set(archive.namelist())
            tables = {
                table: pq.read_table(io.BytesIO(archive.read(f"{table.name}.parquet")))
                for table in TABLES
                if f"{table.name}.parquet" in names
            }
        checked = {table: _fitted(data, table) for table, data in tables.items()}
        runs: list[str] = sorted({str(i) for i in checked[RUNS].column("run_id").to_pylist()})
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        zipfile.BadZipFile,
        pa.ArrowException,
    ) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{str(source)!r} is no run that hmct-debugger lake export wrote: {error}"
        ) from error
    part = f"imported-{digest(*(run_id.encode() for run_id in runs))}"
    # The runs come last: what they rest on is there before them.
    for table in sorted(checked, key=lambda table: table is RUNS):
        try:
            write_table(lake.path / "tables" / table.name / f"{part}.parquet", checked[table])
        except OSError as error:
            raise LakeError(f"cannot write to the lake in {str(lake.path)!r}: {error}") from error
    return runs


def _is_lost(row: RunningRow) -> bool:
    if row["host"] == platform.node() and row["pid"]:
        try:
            os.kill(row["pid"], 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is someone else's, and runs
            return False
        return False
    started = row["started_at"].replace(tzinfo=UTC).timestamp()
    return bool(time.time() - started > _LOST_AFTER)


def _with_steps(lake: Lake, run_ids: Sequence[str]) -> set[str]:
    wanted = set(run_ids)
    return wanted | {row["run_id"] for row in lake.query("runs") if row["parent_run_id"] in wanted}


def _of_runs(lake: Lake, table: Table, run_ids: Sequence[str]) -> pa.Table:
    """The keys of a table's rows that these runs rest on."""
    chosen = set(run_ids)
    if table is TAGS or table.key[0] == "run_id":
        return _only(table, "run_id", sorted(chosen))
    if table is MEASUREMENTS:
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
    tables = [_fitted(read_part(part), table) for part in _parts(lake, table)]
    rows = pa.concat_tables(tables) if tables else arrow_schema(table).empty_table()
    # Lists cannot be carried through a join, so that the places of rows are.
    places = rows.select(keys.column_names)
    places = places.append_column("place", pa.array(range(len(rows)), pa.int64()))
    found = places.join(keys, keys.column_names, join_type="left semi").column("place")
    return rows.take(found.sort())


def _fitted(data: pa.Table, table: Table) -> pa.Table:
    """A table with the columns of the schema: those it lacks are NULL, others go."""
    columns = [
        data.column(f.name).cast(f.type)
        if f.name in data.column_names
        else pa.nulls(len(data), f.type)
        for f in arrow_schema(table)
    ]
    return pa.table(columns, schema=arrow_schema(table))
