"""The shipped queries: one question per ``.sql`` file, with a header that documents it.

::

    -- One sentence: what the query answers.
    --
    -- :use user
    -- :param run_id VARCHAR a run
    -- :optional kind VARCHAR NULL unless it is given
    -- :optional most BIGINT=5 5 unless it is given
    -- :column node VARCHAR the node
    -- :column value DOUBLE? the metric; the question mark says that it may be NULL
    -- :unique node
    SELECT ...

``:use`` is ``user`` (a question of people), ``view`` (people read it in SQL of their own) or
``internal`` (only this package asks it). ``:unique`` names the columns that tell rows apart;
without any there is one row. ``:about`` says which runs it reads rows of, where that is not all
(`About`): parts without them are not opened. Parameters are bound as ``$run_id``. A parameter that
is not declared, or declared and not used, is refused when the file is loaded.

Types of rows, and which query reads which, are in `rows`, which ``scripts/query_rows.py`` makes of
these files.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib import resources

from hmct_track.errors import QueryError
from hmct_track.lake.rows import READS
from hmct_track.lake.schema import TABLES, Column

_PACKAGE = "hmct_track.queries"


class About(enum.StrEnum):
    """What decides which rows a shipped query reads."""

    RUNS = "runs"
    """Its parameters ``run_id``, ``run_a`` and ``run_b``: those runs, their models and samples."""
    ALIKE = "alike"
    """Likewise, and the runs of the same model or model file."""
    NODE = "node"
    """The runs that evaluated its parameter ``node``."""
    RANKING = "ranking"
    """The newest finished ranking."""
    NEWEST = "newest"
    """The newest runs, ``most`` of them, or those whose id begins with ``run``; where they are
    given, the run ``family`` and its steps, or the runs of ``model_id``."""
    RUNNING = "running"
    """Runs of which some row says that they run; where rows are merged, the newest of each."""


class Use(enum.StrEnum):
    """Whom a query is for."""

    USER = "user"
    VIEW = "view"
    INTERNAL = "internal"


@dataclass(frozen=True)
class Param(Column):
    """A parameter of a query."""

    literal: str = "NULL"
    """What it is unless it is given, in SQL; of optional ones."""

    @property
    def default(self) -> str | None:
        """The same as a value to bind; None for NULL. DuckDB casts it."""
        return None if self.literal == "NULL" else self.literal.strip("'")


@dataclass(frozen=True)
class Given(Column):
    """A column of what a query gives."""

    nullable: bool = False


@dataclass(frozen=True)
class Query:
    """A shipped query."""

    name: str
    summary: str
    params: tuple[Param, ...]
    columns: tuple[Given, ...]
    sql: str
    optional: tuple[Param, ...] = ()
    """Parameters that need not be given."""
    use: Use = Use.USER
    unique: tuple[str, ...] | None = None
    """The columns that tell rows apart; none if there is one row, None if rows may repeat."""
    about: About | None = None
    """What decides which runs it reads; None if it reads all."""

    @property
    def macro(self) -> str:
        """The SQL that makes a table macro of it; its parameters get the prefix ``p_``."""
        names = [f"p_{param.name}" for param in self.params]
        names += [f"p_{param.name} := {param.literal}" for param in self.optional]
        body = re.sub(r"\$([A-Za-z_]\w*)", r"p_\1", self.sql)
        return f"CREATE OR REPLACE MACRO {self.name}({', '.join(names)}) AS TABLE {body}"


@cache
def query_names(*uses: Use) -> tuple[str, ...]:
    """Names of the shipped queries; of those that are for ``uses``, if any are given."""
    files = resources.files(_PACKAGE).iterdir()
    names = sorted(f.name.removesuffix(".sql") for f in files if f.name.endswith(".sql"))
    return tuple(name for name in names if not uses or load_query(name).use in uses)


@cache
def load_query(name: str) -> Query:
    """The shipped query ``name``.

    Raises:
        QueryError: there is none of this name, or its header does not fit its SQL.
    """
    if name not in query_names():
        raise QueryError(
            f"no shipped query is named {name!r}; there are "
            f"{', '.join(query_names(Use.USER, Use.VIEW))}"
        )
    return parse_query(name, query_text(name))


@cache
def stored_queries() -> tuple[Query, ...]:
    """The queries that a lake has as views or table macros, each after those that it reads.

    Those are the ones that others read, and the views of users.
    """
    read = set().union(*_reads().values())
    queries = map(load_query, reading_order())
    return tuple(query for query in queries if query.name in read or query.use is Use.VIEW)


@cache
def reading_order() -> tuple[str, ...]:
    """Names of the shipped queries, each after those that it reads."""
    return tuple(TopologicalSorter(_reads()).static_order())


@cache
def read_by(query: str) -> frozenset[str]:
    """Names of the shipped queries that one reads, itself or by what it reads.

    Of a query that does not ship nothing is known: it may read all that a lake has.
    """
    if query not in READS:
        return frozenset(stored.name for stored in stored_queries())
    read = _reads()[query]
    return frozenset(read.union(*map(read_by, read)))


@cache
def _reads() -> dict[str, set[str]]:
    # The query runs has the name of the table, which is what others read.
    tables = {name for table in TABLES for name in (table.name, table.rows_view)}
    return {name: set(names) - tables for name, names in READS.items()}


@cache
def query_text(name: str) -> str:
    """The text of a shipped query's file."""
    return (resources.files(_PACKAGE) / f"{name}.sql").read_text(encoding="utf-8")


def parse_query(name: str, text: str) -> Query:
    """A query from the text of its file.

    Raises:
        QueryError: declared and used parameters differ, or the header is incomplete.
    """
    header = re.match(r"(?:--.*\n)+", text)
    if header is None:
        raise QueryError(f"query {name!r} has no header")
    lines = [line.removeprefix("--").strip() for line in header[0].splitlines()]
    summary = next((line for line in lines if line), "")
    params = tuple(Param(*row) for row in _declared(lines, ":param"))
    optional = tuple(_optional(*row) for row in _declared(lines, ":optional"))
    columns = tuple(_given(*row) for row in _declared(lines, ":column"))
    sql = text[header.end() :].strip()
    used = set(re.findall(r"\$([A-Za-z_]\w*)", sql))
    declared = {param.name for param in params + optional}
    if used != declared:
        odd = ", ".join(sorted(used ^ declared))
        raise QueryError(f"query {name!r}: parameters declared and used differ in {odd}")
    if not columns:
        raise QueryError(f"query {name!r} declares no columns")
    unique = _unique(name, lines, columns)
    return Query(
        name,
        summary,
        params,
        columns,
        sql,
        optional,
        _use(name, lines),
        unique,
        _about(name, lines),
    )


def _declared(lines: list[str], keyword: str) -> list[list[str]]:
    return [line.split(maxsplit=3)[1:] for line in lines if line.startswith(keyword)]


def _optional(name: str, type_: str, meaning: str) -> Param:
    kind, equals, literal = type_.partition("=")
    return Param(name, kind, meaning, literal if equals else "NULL")


def _given(name: str, type_: str, meaning: str) -> Given:
    return Given(name, type_.removesuffix("?"), meaning, type_.endswith("?"))


def _use(name: str, lines: list[str]) -> Use:
    given = [line.removeprefix(":use").strip() for line in lines if line.startswith(":use")]
    if len(given) != 1 or given[0] not in list(Use):
        raise QueryError(f"query {name!r} has to say for whom it is: :use {' or '.join(Use)}")
    return Use(given[0])


def _about(name: str, lines: list[str]) -> About | None:
    given = [line.removeprefix(":about").strip() for line in lines if line.startswith(":about")]
    if not given:
        return None
    if len(given) != 1 or given[0] not in list(About):
        raise QueryError(f"query {name!r} is :about {' or '.join(About)}")
    return About(given[0])


def _unique(name: str, lines: list[str], columns: tuple[Given, ...]) -> tuple[str, ...] | None:
    given = [line.removeprefix(":unique") for line in lines if line.startswith(":unique")]
    if not given:
        return None
    names = tuple(word.strip() for word in given[0].split(",") if word.strip())
    if odd := set(names) - {column.name for column in columns}:
        raise QueryError(f"query {name!r}: no column is named {', '.join(sorted(odd))}")
    return names
