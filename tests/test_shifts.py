"""Corrections of what general nodes give out, against models with an Add behind these nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks import rebuild
from hmct_track.engine import Engine
from hmct_track.errors import EngineError, HmctTrackError, ModelError, UnknownNodeError
from hmct_track.model import Lowering, load_model
from hmct_track.types import BiasShift, QuantConfig, Quantization
from tests.support import graphs
from tests.support.graphs import calibration, model, run, two_convolutions
from tests.support.real import real_model

ALL = QuantConfig(Quantization.AS_CALIBRATED)


def with_adds(proto: onnx.ModelProto, shifts: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The model with constants added to the first outputs of nodes; they broadcast as they are."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    del changed.graph.node[:]
    for node in proto.graph.node:
        changed.graph.node.append(node)
        if node.name in shifts:
            own, target = changed.graph.node[-1], node.output[0]
            own.output[0] = f"{target}/before"
            changed.graph.initializer.append(
                numpy_helper.from_array(shifts[node.name], f"{target}/by")
            )
            changed.graph.node.append(
                helper.make_node("Add", [f"{target}/before", f"{target}/by"], [target])
            )
    return changed


def test_the_demo_with_corrected_biases_equals_the_rebuilt_one() -> None:
    real = real_model("demo")
    convolutions = [n.name for n in real.calibrated.graph.node if n.op_type == "Conv"]
    rng = np.random.default_rng(0)
    loaded = load_model(real.calibrated)
    samples = {str(k): dict(sample) for k, sample in enumerate(real.samples[:2])}
    engine = Engine(loaded)
    tensors = {n.name: n.outputs[0] for n in loaded.general_nodes}
    shifts: dict[str, BiasShift] = {}
    arrays: dict[str, np.ndarray] = {}
    for name in convolutions:
        (value,) = engine.observe(QuantConfig(), {"0": samples["0"]}, [tensors[name]])
        channels = value[tensors[name]].shape[1]
        values = rng.normal(0, 0.1, channels).astype(np.float32)
        shifts[name] = BiasShift(tuple(values.tolist()))
        arrays[name] = values.reshape(1, -1, 1, 1)
    names = [n.name for n in loaded.calibration_nodes]
    outputs = [value.name for value in real.calibrated.graph.output]
    some = dict.fromkeys(convolutions[1:3])
    cases = [
        (QuantConfig(shifts={n: shifts[n] for n in some}), (), some),
        (QuantConfig(Quantization.AS_CALIBRATED, shifts=shifts), names, shifts),
        (QuantConfig.only(names[:4]).canonical(names), names[:4], {}),
        (QuantConfig(overrides=dict.fromkeys(names[:4], Quantization.AS_CALIBRATED),
                     shifts={n: shifts[n] for n in some}), names[:4], some),
    ]  # fmt: skip

    configs = [config.canonical(names) for config, _, _ in cases]
    found = {
        (m.config_id, m.sample_id): m.statistics for m in engine.evaluate(configs, samples, outputs)
    }

    expected = rebuild.run(rebuild.build(real.calibrated, ()), real.samples[:2], outputs)
    for config, (_, on, chosen) in zip(configs, cases, strict=True):
        changed = with_adds(real.calibrated, {n: arrays[n] for n in chosen})
        built = rebuild.build(changed, on)
        got, again = (
            rebuild.run(built, real.samples[:2], outputs, fused=fused) for fused in (True, False)
        )
        for sample, x, y, z in zip(samples, expected, got, again, strict=True):
            mine, oracle = found[config.config_id, sample], rebuild.metrics(x[0], y[0])["mse"]
            flips = abs(rebuild.metrics(x[0], z[0])["mse"] - oracle)
            assert abs(mine.sum_dd / mine.count - oracle) <= 0.01 * oracle + 3 * flips, on
            assert oracle > 1e-6, "equal outputs would show nothing"


def matrix_product(declared: Sequence[int | str | None] | None) -> onnx.ModelProto:
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    return model(
        [
            calibration("x", "q", "c"),
            helper.make_node("MatMul", ["q", "w"], ["y"], name="m"),
        ],
        {"x": declared},
        constants={"w": weight},
    )


@pytest.mark.parametrize("declared", [[2, 5, 4], ["n", None, 4], None])
@pytest.mark.parametrize(
    ("shift", "by"),
    [
        (BiasShift((1.0, -2.0, 3.0), -1), np.float32([1, -2, 3])),
        (BiasShift((1.0, -2.0, 3.0), 2), np.float32([1, -2, 3])),
        (BiasShift((1.0, 2.0), 0), np.float32([1, 2]).reshape(2, 1, 1)),
        (BiasShift((0.5,)), np.float32(0.5)),
    ],
)
def test_values_lie_along_an_axis(
    declared: Sequence[int | str | None] | None, shift: BiasShift, by: np.ndarray
) -> None:
    proto = matrix_product(declared)
    x = {"x": np.random.default_rng(1).normal(size=(2, 5, 4)).astype(np.float32)}
    (plain,), (got,) = (
        run(proto, x, config) for config in (QuantConfig(), QuantConfig(shifts={"m": shift}))
    )
    np.testing.assert_array_equal(got, plain + by, strict=True)


@pytest.mark.parametrize("shape", [(1, 2, 4), (3, 1, 4)])
def test_values_are_never_broadcast(shape: tuple[int, ...]) -> None:
    x = {"x": np.ones(shape, np.float32)}
    config = QuantConfig(shifts={"m": BiasShift((1.0, 2.0), 0)})
    with pytest.raises(EngineError, match="m_"):
        run(matrix_product(None), x, config)


def test_a_corrected_node_reaches_the_outputs_behind_it_only() -> None:
    proto = two_convolutions()
    x = np.random.default_rng(0).normal(0, 1, (1, 4, 5, 5)).astype(np.float32)
    config = QuantConfig(shifts={"Conv_0": BiasShift((0.25, 0.0, -0.5, 1.0))})
    before, after = (
        run(proto, {"x": x}, c, ["xq", "a", "b", "y"]) for c in (QuantConfig(), config)
    )
    by = np.float32([0.25, 0, -0.5, 1]).reshape(1, 4, 1, 1)
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1] + by)
    np.testing.assert_array_equal(after[2], np.maximum(before[1] + by, 0))
    assert not np.allclose(after[3], before[3])
    engine = Engine(load_model(proto))
    found = {
        m.output: m.statistics for m in engine.evaluate([config], {"0": {"x": x}}, ["a", "y", "xq"])
    }
    assert found["a"].sum_dd == pytest.approx(25 * np.square(by).sum(), rel=1e-5)
    assert found["y"].sum_dd == pytest.approx(
        np.square((after[3] - before[3]).astype(np.float64)).sum(), rel=1e-4
    )
    assert found["xq"].sum_dd == 0


def test_the_mean_error_is_what_a_shift_takes_away() -> None:
    proto = two_convolutions()
    x = np.random.default_rng(0).normal(0, 1, (8, 1, 4, 5, 5)).astype(np.float32)
    samples = {str(k): {"x": v} for k, v in enumerate(x)}
    engine = Engine(load_model(proto))
    runs = [
        np.stack([values["y"] for values in engine.observe(config, samples, ["y"])])
        for config in (QuantConfig(), graphs.CALIBRATED)
    ]
    mean = np.mean(runs[0] - runs[1], axis=(0, 1, 3, 4), dtype=np.float64)
    shifted = QuantConfig(ALL.default, shifts={"Conv_2": BiasShift(tuple(mean.tolist()))})
    errors = dict.fromkeys([ALL.config_id, shifted.config_id], 0.0)
    for m in engine.evaluate([ALL, shifted], samples, ["y"]):
        errors[m.config_id] += m.statistics.sum_dd
    gain = errors[ALL.config_id] - errors[shifted.config_id]
    assert gain == pytest.approx(8 * 25 * np.square(mean).sum(), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "shift", "error", "message"),
    [
        ("nothing", BiasShift((1.0,)), UnknownNodeError, "no general node named 'nothing'"),
        ("1_HzCalibration", BiasShift((1.0,)), UnknownNodeError, "no general node named"),
        ("Conv_0", BiasShift(()), ModelError, r"'Conv_0' cannot be shifted so: \[\] is not a list"),
        ("Conv_0", BiasShift((float("inf"),)), ModelError, r"\[inf\] is not a list of finite"),
        (
            "Conv_0",
            BiasShift((1.0, 2.0)),
            ModelError,
            r"'Conv_0': 2 values along axis 1 do not fit a tensor of shape \[1, 4, 5, 5\]",
        ),
        ("Conv_0", BiasShift((1.0, 2.0), 7), ModelError, "along axis 7 do not fit"),
    ],
)
def test_corrections_that_cannot_be(
    name: str, shift: BiasShift, error: type[HmctTrackError], message: str
) -> None:
    loaded = load_model(two_convolutions())
    config = QuantConfig(shifts={name: shift})
    with pytest.raises(error, match=message):
        Lowering(loaded).lower(config)
    sample = {"0": {"x": np.zeros((1, 4, 5, 5), np.float32)}}
    if "inf" in message:  # it has no JSON, and so no id
        return
    with pytest.raises(error, match=message):
        list(Engine(loaded).evaluate([config], sample, ["y"]))


def test_what_computes_from_constants_alone_is_not_corrected() -> None:
    proto = model(
        [
            helper.make_node("Neg", ["w"], ["v"], name="constant"),
            calibration("x", "q", "c"),
            helper.make_node("Add", ["q", "v"], ["y"], name="add"),
        ],
        constants={"w": np.ones(4, np.float32)},
    )
    config = QuantConfig(shifts={"constant": BiasShift((1.0,))})
    with pytest.raises(ModelError, match="'constant' gives no float32 data"):
        Lowering(load_model(proto)).lower(config)
