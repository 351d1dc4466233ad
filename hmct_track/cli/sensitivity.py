"""``hmct-debugger get-sensitivity-of-nodes``."""

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
from hmct_track.cli.parsing import (
    parse_bool,
    parse_flat_list,
    parse_name,
    parse_optional_list,
)
from hmct_track.types import Metric, NodeType

FLAGS = ("-v", "--verbose")
"""Options that may stand without their value, which then is True."""


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "get-sensitivity-of-nodes", "Rank nodes by what is lost when each is quantized."
    )
    add_model_and_data(parser)
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
        type=parse_name,
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
    add_data_num(parser, "-d")
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
        type=parse_optional_list,
        metavar="NODES",
        help="rank only these nodes, of any type",
    )
    add_save_dir(parser, "-s")
    add_recording(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Rank nodes and print the table."""
    from hmct_track.workflow.sensitivity import SensitivityRequest, rank_nodes

    request = SensitivityRequest(
        args.model_or_file,
        args.calibrated_data,
        args.metrics,
        args.output_node,
        args.node_type,
        args.data_num,
        args.interested_nodes,
        args.save_dir,
    )
    options = options_of(args)
    result = rank_nodes(request, options, print_answer if args.verbose else None)
    return finish(result, options)
