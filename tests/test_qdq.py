"""QDQ models are read as the same quantizers written as HzCalibration nodes are."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.cli import main
from hmct_track.engine import Engine
from hmct_track.errors import ModelError, UsageError
from hmct_track.model import load_model
from hmct_track.types import CalibrationKind, QuantConfig, Quantization
from tests.support import graphs
from tests.support.floats import SAMPLES, as_calibrated, float_model, outputs_of, qdq
from tests.support.quantized import quantized

KINDS: dict[str, dict[str, object]] = {
    "uint8": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8},
    "int8-channels": {
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
    },
    "uint16": {"activation_type": QuantType.QUInt16, "weight_type": QuantType.QInt8},
    "int16-symmetric": {
        "activation_type": QuantType.QInt16,
        "weight_type": QuantType.QInt16,
        "per_channel": True,
        "extra_options": {"ActivationSymmetric": True},
    },
    "int4-contrib": {
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt4,
        "per_channel": True,
        "extra_options": {"UseQDQContribOps": True},
    },
    "uint8-contrib": {
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QUInt8,
        "extra_options": {"UseQDQContribOps": True},
    },
    "dedicated": {
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "extra_options": {"DedicatedQDQPair": True},
    },
    "float-weights": {
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "extra_options": {"AddQDQPairToWeight": True, "QuantizeBias": False},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_onnxruntime(kind: str, tmp_path: Path) -> None:
    """GIVEN a QDQ model and what was quantized
    THEN all quantizers on, it gives what onnxruntime gives for the file, and off, the float model.
    """
    path = quantized(tmp_path, kind, **KINDS[kind])
    model = load_model(path, float_model())
    assert not any(node.fixed for node in model.calibration_nodes)
    assert {n.name for n in float_model().graph.node} == {n.name for n in model.general_nodes}
    for sample in SAMPLES:
        expected = outputs_of(str(path), sample)
        np.testing.assert_array_equal(outputs_of(as_calibrated(model), sample), expected)
        off = graphs.run(model, sample, QuantConfig())[0]
        np.testing.assert_array_equal(off, graphs.run(demo.model_path(), sample, QuantConfig())[0])


@pytest.mark.parametrize(
    ("tool", "weights_and_biases"),
    [("aimet", 18), ("nncf", 18), ("intel", 36), ("quark", 36), ("quark-xint8", 36)],
)
def test_models_of_other_tools(tool: str, weights_and_biases: int) -> None:
    """GIVEN what scripts/qdq_exports.py made of the demo network
    THEN on, it gives what onnxruntime gives for the file; off, all float weights are back.
    """
    written = gzip.decompress((Path(__file__).parent / "data" / f"{tool}.onnx.gz").read_bytes())
    source = onnx.load_from_string(written)
    model = load_model(source, float_model())
    weights = [n for n in model.switchable_calibrations if n.kind is CalibrationKind.WEIGHT]
    assert len(weights) == weights_and_biases and not any(n.fixed for n in weights)
    assert all(n.fixed for n in load_model(source).calibration_nodes if n.kind == "weight")
    for sample in SAMPLES:
        got, expected = outputs_of(as_calibrated(model), sample), outputs_of(written, sample)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    originals = {t.name: numpy_helper.to_array(t) for t in float_model().graph.initializer}
    given = {t.name: numpy_helper.to_array(t) for t in model.proto.graph.initializer
             if t.name not in model.weights} | dict(model.weights)  # fmt: skip
    for name in ("Conv_0", "Gemm_34"):
        names = {name, f"{name}_quant"}  # Intel's tool renames nodes
        own = [given[n.input] for n in weights if names & set(n.consumers)]
        stem = "stem.weight" if name == "Conv_0" else "classifier.weight"
        (weight,) = (values for values in own if values.ndim > 1)
        np.testing.assert_array_equal(weight, originals[stem])
    off = graphs.run(model, SAMPLES[0], QuantConfig())[0]
    reference = graphs.run(demo.model_path(), SAMPLES[0], QuantConfig())[0]
    np.testing.assert_array_equal(off, reference)


def test_without_the_float_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = quantized(tmp_path, "q", **KINDS["uint8"])
    model = load_model(path)
    load_model(path)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2, "each is said once"
    assert "clip at zero and no Relu" in told[0] and "--float-model" in told[0]
    assert "holds 36 weights only as they were rounded" in told[1]
    weights = [n for n in model.calibration_nodes if n.kind is CalibrationKind.WEIGHT]
    assert len(weights) == 36 and all(n.fixed for n in weights)
    for sample in SAMPLES:
        expected = outputs_of(str(path), sample)
        np.testing.assert_array_equal(outputs_of(as_calibrated(model), sample), expected)
    with pytest.raises(UsageError, match="holds its weight only as it was rounded; give"):
        model.calibrations_of(weights[0].name)
    conv = model.general_by_name["Conv_0"]
    assert model.calibrations_of("Conv_0") == conv.calibration_nodes[:1]
    with pytest.raises(ModelError, match=r"has no weight to quantize.*--float-model"):
        dbg.get_sensitivity_of_nodes(
            path, calibrated_data=demo.calibration_data_path(), node_type="weight", lake=tmp_path
        )


def pair_of_models() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The same quantizers as QDQ pairs, some of them doubled, and as HzCalibration nodes."""
    rng = np.random.default_rng(3)
    weights = {f"w{i}": rng.standard_normal((4, 4, 1, 1)).astype(np.float32) for i in (0, 2)}
    scales = [0.02, 0.01, 0.03, 0.015]
    parts = {
        "xq": qdq("x", "xq", 0.031, 0),
        "w0q": qdq("w0", "w0q", scales, [0] * 4, axis=0),
        "bq": qdq("b", "bq", 0.02, 3, dtype=np.uint8),
        "bq2": qdq("bq", "bq2", 0.02, 3, dtype=np.uint8),
        "w2q": qdq("w2", "w2q", 0.025, 0),
    }
    again = helper.make_node("DequantizeLinear", ["bq2_q", "bq2_s", "bq2_z"], ["bq3"])
    constants = dict(weights)
    for _, found in parts.values():
        constants |= found
    conv0 = helper.make_node("Conv", ["xq", "w0q"], ["a"], name="Conv_0")
    relu = helper.make_node("Relu", ["a"], ["b"], name="Relu_1")
    tail = [
        helper.make_node("Conv", ["bq2", "w2q"], ["c"], name="Conv_2"),
        helper.make_node("Add", ["c", "bq3"], ["y"], name="Add_3"),
    ]
    shape = {"x": [1, 4, 5, 5]}
    written = graphs.model(
        [*parts["xq"][0], *parts["w0q"][0], conv0, relu, *parts["bq"][0], *parts["bq2"][0], again,
         *parts["w2q"][0], *tail], shape, constants=constants)  # fmt: skip
    zero = {"qtype": "uint8", "zero_point": [3]}
    calibrated = graphs.model(
        [
            graphs.calibration("x", "xq", "xq_Q", scales=[0.031], qtype="int8"),
            graphs.calibration("w0", "w0q", "w0q_Q", scales=scales, qtype="int8", axis=0),
            conv0,
            relu,
            graphs.calibration("b", "bq", "bq_Q", scales=[0.02], **zero),
            graphs.calibration("w2", "w2q", "w2q_Q", scales=[0.025], qtype="int8"),
            helper.make_node("Conv", ["bq", "w2q"], ["c"], name="Conv_2"),
            helper.make_node("Add", ["c", "bq"], ["y"], name="Add_3"),
        ],
        shape,
        constants=weights,
    )
    return written, calibrated


def test_the_same_quantizers_written_both_ways_measure_alike() -> None:
    """GIVEN one model as QDQ, with doubled and shared pairs, and as HzCalibration
    THEN nodes, parameters and every statistic of every configuration are equal.
    """
    models = [load_model(m) for m in pair_of_models()]
    left, right = models
    assert left.general_nodes == right.general_nodes
    assert left.calibration_nodes == right.calibration_nodes
    assert left.calibration_by_name["bq_Q"].consumers == ("Conv_2", "Add_3")
    names = [n.name for n in left.calibration_nodes]
    configs = [
        QuantConfig(Quantization.AS_CALIBRATED),
        *(QuantConfig.only([name]).canonical(names) for name in names),
        *(QuantConfig.all_but([name]).canonical(names) for name in names),
    ]
    rng = np.random.default_rng(4)
    samples = {
        f"s{k}": {"x": rng.standard_normal((1, 4, 5, 5)).astype(np.float32)} for k in range(3)
    }
    measured = [set(Engine(m).evaluate(configs, samples, ["b", "y"])) for m in models]
    assert measured[0] == measured[1]
    assert len(measured[0]) == len(configs) * 3 * 2


def integer_models(
    domain: str, activation: str, weight: str
) -> tuple[onnx.ModelProto, onnx.ModelProto, onnx.ModelProto]:
    """A Conv with integer weight and bias as QDQ, what was quantized, and it as HzCalibration."""
    rng = np.random.default_rng(5)
    w = rng.uniform(-0.06, 0.06, (4, 4, 1, 1)).astype(np.float32)
    b = rng.standard_normal(4).astype(np.float32)
    scale, zero = np.float32(0.02), 7 if activation.startswith("u") else 0
    scales = np.array([0.01, 0.009, 0.012, 0.008], np.float32)
    steps = scales * scale
    low, high = {"int4": (-8, 7), "int8": (-128, 127)}[weight]
    integers = np.clip(np.rint(w / scales.reshape(-1, 1, 1, 1)), low, high)
    options = {"domain": domain}
    pair, constants = qdq("x", "xq", float(scale), zero, dtype=np.dtype(activation), **options)
    constants |= {
        "w_q": integers.astype(weight), "w_s": scales, "w_z": np.zeros(4).astype(weight),
        "b_q": np.rint(b / steps).astype(np.int32), "b_s": steps,
        "b_z": np.zeros(4, np.int32)}  # fmt: skip
    lone = [
        helper.make_node(
            "DequantizeLinear", [f"{n}_q", f"{n}_s", f"{n}_z"], [f"{n}d"], name=f"{n}_DQ", axis=0,
            **options)
        for n in "wb"
    ]  # fmt: skip
    conv = helper.make_node("Conv", ["xq", "wd", "bd"], ["y"], name="Conv_0")
    plain = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="Conv_0")
    shape, floats = {"x": [1, 4, 5, 5]}, {"w": w, "b": b}
    written = graphs.model([*pair, *lone, conv], shape, constants=constants, opset=21)
    if domain:
        written.opset_import.append(helper.make_opsetid(domain, 1))
    calibrated = graphs.model(
        [
            graphs.calibration("x", "xq", "xq_Q", scales=[float(scale)], qtype=activation,
                               zero_point=[zero]),
            graphs.calibration("w", "wd", "w_DQ", scales=scales.tolist(), qtype=weight, axis=0),
            graphs.calibration("b", "bd", "b_DQ", scales=steps.tolist(), qtype="int32", axis=0),
            conv,
        ],
        shape, constants=floats, opset=21)  # fmt: skip
    return written, graphs.model([plain], shape, constants=floats, opset=21), calibrated


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
@pytest.mark.parametrize(
    ("activation", "weight"),
    [("uint16", "int4"), ("int16", "int8"), ("uint8", "int8"), ("int8", "int4")],
)
def test_integer_weights_and_biases_measure_as_calibration_nodes(
    domain: str, activation: str, weight: str
) -> None:
    """GIVEN integer weights and an int32 bias, and the same quantizers as HzCalibration nodes
    THEN parameters and every statistic of every configuration are equal.
    """
    written, original, calibrated = integer_models(domain, activation, weight)
    models = load_model(written, original), load_model(calibrated)
    nodes = [{n.name: (n.kind, n.params.scales, n.params.zero_points, n.params.qtype, n.consumers)
              for n in m.calibration_nodes} for m in models]  # fmt: skip
    assert nodes[0] == nodes[1] and not any(n.fixed for n in models[0].calibration_nodes)
    names = list(nodes[0])
    configs = [
        QuantConfig().canonical(names),
        QuantConfig(Quantization.AS_CALIBRATED),
        *(QuantConfig.only([name]).canonical(names) for name in names),
        *(QuantConfig.all_but([name]).canonical(names) for name in names),
    ]
    rng = np.random.default_rng(6)
    samples = {f"s{k}": {"x": rng.standard_normal((1, 4, 5, 5)).astype(np.float32)}
               for k in range(2)}  # fmt: skip
    measured = [set(Engine(m).evaluate(configs, samples, ["y"])) for m in models]
    assert measured[0] == measured[1]
    assert len({m.statistics for m in measured[0]}) == len(configs) * len(samples)


@pytest.mark.parametrize("name", ["c", "m"], ids=["onnxruntime", "neural-compressor"])
def test_a_clip_that_the_quantizer_dropped_is_put_back(name: str) -> None:
    """GIVEN a range that begins at zero where the float model has Clip, by either tensor's name
    THEN off, the Clip is there again with its bounds.
    """
    bounds = {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    weights = {"w": np.eye(4, dtype=np.float32), "v": np.eye(4, dtype=np.float32) * 2}
    node = helper.make_node
    original = graphs.model(
        [
            node("MatMul", ["x", "w"], ["m"], name="MatMul_0"),
            node("Clip", ["m", "low", "high"], ["c"], name="Clip_1"),
            node("MatMul", ["c", "v"], ["y"], name="MatMul_2"),
        ],
        constants=weights | bounds,
    )
    pair, constants = qdq(name, "q", 0.03, 0, dtype=np.uint8)
    subject = graphs.model(
        [
            node("MatMul", ["x", "w"], [name], name="MatMul_0"),
            *pair,
            node("MatMul", ["q", "v"], ["y"], name="MatMul_2"),
        ],
        constants=weights | constants,
    )
    x = {"x": np.array([[-3, 1, 7, 9]], np.float32)}
    model = load_model(subject, original)
    assert [n.name for n in model.general_nodes] == ["MatMul_0", "Clip_1", "MatMul_2"]
    np.testing.assert_array_equal(graphs.run(model, x, QuantConfig())[0], [[0, 2, 12, 12]])
    assumed = load_model(subject)
    assert [n.op_type for n in assumed.general_nodes] == ["MatMul", "Relu", "MatMul"]
    np.testing.assert_array_equal(graphs.run(assumed, x, QuantConfig())[0], [[0, 2, 14, 18]])


def test_learnt_rounding_is_kept_as_the_file_has_it() -> None:
    """GIVEN integers that are not the nearest to the float weights (as AdaRound gives)
    THEN on, the weight is what the file holds; off, the float weight; int16, its rounding.
    """
    weight = np.array([[0.24, -0.26], [0.11, 0.4]], np.float32)
    integers = np.array([[3, -2], [1, 4]], np.int8)  # 0.24 up, -0.26 up: not to the nearest
    constants = {"w_q": integers, "s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w_q", "s", "z"], ["wd"], name="w_DQ"),
        helper.make_node("MatMul", ["x", "wd"], ["y"], name="MatMul_0"),
    ]
    shape = {"x": [2, 2]}
    subject = graphs.model(nodes, shape, constants=constants)
    original = graphs.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="MatMul_0")],
        shape,
        constants={"w": weight},
    )
    model = load_model(subject, original)
    x = {"x": np.eye(2, dtype=np.float32)}
    (on,) = graphs.run(model, x)
    np.testing.assert_array_equal(on, integers.astype(np.float32) * np.float32(0.1))
    (off,) = graphs.run(model, x, QuantConfig())
    np.testing.assert_array_equal(off, weight)


def test_float_weights_that_were_rounded_before_are_no_float_weights() -> None:
    """GIVEN Q and DQ on a weight that holds multiples of the scale, as AIMET exports it
    THEN it cannot be switched off without the float model, and is restored with it.
    """
    weight = np.array([[0.24, -0.26], [0.11, 0.4]], np.float32)
    pair, constants = qdq("w", "wd", 0.1, 0)
    nodes = [*pair, helper.make_node("MatMul", ["x", "wd"], ["y"], name="MatMul_0")]
    rounded = np.round(weight / np.float32(0.1)) * np.float32(0.1)
    subject = graphs.model(nodes, {"x": [2, 2]}, constants=constants | {"w": rounded})
    original = graphs.model(nodes[2:], {"x": [2, 2]}, constants={"wd": weight})
    assert load_model(subject).calibration_nodes[0].fixed
    model = load_model(subject, original)
    x = {"x": np.eye(2, dtype=np.float32)}
    np.testing.assert_array_equal(graphs.run(model, x)[0], rounded)
    np.testing.assert_array_equal(graphs.run(model, x, QuantConfig())[0], weight)


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each in one line that names the node."""
    nodes, constants = qdq("x", "xq", 0.1, 0)
    use = helper.make_node("Relu", ["xq"], ["y"], name="Relu_0")
    cases = {
        "feeds MaxPool 'Pool_0'": [
            nodes[0], helper.make_node("MaxPool", ["xq_q"], ["p"], name="Pool_0", kernel_shape=[1]),
            helper.make_node("DequantizeLinear", ["p", "xq_s", "xq_z"], ["xq"]), use],
        "computed at run time": [
            helper.make_node("ReduceMax", ["x"], ["xq_s2"], keepdims=0),
            helper.make_node("QuantizeLinear", ["x", "xq_s2", "xq_z"], ["xq_q"], name="xq_Q"),
            nodes[1], use],
        "has no calibration nodes.*hmct-debugger calibrate": [
            helper.make_node("Relu", ["x"], ["y"])],
        "export it in QDQ format": [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["a", "b", "c"]),
            helper.make_node("Cast", ["a"], ["y"], to=TensorProto.FLOAT)],
    }  # fmt: skip
    for message, graph in cases.items():
        with pytest.raises(ModelError, match=message):
            load_model(graphs.model(graph, constants=constants))
    bad = graphs.model([*nodes, use], constants=constants)
    bad.graph.initializer[1].CopyFrom(
        numpy_helper.from_array(np.zeros((), np.float32).astype("float8_e4m3fn"), "xq_z")
    )
    with pytest.raises(ModelError, match=r"'xq_Q'.*float8e4m3fn"):
        load_model(bad)


def test_command_line_with_the_float_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = quantized(tmp_path, "q", **KINDS["int8-channels"])
    code = main(
        ["get-sensitivity-of-nodes", str(path), str(demo.calibration_data_path()), "-n", "weight",
         "--float-model", str(tmp_path / "float.onnx"), "--lake", str(tmp_path / "lake"),
         "--no-track", "--no-progress"]
    )  # fmt: skip
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert "stem.weight_DequantizeLinear" in captured.out
    assert "as they were rounded" not in captured.err
