"""``hmct-debugger tag``: give a run a name, such as baseline."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress

from hmct_track.cli.common import Subparsers, add_command, add_lake
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import TrackingError, UsageError


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "tag",
        "Give a run a name that other commands take, in the lake and in MLflow. A name is of one "
        "run at a time.",
    )
    parser.add_argument(
        "run_reference",
        metavar="RUN",
        help="a run id, the beginning of one, or latest: the newest ranking of nodes",
    )
    parser.add_argument("tag", metavar="NAME", nargs="?", default="baseline", help="the name")
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Point the name at the run."""
    from hmct_track.analyses.recorder import told_if_begun
    from hmct_track.lake import Lake, find_ranking, find_run, lake_path, set_tag, tagged_runs
    from hmct_track.tracking import TAG, move_tag

    lake = Lake.create(Lake.open(lake_path(args.lake)).path)
    reference = args.run_reference
    if reference.startswith("latest"):
        # As compare counts: what is tagged is mostly a baseline, and that is a ranking.
        with suppress(UsageError):
            reference = find_ranking(lake, reference)["run_id"]
    chosen = find_run(lake, reference)
    before = tagged_runs(lake, args.tag)
    set_tag(lake, args.tag, chosen["run_id"])
    print(f"{args.tag} is run {chosen['run_id']}", file=sys.stderr)
    try:
        chosen = told_if_begun(lake, chosen)
        move_tag(
            lake.path,
            f"{TAG}{args.tag}",
            [row["mlflow_run_id"] for row in before if row["mlflow_run_id"]],
            chosen["mlflow_run_id"],
        )
    except TrackingError as error:
        print(f"warning: {error}; the name is kept in the lake", file=sys.stderr)
        return ExitCode.NOT_TRACKED
    return ExitCode.OK
