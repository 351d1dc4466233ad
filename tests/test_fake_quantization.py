"""Fake quantization and the derivation of its parameters, against properties and other code."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hmct_track.model.fakequant import derive, fake_quantize, thresholds_of, with_type
from hmct_track.types import QuantParams, QuantType

NARROW = [f"{sign}int{bits}" for sign in ("", "u") for bits in range(4, 17)]
SCALES = st.floats(2**-10, 2**10, width=32)
VALUES = st.floats(-(2**17), 2**17, width=32)
ARRAYS = arrays(np.float32, array_shapes(max_dims=2, max_side=20), elements=VALUES)


@st.composite
def quantizers(draw: st.DrawFn) -> QuantParams:
    """Any per-tensor quantizer of up to 16 bits."""
    qtype = QuantType(draw(st.sampled_from(NARROW)))
    return QuantParams(qtype, (draw(SCALES),), (draw(st.integers(qtype.qmin, qtype.qmax)),))


def bounds(params: QuantParams) -> tuple[float, float]:
    """Smallest and largest value that a per-tensor quantizer can give, exactly."""
    qtype, (zero,), (scale,) = params.qtype, params.zero_points, params.scales
    return (qtype.qmin - zero) * scale, (qtype.qmax - zero) * scale


@given(x=ARRAYS, params=quantizers())
def test_quantizing_twice_changes_nothing_more(x: np.ndarray, params: QuantParams) -> None:
    once = fake_quantize(x, params)
    np.testing.assert_array_equal(fake_quantize(once, params), once)


@given(x=ARRAYS, params=quantizers())
def test_shape_and_dtype_stay(x: np.ndarray, params: QuantParams) -> None:
    y = fake_quantize(x, params)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)


@given(x=ARRAYS, params=quantizers())
def test_values_inside_the_range_move_by_half_a_scale_at_most(
    x: np.ndarray, params: QuantParams
) -> None:
    low, high = bounds(params)
    inside = x[(x >= low) & (x <= high)].astype(np.float64)
    error = np.abs(fake_quantize(inside.astype(np.float32), params) - inside)
    # The quotient and the product are each rounded to float32.
    assert np.all(error <= params.scales[0] / 2 + 2**-23 * np.abs(inside))


@given(x=ARRAYS, params=quantizers())
def test_values_are_integers_times_the_scale_within_the_range(
    x: np.ndarray, params: QuantParams
) -> None:
    y = fake_quantize(x, params).astype(np.float64)
    steps = np.rint(y / params.scales[0])
    np.testing.assert_array_equal((steps * params.scales[0]).astype(np.float32), y)
    low, high = (np.float32(bound) for bound in bounds(params))
    assert np.all((y >= low) & (y <= high))


@given(x=ARRAYS, params=quantizers())
def test_order_is_kept(x: np.ndarray, params: QuantParams) -> None:
    assert np.all(np.diff(fake_quantize(np.sort(x.ravel()), params)) >= 0)


@given(x=ARRAYS, params=quantizers())
def test_it_is_the_formula_of_the_file_format(x: np.ndarray, params: QuantParams) -> None:
    qtype, (zero,) = params.qtype, params.zero_points
    scale = np.float32(params.scales[0])
    q = np.clip(np.rint(x / scale) + np.float32(zero), qtype.qmin, qtype.qmax)
    np.testing.assert_array_equal(fake_quantize(x, params), (q - np.float32(zero)) * scale)


@pytest.mark.parametrize("zero", [0, 1, -3])
@pytest.mark.parametrize("name", ["int8", "int16", "int32"])
def test_halves_round_to_even(name: str, zero: int) -> None:
    scale = 0.25  # a power of two, so that the halves are exact
    halves = [k + 0.5 for k in range(-100, 100)]
    x = np.array(halves, np.float32) * np.float32(scale)
    y = fake_quantize(x, QuantParams(QuantType(name), (scale,), (zero,)))
    assert y.tolist() == [round(half) * scale for half in halves]


@given(
    steps=st.lists(st.floats(-(2**20), 2**20, width=32), min_size=1),
    scale=st.floats(2**-10, 2**10, width=32),
    zero=st.integers(-(2**31), 2**31 - 1),
)
def test_int32_is_exact_but_for_the_last_rounding(
    steps: list[float], scale: float, zero: int
) -> None:
    x = np.array(steps, np.float32) * np.float32(scale)
    expected = [
        min(max(round(Fraction(v) / Fraction(scale)) + zero, -(2**31)), 2**31 - 1) - zero
        for v in x.tolist()
    ]
    y = fake_quantize(x, QuantParams(QuantType("int32"), (scale,), (zero,)))
    np.testing.assert_array_equal(y, (np.array(expected, np.float64) * scale).astype(np.float32))


ONNX_TYPES = {
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "uint16": TensorProto.UINT16,
}


@cache
def onnx_quantizer(name: str, axis: int, rank: int) -> ReferenceEvaluator:
    """QuantizeLinear and DequantizeLinear of opset 21 in the reference implementation of ONNX."""
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis),
        ],
        "quantizer",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * rank),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("z", ONNX_TYPES[name], None),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opset = helper.make_opsetid("", 21)
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=[opset], ir_version=10))


@pytest.mark.parametrize("name", ONNX_TYPES)
@given(data=st.data(), x=ARRAYS, scale=SCALES)
def test_per_tensor_it_is_quantize_linear_of_onnx(
    name: str, data: st.DataObject, x: np.ndarray, scale: float
) -> None:
    zero = data.draw(st.integers(np.iinfo(name).min, np.iinfo(name).max))
    feeds = {"x": x, "s": np.float32(scale), "z": np.array(zero, name)}
    (expected,) = onnx_quantizer(name, 1, x.ndim).run(None, feeds)
    y = fake_quantize(x, QuantParams(QuantType(name), (scale,), (zero,)))
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2])
@pytest.mark.parametrize("name", ONNX_TYPES)
@given(seed=st.integers(0, 2**32 - 1))
def test_per_channel_it_is_quantize_linear_of_onnx(name: str, axis: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-300, 300, (2, 3, 4)).astype(np.float32)
    channels = x.shape[axis]
    scales = rng.uniform(0.01, 2, channels).astype(np.float32)
    zeros = rng.integers(np.iinfo(name).min, np.iinfo(name).max, channels, name, endpoint=True)
    (expected,) = onnx_quantizer(name, axis, 3).run(None, {"x": x, "s": scales, "z": zeros})
    params = QuantParams(QuantType(name), tuple(scales.tolist()), tuple(zeros.tolist()), (), axis)
    np.testing.assert_array_equal(fake_quantize(x, params), expected)


@given(x=arrays(np.float32, 20, elements=st.floats(-65504, 65504, width=32)))
def test_float16_rounds_to_half_precision(x: np.ndarray) -> None:
    expected = [struct.unpack("e", struct.pack("e", v))[0] for v in x.tolist()]
    y = fake_quantize(x, QuantParams(QuantType("float16")))
    assert y.tolist() == expected
    assert y.dtype == np.float32


def test_float16_overflows_to_infinity_without_a_warning() -> None:
    y = fake_quantize(np.array([1e5, -1e5, 65519], np.float32), QuantParams(QuantType("float16")))
    assert y.tolist() == [np.inf, -np.inf, 65504]


@given(x=arrays(np.float32, 20, elements=st.floats(width=32)))
def test_float32_changes_nothing(x: np.ndarray) -> None:
    y = fake_quantize(x, QuantParams(QuantType("float32")))
    assert y.tobytes() == x.tobytes()


@pytest.mark.parametrize("zero", [0, 7])
@pytest.mark.parametrize("name", ["int8", "uint8", "int32"])
def test_a_scale_of_zero_maps_to_zero(name: str, zero: int) -> None:
    x = np.array([[-np.inf, -1, 0, 1, np.inf], [-2, -1, 0, 1, 2]], np.float32)
    params = QuantParams(QuantType(name), (0.0,), (zero,))
    assert not fake_quantize(x, params).any()
    rows = QuantParams(QuantType("int8"), (0.0, 1.0), (zero, 0), (), 0)
    assert fake_quantize(x, rows).tolist() == [[0] * 5, [-2, -1, 0, 1, 2]]


def test_infinity_is_clipped_and_nan_stays() -> None:
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    y = fake_quantize(x, QuantParams(QuantType("int8"), (0.5,), (0,)))
    np.testing.assert_array_equal(y, [63.5, -64, np.nan])


POSITIVE = st.floats(2**-20, 2**20)
INTEGERS = st.sampled_from([QuantType(name) for name in [*NARROW, "int32"]])


@given(qtype=INTEGERS, thresholds=st.lists(POSITIVE, min_size=1, max_size=5))
def test_a_symmetric_scale_is_threshold_by_qmax(qtype: QuantType, thresholds: list[float]) -> None:
    params = derive(qtype, thresholds, asymmetric=False, axis=2)
    expected = [np.float32(float(Fraction(t) / qtype.qmax)) for t in thresholds]
    assert params == QuantParams(
        qtype, tuple(map(float, expected)), (0,) * len(thresholds), tuple(thresholds), 2
    )


@pytest.mark.parametrize(
    ("name", "low", "high", "scale", "zero"),
    [
        ("int8", -1.0, 3.0, 4 / 255, 127 - 191),  # 3 / (4 / 255) = 191.25
        ("uint8", -1.0, 3.0, 4 / 255, 255 - 191),
        ("int4", -7.5, 7.5, 1.0, 7 - 8),  # 7.5 rounds to 8
        ("uint8", 0.0, 255.0, 1.0, 0),
        ("uint16", -32768.0, 32767.0, 1.0, 32768),
        ("int8", -255.0, 0.0, 1.0, 127),
        ("int8", 0.0, 0.0, 0.0, 127),
    ],
)
def test_an_asymmetric_scale_spreads_the_range(
    name: str, low: float, high: float, scale: float, zero: int
) -> None:
    params = derive(QuantType(name), [low, high], asymmetric=True, axis=1)
    assert params.scales == (float(np.float32(scale)),)
    assert params.zero_points == (zero,)
    assert params.thresholds == (low, high)


@given(
    qtype=st.sampled_from([QuantType(name) for name in NARROW]),
    ranges=st.lists(st.tuples(POSITIVE, POSITIVE), min_size=2, max_size=4),
)
def test_asymmetric_ranges_per_channel_reach_both_ends_and_hold_zero(
    qtype: QuantType, ranges: list[tuple[float, float]]
) -> None:
    x = np.array([[-low, 0, high] for low, high in ranges], np.float32)
    params = derive(qtype, [v for row in x for v in (row[0], row[2])], asymmetric=True, axis=0)
    y = fake_quantize(x, params)
    steps = np.array(params.scales)[:, None]
    assert np.all(np.abs(y - x) <= 0.51 * steps + 2**-20 * np.abs(x))
    assert not y[:, 1].any()


@given(params=quantizers())
def test_thresholds_follow_from_scales(params: QuantParams) -> None:
    low, high = bounds(params)
    expected = (low, high) if params.zero_points[0] else (high,)
    assert thresholds_of(params) == expected


def test_int8_becomes_int16_on_the_same_thresholds() -> None:
    params = derive(QuantType("int8"), [12.7, 1.27], asymmetric=False, axis=0)
    wider = with_type(params, QuantType("int16"))
    assert wider.scales == tuple(float(np.float32(t / 32767)) for t in (12.7, 1.27))
    assert (wider.thresholds, wider.zero_points, wider.axis) == ((12.7, 1.27), (0, 0), 0)


def test_a_signed_type_becomes_unsigned_with_a_zero_point() -> None:
    params = derive(QuantType("int8"), [7.5, 15.0], asymmetric=False, axis=0)
    unsigned = with_type(params, QuantType("uint4"))
    assert unsigned.scales == (1.0, 2.0)
    assert unsigned.zero_points == (7, 7)  # 15 - round(7.5)
    assert unsigned.thresholds == (-7.5, 7.5, -15.0, 15.0)


def test_an_unsigned_type_becomes_another_one_without_a_zero_point() -> None:
    params = derive(QuantType("uint8"), [6.0], asymmetric=False, axis=1)
    wider = with_type(params, QuantType("uint16"))
    assert (wider.scales, wider.zero_points) == ((float(np.float32(6 / 65535)),), (0,))
    signed = with_type(params, QuantType("int8"))
    assert (signed.scales, signed.zero_points) == ((float(np.float32(6 / 127)),), (0,))


def test_an_asymmetric_range_stays_in_another_type() -> None:
    params = derive(QuantType("int8"), [-1.0, 3.0], asymmetric=True, axis=1)
    assert with_type(params, QuantType("uint8")) == derive(
        QuantType("uint8"), [-1.0, 3.0], asymmetric=True, axis=1
    )


def test_float16_needs_no_scales_and_leads_back() -> None:
    params = derive(QuantType("int8"), [12.7], asymmetric=False, axis=1)
    half = with_type(params, QuantType("float16"))
    assert half == QuantParams(QuantType("float16"), (), (), (12.7,), 1)
    assert with_type(half, QuantType("int8")) == params


def test_the_own_type_keeps_the_calibrated_scales() -> None:
    params = QuantParams(QuantType("int8"), (0.3,), (5,), (12.7,))  # 12.7 / 127 is not 0.3
    assert with_type(params, QuantType("int8")) is params


def test_another_type_without_thresholds_is_refused() -> None:
    bare = replace(derive(QuantType("int8"), [1.0], asymmetric=False, axis=1), thresholds=())
    with pytest.raises(ValueError, match="no thresholds"):
        with_type(bare, QuantType("int16"))
