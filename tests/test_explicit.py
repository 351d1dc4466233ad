"""Configurations with explicit parameters, against models that hold these parameters themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from benchmarks import rebuild
from hmct_track.engine import Engine
from hmct_track.model import load_model
from hmct_track.types import Effect, PairStatistics, QuantConfig, QuantParams, QuantType
from tests.support.real import real_model


def cosine(s: PairStatistics) -> float:
    return s.sum_xy / np.sqrt(s.sum_xx * s.sum_yy)


def with_attributes(model: onnx.ModelProto, states: Mapping[str, QuantParams]) -> onnx.ModelProto:
    """The model with these parameters in its calibration nodes."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in changed.graph.node:
        if node.name in states:
            params = states[node.name]
            del node.attribute[:]
            written = {"qtype": params.qtype.name, "scales": params.scales, "axis": params.axis}
            if params.zero_points:
                written["zero_point"] = params.zero_points
            node.attribute.extend(helper.make_attribute(k, v) for k, v in written.items())
    return changed


def explicit_states(model: onnx.ModelProto) -> dict[str, QuantParams]:
    """Other thresholds, types, granularities and zero points for the nodes of the demo."""
    loaded = load_model(model)
    shapes = {t.name: t.dims for t in model.graph.initializer}
    rng = np.random.default_rng(0)
    states = {}
    for k, node in enumerate(loaded.calibration_nodes):
        scale = float(np.float32(node.params.scales[0] * rng.uniform(0.6, 1.3)))
        params = [
            QuantParams(QuantType("int8"), (scale,)),
            QuantParams(QuantType("int8"), (scale,), (int(rng.integers(-40, 40)),)),
            QuantParams(QuantType("int16"), (scale / 128,)),
            QuantParams(QuantType("int5"), (scale * 8,)),
        ][k % 4]
        shape = shapes.get(node.input, ())
        if len(shape) == 4:
            scales = np.float32(params.scales[0] * rng.uniform(0.5, 1, shape[0]))
            params = replace(
                params,
                scales=tuple(scales.tolist()),
                zero_points=params.zero_points * shape[0],
                axis=0,
            )
        states[node.name] = params
    return states


def test_explicit_parameters_give_what_a_model_with_them_gives() -> None:
    real = real_model("demo")
    states = explicit_states(real.calibrated)
    assert any(p.is_per_channel for p in states.values())
    loaded, changed = load_model(real.calibrated), with_attributes(real.calibrated, states)
    names = list(states)
    outputs = [value.name for value in real.calibrated.graph.output]
    sets = [[n] for n in names[::3]] + [names[:7], names[3:], names]
    configs = [
        QuantConfig(overrides={n: states[n] for n in chosen}).canonical(names) for chosen in sets
    ]
    samples = {str(k): dict(sample) for k, sample in enumerate(real.samples[:2])}

    found = {
        (m.config_id, m.sample_id, m.output): m.statistics
        for m in Engine(loaded).evaluate(configs, samples, outputs)
    }

    def oracle(on: Sequence[str], *, fused: bool) -> list[dict[str, float]]:
        runs = [
            rebuild.run(rebuild.build(changed, nodes), real.samples[:2], outputs, fused=fused)
            for nodes in ((), on)
        ]
        return [rebuild.metrics(x[0], y[0]) for x, y in zip(*runs, strict=True)]

    far, worst = 0, np.inf
    for config, chosen in zip(configs, sets, strict=True):
        plain, again = oracle(chosen, fused=True), oracle(chosen, fused=False)
        for sample, one, other in zip(samples, plain, again, strict=True):
            mine = found[config.config_id, sample, outputs[0]]
            # By how much values on a rounding tie may change it, the oracle tells itself.
            flips = abs(one["mse"] - other["mse"])
            error = abs(mine.sum_dd / mine.count - one["mse"])
            assert error <= 0.01 * one["mse"] + 3 * flips, chosen
            far += error > 0.01 * one["mse"]
            worst = min(worst, one["sqnr"])
    assert far <= len(sets) / 2
    assert worst < 30, "equal outputs would show nothing"


class HzCalibration(OpRun):
    """One effect at a time, in NumPy, for the nodes that `CHOSEN` names."""

    op_domain = "horizon"

    def _run(self, x, **attributes):  # type: ignore[no-untyped-def]
        effect = CHOSEN.get(self.onnx_node.name)
        scale = np.float32(self.scales[0])
        if effect is Effect.CLIP_ONLY:
            x = np.minimum(np.maximum(x, np.float32(-128) * scale), np.float32(127) * scale)
        elif effect is Effect.ROUND_ONLY:
            x = np.round(x / scale) * scale
        return (x.astype(np.float32),)


CHOSEN: dict[str, Effect] = {}


@pytest.mark.parametrize("effect", [Effect.CLIP_ONLY, Effect.ROUND_ONLY])
def test_one_effect_alone_equals_the_onnx_reference_evaluator(effect: Effect) -> None:
    real = real_model("demo")
    loaded = load_model(real.calibrated)
    # Half the calibrated threshold, so that there is something to clip.
    proto = onnx.ModelProto()
    proto.CopyFrom(real.calibrated)
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name == "scales":
                attribute.floats[:] = [v / 2 for v in attribute.floats]
    halved = {n.name: n.params for n in load_model(proto).calibration_nodes}
    evaluator = ReferenceEvaluator(proto, new_ops=[HzCalibration])
    (output,) = (value.name for value in proto.graph.output)
    sample = dict(real.samples[0])
    CHOSEN.clear()
    (expected,) = evaluator.run(None, sample)
    names = [n.name for n in loaded.calibration_nodes if not n.params.is_per_channel]
    configs = {n: QuantConfig.only([n], replace(halved[n], effect=effect)) for n in names}

    found = {
        m.config_id: m.statistics
        for m in Engine(loaded).evaluate(list(configs.values()), {"0": sample}, [output])
    }

    changes = 0
    for name, config in configs.items():
        CHOSEN.clear()
        CHOSEN[name] = effect
        (quantized,) = evaluator.run(None, sample)
        oracle = rebuild.metrics(expected, quantized)
        mine = found[config.config_id]
        changes += oracle["mse"] > 1e-9
        assert cosine(mine) == pytest.approx(oracle["cosine-similarity"], abs=1e-5), name
        assert mine.sum_dd / mine.count == pytest.approx(oracle["mse"], rel=0.05, abs=1e-9), name
    CHOSEN.clear()
    assert changes > 3
