"""A model in parts, up to a set of outputs: its sessions, its float values, its runs."""

from __future__ import annotations

import math
import sys
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.engine.comparison import Comparison
from hmct_track.engine.partition import make_partition
from hmct_track.engine.paths import (
    Branch,
    Key,
    Place,
    Tensors,
    Variants,
    config_of,
    count_uses,
    keys_of,
)
from hmct_track.engine.protocols import Record, Samples
from hmct_track.engine.runtime import Runtime, Session
from hmct_track.engine.statistics import pair_statistics
from hmct_track.engine.walk import Walk
from hmct_track.engine.workers import Workers
from hmct_track.errors import EngineError
from hmct_track.model import Lowering
from hmct_track.types import QuantConfig, TensorSpec

MOST_NOISE = 1e-4
"""Float outputs that differ by a greater share of their norm are not those of the same model."""


RUNS = 3
"""How often the null test runs the float model as a whole."""
_RUNS_OF_RANDOM = 100
"""And one that draws random numbers: an element that is drawn anew in a fiftieth of the runs is the
same in all of them once in eight times; a tensor has many."""

_MOST_REMEMBERED = 256 * 2**20
"""Bytes that sessions may take that are kept from one evaluation to the next."""
_SESSION = 2**18
"""Bytes of a session but for its weights, about as measured."""


class Route:
    """Runs configurations of one model to one set of outputs.

    Args:
        lowering: the model.
        runtime: what makes sessions.
        outputs: the tensors that are compared, or parts of which are.
        specs: types and shapes of the tensors, for the data at hand.
        samples: how many samples there will be about.
        threads: how many configurations run at a time.
        memory: bytes that float values of samples may take.
    """

    def __init__(
        self,
        lowering: Lowering,
        runtime: Runtime,
        outputs: Sequence[str],
        specs: Mapping[str, TensorSpec],
        *,
        samples: int,
        threads: int,
        memory: float,
    ) -> None:
        self._lowering = lowering
        self._runtime = runtime
        self._outputs = tuple(dict.fromkeys(outputs))
        self._specs = specs
        self._threads = threads
        self._memory = memory
        self._enabled = {node.name: node.enabled for node in lowering.model.calibration_nodes}
        self._states: dict[str, Tensors] = {}
        self._recent: OrderedDict[Place, Session] = OrderedDict()
        self._recent_bytes = 0
        self._remembering = threading.Lock()
        self.noise: float | None = None
        """What the null test found; None before it ran."""
        self._cut(samples)

    def _cut(self, samples: int) -> None:
        # Cut tensors lie twice in memory: those of the float model, and a path's own.
        self._partition = make_partition(
            self._lowering,
            self._outputs,
            self._specs,
            samples=samples,
            most_bytes=self._memory / 2 if samples else 0,
        )
        parts = range(len(self._partition.parts))
        self._float = Variants(self._make, Counter({(k, ()): sys.maxsize for k in parts}))
        self._states.clear()
        self._recent.clear()
        self._recent_bytes = 0

    def evaluate(
        self,
        configs: Sequence[QuantConfig],
        samples: Samples,
        comparison: Comparison,
        known: Collection[tuple[str, str]] = (),
    ) -> Iterator[Record]:
        """Compare every configuration's outputs with the float ones, as soon as they are known.

        Args:
            configs: canonical configurations.
            samples: sample id to inputs.
            comparison: who judges which of the outputs.
            known: pairs of configuration id and sample id to leave out.
        """
        keys = keys_of(self._partition, configs, self._enabled)
        ids = [config.config_id for config in configs]
        wanted: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for sample in samples:
            todo = tuple(k for k, config_id in enumerate(ids) if (config_id, sample) not in known)
            if todo:
                wanted[todo].append(sample)
        for todo, names in wanted.items():
            size = self._block_size(samples[names[0]])
            for start in range(0, len(names), size):
                block = names[start : start + size]
                self._hold(block, samples)
                yield from self._run(todo, block, keys, ids, comparison)

    def held(
        self, samples: Collection[str], tensors: Collection[str]
    ) -> list[dict[str, NDArray[Any]]] | None:
        """The float values of tensors for each sample; None if it does not hold all of them."""
        states = [self._states.get(sample, {}) for sample in samples]
        if any(tensor not in state for state in states for tensor in tensors):
            return None
        return [{tensor: state[tensor] for tensor in tensors} for state in states]

    def _block_size(self, sample: Mapping[str, NDArray[Any]]) -> int:
        """For how many samples at a time the float values are held."""
        one = 2 * self._partition.held_bytes + sum(array.nbytes for array in sample.values())
        return max(1, int(self._memory / max(one, 1)))

    def _hold(self, block: Sequence[str], samples: Samples) -> None:
        """Have the float values of these samples and no others; the first time, prove them."""
        for name in self._states.keys() - set(block):
            del self._states[name]
        missing = [name for name in block if name not in self._states]
        workers: Workers[None] = Workers(self._threads)
        whole: list[list[NDArray[Any]]] = []
        if self.noise is None:
            workers.add(lambda: whole.append(self._run_whole(samples[block[0]])))
            if self._runtime.is_large:  # which would have two copies of large weights there
                for _ in workers.results(self._runtime.stop):
                    pass
                workers = Workers(self._threads)
        if len(missing) == 1:
            for number in range(len(self._partition.parts)):
                workers.add(partial(self._float.take, number, ()))
        for name in missing:
            workers.add(partial(self._run_float, name, samples, workers))
        for _ in workers.results(self._runtime.stop):
            pass
        if whole:
            self._prove(whole[0], block, samples)

    def _run_whole(self, sample: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The float outputs of the model as a whole, which must be the same in other runs."""
        # Laying out large weights anew takes longer than it saves in a few runs.
        session = self._runtime.session(
            self._lowering.lower(QuantConfig(), self._outputs), packed=not self._runtime.is_large
        )
        whole = session.run(sample)
        # What draws random numbers by a seed may draw the same a few times.
        runs = _RUNS_OF_RANDOM if self._lowering.draws_random else RUNS
        noise = max(
            difference(x, y)
            for _ in range(runs - 1)
            for x, y in zip(whole, session.run(sample), strict=True)
        )
        if noise > MOST_NOISE:
            raise EngineError(
                f"the float model's outputs differ by {noise:.1e} of their norm from one run to "
                "the next, so no number about it would mean anything; does it draw random numbers?"
            )
        return whole

    def _prove(self, whole: Sequence[NDArray[Any]], block: Sequence[str], samples: Samples) -> None:
        """The null test: in parts, the float model gives what it gives as a whole.

        Where it does not, parts may be at fault, or the model: once more without cuts.
        """
        state = self._states[block[0]]
        self.noise = max(
            difference(x, state[name]) for name, x in zip(self._outputs, whole, strict=True)
        )
        if self.noise <= MOST_NOISE:
            return
        if len(self._partition.parts) > 1:
            self._cut(samples=0)
            self.noise = None
            self._hold(block, samples)
            return
        raise EngineError(
            f"the float model's outputs differ by {self.noise:.1e} of their norm between two "
            "sessions of it, so no number about it would mean anything"
        )

    def _run_float(self, name: str, samples: Samples, workers: Workers[None]) -> None:
        state: Tensors = dict(samples[name])
        for number, part in enumerate(self._partition.parts):
            if workers.stopping:
                return
            session = self._float.take(number, ())
            found = session.run({tensor: state[tensor] for tensor in part.inputs})
            state.update(zip(session.outputs, found, strict=True))
        loose = [output for output in self._outputs if output not in state]
        if loose:  # constants that the model gives out as they are
            session = self._runtime.session(self._lowering.lower(QuantConfig(), loose))
            state.update(zip(session.outputs, session.run(samples[name]), strict=True))
        self._states[name] = state

    def _run(
        self,
        todo: Sequence[int],
        block: Sequence[str],
        keys: Sequence[Mapping[int, Key]],
        ids: Sequence[str],
        comparison: Comparison,
    ) -> Iterator[Record]:
        # Many configurations keep all threads busy, few need the samples to be shared out.
        few = len(todo) < 4 * self._threads
        count = min(len(block), 2 * self._threads) if few else 1
        chunks = [block[k::count] for k in range(count)]
        uses = count_uses((keys[k] for k in todo), count)
        variants = Variants(self._recall, uses)
        workers: Workers[Record] = Workers(self._threads)
        walk = Walk(
            self._partition, self._float, variants, self._states, comparison, workers, keys, ids
        )
        for chunk in chunks:
            branch = Branch(tuple(todo), 0, tuple(chunk))
            workers.add(partial(walk.go, branch))
        yield from workers.results(self._runtime.stop)

    def _recall(self, number: int, key: Key) -> Session:
        """A session of before, if it is still there; a new one is kept, as far as there is room.

        The next evaluation is often of the same configurations on other samples, or of such as
        differ in a part or two.
        """
        place = number, key
        with self._remembering:
            session = self._recent.pop(place, None)
            self._recent_bytes -= self._bytes(number) if session else 0
        session = session or self._make(number, key)
        most = min(self._memory / 4, _MOST_REMEMBERED)
        with self._remembering:
            self._recent[place] = session
            self._recent_bytes += self._bytes(number)
            while self._recent_bytes > most:
                (oldest, _), _ = self._recent.popitem(last=False)
                self._recent_bytes -= self._bytes(oldest)
        return session

    def _bytes(self, number: int) -> int:
        """About what a session of a part takes, which may hold its weights twice, rounded."""
        return 2 * self._partition.parts[number].bytes + _SESSION

    def _make(self, number: int, key: Key) -> Session:
        part = self._partition.parts[number]
        return self._runtime.session(
            self._lowering.lower_part(
                config_of(key), part.steps, part.inputs, part.outputs, self._specs
            ),
            alone=False,
        )


def difference(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Norm of ``x - y`` as a share of the norm of ``x``; inf where one has NaN and one has not."""
    if x.shape != y.shape:
        return float("inf")
    if np.array_equal(x, y):  # nearly always, and fast
        return 0.0
    finite = np.isfinite(x)
    if not finite.all():
        if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
            return float("inf")
        x, y = x[finite], y[finite]
    found = pair_statistics(x, y)
    if found.nonfinite_y:
        return float("inf")
    return math.sqrt(found.sum_dd) / max(math.sqrt(found.sum_xx), 1e-8)
