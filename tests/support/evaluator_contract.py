"""What every evaluator does, wherever it computes: a class of tests that a test module inherits.

A subclass has a fixture ``evaluator``: one of the model of `network`.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper

from hmct_track.engine.protocols import Evaluator
from hmct_track.errors import HmctTrackError
from hmct_track.types import Measurement, PairStatistics, QuantConfig, Quantization, QuantType
from tests.support.graphs import calibration, model

OUTPUTS = ["y", "z"]
NODES = ["cx", "cm"]
CONFIGS = [
    c.canonical(NODES)
    for c in (
        QuantConfig(),
        QuantConfig.only(["cx"]),
        QuantConfig.only(["cm"]),
        QuantConfig(Quantization.AS_CALIBRATED),
        QuantConfig.only(["cx"], QuantType("int16")),
    )
]
SAMPLES = {
    str(k): {"x": np.random.default_rng(k).normal(0, 1, (2, 5)).astype(np.float32)}
    for k in range(3)
}


def network() -> onnx.ModelProto:
    """Two quantizers, one behind the other, and an output of each."""
    weights = np.random.default_rng(1).normal(0, 0.3, (5, 7)).astype(np.float32)
    return model(
        [
            calibration("x", "xq", "cx", scales=[0.05]),
            helper.make_node("MatMul", ["xq", "w"], ["m"], name="first"),
            calibration("m", "mq", "cm", scales=[0.02]),
            helper.make_node("Relu", ["mq"], ["y"], name="second"),
            helper.make_node("Neg", ["m"], ["z"], name="third"),
        ],
        {"x": [2, 5]},
        tuple(OUTPUTS),
        constants={"w": weights},
    )


def by_key(found: list[Measurement]) -> dict[tuple[str, str, str], PairStatistics]:
    return {(m.config_id, m.sample_id, m.output): m.statistics for m in found}


class EvaluatorContract:
    """Tests that any evaluator passes."""

    def test_each_configuration_sample_and_output_comes_once(self, evaluator: Evaluator) -> None:
        found = list(evaluator.evaluate(CONFIGS, SAMPLES, OUTPUTS))
        counts = Counter((m.config_id, m.sample_id, m.output) for m in found)
        expected = {(c.config_id, s, o) for c in CONFIGS for s in SAMPLES for o in OUTPUTS}
        assert counts == dict.fromkeys(expected, 1)

    def test_what_is_known_does_not_come(self, evaluator: Evaluator) -> None:
        known = {(CONFIGS[1].config_id, "0"), (CONFIGS[3].config_id, "2")}
        found = list(evaluator.evaluate(CONFIGS, SAMPLES, OUTPUTS, known))
        assert known.isdisjoint((m.config_id, m.sample_id) for m in found)
        assert len(found) == (len(CONFIGS) * len(SAMPLES) - len(known)) * len(OUTPUTS)

    def test_the_float_model_is_exact_and_int16_is_nearer_than_int8(
        self, evaluator: Evaluator
    ) -> None:
        found = by_key(list(evaluator.evaluate(CONFIGS, SAMPLES, OUTPUTS)))
        floating, only, _, _, wide = (c.config_id for c in CONFIGS)
        for sample in SAMPLES:
            assert found[floating, sample, "y"].sum_dd == 0
            assert found[wide, sample, "z"].sum_dd < found[only, sample, "z"].sum_dd / 100

    def test_values_hang_neither_on_order_nor_on_company(self, evaluator: Evaluator) -> None:
        whole = by_key(list(evaluator.evaluate(CONFIGS, SAMPLES, OUTPUTS)))
        samples = {key: SAMPLES[key] for key in reversed(SAMPLES)}
        assert by_key(list(evaluator.evaluate(CONFIGS[::-1], samples, OUTPUTS))) == whole
        for config in CONFIGS:
            alone = by_key(list(evaluator.evaluate([config], {"1": SAMPLES["1"]}, OUTPUTS)))
            assert alone == {key: whole[key] for key in alone} and len(alone) == len(OUTPUTS)

    def test_the_values_are_those_of_numpy(self, evaluator: Evaluator) -> None:
        (config,) = (c for c in CONFIGS if c.overrides.keys() == {"cx"} and c is CONFIGS[1])
        found = by_key(list(evaluator.evaluate([config], SAMPLES, ["z"])))
        weights = np.random.default_rng(1).normal(0, 0.3, (5, 7)).astype(np.float32)
        for sample, inputs in SAMPLES.items():
            x = inputs["x"]
            rounded = np.clip(np.round(x / np.float32(0.05)), -128, 127) * np.float32(0.05)
            error = float((((x - rounded).astype(np.float64) @ weights) ** 2).sum())
            assert found[config.config_id, sample, "z"].sum_dd == pytest.approx(error, rel=1e-3)

    def test_nothing_asked_is_nothing_given(self, evaluator: Evaluator) -> None:
        assert list(evaluator.evaluate([], SAMPLES, OUTPUTS)) == []
        assert list(evaluator.evaluate(CONFIGS, {}, OUTPUTS)) == []

    def test_an_output_that_is_not_there_is_told(self, evaluator: Evaluator) -> None:
        with pytest.raises(HmctTrackError, match="nowhere"):
            list(evaluator.evaluate(CONFIGS, SAMPLES, ["nowhere"]))

    def test_it_says_what_computes_and_how_sure_it_is(self, evaluator: Evaluator) -> None:
        assert evaluator.runtime and evaluator.noise_floor is None
        list(evaluator.evaluate(CONFIGS, SAMPLES, OUTPUTS))
        assert evaluator.noise_floor is not None and 0 <= evaluator.noise_floor < 1e-4

    def test_an_evaluation_that_is_left_can_be_begun_again(self, evaluator: Evaluator) -> None:
        running = evaluator.evaluate(CONFIGS, SAMPLES, OUTPUTS)
        next(iter(running))
        running.close()  # type: ignore[attr-defined]
        assert len(list(evaluator.evaluate(CONFIGS, SAMPLES, OUTPUTS))) == 30
