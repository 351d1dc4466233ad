"""Care of a lake: merging parts, dropping runs, finding what is wrong, moving runs."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from hmct_track.errors import LakeError, QueryError, UsageError
from hmct_track.lake.apart import part_problems
from hmct_track.lake.dropping import drop
from hmct_track.lake.duck import is_gone
from hmct_track.lake.lake import EMPTY, Lake
from hmct_track.lake.layout import BUDGET, Keys, Merge, Piece, may_hold, merges
from hmct_track.lake.parts import arrow_schema, fitted, read_part
from hmct_track.lake.places import filesystem, is_remote, names_in, remove_quietly, written
from hmct_track.lake.rows import RunListRow, RunningRow
from hmct_track.lake.schema import (
    CONFIGS,
    MEASUREMENTS,
    MOVED_MEASUREMENTS,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    SCORES,
    TABLES,
    TAGS,
    Table,
)
from hmct_track.metrics import METRICS
from hmct_track.types import Metric, RunState

GRACE_SECONDS = 1.0
"""How long parts that were merged stay for those who are reading them."""
_DAY = 24 * 3600
_LOST_AFTER = 7 * _DAY
_MOST_PID = 2**31 - 1
_TRIES = 20
_PAUSE = 0.1
_ROUNDS = 64
_FIRST_BUDGET = 4 * BUDGET
"""Bytes: a lake whose parts were not laid out by key gets so much of it at once."""
_TIDIED, _CLAIM = "tidied.json", ".tidying"
CLAIM_SECONDS = 600


@dataclass(frozen=True)
class Tidied:
    """What `tidy` did."""

    parts: int
    """That were merged."""
    made: int
    """That they became."""
    size: int
    """Bytes that were read."""
    seconds: float


def compact(lake: Lake) -> dict[str, tuple[int, int]]:
    """Merge what small parts there are, and lay them out by key, while others read and write.

    A merged part is in place before those that it was made of go, so that every row is there at
    any moment; a row that is there twice for that time counts once, as always.

    Returns:
        Table name to number of parts that were merged, and of those that are there instead.

    Raises:
        LakeError: a part cannot be read or written; no row was lost.
    """
    _refuse_links(lake)
    done: dict[str, tuple[int, int]] = {}
    for table in TABLES:
        before: set[Path] = set()
        made: set[Path] = set()
        for _ in range(_ROUNDS):
            # What others write meanwhile is left for the next time, else this might never end.
            gone, new = _merge(lake, table, made or None)
            if not gone:
                break
            before |= gone - made
            made = made - gone | new
            # What is merged again at once was not there long enough to be asked for.
            _remove(gone)
        if before:
            done[table.name] = (len(before), len(made))
    return done


def tidy(lake: Lake) -> Tidied | None:
    """Merge parts where there is much to gain, which costs a bounded time; None if there is not.

    This is done whenever a run ends. Not more than `layout.BUDGET` bytes are read; in a lake that
    an older program wrote `_FIRST_BUDGET`, once. Where another process does it, nothing is done.

    Raises:
        LakeError: a part cannot be read or written; no row was lost.
    """
    first = not (lake.is_laid_out or tidied(lake).get("layout"))
    found = _listed(lake)
    plans = {table: merges(table, found[table], all_small=first) for table in TABLES}
    if first and not any(plans.values()):
        _tell(lake, Tidied(0, 0, 0, 0.0))
    chosen = _affordable(plans, _FIRST_BUDGET if first else BUDGET)
    if not chosen or any(_is_linked(lake, table) for table, _ in chosen):
        return None
    with _alone(lake) as alone:
        if not alone:
            return None
        start = time.monotonic()
        gone: set[Path] = set()
        made = 0
        for table, merge in chosen:
            try:
                made += len(_write(lake, table, merge))
            except (FileNotFoundError, QueryError) as error:
                if not (isinstance(error, FileNotFoundError) or is_gone(error.__cause__)):
                    raise LakeError(f"cannot merge the parts of {table.name}: {error}") from error
                continue  # someone else merged them
            gone |= {piece.path for piece in merge.pieces}
        _remove(gone)
        size = sum(merge.size for _, merge in chosen)
        done = Tidied(len(gone), made, size, time.monotonic() - start)
        _tell(lake, done)
    return done


def tidied(lake: Lake) -> dict[str, Any]:
    """What `tidy` has done so far: ``times``, ``seconds``, ``longest``, ``bytes``, ``last``."""
    try:
        told = json.loads((lake.path / _TIDIED).read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


@dataclass(frozen=True)
class Stored:
    """What a table takes."""

    parts: int
    size: int
    """Bytes."""
    worth: int
    """Parts that `compact` would merge."""
    pending: int
    """Bytes of those."""


def stored(lake: Lake) -> dict[str, Stored]:
    """What each table that has rows takes."""
    found = {}
    for table, pieces in _listed(lake).items():
        plans = merges(table, pieces, all_small=True)
        if pieces:
            found[table.name] = Stored(
                len(pieces),
                sum(piece.size for piece in pieces),
                sum(len(merge.pieces) for merge in plans),
                sum(merge.size for merge in plans),
            )
    return found


def chosen_runs(
    lake: Lake, *, before: datetime | None = None, best: int | None = None
) -> tuple[list[str], list[str]]:
    """Runs that an age, or a number of best ones, lets go, and those that stay although it would.

    A run and its steps stay or go together. A tagged run stays.

    Args:
        lake: where they are.
        before: only runs that started before, in UTC; all if it is None.
        best: keep so many of each model file (of each model, where none was given), kind and
            first metric: those whose fully quantized model is best, then the newest; runs
            without a value last.

    Returns:
        Run ids that go, and of tagged runs that would.
    """
    listed = lake.query("run_list")  # the query runs counts configurations as well
    runs = [row for row in listed if row["parent_run_id"] is None]
    kept: set[str] = set()
    if best is not None:
        groups: dict[tuple[str, ...], list[RunListRow]] = defaultdict(list)
        for row in runs:
            if row["state"] == RunState.FINISHED:
                of = row["model_path"] or row["model_id"]
                groups[row["kind"], of, *(row["metrics"] or ())[:1]].append(row)
        for rows in groups.values():
            kept |= {row["run_id"] for row in sorted(rows, key=_goodness)[:best]}
    going = [
        row
        for row in runs
        if row["run_id"] not in kept
        and row["state"] != RunState.RUNNING
        and (before is None or (row["started_at"] is not None and row["started_at"] < before))
    ]
    tagged = {tag["run_id"] for tag in lake.rows(TAGS)}
    steps = {row["parent_run_id"] for row in listed if row["run_id"] in tagged}
    safe = tagged | steps
    return (
        [row["run_id"] for row in going if row["run_id"] not in safe],
        [row["run_id"] for row in going if row["run_id"] in safe],
    )


def _goodness(row: RunListRow) -> tuple[float, float]:
    """Best first, then the newest; without a value last."""
    value, metrics = row["whole_value"], row["metrics"]
    newest = -row["started_at"].timestamp() if row["started_at"] else 0.0
    if value is None or math.isnan(value) or not metrics or metrics[0] not in set(Metric):
        return math.inf, newest
    return (-value if METRICS[Metric(metrics[0])].higher_is_better else value), newest


def _tell(lake: Lake, done: Tidied) -> None:
    """Add to what was done; of two that do so at once one is lost, which does no harm."""
    before = tidied(lake)
    told = {
        "layout": 1,
        "times": before.get("times", 0) + bool(done.parts),
        "seconds": before.get("seconds", 0.0) + done.seconds,
        "longest": max(before.get("longest", 0.0), done.seconds),
        "bytes": before.get("bytes", 0) + done.size,
        "last": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        with written(lake.path / _TIDIED) as temporary:
            temporary.write_text(json.dumps(told))
    except OSError as error:
        raise LakeError(f"cannot write to the lake in {str(lake.path)!r}: {error}") from error


def _affordable(plans: Mapping[Table, Sequence[Merge]], budget: int) -> list[tuple[Table, Merge]]:
    """What is worth merging, the cheapest first, until its bytes are spent."""
    every = [(table, merge) for table, found in plans.items() for merge in found]
    chosen = []
    for table, merge in sorted(every, key=lambda pair: pair[1].size):
        if merge.size <= budget:
            budget -= merge.size
            chosen.append((table, merge))
    return chosen


@contextmanager
def _alone(lake: Lake) -> Iterator[bool]:
    """Whether no other process tidies this lake. Nothing is lost if two do; it is done twice."""
    if is_remote(lake.path):
        yield True
        return
    claim = lake.path / _CLAIM
    with suppress(OSError):
        if time.time() - claim.stat().st_mtime > CLAIM_SECONDS:
            claim.unlink(missing_ok=True)  # whose process was killed
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        remove_quietly(claim)


def _listed(lake: Lake) -> dict[Table, list[Piece]]:
    """The parts of every table with their sizes, with one question to object storage."""
    found: dict[Table, list[Piece]] = {table: [] for table in TABLES}
    if not is_remote(lake.path):
        for table in TABLES:
            found[table] = _pieces(lake, table)
        return found
    tables = {table.name: table for table in TABLES}
    root = str(lake.path / "tables")
    for path, entry in filesystem(lake.path).find(root, detail=True).items():
        folder, _, name = str(path).rpartition("/")
        of = tables.get(folder.rpartition("/")[2])
        if of and name.endswith(".parquet") and name != EMPTY:
            place = lake.path / "tables" / of.name / name
            found[of].append(Piece(place, int(entry.get("size") or 0)))
    return found


def _pieces(lake: Lake, table: Table) -> list[Piece]:
    found = []
    for part in parts_of(lake, table):
        with suppress(FileNotFoundError):  # merged meanwhile
            found.append(Piece(part, part.stat().st_size))
    return found


def _is_linked(lake: Lake, table: Table) -> bool:
    """Whether a table's folder is a link, in a lake from someone else perhaps to files of yours."""
    folder = lake.path / "tables" / table.name
    return not is_remote(lake.path) and (folder.is_symlink() or folder.parent.is_symlink())


def _refuse_links(lake: Lake) -> None:
    for table in TABLES:
        if _is_linked(lake, table):
            raise LakeError(
                f"the folder of {table.name} in the lake {str(lake.path)!r} is a link; what is in "
                "it is not removed, so put the folder itself there"
            )


def _merge(lake: Lake, table: Table, among: Collection[Path] | None) -> tuple[set[Path], set[Path]]:
    """Merge small parts, of all or among some: what was merged, and what it became.

    Another process may merge as well, and have removed some in the meantime; then what is there now
    is merged.
    """
    for left in reversed(range(_TRIES)):
        gone: set[Path] = set()
        made: set[Path] = set()
        try:
            pieces = _pieces(lake, table)
            chosen = [piece for piece in pieces if among is None or piece.path in among]
            for merge in merges(table, chosen, all_small=True):
                made |= set(_write(lake, table, merge))
                gone |= {piece.path for piece in merge.pieces}
        except (FileNotFoundError, QueryError) as error:
            is_missing = isinstance(error, FileNotFoundError) or is_gone(error.__cause__)
            if not (is_missing and left):
                raise LakeError(f"cannot merge the parts of {table.name}: {error}") from error
            if gone:
                return gone, made
            time.sleep(_PAUSE)
        else:
            return gone, made
    return set(), set()


def _write(lake: Lake, table: Table, merge: Merge) -> list[Path]:
    paths = [piece.path for piece in merge.pieces]
    return lake.write_merged(table, paths, merge.depth, divide=merge.divide)


def _remove(parts: Iterable[Path]) -> None:
    """Remove parts whose rows are in another by now.

    A reader that began to list the folder before the other part was there must have come to the end
    of the list; if it then opens one that is gone, it tries again.
    """
    gone = list(parts)
    if gone:
        time.sleep(GRACE_SECONDS)
    for part in gone:
        part.unlink(missing_ok=True)  # another process may merge as well


def parts_of(lake: Lake, table: Table) -> list[Path]:
    """The parts of a table that have rows; ``0.parquet`` has none and stays."""
    folder = lake.path / "tables" / table.name
    found = sorted(n for n in names_in(folder) if n.endswith(".parquet") and n != EMPTY)
    return [folder / name for name in found]


def lost_runs(lake: Lake) -> list[str]:
    """Runs that are RUNNING in the lake though nothing runs them any more, such as after SIGKILL.

    On this machine the process is looked for. Of a run on another machine nothing is known; it is
    taken for lost after a week.
    """
    return [row["run_id"] for row in lake.query("running") if _is_lost(row)]


def mark_killed(lake: Lake, run_ids: Sequence[str]) -> None:
    """Set runs to KILLED.

    Raises:
        LakeError: it cannot be written.
    """
    told = {"state": RunState.KILLED.value, "error": "the process ended without a word"}
    now = datetime.now(UTC).replace(tzinfo=None)
    lake.append(
        RUNS,
        [
            {**row, **told, "updated_at": now, "version": _after(row["version"])}
            for row in lake.rows(RUNS, run_ids)
            if row["state"] == RunState.RUNNING
        ],
    )


def _after(version: int | None) -> int | None:
    """The version of what others say of a run: before the run's own next row."""
    return None if version is None else version + 1


def check(lake: Lake) -> list[str]:
    """What is wrong with a lake, a line each; nothing if it is whole.

    Parts are read by a process of its own: what is in them may make a library end it.
    """
    parts = [(table, part) for table in TABLES for part in parts_of(lake, table)]
    problems = part_problems(parts)
    found = [
        f"{part} {problem}"
        for (_, part), problem in zip(parts, problems, strict=True)
        if problem and part.exists()  # it may have been merged meanwhile
    ]
    if found:
        return found  # a query would fail at the same parts
    return [
        f"{row['keys']} {row['source']} lead nowhere in {row['target']}, such as {row['example']}"
        for row in lake.query("orphans")
    ]


def leftovers(lake: Lake) -> list[Path]:
    """Temporary files of writers that were killed more than a day ago."""
    if is_remote(lake.path):
        return []  # what is uploaded shows only when it is whole
    before = time.time() - _DAY
    found = {*lake.path.glob(".*.tmp"), *lake.path.glob(".*.tmp.wal")}
    for table in TABLES:
        if not _is_linked(lake, table):
            found |= set((lake.path / "tables" / table.name).glob(".*.tmp"))
    return sorted(path for path in found if _age_time(path) < before)


def _age_time(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # its writer has just ended
        return time.time()


def drop_runs(lake: Lake, run_ids: Sequence[str]) -> None:
    """Drop runs, their steps, and what no other run rests on. Nothing may run meanwhile.

    Raises:
        UsageError: an analysis is running.
        LakeError: a part cannot be read or written.
    """
    _refuse_links(lake)
    running = [row["run_id"] for row in lake.query("running") if not _is_lost(row)]
    if running:
        raise UsageError(f"run {running[0]} is running; drop runs when it has ended")
    with _alone(lake) as alone:
        if not alone:
            raise UsageError(
                "parts of the lake are being merged by another process; try again when it has ended"
            )
        drop(lake, run_ids, GRACE_SECONDS)


def _is_lost(row: RunningRow) -> bool:
    process = row["pid"] or 0
    if row["host"] == platform.node() and 0 < process <= _MOST_PID:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is someone else's, and runs
            return False
        return False
    if row["started_at"] is None:
        return True
    started = row["started_at"].replace(tzinfo=UTC).timestamp()
    return bool(time.time() - started > _LOST_AFTER)


def with_steps(lake: Lake, run_ids: Sequence[str]) -> set[str]:
    """Run ids, and those of their steps."""
    steps = [row["run_id"] for run in run_ids for row in lake.query("run_list", family=run)]
    return {*run_ids, *steps}


def rows_of_runs(lake: Lake, run_ids: Sequence[str]) -> Iterator[tuple[Table, pa.Table]]:
    """The rows of each table that runs rest on."""
    keys = _Keys.of(lake, run_ids)
    for table in TABLES:
        yield table, _table(lake, table, keys.of_table(table))


@dataclass(frozen=True)
class _Keys:
    """The keys of what runs rest on."""

    runs: frozenset[str]
    models: frozenset[str]
    data: frozenset[str]
    measured: frozenset[tuple[str, str, str]]
    """Keys of model, configuration and sample."""

    @classmethod
    def of(cls, lake: Lake, run_ids: Sequence[str]) -> _Keys:
        runs = lake.rows(RUNS, run_ids)
        configs: dict[str, set[str]] = defaultdict(set)
        for row in lake.rows(RUN_CONFIGS, run_ids):
            configs[row["run_id"]].add(row["config_id"])
        samples: dict[str, set[str]] = defaultdict(set)
        for row in lake.rows(SAMPLES, {row["data_id"] for row in runs}):
            samples[row["data_id"]].add(row["sample_id"])
        return cls(
            frozenset(run_ids),
            frozenset(row["model_id"] for row in runs),
            frozenset(samples),
            frozenset(
                (row["model_id"], config_id, sample_id)
                for row in runs
                for config_id in configs[row["run_id"]]
                for sample_id in samples[row["data_id"]]
            ),
        )

    def of_table(self, table: Table) -> pa.Table:
        """The keys of a table's rows."""
        if table is TAGS or table.key[0] == "run_id":
            return _only(table, "run_id", self.runs)
        if table in (MEASUREMENTS, MOVED_MEASUREMENTS, SCORES):
            names = ("model_id", "config_id", "sample_id")
            columns = {
                name: pa.array([key[i] for key in self.measured], pa.string())
                for i, name in enumerate(names)
            }
            return pa.table(columns)
        if table is CONFIGS:
            return _only(table, "config_id", {config_id for _, config_id, _ in self.measured})
        if table is SAMPLES:
            return _only(table, "data_id", self.data)
        return _only(table, "model_id", self.models)


def _only(table: Table, column: str, values: Collection[str]) -> pa.Table:
    kind = arrow_schema(table).field(column).type
    return pa.table({column: pa.array(sorted(values), kind)})


def _table(lake: Lake, table: Table, keys: pa.Table) -> pa.Table:
    """The rows of a table, as they were written, that have one of these keys."""
    first = table.key[0]
    wanted = None
    if first in keys.column_names:
        wanted = Keys(frozenset(map(str, keys.column(first).unique().to_pylist())))
    tables = [arrow_schema(table).empty_table()]
    for part in parts_of(lake, table):
        if wanted is not None and not may_hold(part.stem, wanted):
            continue
        rows = fitted(read_part(part), table)
        # Lists cannot be carried through a join, so that the places of rows are.
        places = rows.select(keys.column_names)
        places = places.append_column("place", pa.array(range(len(rows)), pa.int64()))
        found = places.join(keys, keys.column_names, join_type="left semi").column("place")
        tables.append(rows.take(found.sort()))
    return pa.concat_tables(tables)
