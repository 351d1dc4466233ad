"""A diagnosis: planted causes are named, the matching remedy mends them, its parts explain it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import hmct_track
from hmct_track.cli import main
from hmct_track.engine import Engine
from hmct_track.engine.facts import facts_of
from hmct_track.errors import UsageError
from hmct_track.lake import Lake
from hmct_track.model import Layers, load_model
from hmct_track.remedies import FREE, PRESETS, Family, allowed_families, material_of, remedies_of
from hmct_track.types import QuantType
from tests.support import planted
from tests.support.graphs import calibration, model, onnx_identity
from tests.support.planted import Network

Row = dict[str, Any]


def diagnosed(network: Network, lake: Path, **given: Any) -> tuple[dict[str, Row], list[Row], str]:
    """Calibration node to its causes, the remedies, and the words."""
    options = {"lake": lake, "track": False, "progress": False, "allow": "all", **given}
    result = hmct_track.diagnose(network.calibrated(), network.data(), **options)
    answer = result.answer
    remedies = answer.query("remedies", metric=options.get("metric", "cosine-similarity"))
    return {row["node"]: row for row in result.rows}, remedies, answer.analysis.text(answer)


def best_free(remedies: list[Row], node: str) -> Row:
    return next(r for r in remedies if r["subject"] == node and r["price"] == "free")


def test_a_clipped_tensor_is_named_and_mended_by_another_threshold(tmp_path: Path) -> None:
    causes, remedies, words = diagnosed(planted.clipped(), tmp_path)
    cause, best = causes["b_q"], best_free(remedies, "Conv_2")
    assert next(iter(causes.values()))["subject"] == "Conv_2", "it is the worst"
    assert cause["saturation"] > 0.1
    assert cause["clipping"] < cause["rounding"], "by cosine similarity"
    assert cause["clip_share"] > 0.9
    assert "clipping is most of it" in words
    assert "activation" in best["remedy"]
    assert best["after_error"] < 0.05 * best["before_error"]


def test_an_outlier_channel_is_named_and_mended_by_equalization(tmp_path: Path) -> None:
    causes, remedies, words = diagnosed(planted.outlier_channel(), tmp_path)
    cause, best = causes["b_q"], best_free(remedies, "Conv_2")
    assert cause["imbalance"] > 50
    assert cause["channel_bits"] < cause["bits"] - 2
    assert "one scale for 8 channels whose ranges differ" in words
    assert best["family"] == "equalization"
    assert best["after_error"] < 0.1 * best["before_error"]


def test_a_shifted_mean_is_named_and_mended_by_the_bias(tmp_path: Path) -> None:
    causes, remedies, words = diagnosed(planted.shifted_mean(), tmp_path, allow="bias")
    (best,) = [r for r in remedies if r["subject"] == "Conv_2"]
    assert causes["w2_q"]["mean_shift"] > 0.9
    assert "of the error of its output is a shifted mean" in words
    assert best["family"] == "bias"
    assert best["after_error"] < 0.1 * best["before_error"]


def test_a_dead_channel_is_named(tmp_path: Path) -> None:
    causes, _, words = diagnosed(planted.dead_channel(), tmp_path)
    assert (causes["b_q"]["dead_channels"], causes["b_q"]["channels"]) == (1, 8)
    assert causes["x_q"]["dead_channels"] == 0
    assert "dead channels of its activation: 1 of 8" in words


def test_a_huge_channel_of_a_weight_is_named_and_mended_by_a_scale_each(tmp_path: Path) -> None:
    causes, remedies, words = diagnosed(planted.huge_channel(), tmp_path, nodes="Conv_0")
    cause, best = causes["w0_q"], best_free(remedies, "Conv_0")
    assert cause["imbalance"] > 100
    assert cause["lost_channels"] + (cause["bits"] - cause["channel_bits"]) > 4
    assert "its weight" in words
    assert best["family"] == "per-channel" or "per channel" in best["remedy"]
    assert best["after_error"] < 0.1 * best["before_error"]


def test_nothing_free_helps_is_an_answer(tmp_path: Path) -> None:
    _, _, words = diagnosed(planted.healthy(), tmp_path, allow=["threshold", "int16"])
    assert "nothing free helps (best of " in words
    assert "int16" in words


def test_every_number_is_measured_on_samples_that_fitted_nothing(tmp_path: Path) -> None:
    """GIVEN a remedy of a node
    THEN its value is that of its configuration on the samples with odd positions.
    """
    network = planted.clipped()
    _, remedies, _ = diagnosed(network, tmp_path, nodes="Conv_2", metric="sqnr")
    lake = Lake.open(tmp_path)
    (run,) = lake.query("run_list")
    rows = lake.sql("SELECT config_id, sample, value FROM metric_values WHERE metric = 'sqnr'").rows
    best = best_free(remedies, "Conv_2")
    judged = {s: v for c, s, v in rows if c == best["config_id"]}
    assert sorted(judged) == [1, 3, 5, 7]
    assert best["after"] == pytest.approx(np.mean(list(judged.values())))
    assert run["kind"] == "diagnosis"


@settings(max_examples=60, deadline=None)
@given(
    values=arrays(np.float32, (6, 4), elements=st.floats(-100, 100, width=32)),
    top=st.floats(0.5, 80),
)
@example(values=np.full((6, 4), 1e-45, np.float32), top=1.0)
@example(values=np.linspace(99.9999, 100, 24, dtype=np.float32).reshape(6, 4), top=1.0)
def test_clipping_and_rounding_explain_the_whole(values: np.ndarray, top: float) -> None:
    """GIVEN any tensor and threshold
    THEN the squared errors of clipping alone and of rounding alone add up to the whole's, but for
    values beyond the range, whose rounding the whole does not have: at most a quarter step squared
    each. (Float32 arithmetic is allowed 1e-5 of the whole.)
    """
    scale = float(np.float32(top / 127))
    graph = model(
        [calibration("x", "y", "q", scales=[scale], thresholds=[top], qtype="int8"),
         onnx_identity("y", "z")],
        {"x": [6, 4]}, ["z"],
    )  # fmt: skip
    network = load_model(graph)
    engine = Engine(network, threads=1)
    facts = facts_of(engine, {"a": {"x": values}}, network.calibration_nodes, Layers(network))["q"]
    wide = values.astype(np.float64)
    whole = float(((wide - np.clip(np.rint(wide / scale), -128, 127) * scale) ** 2).sum())
    beyond = int(((wide > 127 * scale) | (wide < -128 * scale)).sum())
    slack = 1e-5 * whole + 1e-6 + 1e-4 * scale**2 * values.size
    assert facts.error == pytest.approx(whole, rel=1e-3, abs=1e-3 * scale**2 * values.size + 1e-9)
    excess = facts.clip_error + facts.round_error - facts.error
    assert -slack <= excess <= beyond * scale**2 / 4 + slack


@pytest.mark.parametrize("seed", range(5))
def test_at_the_output_the_parts_explain_the_whole_within_their_cross_term(
    seed: int, tmp_path: Path
) -> None:
    """GIVEN a linear layer behind a clipped tensor
    THEN whole = clipping + rounding to within 2 sqrt(clipping x rounding): two errors that add up
    differ from the sum of their energies by at most that (Cauchy and Schwarz).
    """
    network = planted.healthy(seed)
    network.clip = 0.5
    diagnosed(network, tmp_path, nodes="Conv_2")
    lake = Lake.open(tmp_path)
    (row,) = lake.sql("FROM causes WHERE node = 'b_q'").rows
    cause = dict(zip(list(lake.sql("FROM causes").columns), row, strict=True))
    sums = dict(lake.sql("SELECT config_id, sum(sum_dd) FROM measurements GROUP BY config_id").rows)
    whole, clip, round_ = (sums[cause[f"{k}_id"]] for k in ("alone", "clip", "round"))
    assert clip > 0 and round_ > 0
    assert abs(whole - clip - round_) <= 2 * np.sqrt(clip * round_) * 1.05


def test_remedies_have_unlike_names_prices_and_configurations() -> None:
    network = planted.huge_channel()
    loaded = load_model(network.calibrated())
    engine = Engine(loaded)
    samples = {str(k): s for k, s in enumerate(network.samples)}
    material = material_of(engine, samples, ["Conv_0", "Conv_2"])
    found = remedies_of("Conv_2", material, tuple(Family))
    assert len({r.name for r in found}) == len(found)
    families = {r.family for r in found}
    assert families >= {Family.THRESHOLD, Family.PER_CHANNEL, Family.INT16, Family.FLOAT32}
    assert {r.price.value for r in found if r.family not in FREE} == {"int16", "float16", "float32"}
    for remedy in found:
        for state in remedy.states.values():
            if not isinstance(state, QuantType) and hasattr(state, "check"):
                state.check()
    assert not remedies_of("Conv_2", material, [Family.BIAS]), "no shifts were given"


def test_what_is_allowed_is_checked() -> None:
    assert allowed_families(["bias", "threshold"]) == (Family.THRESHOLD, Family.BIAS)
    assert Family.POWER_OF_TWO not in allowed_families(["horizon", "onnxruntime"])
    assert allowed_families(["all"]) == tuple(Family)
    with pytest.raises(UsageError, match=r"allow has 'int12'; it can hold the presets horizon"):
        allowed_families(["int12"])
    with pytest.raises(UsageError, match="allow is empty"):
        allowed_families([])
    assert set(PRESETS) == {"horizon", "onnxruntime", "all"}


def test_the_command_complains_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hmct_track import demo

    where = [str(demo.model_path()), str(demo.calibration_data_path()), "--lake", str(tmp_path)]
    assert main(["diagnose", *where, "--allow", "nonsense"]) == 2
    assert main(["diagnose", *where, "-n", "[]"]) == 2
    assert main(["diagnose", *where, "--top", "0"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 3
    assert all(line.startswith("hmct-debugger: error: ") for line in told)
    assert not list(tmp_path.iterdir()), "nothing was written"
