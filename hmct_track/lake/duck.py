"""Connections of DuckDB, and its errors as ours. The only module that imports duckdb."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from hmct_track.errors import QueryError
from hmct_track.lake.macros import scalar_macros
from hmct_track.lake.places import is_remote, readable
from hmct_track.lake.views import empty_views, glob_escaped, literal

Connection = duckdb.DuckDBPyConnection
VERSION = duckdb.__version__

DEFAULT_SECONDS = 600.0

_MERGING_MEMORY = "512MB"
_TRIES = 10
_PAUSE = 0.05
DISK_ERRORS = (OSError, duckdb.IOException)
"""What Python and DuckDB raise where a file cannot be read or written."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Limits:
    """What one statement of a user's may take."""

    memory: int | None = None
    """Bytes; half of the machine's memory by default."""
    seconds: float = DEFAULT_SECONDS
    """Of computing; the time that a reader of the rows takes does not count."""


def connect(path: Path, database: Path | None = None) -> Connection:
    """DuckDB, in memory unless a file is given, which can read where the lake is."""
    connection = duckdb.connect(database or ":memory:")
    if is_remote(path):
        connection.register_filesystem(readable(path))
    return connection


@contextmanager
def spilling_connection(path: Path) -> Iterator[Connection]:
    """DuckDB for merging: it takes little memory, and writes aside what does not fit."""
    with tempfile.TemporaryDirectory() as folder, connect(path) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET memory_limit = '{_MERGING_MEMORY}'")
        connection.execute(f"SET temp_directory = {literal(folder)}")
        yield connection


def shipped_connection(path: Path) -> Connection:
    """DuckDB for the queries that ship, which only read; `views.views_for` makes what they read.

    It reads the lake's tables and no other file. It never holds what a user wrote but as the value
    of a parameter.
    """
    with translated():
        connection = connect(path)
        _shut(connection, str(path / "tables"))
        for statement in scalar_macros().values():
            connection.execute(statement)
    return connection


def guarded_connection(path: Path, memory: int | None) -> Connection:
    """DuckDB with all views, without rows, for what users write.

    Nothing that it opens can be written to: its one file system is `guard.PartsOnly`; the machine's
    is switched off, with extensions, kept secrets, files to spill to, and Python's variables. So no
    statement needs to be understood.
    """
    from hmct_track.lake.guard import SCHEME, PartsOnly

    tables = path / "tables"
    if is_remote(path):
        parts = PartsOnly(readable(path), str(tables))
    else:
        from fsspec.implementations.local import LocalFileSystem

        parts = PartsOnly(LocalFileSystem(), str(tables))
    with translated():
        connection = duckdb.connect(":memory:")
        connection.register_filesystem(parts)
        limit = f"{memory // 1024} KiB" if memory else "50%"
        connection.execute(f"SET memory_limit = '{limit}'")
        _shut(connection, f"{SCHEME}://", "SET disabled_filesystems = 'LocalFileSystem'")
        for statement in empty_views():
            connection.execute(statement)
    return connection


def _shut(connection: Connection, readable: str, *more: str) -> None:
    """Shut a connection off from all files but those below a place, for good."""
    connection.execute("SET parquet_metadata_cache = true")  # a part never changes
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET allow_persistent_secrets = false")
    connection.execute("SET temp_directory = ''")
    # A pattern is looked for in the list before it is expanded.
    allowed = ", ".join(sorted({literal(readable), literal(glob_escaped(readable))}))
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    for statement in more:
        connection.execute(statement)
    connection.execute("SET lock_configuration = true")


def check_statement(connection: Connection, text: str) -> None:
    """Tell early, and plainly, what is no single SELECT. What it may do does not hang on this.

    Raises:
        QueryError: it is not one.
    """
    with translated():
        statements = connection.extract_statements(text)
    kinds = [_kind(statement) for statement in statements]
    if kinds != ["SELECT"]:
        found = ", ".join(kinds) or "nothing"
        raise QueryError(
            f"only one SELECT can be run, but the text holds {found}; the lake is read-only "
            "(a PIVOT has to name its values: ON column IN (...))"
        )


def _kind(statement: duckdb.Statement) -> str:
    try:
        return statement.type.name
    except ValueError:  # DuckDB has more kinds than names for them, such as UPDATE EXTENSIONS
        return "a statement of another kind"


class Asked:
    """One statement being run, its rows fetched as they are wanted."""

    def __init__(self, connection: Connection, seconds: float | None = None) -> None:
        self.cursor = connection.cursor()
        self._given = self._left = seconds

    def execute(self, sql: str, params: Any = None, *, read_only: bool = False) -> tuple[str, ...]:
        """Begin it, and return the names of the columns."""
        if read_only:  # nor can it change the views that later statements read
            self.cursor.execute("BEGIN TRANSACTION READ ONLY")
        self._timed(partial(self.cursor.execute, sql, params))
        return tuple(column[0] for column in self.cursor.description or ())

    def fetch(self, most: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows, no more than ``most``, or all that are left; none at the end."""
        if most is None:
            return self._timed(self.cursor.fetchall)
        return self._timed(partial(self.cursor.fetchmany, most))

    def close(self) -> None:
        """Let go of it; what it has not computed yet is left."""
        with suppress(duckdb.Error):
            self.cursor.close()

    def _timed(self, call: Callable[[], _T]) -> _T:
        if self._left is None:
            return call()
        over = threading.Event()
        timer = threading.Timer(max(self._left, 0), self._stop, (over,))
        timer.daemon = True
        started = time.monotonic()
        timer.start()
        try:
            return call()
        except duckdb.InterruptException as error:
            if over.is_set():
                raise QueryError(
                    f"the query took longer than the {self._given:g} seconds that it may take; "
                    "give it more with --seconds, or ask for less"
                ) from error
            raise
        finally:
            timer.cancel()
            timer.join()  # else it holds the cursor while the interpreter ends
            self._left -= time.monotonic() - started

    def _stop(self, over: threading.Event) -> None:
        over.set()
        self.cursor.interrupt()


def retried(call: Callable[[], _T]) -> _T:
    """What a call of DuckDB gives.

    Between listing and opening it, a part may have been merged into another; then it is done again.
    """
    for _ in range(_TRIES):
        try:
            with translated():
                return call()
        except QueryError as error:
            if not is_gone(error.__cause__):
                raise
            time.sleep(_PAUSE)
    with translated():
        return call()


def is_gone(error: BaseException | None) -> bool:
    """Whether a file was not there any more, on disk or in what fsspec reads."""
    text = str(error)
    said = "No such file" in text or "No files found" in text
    missing = isinstance(error, duckdb.IOException) and said
    return missing or (isinstance(error, duckdb.Error) and "FileNotFoundError" in text)


@contextmanager
def translated() -> Iterator[None]:
    """Errors of DuckDB as a QueryError of one line; Ctrl-C as Ctrl-C."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise QueryError("interrupted") from error
    except duckdb.OutOfMemoryException as error:
        raise QueryError(
            "the query needs more memory than it may have; give it more with --memory, or ask for "
            f"less ({_first_line(str(error))})"
        ) from error
    except duckdb.Error as error:
        shown = _shown(str(error))
        if isinstance(error, duckdb.InvalidInputException | duckdb.IOException):
            # Of a file, which is named; where in the statement is of no use.
            shown = shown.partition("\n\nLINE ")[0]
        raise QueryError(shown) from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of Ctrl-C
            raise KeyboardInterrupt from error
        raise


def _shown(text: str) -> str:
    """What DuckDB says; of a traceback of a file system that it asked, the end."""
    if "Traceback (most recent call last)" not in text:
        return text
    lines = [line for line in text.strip().splitlines() if line and not line.startswith(" ")]
    return lines[-1]


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
