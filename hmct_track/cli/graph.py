"""``hmct-debugger graph``: the network of a run, coloured by what was measured."""

from __future__ import annotations

import argparse

from hmct_track.cli.common import Subparsers, add_command, add_lake, print_answer
from hmct_track.cli.exit_codes import ExitCode

_FORMATS = ("html", "svg", "dot", "model-explorer")


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "graph",
        "Write the network of a run as a page that needs nothing but itself, coloured by metric, "
        "share of the error, cause or type; with two runs by what changed from the first.",
    )
    means = "a run id, the beginning of one, a tag, latest or latest~1"
    parser.add_argument("run_reference", metavar="RUN", help=means)
    parser.add_argument("after", metavar="RUN2", nargs="?", help="a later run, which is drawn")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the file (default: graph with its ending)"
    )
    parser.add_argument(
        "-f",
        "--format",
        choices=_FORMATS,
        help="a page (html), Graphviz's drawing (svg) or text (dot), or node data for Google's "
        "Model Explorer (default: what FILE ends with says, or html)",
    )
    parser.add_argument(
        "--by",
        metavar="COLOUR",
        help="colour by a metric, share, cause, type, change, weight:METRIC or activation:METRIC "
        "(default: the metric of the run, or the change)",
    )
    parser.add_argument(
        "--unfolded",
        action="store_true",
        help="have every node in svg and dot, where modules of more than 150 nodes fold",
    )
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Write the file and say where it is."""
    from hmct_track.reading.graph import FORMATS, graph

    drawn = graph(args.run_reference, args.after, lake=args.lake, by=args.by)
    file = args.output or f"graph{FORMATS[args.format or 'html']}"
    print_answer(str(drawn.save(file, args.format, unfolded=args.unfolded)))
    return ExitCode.OK
