"""One run as a file: taken out of a lake, and into another, where what is there wins."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import uuid
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from hmct_track.errors import LakeError, UsageError
from hmct_track.lake.apart import archive_problem
from hmct_track.lake.care import rows_of_runs, with_steps
from hmct_track.lake.duck import DISK_ERRORS, Connection, connect, translated
from hmct_track.lake.lake import Lake
from hmct_track.lake.places import written
from hmct_track.lake.schema import (
    CALIBRATION_NODES,
    MEASUREMENTS,
    MODELS,
    MOVED_MEASUREMENTS,
    NODES,
    NOTES,
    REFERENCES,
    RUNS,
    SAMPLES,
    SCHEMA_VERSION,
    SCORES,
    TABLES,
    TAGS,
    Table,
)
from hmct_track.lake.views import literal, select_rows
from hmct_track.types import RunState

_OWNERS = {
    SAMPLES: (SAMPLES, "data_id"),
    NODES: (MODELS, "model_id"),
    CALIBRATION_NODES: (MODELS, "model_id"),
    **{t: (RUNS, "run_id") for t in TABLES if t.key[0] == "run_id" and t is not RUNS},
}
"""Tables whose rows belong to a row of another: with that they are there, or they are not."""
_MEASURED = (MEASUREMENTS, MOVED_MEASUREMENTS, SCORES)
_OF_THE_PLACE = {"updated_at", "version", "imported_from", "mlflow_run_id", "mlflow_uri", "pid"}
"""Columns that say where a row was made, not what it is."""
_LAST = (MODELS, RUNS, TAGS, NOTES)
"""What says that the rest is there is put into place after it."""


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    runs: list[str]
    """Ids of the runs in the archive."""
    added: list[str]
    """Ids of those that the lake did not have."""
    kept: dict[str, int] = field(default_factory=dict)
    """Table to number of rows in which archive and lake differ, and the lake's were kept."""


def export_run(lake: Lake, run_id: str, target: Path) -> None:
    """Write a run, its steps and all that they rest on to one file.

    Raises:
        LakeError: a part cannot be read, or the file not be written.
    """
    import pyarrow.parquet as pq

    from hmct_track.lake.archive_rules import MANIFEST

    chosen = sorted(with_steps(lake, [run_id]))
    try:
        with written(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(MANIFEST, json.dumps({"schema_version": SCHEMA_VERSION}))
            for table, data in rows_of_runs(lake, chosen):
                if data.num_rows:
                    buffer = io.BytesIO()
                    pq.write_table(data, buffer, compression="zstd")
                    archive.writestr(f"{table.name}.parquet", buffer.getvalue())
    except OSError as error:
        raise LakeError(f"cannot write {str(target)!r}: {error}") from error


def import_run(lake: Lake, source: Path) -> Imported:
    """Add what `export_run` wrote. What the lake has wins, and a second time changes nothing.

    The archive is read by a process of its own, which checks every value, before anything is
    written. A run that was running when it was exported becomes KILLED; where MLflow had it is left
    out, since an archive is not to say which servers are asked.

    Raises:
        UsageError: the file is none that `export_run` wrote, or of a newer version.
        LakeError: it cannot be written.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            if not source.is_file():  # a FIFO would be waited for without end
                raise UsageError(f"{str(source)!r} cannot be imported: it is no regular file")
            origin = f"{source.name} (sha256 {_sha256(source)[:16]})"
        except OSError as error:
            raise UsageError(f"{str(source)!r} cannot be read: {error}") from error
        problem = archive_problem(source, folder)
        if not problem:
            with translated(), connect(lake.path) as connection:
                incoming = _Incoming(lake, connection, folder, origin)
                problem = incoming.problem()
                if not problem:
                    return incoming.add()
    raise UsageError(f"{str(source)!r} cannot be imported: {problem}")


class _Incoming:
    """The rows of an archive beside those of the lake that it goes to."""

    def __init__(self, lake: Lake, connection: Connection, folder: Path, origin: str) -> None:
        self._lake, self._connection = lake, connection
        self._archived = [t for t in TABLES if (folder / f"{t.name}.parquet").exists()]
        shown = "".join(c if c.isprintable() else "?" for c in origin)
        connection.execute("CREATE TEMP TABLE origin AS SELECT $1::VARCHAR AS name", [shown])
        for table in TABLES:
            found = None
            if table in self._archived:
                found = f"read_parquet({literal(folder / f'{table.name}.parquet')})"
                connection.execute(f"CREATE TEMP VIEW raw_{table.name} AS FROM {found}")
            for whose, select in (
                ("archive", _as_imported(table, select_rows(table, found))),
                ("lake", select_rows(table, lake.source(table), lake.has_imports)),
            ):
                connection.execute(f"CREATE TEMP VIEW {whose}_{table.name} AS {select}")

    def problem(self) -> str:
        """What in the archive contradicts itself or leads nowhere; empty if nothing does."""
        for table in self._archived:
            if table not in (RUNS, TAGS, NOTES, *_MEASURED) and self._count(_contradictions(table)):
                return f"its {table.name} say different things of one key"
        for table, column, target in REFERENCES:
            lost = self._count(
                f"SELECT {column} FROM archive_{table.name} WHERE {column} IS NOT NULL "  # noqa: S608
                f"EXCEPT (SELECT {column} FROM archive_{target.name} "
                f"UNION ALL SELECT {column} FROM lake_{target.name})"
            )
            if lost:
                return (
                    f"{lost} of its {table.name}.{column} are neither among its {target.name} nor "
                    "among the lake's"
                )
        return ""

    def add(self) -> Imported:
        """Write what the lake does not have, and tell what differs from what it has."""
        runs = self._ids("FROM archive_runs")
        added = self._ids(_new(RUNS))
        kept = {table.name: self._count(_different(table)) for table in self._archived}
        self._write([table for table in self._archived if self._count(_new(table))])
        return Imported(runs, added, {name: count for name, count in kept.items() if count})

    def _write(self, tables: list[Table]) -> None:
        """Write the new rows of tables, all of them aside before the first is put into place."""
        part = f"imported-{uuid.uuid4().hex}.parquet"
        order = sorted(tables, key=lambda t: _LAST.index(t) if t in _LAST else -1)
        try:
            with ExitStack() as stack:
                # What was entered last is left, and with that renamed, first.
                for table in reversed(order):
                    target = self._lake.path / "tables" / table.name / part
                    temporary = stack.enter_context(written(target))
                    self._connection.execute(
                        f"COPY ({_new(table)}) TO {literal(temporary)} "
                        "(FORMAT parquet, COMPRESSION zstd)"
                    )
                if MEASUREMENTS in tables:
                    self._lake.note_import()
        except DISK_ERRORS as error:
            raise LakeError(
                f"cannot write to the lake in {str(self._lake.path)!r}: {error}"
            ) from error

    def _ids(self, select: str) -> list[str]:
        rows = self._connection.execute(f"SELECT run_id FROM ({select}) ORDER BY 1").fetchall()  # noqa: S608
        return [str(row[0]) for row in rows]

    def _count(self, select: str) -> int:
        row = self._connection.execute(f"SELECT count(*) FROM ({select})").fetchone()  # noqa: S608
        return int(row[0]) if row else 0


def _as_imported(table: Table, select: str) -> str:
    """Rows of an archive as they are to be in the lake: marked, and of no process or server."""
    changes = []
    if "imported_from" in {column.name for column in table.columns}:
        changes.append("(SELECT name FROM origin) AS imported_from")
    if table is RUNS:
        killed = f"state = '{RunState.RUNNING.value}'"
        changes += [
            "NULL::BIGINT AS pid",
            "NULL::VARCHAR AS mlflow_run_id",
            "NULL::VARCHAR AS mlflow_uri",
            f"if({killed}, 'it was running when it was exported', error) AS error",
            f"if({killed}, '{RunState.KILLED.value}', state) AS state",
        ]
    replaced = f" REPLACE ({', '.join(changes)})" if changes else ""
    return f"SELECT *{replaced} FROM ({select})"  # noqa: S608


def _compared(table: Table) -> str:
    """The columns in which two rows of one key should be the same."""
    of_place = _OF_THE_PLACE | ({"run_id"} if table in _MEASURED else set())
    return ", ".join(f'"{c.name}"' for c in table.columns if c.name not in of_place)


def _contradictions(table: Table) -> str:
    key = ", ".join(table.key)
    known = f"SELECT DISTINCT {_compared(table)} FROM raw_{table.name}"  # noqa: S608
    return f"SELECT {key} FROM ({known}) GROUP BY ALL HAVING count(*) > 1"  # noqa: S608


def _new(table: Table) -> str:
    """Rows that the lake does not have; of what it has nothing is added to."""
    rows = f"FROM archive_{table.name} ANTI JOIN lake_{table.name} USING ({', '.join(table.key)})"
    if table not in _OWNERS:
        return rows
    owner, column = _OWNERS[table]
    return f"FROM ({rows}) ANTI JOIN lake_{owner.name} USING ({column})"


def _different(table: Table) -> str:
    """Rows of what the lake has that it has differently, or not."""
    there = f"FROM archive_{table.name} SEMI JOIN lake_{table.name} USING ({', '.join(table.key)})"
    if table in _OWNERS:
        owner, column = _OWNERS[table]
        there += f" UNION FROM archive_{table.name} SEMI JOIN lake_{owner.name} USING ({column})"
    columns = _compared(table)
    return f"SELECT {columns} FROM ({there}) EXCEPT SELECT {columns} FROM lake_{table.name}"  # noqa: S608


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
