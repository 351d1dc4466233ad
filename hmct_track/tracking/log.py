"""Logging a run."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmct_track.errors import TrackingError
from hmct_track.public import public_uri
from hmct_track.store import make_store
from hmct_track.tracking.bounds import Watch, ask
from hmct_track.tracking.client import open_client
from hmct_track.tracking.content import NestedRun, RunInput, Tracked, TrackedRun
from hmct_track.tracking.place import own_store, tracking_uri
from hmct_track.tracking.view import experiment_tags
from hmct_track.types import RunState

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

_LONGEST_PARAM = 6000
_BATCH = 1000
_RUN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,255}")


def track(run: TrackedRun, lake: Path) -> Tracked:
    """Log a run to MLflow.

    Raises:
        TrackingError: MLflow did not take it, for whatever reason, or not in time.
    """
    uri = tracking_uri(lake)
    return ask("did not take the run", uri, lambda watch: _log(run, uri, lake, watch))


def _log(run: TrackedRun, uri: str, lake: Path, watch: Watch) -> Tracked:
    store = own_store(lake)
    if store:
        _make_store(store, watch)
    client = open_client(uri, watch)
    experiment = _experiment_id(client, run.experiment, store)
    run_id, nested = _log_with(client, experiment, run, run, watch)
    return Tracked(run_id, public_uri(uri), nested)


def _log_with(
    client: Any,
    experiment: str,
    run: TrackedRun | NestedRun,
    frame: TrackedRun,
    watch: Watch,
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
    if not _RUN_ID.fullmatch(run_id):
        raise TrackingError(f"it made a run with the id {run_id!r}, which is none of MLflow's")
    nested: list[str] = []
    try:
        _log_content(client, run_id, run, frame.ended_ms)
        if isinstance(run, TrackedRun):
            _log_files(client, run_id, run)
            nested = [_log_with(client, experiment, n, frame, watch, run_id)[0] for n in run.nested]
    except BaseException as error:
        # A run that lacks half of what belongs to it must not stay RUNNING for ever.
        watch.failure = watch.failure or error
        with suppress(Exception):
            client.set_terminated(run_id, RunState.FAILED)
        raise
    client.set_terminated(run_id, frame.state, frame.ended_ms)
    return run_id, tuple(nested)


def _log_content(client: Any, run_id: str, run: TrackedRun | NestedRun, at_ms: int) -> None:
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


def _log_files(client: Any, run_id: str, run: TrackedRun) -> None:
    """Log what a run was given, its texts and its images."""
    from tempfile import TemporaryDirectory

    _log_inputs(client, run_id, [_dataset(given) for given in run.inputs])
    for path, text in run.texts.items():
        client.log_text(run_id, text, path)
    with TemporaryDirectory() as folder:
        for name, image in run.images.items():
            (Path(folder) / name).write_bytes(image)
        if run.images:
            client.log_artifacts(run_id, folder)


def _log_inputs(client: Any, run_id: str, inputs: list[DatasetInput]) -> None:
    """Log what a run was given. MLflow adds what it has not seen, and two may do so at once."""
    from mlflow.exceptions import MlflowException

    try:
        client.log_inputs(run_id, datasets=inputs)
    except MlflowException as error:
        said = str(error).lower()  # of whichever database
        if "dataset" not in said or not ("unique" in said or "duplicate" in said):
            raise
        client.log_inputs(run_id, datasets=inputs)  # the other one has added it by now


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


def _make_store(database: Path, watch: Watch) -> None:
    """Make MLflow's database, if there is none."""
    from mlflow.tracking import MlflowClient

    def migrate(path: Path) -> None:
        MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()

    watch.expect(watch.limits.file)
    make_store(database, migrate, version("mlflow"), 2 * watch.limits.call)


def _experiment_id(client: Any, name: str, store: Path | None) -> str:
    from mlflow.exceptions import MlflowException

    tags = experiment_tags()
    found = client.get_experiment_by_name(name)
    if found is None:
        place = (store.parent / "artifacts").as_uri() if store else None
        try:
            made = str(client.create_experiment(name, artifact_location=place, tags=tags))
        except MlflowException:  # another process made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
        else:
            return _some_id(made)
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment {name!r} is deleted; restore it or choose another with --experiment"
        )
    if store:  # made by an older version; how a server's experiment looks is its users' affair
        for key, value in tags.items():
            if found.tags.get(key) != value:
                client.set_experiment_tag(found.experiment_id, key, value)
    return _some_id(str(found.experiment_id))


def _some_id(experiment: str) -> str:
    if not experiment:
        raise TrackingError("it gave an experiment without an id; is it an MLflow server?")
    return experiment


def _param(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST_PARAM else text[: _LONGEST_PARAM - 3] + "..."
