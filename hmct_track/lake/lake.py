"""The lake: a folder of Parquet parts, and DuckDB to ask it.

::

    hmct_lake/
      lake.json                 schema version
      lake.duckdb               one view per table, for any DuckDB client
      tables/<table>/*.parquet  immutable parts
      mlflow.db, artifacts/     MLflow's own store
      outbox/*.json             runs that MLflow has not been told of yet
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from hmct_track.errors import LakeError, QueryError
from hmct_track.lake.duck import (
    VERSION,
    Asked,
    Connection,
    Limits,
    check_statement,
    connect,
    guarded_connection,
    retried,
    shipped_connection,
    spilling_connection,
    translated,
)
from hmct_track.lake.layout import Keys, Wanted, may_hold, part_name
from hmct_track.lake.parts import write_part
from hmct_track.lake.places import (
    ENVIRONMENT,
    filesystem,
    is_remote,
    names_in,
    remove_quietly,
    written,
)
from hmct_track.lake.queries import Query, load_query
from hmct_track.lake.result import CHUNK, Result, Rows
from hmct_track.lake.rows import TypedQueries
from hmct_track.lake.schema import SCHEMA_VERSION, TABLES, Table
from hmct_track.lake.scope import Opening, Read, Scope
from hmct_track.lake.views import (
    empty_views,
    glob_escaped,
    literal,
    select_rows,
    table_views,
    tables_of,
    views_for,
    views_identity,
)
from hmct_track.metrics import METRICS
from hmct_track.types import digest

_FEW = 64
"""Parts of a table that DuckDB opens in no time."""
_SMALL = 4 * 2**20
"""Bytes of the parts of a table whose rows are held while questions are asked."""
EMPTY = "0.parquet"
"""A part of every table that has no rows."""
_ALL = frozenset(table.name for table in TABLES)

Row = Mapping[str, Any]
"""A row that is read: of any query, or of values to write."""


class Lake(TypedQueries):
    """A lake on disk. Any number of processes may write to it and read from it at once."""

    def __init__(self, path: Path, opening: Opening | None = None) -> None:
        self.path = path
        self._opening = opening
        self._guards: dict[int | None, _Views] = {}
        self._making = threading.Lock()
        self._asking: set[Asked] = set()

    @classmethod
    def create(cls, path: Path, opening: Opening | None = None) -> Lake:
        """Open the lake at ``path``, making it first where it is missing.

        Args:
            path: where it is.
            opening: a connection to it that is being made already.

        Raises:
            LakeError: the folder cannot be written, or is of a newer version.
        """
        if "?" in str(path):  # neither DuckDB nor SQLAlchemy takes it for part of a file name
            raise LakeError(f"the path of a lake cannot have a '?', as {str(path)!r} has")
        try:
            there = (path / "lake.json").exists()
            if there:
                cls.open(path)  # one that is newer is not touched
            # Each look at object storage is a request; lake.json is the last that is written there.
            whole = there and is_remote(path) and _version(path) == SCHEMA_VERSION
            begun = _ALL if whole else _begun(path)
            for table in TABLES:
                if table.name in begun:
                    continue
                folder = path / "tables" / table.name
                if not is_remote(path):  # object storage has no folders
                    folder.mkdir(parents=True, exist_ok=True)
                # A part without rows keeps the view valid while the table is empty.
                write_part(folder, table, [], Path(EMPTY).stem)
            if not (path / "lake.json").exists():
                _write_version(path, {"layout": 1}, oldest=SCHEMA_VERSION)
            elif _version(path) < SCHEMA_VERSION:
                # Older parts stay as they are: the views give NULL for what they lack.
                _write_version(path, _about(path), oldest=_oldest_parts(path))
        except OSError as error:
            raise LakeError(f"cannot make a lake in {str(path)!r}: {error}") from error
        return cls.open(path, opening)

    @classmethod
    def open(cls, path: Path, opening: Opening | None = None) -> Lake:
        """Open the lake at ``path`` for reading.

        Args:
            path: where it is.
            opening: a connection to it that is being made already.

        Raises:
            LakeError: there is none, or it is of a newer version.
        """
        version = _version(path)
        if version > SCHEMA_VERSION:
            raise LakeError(
                f"the lake in {str(path)!r} has schema version {version}; this hmct-track knows "
                f"up to {SCHEMA_VERSION}, so upgrade it"
            )
        return cls(path, opening)

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
        try:
            return (self.path / "tables" / table.name / f"{part}.parquet").exists()
        except OSError as error:
            raise LakeError(f"cannot read the lake in {str(self.path)!r}: {error}") from error

    def may_hold(self, table: Table, key: str) -> bool:
        """Whether a part of a table may have rows of a key, by the names of its parts."""
        return self.read(table, wanted={table.key[0]: Keys(frozenset([key]))}) is not None

    @property
    def has_imports(self) -> bool:
        """Whether measurements were imported into it."""
        return _about(self.path).get("imports") is True

    @property
    def is_laid_out(self) -> bool:
        """Whether its parts told their keys from the beginning."""
        return _about(self.path).get("layout") == 1

    def note_import(self) -> None:
        """Say that measurements are imported, before they are.

        Raises:
            LakeError: it cannot be written.
        """
        if self.has_imports:
            return
        try:
            _replace(self.path / "lake.json", json.dumps({**_about(self.path), "imports": True}))
        except OSError as error:
            raise LakeError(f"cannot write to the lake in {str(self.path)!r}: {error}") from error
        self.write_database()

    def rows(self, table: Table, keys: Collection[str] | None = None) -> list[Row]:
        """The rows of a table, each key once.

        Args:
            table: the table.
            keys: of the first column of its key, which rows; parts without them are not opened.

        Raises:
            QueryError: a part cannot be read.
        """
        if keys is None:
            result = self._execute(f"FROM {table.name}", None, frozenset([table.name]), None)
        else:
            result = retried(partial(self._keyed, table, {table.key[0]: Keys(frozenset(keys))}))
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]

    def _keyed(self, table: Table, wanted: Wanted) -> Result:
        read = self.read(table, wanted=wanted)
        sql = select_rows(table, read and read.sql, self.has_imports)
        return self._execute(sql, None, frozenset(), None)

    def _rows(self, name: str, params: Mapping[str, Any]) -> list[Any]:
        result = self.run_query(load_query(name), params)
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]

    def run_query(self, query: Query, params: Mapping[str, Any], most: int | None = None) -> Result:
        """Run a query with its parameters bound; give no more than ``most`` rows.

        Raises:
            QueryError: parameters are missing or unknown, or the query failed.
        """
        expected = {param.name for param in query.params}
        optional = {param.name: param.default for param in query.optional}
        if not expected <= params.keys() <= expected | optional.keys():
            may = f" and may take {', '.join(sorted(optional))}" if optional else ""
            raise QueryError(
                f"query {query.name!r} takes {', '.join(sorted(expected)) or 'no parameters'}{may}"
                f"; given were {', '.join(sorted(params)) or 'none'}"
            )
        bound = {**optional, **params}
        # SQL refuses it as well, but only where there is a row to measure.
        metric = bound.get("metric")
        if metric is not None and metric not in METRICS:
            raise QueryError(f"no metric of this name: {metric}; there are {', '.join(METRICS)}")
        tables = tables_of(query.name)
        if query.about is None:
            self._shipped.provide(query.name)
            return self._execute(query.sql, bound or None, tables, most)
        wanted = None if most is None else most + 1
        columns, rows = retried(partial(self._scope.ask, query, bound, tables, wanted))
        return Result(columns, rows[:most], most is not None and len(rows) > most)

    def sql(self, text: str, most: int | None = None, limits: Limits | None = None) -> Result:
        """Run one SELECT of a user's.

        It can read the lake's tables, and no other file; it can write nothing.

        Args:
            text: the statement.
            most: give no more rows than that; the others are not held, nor computed if the
                statement allows that.
            limits: the memory and the time that it may take.

        Raises:
            QueryError: it is no single SELECT, it failed, or met a limit.
        """
        with self.stream_sql(text, most, limits) as rows:
            return Result(rows.columns, [row for part in rows for row in part], rows.is_cut)

    @contextmanager
    def stream_sql(
        self, text: str, most: int | None = None, limits: Limits | None = None
    ) -> Iterator[Rows]:
        """As `sql`, but the rows come as they are computed, some thousands at a time.

        Raises:
            QueryError: as there; also while the rows are read.
        """
        given = limits or Limits()
        views = self._guarded(given.memory)
        check_statement(views.connection, text)
        asked, columns, first = self._begun(views, _ALL, text, None, given.seconds, CHUNK)
        try:
            yield Rows(columns, first, partial(_more, asked), most)
        finally:
            self._end(asked)

    def interrupt(self) -> None:
        """Interrupt the statements that run; those who wait for them get a QueryError."""
        for asked in list(self._asking):
            asked.cursor.interrupt()

    def write_merged(
        self, table: Table, parts: Sequence[Path], depth: int = 0, *, divide: bool = False
    ) -> list[Path]:
        """Write the rows of some parts, each key once, as one part, or divided; return those.

        Args:
            table: the table.
            parts: parts of it.
            depth: how many first characters their keys have in common.
            divide: whether to write a part for each next character.

        Raises:
            LakeError: a part cannot be read, or a merged one not be written.
        """
        folder = self.path / "tables" / table.name
        files = ", ".join(literal(glob_escaped(part)) for part in parts)
        source = select_rows(
            table, f"read_parquet([{files}], union_by_name = true)", self.has_imports
        )
        first = table.key[0]
        options = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"
        written_parts = []
        try:
            with translated(), spilling_connection(self.path) as connection:
                # Sorted by key, so that a query about one run or model reads little of it.
                order = ", ".join(table.key)
                rows = f"SELECT * FROM ({source}) ORDER BY {order}"  # noqa: S608
                connection.execute(f"CREATE TEMP TABLE merged AS {rows}")
                width = depth + 1 if divide else 0
                for _, low, high in connection.execute(
                    f"SELECT left({first}, {width}), min({first}), max({first}) "  # noqa: S608
                    "FROM merged GROUP BY 1 ORDER BY 1"
                ).fetchall():
                    target = folder / f"{part_name(width or depth, (low, high))}.parquet"
                    own = f"FROM merged WHERE {first} BETWEEN {literal(low)} AND {literal(high)}"
                    with written(target) as temporary:
                        connection.execute(f"COPY ({own}) TO {literal(temporary)} ({options})")
                    written_parts.append(target)
        except OSError as error:
            raise LakeError(f"cannot write to {folder}: {error}") from error
        return written_parts

    def _execute(
        self, sql: str, params: Row | None, tables: frozenset[str], most: int | None
    ) -> Result:
        wanted = None if most is None else most + 1
        asked, columns, rows = self._begun(self._shipped, tables, sql, params, None, wanted)
        self._end(asked)
        return Result(columns, rows[:most], most is not None and len(rows) > most)

    def _begun(
        self,
        views: _Views,
        tables: frozenset[str],
        sql: str,
        params: Row | None,
        seconds: float | None,
        wanted: int | None,
    ) -> tuple[Asked, tuple[str, ...], list[tuple[Any, ...]]]:
        """A statement that runs, its columns and its first rows; a user's has a time."""

        def ask() -> tuple[Asked, tuple[str, ...], list[tuple[Any, ...]]]:
            views.fill(tables)
            asked = Asked(views.connection, seconds)
            self._asking.add(asked)
            try:
                columns = asked.execute(sql, params, read_only=seconds is not None)
                return asked, columns, asked.fetch(wanted)
            except BaseException:
                self._end(asked)
                raise

        return retried(ask)

    @contextmanager
    def interruptible(self, asked: Asked) -> Iterator[None]:
        """Have a statement that `interrupt` interrupts; closed at the end."""
        self._asking.add(asked)
        try:
            yield
        finally:
            self._end(asked)

    def _end(self, asked: Asked) -> None:
        self._asking.discard(asked)
        asked.close()

    @cached_property
    def _shipped(self) -> _Views:
        return _Views(self, shipped_connection(self.path), self.source)

    @cached_property
    def _scope(self) -> Scope:
        return Scope(self, self._opening)

    def _guarded(self, memory: int | None) -> _Views:
        """For what users write."""
        from hmct_track.lake.guard import SCHEME

        with self._making:
            if memory not in self._guards:
                connection = guarded_connection(self.path, memory)
                source = partial(self.source, place=f"{SCHEME}://")
                self._guards[memory] = _Views(self, connection, source)
            return self._guards[memory]

    def _table_views(self) -> Iterator[str]:
        for table in TABLES:
            yield from table_views(table, self.source(table), self.has_imports)

    def source(
        self, table: Table, place: str | None = None, wanted: Wanted | None = None
    ) -> str | None:
        """What reads the parts of a table; None if there are none, as of an older version."""
        read = self.read(table, place, wanted)
        return read and read.sql

    def read(
        self, table: Table, place: str | None = None, wanted: Wanted | None = None
    ) -> Read | None:
        """What reads the parts of a table, and which; None if there are none.

        Args:
            table: the table.
            place: where the reader has the tables; where they are by default.
            wanted: what a question is about; parts without it are not opened.
        """
        folder = self.path / "tables" / table.name
        where = place + table.name if place else glob_escaped(folder)
        keys = (wanted or {}).get(table.key[0])
        if keys is None:
            few = list(islice(names_in(folder), _FEW + 1))
            if not few:
                return None
            parts, is_few = literal(f"{where}/*.parquet"), len(few) <= _FEW
            names = few
        else:
            names = sorted(
                name
                for name in names_in(folder)
                if name.endswith(".parquet")
                and name != EMPTY
                and may_hold(name.removesuffix(".parquet"), keys)
            )
            if not names:
                return None
            is_few = len(names) <= _FEW
            parts = f"[{', '.join(literal(f'{where}/{glob_escaped(name)}') for name in names)}]"
        # It opens every part before it reads any. That is needed where older parts lack columns,
        # and tells DuckDB how many rows there are to join; of a thousand parts it takes too long.
        unite = is_few or _oldest_parts(self.path) < SCHEMA_VERSION
        rows = f"read_parquet({parts}, union_by_name = {'true' if unite else 'false'})"
        if keys is None:
            return Read(rows, frozenset(names) if is_few else None)
        wanted_rows = f"(SELECT * FROM {rows} WHERE {_among(table.key[0], keys)})"  # noqa: S608
        return Read(wanted_rows, frozenset(names), is_few and self._are_small(folder, names))

    def _are_small(self, folder: Path, names: Iterable[str]) -> bool:
        """Whether parts are so small together that their rows may be copied."""
        if is_remote(self.path):  # each size would be a request
            return False
        try:
            return sum((folder / name).stat().st_size for name in names) <= _SMALL
        except FileNotFoundError:  # merged meanwhile, which reading them tells
            return False

    def write_database(self) -> None:
        """Write ``lake.duckdb``, if it is missing or made for another place or version.

        Nothing of ours reads it, so that no answer waits for it. It is written aside and renamed,
        never opened for writing where it lies, so that no client that has it open is in the way.
        Its views hold absolute paths, which DuckDB requires to work from any directory; a lake that
        was moved gets new ones here. Object storage has none.

        Raises:
            LakeError: it cannot be written.
        """
        if is_remote(self.path):
            return
        tables = list(self._table_views())
        identity = digest(*(s.encode() for s in (*tables, *views_identity(), VERSION)))
        stamp, database = self.path / ".views", self.path / "lake.duckdb"
        temporary = self.path / f".{uuid.uuid4().hex}.duckdb.tmp"
        try:
            if database.exists() and stamp.exists() and stamp.read_text() == identity:
                return
            # DuckDB opens all parts that a view reads when it makes the view. Views of views are
            # made while the tables are still empty, and each table's parts are opened once.
            retried(partial(_make_database, self.path, temporary, [*empty_views(), *tables]))
            os.replace(temporary, database)
            _replace(stamp, identity)
        except (OSError, QueryError) as error:
            raise LakeError(f"cannot write {database}: {error}") from error
        finally:
            _remove_database(temporary)


class _Views:
    """A connection whose views read their parts from when each is first asked for."""

    def __init__(
        self, lake: Lake, connection: Connection, source: Callable[[Table], str | None]
    ) -> None:
        self.connection = connection
        self._lake = lake
        self._source = source
        # Two threads would each make half of the views.
        self._filling = threading.Lock()
        self._filled: set[str] = set()
        self._made: set[str] = set()

    def provide(self, query: str) -> None:
        """Make the views that a shipped query reads, besides those of tables."""
        with self._filling:
            for statement in views_for(query, self._made):
                retried(partial(self.connection.execute, statement))

    def fill(self, tables: frozenset[str]) -> None:
        """Make the views of these tables read their parts."""
        with self._filling, translated():
            for table in TABLES:
                if table.name in tables - self._filled:
                    imports = self._lake.has_imports
                    for statement in table_views(table, self._source(table), imports):
                        retried(partial(self.connection.execute, statement))
                    self._filled.add(table.name)
                    self._made.add(table.name)


def _make_database(lake: Path, database: Path, statements: Sequence[str]) -> None:
    _remove_database(database)  # what a try before left
    with connect(lake, database) as connection:
        # One transaction: each by itself would wait for the disk.
        for statement in ("BEGIN", *statements, "COMMIT"):
            connection.execute(statement)


def _remove_database(database: Path) -> None:
    for left in (database, database.with_name(f"{database.name}.wal")):
        remove_quietly(left)


def _among(column: str, keys: Keys) -> str:
    """Which rows are wanted, in SQL."""
    if keys.since is not None:
        upper = f" AND {column} <= {literal(keys.until)}" if keys.until is not None else ""
        return f"{column} >= {literal(keys.since)}{upper}"
    return f"{column} IN ({', '.join(map(literal, sorted(keys.some)))})" if keys.some else "false"


def _begun(path: Path) -> frozenset[str]:
    """The tables that have their part without rows."""
    if is_remote(path):
        places = filesystem(path).find(cast(Any, path / "tables").path)
        found = (place.split("/")[-2:] for place in places)
        return frozenset(table for table, name in found if name == EMPTY)
    return frozenset(name for name in _ALL if (path / "tables" / name / EMPTY).exists())


def _write_version(path: Path, about: dict[str, Any], oldest: int) -> None:
    now = {**about, "schema_version": SCHEMA_VERSION, "oldest_parts": oldest}
    _replace(path / "lake.json", json.dumps(now))


def _about(path: Path) -> dict[str, Any]:
    """What ``lake.json`` says."""
    about: dict[str, Any] = json.loads((path / "lake.json").read_text())
    return about


def _oldest_parts(path: Path) -> int:
    """The oldest schema version that parts of the lake may have; 0 if that was not noted."""
    oldest = _about(path).get("oldest_parts")
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


def _more(asked: Asked) -> list[tuple[Any, ...]]:
    with translated():
        return asked.fetch(CHUNK)


def _replace(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old or the new one."""
    with written(path) as temporary:
        temporary.write_text(text)
