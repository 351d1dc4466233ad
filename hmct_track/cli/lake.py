"""``hmct-debugger lake``: check, compact, clean, export and import."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hmct_track.cli.common import Subparsers, add_command, add_lake
from hmct_track.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from hmct_track.lake import Lake


def add_parser(commands: Subparsers) -> None:
    """Add the command with its own."""
    parser = add_command(commands, "lake", "Care for the lake.")
    own = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = add_command(
        own,
        "check",
        "Look for parts that cannot be read, keys that lead nowhere, and runs whose process is "
        "gone, which become KILLED. Exit code 2 if something is wrong.",
    )
    check.set_defaults(act=_check)
    compact = add_command(
        own, "compact", "Merge small parts into large ones, while others read and write."
    )
    compact.set_defaults(act=_compact)
    collect = add_command(
        own, "gc", "Drop the runs that were deleted in MLflow, and what no other run rests on."
    )
    collect.add_argument("--dry-run", action="store_true", help="only list them")
    collect.set_defaults(act=_collect)
    export = add_command(own, "export", "Write a run, its steps and their data to one file.")
    export.add_argument("run_reference", metavar="RUN", help="a run id, the beginning of one, ...")
    export.add_argument("file", metavar="FILE")
    export.set_defaults(act=_export)
    importer = add_command(own, "import", "Add a run that was exported.")
    importer.add_argument("file", metavar="FILE")
    importer.set_defaults(act=_import)
    for each in (check, compact, collect, export, importer):
        add_lake(each)
        each.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Do it on the lake."""
    from hmct_track.lake import Lake, lake_path

    place = lake_path(args.lake)
    # Imported into, a lake is made; for all else there has to be one.
    lake = Lake.create(place) if args.act is _import else Lake.open(place)
    code: ExitCode = args.act(lake, args)
    return code


def _check(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.lake.care import check, leftovers, lost_runs, mark_killed

    wrong = check(lake)
    for line in wrong:
        print(line)
    if wrong:
        return ExitCode.BAD_INPUT
    lost = lost_runs(lake)
    if lost:
        mark_killed(lake, lost)
        print(f"set to KILLED, as their process is gone: {', '.join(lost)}")
    for path in leftovers(lake):
        path.unlink(missing_ok=True)
        print(f"removed {path}, left by a writer that was killed")
    print(f"the lake {lake.path} is whole")
    return ExitCode.OK


def _compact(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.lake.care import compact

    merged = compact(lake)
    for table, (before, after) in merged.items():
        print(f"{table}: {before} parts became {after}")
    if not merged:
        print("there was nothing to merge")
    return ExitCode.OK


def _collect(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.lake import find_runs
    from hmct_track.lake.care import drop_runs
    from hmct_track.tracking import deleted_runs

    runs = {row["mlflow_run_id"]: row for row in find_runs(lake) if row["mlflow_run_id"]}
    places = {mlflow_id: row["mlflow_uri"] or "" for mlflow_id, row in runs.items()}
    gone = [runs[mlflow_id]["run_id"] for mlflow_id in deleted_runs(lake.path, places)]
    if not gone:
        print("no run of the lake was deleted in MLflow")
        return ExitCode.OK
    if not args.dry_run:
        drop_runs(lake, gone)
    print(f"{'would drop' if args.dry_run else 'dropped'}: {', '.join(gone)}")
    return ExitCode.OK


def _export(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.lake import find_run
    from hmct_track.lake.care import export_run

    run_id = find_run(lake, args.run_reference)["run_id"]
    export_run(lake, run_id, Path(args.file))
    print(f"saved run {run_id} to {args.file}", file=sys.stderr)
    return ExitCode.OK


def _import(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.lake.care import import_run

    runs = import_run(lake, Path(args.file))
    print(f"added {', '.join(runs)}", file=sys.stderr)
    return ExitCode.OK
