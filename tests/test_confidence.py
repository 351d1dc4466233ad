"""Intervals, ranks and noise: on synthetic values whose truth is known, and on the demo."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import scipy.stats

import hmct_track
import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.analyses.certainty import Measured, told_from_zero
from hmct_track.cli import main
from hmct_track.confidence import BOOTSTRAP, NONE, STUDENT, mean_intervals, means_of, rank_nodes
from hmct_track.errors import UsageError
from hmct_track.lake import Lake
from hmct_track.options.parsing import parse_seconds, show_seconds
from hmct_track.recording.moved import MovedSamples, moved_id
from hmct_track.report.confidence import confidence_note, intervals_table
from hmct_track.types import Metric

MODEL, DATA = str(demo.model_path()), str(demo.calibration_data_path())


def test_a_series_has_the_mean_of_means_over_outputs() -> None:
    """GIVEN two outputs, of one of which some samples are no numbers or infinite
    THEN the value is the mean of the outputs' means, and so is the mean of the series.
    """
    values = np.array([[[1.0, 2.0, math.nan, 6.0], [10.0, math.inf, 30.0, 20.0]]])
    found = means_of(values, Metric.SQNR)
    assert found.values[0] == pytest.approx((3 + 20) / 2)
    assert np.nanmean(found.series[0]) == pytest.approx(found.values[0])


def test_what_is_infinite_on_all_samples_is_so_as_a_mean_and_has_no_interval() -> None:
    values = np.array([[[math.inf, math.inf]], [[math.nan, math.nan]], [[1.0, 3.0]]])
    means = means_of(values, Metric.SQNR)
    assert means.values[0] == math.inf and math.isnan(means.values[1]) and means.values[2] == 2
    found = mean_intervals(means, Metric.SQNR)
    assert found.methods == (NONE, NONE, STUDENT)
    assert np.isnan(found.low[:2]).all()


def test_few_samples_give_the_interval_of_scipy() -> None:
    series = np.random.default_rng(0).normal(5, 2, (3, 6))
    found = mean_intervals(means_of(series[:, None], Metric.MSE), Metric.MSE, 0.9)
    for k, row in enumerate(series):
        expected = scipy.stats.ttest_1samp(row, 0).confidence_interval(0.9)
        assert (found.low[k], found.high[k]) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("samples", "sigma", "least", "method"),
    [(4, 0.3, 0.92, STUDENT), (8, 0.3, 0.92, BOOTSTRAP), (16, 0.6, 0.91, BOOTSTRAP)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    samples: int, sigma: float, least: float, method: str
) -> None:
    """Of log-normal errors, whose mean is known: skewed, as errors are."""
    drawn = np.random.default_rng(1).lognormal(0, sigma, (800, 1, samples))
    found = mean_intervals(means_of(drawn, Metric.MSE), Metric.MSE)
    true = math.exp(sigma**2 / 2)
    assert set(found.methods) == {method}
    assert least <= np.mean((found.low <= true) & (true <= found.high)) <= 0.98


def test_intervals_end_at_the_best_value() -> None:
    cosine = np.array([[[1.0, 0.9, 1.0]]])
    assert mean_intervals(
        means_of(cosine, Metric.COSINE_SIMILARITY), Metric.COSINE_SIMILARITY
    ).high[0] == pytest.approx(1)
    error = np.array([[[0.0, 1.0, 0.0]]])
    assert mean_intervals(means_of(error, Metric.MSE), Metric.MSE).low[0] == 0


@pytest.mark.parametrize("samples", [6, 24])
def test_near_ties_are_groups_and_clear_gaps_are_not(samples: int) -> None:
    """GIVEN nodes of which two and two are of one error, with noise of their own
    THEN these are told to be near ties, the others not, and the chances of the top say the same.
    """
    random = np.random.default_rng(2)
    true = np.array([100.0, 10.0, 10.0, 1.0, 0.1, 0.1])
    common = random.lognormal(0, 0.5, samples)
    values = true[:, None] * common * random.lognormal(0, 0.1, (6, samples))
    found = rank_nodes(means_of(values[:, None], Metric.MSE), Metric.MSE, 2)
    assert found.groups.tolist() == [0, 2, 2, 0, 5, 5]
    assert (found.low[0], found.high[0]) == (1, 1) and found.top[0] > 0.98
    assert 0 < found.top[1] < 1 and found.top[3] < 0.02
    assert {found.low[1], found.low[2]} <= {2} and {found.high[1], found.high[2]} == {3}


def test_ranks_hold_the_true_rank() -> None:
    """Of 200 draws of nodes with close errors, the intervals of ranks hold the true ones."""
    random = np.random.default_rng(3)
    true = np.geomspace(1, 2, 8)[::-1]
    hits = []
    for _ in range(200):
        values = true[:, None] * random.lognormal(0, 0.3, (8, 16))
        found = rank_nodes(means_of(values[:, None], Metric.MSE), Metric.MSE, 3)
        hits.append((found.low <= np.arange(1, 9)) & (np.arange(1, 9) <= found.high))
    assert np.mean(hits) >= 0.9


def test_one_sample_is_tied_by_rounding_alone() -> None:
    means = means_of(np.array([[[1.00]], [[1.01]], [[0.5]]]), Metric.MSE)
    noise = np.array([0.05, 0.05, math.nan])
    assert rank_nodes(means, Metric.MSE, 1, noise).groups.tolist() == [1, 1, 0]
    assert rank_nodes(means, Metric.MSE, 1).groups.tolist() == [0, 0, 0]


def test_moved_samples_are_the_same_each_time_and_hardly_moved() -> None:
    image = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    samples = {"a": {"x": image, "n": np.arange(3)}}
    moved = MovedSamples(samples, [1, 2])
    assert list(moved) == [moved_id("a", 1), moved_id("a", 2)] and len(moved) == 2
    first = moved[moved_id("a", 1)]
    assert first["x"].dtype == np.float32 and np.array_equal(first["n"], np.arange(3))
    assert np.array_equal(first["x"], moved[moved_id("a", 1)]["x"])
    assert not np.array_equal(first["x"], moved[moved_id("a", 2)]["x"])
    assert 0 < np.abs(first["x"] / image - 1).max() < 1e-6


def row(position: int, tie: int | None, told: bool = True, **more: object) -> dict[str, object]:
    return {
        "position": position, "tie_group": tie, "told_from_zero": told, "method": "bootstrap",
        "level": 0.95, "samples": 16, "low": 0.9, "high": 0.92, "rank_low": 1, "rank_high": 3,
        "top_k": 10, "top_k_probability": 0.5, **more,
    }  # fmt: skip


def test_the_note_names_ties_and_what_is_no_more_than_rounding() -> None:
    rows = [{"position": k} for k in range(5)]
    found = {0: row(0, None), 1: row(1, 2), 2: row(2, 2), 3: row(3, 4, False), 4: row(4, 4, False)}
    assert confidence_note(rows, found, 16) == (
        "not told apart: ranks 2 to 3 (95 %, bootstrap of 16 samples)\n"
        "not told apart from zero: 2 nodes"
    )
    assert confidence_note(rows, {}, 16) == ""
    apart = {k: row(k, None) for k in range(5)}
    assert confidence_note(rows, apart, 1) == "one sample: no interval; -d 8 gives one"
    # Interrupted when no node had a second sample.
    early = {k: {**row, "method": NONE, "samples": 1} for k, row in apart.items()}
    assert confidence_note(rows, early, 16) == ""
    assert confidence_note(rows, apart, 16).startswith(
        "each rank is told apart from the next (95 %"
    )
    assert confidence_note(rows[:1], apart, 16) == "", "one node has no next"


def test_the_table_with_intervals_fits_80_columns() -> None:
    rows = [{"position": k, "subject": f"/net/{'block/' * 20}{k}", "mse": 0.91} for k in range(3)]
    found = {k: row(k, None, samples=k + 1) for k in range(3)}
    text = intervals_table(rows, found, Metric.MSE)
    assert max(map(len, text.splitlines())) <= 80
    assert "0.9 .. 0.92" in text and "samples" in text and "/2 " in text


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("1.5min", 90), ("2h", 7200)])
def test_times_are_read_and_shown(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds
    assert parse_seconds(show_seconds(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-3s", "1 day", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="60s"):
        parse_seconds(text)


@pytest.mark.parametrize("option", [["--confidence", "1.5"], ["--top", "0"], ["--budget", "soon"]])
def test_options_out_of_range_are_refused_and_leave_no_run(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["get-sensitivity-of-nodes", MODEL, DATA, "--lake", str(tmp_path / "lake"), *option]
    try:
        code: object = main(command)
    except SystemExit as ended:
        code = ended.code
    assert code == 2 and not (tmp_path / "lake").exists()
    assert len(capsys.readouterr().err.splitlines()) >= 1


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with rankings of the demo on one sample and on twelve."""
    place = tmp_path_factory.mktemp("sure")
    for samples in (1, 12):
        dbg.get_sensitivity_of_nodes(
            MODEL, "sqnr", DATA, data_num=samples, lake=place, track=False, progress=False
        )
    return Lake.open(place)


def test_a_ranking_of_several_samples_records_how_sure_it_is(ranked: Lake) -> None:
    newest, oldest = (run["run_id"] for run in ranked.query("runs"))
    rows = ranked.query("intervals", run_id=newest, metric="sqnr")
    nodes = [r for r in rows if r["role"] == "only"]
    assert len(nodes) == 22 and {r["method"] for r in nodes} == {"bootstrap"}
    for r in rows:
        assert r["low"] is not None and r["low"] <= r["value"] <= r["high"]
    assert {r["samples"] for r in nodes} == {12} and all(r["rank_low"] for r in nodes)
    one = ranked.query("intervals", run_id=oldest, metric="sqnr")
    assert {r["method"] for r in one} == {"none"} and {r["low"] for r in one} == {None}


def test_rounding_is_measured_on_the_worst_and_in_no_mean(ranked: Lake) -> None:
    """The moved copies are kept by themselves: the measurements have the run's samples only."""
    oldest = ranked.query("runs")[-1]["run_id"]
    rows = ranked.query("intervals", run_id=oldest, metric="sqnr")
    noisy = {r["subject"] for r in rows if r["noise"] is not None}
    ranking = ranked.query("sensitivity", run_id=oldest, metric="sqnr")
    assert noisy == {*(r["subject"] for r in ranking[:3]), "calibrated_model"}
    assert {r["copy"] for r in ranked.query("moved_values", run_id=oldest)} == {1, 2}
    ids = ranked.sql("SELECT DISTINCT sample_id FROM measurements").rows
    assert len(ids) == 12


def test_an_error_below_the_floor_or_its_own_noise_is_not_told_from_zero() -> None:
    rows = [(k, f"node {k}", "only") for k in range(4)]
    sqnr = np.array([140.0, math.inf, 60.0, 60.0]).reshape(4, 1, 1)
    mse = np.array([1e-14, 0.0, 1e-6, 1e-6]).reshape(4, 1, 1)
    measured = Measured(rows, {Metric.SQNR: sqnr, Metric.MSE: mse}, np.ones((4, 1), bool))
    told = told_from_zero(measured, {(3, Metric.MSE): 1e-6}, floor=1e-6)
    assert told == {0: False, 1: False, 2: True, 3: False}


def test_a_ranking_of_one_sample_says_that_it_has_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["get-sensitivity-of-nodes", MODEL, DATA, "--lake", str(tmp_path), "--no-track"]
    assert main(command) == 0
    assert capsys.readouterr().out.endswith("\none sample: no interval; -d 8 gives one\n")


def test_a_comparison_says_whether_a_change_is_more_than_noise(
    ranked: Lake, tmp_path: Path
) -> None:
    runs = [run["run_id"] for run in ranked.query("runs")]
    same = hmct_track.compare(runs[0], runs[0], lake=ranked.path)
    assert same.comparison.sure["whole_drop_low"] == same.comparison.sure["whole_drop_high"] == 0
    assert same.comparison.sure["surely_worse"] == 0
    other = hmct_track.compare(runs[0], runs[1], lake=ranked.path)
    assert set(other.comparison.sure.values()) == {None}


def test_a_gate_can_ask_for_more_than_noise(tmp_path: Path, ranked: Lake) -> None:
    """GIVEN a model that clips one node more, ranked on the same samples
    THEN its drop is told from noise, and the gate that asks for that fails; a gate on a run of one
    sample cannot decide.
    """
    place = shutil.copytree(ranked.path, tmp_path / "lake")
    model = onnx.load(MODEL)
    for node in model.graph.node:
        if node.name == "303_HzCalibration":
            for attribute in node.attribute:
                if attribute.name in ("scales", "thresholds"):
                    attribute.floats[:] = [value / 8 for value in attribute.floats]
    onnx.save(model, tmp_path / "clipped.onnx")
    before = ranked.query("runs")[0]["run_id"]
    dbg.get_sensitivity_of_nodes(
        tmp_path / "clipped.onnx", "sqnr", DATA, data_num=12, lake=place, track=False
    )
    conditions = ["whole_drop_low > 0", "surely_worse > 0"]
    found = hmct_track.compare(before, "latest", lake=place, fail_if=conditions)
    assert list(found.failed) == conditions
    assert found.comparison.sure["whole_drop_low"] < found.summary["whole_drop"]
    assert found.comparison.sure["whole_drop_high"] > found.summary["whole_drop"]
    assert "95 %" in found.table and "surely worse" in found.table
