"""Measuring what a run plans: what the lake knows is taken from there, the rest is evaluated."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from hmct_track.lake import CONFIGS, MEASUREMENTS, RUN_CONFIGS, Lake
from hmct_track.recording.progress import Steps, progress
from hmct_track.recording.subject import Subject
from hmct_track.types import NUMERIC_VERSION, Measurement, Planned

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
        self._planned = 0
        self._evaluated: set[str] = set()
        self._complete: set[str] = set()
        self._own: set[tuple[str, str]] = set()
        """Configuration and sample of what this run measured: no later round does it again."""
        self.written = 0
        """Measurements written."""
        self.noise_floor: float | None = None
        """What the null test found, if anything was evaluated."""

    @property
    def known(self) -> int:
        """Number of configurations taken from the lake, each counted once however often asked."""
        return len(self._complete - self._evaluated)

    @property
    def measured(self) -> int:
        """Number of configurations evaluated."""
        return len(self._evaluated)

    def measure(self, planned: Sequence[Planned], chosen: Sequence[int] | None = None) -> None:
        """Record the plan, and measure what the lake does not have yet.

        Args:
            planned: the configurations.
            chosen: positions of the samples; all by default.

        Raises:
            EngineError: the runtime failed; what was measured before is kept.
        """
        self._record_plan(planned)
        configs = {p.config.config_id: p.config for p in planned}
        inputs, outputs = self._subject.inputs(chosen), self._subject.outputs
        found = self._lake.query("known_measurements", run_id=self._run_id)
        pairs = {(row["config_id"], row["sample_id"]) for row in found}
        known = {
            (config_id, sample_id)
            for config_id, sample_id in (pairs if self._reuse else pairs & self._own)
            if config_id in configs and sample_id in inputs
        }
        self._own |= {(c, s) for c in configs for s in inputs} - known
        samples = Counter(config_id for config_id, _ in known)
        complete = {c for c, count in samples.items() if count == len(inputs)}
        self._complete |= complete
        self._evaluated |= configs.keys() - complete
        left = len(configs) * len(inputs) - samples.total()
        if not left:
            return
        engine = self._subject.engine
        self._record(
            progress(
                engine.evaluate(list(configs.values()), inputs, outputs, known),
                total=left * len(outputs),
                what="measuring",
                unit="outputs",
                shown=self._shown,
                steps=self._steps,
            )
        )
        self.noise_floor = engine.noise_floor

    def _record_plan(self, planned: Sequence[Planned]) -> None:
        configs = {p.config.config_id: p.config for p in planned}
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
                for position, p in enumerate(planned, start=self._planned)
            ],
        )
        self._planned += len(planned)

    def _record(self, measurements: Iterable[Measurement]) -> None:
        """Write measurements to the lake as they come, every few seconds."""
        rows: list[dict[str, Any]] = []
        flushed = time.monotonic()
        try:
            for measurement in measurements:
                rows.append(self._row(measurement))
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    self._lake.append(MEASUREMENTS, rows)
                    # Cleared after, not before: interrupted, rows come twice, not never.
                    self.written += len(rows)
                    rows = []
                    flushed = time.monotonic()
        finally:
            # What was measured before a failure or Ctrl-C is valid and is kept.
            if rows:
                self._lake.append(MEASUREMENTS, rows)
                self.written += len(rows)

    def _row(self, measurement: Measurement) -> dict[str, Any]:
        return {
            "model_id": self._subject.model.model_id,
            "config_id": measurement.config_id,
            "sample_id": measurement.sample_id,
            "output": measurement.output,
            "runtime": self._subject.engine.runtime,
            "numeric_version": NUMERIC_VERSION,
            "run_id": self._run_id,
            **asdict(measurement.statistics),
        }
