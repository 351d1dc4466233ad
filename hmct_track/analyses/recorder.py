"""Telling MLflow of the runs that wait in a lake's outbox.

``python -m hmct_track.analyses.recorder LAKE`` is the process that a command leaves behind. What it
tells is made from the lake, so that any later process can do the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmct_track.analyses.base import Answer
from hmct_track.analyses.runner import content_of
from hmct_track.analyses.stored import answer_of
from hmct_track.errors import HmctTrackError, LakeError, TrackingError
from hmct_track.lake import NOTES, OWN_STEP, RUNS, TAGS, Lake, find_run
from hmct_track.lake.care import mark_killed, tidy
from hmct_track.recording import outbox
from hmct_track.recording.draft import Content, calibration_of, draft
from hmct_track.recording.outbox import Entry
from hmct_track.tracking import NOTE, TAG, TrackedRun, described, forget, track
from hmct_track.types import RunState

if TYPE_CHECKING:
    from hmct_track.lake.rows import RunsRow

_MOST_FAILURES = 3
"""After so many runs in a row that MLflow did not take, the others are not tried."""
_MOST_STARTS = 3
"""When so many processes have ended while they told a run, something is wrong with telling it."""
PATIENCE = 120.0
"""Seconds to wait for another process that empties the outbox."""
_NICER = 10


def tell_waiting(lake: Lake, seconds: float = 0.0) -> list[Entry]:
    """Tell MLflow of the runs that wait for its present store, the oldest first.

    Args:
        lake: the lake.
        seconds: to wait for another process that does so.

    Returns:
        Those that MLflow did not take, each with the reason.

    Raises:
        TrackingError: another process does so, and has not ended in time.
    """
    tried: dict[str, Entry] = {}
    while True:
        with _alone(lake, seconds):
            failures = 0
            for entry in _untried(lake, tried):
                tried[entry.run_id] = told = _tell(lake, entry)
                failures = failures + 1 if told.error else 0
                if failures == _MOST_FAILURES:
                    break
        # Who has put an entry while we held the lock has started nobody.
        if failures == _MOST_FAILURES or not _untried(lake, tried):
            return [entry for entry in outbox.waiting_here(lake.path) if entry.error]


def _untried(lake: Lake, tried: Mapping[str, Entry]) -> list[Entry]:
    left = [entry for entry in outbox.waiting_here(lake.path) if entry.run_id not in tried]
    return sorted(left, key=lambda entry: entry.starts)  # one that ends processes comes last


@contextmanager
def _alone(lake: Lake, seconds: float) -> Iterator[None]:
    from filelock import Timeout

    if not outbox.waiting(lake.path):  # the lock would make the folder of a lake that is gone
        yield
        return
    try:
        with outbox.lock(lake.path).acquire(timeout=seconds):
            yield
    except Timeout:
        raise TrackingError(
            f"another process tells MLflow of the runs of {str(lake.path)!r} and has not ended"
        ) from None


def _tell(lake: Lake, entry: Entry) -> Entry:
    """Tell MLflow of a run; the entry goes, or stays with the reason why it was not taken."""
    try:
        rows = _rows(lake, [entry.run_id])
        if entry.run_id not in rows:  # dropped from the lake
            outbox.take(lake.path, entry.run_id)
            return entry
        if rows[entry.run_id]["state"] == RunState.RUNNING:  # killed as it ended: nobody holds it
            mark_killed(lake, [entry.run_id])
        again = entry.begun  # who began was killed, or MLflow has refused the half of it
        # From now on, whoever names the run waits until it is told. An error stays until then.
        entry = replace(
            entry, begun=True, starts=entry.starts + 1, error=entry.error or _lost(entry)
        )
        outbox.put(lake.path, entry)
        answer = answer_of(lake, entry.run_id)
        rows = _rows(lake, [entry.run_id, *(step.run_id for step in answer.steps)])
        tracked, steps = _drafted(lake, entry, answer, rows)
        if again:
            forget(entry.run_id, entry.experiment, lake.path)
        kept = track(tracked, lake.path)
        first = len(kept.nested) - len(steps)
        ids = {entry.run_id: kept.run_id, **dict(zip(steps, kept.nested[first:], strict=True))}
        _set_tracked(lake, [rows[run_id] for run_id in ids], ids, kept.uri)
    except Exception as error:  # noqa: BLE001 - one run must not keep the others from being told
        told = isinstance(error, HmctTrackError)
        reason = str(error) if told else f"unforeseen {type(error).__name__}: {error}"
        entry = replace(entry, starts=0, error=reason)
        with suppress(LakeError):  # the disk may be full, or the lake gone
            outbox.put(lake.path, entry)
        return entry
    outbox.take(lake.path, entry.run_id)
    return replace(entry, error="")


def told_if_begun(lake: Lake, run: RunsRow) -> RunsRow:
    """The run when MLflow has been told of it, if some process is just doing that.

    One that will be told later is told with its names and its note.

    Raises:
        TrackingError: telling does not come to an end.
    """
    if not any(e.run_id == run["run_id"] and e.begun for e in outbox.waiting_here(lake.path)):
        return run
    tell_waiting(lake, PATIENCE)
    return find_run(Lake.open(lake.path), run["run_id"])


def _lost(entry: Entry) -> str:
    """What is wrong where processes end again and again as they tell of a run."""
    if entry.starts < _MOST_STARTS:
        return ""
    return f"{entry.starts} processes were killed, or broke off, as they told MLflow of it"


def _rows(lake: Lake, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {str(row["run_id"]): dict(row) for row in lake.rows(RUNS, run_ids)}


def _drafted(
    lake: Lake, entry: Entry, answer: Answer, rows: Mapping[str, Mapping[str, Any]]
) -> tuple[TrackedRun, list[str]]:
    """What MLflow is told of a run and its steps, and the ids of the steps."""
    method = calibration_of(lake, answer.run["model_id"])

    def made(part: Answer, entry: Entry) -> TrackedRun:
        row = rows[part.run_id]
        finished = row["state"] == RunState.FINISHED
        content = content_of(part) if finished else Content.none(row["kind"])
        return draft(row, entry, content, lake.path, calibration=method)

    tracked, below = made(answer, entry), replace(entry, system={})
    nested = [made(step, below) for step in answer.steps]
    steps = [step.run_id for step in answer.steps]
    names = sorted(row["tag"] for row in lake.rows(TAGS) if row["run_id"] == entry.run_id)
    tags = {**tracked.tags, **{f"{TAG}{name}": "true" for name in names}}
    tracked = replace(tracked, tags=tags)
    every = {entry.run_id: tracked, **dict(zip(steps, nested, strict=True))}
    notes = {row["run_id"]: row["note"] or "" for row in lake.rows(NOTES, list(every))}
    noted = {i: _noted(run, notes.get(i, "")) for i, run in every.items()}
    nested = [noted[run_id] for run_id in steps]
    return replace(noted[entry.run_id], nested=[*tracked.nested, *nested]), steps


def _noted(run: TrackedRun, note: str) -> TrackedRun:
    """A run with somebody's remark on it, which comes first in its description."""
    if not note:
        return run
    return replace(run, tags={**run.tags, NOTE: note}, note=described(run.note, note))


def _set_tracked(
    lake: Lake, rows: Sequence[Mapping[str, Any]], ids: Mapping[str, str], uri: str
) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    told = [
        {
            **row,
            "mlflow_run_id": ids[row["run_id"]],
            "mlflow_uri": uri,
            "updated_at": now,
            "version": row["version"] + OWN_STEP,
        }
        for row in rows
    ]
    lake.append(RUNS, told)


def main() -> None:
    """Empty the outbox of the lake that the first argument names, quietly, then look after it."""
    if hasattr(os, "nice"):
        os.nice(_NICER)  # whoever works at this machine comes first
    with suppress(HmctTrackError, OSError):  # the lake is whole; lake check and status tell more
        lake = Lake.open(Path(sys.argv[1]))
        with suppress(LakeError):  # what is wrong with it must not keep MLflow from being told
            lake.write_database()
        tell_waiting(lake)
        tidy(lake)


if __name__ == "__main__":
    main()
