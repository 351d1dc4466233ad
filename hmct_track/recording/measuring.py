"""Measuring what a run plans: what the lake knows is taken from there, the rest is evaluated."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from hmct_track.data import Sample
from hmct_track.engine import PAIRS, Kept, Record
from hmct_track.errors import EngineError
from hmct_track.lake import (
    CONFIGS,
    MEASUREMENTS,
    MOVED_MEASUREMENTS,
    RUN_CONFIGS,
    SCORES,
    Lake,
    Row,
    Table,
)
from hmct_track.recording.moved import MovedSamples, moved_id
from hmct_track.recording.progress import Clock, Steps, progress
from hmct_track.recording.rows import measurement_row
from hmct_track.recording.shared import Measurer, SharedLake
from hmct_track.recording.subject import Subject
from hmct_track.types import NUMERIC_VERSION, Planned, QuantConfig

FLUSH_SECONDS = 3.0
"""Measurements are written at least so often."""


class Measuring:
    """The configurations of one run: recorded, known or measured.

    Args:
        lake: where they go.
        run_id: whose they are.
        subject: the model, samples and outputs.
        reuse: whether measurements that the lake has already are taken from it.
        shown: whether progress is shown.
        steps: the display of several runs, in which this one shows its progress.
    """

    def __init__(
        self,
        lake: Lake,
        run_id: str,
        subject: Subject,
        *,
        reuse: bool,
        shown: bool,
        steps: Steps | None,
    ) -> None:
        self._lake = lake
        self._run_id = run_id
        self._subject = subject
        self._reuse = reuse
        self._shown = shown
        self._steps = steps
        self._clock = Clock()
        self._planned: set[tuple[str, ...]] = set()
        self._places = 0
        self._known_ids: set[str] = set()
        self._measured_ids: set[str] = set()
        self._own: set[tuple[str, str]] = set()
        """Configuration and sample of what this run measured: no later round does it again."""
        self._judges = {judge.identity: judge for judge in subject.scores}
        self._told: dict[str, str] = {}
        """Configuration id to what it is, in words."""
        self.written = 0
        """Measurements written."""
        self.seconds = 0.0
        """Time spent on measuring."""
        self.noise_floor: float | None = None
        """What the null test found, if anything was evaluated."""

    @property
    def known(self) -> int:
        """Configurations taken from the lake."""
        return len(self._known_ids)

    @property
    def measured(self) -> int:
        """Configurations evaluated."""
        return len(self._measured_ids)

    def measure(
        self,
        planned: Sequence[Planned],
        chosen: Sequence[int] | None = None,
        *,
        plan: Sequence[Planned] = (),
        until: float | None = None,
        what: str = "measuring",
        quiet: bool = False,
    ) -> None:
        """Record the plan, and measure what the lake does not have yet.

        Args:
            planned: the configurations; those that were planned before keep their places.
            chosen: positions of the samples; all by default.
            plan: the configurations to record, in order, where more than these will be measured.
            until: the time of `time.monotonic` at which to stop; what is not done then is left.
            what: what is shown beside the progress.
            quiet: whether to show no progress, as another display has the terminal.

        Raises:
            EngineError: the runtime failed; what was measured before is kept.
        """
        self._record_plan(plan or planned)
        if until is not None and time.monotonic() > until:
            return
        configs = {p.config.config_id: p.config for p in planned}
        inputs = self._subject.inputs(chosen)
        found = self._asked("known_measurements", MEASUREMENTS)
        pairs = {(row["config_id"], row["sample_id"]) for row in found}
        if self._subject.scores and pairs:
            pairs &= self._scored()
        known = {
            (config_id, sample_id)
            for config_id, sample_id in (pairs if self._reuse else pairs & self._own)
            if config_id in configs and sample_id in inputs
        }
        self._own |= {(c, s) for c in configs for s in inputs} - known
        samples = Counter(config_id for config_id, _ in known)
        complete = {i for i, count in samples.items() if count == len(inputs)}
        self._measured_ids |= configs.keys() - complete
        self._known_ids = (self._known_ids | complete) - self._measured_ids
        self._evaluate(configs, inputs, known, until=until, what=what, quiet=quiet)

    def measure_moved(
        self,
        planned: Sequence[Planned],
        chosen: Sequence[int],
        copies: int,
        *,
        until: float | None = None,
    ) -> None:
        """Measure configurations on copies of samples that are moved by about 1e-7.

        They are kept by themselves, and in no mean. What the plan lacks is added to it.

        Args:
            planned: the configurations.
            chosen: positions of the samples.
            copies: how many copies of each, the same ones for every configuration and run.
            until: as in `measure`.
        """
        self._record_plan(planned)
        configs = {p.config.config_id: p.config for p in planned}
        rows = self._asked("known_moved", MOVED_MEASUREMENTS)
        pairs = {(r["config_id"], moved_id(r["sample_id"], r["copy"])) for r in rows}
        known = pairs if self._reuse else pairs & self._own
        inputs = MovedSamples(self._subject.inputs(chosen), range(1, copies + 1))
        names = set(inputs)
        known = {(c, s) for c, s in known if c in configs and s in names}
        self._own |= {(c, s) for c in configs for s in names} - known
        self._evaluate(configs, inputs, known, moved=True, until=until)

    def _asked(self, query: str, table: Table) -> list[Row]:
        """What the lake knows; nothing, without asking, where no part can hold the model."""
        if not self._reuse and not self._own:
            return []
        if not self._lake.may_hold(table, self._subject.model.model_id):
            return []
        return self._lake.query(query, run_id=self._run_id)

    def _scored(self) -> set[tuple[str, str]]:
        """Configurations and samples of which all scores are known."""
        known = Counter(
            (row["config_id"], row["sample_id"])
            for row in self._lake.query("known_scores", run_id=self._run_id)
        )
        return {pair for pair, count in known.items() if count == len(self._judges)}

    def _evaluate(
        self,
        configs: Mapping[str, QuantConfig],
        inputs: Mapping[str, Sample],
        known: Collection[tuple[str, str]],
        *,
        moved: bool = False,
        until: float | None = None,
        what: str = "measuring",
        quiet: bool = False,
    ) -> None:
        left = len(configs) * len(inputs) - len(known)
        if not left:
            return
        engine, outputs = self._subject.engine, self._subject.outputs
        # A moved sample is another one, of which no score is asked.
        scores = () if moved else self._subject.scores
        records = progress(
            engine.records(list(configs.values()), inputs, outputs, (PAIRS, *scores), known),
            total=left * (len(outputs) + len(scores)),
            what="measuring the rounding" if moved else what,
            unit="outputs",
            shown=self._shown and not quiet,
            steps=self._steps,
            clock=self._clock,
        )
        began = time.monotonic()
        table = MOVED_MEASUREMENTS if moved else MEASUREMENTS
        # A score's rows need what only this process knows.
        shared = None
        if engine.is_elsewhere and not scores:
            shared = SharedLake.mark(self._lake, self._measurer, moved=moved)
        engine.keeper = shared
        try:
            elsewhere = self._record(records, table, until)
            if shared:
                shared.await_parts(elsewhere)
        finally:
            engine.keeper = None
            if shared:
                shared.close()
            self.seconds += time.monotonic() - began
        self.noise_floor = engine.noise_floor

    def _record_plan(self, planned: Sequence[Planned]) -> None:
        new = [p for p in planned if _key(p) not in self._planned]
        if not new:
            return
        configs = {p.config.config_id: p.config for p in new}
        self._lake.append(
            CONFIGS, [{"config_id": i, "config": c.to_json()} for i, c in configs.items()]
        )
        self._lake.append(
            RUN_CONFIGS,
            [
                {
                    "run_id": self._run_id,
                    "position": position,
                    "config_id": p.config.config_id,
                    "subject": p.subject,
                    "role": p.role,
                }
                for position, p in enumerate(new, start=self._places)
            ],
        )
        self._places += len(new)
        self._planned.update(map(_key, new))
        for p in new:
            self._told.setdefault(p.config.config_id, told(p))

    def _record(
        self, records: Iterable[Record], table: Table, until: float | None
    ) -> frozenset[str]:
        """Write measurements to the lake as they come, every few seconds.

        Returns:
            Parts that were written elsewhere.
        """
        elsewhere: set[str] = set()
        pending: dict[Table, list[dict[str, Any]]] = {table: [], SCORES: []}
        flushed = time.monotonic()
        try:
            for record in records:
                if record.judge == PAIRS.identity:
                    if isinstance(record.value, Kept):
                        self.written += 1
                        elsewhere.add(record.value.part)
                    else:
                        moved = table is MOVED_MEASUREMENTS
                        pending[table].append(
                            measurement_row(record, moved, **vars(self._measurer))
                        )
                else:
                    pending[SCORES].append(self._score_row(record))
                now = time.monotonic()
                if now - flushed > FLUSH_SECONDS:
                    self._flush(pending)
                    flushed = now
                if until is not None and now > until:
                    break
        finally:
            # What was measured before a failure or Ctrl-C is valid and is kept.
            self._flush(pending)
        return frozenset(elsewhere)

    def _flush(self, pending: dict[Table, list[dict[str, Any]]]) -> None:
        for table, rows in pending.items():
            if rows:
                self._lake.append(table, rows)
                # Cleared after, not before: interrupted, rows come twice, not never.
                self.written += len(rows) if table is not SCORES else 0
                pending[table] = []

    def _score_row(self, record: Record) -> dict[str, Any]:
        """A row of ``scores``.

        Raises:
            EngineError: the score failed.
        """
        scored, judge = record.value, self._judges[record.judge]
        if scored.problem is not None:
            subject = self._subject
            sample = subject.samples.label(subject.sample_ids.index(record.sample_id))
            raise EngineError(
                f"score {judge.scorer.name!r} failed on the sample {sample} with "
                f"{self._told.get(record.config_id, record.config_id)}: {scored.problem}"
            )
        return {
            "model_id": self._subject.model.model_id,
            "config_id": record.config_id,
            "sample_id": record.sample_id,
            "score_id": judge.ids[record.sample_id],
            "runtime": self._subject.engine.runtime,
            "numeric_version": NUMERIC_VERSION,
            "run_id": self._run_id,
            "value": scored.value,
            "float_value": scored.float_value,
            "part": scored.part,
            "float_part": scored.float_part,
        }

    @property
    def _measurer(self) -> Measurer:
        return Measurer(self._subject.model.model_id, self._subject.engine.runtime, self._run_id)


def _key(planned: Planned) -> tuple[str, ...]:
    """What tells apart what a run plans."""
    return planned.config.config_id, planned.role, *planned.subjects


def told(planned: Planned) -> str:
    """What is quantized in a configuration, in words."""
    what = ", ".join(planned.subjects)
    if planned.role == "only":
        return f"only {what} quantized"
    return "all nodes quantized" if planned.role == "reference" else f"{planned.role} {what}"
