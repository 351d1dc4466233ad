"""Runs that MLflow has not been told of yet: nothing is lost, and nothing is told twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.analyses.recorder import tell_waiting
from hmct_track.errors import UsageError
from hmct_track.lake import Lake, find_runs
from hmct_track.lake.care import tidied
from hmct_track.recording import outbox
from tests.conftest import Cli
from tests.support.tracked import client

RANK = ["get-sensitivity-of-nodes", str(demo.model_path()), str(demo.calibration_data_path())]
PARTIAL = ["-i", "[Conv_2]", "--no-progress", "--lake", "lake"]


def rank(lake: Path, **options: Any) -> None:
    dbg.get_sensitivity_of_nodes(
        demo.model_path(),
        calibrated_data=demo.calibration_data_path(),
        interested_nodes=["Conv_2"],
        lake=lake,
        **options,
    )


def told(lake: Path) -> list[dict[str, Any]]:
    """Every run that MLflow has, the oldest first, without what differs between two runs."""
    store = client(lake)
    experiment = store.get_experiment_by_name("hmct-track")
    runs = store.search_runs([experiment.experiment_id], order_by=["start_time"])
    kept = []
    for run in runs:
        own = {"hmct_track.run_id", "mlflow.runName", "mlflow.note.content"}
        kept.append(
            {
                "state": run.info.status,
                "name": run.info.run_name,
                "params": run.data.params,
                "metrics": run.data.metrics,
                "tags": {k: v for k, v in run.data.tags.items() if k not in own},
                "inputs": [(i.dataset.name, i.dataset.profile) for i in run.inputs.dataset_inputs],
                "files": sorted(f.path for f in store.list_artifacts(run.info.run_id)),
            }
        )
    return kept


def told_soon(lake: Path, enough: Callable[[], bool]) -> bool:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if enough():
            return True
        time.sleep(0.1)
    return False


def test_what_is_told_later_is_what_would_have_been_told_at_once(tmp_path: Path) -> None:
    rank(tmp_path / "lake", wait=True)
    rank(tmp_path / "lake")
    assert len(told(tmp_path / "lake")) == 1
    (waiting,) = outbox.waiting(tmp_path / "lake")
    assert tell_waiting(Lake.open(tmp_path / "lake")) == []
    assert outbox.waiting(tmp_path / "lake") == []
    at_once, later = told(tmp_path / "lake")
    assert at_once == later
    assert at_once["files"] == ["sensitivity_of_node.log", "sensitivity_of_node.png"]
    newest, oldest = find_runs(Lake.open(tmp_path / "lake"))
    assert newest["run_id"] == waiting.run_id and newest["mlflow_run_id"]
    assert newest["mlflow_uri"] == oldest["mlflow_uri"]


def test_a_run_that_was_told_by_halves_is_told_once_with_its_name(tmp_path: Path, cli: Cli) -> None:
    """As if who told it was killed before it could say so."""
    lake = tmp_path / "lake"
    rank(lake)
    (entry,) = outbox.waiting(lake)
    tell_waiting(Lake.open(lake))
    assert cli("tag", "latest", "--lake", "lake").returncode == 0
    outbox.put(lake, outbox.replace(entry, begun=True, holder=f"{outbox.platform.node()} 99999999"))
    assert tell_waiting(Lake.open(lake)) == []
    (run,) = told(lake)
    assert run["state"] == "FINISHED" and run["tags"]["hmct_track.tag.baseline"] == "true"


def test_a_run_whose_process_was_killed_as_it_ended_is_told_as_killed(tmp_path: Path) -> None:
    """The entry is there before the last row; one that is killed in between leaves it held."""
    program = """
import os, sys
from hmct_track.lake import Lake
from hmct_track.cli import main
append = Lake.append
def killed(lake, table, rows, *part):
    if table.name == "runs" and rows[0]["state"] == "FINISHED":
        os.kill(os.getpid(), 9)
    append(lake, table, rows, *part)
Lake.append = killed
main(sys.argv[1:])
"""
    command = [sys.executable, "-c", program, *RANK, *PARTIAL]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    lake = tmp_path / "lake"
    (entry,) = outbox.waiting(lake)
    assert done.returncode == -9 and entry.holder and not entry.begun
    assert tell_waiting(Lake.open(lake)) == [] and outbox.waiting(lake) == []
    (run,) = find_runs(Lake.open(lake))
    assert run["state"] == "KILLED" and run["mlflow_run_id"]
    assert [each["state"] for each in told(lake)] == ["KILLED"]


def test_a_run_that_ends_who_tells_it_holds_up_no_other_and_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    lake = tmp_path / "lake"
    rank(lake)
    rank(lake)
    poisonous, other = outbox.waiting(lake)
    outbox.put(lake, outbox.replace(poisonous, begun=True, starts=3))
    seen: list[str] = []

    def ends(tracked: Any, *_: object) -> None:
        seen.append(tracked.tags["hmct_track.run_id"])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hmct_track.analyses.recorder.track", ends)
        with pytest.raises(KeyboardInterrupt):
            tell_waiting(Lake.open(lake))
        outbox.take(lake, other.run_id)
        with pytest.raises(KeyboardInterrupt):
            tell_waiting(Lake.open(lake))
    assert seen == [other.run_id, poisonous.run_id]
    done = cli("lake", "status", "--lake", "lake")
    assert done.returncode == 3 and "3 processes were killed, or broke off" in done.stdout
    assert tell_waiting(Lake.open(lake)) == [] and outbox.waiting(lake) == []


def test_a_store_that_takes_nothing_is_told_of_and_asked_again(tmp_path: Path, cli: Cli) -> None:
    rank(tmp_path / "lake")
    broken = tmp_path / "lake" / "mlflow.db"
    broken.mkdir()
    done = cli("lake", "status", "--tell", "--lake", "lake")
    assert done.returncode == 3 and "mlflow.db is not a file" in done.stdout, done.stdout
    done = cli(*RANK, *PARTIAL)
    assert done.returncode == 3 and "Conv_2" in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if "did not take the run: " in line]
    assert line.endswith("waits as well, see hmct-debugger lake status")
    broken.rmdir()
    done = cli("lake", "status", "--tell", "--lake", "lake")
    assert (done.returncode, done.stdout[:19]) == (0, "MLflow was told of ")
    assert [run["state"] for run in told(tmp_path / "lake")] == ["FINISHED"] * 2


def test_other_stores_are_not_told_and_held_runs_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    lake = tmp_path / "lake"
    rank(lake)
    (entry,) = outbox.waiting(lake)
    other = outbox.replace(entry, uri="http://127.0.0.1:9")
    outbox.put(lake, other)
    (lake / "outbox" / "broken.json").write_text("{")
    assert tell_waiting(Lake.open(lake)) == [] and outbox.waiting(lake) == [other]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        outbox.put(lake, outbox.replace(entry, holder=f"{outbox.platform.node()} {alive.pid}"))
        assert tell_waiting(Lake.open(lake)) == [] and len(outbox.waiting(lake)) == 1
        alive.communicate(b"\n")
    assert not (lake / "mlflow.db").exists()
    done = cli("lake", "status", "--forget", "--lake", "lake")
    assert done.returncode == 0 and outbox.waiting(lake) == []
    monkeypatch.setenv("HMCT_RECORD", "never")
    with pytest.raises(UsageError, match="'never'; it can be wait, detached, later, or unset"):
        rank(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_processes_at_once_and_a_killed_recorder_lose_nothing_and_tell_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMCT_RECORD", "detached")
    lake = tmp_path / "lake"
    command = [sys.executable, "-m", "hmct_track", *RANK, *PARTIAL]
    running = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0] * 3, outputs
    # Whoever tells is killed as soon as it has begun.
    assert told_soon(lake, lambda: any(e.begun for e in outbox.waiting(lake)) or _all(lake, 3))
    _kill_recorders(lake)
    about = json.loads((lake / "lake.json").read_text())
    del about["layout"]  # as of a program that laid its parts out otherwise: there is much to merge
    (lake / "lake.json").write_text(json.dumps(about))
    (lake / ".tidying").unlink(missing_ok=True)  # of one that was killed so late
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert told_soon(lake, lambda: _all(lake, 4)), (lake / "outbox").glob("*")
    runs = told(lake)
    assert [run["state"] for run in runs] == ["FINISHED"] * 4
    assert len({json.dumps(run["metrics"]) for run in runs}) == 1
    assert outbox.waiting(lake) == []
    assert told_soon(lake, lambda: not _recorders(lake)), "a recorder ends when all is told"
    assert tidied(Lake.open(lake))["times"] > 0, "and tidies before it does"
    assert (lake / "lake.duckdb").exists()


def test_a_run_that_no_process_tells_writes_the_database_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HMCT_RECORD")
    rank(tmp_path, track=False, data_num=1)
    with duckdb.connect(tmp_path / "lake.duckdb", read_only=True) as reader:
        assert reader.sql("SELECT state FROM runs").fetchall() == [("FINISHED",)]


def _all(lake: Path, count: int) -> bool:
    ids = [run["mlflow_run_id"] for run in find_runs(Lake.open(lake))]
    return len(ids) == count and all(ids) and not outbox.waiting(lake)


def _recorders(lake: Path) -> list[Any]:
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or []
        if "hmct_track.analyses.recorder" in arguments and str(lake) in arguments:
            found.append(process)
    return found


def _kill_recorders(lake: Path) -> None:
    import psutil

    for process in _recorders(lake):
        try:
            process.kill()
            process.wait(30)
        except psutil.NoSuchProcess:
            continue
