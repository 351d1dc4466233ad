"""The shipped queries: one question per ``.sql`` file, with a header that documents it.

::

    -- One sentence: what the query answers.
    --
    -- :param run_id VARCHAR a run
    -- :optional kind VARCHAR NULL unless it is given
    -- :column node VARCHAR the node
    SELECT ...

Parameters are bound as ``$run_id``. A parameter that is not declared, or declared and not used, is
refused when the file is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from hmct_track.errors import QueryError
from hmct_track.lake.schema import Column

VIEWS = (
    "metric_rows",
    "metrics",
    "results",
    "metric_values",
    "subject_values",
    "ranked",
)
"""Queries without parameters that are views of the lake as well, each after those it reads."""

MACROS = (
    "sensitivity",
    "node_signatures",
    "node_matches",
    "compare_nodes",
    "compare_calibration",
)
"""Queries with parameters that others read, as ``FROM sensitivity('latest', 'mse')``; likewise."""

_PACKAGE = "hmct_track.queries"


@dataclass(frozen=True)
class Query:
    """A shipped query."""

    name: str
    summary: str
    params: tuple[Column, ...]
    columns: tuple[Column, ...]
    sql: str
    optional: tuple[Column, ...] = ()
    """Parameters that are NULL unless they are given."""

    @property
    def macro(self) -> str:
        """The SQL that makes a table macro of it; its parameters get the prefix ``p_``."""
        names = ", ".join(f"p_{param.name}" for param in self.params)
        body = re.sub(r"\$([A-Za-z_]\w*)", r"p_\1", self.sql)
        return f"CREATE OR REPLACE MACRO {self.name}({names}) AS TABLE {body}"


def query_names() -> tuple[str, ...]:
    """Names of the shipped queries."""
    files = resources.files(_PACKAGE).iterdir()
    return tuple(sorted(f.name.removesuffix(".sql") for f in files if f.name.endswith(".sql")))


@cache
def load_query(name: str) -> Query:
    """The shipped query ``name``.

    Raises:
        QueryError: there is none of this name, or its header does not fit its SQL.
    """
    if name not in query_names():
        raise QueryError(f"no shipped query is named {name!r}; there are {_listed()}")
    text = (resources.files(_PACKAGE) / f"{name}.sql").read_text(encoding="utf-8")
    return parse_query(name, text)


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
    params, columns = _declared(lines, ":param"), _declared(lines, ":column")
    optional = _declared(lines, ":optional")
    sql = text[header.end() :].strip()
    used = set(re.findall(r"\$([A-Za-z_]\w*)", sql))
    declared = {param.name for param in params + optional}
    if used != declared:
        odd = ", ".join(sorted(used ^ declared))
        raise QueryError(f"query {name!r}: parameters declared and used differ in {odd}")
    if not columns:
        raise QueryError(f"query {name!r} declares no columns")
    return Query(name, summary, params, columns, sql, optional)


def _declared(lines: list[str], keyword: str) -> tuple[Column, ...]:
    rows = (line.split(maxsplit=3)[1:] for line in lines if line.startswith(keyword))
    return tuple(Column(*row) for row in rows)


def _listed() -> str:
    return ", ".join(query_names())
