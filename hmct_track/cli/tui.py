"""``hmct-debugger tui``: the terminal UI."""

from __future__ import annotations

import argparse
import sys

from hmct_track.cli.common import Subparsers, add_command, add_lake
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import UsageError


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "tui", "Browse runs and nodes in the terminal, and start analyses from there."
    )
    parser.add_argument("folder", nargs="?", metavar="LAKE", help="the lake, as with --lake")
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Show the application until the user quits."""
    if args.folder and args.lake:
        raise UsageError("give the lake once: as LAKE or with --lake")
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty()):
        raise UsageError("tui needs a terminal on stdin and stdout; sql and runall need none")
    from hmct_track.lake import lake_path
    from hmct_track.tui import run_app

    for line in run_app(lake_path(args.folder or args.lake)):
        print(line, file=sys.stderr)
    return ExitCode.OK
