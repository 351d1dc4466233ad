"""The engine in parts: the values of the whole model, nothing twice, and it stops when told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hmct_track import demo
from hmct_track.engine import Engine, partition, route, runtime
from hmct_track.engine.runtime import Runtime, Session
from hmct_track.engine.statistics import pair_statistics
from hmct_track.errors import EngineError, UsageError
from hmct_track.lake import Lake
from hmct_track.model import Lowering, QuantModel, load_model
from hmct_track.types import (
    BiasShift,
    Effect,
    PairStatistics,
    QuantConfig,
    Quantization,
    QuantParams,
    QuantType,
    State,
    TensorSpec,
)
from tests.support.graphs import calibration, model

FLOAT = TensorProto.FLOAT


def info(name: str, element: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, None)


def weight(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def chain(width: int = 4) -> onnx.ModelProto:
    """A residual chain, whose calibration nodes stand far before what they feed."""
    nodes = [
        calibration("x", "xq", "cx"),
        calibration("w", "wq", "cw", scales=[0.02], qtype="int8"),
    ]
    last = "x"
    for k in range(4):
        nodes += [
            helper.make_node("MatMul", ["xq" if k == 0 else last, "wq"], [f"m{k}"]),
            calibration(f"m{k}", f"q{k}", f"c{k}"),
            helper.make_node("Relu", [f"q{k}"], [f"r{k}"]),
            helper.make_node("Add", [f"r{k}", last], [f"a{k}"]),
        ]
        last = f"a{k}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    weights = {"w": weight(0, width, width)}
    return model(nodes, {"x": [None, width]}, constants=weights)


def control_flow() -> onnx.ModelProto:
    """A body that reads a tensor and a quantized constant of the main graph."""
    then = helper.make_graph(
        [helper.make_node("MatMul", ["a", "wq"], ["t"])], "then", [], [info("t")]
    )
    other = helper.make_graph([helper.make_node("Neg", ["a"], ["e"])], "else", [], [info("e")])
    return model(
        [
            calibration("x", "xq", "cx"),
            calibration("w", "wq", "cw", scales=[0.02], qtype="int8"),
            helper.make_node("MatMul", ["xq", "wq"], ["a"]),
            helper.make_node("ReduceSum", ["a"], ["s"], keepdims=0),
            helper.make_node("Greater", ["s", "zero"], ["c"]),
            helper.make_node("If", ["c"], ["b"], then_branch=then, else_branch=other),
            calibration("b", "bq", "cb"),
            helper.make_node("Relu", ["bq"], ["y"]),
        ],
        {"x": [2, 4]},
        constants={"w": weight(1, 4, 4), "zero": np.array(0, np.float32)},
    )


def integers() -> onnx.ModelProto:
    """An integer branch, shapes that depend on the input, constants made in the graph."""
    value = helper.make_node(
        "Constant", [], ["k"], value=onnx.numpy_helper.from_array(weight(2, 4, 3))
    )
    return model(
        [
            value,
            helper.make_node("Transpose", ["k"], ["kt"], perm=[1, 0]),
            calibration("kt", "kq", "ck", scales=[0.02], qtype="int8"),
            calibration("x", "xq", "cx"),
            helper.make_node("Transpose", ["kq"], ["kk"], perm=[1, 0]),
            helper.make_node("MatMul", ["xq", "kk"], ["m"]),
            helper.make_node("ArgMax", ["x"], ["i"], axis=1, keepdims=0),
            helper.make_node("Shape", ["m"], ["s"]),
            helper.make_node("Reshape", ["m", "s"], ["r"]),
            helper.make_node("Gather", ["table", "i"], ["g"]),
            calibration("g", "gq", "cg"),
            helper.make_node("Add", ["r", "gq"], ["y"]),
        ],
        {"x": [None, 4]},
        constants={"table": weight(3, 4, 3)},
    )


def several_outputs() -> onnx.ModelProto:
    """Two branches, an output that is read further on, and one that nothing quantizes."""
    return model(
        [
            calibration("x", "xq", "cx"),
            helper.make_node("Relu", ["xq"], ["first"]),
            calibration("first", "fq", "cf"),
            helper.make_node("Neg", ["fq"], ["second"]),
            helper.make_node("Exp", ["x"], ["apart"]),
        ],
        {"x": [1, 4]},
        ("first", "second", "apart"),
    )


GRAPHS = [chain, control_flow, integers, several_outputs]


def everywhere(costs: object, places: Sequence[int], end: int, held_cost: float) -> list[int]:
    return [0, end] if held_cost else [0, *(int(p) for p in places), end]


def by_key(
    engine: Engine, configs: list[QuantConfig], samples: Mapping, outputs: list[str]
) -> dict:  # type: ignore[type-arg]
    found = list(engine.evaluate(configs, samples, outputs))
    keyed = {(m.config_id, m.sample_id, m.output): m.statistics for m in found}
    assert len(keyed) == len(found), "nothing is measured twice"
    return keyed


def configurations(names: Sequence[str]) -> list[QuantConfig]:
    """Each alone, all, all but each, the first few."""
    configs = [QuantConfig.only([n]) for n in names] + [QuantConfig.all_but([n]) for n in names]
    configs += [QuantConfig.all_but(names[:k]) for k in range(len(names))]
    configs += [QuantConfig(), QuantConfig(Quantization.AS_CALIBRATED)]
    canonical = {c.canonical(names).config_id: c.canonical(names) for c in configs}
    return list(canonical.values())


def explicit_configurations(quantized: QuantModel) -> list[QuantConfig]:
    """Explicit parameters and corrections, alone and among what is as calibrated."""
    names = [node.name for node in quantized.calibration_nodes]
    some: list[State] = [
        QuantParams(QuantType("int4"), (0.25,), (1,)),
        QuantParams(QuantType("int8"), (0.01,), effect=Effect.CLIP_ONLY),
        QuantParams(QuantType("uint8"), (0.3,), effect=Effect.ROUND_ONLY),
        QuantParams(QuantType("int8"), (0.05,), factors=(0.3,)),
    ]
    states = {name: some[k % len(some)] for k, name in enumerate(names)}
    flow = Lowering(quantized).flow
    shifts = {
        node.name: BiasShift((0.25 * (k % 3) - 0.4,))
        for k, node in enumerate(quantized.general_nodes)
        if node.op_type in {"MatMul", "Relu", "Add", "Neg"}
        and node.outputs[0] not in flow.constants
    }
    configs = [QuantConfig.only([name], state) for name, state in states.items()]
    configs += [QuantConfig(shifts={name: shift}) for name, shift in shifts.items()]
    configs += [
        QuantConfig(overrides=states),
        QuantConfig(Quantization.AS_CALIBRATED, dict(list(states.items())[:1]), shifts),
        QuantConfig(Quantization.AS_CALIBRATED, {}, dict(list(shifts.items())[1:])),
    ]
    return [config.canonical(names) for config in configs]


@pytest.mark.parametrize("cut_everywhere", [True, False])
@pytest.mark.parametrize("graph", GRAPHS)
def test_parts_give_what_the_whole_model_gives(
    graph: object, cut_everywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cut_everywhere:
        monkeypatch.setattr(partition, "best_cuts", everywhere)
    quantized = load_model(graph())  # type: ignore[operator]
    outputs = [spec.name for spec in quantized.outputs]
    shape = [d or 2 for d in quantized.inputs[0].shape or ()]
    samples = {str(k): {"x": weight(10 + k, *shape)} for k in range(3)}
    names = [node.name for node in quantized.calibration_nodes]
    configs = configurations(names) + explicit_configurations(quantized)
    engine = Engine(quantized)

    got = by_key(engine, configs, samples, outputs)

    lowering, runtime = Lowering(quantized), Runtime(quantized.weights)
    whole = runtime.session(lowering.lower(QuantConfig()))
    for config in configs:
        session = runtime.session(lowering.lower(config))
        for name, sample in samples.items():
            for output, x, y in zip(outputs, whole.run(sample), session.run(sample), strict=True):
                statistics = got.pop((config.config_id, name, output))
                assert close(statistics, pair_statistics(x, y)), (config, output)
    assert not got
    assert engine.noise_floor is not None
    assert engine.noise_floor < 1e-6


def close(got: PairStatistics, expected: PairStatistics) -> bool:
    return bool(np.allclose(vars_of(got), vars_of(expected), rtol=1e-4, atol=1e-5))


def vars_of(statistics: PairStatistics) -> list[float]:
    return [float(v) for v in vars(statistics).values()]


def test_a_configuration_runs_only_from_where_it_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "best_cuts", everywhere)
    cut = watch_cuts(monkeypatch)
    quantized = load_model(chain())
    engine = Engine(quantized, threads=1)
    samples = {"0": {"x": weight(0, 2, 4)}}
    list(engine.evaluate([QuantConfig.only(["c0"])], samples, ["y"]))
    made = count_sessions(monkeypatch)
    ran = count_runs(monkeypatch)

    list(engine.evaluate([QuantConfig.only(["c3"])], samples, ["y"]))

    assert len(made) == 1, "its own part; the float ones are there"
    (partition_made,) = cut
    (own,) = [k for k, part in enumerate(partition_made.parts) if "c3" in part.calibrations]
    assert 0 < len(ran) == len(partition_made.parts) - own


def watch_cuts(monkeypatch: pytest.MonkeyPatch) -> list[partition.Partition]:
    """The partitions that are made from now on."""
    made: list[partition.Partition] = []
    make = route.make_partition

    def watched(*given: Any, **options: Any) -> partition.Partition:
        made.append(make(*given, **options))
        return made[-1]

    monkeypatch.setattr(route, "make_partition", watched)
    return made


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    ran: list[int] = []
    run = Session.run
    monkeypatch.setattr(Session, "run", lambda self, inputs: (ran.append(1), run(self, inputs))[1])
    return ran


def test_configurations_share_what_they_have_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "best_cuts", everywhere)
    quantized = load_model(chain())
    engine = Engine(quantized, threads=1)
    samples = {"0": {"x": weight(0, 2, 4)}}
    first = QuantConfig(Quantization.AS_CALIBRATED)
    second = QuantConfig.all_but(["c3"])
    list(engine.evaluate([first], samples, ["y"]))
    ran = count_runs(monkeypatch)
    list(engine.evaluate([first], samples, ["y"]))
    alone = len(ran)
    list(engine.evaluate([first, second], samples, ["y"]))
    both = len(ran) - alone
    assert alone < both < 1.5 * alone


def test_what_is_known_is_left_out() -> None:
    quantized = load_model(chain())
    samples = {str(k): {"x": weight(k, 1, 4)} for k in range(3)}
    names = [node.name for node in quantized.calibration_nodes]
    configs = [QuantConfig.only([name]).canonical(names) for name in ("c0", "c1")]
    known = {(configs[0].config_id, "1"), (configs[1].config_id, "0"), (configs[1].config_id, "1")}
    found = Engine(quantized).evaluate(configs, samples, ["y"], known)
    every = {(c.config_id, s) for c in configs for s in samples}
    assert sorted((m.config_id, m.sample_id) for m in found) == sorted(every - known)


def test_float_values_that_a_ranking_has_left_are_not_computed_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quantized = load_model(chain())
    samples = {str(k): {"x": weight(k, 1, 4)} for k in range(3)}
    expected = [v["y"] for v in Engine(quantized).observe(QuantConfig(), samples, ["y"])]
    engine = Engine(quantized)
    names = [node.name for node in quantized.calibration_nodes]
    [*engine.evaluate([QuantConfig.only(names[:1]).canonical(names)], samples, ["y"])]
    made = count_sessions(monkeypatch)

    found = [v["y"] for v in engine.float_values(samples, ["y"])]
    assert made == []
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)

    # What it does not hold is computed.
    other = {"other": {"x": weight(9, 1, 4)}}
    assert len([*engine.float_values({**samples, **other}, ["y"])]) == 4
    assert len(made) == 1


def test_what_is_observed_does_not_hang_on_what_was_evaluated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quantized = load_model(chain())
    samples = {"0": {"x": weight(3, 1, 4)}}
    engine = Engine(quantized)
    [*engine.evaluate([QuantConfig.only(["c0"])], samples, ["y"])]
    made = count_sessions(monkeypatch)
    [*engine.observe(QuantConfig(), samples, ["y"])]
    assert len(made) == 1


def count_sessions(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that grows by what each session is made of."""
    made: list[object] = []
    make = Runtime.session

    def counted(self: Runtime, lowered: Any, **options: Any) -> Session:
        made.append(lowered)
        return make(self, lowered, **options)

    monkeypatch.setattr(Runtime, "session", counted)
    return made


def test_large_weights_are_there_once_for_the_whole_model_or_for_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition, "best_cuts", everywhere)
    quantized = load_model(chain(32))
    assert quantized.weights.keys() == {"w"}
    configs = configurations([node.name for node in quantized.calibration_nodes])
    samples = {"0": {"x": weight(1, 2, 32)}}
    expected = by_key(Engine(quantized), configs, samples, ["y"])
    made: list[tuple[bool, bool]] = []
    whole: list[weakref.ref[Session]] = []
    given_back: list[int] = []
    make = Runtime.session

    def watched(self: Runtime, lowered: Any, *, alone: bool = True, packed: bool = True) -> Session:
        made.append((alone, packed))
        assert all(ref() is None for ref in whole), "the whole is gone before there is another"
        session = make(self, lowered, alone=alone, packed=packed)
        if alone:
            whole.append(weakref.ref(session))
            time.sleep(0.1)  # for others to come, if they would
        return session

    monkeypatch.setattr(Runtime, "session", watched)
    monkeypatch.setattr(runtime, "LARGE", 32 * 32 * 4 - 1)
    monkeypatch.setattr(runtime, "FREED", 3 * 32 * 32 * 4)
    monkeypatch.setattr(runtime, "give_back", lambda: given_back.append(len(made)))

    found = by_key(Engine(quantized, threads=2), configs, samples, ["y"])

    assert made[0] == (True, False)
    assert set(made[1:]) == {(False, True)}
    assert given_back, "what making sessions freed"
    assert given_back[0] > 2, "a few at a time"
    assert found.keys() == expected.keys()
    assert all(close(found[key], expected[key]) for key in found)


def blocks(count: int) -> Lowering:
    """A chain of quantizer, product and activation, so many times."""
    nodes, last = [], "x"
    for k in range(count):
        nodes.append(calibration(last, f"q{k}", f"c{k}"))
        nodes.append(helper.make_node("MatMul", [f"q{k}", "w"], [f"m{k}"], name=f"m{k}"))
        nodes.append(helper.make_node("Relu", [f"m{k}"], ["y" if k == count - 1 else f"a{k}"]))
        last = f"a{k}"
    return Lowering(load_model(model(nodes, constants={"w": weight(0, 4, 4)})))


@pytest.mark.parametrize("unknown", ["q1", "m1", "a1"])
def test_there_is_no_cut_where_what_is_live_may_have_any_size(
    monkeypatch: pytest.MonkeyPatch, unknown: str
) -> None:
    monkeypatch.setattr(partition, "best_cuts", everywhere)
    lowering = blocks(3)
    specs = lowering.specs_for({"x": (2, 4)})

    def crossing(known: dict[str, TensorSpec]) -> list[str]:
        made = partition.make_partition(lowering, ["y"], known, samples=1, most_bytes=1e9)
        return [name for part in made.parts[1:] for name in part.inputs]

    all_known = crossing(dict(specs))
    assert unknown in all_known and len(all_known) == 8
    left = crossing({name: spec for name, spec in specs.items() if name != unknown})
    assert left == [name for name in all_known if name != unknown]


def test_few_cuts_where_not_all_can_be_held() -> None:
    lowering = blocks(40)
    specs = lowering.specs_for({"x": (4096, 4)})
    one = 4096 * 4 * 4

    def cut(most: float) -> partition.Partition:
        return partition.make_partition(lowering, ["y"], specs, samples=4, most_bytes=most)

    free, tight, none = cut(1e9), cut(6 * one), cut(0)
    assert len(free.parts) > 10
    assert 4 <= len(tight.parts) <= 7, "as many as can be held, or nearly"
    assert tight.held_bytes <= 6 * one + one  # and the output
    assert len(none.parts) == 1


class Loaded(Mapping[str, dict[str, np.ndarray]]):
    """Samples that are made when they are asked for, and what is known of those still held."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.held: set[int] = set()
        self.most_held = 0

    def __getitem__(self, name: str) -> dict[str, np.ndarray]:
        array = weight(int(name), 64, 4)
        self.held.add(id(array))
        self.most_held = max(self.most_held, len(self.held))
        weakref.finalize(array, self.held.discard, id(array))
        return {"x": array}

    def __iter__(self) -> Iterator[str]:
        return map(str, range(self.count))

    def __len__(self) -> int:
        return self.count


def test_little_memory_gives_the_same_in_small_blocks() -> None:
    quantized = load_model(chain())
    configs = configurations([node.name for node in quantized.calibration_nodes])
    at_ease, in_blocks = Loaded(6), Loaded(6)
    expected = by_key(Engine(quantized), configs, at_ease, ["a1", "y"])
    got = by_key(Engine(quantized, memory=20_000), configs, in_blocks, ["a1", "y"])
    assert got.keys() == expected.keys()
    for key, statistics in got.items():
        assert close(statistics, expected[key]), key
    assert in_blocks.most_held < 6 <= at_ease.most_held


def test_a_model_that_draws_random_numbers_is_refused() -> None:
    random = helper.make_node("RandomUniformLike", ["q"], ["r"], seed=1.0)
    proto = model([calibration("x", "q", "c"), random, helper.make_node("Add", ["q", "r"], ["y"])])
    engine = Engine(load_model(proto))
    with pytest.raises(EngineError, match=r"differ by .* from one run to the next.*random"):
        list(engine.evaluate([QuantConfig.only(["c"])], {"0": {"x": weight(0, 2, 4)}}, ["y"]))


def test_where_parts_do_not_give_the_whole_the_model_stays_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition, "best_cuts", everywhere)
    cut = watch_cuts(monkeypatch)
    compare, seen = route.difference, []

    def suspicious(x: np.ndarray, y: np.ndarray) -> float:
        seen.append(1)
        return 1.0 if len(seen) == route.RUNS else compare(x, y)

    monkeypatch.setattr(route, "difference", suspicious)
    engine = Engine(load_model(chain()))
    found = list(engine.evaluate([QuantConfig.only(["c1"])], {"0": {"x": weight(0, 2, 4)}}, ["y"]))
    assert len(found) == 1
    assert len(cut[0].parts) > 1 == len(cut[1].parts)
    assert engine.noise_floor == 0.0


def test_it_stops_at_once_when_the_reader_does() -> None:
    quantized = load_model(demo.model_path())
    shape = [d or 1 for d in quantized.inputs[0].shape or ()]
    samples = {str(k): {"input": weight(k, *shape)} for k in range(200)}
    configs = configurations([node.name for node in quantized.calibration_nodes])
    outputs = [spec.name for spec in quantized.outputs]
    measurements = Engine(quantized).evaluate(configs, samples, outputs)
    next(measurements)
    began = time.monotonic()
    measurements.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 1
    assert not [t for t in threading.enumerate() if t.name.startswith("hmct-worker")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, r"threads is 0; give a number above 0"),
        ({"memory": -1}, r"memory is -1; give"),
        ({"providers": ["NoSuchProvider"]}, r"'NoSuchProvider' is not in this build.*CPUExec"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Engine(load_model(chain()), **options)  # type: ignore[arg-type]


KILLED = """
import os, signal, sys
import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.recording import measuring

measuring.FLUSH_SECONDS = 0
shown, count = measuring.progress, [0]

def dies(items, **options):
    for item in shown(items, **options):
        count[0] += 1
        if count[0] == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

measuring.progress = dies
data = str(demo.calibration_data_path())
dbg.get_sensitivity_of_nodes(
    str(demo.model_path()), calibrated_data=data, data_num=5, lake=sys.argv[1], track=False
)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_is_taken_up_where_it_was(tmp_path: Path) -> None:
    import hmct_track.debug as dbg

    lake, fresh = tmp_path / "lake", tmp_path / "fresh"
    died = subprocess.run([sys.executable, "-c", KILLED, str(lake)], check=False, env=os.environ)
    assert died.returncode == -signal.SIGKILL
    ((kept,),) = Lake.open(lake).sql("SELECT count(*) FROM measurements").rows
    assert 30 < kept < 40

    def rank(place: Path) -> dict[str, dict[str, float]]:
        data = str(demo.calibration_data_path())
        return dbg.get_sensitivity_of_nodes(
            str(demo.model_path()), calibrated_data=data, data_num=5, lake=place, track=False
        )

    again = rank(lake)
    whole = Lake.open(lake).sql("SELECT count(*), count(DISTINCT run_id) FROM measurements").rows
    configs = len(again) + 1  # each node alone, and all of them together
    assert whole == [(configs * 5, 2)], "nothing lacks, nothing was measured twice"
    for node, values in rank(fresh).items():
        assert again[node] == pytest.approx(values, abs=1e-6), node


def test_on_a_device_one_session_runs_at_a_time_and_float_is_float(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Any] = []

    def session(*_: Any, providers: list[str], provider_options: list[dict[str, str]]) -> None:
        given.append(dict(zip(providers, provider_options, strict=True)))

    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    monkeypatch.setattr(runtime.ort, "get_available_providers", lambda: [cuda, cpu])
    monkeypatch.setattr(runtime.ort, "InferenceSession", session)
    one, other = (Runtime({}, providers=providers) for providers in ([cuda, cpu], [cuda]))
    quantized = load_model(chain())
    one.session(Lowering(quantized).lower(QuantConfig(), ["y"]))
    assert given == [{cuda: {"use_tf32": "0"}, cpu: {}}]
    with one.turn:
        assert not other.turn.acquire(blocking=False)  # type: ignore[attr-defined]
        with Runtime({}).turn, Runtime({}).turn:
            pass
