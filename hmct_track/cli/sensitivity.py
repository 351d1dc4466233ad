"""``hmct-debugger get-sensitivity-of-nodes``."""

from __future__ import annotations

import argparse
import sys

from hmct_track.cli.common import (
    Subparsers,
    add_command,
    add_option,
    add_recording,
    print_answer,
)
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.cli.parsing import parse_bool, parse_count, parse_flat_list
from hmct_track.types import Metric, NodeType


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "get-sensitivity-of-nodes", "Rank nodes by what is lost when each is quantized."
    )
    parser.add_argument("model_or_file", metavar="MODEL_OR_FILE", help="the calibrated model")
    parser.add_argument(
        "calibrated_data", metavar="CALIBRATION_DATA", help="the folder of calibration data"
    )
    add_option(
        parser,
        "-m",
        "metrics",
        type=parse_flat_list,
        default=[Metric.COSINE_SIMILARITY.value],
        metavar="METRICS",
        help=f"one or a list of: {', '.join(Metric)}; the first ranks",
    )
    add_option(
        parser,
        "-o",
        "output_node",
        metavar="NODE",
        help="compare at this node instead of the model's outputs",
    )
    add_option(
        parser,
        "-n",
        "node_type",
        default=NodeType.NODE.value,
        metavar="TYPE",
        help=f"what is quantized alone: {', '.join(NodeType)}",
    )
    add_option(
        parser,
        "-d",
        "data_num",
        type=parse_count,
        default=1,
        metavar="N",
        help="number of samples; None is all of them",
    )
    add_option(
        parser,
        "-v",
        "verbose",
        type=parse_bool,
        default=True,
        metavar="BOOL",
        help="print the table; False only records the run",
    )
    add_option(
        parser,
        "-i",
        "interested_nodes",
        type=parse_flat_list,
        metavar="NODES",
        help="rank only these nodes, of any type",
    )
    add_recording(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Rank nodes and print the table."""
    from hmct_track.lake import lake_path
    from hmct_track.workflow.run import Options
    from hmct_track.workflow.sensitivity import SensitivityRequest, rank_nodes

    request = SensitivityRequest(
        args.model_or_file,
        args.calibrated_data,
        args.metrics,
        args.output_node,
        args.node_type,
        args.data_num,
        args.interested_nodes,
    )
    options = Options(
        lake_path(args.lake), args.experiment, not args.no_track, not args.no_progress
    )
    result = rank_nodes(request, options, print_answer if args.verbose else None)
    print(f"run {result.run_id} is in the lake {options.lake}", file=sys.stderr)
    return ExitCode.NOT_TRACKED if result.tracking_error else ExitCode.OK
