"""Random graphs, cut at random, in random configurations: what NumPy says of the whole, exactly.

All values are small multiples of a power of two, and all scales are powers of two, so that no sum
is rounded, in whatever order it is added: what the engine gives must be equal, not close.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from hmct_track.engine import Engine, partition
from hmct_track.model import load_model
from hmct_track.types import QuantConfig
from tests.support.graphs import calibration, model

UNARY = ("Relu", "Neg", "Identity", "Abs")
BINARY = ("Add", "Sub", "Max", "Min")
SCALES = (0.25, 0.5, 1.0, 2.0)
WIDTH = 3


@dataclass(frozen=True)
class Step:
    """An operator, or a calibration node, that makes ``output``."""

    op: str
    inputs: tuple[str, ...]
    output: str
    scale: float = 0.0


@dataclass
class Graph:
    """Steps in order, constants, and the tensors that the model gives out."""

    steps: list[Step] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def proto(self) -> onnx.ModelProto:
        nodes = [
            calibration(
                s.inputs[0], s.output, s.output, scales=[s.scale], thresholds=[127 * s.scale],
                qtype="int8",
            )
            if s.scale
            else helper.make_node(s.op, s.inputs, [s.output], name=s.output)
            for s in self.steps
        ]  # fmt: skip
        inputs = {"x": [None, WIDTH]}
        return model(nodes, inputs, tuple(self.outputs), self.constants)

    def calibrations(self) -> list[str]:
        return [step.output for step in self.steps if step.scale]

    def run(self, x: np.ndarray, on: frozenset[str]) -> list[np.ndarray]:
        """The outputs, in float64, with these calibration nodes on: the oracle."""
        values = {name: array.astype(np.float64) for name, array in self.constants.items()}
        values["x"] = x.astype(np.float64)
        for step in self.steps:
            given_ = [values[name] for name in step.inputs]
            if step.scale and step.output in on:
                steps_of_scale = np.round(given_[0] / step.scale)  # half to even
                values[step.output] = np.clip(steps_of_scale, -128, 127) * step.scale
            else:
                values[step.output] = OPERATORS[step.op](*given_)
        return [values[name] for name in self.outputs]


OPERATORS: dict[str, Any] = {
    "MatMul": np.matmul,
    "Relu": lambda x: np.maximum(x, 0),
    "Neg": np.negative,
    "Identity": lambda x: x,
    "Abs": np.abs,
    "Add": np.add,
    "Sub": np.subtract,
    "Max": np.maximum,
    "Min": np.minimum,
}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to six operators, each of which at most triples what it reads, so that 24 bits do."""
    graph, tensors = Graph(), ["x"]

    def quantized(tensor: str) -> str:
        """A tensor, or what a calibration node, new or shared, makes of it."""
        if not draw(st.booleans()):
            return tensor
        for step in graph.steps:
            if step.scale and step.inputs == (tensor,) and draw(st.booleans()):
                return step.output
        name = f"c{len(graph.steps)}"
        graph.steps.append(Step("Identity", (tensor,), name, draw(st.sampled_from(SCALES))))
        return name

    for k in range(draw(st.integers(1, 6))):
        op = draw(st.sampled_from(("MatMul", "MatMul", *UNARY, *BINARY)))
        read = [quantized(draw(st.sampled_from(tensors)))]
        if op in BINARY:
            read.append(quantized(draw(st.sampled_from(tensors))))
        elif op == "MatMul":
            halves = draw(st.lists(st.integers(-2, 2), min_size=WIDTH**2, max_size=WIDTH**2))
            graph.constants[f"w{k}"] = np.array(halves, np.float32).reshape(WIDTH, WIDTH) / 2
            read.append(quantized(f"w{k}"))
        graph.steps.append(Step(op, tuple(read), f"t{k}"))
        tensors.append(f"t{k}")
    made = tensors[1:]
    graph.outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    if not graph.calibrations():  # a model without any is refused when it is read
        graph.steps.append(Step("Identity", (made[-1],), "c", draw(st.sampled_from(SCALES))))
        graph.steps.append(Step("Neg", ("c",), "end"))
        graph.outputs.append("end")
    return graph


SAMPLES = st.lists(
    st.lists(st.integers(-32, 32), min_size=2 * WIDTH, max_size=2 * WIDTH), min_size=1, max_size=3
)


@pytest.mark.parametrize("memory", [None, 1], ids=["at ease", "a sample at a time"])
@given(graph=graphs(), values=SAMPLES, data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_parts_of_any_graph_give_what_numpy_says_of_the_whole(
    graph: Graph, values: list[list[int]], data: st.DataObject, memory: int | None
) -> None:
    """WHEN a graph is cut wherever it may be and some configurations and samples are known
    THEN all others are measured once, and every sum is that of the whole model.
    """
    samples = {
        str(k): {"x": np.array(value, np.float32).reshape(2, WIDTH) / 8}
        for k, value in enumerate(values)
    }
    quantized = load_model(graph.proto())
    names = [node.name for node in quantized.calibration_nodes]
    assert sorted(names) == sorted(graph.calibrations())
    subsets = st.frozensets(st.sampled_from(names))
    chosen = data.draw(st.lists(subsets, min_size=1, max_size=5, unique=True), label="on")
    configs = {QuantConfig.only(on).canonical(names).config_id: on for on in chosen}
    every = [(config_id, sample) for config_id in configs for sample in samples]
    known = data.draw(st.sets(st.sampled_from(every)), label="known")

    def anywhere(_: object, places: Sequence[int], end: int, __: float) -> list[int]:
        if not len(places):
            return [0, end]
        at = data.draw(st.sets(st.sampled_from([int(place) for place in places])), label="cuts")
        return [0, *sorted(at), end]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(partition, "best_cuts", anywhere)
        engine = Engine(quantized, threads=2, memory=memory)
        asked = [QuantConfig.only(on).canonical(names) for on in chosen]
        found = list(engine.evaluate(asked, samples, graph.outputs, known))

    assert engine.noise_floor in (0.0, None)
    places = [(m.config_id, m.sample_id, m.output) for m in found]
    wanted = [(*pair, output) for pair in every if pair not in known for output in graph.outputs]
    assert sorted(places) == sorted(wanted), "all that was asked for, and nothing twice"
    for measured in found:
        x = samples[measured.sample_id]["x"]
        k = graph.outputs.index(measured.output)
        plain = graph.run(x, frozenset())[k].ravel()
        rounded = graph.run(x, configs[measured.config_id])[k].ravel()
        got, difference = measured.statistics, plain - rounded
        assert (got.count, got.nonfinite_x, got.nonfinite_y) == (plain.size, 0, 0)
        assert got.sum_xx == math.fsum(plain * plain)
        assert got.sum_yy == math.fsum(rounded * rounded)
        assert got.sum_xy == math.fsum(plain * rounded)
        assert got.sum_dd == math.fsum(difference * difference)
        assert got.sum_abs_d == math.fsum(abs(difference))
        assert got.sum_abs_x == math.fsum(abs(plain))
        assert got.max_abs_d == abs(difference).max()


def test_two_quantizers_in_a_row_both_round() -> None:
    """A quarter is a step of the first, and half a step of the second, which makes it 0."""
    first = Step("Identity", ("x",), "first", 0.25)
    second = Step("Identity", ("between",), "second", 0.5)
    between, end = Step("Identity", ("first",), "between"), Step("Relu", ("second",), "end")
    graph = Graph([first, between, second, end], {}, ["end"])
    x = np.array([[0.25, 0.5, 0.75]], np.float32)
    config = QuantConfig.only(graph.calibrations())
    (found,) = Engine(load_model(graph.proto()), memory=1).evaluate(
        [config], {"0": {"x": x}}, ["end"]
    )
    (given_,) = graph.run(x, frozenset(graph.calibrations()))
    assert given_.tolist() == [[0, 0.5, 1]]
    assert found.statistics.sum_yy == 1.25
