"""``hmct-debugger plot-acc-error``."""

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
from hmct_track.cli.parsing import parse_bool, parse_list

FLAGS = ("-a", "--average_mode", "--average-mode")
"""Options that may stand without their value, which then is True."""


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "plot-acc-error", "Plot how the error grows from node to node.")
    add_model_and_data(parser)
    add_save_dir(parser, "-s")
    add_option(
        parser,
        "-q",
        "quantize_node",
        type=parse_list,
        metavar="NODES",
        help="quantize only these: a list (a curve each), a nested list, weight, activation",
    )
    add_option(
        parser,
        "-nq",
        "non_quantize_node",
        type=parse_list,
        metavar="NODES",
        help="quantize all but these: a list (a curve each) or a nested list",
    )
    add_metric(parser)
    add_option(
        parser,
        "-a",
        "average_mode",
        type=parse_bool,
        default=False,
        metavar="BOOL",
        help="plot the mean of the first n nodes at the nth",
    )
    add_data_num(parser)
    add_recording(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Plot the curves; stdout has their last values."""
    from hmct_track.workflow.accumulation import AccumulationRequest, accumulate_error

    request = AccumulationRequest(
        args.model_or_file,
        args.calibrated_data,
        args.quantize_node,
        args.non_quantize_node,
        args.metric,
        args.average_mode,
        args.data_num,
        args.save_dir,
    )
    options = options_of(args)
    return finish(accumulate_error(request, options, print_answer), options)
