"""What a test tells MLflow, and how it reads MLflow's store in a lake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmct_track.tracking import TrackedRun
from hmct_track.types import RunState


def client(lake: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{lake / 'mlflow.db'}")


def only_run(lake: Path, experiment: str = "hmct-track") -> Any:
    found = client(lake).get_experiment_by_name(experiment)
    (run,) = client(lake).search_runs([found.experiment_id])
    return run


def draft(**changes: Any) -> TrackedRun:
    values: dict[str, Any] = {"name": "n", "experiment": "e", "state": RunState.KILLED}
    values |= {"started_ms": 1000, "ended_ms": 3000, "params": {}, "tags": {}}
    return TrackedRun(**(values | changes))
