"""``hmct-debugger runs``: what was run, newest first."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmct_track.cli.common import Subparsers, add_command, add_lake
from hmct_track.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from hmct_track.lake import Row

_COLUMNS = ("run", "started (UTC)", "kind", "state", "model", "data", "n", "worst node", "", "s")


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "runs", "List the runs in the lake, newest first.")
    parser.add_argument("--kind", metavar="KIND", help="only this analysis, such as sensitivity")
    parser.add_argument(
        "--state",
        choices=("RUNNING", "FINISHED", "FAILED", "KILLED"),
        type=str.upper,
        help="only runs in this state",
    )
    parser.add_argument("--model", metavar="TEXT", help="only models with this in their path")
    parser.add_argument("--data", metavar="TEXT", help="only data with this in their path")
    parser.add_argument(
        "--since", metavar="WHEN", type=_when, help="only from 2026-12-31 or 2026-12-31T23:59 (UTC)"
    )
    parser.add_argument("--steps", action="store_true", help="the steps of runall as well")
    parser.add_argument("--most", type=_positive, default=20, metavar="N", help="at most so many")
    parser.add_argument("--json", action="store_true", help="every column, as JSON")
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print the runs."""
    from hmct_track.cli.output import print_json_value, print_table
    from hmct_track.lake import Lake, Result, find_runs, lake_path

    lake = Lake.open(lake_path(args.lake))
    names = ("kind", "state", "model", "data", "since", "most")
    filters = {name: getattr(args, name) for name in names}
    rows = find_runs(lake, **filters, steps=args.steps)
    if args.json:
        print_json_value(rows)
        return ExitCode.OK
    if not rows:
        print("no run fits", file=sys.stderr)
        return ExitCode.OK
    print_table(Result(_COLUMNS, [_line(row) for row in rows]))
    for row in rows:
        if row["error"]:
            print(f"{row['run_id']}: {' '.join(row['error'].split())}", file=sys.stderr)
    return ExitCode.OK


def _line(row: Row) -> tuple[Any, ...]:
    tags = f" [{', '.join(row['tags'])}]" if row["tags"] else ""
    value = row["worst_value"]
    return (
        row["run_id"] + tags,
        f"{row['started_at']:%Y-%m-%d %H:%M}",
        row["kind"],
        row["state"],
        row["model"],
        Path(row["data"] or "").name,
        row["data_num"],
        row["worst_node"],
        None if value is None else f"{value:.5g}",
        None if row["seconds"] is None else f"{row['seconds']:.1f}",
    )


def _when(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-12-31 or 2026-12-31T23:59"
        ) from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
