"""MLflow's own web UI: how it is started, and where in it the runs are."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from hmct_track.tracking.bounds import DEFAULTS
from hmct_track.tracking.place import check_database, experiment_name, own_store, tracking_uri
from hmct_track.tracking.view import VIEW, VIEW_TAG, experiment_tags

_HOST = "127.0.0.1"
_PATIENCE = 5.0


def ui_command(port: int) -> list[str]:
    """The command that serves MLflow's web UI, to this machine only.

    What it serves is told by `ui_environment`: everybody on the machine sees a command's arguments.
    """
    return [sys.executable, "-m", "mlflow", "ui", "--host", _HOST, "--port", str(port)]


def ui_environment(lake: Path) -> dict[str, str]:
    """The environment of that command: the store, and what the user has not set otherwise.

    Raises:
        TrackingError: there is no store, or it is an SQLite file that cannot be opened.
    """
    uri = tracking_uri(lake)
    check_database(uri, _PATIENCE)
    ours = {
        "MLFLOW_BACKEND_STORE_URI": uri,
        # What is logged through the server must not fall into the folder that it was started in.
        "MLFLOW_ARTIFACTS_DESTINATION": str(lake / "artifacts"),
    }
    # One person looks at runs: no queue of jobs, and no more processes than it takes.
    modest = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_WORKERS": "1"}
    return {**DEFAULTS, **modest, **os.environ, **ours}


def ui_page(port: int, lake: Path) -> str | None:
    """The address of the list of runs; None while the server does not answer yet.

    An experiment in the lake's own store that an older version made is given our view.
    """
    from http.client import HTTPException

    try:
        if _call(port, "GET", "/health") is None:
            return None
        found = _experiment(port)
        if found is None:
            return f"http://{_HOST}:{port}"
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", ())}
        if own_store(lake):
            tags |= _give_view(port, found["experiment_id"], tags)
    except (OSError, HTTPException, ValueError, KeyError):
        return None
    query = {"workflowType": "machine_learning"}
    if VIEW_TAG in tags:
        query["viewStateShareKey"] = VIEW
    runs = f"/#/experiments/{quote(found['experiment_id'])}/runs?{urlencode(query)}"
    return f"http://{_HOST}:{port}{runs}"


def run_page(port: int, mlflow_run_id: str) -> str | None:
    """The address of a run of MLflow; None unless a server on this port answers and has it."""
    from http.client import HTTPException

    try:
        query = urlencode({"run_id": mlflow_run_id})
        found = _call(port, "GET", f"/api/2.0/mlflow/runs/get?{query}")
        experiment = found and str(found["run"]["info"]["experiment_id"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None
    if not experiment:
        return None
    return f"http://{_HOST}:{port}/#/experiments/{quote(experiment)}/runs/{quote(mlflow_run_id)}"


def _experiment(port: int) -> dict[str, Any] | None:
    """The experiment that runs go to now, or else any that has our view."""
    name = urlencode({"experiment_name": experiment_name(None)})
    reply = _call(port, "GET", f"/api/2.0/mlflow/experiments/get-by-name?{name}")
    if reply:
        named: dict[str, Any] = reply["experiment"]
        return named
    every = _call(port, "POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1000}) or {}
    for experiment in every.get("experiments", ()):
        if any(tag["key"] == VIEW_TAG for tag in experiment.get("tags", ())):
            chosen: dict[str, Any] = experiment
            return chosen
    return None


def _give_view(port: int, experiment: str, tags: dict[str, str]) -> dict[str, str]:
    missing = {k: v for k, v in experiment_tags().items() if tags.get(k) != v}
    for key, value in missing.items():
        body = {"experiment_id": experiment, "key": key, "value": value}
        _call(port, "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", body)
    return missing


def _call(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the server on this machine answers, or None if it is not 200; through no proxy."""
    from http.client import OK, HTTPConnection

    connection = HTTPConnection(_HOST, port, timeout=_PATIENCE)
    try:
        content = json.dumps(body) if body is not None else None
        connection.request(method, path, content, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != OK:
            return None
        return True if path == "/health" else json.loads(text)
    finally:
        connection.close()
