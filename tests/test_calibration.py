"""Calibration of float models, against onnxruntime's calibrators and sums worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.calibrate import HistogramCollector, MinMaxCalibrater

import hmct_track
from benchmarks import rebuild
from hmct_track import demo
from hmct_track.cli import main
from hmct_track.data import CalibrationDataSet
from hmct_track.engine import thresholds
from hmct_track.errors import DataError, ModelError, UnknownNodeError, UsageError
from hmct_track.lake import Lake
from hmct_track.model import load_model, onnx_io
from hmct_track.types import QuantType
from scripts.calibrate_demo import calibrate as calibrate_demo
from tests.support import graphs
from tests.support.floats import Reader, float_model

FILES = sorted(demo.calibration_data_path().glob("input/*.npy"), key=lambda f: int(f.stem))
INT8 = QuantType("int8")


def calibrated(model: onnx.ModelProto, data: Any, lake: Path, **options: Any) -> onnx.ModelProto:
    result = hmct_track.calibrate(model, data, lake=lake, track=False, progress=False, **options)
    return result.model


def attributes(model: onnx.ModelProto) -> dict[str, dict[str, Any]]:
    return {
        node.name: {a.name: helper.get_attribute_value(a) for a in node.attribute}
        for node in model.graph.node
        if node.op_type == "HzCalibration"
    }


def test_the_demo_model_is_what_its_script_makes_of_the_float_model() -> None:
    made = calibrate_demo(float_model(), [{"input": np.load(f)} for f in FILES])
    shipped = load_model(demo.model_path())
    assert load_model(made).general_nodes[0].name == "Conv_0"
    got = {n.name: (n.kind, n.input, n.params) for n in load_model(made).calibration_nodes}
    assert got == {n.name: (n.kind, n.input, n.params) for n in shipped.calibration_nodes}


def test_maxima_are_those_of_onnxruntime(tmp_path: Path) -> None:
    onnx.save(float_model(), tmp_path / "float.onnx")
    oracle = MinMaxCalibrater(str(tmp_path / "float.onnx"), None, str(tmp_path / "augmented.onnx"))
    oracle.augment_graph()
    oracle.create_inference_session()
    oracle.collect_data(Reader())
    expected = {name: data.range_value for name, data in oracle.compute_data().items()}
    arrays = {"input": [np.load(f) for f in sorted(FILES, key=str)[:3]]}
    for asymmetric in (False, True):
        made = calibrated(float_model(), arrays, tmp_path, asymmetric=asymmetric)
        nodes = [n for n in load_model(made).calibration_nodes if n.kind == "activation"]
        assert len(nodes) == 18
        for node in nodes:
            low, high = (np.ravel(v).item() for v in expected[node.input])
            want = (min(low, 0), max(high, 0)) if asymmetric else (max(-low, high),)
            assert node.params.thresholds == pytest.approx(want, rel=1e-6), node.name


def test_percentiles_are_those_of_onnxruntime() -> None:
    """Its bins lie elsewhere, so that they agree to a bin."""
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    for symmetric in (True, False):
        oracle = HistogramCollector("percentile", symmetric, 2048, 128, 99.9, "same")
        oracle.collect({"x": [values]})
        low, high = (float(v) for v in oracle.compute_collection_result()["x"][:2])
        data = np.abs(values) if symmetric else values
        counts, edges = np.histogram(data, thresholds.BINS, (0, data.max()) if symmetric else None)
        got = thresholds.percentile_range(counts, edges, 99.9, symmetric=symmetric)
        width = float(np.ptp(values)) / 1000
        assert got[1] == pytest.approx(high, abs=width)
        assert symmetric or got[0] == pytest.approx(low, abs=width)
        share = (
            np.mean(data <= got[1]) if symmetric else np.mean((data >= got[0]) & (data <= got[1]))
        )
        assert share == pytest.approx(0.999, abs=2e-4)


def test_squared_error_is_least_at_the_threshold_found() -> None:
    """An exhaustive search over thresholds finds hardly a smaller error."""
    rng = np.random.default_rng(1)
    values = np.abs(np.concatenate([rng.standard_normal(5000), [9.0, 40.0]]))
    qtype = QuantType("int4")

    def error(t: float) -> float:
        scale = t / 7
        return float(((np.clip(np.round(values / scale), -8, 7) * scale - values) ** 2).sum())

    low, high = thresholds.mse_range(
        values, np.ones_like(values), (0.0, 40.0), qtype, symmetric=True
    )
    best = min(error(t) for t in np.linspace(0.4, 40, 5000))
    assert low == 0 and error(high) <= 1.1 * best
    assert error(high) < error(40.0) / 3


def test_divergence_keeps_a_bulk_and_cuts_a_far_outlier() -> None:
    values = np.abs(np.random.default_rng(2).standard_normal(200_000))
    values[0] = 60.0
    counts, edges = np.histogram(values, thresholds.BINS, (0, 60))
    assert 3 < thresholds.kl_threshold(counts, edges, INT8) < 10
    assert thresholds.kl_threshold(counts, edges, QuantType("int16")) == 60


def with_batch_normalization() -> onnx.ModelProto:
    """Conv, ConvTranspose in groups and Gemm, each with BatchNormalization; nodes without names."""
    rng = np.random.default_rng(5)

    def norm(name: str, count: int) -> dict[str, np.ndarray]:
        parts = {k: rng.standard_normal(count).astype(np.float32) for k in "gbm"}
        parts["v"] = rng.uniform(0.5, 2, count).astype(np.float32)
        return {f"{name}{key}": value for key, value in parts.items()}

    def normal(shape: tuple[int, ...]) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    constants = {"w0": normal((6, 4, 3, 3)), "w1": normal((6, 4, 2, 2)), "b1": normal((8,)),
                 "w2": normal((8, 5)), "b2": normal((5,))}  # fmt: skip
    constants |= norm("n0", 6) | norm("n1", 8) | norm("n2", 5)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0"], ["a"]),
        node("BatchNormalization", ["a", "n0g", "n0b", "n0m", "n0v"], ["c"], epsilon=1e-3),
        node("ConvTranspose", ["c", "w1", "b1"], ["d"], group=2),
        node("BatchNormalization", ["d", "n1g", "n1b", "n1m", "n1v"], ["e"]),
        node("GlobalAveragePool", ["e"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w2", "b2"], ["g"], beta=0.5),
        node("BatchNormalization", ["g", "n2g", "n2b", "n2m", "n2v"], ["y"]),
    ]
    return graphs.model(nodes, {"x": [1, 4, 8, 8]}, constants=constants)


def test_batch_normalization_is_folded(tmp_path: Path) -> None:
    source = with_batch_normalization()
    x = np.random.default_rng(6).standard_normal((1, 4, 8, 8)).astype(np.float32)
    session = ort.InferenceSession(source.SerializeToString())
    made = calibrated(source, {"x": [x]}, tmp_path)
    model = load_model(made)
    assert [n.op_type for n in model.general_nodes] == [
        "Conv", "ConvTranspose", "GlobalAveragePool", "Flatten", "Gemm"]  # fmt: skip
    assert model.general_nodes[0].name == "Conv_0"
    (got,) = graphs.run(model, {"x": x}, graphs.QuantConfig())
    np.testing.assert_allclose(got, session.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)
    weights = {n.input: n.params for n in model.calibration_nodes if n.kind == "weight"}
    assert {(p.axis, len(p.scales)) for p in weights.values()} == {(0, 6), (1, 4), (1, 5)}
    folded = numpy_helper.to_array(next(t for t in made.graph.initializer if t.name == "w0_folded"))
    want = np.abs(folded).max(axis=(1, 2, 3))
    assert weights["w0_folded"].thresholds == pytest.approx(want.tolist())


def test_types_by_op_name_pattern_and_path(tmp_path: Path) -> None:
    data = {"input": [np.load(FILES[0])]}
    types = {"Conv": "int16", "re:Conv_1.*": ["int16", "int8"], "Conv_0": "uint8",
             "Gemm_*": "float32"}  # fmt: skip
    model = load_model(calibrated(float_model(), data, tmp_path, types=types))
    kinds = {n.name: [model.calibration_by_name[c].params.qtype.name for c in n.calibration_nodes]
             for n in model.quantizable_nodes}  # fmt: skip
    assert kinds["Conv_0"] == ["uint8", "int8"]
    assert kinds["Conv_10"] == ["int16", "int8"]
    assert kinds["Conv_2"] == ["int16", "int16"]
    assert not any(name.startswith("Gemm") for name in kinds)
    with pytest.raises(UnknownNodeError, match="Conv_999"):
        calibrated(float_model(), data, tmp_path, types={"Conv_999": "int16"})
    for bad in ({"op_types": ["LSTM"]}, {"method": "best"}, {"types": {"Conv": "int99"}},
                {"percentile": 20.0}, {"weight_type": "uint8"}):  # fmt: skip
        with pytest.raises(UsageError):
            calibrated(float_model(), data, tmp_path, **bad)


def test_an_unsigned_type_gets_a_zero_point_where_data_are_negative(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="MatMul_0")
    model = graphs.model([node], {"x": [1, 2]}, constants={"w": np.eye(2, dtype=np.float32)})
    x = np.array([[-1.0, 3.0]], np.float32)
    made = calibrated(model, {"x": [x]}, tmp_path, activation_type="uint8")
    params = load_model(made).calibration_nodes[0].params
    assert params.thresholds == (-1.0, 3.0)
    assert params.zero_points == (64,), "255 - round(3 / (4 / 255))"


def test_nan_names_tensor_and_sample(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sqrt", ["x"], ["root"], name="Sqrt_0"),
        helper.make_node("MatMul", ["root", "w"], ["y"], name="MatMul_1"),
    ]
    model = graphs.model(nodes, {"x": [1, 2]}, constants={"w": np.eye(2, dtype=np.float32)})
    data = {"x": [np.ones((1, 2), np.float32), np.array([[1, -1]], np.float32)]}
    with pytest.raises(DataError, match=r"'root' has 1 NaN .* for input 'x', sample 1"):
        calibrated(model, data, tmp_path)


def test_what_cannot_be_calibrated(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="quantized already"):
        calibrated(onnx.load(demo.model_path()), {"input": [np.load(FILES[0])]}, tmp_path)
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"])], "body", [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])  # fmt: skip
    node = helper.make_node("If", ["yes"], ["y"], name="If_0", then_branch=inner, else_branch=inner)
    constants = {"w": np.eye(2, dtype=np.float32), "yes": np.array(True)}
    model = graphs.model([node], {"x": [1, 2]}, constants=constants)
    with pytest.raises(ModelError, match="inside the body of If 'If_0'"):
        calibrated(model, {"x": [np.ones((1, 2), np.float32)]}, tmp_path)


def test_command_line_and_lake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two calibrations are written, recorded, usable, and compared node by node."""
    onnx.save(float_model(), tmp_path / "float.onnx")
    lake = str(tmp_path / "lake")
    runs = []
    for method in ("max", "kl"):
        out = tmp_path / f"{method}.onnx"
        code = main(
            ["calibrate", str(tmp_path / "float.onnx"), str(demo.calibration_data_path()), "-o",
             str(out), "-m", method, "-d", "4", "--save-data", str(tmp_path / "data"), "-t",
             "[Gemm=int16]", "--lake", lake, "--no-track", "--no-progress"])  # fmt: skip
        captured = capsys.readouterr()
        assert code == 0, captured.err
        runs.append(captured.err.split()[1])
    model, samples = onnx.load(out), [{"input": np.load(f)} for f in FILES[:4]]
    outputs = [value.name for value in model.graph.output]
    whole = rebuild.sensitivity(model, samples, {"": list(attributes(model))}, outputs)[""]
    told = re.match(r"all nodes quantized: cosine-similarity (\S+), sqnr (\S+) dB", captured.out)
    assert told is not None, captured.out
    expected = whole["cosine-similarity"], whole["sqnr"]
    assert tuple(map(float, told.groups())) == pytest.approx(expected, abs=2e-4)
    assert "calibrated by kl: " in captured.out and " activation nodes int16" in captured.out
    assert sorted(f.name for f in (tmp_path / "data/input").iterdir()) == [
        f"{k}.npy" for k in range(4)]  # fmt: skip
    CalibrationDataSet.from_folder(tmp_path / "data")
    rows = hmct_track.Lake(tmp_path / "lake").query(
        "compare_calibration", run_a=runs[0], run_b=runs[1], same=True)  # fmt: skip
    made = [attributes(onnx.load(tmp_path / f"{m}.onnx")) for m in ("max", "kl")]
    assert {row["node"] for row in rows} == set(made[0]) == set(made[1])
    assert abs(np.log(rows[0]["ratio"])) == max(abs(np.log(row["ratio"])) for row in rows)
    for row in rows:
        a, b = (max(m[row["node"]]["thresholds"]) for m in made)
        assert (row["threshold_a"], row["threshold_b"]) == pytest.approx((a, b), rel=1e-6)
    code = main(["calibrate", str(tmp_path / "float.onnx"), str(demo.calibration_data_path()), "-o",
                 str(tmp_path / "float.onnx"), "--lake", lake])  # fmt: skip
    assert code == 2 and "is the float model itself" in capsys.readouterr().err


def test_a_model_too_large_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a limit of 20 kB on a file, and a float model with weights in a file of their own
    THEN the weights lie beside the calibrated model, which is the same as in one file.
    """
    source = tmp_path / "float.onnx"
    own = onnx.ModelProto()
    own.CopyFrom(float_model())  # saving takes the weights out of the proto
    onnx.save(own, source, save_as_external_data=True, location="float.data")
    data = {"input": [np.load(f) for f in FILES[:2]]}
    whole = tmp_path / "whole.onnx"
    calibrated(source, data, tmp_path / "lake", output=whole)
    monkeypatch.setattr(onnx_io, "LARGEST_PROTO", 20_000)
    split = tmp_path / "split.onnx"
    result = hmct_track.calibrate(source, data, split, lake=tmp_path / "lake", track=False)
    assert split.stat().st_size < 100_000 < (tmp_path / "split.onnx.data").stat().st_size
    onnx.checker.check_model(str(whole))
    assert not list(tmp_path.glob(".*"))
    models = [load_model(file) for file in (whole, split, result.model)]
    assert len({model.model_id for model in models}) == 1
    runs = Lake.open(tmp_path / "lake").query("run_list")
    assert {run["model_id"] for run in runs} == {models[0].model_id}
    x = {"input": np.load(FILES[5])}
    outputs = [graphs.run(file, x)[0] for file in (str(whole), str(split))]
    np.testing.assert_array_equal(*outputs)
    loaded = onnx.load(split)
    for tensor in loaded.graph.initializer:
        original = next(t for t in onnx.load(source).graph.initializer if t.name == tensor.name)
        np.testing.assert_array_equal(*map(numpy_helper.to_array, (tensor, original)))
