"""``hmct-debugger figure``: the figure of a run that is in the lake."""

from __future__ import annotations

import argparse

from hmct_track.cli.common import Subparsers, add_command, add_lake, print_answer
from hmct_track.cli.exit_codes import ExitCode


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "figure", "Draw the figure of a run, unless it exists, and say where it is."
    )
    parser.add_argument("run_id", metavar="RUN", help="a run id")
    parser.add_argument("--node", metavar="NODE", help="the node, where a run has a figure of each")
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print the path of the PNG."""
    from hmct_track.lake import Lake, lake_path
    from hmct_track.reading.figure import figure_file

    print_answer(str(figure_file(Lake.open(lake_path(args.lake)), args.run_id, args.node)))
    return ExitCode.OK
