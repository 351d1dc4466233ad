"""``hmct-debugger graph``: the network of a run as a page, coloured by what was measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from hmct_track.cli.common import Subparsers, add_command, add_lake, print_answer
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import UsageError


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
    parser.add_argument("-o", "--output", metavar="FILE", default="graph.html", help="the page")
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Write the page and say where it is."""
    from hmct_track.lake import Lake, find_run, lake_path
    from hmct_track.report.graph_page import page
    from hmct_track.report.network import network_of

    lake = Lake.open(lake_path(args.lake))
    first = find_run(lake, args.run_reference)["run_id"]
    shown = find_run(lake, args.after)["run_id"] if args.after else first
    network = network_of(lake, shown, first if args.after else None)
    whole = network.whole.get(network.metric)
    lead = "" if whole is None else f"all nodes quantized: {network.metric} {whole:.6g}"
    facts = [("run", shown), ("model id", network.model_id), *network.used]
    text = page(network, str(network.run["model"]), lead, facts)
    try:
        Path(args.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the page {args.output!r}: {error}") from error
    print_answer(args.output)
    return ExitCode.OK
