"""A run being recorded: its row in the lake from start to end, and what MLflow is told of it."""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from hmct_track.errors import LakeError, TrackingError
from hmct_track.lake import (
    OWN_STEP,
    RUN_SCORES,
    RUNS,
    Lake,
    Opening,
    is_remote,
    lake_path,
)
from hmct_track.options.recording import Recording
from hmct_track.recording import outbox
from hmct_track.recording.draft import Content, calibration_of, draft
from hmct_track.recording.drawer import Drawer
from hmct_track.recording.measuring import Measuring
from hmct_track.recording.outbox import Entry, Manner
from hmct_track.recording.progress import Steps, announce
from hmct_track.recording.rows import score_rows, write_subject
from hmct_track.recording.subject import Subject
from hmct_track.recording.system import SystemMonitor
from hmct_track.tracking import TrackedRun, experiment_name, track
from hmct_track.types import NUMERIC_VERSION, RunState

LOG = logging.getLogger(__name__)


class Run:
    """A run being recorded. As a context it ends FINISHED, FAILED or KILLED.

    Args:
        kind: the analysis.
        subject: what it is about.
        recording: where it is kept.
        metrics: names of the metrics asked for.
        parameters: what the user passed.
        parent: the run that this one is a step of; it tells MLflow of its steps when it ends.
        emit: prints an answer as soon as it is known, if it is to be printed.
        opening: a connection to the lake that is being made already.
    """

    def __init__(
        self,
        kind: str,
        subject: Subject,
        recording: Recording,
        *,
        metrics: Sequence[str],
        parameters: Mapping[str, Any],
        parent: Run | None = None,
        emit: Callable[[str], None] | None = None,
        opening: Opening | None = None,
    ) -> None:
        now = _now()
        self.run_id = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}-{secrets.token_hex(4)}"
        self.subject = subject
        self.recording = recording
        self.parent = parent
        self.emit = emit
        self.tracking_error: TrackingError | None = None
        self.steps: Steps | None = parent.steps if parent else None
        """The display of several steps, in which this run shows its progress."""
        place = lake_path(recording.lake)
        self._manner: Manner = parent._manner if parent else outbox.manner_of(recording.wait, place)
        self.lake: Lake = parent.lake if parent else Lake.create(place, opening)
        self.measuring = Measuring(
            self.lake,
            self.run_id,
            subject,
            reuse=recording.reuse,
            shown=recording.progress,
            steps=self.steps,
        )
        self.results: list[Any] = []
        """The results of its steps."""
        self.began = time.monotonic()
        """When the user gave the command, by `time.monotonic`."""
        self.remarks: list[str] = []
        """What was seen on the way that makes its values mean less than they seem to."""
        self._nested: list[Run] = []
        self.drawer: Drawer | None = None
        """What draws the figures of its steps, if another process does."""
        self._content: Callable[[], Content] | None = None
        watched = recording.track and parent is None
        self._monitor = SystemMonitor() if watched else None
        model = subject.model
        self.row: dict[str, Any] = {
            "run_id": self.run_id,
            "kind": kind,
            "state": RunState.RUNNING,
            "started_at": now,
            "ended_at": None,
            "model_id": model.model_id,
            "model_path": model.path and str(model.path),
            "data_id": subject.data_id,
            "data_path": subject.samples.path and str(subject.samples.path),
            "data_num": len(subject.samples),
            "metrics": list(metrics),
            "outputs": list(subject.outputs),
            "parameters": json.dumps(parameters, default=str),
            "runtime": subject.engine.runtime,
            "numeric_version": NUMERIC_VERSION,
            "noise_floor": None,
            "float_gap": None,
            "package_version": version("hmct-track"),
            "mlflow_run_id": None,
            "mlflow_uri": None,
            "error": None,
            "parent_run_id": parent and parent.run_id,
            "worst_node": None,
            "worst_value": None,
            "whole_value": None,
            "host": platform.node(),
            "pid": os.getpid(),
            "updated_at": now,
            "version": -OWN_STEP,
        }

    def __enter__(self) -> Self:
        write_subject(self.lake, self.subject)
        self._write_row()
        if self.subject.scores:
            self.lake.append(RUN_SCORES, score_rows(self.subject, self.run_id))
        if self._monitor:
            self._monitor.start()
        announce(self.run_id, self.row["kind"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._leave(kind, error)
        finally:
            if self.drawer:
                self.drawer.close()

    def _leave(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        if self._monitor:
            self._monitor.stop()
        self.row["noise_floor"] = self.measuring.noise_floor
        if machines := self.subject.engine.computed_on:
            given = json.loads(self.row["parameters"])
            self.row["parameters"] = json.dumps({**given, "computed_on": list(machines)})
        if error is None:
            self._end(RunState.FINISHED)
            self._look_after_lake()
            return
        killed = isinstance(error, KeyboardInterrupt | SystemExit)
        if killed and self.measuring.written:
            LOG.warning(
                "%d measurements are kept; the same command goes on from there",
                self.measuring.written,
            )
        self.row["error"] = str(error) or type(error).__name__
        self._end(RunState.KILLED if killed else RunState.FAILED)

    @property
    def is_waited_for(self) -> bool:
        """Whether MLflow is told of it before the command ends."""
        return self.recording.track and self._manner is Manner.WAIT

    def describe(self, content: Callable[[], Content]) -> None:
        """Say what MLflow is to be told; called, and figures drawn, once the run has ended."""
        self._content = content

    def _end(self, state: RunState) -> None:
        self.row.update(state=state, ended_at=_now())
        told = self.recording.track and self.parent is None
        entry = self._entry() if told else None
        if entry:  # first, so that a process that is killed between the two leaves no run untold
            outbox.put(self.lake.path, outbox.held(entry))
        # The answer is safe before MLflow is asked, which may be slow or fail.
        self._write_row()
        if self.parent and self.is_waited_for:
            self.parent._nested.append(self)  # told when all is drawn
        if not entry:
            return
        if self._manner is Manner.WAIT:
            self._track(entry)
            return
        outbox.put(self.lake.path, entry)
        if self._manner is Manner.DETACHED:
            outbox.start(self.lake.path)
        self._look_at_earlier()

    def _entry(self) -> Entry:
        model = self.subject.model
        return Entry(
            self.run_id,
            experiment_name(self.recording.experiment),
            "" if is_remote(self.lake.path) else outbox.place_of(self.lake.path),
            self.subject.label,
            {
                "quantizable_nodes": len(model.quantizable_nodes),
                "calibration_nodes": len(model.calibration_nodes),
            },
            dict(self._monitor.samples) if self._monitor else {},
        )

    def _draft(self, entry: Entry) -> TrackedRun:
        if self._content and self.row["state"] == RunState.FINISHED:
            content = self._content()
        else:
            content = Content.none(self.row["kind"])
        method = calibration_of(self.lake, self.row["model_id"])
        tracked = draft(self.row, entry, content, self.lake.path, calibration=method)
        nested = (step._draft(step._entry()) for step in self._nested)
        return replace(tracked, nested=[*tracked.nested, *nested])

    def _look_after_lake(self) -> None:
        """Write ``lake.duckdb`` if need be, and merge small parts now and then.

        It is done after the answer. The process that tells MLflow does it where there is one.
        """
        left_behind = self.recording.track and self._manner is Manner.DETACHED
        if self.parent or left_behind:
            return
        from hmct_track.lake.care import tidy

        try:
            if self._manner is not Manner.LATER:
                self.lake.write_database()
            tidy(self.lake)
        except (LakeError, OSError) as error:  # the answer is there, and the lake whole
            LOG.warning("%s; hmct-debugger lake check tells more", error)

    def _track(self, entry: Entry) -> None:
        tracked = self._draft(entry)
        outbox.put(self.lake.path, replace(outbox.held(entry), begun=True))
        try:
            kept = track(tracked, self.lake.path)
        except TrackingError as error:
            self.tracking_error = error
            LOG.warning("%s; the run is in the lake as %s", error, self.run_id)
            outbox.put(self.lake.path, replace(entry, begun=True, error=str(error)))
            return
        self._set_tracked(kept.run_id, kept.uri)
        first = len(tracked.nested) - len(self._nested)
        for step, run_id in zip(self._nested, kept.nested[first:], strict=True):
            step._set_tracked(run_id, kept.uri)
        outbox.take(self.lake.path, self.run_id)

    def _look_at_earlier(self) -> None:
        """Say that MLflow did not take earlier runs: as things are, it will not take this one."""
        failed = [e for e in outbox.waiting_here(self.lake.path) if e.error]
        if failed:
            self.tracking_error = TrackingError(
                f"{failed[-1].error} (run {failed[-1].run_id}); the run is in the lake as "
                f"{self.run_id} and waits as well, see hmct-debugger lake status"
            )
            LOG.warning("%s", self.tracking_error)

    def _set_tracked(self, run_id: str, uri: str) -> None:
        self.row.update(mlflow_run_id=run_id, mlflow_uri=uri)
        self._write_row()

    def _write_row(self) -> None:
        # The order of the rows of a run does not hang on clocks, which may go back.
        self.row.update(updated_at=_now(), version=self.row["version"] + OWN_STEP)
        self.lake.append(RUNS, [self.row])


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
