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
    result = show_distribution(request, options)
    for row in result.rows:
        threshold = "" if row["threshold"] is None else f", threshold {row['threshold']:.5g}"
        print_answer(
            f"{row['node']} {row['series']}: {row['min']:.5g} to {row['max']:.5g}, "
            f"mean {row['mean']:.5g}, std {row['std']:.5g}{threshold}"
        )
    return finish(result, options)


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
    result = show_channels(request, options)
    for node in dict.fromkeys(row["node"] for row in result.rows):
        rows = [row for row in result.rows if row["node"] == node]
        widest = max(rows, key=lambda row: row["max"] - row["min"])
        print_answer(
            f"{node}: {len(rows)} channels, widest {widest['channel']} "
            f"({widest['min']:.5g} to {widest['max']:.5g})"
        )
    return finish(result, options)
