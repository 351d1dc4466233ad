"""``hmct-debugger select-sensitive-samples``."""

from __future__ import annotations

import argparse

from hmct_track.cli.common import (
    Subparsers,
    add_command,
    add_data_num,
    add_metric,
    add_model_and_data,
    add_option,
    add_recording,
    add_save_dir,
    finish,
    options_of,
    print_answer,
)
from hmct_track.cli.exit_codes import ExitCode


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "select-sensitive-samples", "Find the samples on which quantization hurts most."
    )
    add_model_and_data(parser)
    add_metric(parser)
    add_data_num(parser, "-d", default=None)
    add_option(
        parser,
        "-sn",
        "sample_num",
        type=int,
        default=1,
        metavar="N",
        help="number of samples to save, as a folder that other commands take",
    )
    add_save_dir(parser, "-s")
    add_recording(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print the samples, the worst first."""
    from hmct_track.workflow.samples import SamplesRequest, select_samples

    request = SamplesRequest(
        args.model_or_file,
        args.calibrated_data,
        args.metric,
        args.data_num,
        args.sample_num,
        args.save_dir,
    )
    options = options_of(args)
    return finish(select_samples(request, options, print_answer), options)
