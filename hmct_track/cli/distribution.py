"""``hmct-debugger plot-distribution`` and ``get-channelwise-data-distribution``."""

from __future__ import annotations

import argparse

from hmct_track.cli.common import (
    Subparsers,
    add_command,
    add_data_num,
    add_model_and_data,
    add_option,
    add_recording,
    add_save_dir,
    finish,
    options_of,
    print_answer,
)
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.cli.parsing import parse_flat_list


def add_parser(commands: Subparsers) -> None:
    """Add both commands."""
    parser = _add(commands, "plot-distribution", "Plot how the data of nodes are distributed.")
    parser.set_defaults(run=run)
    parser = _add(
        commands,
        "get-channelwise-data-distribution",
        "Plot how the data of calibration nodes are distributed, channel by channel.",
    )
    add_option(
        parser,
        "-a",
        "axis",
        type=int,
        metavar="AXIS",
        help="the dimension that holds the channels (default: 1; of a weight its node's own axis)",
    )
    parser.set_defaults(run=run_channels)


def _add(commands: Subparsers, name: str, summary: str) -> argparse.ArgumentParser:
    parser = add_command(commands, name, summary)
    add_model_and_data(parser)
    add_save_dir(parser, "-s")
    add_option(
        parser,
        "-n",
        "nodes_list",
        type=parse_flat_list,
        required=True,
        metavar="NODES",
        help="the nodes to look at",
    )
    add_data_num(parser)
    add_recording(parser)
    return parser


def run(args: argparse.Namespace) -> ExitCode:
    """Plot histograms; stdout has a line per series."""
    from hmct_track.workflow.distribution import DistributionRequest, show_distribution

    request = DistributionRequest(
        args.model_or_file, args.calibrated_data, args.nodes_list, args.save_dir, args.data_num
    )
    options = options_of(args)
    return finish(show_distribution(request, options, print_answer), options)


def run_channels(args: argparse.Namespace) -> ExitCode:
    """Plot boxes; stdout has a line per node."""
    from hmct_track.workflow.distribution import DistributionRequest, show_channels

    request = DistributionRequest(
        args.model_or_file,
        args.calibrated_data,
        args.nodes_list,
        args.save_dir,
        args.data_num,
        args.axis,
    )
    options = options_of(args)
    return finish(show_channels(request, options, print_answer), options)
