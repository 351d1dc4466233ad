"""``hmct-debugger sql``: ask the lake."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hmct_track.cli.common import Subparsers, add_command, add_lake, typed
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import UsageError
from hmct_track.options.kinds import SIZE

if TYPE_CHECKING:
    from hmct_track.lake import Lake

Chunk = list[tuple[Any, ...]]

_MOST_IN_TABLE = 10_000
_MOST_SECONDS = 30 * 24 * 3600.0


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
        help="a parameter of the shipped query; run_id=latest is the newest finished run, and the "
        "beginning of a run id or a tag will do",
    )
    parser.add_argument(
        "-f", "--format", choices=("table", "csv", "json"), default="table", help="output format"
    )
    parser.add_argument(
        "--memory",
        type=typed(SIZE),
        metavar="SIZE",
        help="what SQL of yours may take, such as 4G (default: half of the machine's memory)",
    )
    parser.add_argument(
        "--seconds",
        type=_parse_seconds,
        default=600.0,
        metavar="N",
        help="how long SQL of yours may compute (default: %(default)g)",
    )
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print the answer, or what can be asked."""
    from hmct_track.lake import Lake, lake_path, load_query

    if args.sql is not None and args.query:
        raise UsageError("give either SQL or --query, not both")
    if args.param and not args.query:
        raise UsageError("--param belongs to a shipped query; name it with --query")
    if args.sql is None and not args.query:
        _list()
        return ExitCode.OK
    lake = Lake.open(lake_path(args.lake))
    if args.query:
        result = lake.run_query(load_query(args.query), _parameters(lake, args.param))
        _print(args.format, result.columns, [result.rows])
    else:
        _print_answer(lake, args)
    return ExitCode.OK


def _print_answer(lake: Lake, args: argparse.Namespace) -> None:
    """Print the rows of the user's SQL as they come; a table has to know all that it shows."""
    from hmct_track.lake import Limits

    most = _MOST_IN_TABLE if args.format == "table" else None
    with lake.stream_sql(args.sql, most, Limits(args.memory, args.seconds)) as rows:
        _print(args.format, rows.columns, rows)
    if rows.is_cut:
        print(f"these are the first {most} rows; --format csv or json gives all", file=sys.stderr)


def _print(kind: str, columns: tuple[str, ...], chunks: Iterable[Chunk]) -> None:
    from hmct_track.cli.output import print_table, stream_json
    from hmct_track.lake.result import Result, write_csv

    if kind == "csv":
        write_csv(sys.stdout, columns, chunks)
    elif kind == "json":
        stream_json(columns, chunks)
    else:
        print_table(Result(columns, [row for rows in chunks for row in rows]))


def _parse_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, such as 60")
    return seconds


def _parameters(lake: Lake, given: list[str]) -> dict[str, str]:
    from hmct_track.lake import find_run

    parameters = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"parameter {text!r} is not of the form NAME=VALUE")
        # Run ids are long: latest, a tag or the beginning of an id will do.
        if name.startswith("run_"):
            value = find_run(lake, value)["run_id"]
        parameters[name] = value
    return parameters


def _list() -> None:
    from hmct_track.lake import TABLES, Use, load_query, query_names

    print("Tables\n")
    for table in TABLES:
        print(f"{table.name}: {table.meaning}")
        for column in table.columns:
            print(f"    {column.name:<18}{column.type:<11}{column.meaning}")
        print()
    print("Shipped queries (-q NAME -p PARAMETER=VALUE)\n")
    for query in map(load_query, query_names(Use.USER, Use.VIEW)):
        print(f"{query.name}: {query.summary}")
        for param in query.params:
            print(f"    -p {param.name + '=...':<15}{param.type:<11}{param.meaning}")
        for param in query.optional:
            given = f"{param.name}={param.default or '...'}]"
            print(f"    [-p {given:<14}{param.type:<11}{param.meaning}")
        print(f"    gives {', '.join(column.name for column in query.columns)}\n")
