"""Shares of the whole model's error, and pairs: on planted errors, a plain model, and the demo."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import scipy.stats
from matplotlib.figure import Figure
from onnx import helper

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.analyses import Interactions
from hmct_track.analyses import shares as module
from hmct_track.analyses.runner import run_analysis
from hmct_track.analyses.share_note import share_note
from hmct_track.cli import main
from hmct_track.confidence import shares
from hmct_track.lake import Lake
from hmct_track.recording import Recording
from hmct_track.recording.moved import MovedSamples
from hmct_track.report.interactions import interactions_figure, interactions_text
from hmct_track.report.labels import distinct_labels
from hmct_track.report.shares import shares_text, sum_line
from tests.support.graphs import calibration, model

MODEL, DATA = str(demo.model_path()), str(demo.calibration_data_path())


def test_a_share_is_a_ratio_with_the_interval_of_its_linear_part() -> None:
    """GIVEN two outputs of different size, four samples and two copies
    THEN shares are means over outputs of ratios of means, and intervals those of scipy.
    """
    random = np.random.default_rng(0)
    whole = random.lognormal(0, 0.4, (2, 4, 2)) * np.array([1.0, 1000.0])[:, None, None]
    parts = (
        np.array([0.3, 0.05])[:, None, None, None] * whole * random.lognormal(0, 0.1, (2, 2, 4, 2))
    )
    found = shares(parts, whole, 0.9)
    for k, part in enumerate(parts):
        ratios = part.mean(axis=(1, 2)) / whole.mean(axis=(1, 2))
        assert found.values[k] == pytest.approx(ratios.mean())
        away = (part - ratios[:, None, None] * whole) / whole.mean(axis=(1, 2), keepdims=True)
        series = ratios.mean() + away.mean(axis=(0, 2))
        expected = scipy.stats.ttest_1samp(series, 0).confidence_interval(0.9)
        assert (found.low[k], found.high[k]) == pytest.approx((expected.low, expected.high))


def test_intervals_of_shares_hold_the_truth_and_no_noise_is_told_from_zero() -> None:
    """Of 300 draws of 16 samples, of which a fifth of the error is a node's, and of noise alone."""
    random = np.random.default_rng(1)
    hits, told = [], []
    for _ in range(300):
        whole = random.lognormal(0, 0.5, (1, 16, 2))
        part = 0.2 * whole * random.lognormal(-0.02, 0.2, (1, 16, 2))
        noise = 0.1 * random.standard_normal((5, 1, 16, 2))
        found = shares(np.concatenate([part[None], noise]), whole)
        hits.append(found.low[0] <= 0.2 <= found.high[0])
        told.append(found.surely[1:].any())
        assert found.surely[0] > 0
    assert np.mean(hits) >= 0.92
    assert np.mean(told) <= 0.08, "of all nodes together"


def test_nothing_has_a_share_of_no_error() -> None:
    found = shares(np.ones((2, 1, 3, 2)), np.zeros((1, 3, 2)))
    assert np.isnan(found.values).all() and not found.surely.any()


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, np.ndarray, Path]:
    """y = (A + B + B) x, whose weights alone are quantized, coarsely: errors add as vectors."""
    random = np.random.default_rng(2)
    weights = {f"w{k}": random.standard_normal((4, 3)).astype(np.float32) for k in (0, 1)}
    weights["w2"] = weights["w1"].copy()
    quantizer = {"scales": [0.25], "thresholds": [31.75], "qtype": "int8"}
    nodes = [calibration(f"w{k}", f"q{k}", f"q{k}", **quantizer) for k in range(3)]
    nodes += [
        helper.make_node("MatMul", ["x", f"q{k}"], [f"y{k}"], name=f"MatMul_{k}") for k in range(3)
    ]
    nodes += [
        helper.make_node("Add", ["y0", "y1"], ["s"], name="Add_0"),
        helper.make_node("Add", ["s", "y2"], ["y"], name="Add_1"),
    ]
    x = random.standard_normal((3, 5, 4)).astype(np.float32)
    return model(nodes, {"x": [5, 4]}, constants=weights), x, tmp_path_factory.mktemp("linear")


def moved_errors(proto: onnx.ModelProto, data: np.ndarray, lake: Lake, copies: int) -> np.ndarray:
    """Of each weight its error at the output, of NumPy: nodes by copies of samples."""
    ids = [row[0] for row in lake.sql("SELECT sample_id FROM samples ORDER BY position").rows]
    moved = MovedSamples(
        {i: {"x": x} for i, x in zip(ids, data, strict=True)}, range(1, copies + 1)
    )
    found = []
    for weight in proto.graph.initializer:
        w = onnx.numpy_helper.to_array(weight).astype(np.float64)
        rounded = np.clip(np.round(w / 0.25), -128, 127) * 0.25
        found.append([moved[name]["x"].astype(np.float64) @ (rounded - w) for name in moved])
    return np.array(found)


def test_shares_and_pairs_of_a_linear_model_are_those_of_numpy(
    linear: tuple[onnx.ModelProto, np.ndarray, Path],
) -> None:
    """GIVEN errors that add as vectors, two of which are the same
    THEN shares, gaps and interactions are those of their products, and what interacts is marked.
    """
    proto, data, place = linear
    where = Recording(lake=place / "lake", track=False, progress=False)
    given = {"data_num": None, "lake": place / "lake", "track": False}
    dbg.get_sensitivity_of_nodes(proto, "mse", {"x": list(data)}, share=True, **given)
    run_analysis(
        Interactions(model_or_file=proto, calibrated_data={"x": list(data)}, data_num=None), where
    )
    lake = Lake.open(place / "lake")
    pairs_run, shares_run = (row["run_id"] for row in lake.query("runs"))
    rows = {row["subject"]: row for row in lake.query("shares", run_id=shares_run)}
    d = moved_errors(proto, data, lake, rows["MatMul_0"]["copies"])
    whole = (d.sum(axis=0) ** 2).mean()
    for k in range(3):
        row = rows[f"MatMul_{k}"]
        left = ((d.sum(axis=0) - d[k]) ** 2).mean()
        assert row["alone"] == pytest.approx((d[k] ** 2).mean() / whole, rel=1e-4)
        assert row["share"] == pytest.approx(1 - left / whole, rel=1e-4)
        assert row["gap"] == pytest.approx(row["share"] - row["alone"], abs=1e-12)
    (added,) = lake.query("share_sum", run_id=shares_run)
    assert added["sum"] == pytest.approx((d**2).mean(axis=(1, 2, 3)).sum() / whole, rel=1e-4)
    assert not added["agrees"] and "predict nothing" in sum_line(added)
    found = {
        frozenset((row["node"], row["other"])): row
        for row in lake.query("interactions", run_id=pairs_run)
    }
    d = d[:, : 2 * len(data)]
    whole = (d.sum(axis=0) ** 2).mean()
    for i, j in combinations(range(3), 2):
        row = found[frozenset((f"MatMul_{i}", f"MatMul_{j}"))]
        assert row["value"] == pytest.approx(2 * (d[i] * d[j]).mean() / whole, rel=1e-3, abs=1e-5)
    twins = found[frozenset(("MatMul_1", "MatMul_2"))]
    assert twins["value"] > 0 and twins["low"] <= twins["value"] <= twins["high"]


@pytest.fixture(scope="module")
def demo_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a ranking of the demo with shares."""
    return tmp_path_factory.mktemp("shares") / "lake"


@pytest.mark.slow
def test_a_ranking_with_shares(demo_lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The documented table stays as it is; shares are below it, within 80 columns, and drawn."""
    options = [MODEL, DATA, "-m", "sqnr", "-d", "4", "--lake", str(demo_lake), "--no-track"]
    assert main(["get-sensitivity-of-nodes", *options]) == 0
    plain = capsys.readouterr().out
    assert main(["get-sensitivity-of-nodes", *options, "--share"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(plain.rstrip("\n"))
    assert max(map(len, shown.splitlines())) <= 80
    assert "share of the whole model's mse (95 %, 4 samples" in shown
    lake = Lake.open(demo_lake)
    run = lake.query("runs")[0]["run_id"]
    rows = lake.query("shares", run_id=run)
    assert len(rows) == 22 and {row["samples"] for row in rows} == {4}
    of_copies = "SELECT DISTINCT run_id FROM measurements WHERE config_id IN "
    of_copies += "(SELECT config_id FROM run_configs WHERE role = 'without')"
    assert not lake.sql(of_copies).rows, "what is left out is measured on moved copies alone"
    result = dbg.get_sensitivity_of_nodes(
        MODEL, "sqnr", DATA, data_num=4, share=True, lake=demo_lake, track=False
    )
    figures = result.figures  # type: ignore[attr-defined]
    assert isinstance(figures["shares_of_node"], Figure)
    assert "interacts" in result.result.table.header  # type: ignore[attr-defined]


@pytest.mark.slow
def test_shares_have_a_limit_that_is_told_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GIVEN no time beyond what one sample takes
    THEN shares are of that one, and the answer says so; with time the others are added to it.
    """
    options = [MODEL, DATA, "-m", "sqnr", "-d", "3", "-i", "[Conv_2, Conv_10]", "--share"]
    options += ["--lake", str(tmp_path), "--no-track"]

    def copies() -> list[tuple[int, int]]:
        """Of each sample how many moved measurements there are that belong to its shares."""
        return (
            Lake.open(tmp_path)
            .sql(
                "SELECT position, count(DISTINCT (config_id, copy)) FROM moved_measurements "
                "JOIN samples USING (sample_id) GROUP BY position ORDER BY position"
            )
            .rows
        )

    with monkeypatch.context() as patch:
        patch.setattr(module, "TIMES", 0)
        patch.setattr(module, "LEAST_SECONDS", 0.0)
        assert main(["get-sensitivity-of-nodes", *options]) == 0
    first, run = capsys.readouterr().out, _newest(tmp_path)
    assert "shares rest on 1 of 3 samples, as more would take longer than 5 times" in first
    assert {row["samples"] for row in Lake.open(tmp_path).query("shares", run_id=run)} == {1}
    assert copies() == [(0, 5 * 2)]
    assert main(["get-sensitivity-of-nodes", *options]) == 0
    assert "shares rest on" not in capsys.readouterr().out
    rows = Lake.open(tmp_path).query("shares", run_id=_newest(tmp_path))
    assert {row["samples"] for row in rows} == {3}
    own = "SELECT count(*) FROM moved_measurements m JOIN samples USING (sample_id) "
    own += f"WHERE position = 0 AND copy <= 2 AND run_id <> '{run}'"
    assert Lake.open(tmp_path).sql(own).rows == [(0,)], "what is known is not measured again"


def test_why_there_are_no_shares_is_not_guessed() -> None:
    """Interrupted, out of time, without an error, or no number: each is said as it is."""

    def note(errors: list[float], budget: float | None) -> str:
        found = [{"role": "reference", "errors": errors}] if errors else []
        return share_note(SimpleNamespace(query=lambda _: found), [], budget)  # type: ignore[arg-type]

    assert note([], None).endswith("it was interrupted")
    assert note([0.5], 3.0).endswith("there was no time left")
    assert note([0.0, 0.0], None).endswith("has no error")
    assert note([math.nan], None).endswith("is no number")


@pytest.mark.slow
def test_interactions_are_a_matrix_and_a_heat_map(
    demo_lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [MODEL, DATA, "-m", "sqnr", "-d", "2", "-k", "3", "--lake", str(demo_lake)]
    assert main(["interactions", *options, "--no-track", "-s", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert {"interactions.png", "interactions.log"} <= {path.name for path in tmp_path.iterdir()}
    rows = Lake.open(demo_lake).query("interactions", run_id=_newest(demo_lake))
    assert len(rows) == 3 + 3
    assert {
        row["value"] == row["together"] for row in rows if row["rank"] == row["other_rank"]
    } == {True}


def test_pairs_never_lack_an_interval_or_a_name() -> None:
    """GIVEN three nodes of long names, of which one pair interacts and is the least of all
    THEN the largest pairs stand with their intervals as not told apart from 0, and names in full.
    """
    names = [f"/backbone/layer{k}/{'block/' * 9}Conv" for k in range(3)]
    values = {(1, 1): 0.9, (2, 2): 0.2, (3, 3): 0.1, (1, 2): -0.4, (1, 3): 0.3, (2, 3): 0.02}
    rows = [
        {"node": names[a - 1], "other": names[b - 1], "rank": a, "other_rank": b, "value": value}
        | {"low": value - 0.01, "high": value + 0.01, "interacts": (a, b) == (2, 3)}
        | {"samples": 8, "copies": 2, "level": 0.95, "together": 0.0}
        for (a, b), value in values.items()
    ]
    shown = interactions_text(rows)
    assert max(map(len, shown.splitlines())) <= 80
    assert all(name in shown for name in names)
    pairs = [line.split() for line in shown.splitlines() if " with " in line]
    assert [" ".join(line) for line in pairs] == [
        "-40.0 % -41.0 .. -39.0 1 with 2: 0?",
        "30.0 % 29.0 .. 31.0 1 with 3: 0?",
        "2.0 % 1.0 .. 3.0 2 with 3: worse together",
    ]
    assert "1 of 3" in shown and "2 of 3 pairs" in shown
    axes = interactions_figure(rows, "pairs").axes[0]
    (image,) = axes.images
    assert (np.asarray(image.get_alpha()) == 1).sum() == 2, "pale is what is not told apart from 0"
    assert {label.get_text().rstrip(" 123") for label in axes.get_yticklabels()} <= {
        *distinct_labels(names, 48)
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [(["-k", "1"], "pairs need two"), (["-i", "[Conv_2]"], "pairs need two")],
)
def test_one_node_has_no_pairs(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [MODEL, DATA, "--lake", str(tmp_path / "lake"), "--no-track"]
    assert main(["interactions", *options, *given]) == 2
    assert said in capsys.readouterr().err


def test_words_for_shares_never_lack_an_interval_or_claim_a_sum() -> None:
    row = {"subject": "a", "share": 0.5, "share_low": 0.4, "share_high": 0.6, "alone": 0.1}
    row |= {"alone_low": 0.05, "alone_high": 0.15, "interacts": True, "samples": 1, "copies": 8}
    row |= {"level": 0.95, "told": True}
    none = row | {"share": 0.01, "share_low": -0.1, "share_high": 0.1, "told": False}
    none |= {"interacts": False}
    shown = shares_text([row, *(none | {"subject": f"b{k}"} for k in range(11))], None)
    assert "50.0 %    40.0 .. 60.0" in shown and "rounding alone" in shown
    assert "1.0 %     -10.0 .. 10.0" in shown and "0?: not told apart from 0 %, 11 of 12" in shown
    assert "and 2 more nodes with smaller shares" in shown
    assert "add up" not in shown


def _newest(lake: Path) -> str:
    return str(Lake.open(lake).query("runs")[0]["run_id"])
