"""Metrics as data, in Python and in SQL, and means that infinite values do not hide anything in."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmct_track import debug
from hmct_track.engine import pair_statistics
from hmct_track.errors import QueryError
from hmct_track.lake import (
    DEVICE_TENSORS,
    LOCAL_ERRORS,
    MEASUREMENTS,
    NODES,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    Lake,
    compare_runs,
    load_query,
    query_names,
)
from hmct_track.metrics import METRICS, Metric, value_of
from tests.support.rows import measurement_row, run_row

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TWO_HEADS = ROOT / "tests" / "data" / "two_heads.onnx"
INF, NAN = math.inf, math.nan


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path)


def add(
    lake: Lake, values: dict[str, dict[tuple[int, str], float]], run_id: str = "r", **run: Any
) -> None:
    """A run whose subjects have these SQNR in dB by sample and output; -inf is of a zero output."""
    outputs = sorted({output for places in values.values() for _, output in places})
    samples = sorted({k for places in values.values() for k, _ in places})
    lake.append(RUNS, [run_row(run_id, state="FINISHED", **{"outputs": outputs} | run)])
    rows = [{"data_id": "d", "position": k, "sample_id": f"s{k}", "source": ""} for k in samples]
    lake.append(SAMPLES, rows)
    role = {"sensitive-samples": "reference", "error-accumulation": "curve"}.get(
        run.get("kind", "")
    )
    for position, (subject, places) in enumerate(values.items()):
        config = f"{run_id}{subject}"
        row = {"run_id": run_id, "position": position, "config_id": config, "subject": subject}
        lake.append(RUN_CONFIGS, [{**row, "role": role or "only"}])
        for (k, output), decibels in places.items():
            x = 0.0 if decibels == -INF else 1.0
            noise = 1.0 if decibels == -INF else 10 ** (-decibels / 10)
            sums = {"sum_xx": x, "sum_abs_x": x, "sum_dd": noise, "sum_abs_d": math.sqrt(noise)}
            place = {"sample_id": f"s{k}", "output": output}
            lake.append(MEASUREMENTS, [measurement_row(config, **place, **sums)])


def test_the_macro_of_badness_is_that_of_the_registry(lake: Lake) -> None:
    values = [-INF, -1.0, 0.0, 0.5, 1.0, 40.0, INF]
    rows = ", ".join(
        f"('{metric}', '{value}'::DOUBLE)" for metric, value in itertools.product(Metric, values)
    )
    select = f"SELECT m, v, badness(m, v) FROM (VALUES {rows}) AS t(m, v)"  # noqa: S608
    found = lake.sql(select).rows
    assert len(found) == len(Metric) * len(values)
    for name, value, badness in found:
        assert badness == Metric(name).badness(value)
    assert lake.sql("SELECT badness('sqnr', NULL)").rows == [(None,)]
    assert Metric.SQNR.badness(None) == Metric.SQNR.badness(NAN) == INF


@pytest.mark.parametrize("metric", list(Metric))
def test_the_registry_fits_the_formulas(lake: Lake, metric: Metric) -> None:
    x = np.array([3.0, -4.0, 5.0])
    expected: dict[str, float] = {}
    for config, noise in {"equal": 0.0, "near": 0.1, "far": 1.0}.items():
        d = noise * np.array([1.0, -2.0, 0.5])
        y = x - d
        sums = {"count": 3, "sum_xx": x @ x, "sum_yy": y @ y, "sum_xy": x @ y, "sum_dd": d @ d}
        sums |= {"sum_abs_d": abs(d).sum(), "sum_abs_x": abs(x).sum(), "max_abs_d": abs(d).max()}
        lake.append(MEASUREMENTS, [measurement_row(config, **sums)])
        norms = np.linalg.norm(x), np.linalg.norm(y), np.linalg.norm(d)
        expected[config] = {
            Metric.COSINE_SIMILARITY: x @ y / (norms[0] * norms[1]),
            Metric.MSE: np.mean(d**2),
            Metric.MRE: abs(d).sum() / abs(x).sum(),
            Metric.SQNR: 20 * np.log10(norms[0] / norms[2]) if noise else INF,
            Metric.CHEBYSHEV: abs(d).max(),
        }[metric]
        amplitude = norms[2] / norms[0]
        far = amplitude if metric is Metric.SQNR else abs(expected[config] - metric.optimum)
        assert metric.error(expected[config]) == pytest.approx(far, abs=1e-15)
    found = {row["config_id"]: row[metric.column] for row in lake.query("metrics")}
    assert found == pytest.approx(expected)
    assert found["equal"] == metric.optimum and metric.error(metric.optimum) == 0
    errors = [metric.error(found[config]) for config in ("equal", "near", "far")]
    assert errors == sorted(errors) and len(set(errors)) == 3
    badness = [metric.badness(found[config]) for config in ("equal", "near", "far")]
    assert badness == sorted(badness)


@pytest.mark.parametrize("scale", [1e-5, 1e-7, 1e-9])
def test_the_cosine_of_tiny_outputs_has_the_documented_floor(lake: Lake, scale: float) -> None:
    x, y = scale * np.array([0.6, 0.8]), scale * np.array([0.8, 0.6])
    d = x - y
    sums = {"count": 2, "sum_xx": x @ x, "sum_yy": y @ y, "sum_xy": x @ y, "sum_dd": d @ d}
    lake.append(MEASUREMENTS, [measurement_row("tiny", **sums)])
    (row,) = lake.query("metrics")
    expected = x @ y / (max(np.linalg.norm(x), 1e-8) * max(np.linalg.norm(y), 1e-8))
    assert row["cosine_similarity"] == pytest.approx(expected, abs=0)


def test_values_that_are_not_finite_are_counted_in_both_outputs(lake: Lake) -> None:
    lake.append(MEASUREMENTS, [measurement_row("bad", nonfinite_x=1, nonfinite_y=2)])
    assert lake.sql("SELECT nonfinite FROM metrics").rows == [(3,)]


def test_nothing_drops_between_two_that_are_exact(lake: Lake) -> None:
    drops = "SELECT drop_of('sqnr', {0}, {0}), drop_of('mse', 2.0, 2.0), drop_of('mse', NULL, NULL)"
    assert lake.sql(drops.format("'Infinity'::DOUBLE")).rows == [(0.0, 0.0, 0.0)]


def test_formulas_are_told_alike() -> None:
    assert set(METRICS) == set(Metric)
    told = {column.name: column.meaning for column in load_query("metric_rows").columns}
    assert {m.column: m.formula for m in Metric} == {m.column: told[m.column] for m in Metric}


def test_the_readme_has_the_optimum_of_every_metric() -> None:
    table = dict(re.findall(r"^\| `([a-z-]+)` \| .* \| ([0-9a-z]+) \|$", README, re.MULTILINE))
    assert {metric: float(table[metric]) for metric in Metric} == {m: m.optimum for m in Metric}


def test_a_metric_is_read_from_a_wide_row() -> None:
    row = {metric.column: place for place, metric in enumerate(Metric)} | {"mse": None}
    assert [value_of(row, metric) for metric in Metric] == [0, None, 2, 3, 4]


def test_a_direction_is_spelt_out_in_the_registry_alone() -> None:
    """Names of several metrics beside a comparison are how directions were spelt out."""
    spelt = re.compile(r"'sqnr'\s*\)|WHEN '[a-z-]+' THEN|Metric\.SQNR\)|min if .*higher_is_better")
    texts = {name: load_query(name).sql for name in query_names()}
    places = [*(ROOT / "tui").glob("*.py"), *(ROOT / "hmct_track" / "report").glob("*.py")]
    texts |= {path.name: path.read_text() for path in places}
    # `any_value(value) FILTER (metric = 'sqnr')` makes a column and says nothing of its direction.
    wide = re.compile(r"FILTER \((v\.)?metric = '[a-z-]+'\)")
    assert {name for name, text in texts.items() if spelt.search(wide.sub("", text))} == set()


@pytest.mark.parametrize("name", [n for n in query_names() if "metric" in
                                  {p.name for p in load_query(n).optional}])  # fmt: skip
def test_an_unknown_metric_is_refused_by_every_query_that_takes_one(lake: Lake, name: str) -> None:
    add(lake, {"p": {(0, "y"): 20.0}})
    add(lake, {"p": {(0, "y"): 20.0}}, "s", kind="sensitive-samples")
    row = {"model_id": "m", "node": "p", "node_index": 0, "op_type": "Conv", "outputs": ["y"]}
    lake.append(NODES, [{**row, "inputs": [], "calibration_nodes": []}])
    error = {"run_id": "r", "position": 0, "node": "p", "sample_id": "s0", "error": "own"}
    lake.append(LOCAL_ERRORS, [error | asdict(pair_statistics(np.ones(3), np.ones(3)))])
    tensor = {"run_id": "r", "device": "board", "tensor": "y", "pair": "total", "hidden": 0}
    tensor |= {"sample_id": "s0", "position": 1, "node": "p", "is_output": True, "step": None}
    tensor |= {"nonfinite_x": 0, "nonfinite_y": 0}
    lake.append(DEVICE_TENSORS, [tensor | asdict(pair_statistics(np.ones(3), np.ones(3)))])
    run = "s" if name == "sensitive_samples" else "r"
    given = {"run_id": run, "run_a": "r", "run_b": "r", "node": "p", "tolerance": 0.0}
    given |= {"average_mode": False, "metric": "psnr", "after": 0}
    query = load_query(name)
    params = {p.name: given[p.name] for p in query.params + query.optional if p.name in given}
    with pytest.raises(QueryError, match="no metric of this name: psnr"):
        lake.run_query(load_query(name), params)


HEADS = {
    "one": {(0, "a"): 10.0, (1, "a"): 14.0, (0, "b"): INF, (1, "b"): INF},
    "sometimes": {(0, "a"): 20.0, (1, "a"): INF, (0, "b"): 30.0, (1, "b"): 30.0},
    "none": {(0, "a"): INF, (1, "a"): INF, (0, "b"): INF, (1, "b"): INF},
    "zero": {(0, "a"): 40.0, (1, "a"): -INF, (0, "b"): 40.0, (1, "b"): 40.0},
    "worst": {(0, "a"): INF, (1, "a"): -INF, (0, "b"): INF, (1, "b"): INF},
}
"""SQNR of five nodes on two samples at two outputs."""
MEANS = {
    # node: mean, infinite values left out, values of all-zero outputs
    "one": (12.0, 2, 0),
    "sometimes": (25.0, 1, 0),
    "none": (INF, 0, 0),
    "zero": (40.0, 1, 1),
    "worst": (-INF, 0, 1),
}
"""Worked out by hand; where all values are infinite, the worst of them."""


def test_a_mean_leaves_infinite_values_out_and_tells_how_many(lake: Lake) -> None:
    add(lake, HEADS)
    names = ("value", "infinite", "all_zero")

    def told(query: str, by: str, **params: Any) -> dict[str, tuple[Any, ...]]:
        rows = lake.query(query, **params)
        rows = [row for row in rows if row.get("metric", "sqnr") == "sqnr"]
        return {row[by]: tuple(row[name] for name in names) for row in rows}

    assert told("subject_values", "subject") == MEANS
    assert told("ranked", "node") == MEANS
    assert told("worst_nodes", "node", metric="sqnr") == MEANS
    assert told("sensitivity", "subject", run_id="r", metric="sqnr") == MEANS
    ranking = lake.query("sensitivity", run_id="r", metric="sqnr")
    assert [row["subject"] for row in ranking] == ["worst", "one", "sometimes", "zero", "none"]
    assert {row["subject"]: row["sqnr"] for row in ranking} == {n: m[0] for n, m in MEANS.items()}
    for node, (mean, infinite, zero) in MEANS.items():
        (row,) = lake.query("node_history", node=node, metric="sqnr")
        assert (row["value"], row["infinite"], row["all_zero"]) == (mean, infinite, zero)
        (row,) = lake.query("node_history_of_model", run_id="r", node=node)
        # The mre beside an all-zero output is infinite as well, and left out of its own mean.
        assert (row["sqnr"], row["all_zero"]) == (mean, zero)
        assert row["infinite"] == max(infinite, zero)


def test_samples_are_ranked_by_their_outputs_that_differ(lake: Lake) -> None:
    places = {(0, "a"): INF, (0, "b"): 10.0, (1, "a"): 30.0, (1, "b"): 30.0, (2, "a"): INF}
    add(lake, {"all": places | {(2, "b"): INF}}, kind="sensitive-samples")
    rows = lake.query("sensitive_samples", run_id="r", metric="sqnr")
    found = [(row["sample"], row["value"], row["infinite"]) for row in rows]
    assert found == [(0, 10.0, 1), (1, 30.0, 0), (2, INF, 0)]


@pytest.mark.parametrize(
    ("average_mode", "values", "infinite"),
    [(False, [INF, 20.0, INF, 10.0], [0, 1, 0, 0]), (True, [INF, 20.0, 20.0, 15.0], [0, 3, 5, 5])],
)
def test_curves_leave_infinite_points_out_of_their_running_mean(
    lake: Lake, average_mode: bool, values: list[float], infinite: list[int]
) -> None:
    points = {"a": [INF, INF], "b": [INF, 20.0], "c": [INF, INF], "d": [10.0, 10.0]}
    places = {(k, t): v for t, pair in points.items() for k, v in enumerate(pair)}
    add(lake, {"curve": places}, kind="error-accumulation")
    row = {"model_id": "m", "op_type": "Conv", "inputs": [], "calibration_nodes": []}
    nodes = [{**row, "node": t, "node_index": k, "outputs": [t]} for k, t in enumerate(points)]
    lake.append(NODES, nodes)
    rows = lake.query("error_accumulation", run_id="r", metric="sqnr", average_mode=average_mode)
    assert [row["value"] for row in rows] == pytest.approx(values)
    assert [row["infinite"] for row in rows] == infinite


def test_a_step_of_partial_quantization_is_not_hidden_by_an_exact_output(lake: Lake) -> None:
    add(lake, {"one": HEADS["one"]})
    row = {"run_id": "r", "position": 5, "config_id": "rone", "subject": "one", "role": "partial"}
    lake.append(RUN_CONFIGS, [row])
    (row,) = lake.query("partial_quantization", run_id="r", metric="sqnr")
    assert (row["single"], row["partial"], row["infinite"]) == (12.0, 12.0, 2)


def test_operators_and_comparisons_tell_what_is_infinite(lake: Lake) -> None:
    node = {"model_id": "m", "op_type": "Conv", "inputs": [], "calibration_nodes": []}
    rows = [{**node, "node": n, "node_index": k, "outputs": []} for k, n in enumerate(HEADS)]
    lake.append(NODES, rows)
    parameters = {"parameters": '{"node_type": "node"}'}
    add(lake, HEADS, "a", **parameters)
    (row,) = lake.query("op_types", metric="sqnr")
    assert (row["median"], row["worst"], row["infinite"]) == (25.0, -INF, 2)
    # One became infinitely better, which does not hide that the others became 6 dB worse.
    after = {"one": HEADS["none"], "sometimes": {(0, "a"): 19.0}, "zero": {(0, "a"): 34.0}}
    add(lake, after, "b", outputs=["a", "b"], **parameters)
    comparison = compare_runs(lake, "a", "b", Metric.SQNR)
    assert {row["node"]: row["drop"] for row in comparison.nodes if row["drop"] is not None} == {
        "one": -INF,
        "sometimes": pytest.approx(6.0),
        "zero": pytest.approx(6.0),
    }
    assert comparison.summary["mean_drop"] == pytest.approx(6.0)
    assert comparison.summary["infinite"] == 1
    (one,) = [row for row in comparison.nodes if row["node"] == "one"]
    assert (one["infinite_a"], one["infinite_b"]) == (2, 0)


def test_a_node_that_wrecks_one_of_two_heads_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = {"x": [rng.normal(0, 2, (1, 3, 8, 8)).astype(np.float32) for _ in range(3)]}
    options: dict[str, Any] = {"lake": tmp_path / "lake", "track": False, "data_num": None}
    ranked = debug.get_sensitivity_of_nodes(TWO_HEADS, ["sqnr", "mse"], data, **options)
    assert all(0 < values["sqnr"] < 60 for values in ranked.values()), ranked
    lake = Lake.open(tmp_path / "lake")
    (run,) = lake.query("runs")
    rows = lake.query("sensitivity", run_id=run["run_id"], metric="sqnr")
    assert [row["infinite"] for row in rows] == [3] * len(rows), "three samples of the other head"
    result = debug.sensitivity_analysis(
        TWO_HEADS, data, pick_threshold=40.0, metric="sqnr", **options
    )
    assert [row["node"] for row in result.rows][1:], "nothing was picked"
