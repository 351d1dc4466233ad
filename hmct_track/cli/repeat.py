"""``hmct-debugger repeat``: a run of the lake once more, with all that it was given."""

from __future__ import annotations

import argparse
from dataclasses import replace

from hmct_track.cli.common import Subparsers, add_command, add_lake, add_options, print_answer
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.text import shell_line

_ELSEWHERE = ("scheduler", "workers")


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "repeat",
        "Repeat a run with all that it was given; what the lake knows is not measured again.",
    )
    parser.add_argument("run_reference", metavar="RUN", help="a run id, the beginning of one, a "
                        "tag, latest or latest~1")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="print the command instead")
    add_lake(parser)
    from hmct_track.options import options_of
    from hmct_track.options.recording import Recording

    add_options(parser, (o for o in options_of(Recording) if o.name in _ELSEWHERE))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Run it again, or print its command."""
    from hmct_track.analyses.stored import answer_of, command_of, recording_of
    from hmct_track.cli.analysis import run_command
    from hmct_track.lake import Lake, find_run, lake_path

    lake = Lake.open(lake_path(args.lake))
    answer = answer_of(lake, find_run(lake, args.run_reference)["run_id"])
    # Where a run was measured is not kept: the cluster of that day may be gone.
    elsewhere = {name: getattr(args, name) for name in _ELSEWHERE}
    if args.show:
        print_answer(shell_line(["hmct-debugger", *command_of(answer, **elsewhere)]))
        return ExitCode.OK
    recording = replace(recording_of(answer), lake=lake.path, **elsewhere)
    return run_command(answer.analysis, recording)
