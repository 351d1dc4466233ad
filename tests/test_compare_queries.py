"""Runs found by reference and compared, on rows written by hand with answers worked out by hand."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hmct_track.errors import UsageError
from hmct_track.lake import (
    CALIBRATION_NODES,
    CHANNEL_SUMMARIES,
    NODES,
    RUNS,
    Lake,
    compare_runs,
    find_ranking,
    find_run,
    find_runs,
    set_tag,
)
from hmct_track.types import Metric, NodeType
from tests.support.rows import (
    add_ranking,
    calibration_row,
    chain,
    node_row,
    run_row,
)

NAN = math.nan


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path)


def found(lake: Lake, metric: Metric = Metric.COSINE_SIMILARITY) -> dict[str, tuple[Any, ...]]:
    rows = compare_runs(lake, "a", "b", metric).nodes
    return {r["node"]: (r["node_a"], r["matched_by"], r["status"], r["drop"]) for r in rows}


def test_nodes_of_the_same_name_are_compared(lake: Lake) -> None:
    chain(lake, "m", ["p", "q", "r"], ["Conv"] * 3)
    add_ranking(lake, "a", {"p": 0.9, "q": 0.9, "r": 0.9})
    chain(lake, "n", ["p", "q", "s"], ["Conv", "Conv", "Add"])
    add_ranking(lake, "b", {"p": 0.7, "q": 0.95, "s": 0.5}, "n")
    assert found(lake) == {
        "p": ("p", "name", "worse", pytest.approx(0.2)),
        "q": ("q", "name", "better", pytest.approx(-0.05)),
        "r": ("r", None, "removed", None),
        "s": (None, None, "added", None),
    }
    assert next(iter(found(lake))) == "p", "the worst change first"


def test_renamed_nodes_are_matched_by_structure_in_topological_order(lake: Lake) -> None:
    ops = ["Conv", "Relu", "Conv", "Relu", "Conv", "Relu"]
    chain(lake, "m", list("uvwxyz"), ops)
    chain(lake, "n", [f"/net/{k}" for k in range(6)], ops)
    add_ranking(lake, "a", {"u": 0.9, "w": 0.8, "y": 0.7})
    add_ranking(lake, "b", {"/net/0": 0.9, "/net/2": 0.7, "/net/4": 0.8}, "n")
    assert found(lake) == {
        "/net/0": ("u", "structure", "same", 0.0),
        "/net/2": ("w", "structure", "worse", pytest.approx(0.1)),
        "/net/4": ("y", "structure", "better", pytest.approx(-0.1)),
    }


def test_what_stands_elsewhere_or_is_one_of_more_is_not_matched(lake: Lake) -> None:
    chain(lake, "m", ["a0", "a1", "a2"], ["Conv", "Relu", "Conv"])
    # a0 stands before a Relu, b0 before an Add; a2 has two candidates: Relu -> Conv -> end.
    rows = [
        node_row("n", "b0", 0, "Conv", "x", "t0"),
        node_row("n", "b1", 1, "Add", "t0", "t1"),
        node_row("n", "b2", 2, "Relu", "t1", "t2"),
        node_row("n", "b3", 3, "Conv", "t2", "y"),
        node_row("n", "b4", 4, "Conv", "t2", "z"),
    ]
    lake.append(NODES, rows)
    add_ranking(lake, "a", {"a0": 0.9, "a2": 0.9})
    add_ranking(lake, "b", {"b0": 0.9, "b3": 0.9, "b4": 0.9}, "n")
    assert {status for _, _, status, _ in found(lake).values()} == {"added", "removed"}


def test_a_name_that_now_is_another_operator_is_another_node(lake: Lake) -> None:
    chain(lake, "m", ["p"], ["Conv"])
    chain(lake, "n", ["p"], ["Gemm"])
    add_ranking(lake, "a", {"p": 0.9})
    add_ranking(lake, "b", {"p": 0.9}, "n")
    statuses = [row["status"] for row in compare_runs(lake, "a", "b").nodes]
    assert sorted(statuses) == ["added", "removed"]


def test_structure_looks_through_calibration_nodes(lake: Lake) -> None:
    for model, names in {"m": ["u", "v"], "n": ["x", "y"]}.items():
        first, second = names
        lake.append(
            NODES,
            [
                node_row(model, first, 0, "Conv", "in", "t"),
                node_row(model, second, 1, "Relu", f"q{model}_out", "out"),
            ],
        )
        row = calibration_row(model, f"q{model}", input="t", consumers=[second])
        lake.append(CALIBRATION_NODES, [row])
        add_ranking(lake, "a" if model == "m" else "b", {first: 0.9}, model)
    rows = [row for run_id in "ab" for row in lake.query("node_signatures", run_id=run_id)]
    signatures = {row["node"]: row["signature"] for row in rows}
    assert signatures["u"] == signatures["x"] == "Conv(input)>Relu"
    assert signatures["v"] == "Relu(Conv)>"
    assert signatures["qm"] == signatures["qn"] == "activation(Conv)>Relu"
    matches = lake.query("node_matches", run_a="a", run_b="b")
    assert {(r["node_a"], r["node_b"], r["matched_by"]) for r in matches} == {
        ("u", "x", "structure"),
        ("v", "y", "structure"),
        ("qm", "qn", "structure"),
    }


@pytest.mark.parametrize(
    ("a", "b", "drop"),
    [(0.9, NAN, math.inf), (NAN, 0.9, -math.inf), (NAN, NAN, 0.0), (0.9, 0.9, 0.0)],
)
def test_what_becomes_nan_drops_by_infinity(lake: Lake, a: float, b: float, drop: float) -> None:
    chain(lake, "m", ["p"], ["Conv"])
    chain(lake, "n", ["p"], ["Conv"])
    add_ranking(lake, "a", {"p": a})
    add_ranking(lake, "b", {"p": b}, "n")
    comparison = compare_runs(lake, "a", "b")
    assert comparison.nodes[0]["drop"] == drop
    assert comparison.summary["max_drop"] == max(drop, 0.0)
    assert comparison.summary["worst_drop"] == drop


@pytest.mark.parametrize("metric", [Metric.SQNR, Metric.MSE])
def test_a_drop_is_positive_where_it_is_worse_by_any_metric(lake: Lake, metric: Metric) -> None:
    chain(lake, "m", ["p"], ["Conv"])
    chain(lake, "n", ["p"], ["Conv"])
    add_ranking(lake, "a", {"p": 0.9})
    add_ranking(lake, "b", {"p": 0.8}, "n")
    (row,) = compare_runs(lake, "a", "b", metric).nodes
    # mse is sum_dd / count, 0.1 and 0.2; sqnr is -10 log10 of sum_dd, as sum_xx is 1.
    assert row["drop"] == pytest.approx(10 * math.log10(2) if metric is Metric.SQNR else 0.1)


def test_the_summary_counts_what_the_nodes_say(lake: Lake) -> None:
    chain(lake, "m", list("pqrs"), ["Conv"] * 4)
    chain(lake, "n", list("pqrt"), ["Conv"] * 3 + ["Add"])
    add_ranking(lake, "a", {"p": 0.9, "q": 0.8, "r": 0.7, "s": 0.6})
    add_ranking(lake, "b", {"p": 0.8, "q": 0.85, "r": 0.7, "t": 0.5}, "n")
    same = {"scales": [0.1, 0.2, 0.6], "thresholds": [1.0, 2.0, 6.0]}
    lake.append(CALIBRATION_NODES, [calibration_row("m", n, **same) for n in ("k", "l", "gone")])
    changed = [
        calibration_row("n", "k", **same),
        calibration_row("n", "l", qtype="int16", bits=16, thresholds=[9.0], scales=[0.5]),
    ]
    lake.append(CALIBRATION_NODES, changed)
    comparison = compare_runs(lake, "a", "b")
    assert comparison.summary == {
        "whole_drop": None,
        "whole_a": None,
        "whole_b": None,
        "max_drop": pytest.approx(0.1),
        "mean_drop": pytest.approx((0.1 - 0.05) / 3),
        "worst_drop": pytest.approx(0.1),
        "worst_a": 0.6,
        "worst_b": 0.5,
        "worse": 1,
        "better": 1,
        "same": 1,
        "added": 1,
        "removed": 1,
        "renamed": 0,
        "changed_thresholds": 1,
        "changed_types": 1,
        "infinite": 0,
    }
    rows = {r["node"]: r for r in comparison.calibration}
    assert rows["gone"]["changed"] == ["removed"] and set(rows) == {"l", "gone"}
    assert rows["l"]["changed"] == ["type", "threshold", "channels", "scales"]
    assert (rows["l"]["bits_a"], rows["l"]["bits_b"]) == (8, 16)
    assert (rows["l"]["threshold_a"], rows["l"]["threshold_b"]) == (6.0, 9.0)
    assert (rows["l"]["imbalance_a"], rows["l"]["imbalance_b"]) == (pytest.approx(3.0), 1.0)
    assert (rows["l"]["ratio"], rows["gone"]["ratio"]) == (1.5, None)
    every = lake.query("compare_calibration", run_a="a", run_b="b", same=True)
    assert [r["node"] for r in every] == ["gone", "l", "k"], "the largest change first"
    assert (every[2]["changed"], every[2]["ratio"]) == ([], 1.0)


def test_a_threshold_is_compared_by_its_size(lake: Lake) -> None:
    for model, run_id, low in (("m", "a", -8.0), ("n", "b", -4.0)):
        add_ranking(lake, run_id, {}, model)
        lake.append(CALIBRATION_NODES, [calibration_row(model, "k", thresholds=[low, 2.0])])
    (row,) = compare_runs(lake, "a", "b").calibration
    assert (row["threshold_a"], row["threshold_b"], row["ratio"]) == (8.0, 4.0, 0.5)


def test_settings_that_differ(lake: Lake) -> None:
    add_ranking(lake, "a", {}, model_path="/a.onnx", data_num=1, runtime="r1")
    add_ranking(lake, "b", {}, model_path="/b.onnx", data_num=1, runtime="r1")
    passed = {
        "parameters": '{"node_type": "node", "qtype": "int16"}',
        "state": "FINISHED",
        "updated_at": datetime.max,
    }
    lake.append(RUNS, [run_row("b", model_path="/b.onnx", data_num=1, runtime="r1", **passed)])
    rows = compare_runs(lake, "a", "b").settings
    assert [(r["setting"], r["a"], r["b"]) for r in rows] == [
        ("model", "/a.onnx", "/b.onnx"),
        ("qtype", None, '"int16"'),
    ]


def test_channel_statistics_of_the_newest_observation_of_each_model(lake: Lake) -> None:
    observed = {"kind": "channelwise-distribution", "state": "FINISHED"}
    for model, run_id, peaks in (("m", "o1", [9, 9]), ("m", "o2", [1, 2, 6]), ("n", "o3", [1, 1])):
        lake.append(CALIBRATION_NODES, [calibration_row(model, "k")])
        lake.append(RUNS, [run_row(run_id, model_id=model, **observed)])
        blank = {c.name: 0 for c in CHANNEL_SUMMARIES.columns}
        rows = [
            {
                **blank,
                "run_id": run_id,
                "node": "k",
                "channel": c,
                "outlier_sample": [],
                "min": -peak,
                "max": 0.5,
                "count": 10,
                "outliers": c,
            }
            for c, peak in enumerate(peaks)
        ]
        lake.append(CHANNEL_SUMMARIES, rows)
    add_ranking(lake, "a", {})
    add_ranking(lake, "b", {}, "n")
    (row,) = compare_runs(lake, "a", "b").channels
    assert row == {
        "node": "k",
        "node_a": "k",
        "channels_a": 3,
        "channels_b": 2,
        "abs_max_a": 6.0,
        "abs_max_b": 1.0,
        "imbalance_a": 3.0,
        "imbalance_b": 1.0,
        "outliers_a": pytest.approx(0.1),
        "outliers_b": pytest.approx(0.05),
    }


def test_a_run_is_found_by_id_prefix_place_and_tag(lake: Lake) -> None:
    for run_id in ("2026a", "2026b", "2027"):
        add_ranking(lake, run_id, {})
    lake.append(RUNS, [run_row("2028", state="FAILED")])
    set_tag(lake, "baseline", "2026a")
    set_tag(lake, "v1.0", "2026b")
    references = {"latest": "2027", "latest~2": "2026a", "2026b": "2026b", "2028": "2028"}
    references |= {"2027": "2027", "202": "", "baseline": "2026a", "v1.0": "2026b"}
    for reference, run_id in references.items():
        if run_id:
            assert find_run(lake, reference)["run_id"] == run_id
    for reference in ("202", "", "nonsense", "latest~3", "latest~"):
        with pytest.raises(UsageError):
            find_run(lake, reference)
    set_tag(lake, "baseline", "2027")
    assert find_run(lake, "baseline")["run_id"] == "2027"
    set_tag(lake, "baseline", None)
    with pytest.raises(UsageError, match="no run is called 'baseline'"):
        find_run(lake, "baseline")


@pytest.mark.parametrize("tag", ["", "latest", "latest~1", "a b", "7", "x;y"])
def test_what_cannot_be_a_tag_is_refused(lake: Lake, tag: str) -> None:
    with pytest.raises(UsageError, match="cannot be a tag"):
        set_tag(lake, tag, "r")


def test_latest_counts_rankings_of_one_sort_and_a_runall_means_its_step(lake: Lake) -> None:
    add_ranking(lake, "1", {})
    weights = '{"node_type": "weight"}'
    row = {"state": "FINISHED", "parameters": weights}
    lake.append(RUNS, [run_row("2", **row), run_row("3", kind="runall", state="FINISHED")])
    add_ranking(lake, "4", {}, parent_run_id="3")
    lake.append(RUNS, [run_row("5", **row, parent_run_id="3"), run_row("6", state="FAILED")])
    assert find_ranking(lake, "latest")["run_id"] == "4"
    assert find_ranking(lake, "latest~1")["run_id"] == "1"
    assert find_ranking(lake, "latest", node_type=NodeType.WEIGHT)["run_id"] == "5"
    assert find_ranking(lake, "3")["run_id"] == "4"
    assert find_ranking(lake, "3", node_type=NodeType.WEIGHT)["run_id"] == "5"
    assert find_ranking(lake, "2")["run_id"] == "2"
    with pytest.raises(UsageError, match="no finished ranking"):
        find_ranking(lake, "6")


def test_runs_are_filtered(lake: Lake) -> None:
    add_ranking(lake, "1", {}, model="m1", model_path="/a/First.onnx", data_path="/data/x")
    failed = {"state": "FAILED", "kind": "runall", "started_at": datetime(2027, 1, 1)}
    lake.append(RUNS, [run_row("2", model_path="/a/other.onnx", **failed)])
    add_ranking(lake, "3", {}, parent_run_id="2")

    def ids(**filters: Any) -> list[str]:
        return [row["run_id"] for row in find_runs(lake, **filters)]

    assert ids() == ["3", "2", "1"]
    assert ids(kind="runall") == ids(state="FAILED") == ids(since=datetime(2026, 6, 1)) == ["2"]
    assert ids(model="first") == ids(model="m1") == ids(data="DATA/X") == ["1"]
    assert ids(steps=False) == ["2", "1"]
    assert ids(most=1) == ["3"]
    assert ids(model="%") == []
