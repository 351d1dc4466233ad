"""Queries over the history of a lake, on rows written by hand with answers worked out by hand."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hmct_track.lake import (
    CALIBRATION_NODES,
    CHANNEL_SUMMARIES,
    MEASUREMENTS,
    MODELS,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    TENSOR_SUMMARIES,
    Lake,
)
from tests.support.rows import add_ranking, calibration_row, chain, measurement_row, run_row

COSINE = "cosine-similarity"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path)


@pytest.fixture
def history(lake: Lake) -> Lake:
    """Three rankings: model m twice, of other samples, and model n; and one that failed."""
    chain(lake, "m", list("pqr"), ["Conv", "Add", "Conv"])
    chain(lake, "n", list("pqs"), ["Conv", "Add", "Gemm"])
    add_ranking(lake, "1", {"p": 0.5, "q": 0.9, "r": 0.7}, model_path="/m.onnx")
    add_ranking(lake, "2", {"p": 0.6, "q": 0.4, "s": 0.8}, "n")
    lake.append(RUNS, [run_row("3", state="FAILED")])
    return lake


def test_worst_nodes_are_those_of_the_newest_finished_ranking(history: Lake) -> None:
    rows = history.query("worst_nodes", metric=COSINE, most=2)
    told = {"run_id": "2", "infinite": 0, "all_zero": 0}
    assert rows == [
        {**told, "rank": 1, "node": "q", "value": 0.4},
        {**told, "rank": 2, "node": "p", "value": 0.6},
    ]
    assert len(history.query("worst_nodes", metric="mse")) == 3


@pytest.mark.parametrize("metric", [COSINE, "mse", "sqnr"])
def test_a_rank_is_the_same_in_the_history_as_in_the_ranking(history: Lake, metric: str) -> None:
    for run_id in "12":
        ranking = history.query("sensitivity", run_id=run_id, metric=metric)
        rows = [
            row
            for row in history.query("ranked")
            if (row["run_id"], row["metric"]) == (run_id, metric)
        ]
        found = {row["node"]: (row["rank"], row["value"]) for row in rows}
        column = metric.replace("-", "_")
        assert found == {r["subject"]: (r["rank"], r[column]) for r in ranking}


def test_values_are_means_over_samples_and_then_outputs_without_nan(lake: Lake) -> None:
    lake.append(RUNS, [run_row("r", outputs=["y", "z"])])
    places = [{"data_id": "d", "position": k, "sample_id": f"s{k}", "source": ""} for k in (0, 1)]
    lake.append(SAMPLES, places)
    row = {"run_id": "r", "position": 0, "config_id": "c", "subject": "p", "role": "only"}
    lake.append(RUN_CONFIGS, [row])
    values = {("s0", "y"): 0.5, ("s1", "y"): 0.7, ("s0", "z"): 1.0, ("s1", "z"): math.nan}
    for (sample, output), cosine in values.items():
        place = {"sample_id": sample, "output": output}
        lake.append(MEASUREMENTS, [measurement_row("c", sum_xy=cosine, **place)])
    rows = lake.query("subject_values")
    (found,) = [r["value"] for r in rows if r["metric"] == COSINE]
    assert found == pytest.approx((0.6 + 1.0) / 2)


def test_history_of_a_node(history: Lake) -> None:
    rows = history.query("node_history", node="p", metric=COSINE)
    assert [(r["run_id"], r["model_id"], r["model"], r["rank"], r["value"]) for r in rows] == [
        ("1", "m", "m", 1, 0.5),
        ("2", "n", "model", 2, 0.6),
    ]


def test_always_sensitive_is_in_the_top_of_every_ranking_that_has_it(history: Lake) -> None:
    rows = history.query("always_sensitive", metric=COSINE, top=2)
    found = [
        (r["node"], r["rankings"], r["models"], r["mean_rank"], r["worst_value"]) for r in rows
    ]
    # q ranks 3 and 1, s ranks 3.
    assert found == [("p", 2, 2, 1.5, 0.5), ("r", 1, 1, 2.0, 0.7)]
    assert len(history.query("always_sensitive", metric=COSINE)) == 4


def test_op_types_by_the_newest_ranking_of_each_model(history: Lake) -> None:
    add_ranking(history, "4", {"p": 0.3, "q": 0.95, "r": 0.7}, "other")
    rows = history.query("op_types", metric=COSINE)
    assert [
        (r["op_type"], r["nodes"], r["models"], r["median"], r["worst_node"]) for r in rows
    ] == [
        ("Conv", 3, 2, 0.6, "p"),
        ("Add", 2, 2, pytest.approx(0.65), "q"),
        ("Gemm", 1, 1, 0.8, "s"),
    ]


def model_row(model_id: str, name: str) -> dict[str, Any]:
    blank: dict[str, Any] = {c.name: None for c in MODELS.columns}
    return {**blank, "inputs": [], "outputs": [], "model_id": model_id, "name": name}


def channels(run_id: str, node: str, peaks: list[float]) -> list[dict[str, Any]]:
    blank = {c.name: 0 for c in CHANNEL_SUMMARIES.columns} | {"outlier_sample": []}
    place = {"run_id": run_id, "node": node}
    return [
        {**blank, **place, "channel": c, "min": -peak, "max": 0.0} for c, peak in enumerate(peaks)
    ]


def test_channel_imbalance_of_the_newest_observation(lake: Lake) -> None:
    for run_id, state in (("1", "FINISHED"), ("2", "FINISHED"), ("3", "FAILED")):
        lake.append(RUNS, [run_row(run_id, kind="channelwise-distribution", state=state)])
    per_channel = calibration_row("m", "w", kind="weight", scales=[0.1, 0.2, 0.3])
    lake.append(CALIBRATION_NODES, [calibration_row("m", "k"), per_channel])
    lake.append(CHANNEL_SUMMARIES, channels("1", "k", [1, 1, 1]) + channels("1", "l", [2, 2]))
    lake.append(CHANNEL_SUMMARIES, channels("2", "k", [1, 8, 2]) + channels("3", "k", [1, 99, 1]))
    lake.append(CHANNEL_SUMMARIES, channels("2", "w", [1, 50, 1]))
    first, second, served = lake.query("channel_imbalance")
    assert (first["node"], first["imbalance"], first["widest"]) == ("k", 4.0, 1)
    assert (first["channels"], first["scales"], first["run_id"]) == (3, 1, "2")
    assert (second["node"], second["imbalance"], second["kind"]) == ("l", 1.0, None)
    # It has a scale per channel already, however much they differ.
    assert (served["node"], served["imbalance"], served["scales"]) == ("w", 50.0, 3)
    assert lake.query("channel_imbalance", model_id="other") == []


def test_thresholds_that_clip_or_are_too_wide(lake: Lake) -> None:
    lake.append(RUNS, [run_row("1", kind="distribution", state="FINISHED")])
    lake.append(RUNS, [run_row("2", kind="channelwise-distribution", state="FINISHED")])
    ranges = {"clipped": [4.0], "wasted": [64.0], "fits": [-9.0, 2.0], "of channels": [1.0]}
    lake.append(
        CALIBRATION_NODES, [calibration_row("m", n, thresholds=t) for n, t in ranges.items()]
    )
    blank = {c.name: 0 for c in TENSOR_SUMMARIES.columns}
    place = {"run_id": "1", "kind": "activation"}
    rows = [
        {**blank, **place, "node": node, "series": series, "abs_max": peak}
        for node in ("clipped", "wasted", "fits")
        for series, peak in {"before": 8.0, "after": 99.0}.items()
    ]
    lake.append(TENSOR_SUMMARIES, rows)
    lake.append(CHANNEL_SUMMARIES, channels("2", "of channels", [0.5, 1.0]))
    rows = lake.query("thresholds")
    found = {r["node"]: (r["verdict"], r["threshold"], r["used"], r["bits_wasted"]) for r in rows}
    assert found == {
        "clipped": ("clipped", 4.0, 2.0, 0.0),
        "wasted": ("wasted", 64.0, 0.125, 3.0),
        "fits": ("fits", 9.0, pytest.approx(8 / 9), pytest.approx(math.log2(9 / 8))),
        "of channels": ("fits", 1.0, 1.0, 0.0),
    }
    assert next(iter(found)) == "wasted", "the farthest from fitting first"


def test_data_sets_with_their_runs(history: Lake) -> None:
    later = {"data_id": "e", "data_path": "/e", "data_num": 7, "started_at": datetime(2027, 1, 1)}
    history.append(RUNS, [run_row("5", **later)])
    first, second = history.query("data_sets")
    assert (first["data_id"], first["data"], first["samples"], first["runs"]) == ("e", "/e", 7, 1)
    assert (second["data_id"], second["runs"], second["models"]) == ("d", 3, 2)


def test_costs_of_runs_tell_what_was_known(lake: Lake) -> None:
    add_ranking(lake, "first", {"p": 0.5, "q": 0.9}, ended_at=datetime(2026, 1, 1, 0, 0, 8))
    add_ranking(lake, "second", {"p": 0.5}, ended_at=datetime(2026, 1, 1, 0, 0, 1))
    rows = lake.query("run_costs")
    names = ("run_id", "seconds", "compared", "measured", "seconds_per_measurement")
    assert [tuple(r[name] for name in names) for r in rows] == [
        ("first", 8.0, 2, 2, 4.0),
        ("second", 1.0, 1, 0, None),
    ]


def test_the_list_of_runs_has_steps_below_their_run_and_the_newest_first(lake: Lake) -> None:
    chain(lake, "m", ["p"], ["Conv"])
    lake.append(MODELS, [model_row("m", "net")])
    start = {"started_at": datetime(2026, 1, 1), "ended_at": datetime(2026, 1, 1, 0, 1, 30)}
    lake.append(RUNS, [run_row("1", kind="runall", worst_node="p", worst_value=0.5, **start)])
    lake.append(RUNS, [run_row("3", parent_run_id="1"), run_row("2", parent_run_id="1")])
    lake.append(RUNS, [run_row("4", model_id="other", error="out of luck", state="FAILED")])
    rows = lake.query("run_list")
    assert [(r["run_id"], r["parent_run_id"]) for r in rows] == [
        ("4", None),
        ("1", None),
        ("2", "1"),
        ("3", "1"),
    ]
    assert (rows[0]["model"], rows[0]["error"], rows[0]["seconds"]) == (
        "model",
        "out of luck",
        None,
    )
    first = {name: rows[1][name] for name in ("model", "seconds", "worst_node", "worst_value")}
    assert first == {"model": "net", "seconds": 90.0, "worst_node": "p", "worst_value": 0.5}


def test_nodes_of_the_model_of_a_run_with_their_quantizers(lake: Lake) -> None:
    chain(lake, "m", ["q", "p"], ["Conv", "Add"])
    chain(lake, "n", ["other"], ["Conv"])
    quantizer = {"node_index": 3, "input": "x", "consumers": ["q"], "thresholds": [-1.0, 2.0]}
    lake.append(CALIBRATION_NODES, [calibration_row("m", "k", **quantizer)])
    lake.append(CALIBRATION_NODES, [calibration_row("m", "w", kind="weight", enabled=False)])
    lake.append(RUNS, [run_row("r")])
    rows = lake.query("model_nodes", run_id="r")
    assert [(r["node"], r["type"], r["node_index"], r["op_type"]) for r in rows] == [
        ("k", "activation", 3, "HzCalibration"),
        ("q", "node", 0, "Conv"),
        ("p", "node", 1, "Add"),
        ("w", "weight", 0, "HzCalibration"),
    ]
    k, q, _, w = rows
    assert (k["inputs"], k["outputs"], k["consumers"]) == (["x"], ["k_out"], ["q"])
    assert (k["thresholds"], k["qtype"], k["enabled"], w["enabled"]) == (
        [-1.0, 2.0],
        "int8",
        True,
        False,
    )
    assert (q["scales"], q["qtype"], q["enabled"], q["consumers"]) == (None, None, None, None)
    assert lake.query("model_nodes", run_id="none") == []


def test_evidence_of_a_node_is_that_of_runs_of_the_same_content(lake: Lake) -> None:
    curve = {"position": 0, "config_id": "c", "subject": "p", "role": "curve"}
    for run_id, changes in {
        "1": {"data_num": 4},
        "2": {"metrics": ["sqnr", "mse"], "state": "FINISHED"},
        "3": {"metrics": ["mse"], "state": "KILLED"},
        "4": {"model_id": "other", "state": "FINISHED"},
    }.items():
        lake.append(RUNS, [run_row(run_id, **changes)])
        if run_id != "1":
            lake.append(RUN_CONFIGS, [{**curve, "run_id": run_id}])
    blank = {c.name: 0 for c in TENSOR_SUMMARIES.columns} | {"kind": "activation"}
    lake.append(
        TENSOR_SUMMARIES,
        [
            {**blank, "run_id": run_id, "node": node, "series": series}
            for run_id, node in (("1", "p"), ("1", "q"), ("4", "p"))
            for series in ("before", "after")
        ],
    )
    lake.append(CHANNEL_SUMMARIES, channels("1", "p", [1, 2]))
    rows = lake.query("node_evidence", run_id="1", node="p")
    # The killed curve is not whole, and what is half observed shows as far as it goes.
    assert [(r["run_id"], r["evidence"], r["metric"], r["data_num"]) for r in rows] == [
        ("2", "curve", "sqnr", None),
        ("1", "channels", None, 4),
        ("1", "distribution", None, 4),
    ]
    assert lake.query("node_evidence", run_id="1", node="r") == []


def test_history_of_a_node_in_runs_of_one_model_or_one_file(lake: Lake) -> None:
    add_ranking(lake, "1", {"p": 0.5, "q": 0.9}, model_path="/m.onnx", data_num=1)
    add_ranking(lake, "2", {"p": 0.6}, "n", model_path="/m.onnx")
    add_ranking(lake, "3", {"p": 0.7}, "other", model_path="/other.onnx")
    add_ranking(lake, "4", {"p": 0.5}, model_path="/moved.onnx")
    rows = lake.query("node_history_of_model", run_id="1", node="p")
    found = [(r["run_id"], r["same_model"], r["cosine_similarity"], r["mse"]) for r in rows]
    # The fixture's mse is sum_dd, 1 - cosine, over one element.
    assert found == [
        ("1", True, 0.5, 0.5),
        ("2", False, 0.6, pytest.approx(0.4)),
        ("4", True, 0.5, 0.5),
    ]
    assert (rows[0]["data_num"], rows[0]["outputs"]) == (1, ["y"])
    assert lake.query("node_history_of_model", run_id="1", node="none") == []
