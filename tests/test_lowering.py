"""Lowered models, run by onnxruntime, against fake quantization in NumPy: equal bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hmct_track.engine.runtime import Runtime
from hmct_track.errors import EngineError, HmctTrackError, ModelError
from hmct_track.model import Lowering, fake_quantize, load_model
from hmct_track.types import CalibrationKind, Effect, QuantConfig, QuantParams, QuantType
from tests.support.graphs import CALIBRATED, calibration, model, run, two_convolutions

OPSETS = [10, 11, 12, 13, 15, 17, 18, 19, 20, 21, 22]
TYPES = [
    *("int4", "int5", "int8", "int12", "int16", "uint4", "uint8", "uint16", "int32"),
    *("float16", "float32"),
]
SHAPE = (2, 3, 4, 5)
AXES = [None, *range(-len(SHAPE), len(SHAPE))]
INT8 = QuantType("int8")
OFF = QuantConfig()


def values(scale: float = 1 / 16, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """Ordinary numbers, zeros, halves of the scale (ties), and numbers beyond every range."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 60 * scale, shape).astype(np.float32)
    flat = x.reshape(-1)
    flat[::4] = np.rint(flat[::4] / scale) * scale + np.float32(scale / 2)
    flat[1::9] *= np.float32(1e6)
    flat[2::9] = 0
    return x


def params_for(name: str, axis: int | None) -> QuantParams:
    """Scales and zero points, different for each channel along ``axis``; 0 among the scales."""
    qtype = QuantType(name)
    if not qtype.is_integer:
        return QuantParams(qtype)
    rng = np.random.default_rng([qtype.bits, qtype.is_signed, 99 if axis is None else axis + 4])
    count = 1 if axis is None else SHAPE[axis]
    scales = rng.uniform(0.01, 0.1, count).astype(np.float32)
    scales[0] = 1 / 16  # a power of two, for which the ties among ``values`` are exact
    scales[1:2] = 0
    zero_points = rng.integers(qtype.qmin, qtype.qmax, count, endpoint=True)
    axis = 1 if axis is None else axis
    return QuantParams(qtype, tuple(scales.tolist()), tuple(zero_points.tolist()), (), axis)


def attributes(params: QuantParams) -> dict[str, Any]:
    found: dict[str, Any] = {"qtype": params.qtype.name, "axis": params.axis}
    if params.scales:
        found |= {"scales": params.scales, "zero_point": params.zero_points}
    return found


@pytest.mark.parametrize(
    "declared", [SHAPE, ("n", None, 4, "w"), None], ids=["static", "dynamic", "unknown rank"]
)
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("opset", OPSETS)
def test_quantizers_equal_the_formula_bit_by_bit(
    opset: int, name: str, declared: Sequence[int | str | None] | None
) -> None:
    quantizers = {f"y{axis}": params_for(name, axis) for axis in AXES}
    nodes = [calibration("x", y, f"to {y}", **attributes(p)) for y, p in quantizers.items()]
    proto = model(nodes, {"x": declared}, tuple(quantizers), opset=opset)
    x = values()
    x.reshape(-1)[:3] = np.nan, np.inf, -np.inf
    for (y, params), got in zip(quantizers.items(), run(proto, {"x": x}), strict=True):
        expected = fake_quantize(x, params)
        if name in ("int8", "uint8", "int16", "uint16") and not params.is_per_channel:
            # Where onnxruntime has an operator, NaN becomes the smallest integer, as on a chip.
            expected.flat[0] = np.nanmin(expected)
        np.testing.assert_array_equal(got, expected, err_msg=y, strict=True)


@pytest.mark.parametrize("effect", [Effect.CLIP_ONLY, Effect.ROUND_ONLY])
@pytest.mark.parametrize(
    "declared", [SHAPE, ("n", None, 4, "w"), None], ids=["static", "dynamic", "unknown rank"]
)
@pytest.mark.parametrize("name", [n for n in TYPES if "int" in n])
@pytest.mark.parametrize("opset", [10, 11, 13, 17, 22])
def test_clipping_or_rounding_alone_equals_its_formula_bit_by_bit(
    opset: int, name: str, declared: Sequence[int | str | None] | None, effect: Effect
) -> None:
    quantizers = {f"y{axis}": replace(params_for(name, axis), effect=effect) for axis in AXES}
    nodes = [calibration("x", y, f"to {y}") for y in quantizers]
    proto = model(nodes, {"x": declared}, tuple(quantizers), opset=opset)
    config = QuantConfig(overrides={f"to {y}": params for y, params in quantizers.items()})
    x = values()
    # Beyond 2^22 steps float32 has halves, beyond 2^23 none, beyond 2^24 not every integer.
    x.reshape(-1)[3:15] = np.float32([[2**22 + 0.5, 2**22 + 1.5, 2**23 - 0.5, 2**23 + 1],
                                      [-(2**22) - 0.5, 1e30, -1e30, -(2**23) - 1],
                                      [2**24 + 2, 0.5, -0.5, 1.5]]).ravel() / 16  # fmt: skip
    x.reshape(-1)[:3] = np.nan, np.inf, -np.inf
    for (y, params), got in zip(quantizers.items(), run(proto, {"x": x}, config), strict=True):
        with np.errstate(invalid="ignore"):
            expected = alone(x, params, effect)
        np.testing.assert_array_equal(got, expected, err_msg=y, strict=True)
        np.testing.assert_array_equal(fake_quantize(x, params), expected, err_msg=y, strict=True)


def alone(x: np.ndarray, params: QuantParams, effect: Effect) -> np.ndarray:
    """The formulas of `Effect`, channel by channel."""
    work = np.float64 if params.qtype.name == "int32" else np.float32
    found = np.empty_like(x)
    channels = np.moveaxis(x, params.axis, 0) if params.is_per_channel else x[None]
    places = np.moveaxis(found, params.axis, 0) if params.is_per_channel else found[None]
    zeros = params.zero_points or (0,) * len(params.scales)
    for channel, place, scale, zero in zip(channels, places, params.scales, zeros, strict=True):
        s, v = work(np.float32(scale)), channel.astype(work)
        low, high = work(params.qtype.qmin - zero) * s, work(params.qtype.qmax - zero) * s
        if effect is Effect.CLIP_ONLY:
            place[...] = np.minimum(np.maximum(v, low), high)
        else:
            place[...] = np.round(v / s) * s if scale else v
    return found


def test_explicit_parameters_quantize_an_activation_and_a_weight() -> None:
    proto = two_convolutions()
    weight = numpy_helper.to_array(proto.graph.initializer[0])
    quarters = QuantParams(QuantType("int4"), (0.25, 0.5, 0.125, 1.0), (1, 0, -2, 3), (), 0)
    config = QuantConfig(overrides={"1_HzCalibration": quarters, "2_HzCalibration": quarters})
    x = values(0.1, (4, 4, 5, 5))
    got = run(model([calibration("x", "y", "q")], {"x": [4, 4, 5, 5]}), {"x": x},
              QuantConfig(overrides={"q": quarters}))[0]  # fmt: skip
    shape = (4, 1, 1, 1)
    s = np.float32(quarters.scales).reshape(shape)
    z = np.float32(quarters.zero_points).reshape(shape)
    np.testing.assert_array_equal(got, (np.clip(np.round(x / s) + z, -8, 7) - z) * s)
    sample = {"x": values(0.1, (1, 4, 5, 5))}
    (wq,) = run(proto, sample, config, ["w0q"])
    np.testing.assert_array_equal(wq, (np.clip(np.round(weight / s) + z, -8, 7) - z) * s)


@pytest.mark.parametrize("factors", [(0.75,), (0.3, 1.0, 7.7), (0.3, 1.0, 7.7, 0.01, 2.0)])
@pytest.mark.parametrize(
    "declared", [SHAPE, ("n", None, 4, None), None], ids=["static", "dynamic", "unknown rank"]
)
@pytest.mark.parametrize("name", ["int8", "uint4", "float16"])
@pytest.mark.parametrize("opset", [10, 22])
def test_an_equalized_tensor_is_quantized_times_its_factors(
    opset: int, name: str, declared: Sequence[int | str | None] | None, factors: tuple[float, ...]
) -> None:
    axis = {1: 1, 3: 1, 5: -1}[len(factors)]
    params = replace(params_for(name, None if name != "uint4" else 0), axis=0)
    equalized = replace(params, factors=factors, factor_axis=axis)
    x = values()
    nodes = [calibration("x", "y", "q"), calibration("w", "v", "qw")]
    proto = model(nodes, {"x": declared}, ("y", "v"), {"w": x}, opset=opset)
    f = np.float32(factors).reshape([-1 if k == axis % 4 else 1 for k in range(4)])
    expected = fake_quantize(x * f, params) / f
    config = QuantConfig(overrides={"q": equalized, "qw": equalized})
    for got in run(proto, {"x": x}, config):
        np.testing.assert_array_equal(got, expected, strict=True)
    np.testing.assert_array_equal(fake_quantize(x, equalized), expected, strict=True)


def test_equalization_is_what_moving_factors_between_two_layers_does() -> None:
    proto = two_convolutions()
    factors = np.float32(
        [0.5, 4, 1, 0.125]
    )  # powers of two: the float model is the same bit by bit
    w0, w2 = (numpy_helper.to_array(t) for t in proto.graph.initializer)
    moved = onnx.ModelProto()
    moved.CopyFrom(proto)
    for tensor, values_of in zip(
        moved.graph.initializer,
        (w0 * factors.reshape(4, 1, 1, 1), w2 / factors.reshape(1, 4, 1, 1)),
        strict=True,
    ):
        tensor.CopyFrom(numpy_helper.from_array(values_of, tensor.name))
    x = {"x": values(0.1, (1, 4, 5, 5))}
    np.testing.assert_array_equal(run(proto, x, OFF)[0], run(moved, x, OFF)[0])
    nodes = {n.name: n.params for n in load_model(proto).calibration_nodes}
    forth, back = tuple(factors.tolist()), tuple((1 / factors).tolist())
    config = QuantConfig(
        overrides={
            "1_HzCalibration": nodes["1_HzCalibration"],
            "2_HzCalibration": replace(nodes["2_HzCalibration"], factors=forth, factor_axis=0),
            "3_HzCalibration": replace(nodes["3_HzCalibration"], factors=forth),
            "4_HzCalibration": replace(nodes["4_HzCalibration"], factors=back),
        }
    )
    (got,), (expected,) = run(proto, x, config), run(moved, x)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    assert not np.allclose(got, run(proto, x)[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            QuantParams(INT8, (0.1,), factors=(1.0, 2.0)),
            r"'my node': 2 values along axis 1 do not fit a tensor of shape \[None, 4\]",
        ),
        (QuantParams(INT8, (0.1,), factors=(0.0,)), r"'my node'.* factor 0\.0 is not a finite"),
        (QuantParams(INT8), r"'my node' cannot quantize so: int8 needs scales"),
        (QuantParams(INT8, (0.1,), (200,)), r"'my node'.* zero point 200 is not in .*-128 to 127"),
        (QuantParams(INT8, (-0.1,)), r"'my node'.* scale -0\.1 is not a finite number"),
        (QuantParams(INT8, (0.1, 0.2), (0, 0, 0)), r"'my node'.* 3 zero points for 2 scales"),
        (QuantParams(INT8, (0.1, 0.2)), r"'my node': attribute scales has 2 entries, but axis 1"),
        (
            QuantParams(QuantType("float16"), effect=Effect.CLIP_ONLY),
            r"'my node'.* float16 cannot be clip_only; only integer types can",
        ),
    ],
)
def test_explicit_parameters_that_cannot_be_are_errors_that_name_the_node(
    params: QuantParams, message: str
) -> None:
    lowering = Lowering(load_model(model([calibration("x", "y", "my node")])))
    with pytest.raises(ModelError, match=message):
        lowering.lower(QuantConfig(overrides={"my node": params}))


@pytest.mark.parametrize("declared", [SHAPE, None])
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("opset", [10, 13, 22])
def test_a_quantizer_that_is_off_is_the_identity(
    opset: int, name: str, declared: Sequence[int] | None
) -> None:
    proto = model(
        [calibration("x", "y", **attributes(params_for(name, 1)))], {"x": declared}, opset=opset
    )
    x = values()
    x.reshape(-1)[:3] = np.nan, np.inf, -np.inf
    assert run(proto, {"x": x}, OFF)[0].tobytes() == x.tobytes()


def test_more_channels_than_fit_in_a_kilobyte() -> None:
    scales = np.random.default_rng(0).uniform(0.01, 0.1, 300).astype(np.float32)
    x = values(shape=(2, 300))
    (y,) = run(model([calibration("x", "y", scales=scales)], {"x": [None, 300]}), {"x": x})
    params = QuantParams(INT8, tuple(scales.tolist()), (), (), 1)
    np.testing.assert_array_equal(y, fake_quantize(x, params))


@pytest.mark.parametrize("shape", [(), (1,), (0, 4), (2, 0)])
def test_scalars_and_empty_tensors(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 0.26, np.float32)
    (y,) = run(model([calibration("x", "y")], {"x": None}), {"x": x})
    np.testing.assert_array_equal(y, np.full(shape, np.float32(0.1) * 3), strict=True)


def test_a_switch_that_is_off_passes_the_input_through() -> None:
    proto = model([calibration("x", "y", "q", scales=[0.1], thresholds=[12.7], switch="OFF")])
    x = values(0.1, (3, 4))
    np.testing.assert_array_equal(run(proto, {"x": x})[0], x)
    # Another type is asked for by name, which says that the node is to quantize.
    (y,) = run(proto, {"x": x}, QuantConfig.only(["q"], QuantType("int16")))
    expected = fake_quantize(x, QuantParams(QuantType("int16"), (float(np.float32(12.7)) / 32767,)))
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("int16", QuantParams(QuantType("int16"), (127.5 / 32767,))),
        ("int4", QuantParams(QuantType("int4"), (127.5 / 7,))),
        ("uint8", QuantParams(QuantType("uint8"), (1.0,), (127,))),
        ("float16", QuantParams(QuantType("float16"))),
        ("float32", QuantParams(QuantType("float32"))),
    ],
)
def test_another_type_quantizes_to_the_same_threshold(name: str, params: QuantParams) -> None:
    proto = model([calibration("x", "y", "q", scales=[127.5 / 127], thresholds=[127.5])])
    x = values(1, (3, 4))
    (y,) = run(proto, {"x": x}, QuantConfig.only(["q"], QuantType(name)))
    np.testing.assert_array_equal(y, fake_quantize(x, params))


def test_another_type_without_thresholds_is_an_error_that_names_the_node() -> None:
    loaded = load_model(model([calibration("x", "y", "my node", qtype="float16")]))
    with pytest.raises(ModelError, match=r"'my node' \(float16\) cannot become int8: .*threshold"):
        Lowering(loaded).lower(QuantConfig.only(["my node"], INT8))


def test_only_the_named_nodes_quantize() -> None:
    proto = model([calibration("x", "a", "1"), calibration("x", "b", "2")], outputs=("a", "b"))
    x = values(0.1, (3, 4))
    quantized = fake_quantize(x, QuantParams(INT8, (0.1,)))
    for config, expected in (
        (QuantConfig.only(["1"]), (quantized, x)),
        (QuantConfig.all_but(["1"]), (x, quantized)),
        (CALIBRATED, (quantized, quantized)),
        (OFF, (x, x)),
    ):
        for got, wanted in zip(run(proto, {"x": x}, config), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def _body(nodes: list[onnx.NodeProto], outputs: Sequence[str]) -> onnx.GraphProto:
    infos = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
    return helper.make_graph(nodes, "body", [], infos)


@pytest.mark.parametrize("opset", [11, 21])
def test_a_quantizer_feeds_the_body_of_an_if(opset: int) -> None:
    then = _body([helper.make_node("Neg", ["xq"], ["t"])], ["t"])
    other = _body([helper.make_node("Identity", ["xq"], ["e"])], ["e"])
    truth = helper.make_node("If", ["c"], ["y"], name="If_0", then_branch=then, else_branch=other)
    proto = model([calibration("x", "xq", "q"), truth], opset=opset)
    proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    x = values(0.1, (3, 4))
    quantized = fake_quantize(x, QuantParams(INT8, (0.1,)))
    for condition, sign in ((True, -1), (False, 1)):
        sample = {"x": x, "c": np.array(condition)}
        np.testing.assert_array_equal(run(proto, sample)[0], sign * quantized)
        np.testing.assert_array_equal(run(proto, sample, OFF)[0], sign * x)
    assert load_model(proto).calibration_nodes[0].consumers == ("If_0",)


def test_a_quantizer_feeds_the_body_of_a_loop() -> None:
    body = _body(
        [
            helper.make_node("Identity", ["going"], ["on"]),
            helper.make_node("Add", ["sum", "xq"], ["next"]),
        ],
        [],
    )
    body.input.extend(
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, None),
        ]
    )
    body.output.extend(
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ]
    )
    loop = helper.make_node("Loop", ["times", "", "x"], ["y"], name="Loop_0", body=body)
    proto = model(
        [calibration("x", "xq", scales=[0.25]), loop], constants={"times": np.array(2, np.int64)}
    )
    x = np.array([[0.3, -0.3, 0.1, 1]], np.float32)
    twice = 2 * np.array([[0.25, -0.25, 0, 1]], np.float32)
    np.testing.assert_array_equal(run(proto, {"x": x})[0], x + twice)
    np.testing.assert_array_equal(run(proto, {"x": x}, OFF)[0], x + x + x)


Place = Callable[[np.ndarray], tuple[list[onnx.NodeProto], dict[str, np.ndarray], np.ndarray]]


def _constant(value: np.ndarray, output: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [output], value=numpy_helper.from_array(value))


PLACES: dict[str, Place] = {
    "initializer": lambda w: ([], {"w": w}, w),
    "Constant": lambda w: ([_constant(w, "w")], {}, w),
    "Identity": lambda w: ([helper.make_node("Identity", ["v"], ["w"])], {"v": w}, w),
    "Reshape": lambda w: (
        [
            _constant(np.array([-1, 2], np.int64), "s"),
            helper.make_node("Reshape", ["v", "s"], ["w"]),
        ],
        {"v": w},
        w.reshape(-1, 2),
    ),
    "Transpose": lambda w: (
        [_constant(w, "v"), helper.make_node("Transpose", ["v"], ["w"], perm=[1, 0])],
        {},
        w.T,
    ),
}


@pytest.mark.parametrize("opset", [10, 13, 21])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("shape", [(4, 6), (20, 30)], ids=["small", "large"])
@pytest.mark.parametrize("place", PLACES)
def test_weights_quantize_wherever_they_lie(
    place: str, shape: tuple[int, int], axis: int | None, opset: int
) -> None:
    before, constants, w = PLACES[place](values(0.1, shape))
    count = 1 if axis is None else w.shape[axis]
    scales = np.linspace(0.05, 0.15, count, dtype=np.float32)
    params = QuantParams(INT8, tuple(scales.tolist()), (), (), 0 if axis is None else axis)
    nodes = [
        *before,
        calibration("w", "wq", scales=scales, axis=params.axis),
        helper.make_node("Add", ["x", "wq"], ["y"]),
    ]
    loaded = load_model(model(nodes, {"x": w.shape}, constants=constants, opset=opset))
    zeros = np.zeros(w.shape, np.float32)
    assert loaded.calibration_nodes[0].kind is CalibrationKind.WEIGHT
    np.testing.assert_array_equal(run(loaded, {"x": zeros})[0], fake_quantize(w, params))
    np.testing.assert_array_equal(run(loaded, {"x": zeros}, OFF)[0], w)


def test_a_shared_quantizer_is_read_by_every_consumer() -> None:
    proto = model(
        [
            calibration("x", "xq", "q"),
            helper.make_node("Neg", ["xq"], ["a"], name="Neg_0"),
            helper.make_node("Abs", ["xq"], ["b"], name="Abs_1"),
        ],
        outputs=("a", "b"),
    )
    loaded, x = load_model(proto), values(0.1, (3, 4))
    quantized = fake_quantize(x, QuantParams(INT8, (0.1,)))
    a, b = run(loaded, {"x": x}, QuantConfig.only(loaded.calibrations_of("Neg_0")))
    np.testing.assert_array_equal(a, -quantized)
    np.testing.assert_array_equal(b, abs(quantized))


def test_several_inputs_and_any_tensors_as_outputs() -> None:
    proto = model(
        [
            calibration("a", "aq", "qa", scales=[0.5]),
            calibration("b", "bq", "qb", scales=[0.25]),
            helper.make_node("Neg", ["aq"], ["m"]),
            helper.make_node("Sub", ["bq", "m"], ["y"]),
            helper.make_node("Abs", ["m"], ["z"]),
        ],
        {"a": [None, 2], "b": [2]},
        ("y", "z"),
    )
    sample = {"a": np.array([[0.6, -2.2]], np.float32), "b": np.array([0.3, 0.7], np.float32)}
    expected = {"y": [[0.75, -1.25]], "z": [[0.5, 2]], "m": [[-0.5, 2]], "bq": [0.25, 0.75]}
    assert [y.tolist() for y in run(proto, sample)] == [expected["y"], expected["z"]]
    wanted = ["bq", "z", "m", "y"]
    assert [y.tolist() for y in run(proto, sample, outputs=wanted)] == [expected[n] for n in wanted]
    lowering = Lowering(load_model(proto))
    assert lowering.lower(CALIBRATED, ["m", "y", "m"]).outputs == ("m", "y")


@pytest.mark.parametrize("attributes", [False, True], ids=["initializers", "attributes too"])
@pytest.mark.parametrize("threshold", [0, 1024])
def test_external_data_change_neither_the_id_nor_the_values(
    tmp_path: Path, threshold: int, attributes: bool
) -> None:
    w = {name: values(0.1, shape) for name, shape in (("small", (4,)), ("large", (300, 4)))}
    nodes = [
        _constant(w["small"], "small"),
        _constant(w["large"], "large"),
        calibration("small", "a"),
        calibration("large", "b", scales=[0.2]),
        calibration("v", "c"),
        helper.make_node("Sum", ["x", "a", "b", "c"], ["s"]),
        helper.make_node("Where", ["keep", "s", "x"], ["y"]),
    ]
    keep = np.array([True, False, True, True])  # of a type that is written in another way
    proto = model(nodes, constants={"v": values(0.1, (300, 1)), "keep": keep})
    expected = run(proto, {"x": values(0.1, (1, 4))})[0]
    model_id = load_model(proto).model_id

    path = tmp_path / "model.onnx"
    onnx.save(
        proto,
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=threshold,
        convert_attribute=attributes,
    )
    assert (tmp_path / "weights.bin").stat().st_size > 1000
    loaded = load_model(path)
    assert loaded.model_id == model_id
    np.testing.assert_array_equal(run(loaded, {"x": values(0.1, (1, 4))})[0], expected)
    np.testing.assert_array_equal(run(onnx.load(path), {"x": values(0.1, (1, 4))})[0], expected)


@pytest.mark.parametrize("size", [2, 400], ids=["small", "large"])
def test_external_data_of_a_body_change_neither_the_id_nor_the_values(
    tmp_path: Path, size: int
) -> None:
    w = values(0.1, (size,))
    body = _body(
        [_constant(w, "k"), helper.make_node("Sum", ["xq", "k", "v"], ["t"])],
        ["t"],
    )
    body.initializer.append(numpy_helper.from_array(w, "v"))
    truth = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    proto = model([calibration("x", "xq"), truth], {"x": [size]})
    proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    model_id, path = load_model(proto).model_id, tmp_path / "model.onnx"
    onnx.save(
        proto,
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=True,
    )
    sample = {"x": np.zeros(size, np.float32), "c": np.array(True)}
    assert load_model(path).model_id == model_id
    np.testing.assert_array_equal(run(path, sample)[0], w + w)
    with pytest.raises(ModelError, match="external file that was not loaded"):
        load_model(onnx.load(path, load_external_data=False))


def test_initializers_among_the_graph_inputs_are_no_inputs() -> None:
    proto = two_convolutions()
    x = {"x": values(0.1, (1, 4, 5, 5))}
    expected = run(proto, x)[0]
    old = two_convolutions()
    for tensor in old.graph.initializer:
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        old.graph.input.append(info)
    old.ir_version = 3
    loaded = load_model(old)
    assert [spec.name for spec in loaded.inputs] == ["x"]
    assert [c.kind.value for c in loaded.calibration_nodes] == [
        *("activation", "weight", "activation", "weight")
    ]
    assert loaded.model_id == load_model(proto).model_id
    np.testing.assert_array_equal(run(loaded, x)[0], expected)


def test_a_sparse_initializer_is_a_weight() -> None:
    w = np.array([0, 0.26, 0, -0.34], np.float32)
    places = np.flatnonzero(w)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(w[places], "w"), numpy_helper.from_array(places), w.shape
    )
    proto = model([calibration("w", "wq"), helper.make_node("Add", ["x", "wq"], ["y"])])
    proto.graph.sparse_initializer.append(sparse)
    loaded, zeros = load_model(proto), {"x": np.zeros((1, 4), np.float32)}
    assert loaded.calibration_nodes[0].kind is CalibrationKind.WEIGHT
    np.testing.assert_array_equal(run(loaded, zeros, OFF)[0], w[None])
    expected = fake_quantize(w[None], QuantParams(INT8, (0.1,)))
    np.testing.assert_array_equal(run(loaded, zeros)[0], expected)


def test_the_convolutions_see_quantized_values() -> None:
    proto = two_convolutions()
    w = {t.name: numpy_helper.to_array(t)[:, :, 0, 0] for t in proto.graph.initializer}
    x = values(0.1, (1, 4, 5, 5))

    def quantized(v: np.ndarray, name: str, scale: float) -> np.ndarray:
        return fake_quantize(v, QuantParams(QuantType(name), (float(np.float32(scale)),)))

    hidden = np.einsum("oc,nchw->nohw", quantized(w["w0"], "int8", 0.02), quantized(x, "int8", 0.1))
    hidden = quantized(np.maximum(hidden, 0), "uint8", 0.05)
    expected = np.einsum("oc,nchw->nohw", quantized(w["w2"], "int8", 0.02), hidden)
    (y,) = run(proto, {"x": x})
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def _reshaped(w: np.ndarray, **attrs: Any) -> onnx.ModelProto:
    before, constants, _ = PLACES["Transpose"](w)
    nodes = [*before, calibration("w", "wq", "bad one", **attrs)]
    nodes.append(helper.make_node("Add", ["x", "wq"], ["y"]))
    return model(nodes, constants=constants)


def _activation(shape: Sequence[int | None], **attrs: Any) -> onnx.ModelProto:
    return model([calibration("x", "y", "bad one", **attrs)], {"x": shape})


@pytest.mark.parametrize("scales", [[0.1] * 3, [0.1, 0.2, 0.3]], ids=["equal", "different"])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize(
    "build",
    [
        lambda **a: _activation([2, 4], **a),
        lambda **a: _activation([None, 4], **a),
        lambda **a: _activation([2, 1], **a),
        lambda **a: _reshaped(np.ones((4, 3), np.float32), **a),
        lambda **a: _reshaped(np.ones((400, 3), np.float32), **a),
        lambda **a: _reshaped(np.ones((1, 3), np.float32), **a),
    ],
    ids=["static", "dynamic batch", "one channel", "small weight", "large weight", "one row"],
)
def test_a_number_of_scales_that_does_not_fit_is_an_error_that_names_node_and_attribute(
    build: Callable[..., onnx.ModelProto], axis: int, scales: list[float]
) -> None:
    proto = build(scales=scales, axis=axis)
    with pytest.raises(ModelError, match=r"'bad one': attribute scales has 3 entries, but axis"):
        Lowering(load_model(proto)).lower(CALIBRATED)


@pytest.mark.parametrize("axis", [2, 7, -3])
@pytest.mark.parametrize(
    "build",
    [
        lambda **a: _activation([2, 3], **a),
        lambda **a: _activation([None, None], **a),
        lambda **a: _reshaped(np.ones((3, 3), np.float32), **a),
    ],
    ids=["static", "dynamic", "weight"],
)
def test_an_axis_outside_the_tensor_is_an_error_that_names_node_and_attribute(
    build: Callable[..., onnx.ModelProto], axis: int
) -> None:
    proto = build(scales=[0.1, 0.2, 0.3], axis=axis)
    with pytest.raises(ModelError, match=rf"'bad one': attribute axis={axis} is outside its input"):
        Lowering(load_model(proto)).lower(CALIBRATED)


@pytest.mark.parametrize("zero_point", [[0], [0, 1, 2]], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("qtype", ["int8", "int32"])
@pytest.mark.parametrize("scales", [[0.1, 0.2, 0.3], [0.1, 0.1, 0.1]])
@pytest.mark.parametrize("shape", [(2, 1), (2, 4), (1, 1)])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("declared", [["n", "c"], None])
def test_channels_that_do_not_fit_at_run_time_are_never_broadcast(
    declared: Sequence[str] | None,
    axis: int,
    shape: tuple[int, ...],
    scales: list[float],
    qtype: str,
    zero_point: list[int],
) -> None:
    attrs = {"scales": scales, "axis": axis, "qtype": qtype, "zero_point": zero_point}
    loaded = load_model(model([calibration("x", "y", "bad one", **attrs)], {"x": declared}))
    x = np.full(shape, 0.44, np.float32)
    if len(set(scales)) == len(set(zero_point)) == 1:
        # One quantizer for every channel, however many there are.
        assert np.allclose(run(loaded, {"x": x})[0], 0.4)
        assert run(loaded, {"x": x})[0].shape == shape
        return
    with pytest.raises(EngineError, match="bad one"):
        run(loaded, {"x": x})


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_outside_the_tensor_at_run_time_is_an_error_that_names_the_node(axis: int) -> None:
    proto = model([calibration("x", "y", "bad one", scales=[0.1, 0.2], axis=axis)], {"x": None})
    with pytest.raises(EngineError, match="bad one"):
        run(proto, {"x": np.ones((2, 2), np.float32)})


def test_a_dimension_written_as_minus_one_is_unknown() -> None:
    proto = _activation([2, -1], scales=[0.1, 0.2, 0.3])
    x = values(0.1, (2, 3))
    params = QuantParams(INT8, tuple(np.float32([0.1, 0.2, 0.3]).tolist()))
    np.testing.assert_array_equal(run(proto, {"x": x})[0], fake_quantize(x, params))


def test_one_runtime_serves_many_configurations() -> None:
    loaded = load_model(two_convolutions())
    lowering, runtime = Lowering(loaded), Runtime(loaded.weights, threads=1)
    x = {"x": values(0.1, (1, 4, 5, 5))}
    names = [node.name for node in loaded.calibration_nodes]
    configs = [OFF, CALIBRATED, *(QuantConfig.only([name]) for name in names)]
    sessions = [runtime.session(lowering.lower(config)) for config in configs]
    results = [session.run(x)[0] for session in sessions]
    for config, result in zip(configs, results, strict=True):
        np.testing.assert_array_equal(run(loaded, x, config)[0], result)
    assert len({result.tobytes() for result in results}) == len(configs)


@pytest.mark.parametrize(
    "sample",
    [{}, {"z": np.ones((1, 4), np.float32)}, {"x": np.ones((1, 5), np.float32)}, {"x": "text"}],
    ids=["none", "wrong name", "wrong shape", "no array"],
)
def test_samples_that_do_not_fit_are_engine_errors(sample: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="failed while running"):
        run(model([calibration("x", "y")]), sample)


def test_an_op_that_the_runtime_does_not_know_is_an_error_that_names_it() -> None:
    nodes = [calibration("x", "q"), helper.make_node("NoSuchOp", ["q"], ["y"], domain="acme")]
    proto = model(nodes)
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    with pytest.raises(HmctTrackError, match="NoSuchOp"):
        run(proto, {"x": np.ones((1, 4), np.float32)})
