"""The custom ops of the horizon domain, lowered and run, against NumPy and onnx.reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hmct_track.errors import EngineError, ModelError
from hmct_track.model import Lowering, load_model
from hmct_track.types import QuantConfig
from tests.support.graphs import calibration, model, run

OPSETS = pytest.mark.parametrize("opset", [10, 11, 13, 18, 21])
FLOAT = QuantConfig()


def evaluate(
    op: str,
    x: np.ndarray,
    constants: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 13,
    inputs: tuple[str, ...] | None = None,
    **attributes: Any,
) -> np.ndarray:
    """What a horizon op gives for ``x`` and further constant inputs."""
    names = inputs or ("x", *(constants or {}))
    kind = TensorProto.UINT8 if x.dtype == np.uint8 else TensorProto.FLOAT
    proto = model(
        [
            helper.make_node(op, names, ["a"], name="my node", domain="horizon", **attributes),
            calibration("a", "y"),
        ],
        {"x": None},
        constants=constants,
        opset=opset,
        input_type=kind,
    )
    return run(proto, {"x": x}, FLOAT)[0]


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


WEIGHTS = np.array([0.017, 0.018, 0.019], np.float32)
BIAS = np.array([-2.1, -2.0, -1.8], np.float32)


@OPSETS
@pytest.mark.parametrize("make", [numbers, pixels])
@pytest.mark.parametrize("bias", [None, BIAS], ids=["no bias", "bias"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", None])
def test_preprocess_scales_and_shifts_each_channel(
    layout: str | None, bias: np.ndarray | None, make: Any, opset: int
) -> None:
    x = make(2, 4, 5, 3) if layout == "NHWC" else make(2, 3, 4, 5)
    shape = (3,) if layout == "NHWC" else (3, 1, 1)
    shift = np.zeros(3, np.float32) if bias is None else bias
    expected = x * WEIGHTS.reshape(shape) + shift.reshape(shape)
    constants = {"w": WEIGHTS.reshape(3, 1, 1, 1)} | ({} if bias is None else {"b": bias})
    attributes = {} if layout is None else {"data_format": layout}
    y = evaluate(
        "HzPreprocess",
        x,
        constants,
        opset=opset,
        channel_group=3,
        input_type="rgb",
        **attributes,
    )
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_preprocess_in_one_group_mixes_channels_and_an_empty_bias_is_none() -> None:
    x, w = numbers(2, 3, 4, 5), numbers(3, 3)
    constants = {"w": w[:, :, None, None]}
    expected = np.einsum("oc,nchw->nohw", w, x)
    y = evaluate("HzPreprocess", x, constants, inputs=("x", "w", ""))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_preprocess_refuses_another_layout() -> None:
    constants = {"w": WEIGHTS.reshape(3, 1, 1, 1)}
    with pytest.raises(ModelError, match=r"'my node'.*data_format is 'NC'; NCHW or NHWC"):
        evaluate("HzPreprocess", numbers(1, 3, 4, 5), constants, data_format="NC")


@OPSETS
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_softmax_is_along_one_axis_at_every_opset(axis: int, opset: int) -> None:
    x = numbers(2, 3, 4)
    powers = np.exp(x.astype(np.float64))
    y = evaluate("HzSoftmax", x, opset=opset, axis=axis)
    np.testing.assert_allclose(y, powers / powers.sum(axis, keepdims=True), rtol=1e-5)


def test_softmax_of_large_numbers_does_not_overflow() -> None:
    y = evaluate("HzSoftmax", np.array([[1000, 1000, -1000]], np.float32), axis=1)
    assert y.tolist() == [[0.5, 0.5, 0]]


@OPSETS
@pytest.mark.parametrize("attributes", [{}, {"approximate": "none"}])
def test_gelu_is_x_times_the_normal_distribution(attributes: dict[str, str], opset: int) -> None:
    x = numbers(3, 40)
    expected = [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x.ravel().tolist()]
    y = evaluate("HzGelu", x, opset=opset, **attributes)
    np.testing.assert_allclose(y.ravel(), expected, rtol=1e-5, atol=1e-6)


@OPSETS
def test_gelu_is_approximated_as_onnx_does(opset: int) -> None:
    x = numbers(3, 40)
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3, 40]) for n in "xy"]
    node = helper.make_node("Gelu", ["x"], ["y"], approximate="tanh")
    graph = helper.make_graph([node], "gelu", info[:1], info[1:])
    reference = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    (expected,) = ReferenceEvaluator(reference).run(None, {"x": x})
    y = evaluate("HzGelu", x, opset=opset, approximate="tanh")
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(y - evaluate("HzGelu", x, opset=opset)).max() > 1e-5, "it is an approximation"


def test_gelu_refuses_another_approximation() -> None:
    with pytest.raises(ModelError, match=r"'my node'.*approximate is 'erf'; none or tanh"):
        evaluate("HzGelu", numbers(1, 4), approximate="erf")


@OPSETS
@pytest.mark.parametrize("clip", [6.0, 1.5, 2])
def test_relux_clips_at_zero_and_at_its_value(clip: float, opset: int) -> None:
    x = numbers(3, 40)
    y = evaluate("HzReluX", x, opset=opset, clip_value=clip)
    np.testing.assert_array_equal(y, np.clip(x, 0, clip))
    assert {0, clip} < set(y.ravel().tolist())


@OPSETS
def test_rsqrt_is_one_by_the_root(opset: int) -> None:
    x = np.abs(numbers(3, 40)) + np.float32(0.01)
    exact = x.astype(np.float64)
    for attributes, expected in (
        ({}, 1 / np.sqrt(exact)),
        ({"epsilon": 0.5}, 1 / np.sqrt(exact + 0.5)),
        ({"epsilon": 0.5, "is_sqrt_add_reciprocal": 0}, 1 / np.sqrt(exact + 0.5)),
        ({"epsilon": 0.5, "is_sqrt_add_reciprocal": 1}, 1 / (np.sqrt(exact) + 0.5)),
    ):
        y = evaluate("HzRsqrt", x, opset=opset, **attributes)
        np.testing.assert_allclose(y, expected, rtol=1e-6)


@OPSETS
@pytest.mark.parametrize("block", [1, 2, 3])
def test_space_to_depth_is_that_of_onnx(block: int, opset: int) -> None:
    x = numbers(2, 3, 6, 12)
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    node = helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=block)
    graph = helper.make_graph([node], "reference", info[:1], info[1:])
    reference = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    (expected,) = ReferenceEvaluator(reference).run(None, {"x": x})
    y = evaluate("HzSpaceToDepth", x, opset=opset, block_height=block, block_width=block)
    np.testing.assert_array_equal(y, expected)


@OPSETS
@pytest.mark.parametrize(("height", "width"), [(2, 3), (3, 1), (1, 4)])
def test_space_to_depth_of_blocks_that_are_not_square(height: int, width: int, opset: int) -> None:
    n, c, h, w = shape = 2, 3, 6, 12
    x = numbers(*shape)
    split = x.reshape(n, c, h // height, height, w // width, width)
    expected = split.transpose(0, 3, 5, 1, 2, 4).reshape(n, -1, h // height, w // width)
    y = evaluate("HzSpaceToDepth", x, opset=opset, block_height=height, block_width=width)
    np.testing.assert_array_equal(y, expected)


def test_space_to_depth_of_a_size_that_no_block_divides_is_an_error() -> None:
    with pytest.raises(EngineError):
        evaluate("HzSpaceToDepth", numbers(1, 1, 5, 5), block_height=2, block_width=2)


@OPSETS
def test_filter_passes_its_inputs_through(opset: int) -> None:
    proto = model(
        [
            calibration("x", "q"),
            helper.make_node("Neg", ["q"], ["n"]),
            helper.make_node("HzFilter", ["q", "n"], ["a", "b"], domain="horizon"),
        ],
        outputs=("a", "b"),
        opset=opset,
    )
    x = numbers(2, 4)
    a, b = run(proto, {"x": x}, FLOAT)
    np.testing.assert_array_equal(a, x)
    np.testing.assert_array_equal(b, -x)


def test_an_op_that_is_not_known_is_an_error_that_names_it_and_what_is_known() -> None:
    node = helper.make_node("HzMystery", ["q"], ["y"], name="my node", domain="horizon")
    loaded = load_model(model([calibration("x", "q"), node]))
    with pytest.raises(ModelError, match=r"'my node': op 'HzMystery' .*HzCalibration, HzFilter"):
        Lowering(loaded)


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("HzSoftmax", {"axis": 1, "blocksize": 2}, "attribute blocksize is not understood"),
        ("HzGelu", {"beta": 1.0}, "attribute beta is not understood"),
        ("HzFilter", {"keep": [1]}, "attribute keep is not understood"),
        ("HzSoftmax", {}, "lacks its attribute axis"),
        ("HzReluX", {}, "lacks its attribute clip_value"),
        ("HzSpaceToDepth", {"block_height": 2}, "lacks its attribute block_width"),
        ("HzSoftmax", {"axis": "1"}, "attribute axis is '1'; one of type int was expected"),
        ("HzSoftmax", {"axis": 1.0}, "attribute axis is 1.0; one of type int"),
        ("HzReluX", {"clip_value": [6.0]}, "attribute clip_value is .*; one of type float"),
        ("HzRsqrt", {"epsilon": "tiny"}, "attribute epsilon is 'tiny'; one of type float"),
        ("HzGelu", {"approximate": 1}, "attribute approximate is 1; one of type str"),
    ],
)
def test_wrong_attributes_are_errors_that_name_node_and_attribute(
    op: str, attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=rf"'my node' \({op}\):? {message}"):
        evaluate(op, numbers(1, 4), **attributes)


@pytest.mark.parametrize(("inputs", "outputs"), [([], ["y"]), (["q"], [])])
def test_a_node_without_input_or_output_is_an_error_that_names_it(
    inputs: list[str], outputs: list[str]
) -> None:
    node = helper.make_node("HzGelu", inputs, outputs, name="my node", domain="horizon")
    loaded = load_model(model([calibration("x", "q"), node]))
    with pytest.raises(ModelError, match=r"'my node' \(HzGelu\) has no input or no output"):
        Lowering(loaded).lower(FLOAT)
