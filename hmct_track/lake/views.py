"""The SQL that makes tables of a lake's parts: views for our own DuckDB and any other client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hmct_track.lake.macros import scalar_macros
from hmct_track.lake.queries import (
    load_query,
    query_names,
    query_text,
    read_by,
    reading_order,
    stored_queries,
)
from hmct_track.lake.rows import READS
from hmct_track.lake.schema import TABLES, Table


def empty_views() -> Iterator[str]:
    """Statements that make every view, of tables without rows."""
    for table in TABLES:
        yield from table_views(table, None)
    yield from scalar_macros().values()
    for query in stored_queries():
        yield definition(query.name)


def views_identity() -> Iterator[str]:
    """What `empty_views` is made of, besides the code; it costs less."""
    yield from scalar_macros().values()
    yield from map(query_text, query_names())


def views_for(query: str, made: set[str]) -> Iterator[str]:
    """Statements that make what a shipped query reads besides tables, as far as it is missing.

    A table that is missing is made without rows: DuckDB opens the parts of what a view reads.

    Args:
        query: its name.
        made: names of the views that a connection has; what is made here is added.
    """
    needed = read_by(query) - made
    for name in reading_order() if needed else ():
        if name not in needed:
            continue
        for table in TABLES:
            if table.name in tables_of(name) - made:
                yield from table_views(table, None)
                made.add(table.name)
        yield definition(name)
        made.add(name)


def definition(name: str) -> str:
    """The statement that makes the view, or the macro, of a shipped query."""
    query = load_query(name)
    if query.params or query.optional:
        return query.macro
    return f"CREATE OR REPLACE VIEW {query.name} AS {query.sql}"


def table_views(table: Table, source: str | None, imports: bool = False) -> Iterator[str]:
    """Statements that make a table's views of what reads its parts; of no rows if that is None.

    Args:
        table: the table.
        source: what reads its parts.
        imports: whether rows of it may be imported; then those that were made here go before.
    """
    yield f"CREATE OR REPLACE VIEW {table.name} AS {select_rows(table, source, imports)}"
    if table.rows_view:
        yield f"CREATE OR REPLACE VIEW {table.rows_view} AS {_rows(table, source, imports)}"


def select_rows(table: Table, source: str | None, imports: bool = False) -> str:
    """A SELECT of the rows of a table, each key once: rows may be written again, by design."""
    # Table and column names are the schema's own; the source has quoted literals for paths.
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    key = ", ".join(table.key)
    order = f" ORDER BY {key}, {table.latest_by}" if table.latest_by else ""
    return f"SELECT DISTINCT ON ({key}) {columns} FROM ({_rows(table, source, imports)}){order}"  # noqa: S608


def _rows(table: Table, source: str | None, imports: bool) -> str:
    """A SELECT of the rows as they were written.

    Parts of an older schema lack columns: the typed columns of no rows fill in.
    """
    typed = ", ".join(f'NULL::{column.type} AS "{column.name}"' for column in table.columns)
    none = f"SELECT {typed} WHERE false"
    rows = f"{none} UNION ALL BY NAME FROM {source}" if source else none
    if not (imports and table.rows_view):
        return rows
    # In the other tables a key that is there is not imported; one can be measured again, though.
    own = f"SELECT * FROM ({rows}) WHERE imported_from IS NULL"  # noqa: S608
    other = f"SELECT * FROM ({rows}) WHERE imported_from IS NOT NULL"  # noqa: S608
    return f"{own} UNION ALL FROM ({other}) ANTI JOIN ({own}) USING ({', '.join(table.key)})"


@cache
def tables_of(query: str) -> frozenset[str]:
    """Names of the tables that a shipped query reads, itself or by what it reads; else of all."""
    if query not in READS:
        return frozenset(table.name for table in TABLES)
    read = {name for each in (query, *read_by(query)) for name in READS[each]}
    return frozenset(table.name for table in TABLES if read & {table.name, table.rows_view})


def literal(text: str | Path) -> str:
    """An SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def glob_escaped(path: str | Path) -> str:
    """A path for where DuckDB takes patterns."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
