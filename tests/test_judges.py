"""Judges: outputs one by one or all of a sample, whole or in part, from one execution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from hmct_track.engine import Engine, partition
from hmct_track.engine.protocols import Evaluator, OutputJudge, SampleJudge
from hmct_track.engine.runtime import Session
from hmct_track.engine.statistics import PairJudge
from hmct_track.engine.survey import channel_scales
from hmct_track.errors import EngineError, UsageError
from hmct_track.model import load_model
from hmct_track.types import Output, PairStatistics, QuantConfig, Quantization
from tests.support.graphs import calibration, model, run

Array = np.ndarray
ALL = QuantConfig(Quantization.AS_CALIBRATED)


def network() -> onnx.ModelProto:
    """Boxes and scores in one output, whose magnitudes differ by orders; a second output; a third
    that nothing quantizes."""
    rng = np.random.default_rng(1)
    scale = np.array([300, 300, 200, 100, 0.5, 0.2, 0], np.float32)
    return model(
        [
            calibration("x", "xq", "cx", scales=[0.05]),
            helper.make_node("MatMul", ["xq", "w"], ["m"], name="first"),
            calibration("m", "mq", "cm", scales=[0.02]),
            helper.make_node("Mul", ["mq", "scale"], ["o"], name="last"),
            calibration("o", "output0", "co", scales=[0.2], qtype="int16"),
            helper.make_node("Relu", ["m"], ["second"], name="other"),
            helper.make_node("Neg", ["x"], ["apart"], name="apart"),
        ],
        {"x": [2, 5]},
        ("output0", "second", "apart"),
        constants={"w": rng.normal(0, 0.3, (5, 7)).astype(np.float32), "scale": scale},
    )


SAMPLES = {
    str(k): {"x": np.random.default_rng(k).normal(0, 1, (2, 5)).astype(np.float32)}
    for k in range(3)
}
NAMES = ["output0", "second", "apart"]
CONFIGS = [
    c.canonical(["cx", "cm", "co"])
    for c in (QuantConfig(), QuantConfig.only(["cx"]), QuantConfig.only(["cm"]), ALL)
]


class Largest:
    """Judges single outputs."""

    identity = "largest"

    def prepare(self, x: Array, /) -> float:
        return float(np.abs(x).max(initial=0))

    def judge_output(self, x: Array, y: Array, prepared: float, /) -> tuple[float, float]:
        return prepared, float(np.abs(y).max(initial=0))


class Kept:
    """Judges samples, by keeping what it is given."""

    identity = "kept"

    def judge_sample(
        self, sample_id: str, x: Mapping[str, Array], y: Mapping[str, Array], /
    ) -> tuple[str, dict[str, Array], dict[str, Array]]:
        return sample_id, dict(x), dict(y)


def expected(config: QuantConfig, sample: str) -> dict[str, Array]:
    return dict(zip(NAMES, run(network(), SAMPLES[sample], config), strict=True))


def everywhere(costs: object, places: Sequence[int], end: int, held_cost: float) -> list[int]:
    return [0, end] if held_cost else [0, *(int(p) for p in places), end]


@pytest.mark.parametrize("cut_everywhere", [True, False])
@pytest.mark.parametrize("memory", [None, 200], ids=["much memory", "little memory"])
def test_judges_of_outputs_and_of_samples_see_the_same_execution(
    memory: int | None, cut_everywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cut_everywhere:
        monkeypatch.setattr(partition, "best_cuts", everywhere)
    engine = Engine(load_model(network()), memory=memory)
    judges = [PairJudge(), Largest(), Kept()]
    found = list(engine.records(CONFIGS, SAMPLES, NAMES, judges))

    records = {(r.config_id, r.sample_id, r.judge, r.output): r.value for r in found}
    assert len(records) == len(found) == len(CONFIGS) * len(SAMPLES) * (2 * len(NAMES) + 1)
    for config in CONFIGS:
        for sample in SAMPLES:
            key = config.config_id, sample
            x, y = expected(QuantConfig(), sample), expected(config, sample)
            told, xs, ys = records[(*key, "kept", None)]
            assert told == sample
            for name in NAMES:
                np.testing.assert_allclose(xs[name], x[name], rtol=1e-6)
                np.testing.assert_allclose(ys[name], y[name], rtol=1e-6)
                largest = [float(np.abs(v[name]).max()) for v in (x, y)]
                assert records[(*key, "largest", name)] == pytest.approx(largest)
                statistics = records[(*key, "pair-statistics", name)]
                assert statistics.sum_dd == pytest.approx(np.square(x[name] - y[name]).sum())
    plain = {
        (m.config_id, m.sample_id, "pair-statistics", m.output): m.statistics
        for m in engine.evaluate(CONFIGS, SAMPLES, NAMES)
    }
    assert plain == {k: v for k, v in records.items() if k[2] == "pair-statistics"}


def test_several_judges_take_no_more_runs_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(load_model(network()), threads=1)
    ran: list[int] = []
    run_session = Session.run
    monkeypatch.setattr(Session, "run", lambda s, i: (ran.append(1), run_session(s, i))[1])
    counts = []
    for judges in ([PairJudge()], [PairJudge()], [PairJudge(), Largest(), Kept()]):
        ran.clear()
        list(engine.records(CONFIGS, SAMPLES, NAMES, judges))
        counts.append(len(ran))
    assert counts[2] == counts[1] <= counts[0]


class Counting:
    """Adds up samples, as a score over a whole set does."""

    identity = "counting"

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def judge_sample(self, sample_id: str, x: Any, y: Any, /) -> int:
        self.seen.add(sample_id)
        return len(self.seen)


def test_a_judge_with_a_memory_is_never_taken_for_another_of_its_name() -> None:
    engine = Engine(load_model(network()), threads=1)
    first, second = Counting(), Counting()
    for judge in (first, second, second):
        list(engine.records([ALL], SAMPLES, NAMES, [judge]))
    assert first.seen == second.seen == set(SAMPLES)


def test_the_engine_and_these_judges_fit_the_protocols() -> None:
    evaluator: Evaluator = Engine(load_model(network()))
    assert evaluator.runtime.startswith("onnxruntime-")
    assert evaluator.noise_floor is None
    assert [isinstance(j, OutputJudge) for j in (PairJudge(), Largest(), Kept())] == [1, 1, 0]
    assert [isinstance(j, SampleJudge) for j in (PairJudge(), Largest(), Kept())] == [0, 0, 1]


@pytest.mark.parametrize("base", [Largest, Kept])
def test_a_judge_that_fails_names_itself_the_sample_and_the_configuration(base: type) -> None:
    class Failing(base):  # type: ignore[misc, valid-type]
        identity = "mine.py:score"

        def judge_output(self, x: Array, y: Array, prepared: float, /) -> Any:
            raise KeyError("no label")

        def judge_sample(self, sample_id: str, x: Any, y: Any, /) -> Any:
            raise KeyError("no label")

    engine = Engine(load_model(network()), threads=1)
    message = rf"mine\.py:score failed on sample 0 of configuration {ALL.config_id}.*KeyError.*no l"
    records = engine.records([ALL], SAMPLES, ["output0"], [PairJudge(), Failing()])
    assert next(records).judge == "pair-statistics", "what came before the failure is kept"
    with pytest.raises(EngineError, match=message):
        list(records)


def test_samples_are_judged_where_the_number_of_results_depends_on_the_data() -> None:
    proto = model(
        [
            calibration("x", "xq", "cx", scales=[0.5]),
            helper.make_node("NonZero", ["xq"], ["places"]),
            helper.make_node("Cast", ["places"], ["y"], to=onnx.TensorProto.FLOAT),
        ],
        {"x": [1, 4]},
    )
    sample = {"0": {"x": np.array([[0.1, 0.2, 1, 2]], np.float32)}}
    engine = Engine(load_model(proto))
    (record,) = engine.records([ALL], sample, ["y"], [Kept()])
    _, x, y = record.value
    assert (x["y"].shape, y["y"].shape) == ((2, 4), (2, 2))
    with pytest.raises(EngineError, match="number of results depends on the data"):
        list(engine.evaluate([ALL], sample, ["y"]))


def statistics(x: Array, y: Array) -> list[float]:
    x, y = x.astype(np.float64), y.astype(np.float64)
    return [
        x.size,
        np.square(x).sum(),
        np.square(y).sum(),
        (x * y).sum(),
        np.square(x - y).sum(),
        np.abs(x - y).sum(),
        np.abs(x).sum(),
        np.abs(x - y).max(),
        0,
        0,
    ]


def per_channel(x: Array, y: Array) -> tuple[Array, Array]:
    """Each column by the RMS of the float one; a column of zeros stays."""
    rms = np.sqrt(np.mean(np.square(x.astype(np.float64)), axis=0))
    rms[rms == 0] = 1
    return x / rms, y / rms


PARTS = {
    "output0[:, :4]": lambda x, y: (x[:, :4], y[:, :4]),
    "output0[:, 4:]": lambda x, y: (x[:, 4:], y[:, 4:]),
    "output0[0]": lambda x, y: (x[0], y[0]),
    "output0/rms(1)": per_channel,
    "output0[:, 4:]/rms(-1)": lambda x, y: per_channel(x[:, 4:], y[:, 4:]),
    "output0": lambda x, y: (x, y),
}


def test_parts_of_an_output_are_compared_in_one_execution() -> None:
    engine = Engine(load_model(network()))
    found = list(engine.evaluate(CONFIGS, SAMPLES, [*PARTS, "second[:, 1:3]"]))
    assert len(found) == len(CONFIGS) * len(SAMPLES) * (len(PARTS) + 1)
    ids = {c.config_id: c for c in CONFIGS}
    for m in found:
        if m.output in PARTS:
            x = expected(QuantConfig(), m.sample_id)["output0"]
            y = expected(ids[m.config_id], m.sample_id)["output0"]
            oracle = statistics(*PARTS[m.output](x, y))
            got = [float(v) for v in vars(m.statistics).values()]
            np.testing.assert_allclose(got, oracle, rtol=1e-5, atol=1e-9, err_msg=m.output)


def cosine(s: PairStatistics) -> float:
    return s.sum_xy / np.sqrt(s.sum_xx * s.sum_yy)


def test_large_channels_no_longer_hide_small_ones() -> None:
    found = Engine(load_model(network())).evaluate([ALL], SAMPLES, [*PARTS])
    worst: dict[str, float] = {}
    for m in found:
        worst[m.output] = min(worst.get(m.output, 1), cosine(m.statistics))
    assert worst["output0"] > 0.999
    assert worst["output0[:, 4:]"] < 0.99
    assert worst["output0/rms(1)"] < 0.999


@pytest.mark.parametrize("output", ["output0[:, 9:]", Output("output0", (0, 0, 0))])
def test_a_part_that_is_not_there_is_told(output: str | Output) -> None:
    with pytest.raises(UsageError, match="output0"):
        list(Engine(load_model(network())).evaluate([ALL], SAMPLES, [output]))


def test_a_part_that_reads_like_another_tensor_is_refused() -> None:
    proto = network()
    proto.graph.node.append(helper.make_node("Identity", ["x"], ["second[0]"]))
    engine = Engine(load_model(proto))
    assert engine.output("second[0]") == Output("second[0]")
    with pytest.raises(UsageError, match=r"'second\[0\]' is the name of a tensor"):
        engine.output(Output("second", (0,)))


def test_the_magnitudes_of_channels() -> None:
    engine = Engine(load_model(network()))
    found = {(s.output, s.axis): s for s in channel_scales(engine, SAMPLES, [*PARTS])}
    whole = np.concatenate([expected(QuantConfig(), s)["output0"] for s in SAMPLES])
    rms = np.sqrt(np.mean(np.square(whole.astype(np.float64)), axis=0))
    np.testing.assert_allclose(found["output0", 1].rms, rms, rtol=1e-5)
    np.testing.assert_allclose(found["output0[:, 4:]", 1].rms, rms[4:], rtol=1e-5)
    first = np.sqrt(np.mean(np.square(whole[::2].astype(np.float64)), axis=0))
    np.testing.assert_allclose(found["output0[0]", 0].rms, first, rtol=1e-5)
    assert found["output0", 1].ratio == pytest.approx(rms[:-1].max() / rms[:-1].min(), rel=1e-5)
    assert found["output0", 1].ratio > 100
    assert found["output0", 0].ratio < 10
