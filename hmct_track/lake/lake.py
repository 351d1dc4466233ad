"""The lake: a folder of Parquet parts, and DuckDB to ask it. The only module that imports duckdb.

::

    hmct_lake/
      lake.json                 schema version
      lake.duckdb               one view per table, for any DuckDB client
      tables/<table>/*.parquet  immutable parts
      mlflow.db, artifacts/     MLflow's own store
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from hmct_track.errors import LakeError, QueryError
from hmct_track.lake.parts import write_part
from hmct_track.lake.places import ENVIRONMENT, filesystem, is_remote, written
from hmct_track.lake.queries import MACROS, VIEWS, Query, load_query
from hmct_track.lake.result import Result
from hmct_track.lake.schema import SCHEMA_VERSION, TABLES, Table
from hmct_track.types import digest

_FEW = 64
"""Parts of a table that DuckDB opens in no time."""
_TRIES = 10
_PAUSE = 0.05

Row = dict[str, Any]
_T = TypeVar("_T")


class Lake:
    """A lake on disk. Any number of processes may write to it and read from it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Whoever makes the connection or its views; two connections would each have half of them.
        self._filling = threading.Lock()
        self._filled: set[str] = set()
        """Tables whose views read their parts by now."""
        self._asking: dict[int, duckdb.DuckDBPyConnection] = {}

    @classmethod
    def create(cls, path: Path) -> Lake:
        """Open the lake at ``path``, making it first where it is missing.

        Raises:
            LakeError: the folder cannot be written, or is of a newer version.
        """
        if "?" in str(path):  # neither DuckDB nor SQLAlchemy takes it for part of a file name
            raise LakeError(f"the path of a lake cannot have a '?', as {str(path)!r} has")
        if (path / "lake.json").exists():
            cls.open(path)  # one that is newer is not touched
        try:
            for table in TABLES:
                folder = path / "tables" / table.name
                if not is_remote(path):  # object storage has no folders
                    folder.mkdir(parents=True, exist_ok=True)
                # A part without rows keeps the view valid while the table is empty.
                if not (folder / "0.parquet").exists():
                    write_part(folder, table, [], "0")
            if not (path / "lake.json").exists():
                _write_version(path, oldest=SCHEMA_VERSION)
            elif _version(path) < SCHEMA_VERSION:
                # Older parts stay as they are: the views give NULL for what they lack.
                _write_version(path, oldest=_oldest_parts(path))
        except OSError as error:
            raise LakeError(f"cannot make a lake in {str(path)!r}: {error}") from error
        lake = cls.open(path)
        if not is_remote(path):
            lake._refresh_database()
        return lake

    @classmethod
    def open(cls, path: Path) -> Lake:
        """Open the lake at ``path`` for reading.

        Raises:
            LakeError: there is none, or it is of a newer version.
        """
        version = _version(path)
        if version > SCHEMA_VERSION:
            raise LakeError(
                f"the lake in {str(path)!r} has schema version {version}; this hmct-track knows "
                f"up to {SCHEMA_VERSION}, so upgrade it"
            )
        return cls(path)

    def append(
        self, table: Table, rows: Sequence[Mapping[str, Any]], part: str | None = None
    ) -> None:
        """Add rows to a table as one part.

        Raises:
            LakeError: the part cannot be written.
        """
        try:
            write_part(self.path / "tables" / table.name, table, rows, part)
        except OSError as error:
            raise LakeError(f"cannot write to the lake in {str(self.path)!r}: {error}") from error

    def has_part(self, table: Table, part: str) -> bool:
        """Whether a table has a part of this name."""
        return (self.path / "tables" / table.name / f"{part}.parquet").exists()

    def query(self, name: str, /, **params: Any) -> list[Row]:
        """Rows of the shipped query ``name``, as dictionaries.

        Raises:
            QueryError: parameters are missing or unknown, or the query failed.
        """
        result = self.run_query(load_query(name), params)
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]

    def run_query(self, query: Query, params: Mapping[str, Any], most: int | None = None) -> Result:
        """Run a query with its parameters bound; give no more than ``most`` rows.

        Raises:
            QueryError: parameters are missing or unknown, or the query failed.
        """
        expected = {param.name for param in query.params}
        optional = {param.name for param in query.optional}
        if not expected <= params.keys() <= expected | optional:
            may = f" and may take {', '.join(sorted(optional))}" if optional else ""
            raise QueryError(
                f"query {query.name!r} takes {', '.join(sorted(expected)) or 'no parameters'}{may}"
                f"; given were {', '.join(sorted(params)) or 'none'}"
            )
        bound = {**dict.fromkeys(optional), **params} or None
        return self._execute(query.sql, bound, _tables_of(query.sql), most)

    def sql(self, text: str, most: int | None = None) -> Result:
        """Run one SELECT of a user's.

        It can read the lake's tables, and no other file; it can write nothing.

        Args:
            text: the statement.
            most: give no more rows than that; the others are not held, nor computed if the
                statement allows that.

        Raises:
            QueryError: it is no single SELECT, or it failed.
        """
        with self._filling, _translated():
            statements = self._connection.extract_statements(text)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            found = ", ".join(s.type.name for s in statements) or "nothing"
            raise QueryError(
                f"only one SELECT can be run, but the text holds {found}; the lake is read-only "
                "(a PIVOT has to name its values: ON column IN (...))"
            )
        return self._execute(text, None, frozenset(table.name for table in TABLES), most)

    def interrupt(self) -> None:
        """Interrupt the statements that run; those who wait for them get a QueryError."""
        for cursor in list(self._asking.values()):
            cursor.interrupt()

    def write_merged(self, table: Table, parts: Sequence[Path], target: Path) -> int:
        """Write the rows of some parts as one part, each key once, and return how many there are.

        Raises:
            LakeError: a part cannot be read, or the merged one not be written.
        """
        files = ", ".join(_literal(part) for part in parts)
        source = _select(table, f"read_parquet([{files}], union_by_name = true)")
        # Sorted by key, so that a query about one run or model reads little of it.
        merged = f"SELECT * FROM ({source}) ORDER BY {', '.join(table.key)}"  # noqa: S608
        options = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"
        try:
            with written(target) as temporary, _translated(), self._connect() as connection:
                connection.execute(f"COPY ({merged}) TO {_literal(temporary)} ({options})")
                found = connection.execute(
                    f"SELECT count(*) FROM read_parquet({_literal(temporary)})"  # noqa: S608
                ).fetchone()
        except OSError as error:
            raise LakeError(f"cannot write {target}: {error}") from error
        return int(found[0]) if found else 0

    def _execute(
        self, sql: str, params: Row | None, tables: frozenset[str], most: int | None
    ) -> Result:
        def ask() -> Result:
            self._fill(tables)
            cursor = self._connection.cursor()
            self._asking[id(cursor)] = cursor
            try:
                cursor.execute(sql, params)
                columns = tuple(column[0] for column in cursor.description or ())
                rows = cursor.fetchall() if most is None else cursor.fetchmany(most + 1)
            finally:
                del self._asking[id(cursor)]
            return Result(columns, rows[:most], most is not None and len(rows) > most)

        return _retried(ask)

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB in memory with the lake's views, shut off from every other file."""
        with _translated():
            connection = self._connect()
            for statement in _empty_views():
                connection.execute(statement)
            connection.execute("SET parquet_metadata_cache = true")  # a part never changes
            connection.execute("SET temp_directory = ''")
            tables = self.path / "tables"
            # A pattern is looked up in the list before DuckDB expands it.
            allowed = {_literal(tables), _literal(_glob_escaped(tables))}
            connection.execute(f"SET allowed_directories = [{', '.join(sorted(allowed))}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
        return connection

    def _connect(self) -> duckdb.DuckDBPyConnection:
        """DuckDB in memory, which can read where the lake is."""
        connection = duckdb.connect()
        if is_remote(self.path):
            connection.register_filesystem(filesystem(self.path))
        return connection

    def _fill(self, tables: frozenset[str]) -> None:
        """Make the views of these tables read their parts, each when it is first asked for."""
        with self._filling, _translated():
            for table in TABLES:
                if table.name in tables - self._filled:
                    for statement in _table_views(table, self._parts(table)):
                        _retried(partial(self._connection.execute, statement))
                    self._filled.add(table.name)

    def _view_statements(self) -> Iterator[str]:
        # DuckDB opens all parts that a view reads when it makes the view. Those that read others
        # are made while the tables are still empty, and each table's parts are opened once.
        yield from _empty_views()
        for table in TABLES:
            yield from _table_views(table, self._parts(table))

    def _parts(self, table: Table) -> str | None:
        """What reads all parts of a table; None if an older version did not have it."""
        folder = self.path / "tables" / table.name
        if not folder.is_dir():
            return None
        parts = _literal(_glob_escaped(folder) + "/*.parquet")
        # It opens every part before it reads any. That is needed where older parts lack columns,
        # and tells DuckDB how many rows there are to join; of a thousand parts it takes too long.
        few = sum(1 for _ in islice(folder.iterdir(), _FEW + 1)) <= _FEW
        unite = few or _oldest_parts(self.path) < SCHEMA_VERSION
        return f"read_parquet({parts}, union_by_name = {'true' if unite else 'false'})"

    def _refresh_database(self) -> None:
        """Write ``lake.duckdb``, if it is missing or made for another place or version.

        It is written aside and renamed, never opened for writing where it lies, so that no client
        that has it open is in the way. Its views hold absolute paths, which DuckDB requires to work
        from any directory; a lake that was moved gets new ones here.
        """
        statements = list(self._view_statements())
        identity = digest(*(s.encode() for s in statements), duckdb.__version__.encode())
        stamp, database = self.path / ".views", self.path / "lake.duckdb"
        if database.exists() and stamp.exists() and stamp.read_text() == identity:
            return
        temporary = self.path / f".{uuid.uuid4().hex}.duckdb.tmp"
        try:
            with _translated(), duckdb.connect(temporary) as connection:
                for statement in statements:
                    _retried(partial(connection.execute, statement))
            os.replace(temporary, database)
            _replace(stamp, identity)
        except OSError as error:
            raise LakeError(f"cannot write {database}: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)


def _write_version(path: Path, oldest: int) -> None:
    about = {"schema_version": SCHEMA_VERSION, "oldest_parts": oldest}
    _replace(path / "lake.json", json.dumps(about))


def _oldest_parts(path: Path) -> int:
    """The oldest schema version that parts of the lake may have; 0 if that was not noted."""
    oldest = json.loads((path / "lake.json").read_text()).get("oldest_parts")
    return oldest if isinstance(oldest, int) else 0


def _version(path: Path) -> int:
    """The schema version of the lake at ``path``."""
    try:
        version = json.loads((path / "lake.json").read_text())["schema_version"]
    except FileNotFoundError as error:
        raise LakeError(
            f"there is no lake in {str(path)!r}; run an analysis first, or say where it is "
            f"with --lake or {ENVIRONMENT}"
        ) from error
    except Exception as error:  # the errors of object storage have no family
        if not (is_remote(path) or isinstance(error, OSError | ValueError | KeyError | TypeError)):
            raise
        raise LakeError(f"{path / 'lake.json'} cannot be read: {error}") from error
    if not isinstance(version, int):
        raise LakeError(f"{path / 'lake.json'} has schema version {version!r}, which is no number")
    return version


def _retried(call: Callable[[], _T]) -> _T:
    """What a call of DuckDB gives.

    Between listing and opening it, a part may have been merged into another; then it is done again.
    """
    for _ in range(_TRIES):
        try:
            with _translated():
                return call()
        except QueryError as error:
            found = error.__cause__
            if not isinstance(found, duckdb.IOException) or "No such file" not in str(error):
                raise
            time.sleep(_PAUSE)
    with _translated():
        return call()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise QueryError("interrupted") from error
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of Ctrl-C
            raise KeyboardInterrupt from error
        raise


def _empty_views() -> Iterator[str]:
    for table in TABLES:
        yield from _table_views(table, None)
    for name in VIEWS:
        yield f"CREATE OR REPLACE VIEW {name} AS {load_query(name).sql}"
    for name in MACROS:
        yield load_query(name).macro


@cache
def _tables_of(sql: str) -> frozenset[str]:
    """Names of the tables that a shipped query reads, or more: whatever stands in it unqualified.

    Statements of users may spell names in ways that this does not see; theirs read all tables.
    """
    found: set[str] = set()
    words = set(re.findall(r"(?<![.\w$])\w+", re.sub(r"--.*", "", sql)))
    for table in TABLES:
        if words & {table.name, table.rows_view}:
            found.add(table.name)
    for name in words & {*VIEWS, *MACROS}:
        inner = load_query(name).sql
        if inner != sql:
            found |= _tables_of(inner)
    return frozenset(found)


def _table_views(table: Table, source: str | None) -> Iterator[str]:
    yield f"CREATE OR REPLACE VIEW {table.name} AS {_select(table, source)}"
    if table.rows_view:
        yield f"CREATE OR REPLACE VIEW {table.rows_view} AS {_rows(table, source)}"


def _select(table: Table, source: str | None) -> str:
    """A SELECT of the rows of a table, each key once: rows may be written again, by design."""
    # Table and column names are the schema's own; the source has quoted literals for paths.
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    key = ", ".join(table.key)
    order = f" ORDER BY {key}, {table.latest_by} DESC" if table.latest_by else ""
    return f"SELECT DISTINCT ON ({key}) {columns} FROM ({_rows(table, source)}){order}"  # noqa: S608


def _rows(table: Table, source: str | None) -> str:
    """A SELECT of the rows as they were written.

    Parts of an older schema lack columns: the typed columns of no rows fill in.
    """
    typed = ", ".join(f'NULL::{column.type} AS "{column.name}"' for column in table.columns)
    none = f"SELECT {typed} WHERE false"
    return f"{none} UNION ALL BY NAME FROM {source}" if source else none


def _literal(text: str | Path) -> str:
    """An SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def _glob_escaped(path: Path) -> str:
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _replace(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old or the new one."""
    with written(path) as temporary:
        temporary.write_text(text)
