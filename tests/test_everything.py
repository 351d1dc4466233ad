"""runall: seven steps under one run, the documented folders, and a page that stands alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.analyses.runall import RunallResult
from hmct_track.errors import UsageError
from hmct_track.lake import Lake
from hmct_track.report import page as page_module
from tests.support import graphs
from tests.support.graphs import calibration
from tests.support.tracked import client

DATA = {"input": [np.load(f) for f in sorted(demo.calibration_data_path().glob("input/*.npy"))[:3]]}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunallResult]:
    place = tmp_path_factory.mktemp("runall")
    return place, dbg.runall(demo.model_path(), DATA, place / "out", lake=place / "lake")


def test_steps_and_folders_are_the_documented_ones(done: tuple[Path, RunallResult]) -> None:
    place, result = done
    kinds = Lake.open(place / "lake").sql(
        "SELECT kind, parent_run_id IS NOT NULL, state, data_num FROM runs ORDER BY run_id"
    )
    assert [row[0] for row in kinds.rows] == [
        "runall",
        "sensitivity",
        "sensitivity",
        "distribution",
        "channelwise-distribution",
        "error-accumulation",
        "sensitivity-analysis",
        "diagnosis",
    ]
    assert {row[1:] for row in kinds.rows[1:]} == {(True, "FINISHED", 3)}
    assert kinds.rows[0][1:] == (False, "FINISHED", 3)
    assert sorted(f.name for f in (place / "out").iterdir()) == [
        "accumulate_error",
        "channelwise_distribution",
        "data_distribution",
        "diagnosis",
        "index.html",
        "node_sensitivity",
        "sensitivity_analysis",
    ]
    assert len(set(result.files)) == len(result.files)
    assert all(f.stat().st_size for f in result.files)


def test_the_five_most_sensitive_of_each_type_are_looked_at(
    done: tuple[Path, RunallResult],
) -> None:
    _, result = done
    weights, activations = (
        [row["subject"] for row in ranking.rows[:5]] for ranking in result.rankings
    )
    shown = list(dict.fromkeys(row["node"] for row in result.distribution.rows))
    assert shown == [*weights, *activations]
    assert list(dict.fromkeys(row["node"] for row in result.channels.rows)) == shown


def test_the_page_shows_all_and_loads_nothing(done: tuple[Path, RunallResult]) -> None:
    place, result = done
    page = (place / "out" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 2 + 10 + 10 + 1 + 1
    for ranking in result.rankings:
        assert ranking.rows[0]["subject"] in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)


def test_mlflow_has_one_parent_with_its_steps_below(done: tuple[Path, RunallResult]) -> None:
    place, _ = done
    store = client(place / "lake")
    experiment = store.get_experiment_by_name("hmct-track").experiment_id
    runs = {run.info.run_id: run for run in store.search_runs([experiment])}
    parents = [run.data.tags.get("mlflow.parentRunId") for run in runs.values()]
    (top,) = [run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags]
    assert parents.count(top.info.run_id) == 7
    recorded = Lake.open(place / "lake").sql("SELECT mlflow_run_id FROM runs").rows
    assert {row[0] for row in recorded} <= set(runs)


def test_node_type_node_looks_at_the_calibration_nodes_of_the_five_nodes(tmp_path: Path) -> None:
    result = dbg.runall(
        demo.model_path(),
        DATA,
        node_type="node",
        data_num=1,
        quantize_node=["Conv_2"],
        sensitive_nodes=["Conv_21"],
        lake=tmp_path,
        track=False,
    )
    (ranking,) = result.rankings
    assert ranking.rows[0]["subject"] == "Conv_21"
    nodes = {row["node"] for row in result.distribution.rows}
    assert all(name.endswith("_HzCalibration") for name in nodes)
    assert len(nodes) == 10, "an activation and a weight of each convolution"
    assert [row["node"] for row in result.partial.rows] == ["none", "Conv_21"]
    assert {row["curve"] for row in result.accumulation.rows} == {"Conv_2", "calibrated_model"}


def test_what_is_refused_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both were given"):
        dbg.runall(
            demo.model_path(),
            DATA,
            quantize_node=["Conv_2"],
            non_quantize_node=["Conv_4"],
            lake=tmp_path / "lake",
        )
    assert not (tmp_path / "lake").exists()


def test_sentences_of_different_lengths_do_not_end_the_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIVEN words in axis 1, as many as a sentence has, of four features each
    THEN boxes are of features; where words are all that there is, they alone are left out.
    """
    nodes = [
        calibration("x", "xq", "x_q"),
        calibration("w", "wq", "w_q", scales=[0.02], qtype="int8", axis=0),
        helper.make_node("MatMul", ["xq", "wq"], ["y"], name="features"),
    ]
    rng = np.random.default_rng(0)
    weight = {"w": rng.standard_normal((4, 4)).astype(np.float32)}
    data = {"x": [rng.standard_normal((1, n, 4)).astype(np.float32) for n in (3, 5)]}
    given: dict[str, Any] = {"data_num": None, "track": False, "progress": False}
    given |= {"calibrated_data": data, "lake": tmp_path}
    sentences = graphs.model(nodes, {"x": [1, None, 4]}, constants=weight)
    boxes = dbg.get_channelwise_data_distribution(
        model_or_file=sentences, nodes_list=["x_q"], save_dir=None, **given
    ).rows
    features = np.concatenate([x.reshape(-1, 4) for x in data["x"]])
    assert [row["axis"] for row in boxes] == [2] * 4
    np.testing.assert_allclose([row["median"] for row in boxes], np.median(features, axis=0))
    assert "channels of x_q are along axis 2 instead" in caplog.text
    pairs = [
        helper.make_node("Transpose", ["y"], ["t"], name="turned", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["y", "t"], ["p"], name="pairs"),
        calibration("p", "pq", "p_q"),
        helper.make_node("Softmax", ["pq"], ["z"], name="attention"),
    ]
    model = graphs.model([*nodes, *pairs], {"x": [1, None, 4]}, ["z"], constants=weight)
    monkeypatch.setattr(page_module, "encoded", lambda _: [])  # figures are of others' tests
    done = dbg.runall(model, verbose=False, **given)
    assert "box plots left out: samples have 3 to 5 channels along axis 1" in caplog.text
    page = done.answer.texts["index.html"]
    assert "get-channelwise-data-distribution could not be done: samples have 3 to 5" in page
    assert done.diagnosis.rows and "Diagnosis</h2>" in page
    with pytest.raises(UsageError, match="was left out of run"):
        done.channels  # noqa: B018 - it complains
