"""Questions that are about a few runs are asked of the parts that may hold those, and no others."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hmct_track.lake.duck import Asked, Connection, shipped_connection, translated
from hmct_track.lake.layout import Keys, Wanted
from hmct_track.lake.queries import About, Query, load_query, read_by
from hmct_track.lake.schema import RUN_CONFIGS, RUNS, TABLES, Table
from hmct_track.lake.views import (
    definition,
    literal,
    select_rows,
    table_views,
    tables_of,
    views_for,
)

_MOST_RUNS = 1000
"""Of more runs all parts are read."""
_REMEMBERED, _MOST_REMEMBERED = 64, 5000
"""How many answers are kept to be given again, and of no more rows than that."""
_CHOSEN = {
    "family": "run_id = $family OR parent_run_id = $family",
    "model_id": "model_id = $model_id",
    "made": "model_id = $made",
}
"""Parameters of what is about the newest runs that leave few of them, and which."""
_ROWS_OF_A_RUN = 4
"""A run that begins, ends and is told to MLflow has three, until they are merged."""
_FIRST, _FACTOR = 100, 16
"""How many of the newest runs are looked at first, and how many times more each time."""


_VALUES = ("metric_values", "subject_values")
"""Views that most questions about a run read, of which an answer asks several; the second reads
the first."""

Found = tuple[tuple[str, ...], list[tuple[Any, ...]]]
"""Names of columns, and rows."""


class Read(NamedTuple):
    """What reads parts of a table."""

    sql: str
    parts: frozenset[str] | None
    """Their names; None where they are too many to be listed."""
    is_small: bool = False
    """Whether all rows that are wanted of them fit into memory at any time."""


class Filled(NamedTuple):
    """What the views of some tables read."""

    imports: bool
    reads: frozenset[tuple[str, Read | None]]
    """Each table, and what reads its parts."""

    def of(self, tables: frozenset[str]) -> Filled:
        """What those of these tables read."""
        return Filled(self.imports, frozenset(r for r in self.reads if r[0] in tables))

    @property
    def is_small(self) -> bool:
        """Whether all rows that are wanted of them fit into memory at any time."""
        return all(read is None or read.is_small for _, read in self.reads)


class Source(Protocol):
    """A lake, as far as it is needed here."""

    path: Path

    @property
    def has_imports(self) -> bool:
        """Whether measurements were imported into it."""

    def read(self, table: Table, *, wanted: Wanted | None = None) -> Read | None:
        """What reads the parts of a table that may hold what is wanted."""

    def interruptible(self, asked: Asked) -> AbstractContextManager[None]:
        """Have a statement that can be interrupted."""


class Opening:
    """A connection to a lake that is being made beside other work, with the views of its answers.

    It takes as long as loading a small model. Who ends the process without Python's own end waits.

    Args:
        path: the lake, which may be missing still.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._views: set[str] = set()
        self._made: Future[Connection] = Future()
        # Not a daemon: DuckDB aborts a process that ends while it is being opened.
        self._thread = threading.Thread(target=self._make)
        self._thread.start()

    def wait(self) -> None:
        """Wait until it has been made, or could not be."""
        self._thread.join()

    def _make(self) -> None:
        try:
            connection = shipped_connection(self.path)
            with translated():
                for statement in views_for(_VALUES[0], self._views):
                    connection.execute(statement)
        except BaseException as error:  # noqa: BLE001 - raised where the connection is wanted
            self._made.set_exception(error)
        else:
            self._made.set_result(connection)

    def take(self) -> tuple[Connection, set[str]]:
        """The connection, and the names of the views that it has.

        Raises:
            QueryError: DuckDB could not make it.
        """
        return self._made.result(), self._views


class Scope:
    """Makes views of the parts that one question is about, in a connection of its own."""

    def __init__(self, lake: Source, opening: Opening | None = None) -> None:
        self._lake = lake
        self._connection: Connection
        self._views: set[str]
        self._connection, self._views = (opening or Opening(lake.path)).take()
        self._made: dict[str, str] = {}
        self._held: dict[str, Hashable | None] = {}
        """Of those of `_VALUES` that are made, of which runs and parts their rows are held."""
        self._views.update(_VALUES)
        self._answers: OrderedDict[Hashable, Found] = OrderedDict()
        self._lock = threading.Lock()

    def ask(
        self, query: Query, params: Mapping[str, Any], tables: frozenset[str], most: int | None
    ) -> Found:
        """The columns of a query and its rows, no more than ``most``."""
        with self._lock, translated():
            if query.about is About.NEWEST:
                self._provide(query.name, None, None)
                return self._newest(query.sql, params, tables, most)
            wanted = self._wanted(query, params)
            read = self._fill(tables, wanted)
            self._provide(query.name, wanted, read)
            return self._remembered(query.sql, params, most, read)

    def _provide(self, query: str, wanted: Wanted | None, filled: Filled | None) -> None:
        """Make the views that a query reads besides those of tables, as far as they are missing."""
        for name in _VALUES:
            if name in read_by(query):
                self._make_views(name)
                self._hold(name, wanted, filled)
        self._make_views(query)

    def _make_views(self, query: str) -> None:
        for statement in views_for(query, self._views):
            self._connection.execute(statement)

    def _remembered(
        self, sql: str, params: Mapping[str, Any], most: int | None, read: Hashable | None
    ) -> Found:
        """What a statement gives; parts never change, so that those of before give it again."""
        if read is None:
            return self._run(sql, params, most)
        key = (sql, repr(sorted(params.items())), most, read)
        if key not in self._answers:
            columns, rows = self._run(sql, params, most)
            if len(rows) > _MOST_REMEMBERED:
                return columns, rows
            self._answers[key] = columns, rows
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        self._answers.move_to_end(key)
        columns, rows = self._answers[key]
        return columns, list(rows)

    def _wanted(self, query: Query, params: Mapping[str, Any]) -> Wanted | None:
        """None if it is about too many runs."""
        about = query.about
        if about is About.RANKING:
            is_ranking = "kind = 'sensitivity' AND state = 'FINISHED'"
            sql = f"SELECT run_id FROM runs WHERE {is_ranking} ORDER BY 1 DESC LIMIT 1"  # noqa: S608
            ids = self._column(self._newest(sql, {"most": 1}, frozenset(["runs"]), None)[1])
        elif about is About.RUNNING:
            ids = self._look(RUNS, None, "run_id", "state = 'RUNNING'", params)
        elif about is About.NODE:
            ids = self._look(RUN_CONFIGS, None, "run_id", "subject = $node", params)
        else:
            names = ("run_id", "run_a", "run_b")
            ids = {str(params[name]) for name in names if params.get(name) is not None}
        if about is About.ALIKE:
            ids |= self._alike(ids)
        return self._wanted_of(ids)

    def _wanted_of(self, ids: Iterable[str]) -> Wanted | None:
        own = Keys(frozenset(ids))
        if len(own.some) > _MOST_RUNS:
            return None
        found = self._rows(RUNS, own, "model_id, data_id")
        return {
            "run_id": own,
            "model_id": Keys(frozenset(row[0] for row in found if row[0])),
            "data_id": Keys(frozenset(row[1] for row in found if row[1])),
        }

    def _alike(self, ids: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for model_id, path in self._rows(RUNS, Keys(frozenset(ids)), "model_id, model_path"):
            same = {"model_id": model_id, "path": path}
            where = "model_id = $model_id OR model_path = $path"
            found |= self._look(RUNS, None, "run_id", where, same)
        return found

    def _newest(
        self, sql: str, params: Mapping[str, Any], tables: frozenset[str], most: int | None
    ) -> Found:
        """What a query gives, the newest runs first, that needs no more of them than it finds."""
        given = _taken(sql, params)
        wanted, count = params.get("most"), _FIRST
        if params.get("run"):
            keys = Keys(since=str(params["run"]), until=f"{params['run']}~")
            self._fill(tables, {"run_id": keys})
            return self._run(sql, given, most)
        for name, where in _CHOSEN.items():
            if params.get(name) is not None:
                ids = self._look(RUNS, None, "run_id", where, params)
                self._fill(tables, self._wanted_of(ids))
                return self._run(sql, given, most)
        while wanted is not None:
            since = self._since(count + 4 * int(wanted))
            if since is None:
                break
            self._fill(tables, {"run_id": Keys(since=since)})
            columns, rows = self._run(sql, given, most)
            if len(rows) >= min(int(wanted), int(wanted) if most is None else most):
                return columns, rows
            count *= _FACTOR
        self._fill(tables, None)
        return self._run(sql, given, most)

    def _since(self, count: int) -> str | None:
        """The id from which on there are about so many newest runs; None if there are fewer."""
        read = self._lake.read(RUNS)
        if read is None:
            return None
        # Not DISTINCT, which reads all: the few newest are found by what parts tell of themselves.
        most = _ROWS_OF_A_RUN * count
        newest = f"SELECT run_id FROM {read.sql} ORDER BY 1 DESC LIMIT {most}"  # noqa: S608
        rows = [str(row[0]) for row in self._run(newest, None, None)[1]]
        found = list(dict.fromkeys(rows))
        if len(rows) < most and len(found) < count:
            return None
        return found[min(count, len(found)) - 1]

    def _rows(self, table: Table, keys: Keys, columns: str) -> list[tuple[Any, ...]]:
        read = self._lake.read(table, wanted={table.key[0]: keys})
        if read is None:
            return []
        sql = f"SELECT DISTINCT {columns} FROM {read.sql}"  # noqa: S608
        return self._remembered(sql, {}, None, read)[1]

    def _look(
        self, table: Table, wanted: Wanted | None, column: str, where: str, params: Any
    ) -> set[str]:
        read = self._lake.read(table, wanted=wanted)
        if read is None:
            return set()
        given = _taken(where, params)
        found = f"SELECT DISTINCT {column} FROM {read.sql} WHERE {where}"  # noqa: S608
        return self._column(self._run(found, given, None)[1])

    @staticmethod
    def _column(rows: Iterable[tuple[Any, ...]]) -> set[str]:
        return {str(row[0]) for row in rows}

    def _fill(self, tables: frozenset[str], wanted: Wanted | None) -> Filled | None:
        """Have the views of tables read their parts; which those are, unless they are too many."""
        imports = self._lake.has_imports
        reads: set[tuple[str, Read | None]] = set()
        for table in TABLES:
            if table.name not in tables:
                continue
            read = self._lake.read(table, wanted=wanted)
            reads.add((table.name, read))
            for name, statement in self._statements(table, read, imports):
                # A pattern is the same text for other parts, whose columns are the same.
                if self._made.get(name) != statement:
                    self._connection.execute(statement)
                    self._made[name] = statement
            self._views.add(table.name)
        known = all(read is None or read.parts is not None for _, read in reads)
        return Filled(imports, frozenset(reads)) if known else None

    def _hold(self, name: str, wanted: Wanted | None, filled: Filled | None) -> None:
        """Have runs' values computed once for all questions about these runs, if they are few."""
        runs = wanted["run_id"].some if wanted and filled else frozenset()
        own = filled and filled.of(tables_of(name))
        held = (runs, own) if runs and own and own.is_small else None
        if name in self._held and self._held[name] == held:
            return
        if held:
            chosen = ", ".join(map(literal, sorted(runs)))
            rows = f"SELECT * FROM ({load_query(name).sql}) WHERE run_id IN ({chosen})"  # noqa: S608
            self._connection.execute(f"CREATE OR REPLACE TABLE held_{name} AS {rows}")
            self._connection.execute(f"CREATE OR REPLACE VIEW {name} AS FROM held_{name}")
        else:
            self._connection.execute(definition(name))
        self._held[name] = held

    @staticmethod
    def _statements(table: Table, read: Read | None, imports: bool) -> Iterator[tuple[str, str]]:
        """What makes a table's views, each by the name of what it makes."""
        names = [name for name in (table.name, table.rows_view) if name]
        views = dict(zip(names, table_views(table, read and read.sql, imports), strict=True))
        if read is not None and read.is_small:
            # Half of what a question costs is planning how parts are read.
            held, rows = f"held_{table.name}", select_rows(table, read.sql, imports)
            yield held, f"CREATE OR REPLACE TABLE {held} AS {rows}"
            views[table.name] = f"CREATE OR REPLACE VIEW {table.name} AS FROM {held}"
        yield from views.items()

    def _run(self, sql: str, params: Any, most: int | None) -> Found:
        asked = Asked(self._connection)
        with self._lake.interruptible(asked):
            columns = asked.execute(sql, params or None)
            return columns, asked.fetch(most)


def _taken(sql: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a piece of SQL has."""
    names = set(re.findall(r"\$(\w+)", sql))
    return {name: value for name, value in params.items() if name in names}
