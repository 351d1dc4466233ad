"""What is asked and changed of runs that MLflow has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hmct_track.public import public_uri
from hmct_track.tracking.bounds import Watch, ask
from hmct_track.tracking.client import open_client
from hmct_track.tracking.place import own_store, tracking_uri

TAG = "hmct_track.tag."
"""What MLflow's tags of our names begin with."""
NOTE = "hmct_track.note"
"""MLflow's tag with somebody's remark on a run, which its description begins with."""
_DESCRIPTION = "mlflow.note.content"
_NAME = re.compile(r"[A-Za-z0-9][\w-]*")


def kept_image(mlflow_run_id: str, name: str, lake: Path) -> Path | None:
    """The file of an image that was logged to a run, where the store in the lake has it."""
    # The id may come from another's lake or server, and must not lead out of the folder.
    if own_store(lake) is None or not _NAME.fullmatch(mlflow_run_id):
        return None
    path = lake / "artifacts" / mlflow_run_id / "artifacts" / name
    return path if path.exists() else None


def add_image(mlflow_run_id: str, path: Path, lake: Path) -> None:
    """Log an image to a run that has ended, unless the run has one of this name.

    Raises:
        TrackingError: MLflow did not take it, for whatever reason, or not in time.
    """
    uri = tracking_uri(lake)

    def add(watch: Watch) -> None:
        client = open_client(uri, watch)
        if all(found.path != path.name for found in client.list_artifacts(mlflow_run_id)):
            client.log_artifact(mlflow_run_id, str(path))

    ask("did not take the figure", uri, add)


def move_tag(lake: Path, key: str, away_from: Sequence[str], to: str | None) -> None:
    """Take a tag away from some runs of MLflow and set it on another, by their ids.

    Raises:
        TrackingError: MLflow did not take it, for whatever reason, or not in time.
    """
    if not away_from and to is None:
        return  # MLflow knows none of the runs
    uri = tracking_uri(lake)

    def move(watch: Watch) -> None:
        client = open_client(uri, watch)
        for run_id in away_from:
            if key in client.get_run(run_id).data.tags:
                client.delete_tag(run_id, key)
        if to is not None:
            client.set_tag(to, key, "true")

    ask("did not take the tag", uri, move)


def described(description: str, note: str) -> str:
    """A run's description with a remark in front of it, as a quotation; markup stays text."""
    quoted = re.sub(r"([\\`*_{}\[\]<>()#+!|~&$-])", r"\\\1", note)
    return f"> {quoted}\n\n{description}" if note else description


def move_note(lake: Path, mlflow_run_id: str, note: str) -> None:
    """Put a remark in place of the one that a run of MLflow has; an empty one takes it away.

    Raises:
        TrackingError: MLflow did not take it, for whatever reason, or not in time.
    """
    uri = tracking_uri(lake)

    def move(watch: Watch) -> None:
        client = open_client(uri, watch)
        tags = client.get_run(mlflow_run_id).data.tags
        own = tags.get(_DESCRIPTION, "").removeprefix(described("", tags.get(NOTE, "")))
        client.set_tag(mlflow_run_id, _DESCRIPTION, described(own, note))
        if note:
            client.set_tag(mlflow_run_id, NOTE, note)
        elif NOTE in tags:
            client.delete_tag(mlflow_run_id, NOTE)

    ask("did not take the note", uri, move)


def forget(run_id: str, experiment: str, lake: Path) -> None:
    """Delete what MLflow has of a run of the lake that it was told of by halves.

    Raises:
        TrackingError: MLflow did not, for whatever reason, or not in time.
    """
    if not _NAME.fullmatch(run_id):  # it stands in a filter
        return
    store = own_store(lake)
    if store and not store.exists():
        return
    uri = tracking_uri(lake)

    def delete(watch: Watch) -> None:
        from mlflow.exceptions import MlflowException

        client = open_client(uri, watch)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return
        told = client.search_runs(
            [found.experiment_id], f"tags.`hmct_track.run_id` = '{run_id}'", max_results=1000
        )
        for run in told:
            below = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
            steps = client.search_runs([found.experiment_id], below, max_results=1000)
            for each in (*steps, run):
                with suppress(MlflowException):  # a nested run has the tag as well
                    client.delete_run(each.info.run_id)

    ask("did not delete a run that it has by halves", uri, delete)


def deleted_runs(lake: Path, runs: Mapping[str, str]) -> list[str]:
    """Those of some runs of MLflow that were deleted there.

    Args:
        lake: the lake, whose store is asked unless MLFLOW_TRACKING_URI says another place.
        runs: MLflow run id to the place that keeps it; runs of other places are left out. The
            lake's store is also asked for those of any SQLite store, as it may have been moved.

    Raises:
        TrackingError: MLflow cannot be asked.
    """
    store = own_store(lake)
    if not runs or (store and not store.exists()):
        return []
    uri = tracking_uri(lake)
    here = public_uri(uri)

    def find(watch: Watch) -> list[str]:
        client = open_client(uri, watch)
        deleted = []
        for run_id, place in runs.items():
            same = public_uri(place) == here
            if not same and not (store and place.startswith("sqlite:")):
                continue
            stage = _stage(client, run_id)
            # One that the store never had is another store's, and not deleted.
            if stage == "deleted" or (stage is None and same):
                deleted.append(run_id)
        return deleted

    return ask("cannot be asked", uri, find)


def _stage(client: Any, run_id: str) -> str | None:
    """MLflow's lifecycle stage of a run; None if it does not know it, as after mlflow gc."""
    from mlflow.exceptions import MlflowException

    try:
        stage: str = client.get_run(run_id).info.lifecycle_stage
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return stage
