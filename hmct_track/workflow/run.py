"""Recording a run: its rows in the lake from start to end, and its place in MLflow."""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hmct_track.engine import Engine
from hmct_track.errors import TrackingError
from hmct_track.lake import (
    CALIBRATION_NODES,
    CONFIGS,
    MEASUREMENTS,
    MODELS,
    NODES,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    Lake,
)
from hmct_track.model import QuantModel
from hmct_track.tracking import RunInput, TrackedRun, experiment_name, track
from hmct_track.types import NUMERIC_VERSION, Measurement, Planned, RunState
from hmct_track.workflow.progress import Steps, announce, progress
from hmct_track.workflow.subject import Subject
from hmct_track.workflow.system import SystemMonitor

if TYPE_CHECKING:
    import onnx

LOG = logging.getLogger(__name__)

_FLUSH_SECONDS = 3.0


@dataclass(frozen=True)
class Options:
    """How a run is recorded and shown, the same for every analysis."""

    lake: Path
    experiment: str | None = None
    tracked: bool = True
    progress: bool = True
    reuse: bool = True
    """Whether measurements that the lake has already are taken from it."""
    float_model: str | os.PathLike[str] | onnx.ModelProto | None = None
    """The model that was quantized, for a QDQ model whose weights are integers."""
    threads: int | None = None
    """Cores to use; all by default."""
    memory: int | None = None
    """Bytes that tensors held for several samples may take; a quarter of the machine's by default.
    """
    providers: tuple[str, ...] = ()
    """onnxruntime's execution providers, the preferred first; the CPU's by default."""
    parent: Run | None = None
    """The run that this one is a step of; it tells MLflow of its steps when it ends."""
    steps: Steps | None = None
    """The display of all the parent's steps, in which this one shows its progress."""

    @property
    def shared(self) -> Subject | None:
        """The model and data of the parent, which its steps need not read again."""
        return self.parent.subject if self.parent else None


class Run:
    """A run being recorded. As a context it ends FINISHED, FAILED or KILLED."""

    def __init__(
        self,
        kind: str,
        subject: Subject,
        options: Options,
        *,
        metrics: Sequence[str],
        parameters: Mapping[str, Any],
    ) -> None:
        now = _now()
        self.run_id = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}-{secrets.token_hex(4)}"
        self.subject = subject
        self.options = options
        self.tracking_error: TrackingError | None = None
        self.known = self.measured = 0
        """Configurations taken from the lake, and configurations evaluated."""
        self.noise_floor: float | None = None
        """What the null test found, if anything was evaluated."""
        self._planned = self._written = 0
        self._steps: list[tuple[Run, TrackedRun]] = []
        self.lake = Lake.create(options.lake)
        self._parameters = dict(parameters)
        if options.float_model is not None:
            is_path = isinstance(options.float_model, str | os.PathLike)
            self._parameters["float_model"] = str(options.float_model) if is_path else "a proto"
        self._draft: Callable[[], TrackedRun] | None = None
        watched = options.tracked and options.parent is None
        self._monitor = SystemMonitor() if watched else None
        model = subject.model
        self._row: dict[str, Any] = {
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
            "parameters": json.dumps(self._parameters, default=str),
            "runtime": subject.engine.runtime,
            "numeric_version": NUMERIC_VERSION,
            "noise_floor": None,
            "package_version": version("hmct-track"),
            "mlflow_run_id": None,
            "mlflow_uri": None,
            "error": None,
            "parent_run_id": options.parent and options.parent.run_id,
            "worst_node": None,
            "worst_value": None,
            "host": platform.node(),
            "pid": os.getpid(),
            "updated_at": now,
        }

    def __enter__(self) -> Self:
        _write_subject(self.lake, self.subject)
        self._write_row()
        if self._monitor:
            self._monitor.start()
        announce(self.run_id, self._row["kind"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._monitor:
            self._monitor.stop()
        if error is None:
            self._end(RunState.FINISHED)
            return
        killed = isinstance(error, KeyboardInterrupt | SystemExit)
        if killed and self._written:
            LOG.warning(
                "%d measurements are kept; the same command goes on from there", self._written
            )
        self._row["error"] = str(error) or type(error).__name__
        self._end(RunState.KILLED if killed else RunState.FAILED)

    def measure(self, engine: Engine, planned: Sequence[Planned]) -> None:
        """Record the plan, and measure what the lake does not have yet.

        Raises:
            EngineError: the runtime failed; what was measured before is kept.
        """
        self._record_plan(planned)
        configs = {p.config.config_id: p.config for p in planned}
        inputs, outputs = self.subject.inputs(), self.subject.outputs
        found = self.lake.query("known_measurements", run_id=self.run_id)
        known = {(row["config_id"], row["sample_id"]) for row in found if self.options.reuse}
        samples = Counter(config_id for config_id, _ in known if config_id in configs)
        complete = sum(count == len(inputs) for count in samples.values())
        self.known += complete
        self.measured += len(configs) - complete
        left = len(configs) * len(inputs) - samples.total()
        if not left:
            return
        self._record(
            progress(
                engine.evaluate(list(configs.values()), inputs, outputs, known),
                total=left * len(outputs),
                what="measuring",
                unit="outputs",
                shown=self.options.progress,
                steps=self.options.steps,
            )
        )
        self.noise_floor = self._row["noise_floor"] = engine.noise_floor

    def _record_plan(self, planned: Sequence[Planned]) -> None:
        configs = {p.config.config_id: p.config for p in planned}
        self.lake.append(
            CONFIGS, [{"config_id": i, "config": c.to_json()} for i, c in configs.items()]
        )
        self.lake.append(
            RUN_CONFIGS,
            [
                {
                    "run_id": self.run_id,
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
        written = time.monotonic()
        try:
            for measurement in measurements:
                rows.append(self._measurement_row(measurement))
                if time.monotonic() - written > _FLUSH_SECONDS:
                    self.lake.append(MEASUREMENTS, rows)
                    # Cleared after, not before: interrupted, rows come twice, not never.
                    self._written += len(rows)
                    rows = []
                    written = time.monotonic()
        finally:
            # What was measured before a failure or Ctrl-C is valid and is kept.
            if rows:
                self.lake.append(MEASUREMENTS, rows)
                self._written += len(rows)

    def describe(self, draft: Callable[[], TrackedRun]) -> None:
        """Say what MLflow is to be told; called, and figures drawn, once the run has ended."""
        self._draft = draft

    def set_worst(self, node: str, value: float | None) -> None:
        """Say what the list of runs is to show: the most sensitive node and its first metric."""
        self._row.update(worst_node=node, worst_value=value)

    def tracked_run(self, name: str, **content: Any) -> TrackedRun:
        """A draft for MLflow with what every run has; state and end are filled in at the end."""
        row = self._row
        identity = ("model_id", "model_path", "data_id", "data_path", "data_num", "runtime")
        return TrackedRun(
            name=name,
            experiment=experiment_name(self.options.experiment),
            state=RunState.RUNNING,
            started_ms=_milliseconds(row["started_at"]),
            ended_ms=0,
            params={
                "model": self.subject.label,
                **self._parameters,
                **{key: row[key] for key in identity},
            },
            tags={
                "hmct_track.run_id": self.run_id,
                "hmct_track.kind": row["kind"],
                "hmct_track.lake": str(self.lake.path),
                "hmct_track.version": row["package_version"],
            },
            inputs=self._inputs(),
            **content,
        )

    def _inputs(self) -> list[RunInput]:
        """Model and samples by content, as MLflow lists them."""
        row, model = self._row, self.subject.model
        nodes = {
            "quantizable_nodes": len(model.quantizable_nodes),
            "calibration_nodes": len(model.calibration_nodes),
        }
        data = Path(row["data_path"]).name if row["data_path"] else "arrays"
        return [
            RunInput(self.subject.label, row["model_id"], row["model_path"] or "", "model", nodes),
            RunInput(
                data,
                row["data_id"],
                row["data_path"] or "",
                "calibration data",
                {"samples": row["data_num"]},
            ),
        ]

    def _end(self, state: RunState) -> None:
        self._row.update(state=state, ended_at=_now())
        # The answer is safe before MLflow is asked, which may be slow or fail.
        self._write_row()
        if not self.options.tracked:
            return
        if self._draft and state is RunState.FINISHED:
            draft = self._draft()
        else:
            draft = self.tracked_run(f"{self._row['kind']} (no result)")
        ended = _milliseconds(self._row["ended_at"])
        steps = [tracked for _, tracked in self._steps]
        if self._monitor:
            draft = replace(draft, system=self._monitor.samples)
        draft = replace(draft, state=state, ended_ms=ended, nested=[*draft.nested, *steps])
        if self.options.parent:
            self.options.parent._steps.append((self, draft))
            return
        try:
            tracked = track(draft, self.lake.path)
        except TrackingError as error:
            self.tracking_error = error
            LOG.warning("%s; the run is in the lake as %s", error, self.run_id)
            return
        self._set_tracked(tracked.run_id, tracked.uri)
        first = len(draft.nested) - len(steps)
        for (step, _), run_id in zip(self._steps, tracked.nested[first:], strict=True):
            step._set_tracked(run_id, tracked.uri)

    def _set_tracked(self, run_id: str, uri: str) -> None:
        self._row.update(mlflow_run_id=run_id, mlflow_uri=uri)
        self._write_row()

    def _write_row(self) -> None:
        self._row["updated_at"] = _now()
        self.lake.append(RUNS, [self._row])

    def _measurement_row(self, measurement: Measurement) -> dict[str, Any]:
        return {
            "model_id": self._row["model_id"],
            "config_id": measurement.config_id,
            "sample_id": measurement.sample_id,
            "output": measurement.output,
            "runtime": self._row["runtime"],
            "numeric_version": NUMERIC_VERSION,
            "run_id": self.run_id,
            **asdict(measurement.statistics),
        }


def _write_subject(lake: Lake, subject: Subject) -> None:
    """Write model and samples, unless the lake has them: their parts are named by content."""
    model, part = subject.model, subject.model.model_id
    if not lake.has_part(MODELS, part):
        lake.append(NODES, _node_rows(model), part)
        lake.append(CALIBRATION_NODES, _calibration_rows(model), part)
        lake.append(MODELS, [_model_row(model)], part)
    data_id = subject.data_id
    if not lake.has_part(SAMPLES, data_id):
        rows = [
            {
                "data_id": data_id,
                "position": k,
                "sample_id": sample_id,
                "source": subject.samples.label(k),
            }
            for k, sample_id in enumerate(subject.sample_ids)
        ]
        lake.append(SAMPLES, rows, data_id)


def _model_row(model: QuantModel) -> dict[str, Any]:
    return {
        "model_id": model.model_id,
        "name": model.proto.graph.name,
        "opset": model.opset,
        "general_nodes": len(model.general_nodes),
        "quantizable_nodes": len(model.quantizable_nodes),
        "calibration_nodes": len(model.calibration_nodes),
        "inputs": [f"{spec.name}: {spec}" for spec in model.inputs],
        "outputs": [f"{spec.name}: {spec}" for spec in model.outputs],
    }


def _node_rows(model: QuantModel) -> list[dict[str, Any]]:
    return [
        {
            "model_id": model.model_id,
            "node": node.name,
            "node_index": node.index,
            "op_type": node.op_type,
            "inputs": list(node.inputs),
            "outputs": list(node.outputs),
            "calibration_nodes": list(node.calibration_nodes),
        }
        for node in model.general_nodes
    ]


def _calibration_rows(model: QuantModel) -> list[dict[str, Any]]:
    return [
        {
            "model_id": model.model_id,
            "node": node.name,
            "node_index": node.index,
            "kind": node.kind,
            "input": node.input,
            "output": node.output,
            "consumers": list(node.consumers),
            "qtype": node.params.qtype.name,
            "bits": node.params.qtype.bits,
            "axis": node.params.axis,
            "scales": list(node.params.scales),
            "zero_points": list(node.params.zero_points),
            "thresholds": list(node.params.thresholds),
            "enabled": node.enabled,
        }
        for node in model.calibration_nodes
    ]


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _milliseconds(when: datetime) -> int:
    return int(when.replace(tzinfo=UTC).timestamp() * 1000)
