"""``hmct-debugger compare``: two rankings, or two runs of a device, side by side, and a gate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hmct_track.cli.common import (
    Subparsers,
    add_command,
    add_lake,
    add_option,
    add_save_dir,
    print_answer,
)
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import UsageError
from hmct_track.types import Metric, NodeType


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "compare",
        "Compare two rankings: which nodes became worse or better, and what was changed; or two "
        "runs of device: where each parts from the simulation. "
        f"With --fail-if, exit code {ExitCode.GATE_FAILED} says that a condition holds.",
    )
    means = "a run id or the beginning of one, a tag, latest, latest~1, or a ranked model's file"
    parser.add_argument("run_a", metavar="RUN_A", help=f"before: {means}")
    parser.add_argument("run_b", metavar="RUN_B", nargs="?", default="latest", help="after")
    add_option(
        parser,
        "-m",
        "metric",
        metavar="METRIC",
        help=f"one of: {', '.join(Metric)} (default: the one that ranked RUN_B)",
    )
    add_option(
        parser,
        "-n",
        "node_type",
        default=NodeType.NODE.value,
        metavar="TYPE",
        help=f"which rankings latest and a model's file mean: {', '.join(NodeType)}; device for "
        "runs of device",
    )
    parser.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help='such as "max_drop > 0.001 or added > 0"; may be given more than once. Quantities: '
        "the columns of the query compare_summary, which hmct-debugger sql lists, and "
        "whole_drop_low, whole_drop_high, surely_worse and surely_better, which tell changes "
        "from noise; of runs of device those of compare_devices_summary, such as newly_parting > 0",
    )
    parser.add_argument(
        "--tolerance", type=float, metavar="X", help="a change up to X is none (default: 1e-6)"
    )
    parser.add_argument("--markdown", metavar="FILE", help="write a summary for a pull request")
    parser.add_argument("--json", action="store_true", help="print all rows as JSON instead")
    add_save_dir(parser, "-s")
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print the comparison; say whether the gate fails."""
    from hmct_track.cli.output import print_json_value
    from hmct_track.lake import TOLERANCE
    from hmct_track.reading.compare import compare

    result = compare(
        args.run_a,
        args.run_b,
        args.metric,
        node_type=args.node_type,
        fail_if=args.fail_if,
        tolerance=TOLERANCE if args.tolerance is None else args.tolerance,
        save_dir=args.save_dir,
        lake=args.lake,
    )
    if args.markdown:
        try:
            Path(args.markdown).write_text(result.markdown, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write the summary {args.markdown!r}: {error}") from error
    if args.json:
        print_json_value({**vars(result.comparison), "failed": list(result.failed)})
    else:
        print_answer(result.table)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    for path in result.files:
        print(f"saved {path}", file=sys.stderr)
    for condition in result.failed:
        print(f"failed: {condition}", file=sys.stderr)
    return ExitCode.GATE_FAILED if result.failed else ExitCode.OK
