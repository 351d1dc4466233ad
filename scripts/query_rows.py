"""Write ``hmct_track/lake/rows.py`` from the shipped queries: ``make derived``.

Types of rows come from the headers of the queries; which reads which, from DuckDB's own parser.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from hmct_track.lake import Column, Query, load_query, query_names
from hmct_track.lake.queries import Given
from hmct_track.lake.schema import TABLES

TARGET = Path(__file__).parent.parent / "hmct_track" / "lake" / "rows.py"

_TYPES = {
    "VARCHAR": "str",
    "BIGINT": "int",
    "DOUBLE": "float",
    "BOOLEAN": "bool",
    "TIMESTAMP": "datetime",
}
_HEAD = '''"""Types of the rows of the shipped queries, and which reads which.

Made by ``scripts/query_rows.py`` of the headers and SQL in ``queries/``; do not edit. After a
change of a query: ``make derived``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, overload

'''
_TAIL = '''
    def query(self, name: str, /, **params: Any) -> list[Any]:
        """Rows of the shipped query ``name``, as dictionaries.

        Raises:
            QueryError: parameters are missing or unknown, or the query failed.
        """
        return self._rows(name, params)

    def _rows(self, name: str, params: Mapping[str, Any]) -> list[Any]:
        raise NotImplementedError
'''


def text() -> str:
    """What the module has to be."""
    queries = [load_query(name) for name in query_names()]
    classes = "\n\n".join(_row_class(query) for query in queries)
    reads = "\n".join(f'    "{query.name}": {reads_of(query.sql)!r},' for query in queries)
    overloads = "\n".join(_overload(query) for query in queries)
    return (
        f"{_HEAD}\n{classes}\n\n"
        f"READS: Mapping[str, tuple[str, ...]] = {{\n{reads}\n}}\n"
        '"""Query to the tables, their views of rows, and the queries that it reads."""\n\n\n'
        'class TypedQueries:\n    """Asks the shipped queries."""\n\n'
        f"{overloads}\n"
        "    @overload\n"
        "    def query(self, name: str, /, **params: Any) -> list[Any]: ...\n"
        f"{_TAIL}"
    )


def row_name(query: str) -> str:
    """Name of the type of the rows of a query."""
    return "".join(word.capitalize() for word in query.split("_")) + "Row"


def reads_of(sql: str) -> tuple[str, ...]:
    """Tables, views and queries that a query reads, as DuckDB parses it."""
    (tree,) = duckdb.execute("SELECT json_serialize_sql(?)", [sql]).fetchone() or ("{}",)
    parsed = json.loads(tree)
    if parsed["error"]:
        raise SystemExit(f"DuckDB cannot parse {sql!r}: {parsed['error_message']}")
    found, own = set(), set()
    for node in _nodes(parsed):
        found |= {node["table_name"]} if node.get("type") == "BASE_TABLE" else set()
        if node.get("type") == "TABLE_FUNCTION":
            found.add(node["function"]["function_name"])
        own |= {entry["key"] for entry in (node.get("cte_map") or {}).get("map", ())}
    return tuple(sorted((found - own) & _known()))


def _known() -> set[str]:
    tables = {name for table in TABLES for name in (table.name, table.rows_view) if name}
    return tables | set(query_names())


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for value in values:
        yield from _nodes(value)


def _type(column: Column) -> str:
    name = column.type.removesuffix("[]")
    whole = _TYPES[name] if name == column.type else f"list[{_TYPES[name]}]"
    return f"{whole} | None" if isinstance(column, Given) and column.nullable else whole


def _row_class(query: Query) -> str:
    fields = "\n".join(f"    {column.name}: {_type(column)}" for column in query.columns)
    head = f'class {row_name(query.name)}(TypedDict):\n    """A row of {query.name}."""'
    return f"{head}\n\n{fields}\n"


def _overload(query: Query) -> str:
    taken = [f"{param.name}: {_type(param)}" for param in query.params]
    taken += [f"{param.name}: {_type(param)} | None = ..." for param in query.optional]
    params = f", *, {', '.join(taken)}" if taken else ""
    return (
        f'    @overload\n    def query(self, name: Literal["{query.name}"], /{params})'
        f" -> list[{row_name(query.name)}]: ...\n"
    )


def formatted() -> str:
    """The module as ruff writes it."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-"]
    run = subprocess.run(command, input=text(), capture_output=True, text=True, check=True)  # noqa: S603
    return run.stdout


if __name__ == "__main__":
    TARGET.write_text(formatted())
    print(f"wrote {TARGET}")
