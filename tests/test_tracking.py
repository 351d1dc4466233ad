"""What MLflow is told, in a real store."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any

import platformdirs
import pytest

import hmct_track.debug as dbg
from hmct_track.errors import HmctTrackError, TrackingError
from hmct_track.lake import Lake
from hmct_track.store import make_store
from hmct_track.tracking import RunInput, bounds, deleted_runs, track
from hmct_track.types import Metric
from tests.support.tracked import client, draft, only_run


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, float]]]:
    """A lake with one tracked run on the demo, and what the run returned."""
    from hmct_track import demo

    lake = tmp_path_factory.mktemp("tracked") / "lake"
    returned = dbg.get_sensitivity_of_nodes(
        demo.model_path(),
        metrics=["sqnr", "cosine-similarity"],
        calibrated_data=demo.calibration_data_path(),
        data_num=4,
        lake=lake,
    )
    return lake, returned


def test_the_run_says_what_the_user_passed_and_on_what(
    tracked: tuple[Path, dict[str, dict[str, float]]],
) -> None:
    lake, _ = tracked
    run = only_run(lake)
    (row,) = Lake.open(lake).sql("SELECT model_id, data_id, run_id, mlflow_run_id FROM runs").rows
    assert run.info.status == "FINISHED"
    assert run.data.params["metrics"] == '["sqnr", "cosine-similarity"]'
    assert run.data.params["node_type"] == "node"
    assert run.data.params["data_num"] == "4"
    tags = [run.data.tags[f"hmct_track.{name}"] for name in ("model_id", "data_id", "run_id")]
    assert (*tags, run.info.run_id) == row
    ids = {"model_id", "data_id", "model_path", "data_path", "runtime"}
    assert not ids & run.data.params.keys(), "of parameters, ids push others out of charts"


def test_every_metric_is_a_curve_over_the_nodes_and_a_summary(
    tracked: tuple[Path, dict[str, dict[str, float]]],
) -> None:
    lake, returned = tracked
    run = only_run(lake)
    for metric in Metric:
        history = client(lake).get_metric_history(run.info.run_id, f"by_node.{metric}")
        assert sorted(point.step for point in history) == list(range(len(returned)))
    cosines = [values["cosine-similarity"] for values in returned.values()]
    summary = run.data.metrics
    assert summary["worst_node.cosine-similarity"] == min(cosines)
    assert summary["mean_of_nodes.cosine-similarity"] == pytest.approx(sum(cosines) / len(cosines))
    below = sum(value < 0.999 for value in cosines)
    assert summary["nodes_below_0.999"] == below > 0
    assert summary["nodes"] == len(returned)
    sqnrs = {node: values["sqnr"] for node, values in returned.items()}
    assert summary["worst_node.sqnr"] == min(sqnrs.values())
    history = client(lake).get_metric_history(run.info.run_id, "by_node.sqnr")
    assert sorted(p.value for p in history) == sorted(sqnrs.values())
    rows = Lake.open(lake).query("whole_model", run_id=run.data.tags["hmct_track.run_id"])
    whole = {row["metric"]: row["value"] for row in rows}
    assert whole.keys() == {metric.value for metric in Metric}
    assert {m: summary[f"whole.{m}"] for m in whole} == whole


def test_model_and_data_are_inputs_and_the_description_has_the_ranking(
    tracked: tuple[Path, dict[str, dict[str, float]]],
) -> None:
    lake, returned = tracked
    run = only_run(lake)
    (row,) = Lake.open(lake).query("runs")
    found = {
        given.tags[0].value: (given.dataset.name, given.dataset.digest)
        for given in run.inputs.dataset_inputs
    }
    assert found == {
        "model": ("demo/calibrated_model", row["model_id"]),
        "calibration data": ("calibration_data", row["data_id"]),
    }
    note = run.data.tags["mlflow.note.content"]
    lines = [line for line in note.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert [line.split("|")[2].strip(" `") for line in lines] == list(returned)[: len(lines)]
    assert len(lines) == 15 and "and 7 more" in note and row["run_id"] in note


def test_table_and_figure_are_artifacts(
    tracked: tuple[Path, dict[str, dict[str, float]]], tmp_path: Path
) -> None:
    lake, returned = tracked
    run = only_run(lake)
    names = {artifact.path for artifact in client(lake).list_artifacts(run.info.run_id)}
    assert names == {"sensitivity_of_node.log", "sensitivity_of_node.png"}
    table = Path(client(lake).download_artifacts(run.info.run_id, "sensitivity_of_node.log"))
    lines = table.read_text().splitlines()
    assert lines[0].startswith("all nodes quantized: sqnr ") and lines[1] == ""
    rows = list(takewhile(bool, lines[5:]))  # what is sure of them follows behind a blank line
    assert [row.split()[0] for row in rows] == list(returned)
    figure = next((lake / "artifacts").rglob("*.png"))
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_failed_run_is_failed_in_both_places(
    tmp_path: Path, demo_files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hmct_track.engine import Engine
    from hmct_track.errors import EngineError

    records = Engine.records

    def break_off(self: Engine, *arguments: Any) -> Any:
        for count, measurement in enumerate(records(self, *arguments)):
            if count == 5:
                raise EngineError("out of luck")
            yield measurement

    monkeypatch.setattr(Engine, "records", break_off)
    model, data = demo_files
    with pytest.raises(HmctTrackError, match="out of luck"):
        dbg.get_sensitivity_of_nodes(model, calibrated_data=data, lake=tmp_path)
    lake = Lake.open(tmp_path)
    assert lake.sql("SELECT state, error FROM runs").rows == [("FAILED", "out of luck")]
    assert lake.sql("SELECT count(*) FROM measurements").rows == [(5,)], "what was measured is kept"
    assert only_run(tmp_path).info.status == "FAILED"


def test_a_server_that_is_down_costs_nothing_but_a_warning(
    tmp_path: Path,
    demo_files: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    model, data = demo_files
    with caplog.at_level(logging.WARNING, "hmct_track"):
        result = dbg.get_sensitivity_of_nodes(model, calibrated_data=data, lake=tmp_path)
    assert len(result) == 22
    (record,) = [r for r in caplog.records if r.name.startswith("hmct_track")]
    assert "http://127.0.0.1:9 did not take the run" in record.getMessage()
    rows = Lake.open(tmp_path).sql("SELECT state, mlflow_run_id FROM runs").rows
    assert rows == [("FINISHED", None)]


def test_uri_and_experiment_of_the_user_are_honoured(
    tmp_path: Path, demo_files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'own' / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of the environment")
    monkeypatch.chdir(tmp_path)
    model, data = demo_files
    for experiment in (None, "of the call"):
        dbg.get_sensitivity_of_nodes(
            model, calibrated_data=data, lake=tmp_path / "lake", experiment=experiment
        )
    assert only_run(tmp_path / "own", "of the environment").info.status == "FINISHED"
    assert only_run(tmp_path / "own", "of the call").info.status == "FINISHED"
    assert not (tmp_path / "lake" / "mlflow.db").exists()


def test_state_times_long_parameters_and_many_metrics(tmp_path: Path) -> None:
    curve = [(step, float(step)) for step in range(2500)] + [(2500, float("inf"))]
    track(draft(params={"long": "x" * 9000}, curves={"c": curve}), tmp_path)
    run = only_run(tmp_path, "e")
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("KILLED", 1000, 3000)
    assert len(run.data.params["long"]) == 6000
    history = client(tmp_path).get_metric_history(run.info.run_id, "c")
    assert sorted(p.step for p in history) == list(range(2500))


@pytest.mark.parametrize(
    "said", ['duplicate key value violates unique constraint "dataset_pk"', "no space is left"]
)
def test_an_input_that_another_run_adds_in_the_same_moment_is_logged(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIVEN what a database says when two runs add a dataset at once
    THEN it is logged all the same; any other failure is told.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    real, asked = MlflowClient.log_inputs, []

    def racing(self: Any, run_id: str, **given: Any) -> None:
        asked.append(run_id)
        if len(asked) == 1:
            raise MlflowException(said)
        real(self, run_id, **given)

    monkeypatch.setattr(MlflowClient, "log_inputs", racing)
    run = draft(inputs=[RunInput("m", "0123", "m.onnx", "model", {})])
    if "unique" not in said:
        with pytest.raises(TrackingError, match=said):
            track(run, tmp_path)
        return
    track(run, tmp_path)
    (given,) = only_run(tmp_path, "e").inputs.dataset_inputs
    assert (given.dataset.name, len(asked)) == ("m", 2)


def test_a_deleted_experiment_is_told(tmp_path: Path) -> None:
    track(draft(), tmp_path)
    client(tmp_path).delete_experiment(client(tmp_path).get_experiment_by_name("e").experiment_id)
    with pytest.raises(TrackingError, match="deleted"):
        track(draft(), tmp_path)


def test_the_users_environment_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*bounds.DEFAULTS, "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"):
        monkeypatch.delenv(name, raising=False)  # given-up calls of other tests leave theirs
    track(draft(), tmp_path)  # MLflow itself may set some when it is imported
    before = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW")}
    track(draft(), tmp_path)
    assert {k: v for k, v in os.environ.items() if k.startswith("MLFLOW")} == before
    assert not before.keys() & {*bounds.DEFAULTS, "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"}


def test_two_processes_make_the_store_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.support.tracked import draft;"
        "from hmct_track.tracking import track; track(draft(), Path(sys.argv[1]))"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(3)]
    assert [run.wait(120) for run in runs] == [0, 0, 0]
    found = client(tmp_path).get_experiment_by_name("e")
    assert len(client(tmp_path).search_runs([found.experiment_id])) == 3


@pytest.mark.parametrize("damage", [None, b"", b"no database", b"SQLite format 3\0" + bytes(8000)])
def test_a_store_is_made_once_and_copied_unless_the_copy_is_damaged(
    damage: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made: list[Path] = []

    def migrate(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                made.append(path)
            connection.execute("CREATE TABLE IF NOT EXISTS runs (a)")

    make_store(tmp_path / "one.db", migrate, "1.0")
    if damage is not None:
        (platformdirs.user_cache_path("hmct-track") / "mlflow-1.0.db").write_bytes(damage)
    for name in ("two.db", "three.db"):
        make_store(tmp_path / name, migrate, "1.0")
    assert len(made) == (1 if damage is None else 2)
    make_store(tmp_path / "four.db", migrate, "1.1")
    assert len(made) == (2 if damage is None else 3), "each version of MLflow has its own"
    for name in ("one", "two", "three", "four"):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_store_that_cannot_be_kept_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    make_store(tmp_path / "mlflow.db", Path.touch, "1.0")
    assert (tmp_path / "mlflow.db").exists()


def test_a_copied_store_has_no_runs_and_takes_new_ones(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        track(draft(name=name), tmp_path / name)
        assert only_run(tmp_path / name, "e").info.run_name == name


def test_a_long_run_has_system_metrics_and_a_short_one_none(
    tmp_path: Path, demo_files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = demo_files
    for interval, lake in (("0.02", tmp_path / "long"), ("3600", tmp_path / "short")):
        monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", interval)
        dbg.get_sensitivity_of_nodes(model, calibrated_data=data, data_num=16, lake=lake)
    long, short = only_run(tmp_path / "long"), only_run(tmp_path / "short")
    assert not any(name.startswith("system/") for name in short.data.metrics)
    names = {name for name in long.data.metrics if name.startswith("system/")}
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= names
    for name in names:
        points = client(tmp_path / "long").get_metric_history(long.info.run_id, name)
        assert [p.step for p in points] == list(range(len(points)))
        times = [p.timestamp for p in points]
        assert times == sorted(times)
        assert long.info.start_time <= times[0] <= times[-1] <= long.info.end_time
        assert all(p.value >= 0 for p in points)
    resident = long.data.metrics["system/process_memory_usage_megabytes"]
    assert 20 < resident < long.data.metrics["system/system_memory_usage_megabytes"] * 10
    assert long.data.metrics["system/system_memory_usage_percentage"] <= 100


def test_a_moved_lake_knows_which_of_its_runs_were_deleted(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    kept, gone = (track(draft(), tmp_path / "here") for _ in range(2))
    client(tmp_path / "here").delete_run(gone.run_id)
    (tmp_path / "here").rename(tmp_path / "there")
    places = {kept.run_id: kept.uri, gone.run_id: gone.uri, "0" * 32: kept.uri}
    found = deleted_runs(tmp_path / "there", places)
    assert found == [gone.run_id], "what the store never had is another store's"


def test_an_experiment_says_what_the_web_ui_is_to_show(tmp_path: Path) -> None:
    def tags() -> dict[str, str]:
        found: dict[str, str] = client(tmp_path).get_experiment_by_name("e").tags
        return found

    track(draft(), tmp_path)
    assert tags()["mlflow.experimentKind"] == "custom_model_development"
    view = tags()["mlflow.sharedViewState.hmct-track"]
    assert len(view) < 5000, "MLflow's limit"
    columns = json.loads(json.loads(view)["state"])["selectedColumns"]
    assert columns[0] == "metrics.`whole.cosine-similarity`"
    experiment = client(tmp_path).get_experiment_by_name("e").experiment_id
    client(tmp_path).delete_experiment_tag(experiment, "mlflow.experimentKind")
    track(draft(), tmp_path)
    assert tags()["mlflow.experimentKind"] == "custom_model_development"


def test_a_servers_experiment_is_left_as_its_users_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    client(tmp_path).create_experiment("e", tags={"mlflow.experimentKind": "genai_development"})
    track(draft(), tmp_path)
    found = client(tmp_path).get_experiment_by_name("e")
    assert found.tags == {"mlflow.experimentKind": "genai_development"}
