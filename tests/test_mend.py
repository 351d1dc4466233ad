"""Mending: the file computes what was measured, keeps the float model, and is never worse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import scipy.stats
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import hmct_track
from hmct_track.cli import main
from hmct_track.engine import Engine
from hmct_track.errors import UsageError
from hmct_track.lake import Lake
from hmct_track.model import Layers, load_model, mended, whole_proto
from hmct_track.remedies import allowed_families, material_of, remedies_of
from hmct_track.remedies.equalization import equalized_pairs
from hmct_track.remedies.search import Search
from hmct_track.remedies.tried import telling
from hmct_track.remedies.verdict import gain_of, is_better
from hmct_track.types import BiasShift, Effect, QuantConfig, Quantization, QuantParams, QuantType
from tests.support import planted
from tests.support.graphs import CALIBRATED, model
from tests.support.planted import Network

OFF = QuantConfig()
SHIFT = {"Conv_2": BiasShift(tuple(np.linspace(-1, 1, 8).astype(np.float32).tolist()))}


def run_on(
    proto: onnx.ModelProto, config: QuantConfig, sample: dict[str, np.ndarray]
) -> np.ndarray:
    (found,) = Engine(load_model(proto), threads=1).observe(config, {"a": sample}, ["y"])
    return found["y"]


def written(network: Network, config: QuantConfig) -> onnx.ModelProto:
    """The file, through its bytes."""
    proto = whole_proto(mended(load_model(network.calibrated()), config))
    return onnx.load_from_string(proto.SerializeToString())


@pytest.mark.parametrize("place", ["Conv_0", "Conv_2"], ids=["has a bias", "has none"])
def test_a_corrected_bias_keeps_the_float_model(place: str) -> None:
    """The null test: off, it is the float model, by an oracle in NumPy; on, as was measured."""
    network = planted.healthy()
    config = QuantConfig(Quantization.AS_CALIBRATED, {}, {place: SHIFT["Conv_2"]})
    proto, sample = written(network, config), network.samples[0]
    expected = network.output(sample)
    np.testing.assert_allclose(run_on(proto, OFF, sample), expected, rtol=1e-4, atol=1e-4)
    before = run_on(network.calibrated(), config, sample)
    np.testing.assert_allclose(run_on(proto, CALIBRATED, sample), before, rtol=1e-5, atol=1e-5)
    (correction,) = [n for n in load_model(proto).calibration_nodes if n.is_correction]
    assert correction.goes_with == {"Conv_0": "w0_q", "Conv_2": "w2_q"}[place]


def test_what_knows_nothing_of_corrections_reads_the_corrected_bias() -> None:
    """GIVEN the file, its quantizers taken out, in the ONNX reference implementation."""
    network = planted.healthy()
    config = QuantConfig(Quantization.AS_CALIBRATED, {}, SHIFT)
    proto = written(network, config)
    for node in proto.graph.node:
        if node.op_type == "HzCalibration":
            node.op_type, node.domain = "Identity", ""
            del node.attribute[:]
    sample = network.samples[0]
    (y,) = ReferenceEvaluator(proto).run(None, sample)
    shift = np.array(SHIFT["Conv_2"].values).reshape(1, -1, 1, 1)
    np.testing.assert_allclose(y, network.output(sample) + shift, rtol=1e-4, atol=1e-4)


def test_moved_factors_keep_the_float_model_and_the_quantized_one() -> None:
    network = planted.outlier_channel()
    loaded = load_model(network.calibrated())
    engine = Engine(loaded, threads=1)
    samples = {str(k): s for k, s in enumerate(network.samples)}
    material = material_of(engine, samples, ["Conv_2"])
    found = remedies_of("Conv_2", material, allowed_families(["equalization"]))
    assert [r.name for r in found] == ["equalization of weights", "equalization of activations"]
    for remedy in found:
        config = remedy.apply(QuantConfig(Quantization.AS_CALIBRATED, {}, SHIFT | {
            "Conv_0": BiasShift((0.25,))}))  # fmt: skip
        proto, sample = written(network, config), network.samples[1]
        expected = network.output(sample)
        np.testing.assert_allclose(run_on(proto, OFF, sample), expected, rtol=1e-3, atol=1e-3)
        before = run_on(network.calibrated(), config, sample)
        after = run_on(proto, CALIBRATED, sample)
        # A tie of rounding may go either way, as factors are multiplied in another order.
        assert np.linalg.norm(after - before) < 1e-2 * np.linalg.norm(before - expected)


def test_parameters_are_written() -> None:
    network = planted.healthy()
    params = QuantParams(QuantType("uint8"), (0.05,), (3,), (-0.15, 12.6))
    wide = QuantType("int16")
    config = QuantConfig(Quantization.AS_CALIBRATED, {"b_q": params, "w2_q": wide})
    loaded = load_model(written(network, config)).calibration_by_name
    assert loaded["b_q"].params.scales == pytest.approx((0.05,))
    assert loaded["b_q"].params.zero_points == (3,)
    assert loaded["w2_q"].params.qtype == wide
    assert (
        loaded["x_q"].params == load_model(network.calibrated()).calibration_by_name["x_q"].params
    )


def test_what_no_file_can_say_is_refused() -> None:
    network = planted.healthy()
    loaded = load_model(network.calibrated())
    part = QuantParams(QuantType("int8"), (0.1,), effect=Effect.CLIP_ONLY)
    with pytest.raises(UsageError, match="'b_q': a file cannot say"):
        mended(loaded, QuantConfig(Quantization.AS_CALIBRATED, {"b_q": part}))
    with pytest.raises(UsageError, match="default must be calibrated"):
        mended(loaded, OFF)
    with pytest.raises(UsageError, match="'Relu_1' has no bias"):
        mended(loaded, QuantConfig(Quantization.AS_CALIBRATED, {}, {"Relu_1": BiasShift((1.0,))}))


def test_only_layers_with_nothing_else_between_are_a_pair() -> None:
    network = planted.healthy()
    loaded = load_model(network.calibrated())
    (pair,) = equalized_pairs(Layers(loaded), ["Conv_0", "Conv_2"])
    assert (pair.first, pair.second) == ("Conv_0", "Conv_2")
    read_twice = network.calibrated()
    read_twice.graph.output.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, None))
    assert not equalized_pairs(Layers(load_model(read_twice)), ["Conv_2"])
    bent = network.calibrated()
    next(n for n in bent.graph.node if n.name == "Relu_1").op_type = "Sigmoid"
    assert not equalized_pairs(Layers(load_model(bent)), ["Conv_2"])


def test_means_are_taken_away_where_those_before_are_already() -> None:
    """GIVEN two layers whose biases are wrong by rounding
    THEN correcting both by what one run tells leaves the means of both as in float.
    """
    network = planted.shifted_mean()
    engine = Engine(load_model(network.calibrated()), threads=1)
    samples = {str(k): s for k, s in enumerate(network.samples)}
    shifts = engine.mean_shifts(CALIBRATED, samples, ["a", "y"])
    config = QuantConfig(
        Quantization.AS_CALIBRATED,
        {},
        {
            "Conv_0": BiasShift(tuple(shifts["a"].tolist())),
            "Conv_2": BiasShift(tuple(shifts["y"].tolist())),
        },
    )

    def means(config: QuantConfig) -> np.ndarray:
        return np.mean([r["y"] for r in engine.observe(config, samples, ["y"])], axis=(0, 1, 3, 4))

    gap, left = (np.abs(means(c) - means(OFF)).max() for c in (CALIBRATED, config))
    assert left < 0.05 * gap


def test_what_a_layer_reads_stands_for_its_small_output() -> None:
    network = planted.healthy()
    loaded = load_model(network.calibrated())
    assert telling(loaded, ["y"]) == ["y"], "512 numbers, of unknown shape"
    proto = network.calibrated()
    proto.graph.output[0].type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto(
        dim=[onnx.TensorShapeProto.Dimension(dim_value=d) for d in (1, 8, 1, 1)]
    ))  # fmt: skip
    assert telling(load_model(proto), ["y"]) == ["b"]


def sqnr(proto: onnx.ModelProto, network: Network, samples: list[Any]) -> float:
    values = []
    for sample in samples:
        x, y = network.output(sample), run_on(proto, CALIBRATED, sample)
        values.append(20 * np.log10(np.linalg.norm(x) / np.linalg.norm(x - y)))
    return float(np.mean(values))


def test_a_clipped_network_is_mended_on_samples_that_chose_nothing(tmp_path: Path) -> None:
    network = planted.clipped()
    lake = tmp_path / "lake"
    file = tmp_path / "mended.onnx"
    result = hmct_track.mend(
        network.calibrated(), network.data(), file, lake=lake, track=False, progress=False
    )
    assert result.model is not None
    assert not result.refused
    held = [network.samples[k] for k in (3, 7)]
    before, after = (sqnr(p, network, held) for p in (network.calibrated(), onnx.load(file)))
    assert after > before + 3
    assert [r["held_out"] for r in result.rows] == pytest.approx([before, after], abs=0.05)
    other = planted.healthy(samples=24).samples[8:]
    assert sqnr(onnx.load(file), network, other) > sqnr(network.calibrated(), network, other) + 3
    steps = Lake.open(lake).query("mending_steps", run_id=result.run_id)
    assert steps and all(step["checking"] > 0 for step in steps)
    report = (tmp_path / "mended.report.txt").read_text()
    assert "it is better" in report
    gains = [
        sqnr(onnx.load(file), network, [s]) - sqnr(network.calibrated(), network, [s]) for s in held
    ]
    ends = scipy.stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    said = re.search(r"gain there (\S+) dB, 95 % interval (\S+) to (\S+)\n", report)
    assert said, report
    expected = [np.mean(gains), ends.low, ends.high]
    assert [float(v) for v in said.groups()] == pytest.approx(expected, abs=0.5)
    assert ("do not tell" in report) == (ends.low <= 0 <= ends.high)
    assert steps[-1]["compared"] == ["y"]
    ends_there = [steps[-1][name] for name in ("held_out", "held_out_low", "held_out_high")]
    assert ends_there == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(
    ("outputs", "compared", "by_mean", "better"),
    [
        ([3, 4, 5], [-3, -4, -5], False, True),
        ([-3, -4, -5], [3, 4, 5], True, False),
        ([-9, 4, 2], [3, 4, 5], False, True),
        ([-3, 4, 2], [-3, -4, -5], True, False),
        ([-3, 4, 2], [-3, 4, 2], True, True),
        ([-9, 4, 2], [3, -4, 5], False, False),
        ([1, np.inf], [2], True, True),
    ],
    ids=["outputs: better", "outputs: worse", "only the other: better", "only the other: worse",
         "none: mean", "none: mean, worse", "one sample"],
)  # fmt: skip
def test_what_tells_decides(
    outputs: list[float], compared: list[float], by_mean: bool, better: bool
) -> None:
    gains = [gain_of(values) for values in (outputs, compared)]
    for values, gain in zip((outputs, compared), gains, strict=True):
        if gain is not None:
            ends = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
            assert (gain.mean, gain.low, gain.high) == pytest.approx((np.mean(values), *ends))
    assert is_better(by_mean, *gains) == better


def test_a_float_model_is_calibrated_first_without_the_held_out_samples(tmp_path: Path) -> None:
    network = planted.healthy()
    network.samples[3]["x"] = network.samples[3]["x"] * 100
    proto = network.calibrated()
    nodes = [n for n in proto.graph.node if n.op_type != "HzCalibration"]
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = name.removesuffix("q")
    plain = model(nodes, {"x": [1, 8, 8, 8]}, constants={
        "w0": network.first, "w2": network.second, "b0": network.bias})  # fmt: skip
    result = hmct_track.mend(plain, network.data(), lake=tmp_path, track=False, progress=False)
    rows = Lake.open(tmp_path).query("calibration", run_id=result.run_id)
    (threshold,) = [row["threshold"] for row in rows if row["input"] == "x"]
    assert threshold < 10


def test_where_nothing_helps_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = planted.healthy()
    data = tmp_path / "data" / "x"
    data.mkdir(parents=True)
    for k, sample in enumerate(network.samples):
        np.save(data / f"{k}.npy", sample["x"])
    proto = network.calibrated()
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name == "qtype":
                attribute.s = b"float16"
    onnx.save(proto, tmp_path / "m.onnx")
    given = ["mend", str(tmp_path / "m.onnx"), str(data.parent), "-o", str(tmp_path / "out.onnx")]
    given += ["--lake", str(tmp_path / "lake"), "--no-track", "--allow", "threshold"]
    assert main(given) == 4
    assert "no model is written" in capsys.readouterr().out
    assert not (tmp_path / "out.onnx").exists()
    assert main([*given, "-d", "3"]) == 2
    assert "needs at least 4 samples" in capsys.readouterr().err
    assert main([*given, "--allow", "int16"]) == 2
    assert "nothing that is free" in capsys.readouterr().err


def test_only_named_nodes_are_mended_while_it_is_told_how_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIVEN one scale for all channels of two weights, of which only the first layer is named
    THEN what quantizes the other layer stays as it was, and its bias too.
    """
    network = planted.huge_channel()
    proto, file = network.calibrated(), tmp_path / "m.onnx"
    monkeypatch.setenv("HMCT_PROGRESS", "json")
    kept = {"lake": tmp_path / "lake", "track": False}
    given = (proto, network.data(), file)
    result = hmct_track.mend(*given, nodes="Conv_0", **kept)
    before = load_model(proto).calibration_by_name
    after = load_model(onnx.load(file)).calibration_by_name
    changed = {name for name in before if before[name].params != after[name].params}
    assert "w0_q" in changed and changed <= {"x_q", "w0_q"}
    assert {n.goes_with for n in after.values() if n.is_correction} <= {"w0_q"}
    assert all(step["nodes"] <= 2 for step in result.answer.query("mending_steps"))
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[0] == "{"]
    searched = [t for t in told if t.get("what", "").startswith("weights calibrated alike")]
    assert searched[-1]["done"] == searched[-1]["total"] > 0
    assert any("dB so far" in t.get("what", "") for t in told)
    for nodes, said in (("Relu_1", "no calibration node"), ([], "nodes is empty")):
        with pytest.raises(UsageError, match=said):
            hmct_track.mend(*given, nodes=nodes, **kept)


def test_the_best_calibrator_that_the_checking_samples_do_not_mind_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """GIVEN one way to calibrate all activations that is best and harms the checking samples
    THEN the next best is taken, and not none.
    """
    network = planted.clipped()
    loaded = load_model(network.calibrated())
    seen = {str(k): s for k, s in enumerate(network.samples[:2])}
    checked = {"c": network.samples[2]}
    search = Search(loaded, Engine, seen, checked, ["y"], allowed_families(["threshold"]))
    asked: list[int] = []

    def gains(configs: list[QuantConfig], samples: dict[str, Any]) -> np.ndarray:
        asked.append(len(configs))
        found = np.full((len(configs), len(samples)), -1.0)
        found[0], found[0, -1] = 9.0, -0.1
        if len(asked) == 1:
            found[1] = [1.0, 1.0, 0.5]
        return found

    monkeypatch.setattr(search, "gains", gains)
    names = list(dict.fromkeys(w for p in search.parameters().values() for w in p))
    search.take_calibrator()
    ways = [name for name in names if "of max" not in name]
    assert asked[0] > 1
    assert [(s.what, s.choosing, s.checking) for s in search.steps] == [
        (f"all activations {ways[1]}", 1.0, 0.5)
    ]


def test_a_search_does_not_take_what_only_the_choosing_samples_like() -> None:
    """GIVEN checking samples on which every other threshold is worse
    THEN the model stays as it is.
    """
    network = planted.healthy()
    loaded = load_model(network.calibrated())
    choosing = {
        "a": {"x": network.samples[0]["x"] * 0.1},
        "b": {"x": network.samples[1]["x"] * 0.1},
    }
    checking = {str(k): s for k, s in enumerate(network.samples[2:])}
    search = Search(loaded, Engine, choosing, checking, ["y"], allowed_families(["threshold"]))
    found = search.run()
    samples = {str(k): s for k, s in enumerate(network.samples)}
    errors = Engine(loaded).evaluate([CALIBRATED, found], samples, ["y"])
    sums: dict[str, float] = {}
    for m in errors:
        sums[m.config_id] = sums.get(m.config_id, 0.0) + m.statistics.sum_dd
    assert sums[found.config_id] <= sums[CALIBRATED.config_id] * 1.001
