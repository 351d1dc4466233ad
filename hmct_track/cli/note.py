"""``hmct-debugger note``: a remark on a run."""

from __future__ import annotations

import argparse
import sys

from hmct_track.cli.common import Subparsers, add_command, add_lake, print_answer
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import TrackingError


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "note",
        "Write a remark on a run, in the lake and in MLflow; without TEXT show it.",
    )
    parser.add_argument(
        "run_reference",
        metavar="RUN",
        help="a run id, the beginning of one, a tag, latest or latest~1",
    )
    parser.add_argument(
        "text", metavar="TEXT", nargs="?", help="one line; '' takes the remark away"
    )
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Keep the remark."""
    from hmct_track.analyses.recorder import told_if_begun
    from hmct_track.lake import Lake, find_run, lake_path, set_note
    from hmct_track.text import visible
    from hmct_track.tracking import move_note

    lake = Lake.open(lake_path(args.lake))
    chosen = find_run(lake, args.run_reference)
    before = chosen["note"] or ""
    if args.text is None:
        print_answer(visible(before))
        return ExitCode.OK
    note = args.text.strip()
    lake = Lake.create(lake.path)
    set_note(lake, chosen["run_id"], note)
    done = f"noted on run {chosen['run_id']}" if note else f"run {chosen['run_id']} has no note"
    print(done, file=sys.stderr)
    try:
        told = told_if_begun(lake, chosen)
        if told["mlflow_run_id"]:
            move_note(lake.path, told["mlflow_run_id"], note)
    except TrackingError as error:
        print(f"warning: {error}; the note is kept in the lake", file=sys.stderr)
        return ExitCode.NOT_TRACKED
    return ExitCode.OK
