"""MLflow: the only module that imports it, and only when a run is logged."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hmct_track.errors import TrackingError
from hmct_track.store import make_store
from hmct_track.types import RunState

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.tracking import MlflowClient

DEFAULT_EXPERIMENT = "hmct-track"

_LONGEST_PARAM = 6000
_BATCH = 1000

# What the user has set wins. Nothing leaves the machine unasked, and a server that is down is
# noticed in seconds rather than after minutes of retries.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


@dataclass(frozen=True)
class NestedRun:
    """A run below another: one configuration, or one curve."""

    name: str
    params: Mapping[str, Any]
    summary: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class RunInput:
    """What a run was given, shown by MLflow among its datasets."""

    name: str
    digest: str
    """Content hash."""
    source: str
    context: str
    """What it is to the run: model, or calibration data."""
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class TrackedRun:
    """Everything that MLflow is told about one run."""

    name: str
    experiment: str
    state: RunState
    started_ms: int
    ended_ms: int
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    summary: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """Metric name to (step, value); values that are not finite are left out of a curve."""
    system: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """Metric name to (milliseconds since 1970, value)."""
    texts: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    nested: Sequence[TrackedRun | NestedRun] = ()
    inputs: Sequence[RunInput] = ()
    note: str = ""
    """Markdown that the web UI shows on top of the run."""


@dataclass(frozen=True)
class Tracked:
    """Where MLflow keeps a run."""

    run_id: str
    uri: str
    nested: tuple[str, ...]
    """Run ids of the nested runs, in order."""


def tracking_uri(lake: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store in the lake.

    Raises:
        TrackingError: there is neither.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    store = own_store(lake)
    if store is None:
        raise TrackingError(
            f"the lake at {lake} cannot hold MLflow's database: set MLFLOW_TRACKING_URI to a "
            "server, or pass --no-track"
        )
    return f"sqlite:///{store}"


def own_store(lake: Path) -> Path | None:
    """The SQLite file in the lake; None on object storage, or where MLFLOW_TRACKING_URI is set."""
    if os.environ.get("MLFLOW_TRACKING_URI") or not isinstance(lake, Path):
        return None
    return lake / "mlflow.db"


def experiment_name(name: str | None) -> str:
    """``name``, else MLFLOW_EXPERIMENT_NAME, else ``hmct-track``."""
    return name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT


def track(run: TrackedRun, lake: Path) -> Tracked:
    """Log a run to MLflow.

    Raises:
        TrackingError: MLflow did not take it, for whatever reason.
    """
    uri = tracking_uri(lake)
    try:
        with _environment():
            return _log(run, uri, lake)
    except Exception as error:  # MLflow passes on errors of databases, HTTP and file systems
        raise TrackingError(
            f"MLflow at {_public(uri)} did not take the run: {_public(_first_line(error))}"
        ) from error


def kept_image(mlflow_run_id: str, name: str, lake: Path) -> Path | None:
    """The file of an image that was logged to a run, where the store in the lake has it."""
    if own_store(lake) is None:
        return None
    path = lake / "artifacts" / mlflow_run_id / "artifacts" / name
    return path if path.exists() else None


def add_image(mlflow_run_id: str, path: Path, lake: Path) -> None:
    """Log an image to a run that has ended, unless the run has one of this name.

    Raises:
        TrackingError: MLflow did not take it, for whatever reason.
    """
    uri = tracking_uri(lake)
    try:
        with _environment(), _quiet():
            from mlflow.tracking import MlflowClient

            client = MlflowClient(tracking_uri=uri)
            if all(found.path != path.name for found in client.list_artifacts(mlflow_run_id)):
                client.log_artifact(mlflow_run_id, str(path))
    except Exception as error:  # as in track
        raise TrackingError(
            f"MLflow at {_public(uri)} did not take the figure: {_public(_first_line(error))}"
        ) from error


def move_tag(lake: Path, key: str, away_from: Sequence[str], to: str | None) -> None:
    """Take a tag away from some runs of MLflow and set it on another, by their ids.

    Raises:
        TrackingError: MLflow did not take it, for whatever reason.
    """
    if not away_from and to is None:
        return  # MLflow knows none of the runs
    uri = tracking_uri(lake)
    try:
        with _environment():
            from mlflow.tracking import MlflowClient

            with _quiet():
                client = MlflowClient(tracking_uri=uri)
                for run_id in away_from:
                    if key in client.get_run(run_id).data.tags:
                        client.delete_tag(run_id, key)
                if to is not None:
                    client.set_tag(to, key, "true")
    except Exception as error:  # as in track
        raise TrackingError(
            f"MLflow at {_public(uri)} did not take the tag: {_public(_first_line(error))}"
        ) from error


def deleted_runs(lake: Path, runs: Mapping[str, str]) -> list[str]:
    """Those of some runs of MLflow that were deleted there.

    Args:
        lake: the lake, whose store is asked unless MLFLOW_TRACKING_URI says another place.
        runs: MLflow run id to the place that keeps it; runs of other places are left out.

    Raises:
        TrackingError: MLflow cannot be asked.
    """
    store = own_store(lake)
    if not runs or (store and not store.exists()):
        return []
    uri = tracking_uri(lake)
    try:
        with _environment():
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient

            with _quiet():
                client = MlflowClient(tracking_uri=uri)
                deleted = []
                for run_id, place in runs.items():
                    if place != _public(uri):
                        continue
                    try:
                        stage = client.get_run(run_id).info.lifecycle_stage
                    except MlflowException as error:
                        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                            raise
                        stage = "deleted"  # for good, by mlflow gc
                    if stage == "deleted":
                        deleted.append(run_id)
                return deleted
    except Exception as error:  # as in track
        raise TrackingError(
            f"MLflow at {_public(uri)} cannot be asked: {_public(_first_line(error))}"
        ) from error


def ui_command(lake: Path, port: int) -> list[str]:
    """The command that serves MLflow's web UI on a store, to this machine only."""
    store = ["--backend-store-uri", tracking_uri(lake)]
    # What is logged through the server must not fall into the folder that it was started in.
    store += ["--artifacts-destination", str(lake / "artifacts")]
    place = ["--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "mlflow", "ui", *store, *place]


def ui_environment() -> dict[str, str]:
    """The environment of that command."""
    return {**_DEFAULTS, **os.environ}


def _log(run: TrackedRun, uri: str, lake: Path) -> Tracked:
    from mlflow.tracking import MlflowClient

    with _quiet():  # not before the import, which sets the levels of MLflow's loggers
        if store := own_store(lake):
            _make_store(store)
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment_id(client, run.experiment, lake)
        run_id, nested = _log_with(client, experiment, run, run)
        return Tracked(run_id, _public(uri), nested)


def _log_with(
    client: MlflowClient,
    experiment: str,
    run: TrackedRun | NestedRun,
    frame: TrackedRun,
    parent: str | None = None,
) -> tuple[str, tuple[str, ...]]:
    """Log a run and those nested in it; give its id and theirs.

    What a `NestedRun` does not say itself, state, times and tags, it takes from its ``frame``.
    """
    if isinstance(run, TrackedRun):
        frame = run
    tags = {**frame.tags, **({"mlflow.parentRunId": parent} if parent else {})}
    if run is frame and frame.note:
        tags["mlflow.note.content"] = frame.note
    run_id: str = client.create_run(
        experiment, start_time=frame.started_ms, tags=tags, run_name=run.name
    ).info.run_id
    nested: list[str] = []
    try:
        _log_content(client, run_id, run, frame.ended_ms)
        if isinstance(run, TrackedRun):
            client.log_inputs(run_id, datasets=[_dataset(given) for given in run.inputs])
            for path, text in run.texts.items():
                client.log_text(run_id, text, path)
            with TemporaryDirectory() as folder:
                for name, image in run.images.items():
                    (Path(folder) / name).write_bytes(image)
                if run.images:
                    client.log_artifacts(run_id, folder)
            nested = [_log_with(client, experiment, n, frame, run_id)[0] for n in run.nested]
    except BaseException:
        # A run that lacks half of what belongs to it must not stay RUNNING for ever.
        client.set_terminated(run_id, RunState.FAILED)
        raise
    client.set_terminated(run_id, frame.state, frame.ended_ms)
    return run_id, tuple(nested)


def _log_content(
    client: MlflowClient,
    run_id: str,
    run: TrackedRun | NestedRun,
    at_ms: int,
) -> None:
    """Log parameters, summary and curves of a run."""
    from mlflow.entities import Metric, Param

    client.log_batch(run_id, params=[Param(k, _param(v)) for k, v in run.params.items()])
    points = [(name, 0, value) for name, value in run.summary.items()]
    points += [(name, step, value) for name, c in run.curves.items() for step, value in c]
    metrics = [Metric(n, v, at_ms, s) for n, s, v in points if math.isfinite(v)]
    if isinstance(run, TrackedRun):
        for name, samples in run.system.items():
            metrics += [Metric(name, v, ms, s) for s, (ms, v) in enumerate(samples)]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])


def _dataset(given: RunInput) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=given.name,
        digest=given.digest,
        source_type="local",
        source=json.dumps({"uri": given.source}),
        profile=json.dumps(dict(given.profile)),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", given.context)])


def _make_store(database: Path) -> None:
    """Make MLflow's database, if there is none."""
    from mlflow.tracking import MlflowClient

    def migrate(path: Path) -> None:
        MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()

    make_store(database, migrate, version("mlflow"))


def _experiment_id(client: MlflowClient, name: str, lake: Path) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        place = (lake / "artifacts").as_uri() if own_store(lake) else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:  # another process made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment {name!r} is deleted; restore it or choose another with --experiment"
        )
    return str(found.experiment_id)


def _param(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST_PARAM else text[: _LONGEST_PARAM - 3] + "..."


def _public(uri: str) -> str:
    """A URI without the password that it may hold."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1@", uri)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _environment() -> Iterator[None]:
    """MLflow's settings for the time of a call; a notebook's own use of MLflow keeps its own."""
    added = {name: value for name, value in _DEFAULTS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's and Alembic's notes on setting up a database off the terminal."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
