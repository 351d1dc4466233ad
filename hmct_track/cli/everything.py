"""``hmct-debugger runall``."""

from __future__ import annotations

import argparse
from typing import Any

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
    parse_list,
    parse_name,
    parse_optional_list,
)
from hmct_track.types import Metric, NodeType

FLAGS = ("-v", "--verbose", "-avm", "--average_mode", "--average-mode")
"""Options that may stand without their value, which then is True."""

_OPTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "-nm",
        "ns_metrics",
        {
            "type": parse_flat_list,
            "default": [Metric.COSINE_SIMILARITY.value],
            "metavar": "METRICS",
            "help": f"one or a list of: {', '.join(Metric)}; the first ranks",
        },
    ),
    (
        "-o",
        "output_node",
        {"type": parse_name, "metavar": "NODE", "help": "rank by this node's output"},
    ),
    (
        "-nt",
        "node_type",
        {
            "metavar": "TYPE",
            "help": f"rank only: {', '.join(NodeType)} (default: weights, then activations)",
        },
    ),
    (
        "-v",
        "verbose",
        {"type": parse_bool, "default": True, "metavar": "BOOL", "help": "print the rankings"},
    ),
    (
        "-i",
        "interested_nodes",
        {"type": parse_optional_list, "metavar": "NODES", "help": "rank only these nodes"},
    ),
    (
        "-dnl",
        "dis_nodes_list",
        {
            "type": parse_optional_list,
            "metavar": "NODES",
            "help": "plot the distribution of these (default: the five most sensitive of a type)",
        },
    ),
    (
        "-cn",
        "cw_nodes_list",
        {
            "type": parse_optional_list,
            "metavar": "NODES",
            "help": "box plots of these calibration nodes (default: the same)",
        },
    ),
    ("-a", "axis", {"type": int, "metavar": "AXIS", "help": "dimension of the channels"}),
    (
        "-qn",
        "quantize_node",
        {
            "type": parse_list,
            "metavar": "NODES",
            "help": "error curves with only these quantized (default: weight, activation)",
        },
    ),
    (
        "-nqn",
        "non_quantize_node",
        {"type": parse_list, "metavar": "NODES", "help": "error curves with all but these"},
    ),
    (
        "-am",
        "ae_metric",
        {
            "default": Metric.COSINE_SIMILARITY.value,
            "metavar": "METRIC",
            "help": "metric of the error curves",
        },
    ),
    (
        "-avm",
        "average_mode",
        {"type": parse_bool, "default": False, "metavar": "BOOL", "help": "running means"},
    ),
    (
        "-pt",
        "pick_threshold",
        {
            "type": float,
            "default": 0.999,
            "metavar": "VALUE",
            "help": "nodes worse than this are left out of quantization one after the other",
        },
    ),
    (
        "-sn",
        "sensitive_nodes",
        {"type": parse_optional_list, "metavar": "NODES", "help": "leave out these nodes instead"},
    ),
)


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "runall", "Run all analyses, with a page that shows them.")
    add_model_and_data(parser)
    add_save_dir(parser, "-s")
    for short, name, options in _OPTIONS:
        add_option(parser, short, name, **options)
    add_data_num(parser, "-dn", default=None)
    add_recording(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Run the steps and print the rankings."""
    from hmct_track.workflow.everything import EverythingRequest, run_everything

    names = EverythingRequest.__dataclass_fields__
    request = EverythingRequest(**{name: getattr(args, name) for name in names})
    options = options_of(args)
    result = run_everything(request, options, print_answer if args.verbose else None)
    return finish(result, options)
