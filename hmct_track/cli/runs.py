"""``hmct-debugger runs``: what was run, newest first."""

from __future__ import annotations

import argparse
import shutil
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from hmct_track.cli.common import Subparsers, add_command, add_lake, print_answer
from hmct_track.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from hmct_track.lake import Row

_COLUMNS = ("run", "kind", "state", "model", "n", "whole", "worst node", "alone", "s")
_FLEXIBLE = {"model": 12, "worst node": 12, "kind": 11}
"""Columns that are cut in a terminal that is narrow, and how narrow they may become."""
_GAP = 2


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
    from hmct_track.cli.output import print_json_value
    from hmct_track.lake import Lake, find_runs, lake_path
    from hmct_track.report.tables import plain_table

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
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else None
    print_answer(plain_table(_COLUMNS, _fitted([_line(row) for row in rows], width)))
    for row in rows:
        if row["error"]:
            print(f"{row['run_id']}: {' '.join(row['error'].split())}", file=sys.stderr)
    return ExitCode.OK


def _line(row: Row) -> list[str]:
    tags = f" [{', '.join(row['tags'])}]" if row["tags"] else ""
    return [
        row["run_id"] + tags,  # it begins with the time of the start, in UTC
        row["kind"],
        row["state"],
        row["model"] or "",
        str(row["data_num"]),
        _number(row["whole_value"]),
        row["worst_node"] or "",
        _number(row["worst_value"]),
        "" if row["seconds"] is None else f"{row['seconds']:.1f}",
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _fitted(lines: list[list[str]], width: int | None) -> list[list[str]]:
    """The lines with long names cut, so that they fit; all of them where nothing is cut."""
    widths = [max(map(len, column)) + _GAP for column in zip(_COLUMNS, *lines, strict=True)]
    for name, least in _FLEXIBLE.items():
        place = _COLUMNS.index(name)
        over = sum(widths) - (width or sum(widths))
        if over > 0 and widths[place] - _GAP > least:
            widths[place] = max(widths[place] - over, least + _GAP)
    from hmct_track.report.labels import shortened

    return [
        [shortened(cell, widths[k] - _GAP) if _COLUMNS[k] in _FLEXIBLE else cell
         for k, cell in enumerate(line)]
        for line in lines
    ]  # fmt: skip


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
