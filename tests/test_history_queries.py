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
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    TENSOR_SUMMARIES,
    Lake,
)
from tests.test_compare_queries import add_ranking, calibration_row, chain
from tests.test_lake import measurement_row, run_row

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
    assert rows == [
        {"run_id": "2", "rank": 1, "node": "q", "value": 0.4},
        {"run_id": "2", "rank": 2, "node": "p", "value": 0.6},
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
        ("1", "m", "/m.onnx", 1, 0.5),
        ("2", "n", None, 2, 0.6),
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


def channels(run_id: str, node: str, peaks: list[float]) -> list[dict[str, Any]]:
    blank = {c.name: 0 for c in CHANNEL_SUMMARIES.columns} | {"outlier_sample": []}
    place = {"run_id": run_id, "node": node}
    return [
        {**blank, **place, "channel": c, "min": -peak, "max": 0.0} for c, peak in enumerate(peaks)
    ]


def test_channel_imbalance_of_the_newest_observation(lake: Lake) -> None:
    for run_id, state in (("1", "FINISHED"), ("2", "FINISHED"), ("3", "FAILED")):
        lake.append(RUNS, [run_row(run_id, kind="channelwise-distribution", state=state)])
    lake.append(CALIBRATION_NODES, [calibration_row("m", "k", scales=[0.1, 0.2, 0.3])])
    lake.append(CHANNEL_SUMMARIES, channels("1", "k", [1, 1, 1]) + channels("1", "l", [2, 2]))
    lake.append(CHANNEL_SUMMARIES, channels("2", "k", [1, 8, 2]) + channels("3", "k", [1, 99, 1]))
    first, second = lake.query("channel_imbalance")
    assert (first["node"], first["imbalance"], first["widest"]) == ("k", 4.0, 1)
    assert (first["channels"], first["scales"], first["run_id"]) == (3, 3, "2")
    assert (second["node"], second["imbalance"], second["kind"]) == ("l", 1.0, None)
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
