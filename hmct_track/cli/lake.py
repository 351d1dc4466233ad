"""``hmct-debugger lake``: check, compact, clean, export and import."""

from __future__ import annotations

import argparse
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hmct_track.cli.common import Subparsers, add_command, add_lake
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import UsageError

if TYPE_CHECKING:
    from hmct_track.lake import Lake

_MB = 2**20
_MOST_DAYS = 36500
_MOST_KEPT = 10**6


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
        own,
        "gc",
        "Drop the runs that were deleted in MLflow, or those that --older-than and --keep-best "
        "let go, and what no other run rests on. Tagged runs stay.",
    )
    collect.add_argument("--dry-run", action="store_true", help="only list them")
    collect.add_argument(
        "--older-than", type=_days, metavar="DAYS", help="runs that started so many days ago"
    )
    collect.add_argument(
        "--keep-best",
        type=_count,
        metavar="N",
        help="of each model file and kind of analysis, keep the N finished runs whose fully "
        "quantized model is best; with --older-than, only what is older goes",
    )
    collect.add_argument(
        "--yes", action="store_true", help="drop them; without it --older-than and --keep-best list"
    )
    collect.set_defaults(act=_collect)
    status = add_command(
        own,
        "status",
        "Show what the lake takes, what merging by itself has cost, and the runs that MLflow has "
        "not been told of yet, and why. Exit code 3 if it did not take one.",
    )
    status.add_argument("--tell", action="store_true", help="tell MLflow of them now, and wait")
    status.add_argument(
        "--forget", action="store_true", help="never tell MLflow of them; the lake keeps them"
    )
    status.set_defaults(act=_status)
    export = add_command(own, "export", "Write a run, its steps and their data to one file.")
    export.add_argument("run_reference", metavar="RUN", help="a run id, the beginning of one, ...")
    export.add_argument("file", metavar="FILE")
    export.set_defaults(act=_export)
    importer = add_command(own, "import", "Add a run that was exported.")
    importer.add_argument("file", metavar="FILE")
    importer.set_defaults(act=_import)
    for each in (check, compact, status, collect, export, importer):
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


def _status(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.lake.care import stored, tidied

    if args.tell and args.forget:
        raise UsageError("give either --tell or --forget; both were given")
    if args.tell or args.forget:
        return _waiting(lake, args)
    found = stored(lake)
    for name, table in found.items():
        more = f", {table.worth} worth merging" if table.worth else ""
        print(f"{name}: {table.parts} parts, {table.size / _MB:.1f} MB{more}")
    parts, size = sum(t.parts for t in found.values()), sum(t.size for t in found.values())
    print(f"in all {parts} parts, {size / _MB:.1f} MB")
    done = tidied(lake)
    if done.get("times"):
        print(
            f"merged by itself {done['times']} times in {done['seconds']:.1f} s, at most "
            f"{done['longest']:.1f} s and {done['bytes'] / _MB:.1f} MB in all; last {done['last']}"
        )
    else:
        print("nothing was merged by itself yet; that is done when a run ends and it is worth it")
    pending = sum(table.pending for table in found.values())
    worth = sum(table.worth for table in found.values())
    print(f"hmct-debugger lake compact would merge {worth} parts, {pending / _MB:.1f} MB")
    return _waiting(lake, args)


def _collect_chosen(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.lake.care import chosen_runs, drop_runs

    before = None
    if args.older_than is not None:
        before = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=args.older_than)
    gone, tagged = chosen_runs(lake, before=before, best=args.keep_best)
    if tagged:
        print(f"stay, as they are tagged: {', '.join(tagged)}")
    if not gone:
        print("no run is to be dropped")
        return ExitCode.OK
    drop = args.yes and not args.dry_run
    if drop:
        drop_runs(lake, gone)
    print(f"{'dropped' if drop else 'would drop'} {len(gone)} runs: {', '.join(gone)}")
    if not drop:
        print("nothing was dropped; add --yes to drop them")
    return ExitCode.OK


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days, such as 90")
    return days


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_KEPT):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs to keep, such as 3")
    return int(text)


def _collect(lake: Lake, args: argparse.Namespace) -> ExitCode:
    if args.older_than is not None or args.keep_best is not None:
        return _collect_chosen(lake, args)
    from hmct_track.lake import find_runs
    from hmct_track.lake.care import drop_runs
    from hmct_track.tracking import deleted_runs

    runs = {row["mlflow_run_id"]: row for row in find_runs(lake) if row["mlflow_run_id"]}
    places = {mlflow_id: row["mlflow_uri"] or "" for mlflow_id, row in runs.items()}
    places |= _kept_here(lake, places)
    gone = [runs[mlflow_id]["run_id"] for mlflow_id in deleted_runs(lake.path, places)]
    if not gone:
        print("no run of the lake was deleted in MLflow")
        return ExitCode.OK
    if not args.dry_run:
        drop_runs(lake, gone)
    print(f"{'would drop' if args.dry_run else 'dropped'}: {', '.join(gone)}")
    return ExitCode.OK


def _kept_here(lake: Lake, places: dict[str, str]) -> dict[str, str]:
    """Runs that the lake's own store has, under the place where it is now: a lake may be moved."""
    from hmct_track.tracking import own_store, tracking_uri

    store = own_store(lake.path)
    if store is None or not store.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as database:
            known = {str(row[0]) for row in database.execute("SELECT run_uuid FROM runs")}
    except sqlite3.Error:
        return {}  # MLflow, asked next, says what is wrong with it
    return {run_id: tracking_uri(lake.path) for run_id in places if run_id in known}


def _waiting(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.analyses.recorder import PATIENCE, tell_waiting
    from hmct_track.recording.outbox import take, waiting

    if args.tell:
        lake.write_database()
        tell_waiting(lake, PATIENCE)
    entries = waiting(lake.path)
    for entry in entries:
        place = f" for {entry.uri}" if entry.uri else ""
        print(f"run {entry.run_id} waits{place}: {entry.error or 'not told yet'}")
        if args.forget:
            take(lake.path, entry.run_id)
    if not entries:
        print("MLflow was told of every run that it is to know")
    elif args.forget:
        print(f"MLflow will not be told of these {len(entries)} runs")
    failed = any(entry.error for entry in entries) and not args.forget
    return ExitCode.NOT_TRACKED if failed else ExitCode.OK


def _export(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.lake import find_run
    from hmct_track.lake.archive import export_run

    run_id = find_run(lake, args.run_reference)["run_id"]
    export_run(lake, run_id, Path(args.file))
    print(f"saved run {run_id} to {args.file}", file=sys.stderr)
    return ExitCode.OK


def _import(lake: Lake, args: argparse.Namespace) -> ExitCode:
    from hmct_track.lake.archive import import_run

    done = import_run(lake, Path(args.file))
    if done.added:
        print(f"added {', '.join(done.added)}", file=sys.stderr)
    there = [run_id for run_id in done.runs if run_id not in done.added]
    if there:
        print(f"the lake had {', '.join(there)} already", file=sys.stderr)
    for table, count in done.kept.items():
        print(
            f"warning: {count} rows of {table} differ from those in the lake, which were kept",
            file=sys.stderr,
        )
    return ExitCode.OK
