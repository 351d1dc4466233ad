"""``hmct-debugger sql``: ask the lake."""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from hmct_track.cli.common import Subparsers, add_command, add_lake
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import UsageError

if TYPE_CHECKING:
    from hmct_track.lake import Lake, Result


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "sql",
        "Ask the lake with SQL, read-only. Without SQL: list tables, columns and shipped queries.",
    )
    parser.add_argument("sql", nargs="?", metavar="SQL", help='one SELECT, such as "FROM runs"')
    parser.add_argument("-q", "--query", metavar="NAME", help="run a shipped query instead")
    parser.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the shipped query; run_id=latest is the newest finished run",
    )
    parser.add_argument(
        "-f", "--format", choices=("table", "csv", "json"), default="table", help="output format"
    )
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print the answer, or what can be asked."""
    from hmct_track.lake import Lake, lake_path, load_query

    if args.sql and args.query:
        raise UsageError("give either SQL or --query, not both")
    if args.param and not args.query:
        raise UsageError("--param belongs to a shipped query; name it with --query")
    if not args.sql and not args.query:
        _list()
        return ExitCode.OK
    lake = Lake.open(lake_path(args.lake))
    if args.sql:
        result = lake.sql(args.sql)
    else:
        result = lake.run_query(load_query(args.query), _parameters(lake, args.param))
    {"table": _table, "csv": _csv, "json": _json}[args.format](result)
    return ExitCode.OK


def _parameters(lake: Lake, given: list[str]) -> dict[str, str]:
    parameters = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"parameter {text!r} is not of the form NAME=VALUE")
        if (name, value) == ("run_id", "latest"):
            finished = [r for r in lake.query("runs") if r["state"] == "FINISHED"]
            if not finished:
                raise UsageError("the lake has no finished run")
            value = finished[0]["run_id"]
        parameters[name] = value
    return parameters


def _list() -> None:
    from hmct_track.lake import TABLES, load_query, query_names

    print("Tables\n")
    for table in TABLES:
        print(f"{table.name}: {table.meaning}")
        for column in table.columns:
            print(f"    {column.name:<18}{column.type:<11}{column.meaning}")
        print()
    print("Shipped queries (-q NAME -p PARAMETER=VALUE)\n")
    for query in map(load_query, query_names()):
        print(f"{query.name}: {query.summary}")
        for param in query.params:
            print(f"    -p {param.name + '=...':<15}{param.type:<11}{param.meaning}")
        print(f"    gives {', '.join(column.name for column in query.columns)}\n")


def _table(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Into a file or a pipe nothing is cut; in a terminal long cells fold.
    console = Console() if sys.stdout.isatty() else Console(width=100_000)
    table = Table()
    for position, name in enumerate(result.columns):
        numeric = any(isinstance(row[position], int | float) for row in result.rows)
        justify: Any = "right" if numeric else "left"
        table.add_column(Text(name), justify=justify, overflow="fold")
    for row in result.rows:
        table.add_row(*(Text(_shown(value)) for value in row))
    console.print(table)


def _csv(result: Result) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    for row in result.rows:
        writer.writerow([json.dumps(_plain(v)) if isinstance(v, list | dict) else v for v in row])


def _json(result: Result) -> None:
    rows = [dict(zip(result.columns, map(_plain, row), strict=True)) for row in result.rows]
    json.dump(rows, sys.stdout, indent=2, default=str, ensure_ascii=False)
    print()


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return json.dumps(_plain(value), default=str, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:.7g}"  # CSV and JSON have all the digits
    return str(value)


def _plain(value: Any) -> Any:
    """A value for JSON, which has no NaN and no infinity: they become their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
