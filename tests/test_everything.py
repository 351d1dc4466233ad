"""runall: seven steps under one run, the documented folders, and a page that stands alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.analyses.runall import RunallResult
from hmct_track.errors import UsageError
from hmct_track.lake import Lake
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
