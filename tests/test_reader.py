"""Calibrated models as files have them: attributes, names, who feeds whom, and broken files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hmct_track import demo
from hmct_track.errors import ModelError, UnknownNodeError, UsageError
from hmct_track.model import Lowering, load_model
from hmct_track.types import CalibrationKind, CalibrationNode, QuantParams, TensorSpec
from tests.support.graphs import calibration, model, run, two_convolutions


def read(*, channels: int = 4, **attributes: Any) -> CalibrationNode:
    """The calibration node of these attributes in a model."""
    proto = model([calibration("x", "y", "my node", **attributes)], {"x": [None, channels]})
    return load_model(proto).calibration_nodes[0]


def f32(*values: float) -> tuple[float, ...]:
    return tuple(np.array(values, np.float32).tolist())


def test_scales_thresholds_and_defaults() -> None:
    node = read(scales=[0.5], thresholds=[63.5])
    assert node.params.qtype.name == "int8"
    assert node.params == QuantParams(node.params.qtype, (0.5,), (0,), (63.5,), 1)
    assert node.enabled
    assert node.kind is CalibrationKind.ACTIVATION


def test_an_attribute_for_each_channel() -> None:
    node = read(scales=[0.5, 0.25], thresholds=[60.0, 30.0], zero_point=[1, -1], axis=-2)
    assert node.params == QuantParams(node.params.qtype, (0.5, 0.25), (1, -1), (60.0, 30.0), -2)


def test_thresholds_of_an_asymmetric_node_are_pairs() -> None:
    assert read(scales=[0.5], thresholds=[-3.0, 124.5], zero_point=[-122]).params.thresholds == (
        *(-3.0, 124.5),
    )
    two = read(scales=[0.5, 1], thresholds=[-3.0, 124.5, -1.0, 2.0], zero_point=[-122, 0])
    assert two.params.thresholds == (-3.0, 124.5, -1.0, 2.0)


@pytest.mark.parametrize(
    "name",
    ["int8", "int4", "int5", "int12", "int16", "uint4", "uint8", "uint16", "int32"],
)
def test_qtype_names_the_type(name: str) -> None:
    assert read(scales=[0.5], qtype=name).params.qtype.name == name


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_float_types_need_no_scales(name: str) -> None:
    params = read(qtype=name, scales=[0.5], thresholds=[3.0]).params
    assert (params.qtype.name, params.scales, params.thresholds) == (name, (), (3.0,))
    assert read(qtype=name).params.thresholds == ()


@pytest.mark.parametrize(("bits", "name"), [(8, "int8"), (16, "int16"), (4, "int4"), (32, "int32")])
def test_bits_stand_for_a_signed_qtype(bits: int, name: str) -> None:
    assert read(scales=[0.5], bits=bits).params.qtype.name == name


def test_bits_that_agree_with_the_qtype_change_nothing() -> None:
    assert read(scales=[0.5], bits=8, qtype="uint8").params.qtype.name == "uint8"


def test_one_zero_point_holds_for_every_scale() -> None:
    assert read(scales=[0.5, 1], zero_point=[3], axis=0).params.zero_points == (3, 3)
    assert read(scales=[0.5, 1], axis=0).params.zero_points == (0, 0)


def test_scales_that_are_missing_follow_from_symmetric_thresholds() -> None:
    assert read(thresholds=[6.5]).params.scales == f32(6.5 / 127)
    assert read(thresholds=[6.5], qtype="int16").params.scales == f32(6.5 / 32767)
    assert read(thresholds=[6.0], qtype="uint8").params.scales == f32(6 / 255)
    params = read(thresholds=[1.0, 2.0, 3.0, 4.0]).params
    assert params.scales == f32(1 / 127, 2 / 127, 3 / 127, 4 / 127)
    assert params.zero_points == (0, 0, 0, 0)
    assert params.thresholds == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("attributes", "scale", "zero"),
    [
        ({"thresholds": [-1.0, 3.0]}, 4 / 255, 127 - 191),  # 3 / (4 / 255) = 191.25
        ({"thresholds": [-1.0, 3.0], "qtype": "uint8"}, 4 / 255, 255 - 191),
        ({"thresholds": [0.0, 25.5]}, 0.1, 127 - 255),
        ({"thresholds": [0.0, 25.5], "qtype": "uint8"}, 0.1, 0),
        ({"thresholds": [-1.0, 3.0], "qtype": "int16"}, 4 / 65535, 32767 - 49151),
        # Two positive thresholds are two channels, unless something says that they are a pair.
        ({"thresholds": [1.0, 26.5], "info_strings": ["asymq"]}, 0.1, 127 - 265),
        ({"thresholds": [1.0, 26.5], "zero_point": [5]}, 0.1, 127 - 265),
        ({"thresholds": [1.0, 26.5], "qtype": "uint8"}, 0.1, 255 - 265),
    ],
)
def test_scales_that_are_missing_follow_from_asymmetric_thresholds(
    attributes: dict[str, Any], scale: float, zero: int
) -> None:
    params = read(**attributes).params
    assert params.scales == f32(scale)
    assert params.zero_points == (zero,)
    assert params.thresholds == f32(*attributes["thresholds"])


def test_two_positive_thresholds_of_a_signed_type_are_two_channels() -> None:
    params = read(thresholds=[1.0, 2.0], info_strings=["scale", "per-channel"], axis=0).params
    assert params.scales == f32(1 / 127, 2 / 127)


def test_thresholds_that_are_missing_follow_from_the_scales() -> None:
    assert read(scales=[0.5, 0.25], axis=0).params.thresholds == (63.5, 31.75)
    asymmetric = read(scales=[0.5], zero_point=[-120]).params
    assert asymmetric.thresholds == (0.5 * (-128 + 120), 0.5 * (127 + 120))


@pytest.mark.parametrize(("switch", "enabled"), [("ON", True), ("OFF", False)])
def test_the_switch(switch: str, enabled: bool) -> None:
    assert read(scales=[0.5], switch=switch).enabled == enabled


@pytest.mark.parametrize(
    "ignored",
    [
        {"quant_attrs": [3, 0, 7]},
        {"cali_attrs": [1, 2]},
        {"max_num_bins": 16384},
        {"num_bins": 128},
        {"percentiles": [0.99, 0.9999]},
        {"group": 1},
        {"info_strings": ["scale", "per-tensor", "feature"]},
        {"info_strings": ["shift", "per-channel", "weight"]},
    ],
)
def test_what_is_left_over_from_calibration_is_ignored(ignored: dict[str, Any]) -> None:
    assert read(scales=[0.5], **ignored) == read(scales=[0.5])


def test_a_scale_of_zero_is_allowed() -> None:
    assert read(scales=[0.0]).params.scales == (0.0,)
    assert read(thresholds=[0.0, 0.0]).params.scales == (0.0,)


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"group": 1}, "scales", "never calibrated"),
    ({"scales": [0.5, float("nan")]}, "scales", "NaN or Inf"),
    ({"scales": [float("inf")]}, "scales", "NaN or Inf"),
    ({"scales": [0.5], "thresholds": [float("nan")]}, "thresholds", "NaN or Inf"),
    ({"scales": [0.5, -0.1]}, "scales", r"-0.1\d* is negative"),
    ({"scales": "0.5"}, "scales", "not a list of numbers"),
    ({"scales": ["0.5"]}, "scales", "not a list of numbers"),
    ({"scales": numpy_helper.from_array(np.ones(1, np.float32))}, "scales", "not a list of num"),
    ({"scales": [0.5], "thresholds": "63"}, "thresholds", "not a list of numbers"),
    ({"scales": [0.5], "thresholds": [1.0, 2.0, 3.0]}, "thresholds", "3 entries for 1 scales"),
    ({"scales": [0.5], "thresholds": [3.0, -3.0]}, "thresholds", "a minimum is above its maximum"),
    ({"scales": [0.5], "thresholds": [-3.0]}, "thresholds", "-3.0 is negative"),
    ({"thresholds": [-3.0]}, "thresholds", "-3.0 is negative"),
    ({"thresholds": [-1.0, -3.0]}, "thresholds", "a minimum is above its maximum"),
    ({"thresholds": [0.1, 2.0], "info_strings": "asymq"}, "info_strings", "not a list of strings"),
    ({"thresholds": [0.1, 2.0], "info_strings": 1}, "info_strings", "not a list of strings"),
    ({"scales": [0.5], "zero_point": [128]}, "zero_point", r"\[128\] is outside the range of int8"),
    ({"scales": [0.5], "zero_point": [-1], "qtype": "uint8"}, "zero_point", "range of uint8"),
    ({"scales": [0.5, 1, 2], "zero_point": [0, 1]}, "zero_point", "2 entries for 3 scales"),
    ({"scales": [0.5], "zero_point": [0.5]}, "zero_point", "not all integers"),
    ({"scales": [0.5], "zero_point": "0"}, "zero_point", "not a list of numbers"),
    *(
        ({"scales": [0.5], "qtype": qtype}, "qtype", f"'{qtype}' is not supported")
        for qtype in ("float8e4m3fn", "float8e5m2", "mxint8", "int3", "int17", "")
    ),
    ({"scales": [0.5], "qtype": 8}, "qtype", "8 is not a string"),
    ({"scales": [0.5], "bits": 3}, "bits", "'int3' is not supported"),
    ({"scales": [0.5], "bits": 8.0}, "bits", "8.0 is not an integer"),
    ({"scales": [0.5], "bits": 8, "qtype": "int16"}, "bits", "8 contradicts .* qtype, int16"),
    ({"scales": [0.5], "axis": "1"}, "axis", "not an integer"),
    ({"scales": [0.5], "axis": [1]}, "axis", "not an integer"),
    ({"scales": [0.5], "constant": "0"}, "constant", "not an integer"),
    ({"scales": [0.5], "switch": "on"}, "switch", "'on' is neither 'ON' nor 'OFF'"),
    ({"scales": [0.5], "switch": 1}, "switch", "1 is not a string"),
    ({"scales": [0.5], "block_sizes": [32]}, "block_sizes", "found at run time.*not a static"),
    ({"scales": [0.5], "dynamic_strategy": "max"}, "dynamic_strategy", "found at run time"),
    ({"scales": [0.5], "scale": [0.5]}, "scale", "not understood"),
]


@pytest.mark.parametrize(
    ("attributes", "attribute", "why"), REFUSED, ids=[f"{r[1]}: {r[2]}" for r in REFUSED]
)
def test_what_is_wrong_is_an_error_that_names_node_and_attribute(
    attributes: dict[str, Any], attribute: str, why: str
) -> None:
    with pytest.raises(ModelError, match=rf"(?s)'my node', attribute {attribute}: .*{why}"):
        read(**attributes)


W = np.arange(16, dtype=np.float32).reshape(4, 4)


def _sources() -> dict[str, tuple[list[onnx.NodeProto], CalibrationKind]]:
    """What can be before the tensor ``t``: x is an input, w an initializer."""
    weight, activation = CalibrationKind.WEIGHT, CalibrationKind.ACTIVATION
    node = helper.make_node
    constant = node("Constant", [], ["k"], value=numpy_helper.from_array(W))
    result = helper.make_tensor_value_info("i", TensorProto.FLOAT, None)
    body = helper.make_graph([node("Identity", ["x"], ["i"])], "body", [], [result])
    return {
        "input": ([node("Identity", ["x"], ["t"])], activation),
        "initializer": ([node("Identity", ["w"], ["t"])], weight),
        "Constant": ([constant, node("Transpose", ["k"], ["t"])], weight),
        "two constants": ([constant, node("MatMul", ["k", "w"], ["t"])], weight),
        "constant and input": ([constant, node("MatMul", ["k", "x"], ["t"])], activation),
        "optional input": ([node("Clip", ["w", "", "max"], ["t"])], weight),
        "quantized constant": ([calibration("w", "k"), node("Neg", ["k"], ["t"])], weight),
        "shape of the input": (
            [node("Shape", ["x"], ["k"]), node("Cast", ["k"], ["t"], to=TensorProto.FLOAT)],
            activation,
        ),
        "random like a constant": ([node("RandomNormalLike", ["w"], ["t"])], activation),
        "body that reads the input": (
            [node("If", ["truth"], ["t"], then_branch=body, else_branch=body)],
            activation,
        ),
        "random": ([node("RandomNormal", [], ["t"], shape=[4, 4])], activation),
    }


@pytest.mark.parametrize("source", _sources())
def test_the_graph_decides_what_is_a_weight(source: str) -> None:
    before, kind = _sources()[source]
    nodes = [*before, calibration("t", "y", "last")]
    constants = {"w": W, "max": np.array(3, np.float32), "truth": np.array(True)}
    assert load_model(model(nodes, constants=constants)).calibration_by_name["last"].kind is kind


@pytest.mark.parametrize("source", ["x", "w"])
@pytest.mark.parametrize("constant", [0, 1, 2])
def test_a_constant_attribute_that_disagrees_is_warned_of(
    constant: int, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    proto = model(
        [calibration(source, "y", "my node", scales=[0.5], constant=constant)], constants={"w": W}
    )
    with caplog.at_level(logging.WARNING):
        kind = load_model(proto).calibration_nodes[0].kind
    assert kind is (CalibrationKind.WEIGHT if source == "w" else CalibrationKind.ACTIVATION)
    if (constant, source) in ((0, "w"), (1, "x")):
        (message,) = (record.getMessage() for record in caplog.records)
        assert f"'my node' says constant={constant}" in message
        assert ("is a constant" in message) == (source == "w")
    else:  # 2 says that training has fixed the scales, of a weight or not
        assert not caplog.records


def test_nodes_and_who_feeds_whom() -> None:
    loaded = load_model(two_convolutions())
    general = [(n.name, n.index, n.op_type, n.calibration_nodes) for n in loaded.general_nodes]
    assert general == [
        ("Conv_0", 0, "Conv", ("1_HzCalibration", "2_HzCalibration")),
        ("Relu_1", 1, "Relu", ()),
        ("Conv_2", 2, "Conv", ("3_HzCalibration", "4_HzCalibration")),
    ]
    calibrations = [
        (n.name, n.index, n.kind.value, n.input, n.output, n.consumers)
        for n in loaded.calibration_nodes
    ]
    assert calibrations == [
        ("1_HzCalibration", 0, "activation", "x", "xq", ("Conv_0",)),
        ("2_HzCalibration", 1, "weight", "w0", "w0q", ("Conv_0",)),
        ("3_HzCalibration", 2, "activation", "b", "bq", ("Conv_2",)),
        ("4_HzCalibration", 3, "weight", "w2", "w2q", ("Conv_2",)),
    ]
    assert [n.name for n in loaded.quantizable_nodes] == ["Conv_0", "Conv_2"]
    assert loaded.inputs == (TensorSpec("x", "float32", (1, 4, 5, 5)),)
    assert loaded.outputs == (TensorSpec("y", "float32", None),)
    assert (loaded.opset, loaded.path) == (13, None)


def test_a_shared_quantizer_lists_each_consumer_once_and_calibrations_are_no_consumers() -> None:
    proto = model(
        [
            calibration("x", "q", "first"),
            helper.make_node("Add", ["q", "q"], ["a"], name="Conv_50"),
            helper.make_node("Mul", ["q", "a"], ["y"], name="Add;[5](5) b/.:-"),
            calibration("q", "unread", "second"),
        ]
    )
    loaded = load_model(proto)
    assert loaded.calibration_by_name["first"].consumers == ("Conv_50", "Add;[5](5) b/.:-")
    assert loaded.calibration_by_name["second"].consumers == ()
    assert loaded.calibrations_of("Conv_50") == ("first",)
    assert loaded.calibrations_of("Add;[5](5) b/.:-") == ("first",)


def test_a_node_that_reads_a_quantizer_in_a_body_of_a_body_consumes_it() -> None:
    inner = helper.make_node("Neg", ["q"], ["i0"])
    for level in range(2):
        out = helper.make_tensor_value_info(f"i{level}", TensorProto.FLOAT, None)
        body = helper.make_graph([inner], f"body{level}", [], [out])
        inner = helper.make_node(
            "If", ["c"], [f"i{level + 1}"], name="outer", then_branch=body, else_branch=body
        )
    proto = model([calibration("x", "q"), inner], outputs=["i2"])
    proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    assert load_model(proto).calibration_nodes[0].consumers == ("outer",)


def test_inputs_that_are_not_known_in_shape_or_not_float() -> None:
    proto = model([calibration("x", "y")], {"x": ["batch", 0, None, 3]})
    proto.graph.input.append(helper.make_tensor_value_info("i", TensorProto.INT64, None))
    proto.graph.input.append(helper.make_tensor_value_info("s", TensorProto.FLOAT16, []))
    assert load_model(proto).inputs == (
        TensorSpec("x", "float32", (None, None, None, 3)),
        TensorSpec("i", "int64", None),
        TensorSpec("s", "float16", ()),
    )


def test_inputs_that_are_no_tensors_are_refused() -> None:
    proto = model([calibration("x", "y")])
    sequence = helper.make_tensor_sequence_value_info("many", TensorProto.FLOAT, None)
    proto.graph.input.append(sequence)
    with pytest.raises(ModelError, match="'many' is not a tensor"):
        load_model(proto)


def test_nodes_without_a_name_get_one_that_no_other_node_has() -> None:
    nodes = [
        calibration("x", "a"),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Neg", ["b"], ["c"], name="Neg_3"),
        helper.make_node("Neg", ["c"], ["d"]),
        helper.make_node("Neg", ["d"], ["e"]),
        helper.make_node("Neg", ["e"], ["y"], name="Neg_4"),
    ]
    loaded = load_model(model(nodes))
    assert loaded.node_names == (
        *("HzCalibration_0", "Neg_1", "Neg_3", "Neg_3_2", "Neg_4_2", "Neg_4"),
    )
    assert loaded.calibrations_of("Neg_1") == ("HzCalibration_0",)


def test_a_second_node_of_the_same_name_is_told_apart() -> None:
    names = ["Conv", "Conv", "Conv_2", "Conv", "q", "q"]
    tensors = ["x", *"abcde", "y"]
    nodes = [
        calibration(source, target, name, scales=[0.1 + k])
        if name == "q"
        else helper.make_node("Neg", [source], [target], name=name)
        for k, (name, source, target) in enumerate(
            zip(names, tensors[:-1], tensors[1:], strict=True)
        )
    ]
    loaded = load_model(model(nodes))
    assert loaded.node_names == ("Conv", "Conv_3", "Conv_2", "Conv_4", "q", "q_2")
    assert loaded.calibration_by_name["q_2"].params.scales == f32(5.1)


@pytest.mark.parametrize(
    ("wrong", "close"),
    [("Conv_1", "Conv_0"), ("conv_2", "Conv_2"), ("1_HzCalibratoin", "1_HzCalibration")],
)
def test_an_unknown_node_suggests_close_names(wrong: str, close: str) -> None:
    loaded = load_model(two_convolutions())
    with pytest.raises(UnknownNodeError, match=f"'{wrong}'; closest names: .*{close}"):
        loaded.calibrations_of(wrong)


def test_calibrations_of_a_node_of_itself_and_of_one_without() -> None:
    loaded = load_model(two_convolutions())
    assert loaded.calibrations_of("Conv_0") == ("1_HzCalibration", "2_HzCalibration")
    assert loaded.calibrations_of("3_HzCalibration") == ("3_HzCalibration",)
    with pytest.raises(UsageError, match=r"'Relu_1' \(Relu\) cannot be quantized"):
        loaded.calibrations_of("Relu_1")


def saved(proto: onnx.ModelProto, path: Path) -> Path:
    onnx.save(proto, path)
    return path


def test_the_id_is_that_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    proto = two_convolutions()
    expected = load_model(proto).model_id
    path = saved(proto, tmp_path / "model.onnx")
    loaded = load_model(path)
    assert loaded.path == path
    other = two_convolutions()
    other.producer_name, other.producer_version, other.doc_string = "me", "9", "words"
    other.graph.doc_string = "words"
    helper.set_model_props(other, {"date": "today"})
    assert load_model(str(path)).model_id == expected
    assert loaded.model_id == expected
    assert load_model(saved(other, tmp_path / "other.onnx")).model_id == expected


@pytest.mark.parametrize("shape", [(2, 2), (30, 30)], ids=["small", "large"])
def test_the_id_is_the_same_however_a_tensor_is_written(shape: tuple[int, int]) -> None:
    w = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    listed = helper.make_tensor("w", TensorProto.FLOAT, shape, w.ravel().tolist())
    raw = numpy_helper.from_array(w, "w")
    explicit = numpy_helper.from_array(w, "w")
    explicit.data_location = TensorProto.DEFAULT
    explicit.doc_string = "words"
    ids = set()
    for tensor in (listed, raw, explicit):
        proto = model([calibration("w", "wq"), helper.make_node("Add", ["x", "wq"], ["y"])])
        proto.graph.initializer.append(tensor)
        ids.add(load_model(proto).model_id)
    assert len(ids) == 1


def _changed(what: str) -> onnx.ModelProto:
    proto = two_convolutions()
    if what == "attribute":
        proto.graph.node[0].attribute.append(helper.make_attribute("zero_point", [1]))
    elif what == "node name":
        proto.graph.node[2].name = "Conv_9"
    elif what == "opset":
        proto.opset_import[0].version = 12
    else:
        tensor = proto.graph.initializer[0 if what == "weight" else -1]
        values = numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[-1] += 1e-6
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return proto


@pytest.mark.parametrize("what", ["attribute", "node name", "opset", "weight", "last weight"])
def test_the_id_changes_with_what_the_model_computes(what: str) -> None:
    assert load_model(_changed(what)).model_id != load_model(two_convolutions()).model_id


def test_the_id_changes_with_one_number_of_a_large_weight() -> None:
    def build(last: float) -> onnx.ModelProto:
        w = np.zeros((30, 30), np.float32)
        w[-1, -1] = last
        nodes = [calibration("w", "wq"), helper.make_node("Add", ["x", "wq"], ["y"])]
        return model(nodes, constants={"w": w})

    assert load_model(build(0)).model_id == load_model(build(0)).model_id
    assert load_model(build(0)).model_id != load_model(build(1e-9)).model_id


def test_the_given_proto_is_not_changed() -> None:
    proto = two_convolutions()
    load_model(proto)
    assert proto == two_convolutions()


@pytest.mark.parametrize("size", [1, 30], ids=["small", "large"])
def test_large_constants_leave_the_proto_and_small_ones_stay(size: int) -> None:
    w = np.ones((size, size), np.float32)
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(w))
    nodes = [constant, calibration("k", "a"), helper.make_node("Sum", ["a", "w"], ["y"])]
    loaded = load_model(model(nodes, constants={"w": w}))
    large = size == 30
    assert set(loaded.weights) == ({"w", "k"} if large else set())
    assert (loaded.proto.ByteSize() < 1000) or not large
    assert [node.op_type for node in loaded.general_nodes] == ["Sum"]


def _broken(kind: str, folder: Path) -> Path:
    path = folder / "model.onnx"
    if kind == "a folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not a model\n" * 20)
    elif kind == "an array":
        np.save(folder / "x.npy", np.zeros(100))
        path = folder / "x.npy"
    elif kind.startswith("text named"):
        path = folder / f"model.{kind.removeprefix('text named ')}"
        path.write_text("this is not a model")
    elif kind == "no calibration nodes":
        saved(model([helper.make_node("Neg", ["x"], ["y"])]), path)
    elif kind == "no nodes":
        saved(model([], {}, ()), path)
    elif kind == "no opset":
        proto = two_convolutions()
        del proto.opset_import[:]
        saved(proto, path)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist"),
        ("a folder", "is not a file; give the path of an .onnx file"),
        ("empty", "has no nodes; is it an ONNX model"),
        ("text", "is not an ONNX model, or is truncated"),
        ("an array", "is not an ONNX model, or is truncated"),
        ("text named json", "is not an ONNX model, or is truncated"),
        ("text named txt", "is not an ONNX model, or is truncated"),
        ("text named onnxtxt", "is not an ONNX model, or is truncated"),
        ("no calibration nodes", "has no calibration nodes.*calibrated_model.onnx"),
        ("no nodes", "has no nodes"),
        ("no opset", "names no version of the ONNX operator set"),
    ],
)
def test_a_file_that_is_no_calibrated_model_is_an_error_that_names_it(
    kind: str, message: str, tmp_path: Path
) -> None:
    path = _broken(kind, tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    proto = two_convolutions()
    del proto.opset_import[1]  # the last bytes: without them the model would mean the same
    content = proto.SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert load_model(path).model_id
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"model\.onnx"):
            load_model(path)


def _with_external_data(folder: Path, threshold: int = 0) -> Path:
    w = np.ones((30, 30), np.float32)
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(w[0]))
    nodes = [constant, calibration("w", "wq"), helper.make_node("Sum", ["x", "wq", "k"], ["y"])]
    onnx.save(
        model(nodes, {"x": [30]}, constants={"w": w}),
        folder / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=threshold,
        convert_attribute=True,
    )
    return folder / "model.onnx"


def test_missing_external_data_are_an_error_that_names_the_model(tmp_path: Path) -> None:
    path = _with_external_data(tmp_path)
    assert run(path, {"x": np.zeros(30, np.float32)})[0].shape == (30, 30)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(
        ModelError, match=r"cannot read model .*model\.onnx.*external data"
    ) as caught:
        load_model(path)
    assert "weights.bin" in str(caught.value)


@pytest.mark.parametrize("kept", [0, 50, 3000], ids=["nothing", "half a Constant", "half a weight"])
def test_external_data_that_end_early_are_an_error(tmp_path: Path, kept: int) -> None:
    path = _with_external_data(tmp_path)
    data = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(data[:kept])
    with pytest.raises(ModelError):
        load_model(path)


@pytest.mark.parametrize("where", ["initializer", "Constant"])
def test_a_proto_without_its_external_data_is_refused(where: str, tmp_path: Path) -> None:
    proto = onnx.load(_with_external_data(tmp_path), load_external_data=False)
    if where == "Constant":
        proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(W, "w"))
    with pytest.raises(ModelError, match="external file that was not loaded"):
        load_model(proto)


def test_a_weight_with_too_few_bytes_is_an_error_that_names_it() -> None:
    proto = two_convolutions()
    proto.graph.initializer[1].raw_data = proto.graph.initializer[1].raw_data[:-4]
    with pytest.raises(ModelError, match="'w2' is broken"):
        load_model(proto)


def test_weights_whose_channels_do_not_fit_are_refused_when_read() -> None:
    nodes = [calibration("w", "wq", "my node", scales=[0.1] * 3, axis=0)]
    with pytest.raises(ModelError, match=r"'my node': attribute scales has 3 .*axis 0 .*\[4, 4\]"):
        load_model(model(nodes, outputs=["wq"], constants={"w": W}))
    nodes = [calibration("w", "wq", "my node", scales=[0.1] * 4, axis=2)]
    with pytest.raises(ModelError, match=r"'my node': attribute axis=2 is outside.*\[4, 4\]"):
        load_model(model(nodes, outputs=["wq"], constants={"w": W}))


@pytest.mark.parametrize(
    ("inputs", "outputs"), [(["x", "x"], ["y"]), ([], ["y"]), (["x"], ["y", "z"]), (["x"], [])]
)
def test_a_calibration_node_has_one_input_and_one_output(
    inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    node = helper.make_node("HzCalibration", inputs, outputs, name="my node", domain="horizon")
    with pytest.raises(ModelError, match=r"'my node' has .*one of each was expected"):
        load_model(model([node]))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("op", ["HzCalibration", "HzGelu"])
def test_horizon_nodes_inside_a_body_are_refused(op: str, depth: int) -> None:
    inner = helper.make_node(op, ["x"], ["i0"], name="inner", domain="horizon")
    for level in range(depth):
        out = helper.make_tensor_value_info(f"i{level}", TensorProto.FLOAT, None)
        body = helper.make_graph([inner], f"body{level}", [], [out])
        inner = helper.make_node(
            "If", ["c"], [f"i{level + 1}"], name="If_0", then_branch=body, else_branch=body
        )
    proto = model([inner, calibration(f"i{depth}", "y")])
    proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    with pytest.raises(ModelError, match=rf"'inner' \({op}\) is inside the body of 'If_0' \(If\)"):
        load_model(proto)


def test_a_calibration_node_without_a_domain_is_one_as_well() -> None:
    node = calibration("x", "y", "q")
    node.domain = ""
    assert [c.name for c in load_model(model([node])).calibration_nodes] == ["q"]


def test_the_specs_of_inner_tensors_are_inferred() -> None:
    lowering = Lowering(load_model(two_convolutions()))
    assert lowering.spec("a") == TensorSpec("a", "float32", (1, 4, 5, 5))
    assert lowering.spec("w0q") == TensorSpec("w0q", "float32", (4, 4, 1, 1))
    assert lowering.spec("no such tensor") is None


def test_a_slice_whose_sizes_stay_unknown_is_calibrated_and_read(tmp_path: Path) -> None:
    """GIVEN a Slice behind an operator of which ONNX infers nothing
    THEN inference leaves the model as it was, and what is made of it is valid ONNX.
    """
    from hmct_track.model.inference import inferred_graph

    nodes = [
        helper.make_node("NonZero", ["x"], ["n"]),
        helper.make_node("Unknown", ["n"], ["u"], domain="com.example"),
        helper.make_node("Slice", ["u", "start", "end"], ["y"]),
    ]
    proto = model(nodes, constants={"start": np.array([0]), "end": np.array([1])})
    proto.opset_import.add(domain="com.example", version=1)
    before = proto.SerializeToString()
    graph = inferred_graph(proto)
    assert proto.SerializeToString() == before
    assert graph is None or {n.domain for n in graph.node} <= {"", "com.example"}


def test_the_demo_has_the_content_hash_that_lakes_know_it_by() -> None:
    """GIVEN lakes of earlier versions, whose rows have the model's hash in their key
    THEN reading the model does not change it.
    """
    assert load_model(demo.model_path()).model_id == "d52af7ff7c2b5ae1"
