"""The shipped queries, each on rows written by hand with the answer worked out by hand."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import rebuild
from hmct_track.engine import pair_statistics
from hmct_track.errors import QueryError
from hmct_track.lake import (
    CALIBRATION_NODES,
    MEASUREMENTS,
    NODES,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    Lake,
)
from hmct_track.lake.queries import parse_query
from hmct_track.types import Metric, PairStatistics
from tests.support.rows import measurement_row, run_row

NAN = math.nan


def stats(**values: float) -> dict[str, Any]:
    """Statistics of the pair x = (3, 4), y = x unless given otherwise."""
    base = {"count": 2, "sum_xx": 25.0, "sum_yy": 25.0, "sum_xy": 25.0, "sum_dd": 0.0}
    base |= {"sum_abs_d": 0.0, "sum_abs_x": 7.0, "max_abs_d": 0.0, "nonfinite_x": 0}
    return base | {"nonfinite_y": 0} | values


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path)


def add_run(lake: Lake, cosines: dict[str, dict[tuple[int, str], float]], **run: Any) -> None:
    """A run ``r`` whose subjects have these cosine similarities by sample and output."""
    lake.append(RUNS, [run_row("r", **run)])
    samples = sorted({k for values in cosines.values() for k, _ in values})
    lake.append(
        SAMPLES,
        [{"data_id": "d", "position": k, "sample_id": f"s{k}", "source": ""} for k in samples],
    )
    for position, (subject, values) in enumerate(cosines.items()):
        row = {"run_id": "r", "position": position, "config_id": f"c{subject}"}
        lake.append(RUN_CONFIGS, [{**row, "subject": subject, "role": "only"}])
        for (k, output), cosine in values.items():
            sums = stats(sum_xy=25 * cosine, sum_dd=1 - cosine)
            place = {"sample_id": f"s{k}", "output": output}
            lake.append(MEASUREMENTS, [measurement_row(f"c{subject}", **place, **sums)])


def ranking(lake: Lake, metric: str = "cosine-similarity") -> list[tuple[str, float | None]]:
    rows = lake.query("sensitivity", run_id="r", metric=metric)
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    return [(row["subject"], row[Metric(metric).column]) for row in rows]


def test_means_are_over_samples_per_output_and_then_over_outputs(lake: Lake) -> None:
    values = {(0, "y"): 0.5, (1, "y"): 0.7, (0, "z"): 1.0}
    add_run(lake, {"a": values}, outputs=["y", "z"])
    assert ranking(lake) == [("a", pytest.approx((0.6 + 1.0) / 2))]


def test_nan_is_left_out_of_the_mean_and_a_node_without_a_value_ranks_first(lake: Lake) -> None:
    add_run(
        lake,
        {
            "half": {(0, "y"): NAN, (1, "y"): 0.5},
            "none": {(0, "y"): NAN, (1, "y"): NAN},
            "bad": {(0, "y"): 0.1, (1, "y"): 0.1},
        },
    )
    assert ranking(lake) == [("none", None), ("bad", pytest.approx(0.1)), ("half", 0.5)]


def test_equal_values_keep_topological_order(lake: Lake) -> None:
    add_run(lake, {name: {(0, "y"): 0.9} for name in "zebra"})
    assert [subject for subject, _ in ranking(lake)] == list("zebra")


@pytest.mark.parametrize("metric", list(Metric))
def test_the_first_is_the_worst_by_every_metric(lake: Lake, metric: Metric) -> None:
    add_run(lake, {"good": {}, "worst": {}, "fair": {}})
    lake.append(SAMPLES, [{"data_id": "d", "position": 0, "sample_id": "s", "source": ""}])
    for name, error in {"good": 0.1, "worst": 2.0, "fair": 1.0}.items():
        sums = stats(sum_xy=25 - error, sum_dd=error**2, sum_abs_d=error, max_abs_d=error)
        lake.append(MEASUREMENTS, [measurement_row(f"c{name}", **sums)])
    assert [subject for subject, _ in ranking(lake, metric)] == ["worst", "fair", "good"]


def test_only_the_runs_own_outputs_samples_and_numeric_version_count(lake: Lake) -> None:
    add_run(lake, {"a": {(0, "y"): 0.5}})
    for stray in (
        {"output": "z", "sample_id": "s0"},
        {"sample_id": "other"},
        {"numeric_version": 2, "sample_id": "s0"},
        {"runtime": "other", "sample_id": "s0"},
        {"model_id": "other", "sample_id": "s0"},
    ):
        lake.append(MEASUREMENTS, [measurement_row("ca", **stray, **stats(sum_xy=0.0))])
    assert ranking(lake) == [("a", 0.5)]


def test_answers_follow_the_rows_that_come(lake: Lake) -> None:
    add_run(lake, {"a": {(0, "y"): 0.9}, "b": {(0, "y"): 0.8}})

    def values(run: str) -> list[tuple[str, float]]:
        rows = lake.query("sensitivity", run_id=run)
        return [(row["subject"], round(row["value"] or 0.0, 6)) for row in rows]

    assert values("r") == [("b", 0.8), ("a", 0.9)]
    assert values("another") == []
    lake.append(SAMPLES, [{"data_id": "d", "position": 1, "sample_id": "s1", "source": ""}])
    sums = stats(sum_xy=25 * 0.5, sum_dd=0.5)
    lake.append(MEASUREMENTS, [measurement_row("ca", sample_id="s1", output="y", **sums)])
    assert values("r") == [("a", 0.7), ("b", 0.8)]
    assert values("another") == []
    assert values("r") == [("a", 0.7), ("b", 0.8)]


def test_a_large_part_changes_no_answer(lake: Lake) -> None:
    add_run(lake, {"a": {(0, "y"): 0.9}, "b": {(0, "y"): 0.8}})
    before = lake.query("sensitivity", run_id="r"), lake.query("whole_model", run_id="r")
    names = ("sum_xx", "sum_yy", "sum_xy", "sum_dd", "sum_abs_d", "sum_abs_x", "max_abs_d")
    random = np.random.default_rng(0).random((80_000, len(names)))
    others = [
        measurement_row(f"other{k}", **stats(**dict(zip(names, map(float, row), strict=True))))
        for k, row in enumerate(random)
    ]
    lake.append(MEASUREMENTS, others)
    parts = (lake.path / "tables" / "measurements").glob("*.parquet")
    assert sum(part.stat().st_size for part in parts) > 2**22  # so that rows are not held
    assert before == (lake.query("sensitivity", run_id="r"), lake.query("whole_model", run_id="r"))


def test_what_is_known_of_the_subject(lake: Lake) -> None:
    add_run(lake, {"Conv_1": {(0, "y"): 0.9}, "7_HzCalibration": {(0, "y"): 0.95}})
    node = {"model_id": "m", "node": "Conv_1", "node_index": 0, "op_type": "Conv"}
    lake.append(NODES, [{**node, "inputs": [], "outputs": [], "calibration_nodes": []}])
    lake.append(
        CALIBRATION_NODES,
        [
            {
                "model_id": "m",
                "node": "7_HzCalibration",
                "node_index": 0,
                "kind": "weight",
                "input": "w",
                "output": "wq",
                "consumers": ["Conv_1", "Add_2"],
                "qtype": "int8",
                "bits": 8,
                "axis": 0,
                "scales": [0.1, 0.2],
                "zero_points": [0, 0],
                "thresholds": [12.7, 25.4],
                "enabled": True,
            }
        ],
    )
    first, second = lake.query("sensitivity", run_id="r", metric="cosine-similarity")
    assert (first["op_type"], first["consumers"], first["bits"]) == ("Conv", None, None)
    assert (second["op_type"], second["consumers"]) == ("HzCalibration", ["Conv_1", "Add_2"])
    assert (second["threshold"], second["bits"], second["elements"]) == (25.4, 8, 2)


def test_metrics_equal_numpy(lake: Lake) -> None:
    rng = np.random.default_rng(0)
    pairs = {f"c{k}": rng.standard_normal((2, 3, 50)).astype(np.float32) for k in range(5)}
    for config_id, (x, y) in pairs.items():
        sums = vars(pair_statistics(x, x + y * np.float32(0.01)))
        lake.append(MEASUREMENTS, [measurement_row(config_id, **sums)])
    rows = {row["config_id"]: row for row in lake.query("metrics")}
    for config_id, (x, y) in pairs.items():
        for name, value in rebuild.metrics(x, x + y * np.float32(0.01)).items():
            assert rows[config_id][Metric(name).column] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    ("x", "y", "cosine", "mre", "sqnr"),
    [
        ([3, 4], [3, 4], 1.0, 0.0, math.inf),
        ([0, 0], [0, 0], 1.0, 0.0, math.inf),
        ([0, 0], [1, 0], 0.0, math.inf, -math.inf),
        ([3, 4], [0, 0], 0.0, 1.0, 0.0),
        ([3, 4], [-3, -4], -1.0, 2.0, 20 * math.log10(0.5)),
        ([3, 4], [NAN, 4], NAN, NAN, NAN),
        ([3, 4], [math.inf, 4], NAN, math.inf, -math.inf),
    ],
)
def test_metrics_at_the_edges(
    lake: Lake, x: list[float], y: list[float], cosine: float, mre: float, sqnr: float
) -> None:
    sums = vars(pair_statistics(np.array(x, np.float32), np.array(y, np.float32)))
    lake.append(MEASUREMENTS, [measurement_row("a", **sums)])
    (row,) = lake.query("metrics")
    got = (row["cosine_similarity"], row["mre"], row["sqnr"])
    assert got == pytest.approx((cosine, mre, sqnr), nan_ok=True)


def test_results_repeat_a_shared_measurement_for_each_run(lake: Lake) -> None:
    add_run(lake, {"a": {(0, "y"): 0.5}})
    lake.append(RUNS, [run_row("r2")])
    row = {"run_id": "r2", "position": 0, "config_id": "ca", "subject": "b", "role": "only"}
    lake.append(RUN_CONFIGS, [row])
    rows = lake.query("results")
    found = sorted((r["run_id"], r["subject"], r["sample"], r["cosine_similarity"]) for r in rows)
    assert found == [("r", "a", 0, 0.5), ("r2", "b", 0, 0.5)]


def test_metric_values_have_a_row_per_metric_and_no_nan(lake: Lake) -> None:
    add_run(lake, {"a": {(0, "y"): NAN}})
    rows = lake.query("metric_values")
    found = {row["metric"]: row["value"] for row in rows}
    assert set(found) == set(Metric)
    assert found["cosine-similarity"] is None
    assert found["chebyshev"] == 0.0


def test_a_sample_of_a_configuration_is_known_when_every_output_is_measured(lake: Lake) -> None:
    full = {(k, output): 0.5 for k in (0, 1) for output in "yz"}
    lacking = {key: value for key, value in full.items() if key != (1, "z")}
    add_run(lake, {"full": full, "lacking": lacking}, outputs=["y", "z"], data_num=2)
    rows = lake.query("known_measurements", run_id="r")
    assert {(row["config_id"], row["sample_id"]) for row in rows} == {
        ("cfull", "s0"),
        ("cfull", "s1"),
        ("clacking", "s0"),
    }


@pytest.mark.parametrize(
    ("average_mode", "expected"),
    [(False, [1.0, 0.9, 0.9, 0.8]), (True, [1.0, 0.95, 0.9333, 0.9])],
)
def test_accumulated_error_and_the_documented_running_mean(
    lake: Lake, average_mode: bool, expected: list[float]
) -> None:
    values = dict(zip("abcd", [1.0, 0.9, 0.9, 0.8], strict=True))
    add_run(lake, {"curve": {(0, t): v for t, v in values.items()}}, outputs=list("abcd"))
    row = {"model_id": "m", "op_type": "Conv", "inputs": [], "calibration_nodes": []}
    nodes = [
        {**row, "node": f"Conv_{t}", "node_index": 10 * k, "outputs": [t]}
        for k, t in enumerate("abcd")
    ]
    lake.append(NODES, nodes)
    rows = lake.query(
        "error_accumulation",
        run_id="r",
        metric="cosine-similarity",
        average_mode=average_mode,
    )
    assert [row["node"] for row in rows] == ["Conv_a", "Conv_b", "Conv_c", "Conv_d"]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert [row["value"] for row in rows] == pytest.approx(expected, abs=1e-4)


def test_partial_quantization_has_a_step_per_node_after_none(lake: Lake) -> None:
    add_run(lake, {"a": {(0, "y"): 0.5}, "b": {(0, "y"): 0.7}})
    for position, (node, cosine) in enumerate({"none": 0.4, "a": 0.6, "b": 0.9}.items(), start=2):
        row = {"run_id": "r", "position": position, "config_id": f"p{node}"}
        lake.append(RUN_CONFIGS, [{**row, "subject": node, "role": "partial"}])
        sums = stats(sum_xy=25 * cosine, sum_dd=1.0)
        lake.append(MEASUREMENTS, [measurement_row(f"p{node}", sample_id="s0", **sums)])
    rows = lake.query("partial_quantization", run_id="r", metric="cosine-similarity")
    found = [(row["step"], row["node"], row["single"], row["partial"]) for row in rows]
    assert found == [(0, "none", None, 0.4), (1, "a", 0.5, 0.6), (2, "b", 0.7, 0.9)]


def test_runs_are_listed_newest_first(lake: Lake) -> None:
    add_run(lake, {"a": {(0, "y"): 0.5}}, model_path="/m.onnx", data_num=1)
    ended = {"state": "FINISHED", "ended_at": datetime(2026, 1, 1, 0, 1)}
    lake.append(RUNS, [run_row("s", **ended)])
    rows = lake.query("runs")
    assert [(r["run_id"], r["state"], r["seconds"], r["configs"]) for r in rows] == [
        ("s", "FINISHED", 60.0, 0),
        ("r", "RUNNING", None, 1),
    ]
    assert (rows[1]["model"], rows[1]["model_path"]) == ("m", "/m.onnx")


def test_wrong_parameters_are_refused(lake: Lake) -> None:
    with pytest.raises(QueryError, match="takes run_id and may take metric; given were run"):
        lake.query("sensitivity", run="r")
    add_run(lake, {"a": {(0, "y"): 0.5}})
    with pytest.raises(QueryError, match="no metric of this name: psnr"):
        lake.query("sensitivity", run_id="r", metric="psnr")
    with pytest.raises(QueryError, match="no shipped query is named 'sensitivty'"):
        lake.query("sensitivty")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1", "no header"),
        ("-- x\n-- :column a BIGINT a\nSELECT $b AS a", "differ in b"),
        ("-- x\n-- :param b BIGINT b\n-- :column a BIGINT a\nSELECT 1 AS a", "differ in b"),
        ("-- x\nSELECT 1", "no columns"),
    ],
)
def test_a_query_with_a_wrong_header_is_refused(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse_query("x", text)


def test_statistics_and_measurement_columns_agree() -> None:
    fields = set(PairStatistics.__dataclass_fields__)
    assert fields <= {column.name for column in MEASUREMENTS.columns}
