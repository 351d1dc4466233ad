"""The float model beside a quantized one: what it gives back, and that another one is refused."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from hmct_track import demo
from hmct_track.analyses.configurations import alone, names_of_type
from hmct_track.cli import main
from hmct_track.engine import Engine, float_gap
from hmct_track.errors import EngineError, ModelError
from hmct_track.lake import Lake
from hmct_track.model import load_model, load_original
from hmct_track.report.reference import gap_db, gap_line
from hmct_track.types import CalibrationKind, NodeType, PairStatistics, QuantConfig, QuantType
from tests.support import graphs
from tests.support.floats import SAMPLES, as_calibrated, float_model, outputs_of, qdq

NNCF = Path(__file__).parent / "data" / "nncf.onnx.gz"
CORRECTED = 12
"""Biases of the demo network that NNCF changed, by comparing the two files."""


def nncf() -> onnx.ModelProto:
    return onnx.load_from_string(gzip.decompress(NNCF.read_bytes()))


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def run_by_itself(model: onnx.ModelProto, sample: dict[str, np.ndarray]) -> np.ndarray:
    """What onnxruntime gives for a model that hmct-track never read."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(None, sample)[0]


def test_off_is_the_float_model_and_on_is_the_file_though_biases_were_corrected() -> None:
    """GIVEN the demo network as NNCF quantized it, its biases corrected
    THEN off it gives what onnxruntime gives for the float model, to the last bit, and on what it
    gives for the file; the corrections go with the weights of their nodes.
    """
    own, given = initializers(nncf()), initializers(float_model())
    changed = [n for n in given if n in own and not np.array_equal(own[n], given[n])]
    assert len(changed) == CORRECTED and all(given[n].ndim == 1 for n in changed)
    model = load_model(nncf(), float_model())
    assert len(model.corrections) == CORRECTED
    for node in model.corrections:
        owner = model.calibration_by_name[node.goes_with or ""]
        assert owner.kind is CalibrationKind.WEIGHT and owner.consumers == node.consumers
        assert model.calibrations_of(owner.name) == (owner.name, node.name)
        assert node.name in model.calibrations_of(node.consumers[0])
        assert node.name not in model.general_by_name[node.consumers[0]].calibration_nodes
    for sample in SAMPLES:
        off = graphs.run(model, sample, QuantConfig())[0]
        np.testing.assert_array_equal(off, run_by_itself(float_model(), sample))
        expected = outputs_of(nncf().SerializeToString(), sample)
        got = outputs_of(as_calibrated(model), sample)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
        without = outputs_of(as_calibrated(load_model(nncf())), sample)
        np.testing.assert_array_equal(got, without)


def test_corrections_are_in_no_ranking_of_weights() -> None:
    """A bias that makes up for an error is an error of its own where that error is not."""
    model = load_model(nncf(), float_model())
    weights = alone(model, names_of_type(model, NodeType.WEIGHT), NodeType.WEIGHT)
    corrections = {node.name for node in model.corrections}
    assert len(weights) == 18 and not corrections & {p.subject for p in weights}
    switched = {name for p in weights for name in p.config.overrides}
    assert corrections <= switched


def corrected(bias: np.ndarray, **options: object) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A MatMul and an Add with another bias in the QDQ model than in the float model."""
    weight = np.array([[0.24, -0.26], [0.11, 0.4]], np.float32)
    node = helper.make_node
    tail = [
        node("MatMul", ["xq", "wq"], ["m"], name="MatMul_0"),
        node("Add", ["m", "b"], ["y"], name="Add_1"),
    ]
    activation, constants = qdq("x", "xq", 0.05, 0)
    rounded, more = qdq("w", "wq", 0.1, 0)
    subject = graphs.model(
        [*activation, *rounded, *tail],
        {"x": [2, 2]},
        constants={**constants, **more, "w": weight, "b": bias},
    )
    plain = [
        node("MatMul", ["x", "w"], ["m"], name="MatMul_0"),
        node("Add", ["m", "b"], ["y"], name="Add_1"),
    ]
    floats = {"w": weight, "b": np.array([1, 2], np.float32)}
    return subject, graphs.model(plain, {"x": [2, 2]}, constants=floats)


def test_the_bias_of_a_matmul_goes_with_its_weight() -> None:
    """GIVEN MatMul and Add, as transformers have biases
    THEN the corrected bias is on with the weight, off with the activation alone, and the float
    model's for another type of the weight.
    """
    model = load_model(*corrected(np.array([1.5, 1.75], np.float32)))
    (correction,) = model.corrections
    assert correction.name == "b_correction" and correction.goes_with == "wq_Q"
    assert [n.name for n in model.quantizable_nodes] == ["MatMul_0"]
    x = {"x": np.zeros((2, 2), np.float32)}

    def bias(config: QuantConfig) -> list[float]:
        return graphs.run(model, x, config)[0][0].tolist()

    assert bias(QuantConfig()) == [1, 2]
    assert bias(graphs.CALIBRATED) == [1.5, 1.75]
    assert bias(QuantConfig.only(model.calibrations_of("wq_Q"))) == [1.5, 1.75]
    assert bias(QuantConfig.only(model.calibrations_of("xq_Q"))) == [1, 2]
    assert bias(QuantConfig.all_but(model.calibrations_of("wq_Q"))) == [1, 2]
    assert bias(QuantConfig.only(model.calibrations_of("wq_Q"), QuantType("int16"))) == [1, 2]


def test_a_bias_that_is_as_it_was_is_no_correction() -> None:
    subject, original = corrected(np.array([1, 2], np.float32))
    assert load_model(subject, original).model_id == load_model(subject).model_id


def test_an_integer_bias_that_was_corrected_is_switched_with_the_weight() -> None:
    """GIVEN an int32 bias several steps from the float model's
    THEN it is the file's on, the float model's off, and no quantizer of its own.
    """
    rng = np.random.default_rng(1)
    weight = rng.uniform(-1, 1, (2, 3, 1, 1)).astype(np.float32)
    original_bias = np.array([0.5, -0.25], np.float32)
    integers = np.array([40, -30], np.int32)  # 0.4 and -0.3 where 50 and -25 are nearest
    activation, constants = qdq("x", "xq", 0.1, 0)
    rounded, more = qdq("w", "wq", 0.1, 0)
    dequantize = helper.make_node("DequantizeLinear", ["b_q", "b_s", "b_z"], ["bq"], name="b_DQ")
    conv = helper.make_node("Conv", ["xq", "wq", "bq"], ["y"], name="Conv_0")
    bias = {"b_q": integers, "b_s": np.array(0.01, np.float32), "b_z": np.array(0, np.int32)}
    shape = {"x": [1, 3, 2, 2]}
    subject = graphs.model([*activation, *rounded, dequantize, conv], shape,
                           constants={**constants, **more, **bias, "w": weight})  # fmt: skip
    plain = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="Conv_0")
    original = graphs.model([plain], shape, constants={"w": weight, "b": original_bias})
    model = load_model(subject, original)
    assert [n.name for n in model.calibration_nodes if n.goes_with] == ["b_DQ"]
    assert model.calibrations_of("b_DQ") == ("b_DQ",)
    assert "b_DQ" not in [n.name for n in model.switchable_calibrations]
    x = {"x": np.zeros((1, 3, 2, 2), np.float32)}
    off, on = (graphs.run(model, x, c)[0][0, :, 0, 0] for c in (QuantConfig(), graphs.CALIBRATED))
    np.testing.assert_array_equal(off, original_bias)
    np.testing.assert_array_equal(on, integers.astype(np.float32) * np.float32(0.01))


def test_equalized_channels_keep_their_biases(caplog: pytest.LogCaptureFixture) -> None:
    """GIVEN channels that were scaled, in one Conv up and in the next down, as equalization does
    THEN the file's weights and biases stay together, the float network is the same, and the gap
    is what rounding the weights leaves.
    """
    subject, original, x = equalized(np.array([4, 0.5, 2], np.float32))
    model = load_model(subject, original)
    assert not model.corrections
    assert [n.name for n in model.calibration_nodes if n.fixed] == ["w_DQ", "v_DQ"]
    assert "equalized" in caplog.text
    gap = float_gap(Engine(model), load_original(original), x)["y"]
    assert 20 < 10 * np.log10(gap.sum_xx / gap.sum_dd) < 80


def equalized(
    factors: np.ndarray,
) -> tuple[onnx.ModelProto, onnx.ModelProto, dict[str, np.ndarray]]:
    rng = np.random.default_rng(2)
    w, v = (rng.uniform(-1, 1, (3, 3, 1, 1)).astype(np.float32) for _ in "wv")
    b = rng.uniform(-1, 1, 3).astype(np.float32)
    scaled = {"w": w * factors[:, None, None, None], "v": v / factors[:, None, None]}
    constants: dict[str, np.ndarray] = {"b": b * factors}
    nodes = []
    for name, values in scaled.items():
        scale = np.float32(np.abs(values).max() / 127)
        constants |= {
            f"{name}_q": np.rint(values / scale).astype(np.int8),
            f"{name}_s": scale,
            f"{name}_z": np.array(0, np.int8),
        }
        inputs = [f"{name}_{k}" for k in "qsz"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}d"], name=f"{name}_DQ"))

    def tail(*names: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("Conv", ["x", names[0], "b"], ["c"], name="Conv_0"),
            helper.make_node("Relu", ["c"], ["r"], name="Relu_1"),
            helper.make_node("Conv", ["r", names[1]], ["y"], name="Conv_2"),
        ]

    shape = {"x": [1, 3, 2, 2]}
    floats = {"w": w, "v": v, "b": b}
    return (
        graphs.model([*nodes, *tail("wd", "vd")], shape, constants=constants),
        graphs.model(tail("w", "v"), shape, constants=floats),
        {"x": rng.standard_normal((1, 3, 2, 2)).astype(np.float32)},
    )


def test_factors_in_a_norm_stay_with_the_weight_that_undoes_them() -> None:
    """GIVEN what smoothing does: a norm's scale and shift divided by what the weight is
    multiplied by
    THEN off, the network is still the float model's but for rounding.
    """
    rng = np.random.default_rng(7)
    factors = np.array([4, 0.5, 2, 1], np.float32)
    weight = rng.standard_normal((4, 4)).astype(np.float32)
    floats = {"g": rng.uniform(0.5, 2, 4), "s": rng.standard_normal(4), "w": weight}
    floats = {name: values.astype(np.float32) for name, values in floats.items()}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g", "s"], ["n"], name="Norm_0"),
        helper.make_node("MatMul", ["n", "w"], ["y"], name="MatMul_1"),
    ]
    original = graphs.model(nodes, constants=floats, opset=17)
    smoothed = weight * factors[:, None]
    scale = np.float32(np.abs(smoothed).max() / 127)
    constants = {
        "g": floats["g"] / factors, "s": floats["s"] / factors, "w_s": scale,
        "w_q": np.rint(smoothed / scale).astype(np.int8), "w_z": np.array(0, np.int8),
    }  # fmt: skip
    dequantize = helper.make_node("DequantizeLinear", ["w_q", "w_s", "w_z"], ["w"], name="w_DQ")
    subject = graphs.model([dequantize, *nodes], constants=constants, opset=17)
    model = load_model(subject, original)
    assert not model.corrections
    sample = {"x": rng.standard_normal((2, 4)).astype(np.float32)}
    gap = float_gap(Engine(model), load_original(original), sample)
    assert 20 < gap_db(gap) < 80


def test_the_gap_of_a_model_that_fits_is_nothing_and_of_one_without_its_biases_is_measured() -> (
    None
):
    """GIVEN the corrected model, loaded with and without the float model
    THEN the gap is 0 with it; without it, it is that of the two outputs, by NumPy.
    """
    sample, original = SAMPLES[0], load_original(float_model())
    model = load_model(nncf(), float_model())
    (gap,) = float_gap(Engine(model), original, sample).values()
    assert gap.sum_dd == 0 and gap.sum_xx > 0
    other = load_model(nncf())
    (gap,) = float_gap(Engine(other), original, sample).values()
    x = run_by_itself(float_model(), sample).astype(np.float64)
    y = graphs.run(other, sample, QuantConfig())[0].astype(np.float64)
    assert gap.sum_dd == pytest.approx(np.square(x - y).sum(), rel=1e-9) and gap.sum_dd > 0
    assert gap.sum_xx == pytest.approx(np.square(x).sum(), rel=1e-9)


def pair(sum_xx: float, sum_dd: float, nonfinite: int = 0) -> PairStatistics:
    return PairStatistics(4, sum_xx, sum_xx, sum_xx, sum_dd, 0, 0, 0, nonfinite, 0)


def test_the_line_about_the_gap() -> None:
    model = load_model(nncf(), float_model())
    line = gap_line({"y": pair(4, 0)}, model)
    assert "is the float model, to the last bit" in line and "; 12 biases" in line
    gap = {"y": pair(4, 0), "z": pair(4, 0.04), "w": pair(4, 0.004)}
    assert gap_db(gap) == pytest.approx(20)
    lost = load_model(nncf())
    assert "is 20.0 dB (SQNR) from the float model at 'z'; 18 weights" in gap_line(gap, lost)
    assert np.isnan(gap_db({"y": pair(4, 0.04), "z": pair(4, 1, 1)}))


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(float_model())
    change(model)
    return model


def _rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "picture"
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = "picture" if name == "input" else name


def _grow_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7


def _second_output(model: onnx.ModelProto) -> None:
    name = model.graph.node[0].output[0]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _one_less(model: onnx.ModelProto) -> None:
    last = model.graph.node[-1]
    assert last.op_type == "Gemm"
    last.op_type = "Identity"
    del last.input[1:], last.attribute[:]


def _set(
    name: str, values: Callable[[np.ndarray], np.ndarray]
) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        (tensor,) = (t for t in model.graph.initializer if t.name == name)
        made = values(numpy_helper.to_array(tensor))
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(made), name))

    return change


def _other_values(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(values.shape).astype(np.float32)


def _calibrated(model: onnx.ModelProto) -> None:
    model.CopyFrom(onnx.load(demo.model_path()))


UNFIT = {
    "its inputs are 'picture' and not 'input'": _rename_input,
    r"its input 'input' is float\[.*7, .*\] and not float\[": _grow_input,
    "it has 2 outputs and not 1": _second_output,
    r"it has 17 nodes with weights \(17 Conv\) and not 18 \(17 Conv, 1 Gemm\)": _one_less,
    r"the weight of Conv 'Conv_0' has shape \[": _set(
        "stem.weight", lambda w: np.concatenate([w, w], axis=0)
    ),
    r"the weight of Conv 'Conv_0' is none of its weights: they explain": _set(
        "stem.weight", _other_values
    ),
    "the weight of Gemm 'Gemm_34' is none of its": _set("classifier.weight", _other_values),
    "is quantized itself .HzCalibration": _calibrated,
}


def _cut_short(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-4]


def _circle(model: onnx.ModelProto) -> None:
    node = model.graph.node[-1]
    before = helper.make_node("Identity", ["back"], ["there"])
    back = helper.make_node("Identity", ["there"], ["back"])
    node.input[0] = "back"
    model.graph.node.extend([before, back])


def _no_inputs(model: onnx.ModelProto) -> None:
    del model.graph.node[0].input[:]


@pytest.mark.parametrize("broken", [_cut_short, _no_inputs])
def test_a_broken_float_model_is_refused(broken: Callable[[onnx.ModelProto], None]) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(nncf(), changed(broken))
    assert "\n" not in str(caught.value)


def test_a_circle_in_the_float_model_is_left_to_the_runtime() -> None:
    broken = changed(_circle)
    model = load_model(nncf(), broken)  # ends
    with pytest.raises(EngineError):
        float_gap(Engine(model), load_original(broken), SAMPLES[0])


@pytest.mark.parametrize("message", UNFIT)
@pytest.mark.parametrize("quantized", ["qdq", "calibrated"])
def test_another_float_model_is_refused(message: str, quantized: str) -> None:
    """GIVEN a QDQ model or one with HzCalibration nodes, and the float model of another network
    THEN one line says what differs.
    """
    subject = nncf() if quantized == "qdq" else onnx.load(demo.model_path())
    with pytest.raises(ModelError, match=message) as caught:
        load_model(subject, changed(UNFIT[message]))
    assert "\n" not in str(caught.value) and "give the model that was quantized" in str(
        caught.value
    )


def test_a_calibrated_model_does_not_need_its_float_model(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """GIVEN a model with HzCalibration nodes and what it was made from
    THEN a line says that it adds nothing, and nothing changes.
    """
    model = load_model(demo.model_path(), float_model())
    assert "holds its float values itself; the float model adds nothing" in caplog.text
    assert model.model_id == load_model(demo.model_path()).model_id


def test_a_calibrated_model_with_a_corrected_bias_is_measured_against_the_float_model() -> None:
    subject = onnx.load(demo.model_path())
    (bias,) = (t for t in subject.graph.initializer if t.name == "classifier.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, bias.name))
    model = load_model(subject, float_model())
    assert [n.consumers for n in model.corrections] == [("Gemm_34",)]
    off = graphs.run(model, SAMPLES[0], QuantConfig())[0]
    np.testing.assert_array_equal(off, run_by_itself(float_model(), SAMPLES[0]))


def test_batch_normalization_may_be_folded_in_the_calibrated_model(tmp_path: Path) -> None:
    """GIVEN a float model with BatchNormalization and what `calibrate` makes of it
    THEN it fits.
    """
    rng = np.random.default_rng(4)
    constants = {"w": rng.standard_normal((4, 3, 1, 1)), "g": rng.uniform(0.1, 9, 4),
                 "s": rng.standard_normal(4), "m": rng.standard_normal(4),
                 "v": rng.uniform(1, 2, 4)}  # fmt: skip
    original = graphs.model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="Conv_0"),
            helper.make_node("BatchNormalization", ["c", *"gsmv"], ["y"], name="Norm_1"),
        ],
        {"x": [1, 3, 2, 2]},
        constants={name: values.astype(np.float32) for name, values in constants.items()},
    )
    onnx.save(original, tmp_path / "float.onnx")
    (tmp_path / "data" / "x").mkdir(parents=True)
    x = rng.standard_normal((1, 3, 2, 2)).astype(np.float32)
    np.save(tmp_path / "data" / "x" / "0.npy", x)
    made = tmp_path / "calibrated.onnx"
    lake = ["--lake", str(tmp_path / "lake"), "--no-track"]
    assert main(["calibrate", str(tmp_path / "float.onnx"), str(tmp_path / "data"), "-o", str(made),
                 *lake]) == 0  # fmt: skip
    model = load_model(made, tmp_path / "float.onnx")
    assert not model.corrections
    gap = float_gap(Engine(model), load_original(original), {"x": x})["y"]
    assert gap.sum_dd < 1e-10 * gap.sum_xx


def test_the_command_line_refuses_another_float_model_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    onnx.save(changed(_one_less), tmp_path / "other.onnx")
    caplog.set_level(logging.ERROR)
    code = main(
        ["get-sensitivity-of-nodes", str(demo.model_path()), str(demo.calibration_data_path()),
         "--float-model", str(tmp_path / "other.onnx"), "--lake", str(tmp_path / "lake"),
         "--no-track", "--no-progress"]
    )  # fmt: skip
    captured = capsys.readouterr()
    assert code != 0 and captured.out == ""
    assert captured.err.count("\n") == 1 and "is not what" in captured.err


def test_every_run_tells_and_keeps_how_far_its_reference_is_from_the_float_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """GIVEN a run with the float model and one without
    THEN the gap is said once and kept with the first, and not with the other.
    """
    onnx.save(float_model(), tmp_path / "float.onnx")
    onnx.save(nncf(), tmp_path / "nncf.onnx")
    command = ["get-sensitivity-of-nodes", str(tmp_path / "nncf.onnx"),
               str(demo.calibration_data_path()), "-i", "[Conv_2]", "--no-track",
               "--no-progress", "--lake", str(tmp_path / "lake")]  # fmt: skip
    assert main(command) == 0
    assert "float reference is" not in caplog.text
    assert main([*command, "--float-model", str(tmp_path / "float.onnx")]) == 0
    said = [r.getMessage() for r in caplog.records if "the float reference is" in r.getMessage()]
    assert len(said) == 1 and "is the float model, to the last bit; 12 biases" in said[0]
    runs = Lake.open(tmp_path / "lake").sql("SELECT float_gap FROM runs ORDER BY run_id").rows
    assert runs == [(None,), (np.inf,)]
