"""``hmct-debugger nodes``: the names of a model's nodes, and what quantizes them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from hmct_track.analyses import Analysis
from hmct_track.cli.common import Subparsers, add_command, add_options, print_answer
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.options import options_of

if TYPE_CHECKING:
    from hmct_track.model import QuantModel


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "nodes",
        "List the names of all nodes, a line each: what they are, what quantizes them, thresholds.",
    )
    parser.add_argument("model_or_file", metavar="MODEL_OR_FILE", help="a calibrated or QDQ model")
    add_options(parser, [o for o in options_of(Analysis) if o.name == "float_model"])
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print a line per node."""
    from hmct_track.cli.output import print_json_value
    from hmct_track.model import load_model
    from hmct_track.report.tables import plain_table

    rows = _rows(load_model(args.model_or_file, args.float_model))
    if args.json:
        print_json_value(rows)
        return ExitCode.OK
    lines = [
        [
            row["node"],
            row["type"],
            row["op_type"],
            ";".join(row["calibration_nodes"] or row["consumers"]),
            row["qtype"] or "",
            "" if row["threshold"] is None else f"{row['threshold']:.5g}",
            "" if row["scales"] is None else str(row["scales"]),
        ]
        for row in rows
    ]
    header = ["node", "type", "op", "quantized by / feeds", "to", "threshold", "scales"]
    print_answer(plain_table(header, lines))
    return ExitCode.OK


def _rows(model: QuantModel) -> list[dict[str, Any]]:
    general = [
        {
            "node": node.name,
            "type": "node",
            "op_type": node.op_type,
            "calibration_nodes": list(node.calibration_nodes),
            "consumers": [],
            "qtype": None,
            "threshold": None,
            "scales": None,
        }
        for node in model.general_nodes
    ]
    return general + [
        {
            "node": node.name,
            "type": node.kind.value,
            "op_type": "HzCalibration",
            "calibration_nodes": [],
            "consumers": list(node.consumers),
            "qtype": node.params.qtype.name if node.enabled else "OFF",
            "threshold": node.params.max_threshold,
            "scales": len(node.params.scales),
        }
        for node in model.calibration_nodes
    ]
