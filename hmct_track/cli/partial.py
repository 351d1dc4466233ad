"""``hmct-debugger sensitivity-analysis``."""

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
from hmct_track.cli.parsing import parse_optional_list


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "sensitivity-analysis",
        "Test what leaving the sensitive nodes out of quantization gives.",
    )
    add_model_and_data(parser)
    add_option(
        parser,
        "-p",
        "pick_threshold",
        type=float,
        default=0.999,
        metavar="VALUE",
        help="nodes whose metric is worse than this are sensitive",
    )
    add_data_num(parser, "-d")
    add_option(
        parser,
        "-sn",
        "sensitive_nodes",
        type=parse_optional_list,
        metavar="NODES",
        help="test these nodes instead of picking them",
    )
    add_save_dir(parser, "-sd")
    add_metric(parser)
    add_option(
        parser,
        "-q",
        "qtype",
        default="float32",
        metavar="TYPE",
        help="what the sensitive nodes become: float32, int16, float16",
    )
    add_recording(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print and plot the steps."""
    from hmct_track.workflow.partial import PartialRequest, analyse_partial_quantization

    request = PartialRequest(
        args.model_or_file,
        args.calibrated_data,
        args.pick_threshold,
        args.data_num,
        args.sensitive_nodes,
        args.save_dir,
        args.metric,
        args.qtype,
    )
    options = options_of(args)
    return finish(analyse_partial_quantization(request, options, print_answer), options)
