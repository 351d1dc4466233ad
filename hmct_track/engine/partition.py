"""Where to cut a model, so that a configuration runs little more than what it changes.

Quantizing a node changes nothing before it. A model in parts therefore keeps the float values at
its cuts, and a configuration begins in the first part that it changes. More cuts waste less of that
part, but each costs a call, and breaks the fusions across it; many live bytes make that worse.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from hmct_track.model import Lowering, size_of
from hmct_track.types import TensorSpec

# Seconds, roughly those of one core. They only weigh costs against each other: a wrong one makes
# cuts less good, never values wrong.
_FLOP = 1 / 60e9
_BYTE = 1 / 8e9
_NODE = 3e-6
_CALL = 40e-6
_CUT_BYTE = 1 / 2e9
"""A cut tensor is written, laid out anew, and read when it has left the cache."""
_BUILD_NODE = 80e-6
_BUILD_BYTE = 1 / 1.5e9


@dataclass(frozen=True)
class Part:
    """Consecutive steps of a model."""

    steps: tuple[int, ...]
    inputs: tuple[str, ...]
    """What they read from before the part, or from the model's inputs."""
    outputs: tuple[str, ...]
    """What is read behind the part, and what is compared."""
    compared: frozenset[str]
    calibrations: tuple[str, ...]
    """The calibration nodes that change what the part computes."""
    nodes: tuple[str, ...]
    """The nodes that are its steps."""
    bytes: int
    """Size of the constants that the part holds."""


@dataclass(frozen=True)
class Partition:
    """A model in parts."""

    parts: tuple[Part, ...]
    last_use: Mapping[str, int]
    """Tensor to the last part that reads it."""
    held_bytes: int
    """What keeping the float values of one sample takes: all cut and all compared tensors."""


def make_partition(
    lowering: Lowering,
    outputs: Sequence[str],
    specs: Mapping[str, TensorSpec],
    *,
    samples: int,
    most_bytes: float,
) -> Partition:
    """Cut a model where an exhaustive ranking would cost the least.

    Args:
        lowering: the model.
        outputs: the tensors to compare.
        specs: types and shapes of its tensors for the data at hand, as far as they are known. There
            is no cut where the type or the size of a live tensor is not.
        samples: for how many samples each configuration runs.
        most_bytes: what the cut tensors of a sample may take, if that can be had.
    """
    flow = lowering.flow
    steps = flow.steps(outputs)
    lives = _lives(lowering, steps)
    sizes = {name: size_of(specs.get(name)) for name in lives}
    live, blocked = np.zeros(len(steps) + 2), np.zeros(len(steps) + 2)
    for name, (first, last) in lives.items():
        change = np.array([1.0, -1.0])
        live[[first + 1, last + 1]] += change * (sizes[name] or 0)
        blocked[[first + 1, last + 1]] += change * (sizes[name] is None)
    costs = _Costs(
        np.cumsum([0.0, *(_seconds(lowering, step, specs) for step in steps)]),
        np.cumsum([0, *(_constant_bytes(lowering, [step]) for step in steps)]),
        np.cumsum([0, *(len(flow.calibrations([step])) for step in steps)]),
        np.cumsum(live),
        samples,
    )
    places = np.flatnonzero(np.cumsum(blocked)[1 : len(steps)] == 0) + 1
    held_cost = 0.0
    while True:
        cuts = best_cuts(costs, places, len(steps), held_cost)
        crossing = {n for n, (a, b) in lives.items() if _crosses(cuts, a, b)}
        held = sum(sizes[name] or 0 for name in crossing)
        if held <= most_bytes or len(cuts) == 2:
            break
        # The dearer held bytes are, the fewer the cuts, and the narrower.
        held_cost = max(4 * held_cost, costs.seconds[-1] / held)
    parts, last_use = _parts(lowering, steps, cuts, set(outputs))
    held += sum(size_of(specs.get(name)) or 0 for name in set(outputs) - crossing)
    return Partition(parts, last_use, held)


@dataclass(frozen=True)
class _Costs:
    """Sums over the steps before each place where a cut can be."""

    seconds: NDArray[np.float64]
    bytes: NDArray[np.int64]
    calibrations: NDArray[np.int64]
    live: NDArray[np.float64]
    """Not a sum: the bytes that are live at the place."""
    samples: int


def best_cuts(costs: _Costs, places: NDArray[np.intp], end: int, held_cost: float) -> list[int]:
    """Where to cut, first and last place included, for the least seconds of a ranking.

    Every quantizer's configuration runs the parts from its own on, and builds its own.
    ``held_cost`` is what keeping a byte that is live at a cut is made to cost, in seconds.
    """
    ends = np.concatenate([[0], places, [end]]).astype(np.intp)
    best = np.zeros(len(ends))
    before = np.zeros(len(ends), np.intp)
    for k in range(1, len(ends)):
        start, stop = ends[:k], ends[k]
        run = costs.seconds[stop] - costs.seconds[start] + costs.live[start] * _CUT_BYTE + _CALL
        build = (stop - start) * _BUILD_NODE
        build = build + (costs.bytes[stop] - costs.bytes[start]) * _BUILD_BYTE
        here = costs.calibrations[stop] - costs.calibrations[start]
        runs = costs.calibrations[stop] * costs.samples + 1
        total = best[:k] + run * runs + build * here + costs.live[start] * held_cost
        before[k] = np.argmin(total)
        best[k] = total[before[k]]
    cuts = [end]
    k = len(ends) - 1
    while k:
        k = int(before[k])
        cuts.append(int(ends[k]))
    return cuts[::-1]


def _crosses(cuts: Sequence[int], first: int, last: int) -> bool:
    """Whether a tensor made by step ``first`` and last read by ``last`` is live at a cut."""
    return bisect_right(cuts, first) < bisect_right(cuts, last)


def _lives(lowering: Lowering, steps: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Each tensor that a step makes and another reads: numbers of the first and the last step."""
    made: dict[str, int] = {}
    lives: dict[str, tuple[int, int]] = {}
    for number, step in enumerate(steps):
        for name in lowering.flow.reads(step):
            if name in made:
                lives[name] = (made[name], number)
        made.update(dict.fromkeys(lowering.flow.writes(step), number))
    return lives


def _parts(
    lowering: Lowering, steps: Sequence[int], cuts: Sequence[int], compared: set[str]
) -> tuple[tuple[Part, ...], dict[str, int]]:
    flow, names = lowering.flow, lowering.model.node_names
    there = {spec.name for spec in lowering.model.inputs}
    last_use: dict[str, int] = {}
    drafts = []
    for number, (start, stop) in enumerate(pairwise(cuts)):
        own = steps[start:stop]
        made = dict.fromkeys(name for step in own for name in flow.writes(step))
        read = dict.fromkeys(name for step in own for name in flow.reads(step) if name in there)
        there.update(made)
        last_use.update(dict.fromkeys(read, number))
        drafts.append((own, tuple(read), made))
    parts = tuple(
        Part(
            tuple(own),
            read,
            tuple(n for n in made if n in compared or last_use.get(n, number) > number),
            frozenset(compared & made.keys()),
            tuple(names[position] for position in flow.calibrations(own)),
            tuple(names[position] for position in own),
            _constant_bytes(lowering, own),
        )
        for number, (own, read, made) in enumerate(drafts)
    )
    return parts, last_use


def _constant_bytes(lowering: Lowering, steps: Sequence[int]) -> int:
    weights = lowering.model.weights
    return sum(
        weights[name].nbytes for name in lowering.flow.constants_of(steps) if name in weights
    )


def _seconds(lowering: Lowering, step: int, specs: Mapping[str, TensorSpec]) -> float:
    """About what a step costs in float."""
    op_type = lowering.flow.op_type(step)
    if op_type == "HzCalibration":
        return 0.0
    read = [specs.get(name) for name in lowering.flow.reads(step)]
    written = [specs.get(name) for name in lowering.flow.writes(step)]
    moved = sum(size_of(spec) or 0 for spec in (*read, *written))
    return _NODE + moved * _BYTE + _operations(op_type, read, written) * _FLOP


def _operations(
    op_type: str, read: Sequence[TensorSpec | None], written: Sequence[TensorSpec | None]
) -> float:
    """Multiplications and additions of the ops that have many of them; 0 for the others."""
    shapes = [spec.shape if spec and spec.shape else () for spec in (*written[:1], *read[:3])]
    if any(None in shape for shape in shapes) or len(shapes) < 3:
        return 0.0
    sizes = [prod(d or 1 for d in shape) for shape in shapes]
    out, x, weight = sizes[:3]
    if op_type == "Conv" and shapes[2]:
        return 2.0 * out * weight / (shapes[2][0] or 1)
    if op_type == "ConvTranspose" and shapes[2]:
        return 2.0 * x * weight / (shapes[2][0] or 1)
    if op_type in ("MatMul", "Gemm") and shapes[1]:
        return 2.0 * out * (shapes[1][-1] or 1)
    if op_type in ("LSTM", "GRU", "RNN") and shapes[1]:
        return 2.0 * (shapes[1][0] or 1) * (shapes[1][1] or 1) * (weight + sizes[-1])
    return 0.0
