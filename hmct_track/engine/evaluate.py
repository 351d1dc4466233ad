"""Configurations in, records out: the evaluator that runs a model here, on this machine's cores."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.engine.comparison import Comparison
from hmct_track.engine.machine import default_memory, default_threads
from hmct_track.engine.protocols import Judge, Keeper, Record, SampleJudge, Samples
from hmct_track.engine.route import Route
from hmct_track.engine.runtime import Runtime
from hmct_track.engine.stages import Stage, make_stage
from hmct_track.engine.statistics import PAIRS
from hmct_track.errors import EngineError, UsageError
from hmct_track.model import Lowering, QuantModel, means, size_of, target_of, with_means
from hmct_track.types import Measurement, Output, QuantConfig, TensorSpec

_MOST_ROUTES = 2
"""Sets of outputs whose sessions are kept."""


class Engine:
    """The local `Evaluator`: runs configurations of one model.

    Args:
        model: the model.
        threads: cores to use; all that the process may use by default.
        memory: bytes that tensors held for several samples may take, besides the weights and what
            a running session needs; a quarter of the machine's by default.
        providers: onnxruntime's execution providers, the preferred first; the CPU's by default.

    Raises:
        UsageError: this build of onnxruntime has not one of the providers, or there are to be no
            threads or no memory.
    """

    is_elsewhere = False
    """Whether other processes measure, which may keep what they measured where they are."""
    keeper: Keeper | None = None
    """What those may keep it with."""

    def __init__(
        self,
        model: QuantModel,
        *,
        threads: int | None = None,
        memory: int | None = None,
        providers: Sequence[str] = (),
    ) -> None:
        for name, value in (("threads", threads), ("memory", memory)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; give a number above 0, or None")
        self._lowering = Lowering(model)
        self._threads = threads or default_threads()
        self._memory = memory or default_memory()
        self._providers = tuple(providers)
        self._runtime = Runtime(model.weights, threads=self._threads, providers=providers)
        self._routes: dict[tuple[str, ...], Route] = {}
        self._comparisons: dict[Any, Comparison] = {}
        self._known_specs: dict[Any, dict[str, TensorSpec]] = {}

    @property
    def model(self) -> QuantModel:
        """The model that it evaluates."""
        return self._lowering.model

    @property
    def runtime(self) -> str:
        """Name of what computes; part of a measurement's key."""
        return self._runtime.name

    @property
    def computed_on(self) -> tuple[str, ...]:
        """The kinds of other machines that gave values; none, where all are this one's."""
        return ()

    def runtime_for(self, weights: Mapping[str, NDArray[Any]]) -> Runtime:
        """What runs another model on the same threads and providers."""
        return Runtime(weights, threads=self._threads, providers=self._providers)

    @property
    def noise_floor(self) -> float | None:
        """How far the float model in parts was from the whole at most, as a share of the norm.

        None before anything was evaluated.
        """
        found = [route.noise for route in self._routes.values() if route.noise is not None]
        return max(found, default=None)

    def evaluate(
        self,
        configs: Sequence[QuantConfig],
        samples: Samples,
        outputs: Sequence[str | Output],
        known: Collection[tuple[str, str]] = (),
    ) -> Iterator[Measurement]:
        """Compare every configuration's outputs with the float model's, by pair statistics.

        Args:
            configs: canonical configurations.
            samples: sample id to inputs; loaded anew whenever they are needed, so a lazy mapping
                keeps memory flat.
            outputs: what to compare: names of tensors, or parts of tensors; see `Output`.
            known: pairs of configuration id and sample id that are not needed.

        Yields:
            One measurement per configuration, sample and output, as soon as it is known.

        Raises:
            EngineError: the runtime refuses the model or fails, or the float model gives other
                values from run to run.
            ModelError: a configuration asks a calibration node for what it cannot do.
            UsageError: an output is not there, or has no such part.
        """
        for found in self.records(configs, samples, outputs, (PAIRS,), known):
            assert found.output is not None  # noqa: S101 - its judge judges single outputs
            yield Measurement(found.config_id, found.sample_id, found.output, found.value)

    def records(
        self,
        configs: Sequence[QuantConfig],
        samples: Samples,
        outputs: Sequence[str | Output],
        judges: Sequence[Judge],
        known: Collection[tuple[str, str]] = (),
    ) -> Iterator[Record]:
        """What judges make of every configuration's outputs, all of them from one execution.

        See `Evaluator.records` for arguments, results and errors.
        """
        if not samples or not configs or not judges:
            return
        for config in configs:
            self._lowering.check_shifts(config)
        first = next(iter(samples.values()))
        parts = [self.output(output) for output in outputs]
        for group, specs in self._groups(parts, first, together=_needs_all(judges)):
            comparison = self._comparison(group, judges)
            route = self._route(comparison.tensors, specs, len(samples))
            yield from route.evaluate(configs, samples, comparison, known)

    def output(self, output: str | Output) -> Output:
        """The output that a text writes, such as ``output0[:, 4:]/rms(1)``; see `Output`.

        Raises:
            UnknownNodeError: the model has no such tensor.
            UsageError: the text is not understood, or is another tensor's name.
        """
        found = Output.parse(str(output), self._tensors)
        if isinstance(output, Output) and found != output:
            raise UsageError(f"output {str(output)!r} is the name of a tensor of the model as well")
        return found

    @cached_property
    def _tensors(self) -> dict[str, None]:
        flow, inputs = self._lowering.flow, self._lowering.model.inputs
        return dict.fromkeys([*(spec.name for spec in inputs), *flow.makers, *flow.constants])

    def _groups(
        self, outputs: Sequence[Output], first: Mapping[str, NDArray[Any]], *, together: bool
    ) -> Iterator[tuple[list[Output], dict[str, TensorSpec]]]:
        """Outputs by tensor, in groups that can be held, unless all are needed together."""
        tensors = list(dict.fromkeys(output.tensor for output in outputs))
        key = tuple((name, array.shape) for name, array in first.items()), tuple(tensors)
        if key not in self._known_specs:
            self._known_specs = {key: self._specs(first, tensors)}
        specs = self._known_specs[key]
        groups: list[list[str]] = [[]]
        size = 0
        for name in tensors:
            own = size_of(specs.get(name)) or 0
            if groups[-1] and size + own > self._memory / 4 and not together:
                groups.append([])
                size = 0
            groups[-1].append(name)
            size += own
        for group in groups:
            yield [output for output in outputs if output.tensor in group], specs

    def _comparison(self, outputs: Sequence[Output], judges: Sequence[Judge]) -> Comparison:
        """The comparison of these, with what it knows of float values from before."""
        # By the judges themselves, which the comparison keeps alive: they may have a memory.
        key = tuple(outputs), tuple(map(id, judges))
        comparison = self._comparisons.pop(key, None) or Comparison(outputs, judges)
        self._comparisons[key] = comparison
        while len(self._comparisons) > _MOST_ROUTES:
            del self._comparisons[next(iter(self._comparisons))]
        return comparison

    def _specs(
        self, sample: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, TensorSpec]:
        """Types and shapes for this sample: what inference does not know is looked up in a run."""
        specs = self._lowering.specs_for({name: array.shape for name, array in sample.items()})
        flow = self._lowering.flow
        made = (n for step in flow.steps(outputs) for n in flow.writes(step))
        unknown = [name for name in made if size_of(specs.get(name)) is None]
        if unknown:
            with suppress(EngineError):  # not tensors; there is no cut where one of them is live
                session = self._runtime.session(self._lowering.lower(QuantConfig(), unknown))
                for name, array in zip(session.outputs, session.run(sample), strict=True):
                    specs[name] = TensorSpec(name, array.dtype.name, array.shape)
        return specs

    def shapes(self, sample: Mapping[str, NDArray[Any]]) -> dict[str, TensorSpec]:
        """Types and shapes of what the model's nodes give out and read, for inputs like these."""
        nodes = self._lowering.model.general_nodes
        return self._specs(sample, [output for node in nodes for output in node.outputs])

    def _route(
        self, outputs: Sequence[str], specs: Mapping[str, TensorSpec], samples: int
    ) -> Route:
        """The route to these outputs, with the sessions and values that it has from before."""
        key = tuple(outputs)
        route = self._routes.pop(key, None)
        if route is None:
            route = Route(
                self._lowering,
                self._runtime,
                outputs,
                specs,
                samples=samples,
                threads=self._threads,
                memory=self._memory / 2,
            )
        self._routes[key] = route
        while len(self._routes) > _MOST_ROUTES:
            del self._routes[next(iter(self._routes))]
        return route

    def observe(
        self,
        config: QuantConfig,
        samples: Samples,
        tensors: Sequence[str],
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """The values of tensors under a configuration, sample by sample.

        Raises:
            EngineError: the runtime refuses the model or fails.
        """
        first = next(iter(samples.values()), {})
        self._lowering.specs_for({name: array.shape for name, array in first.items()})
        session = self._runtime.session(self._lowering.lower(config, tensors))
        for sample in samples.values():
            yield dict(zip(session.outputs, session.run(sample), strict=True))

    def float_values(
        self, samples: Samples, tensors: Sequence[str]
    ) -> Iterable[dict[str, NDArray[Any]]]:
        """The float values of tensors, sample by sample; not to be written to.

        Those that an evaluation has left are not computed anew. They may be rounded otherwise than
        in `observe`, so that parameters made of them would hang on what was done before.

        Raises:
            EngineError: the runtime refuses the model or fails.
        """
        for route in self._routes.values():
            if held := route.held(samples, tensors):
                return held
        return self.observe(QuantConfig(), samples, tensors)

    def stages(
        self, config: QuantConfig, sample: Mapping[str, NDArray[Any]], tensors: Sequence[str]
    ) -> dict[str, Stage]:
        """Of each tensor what makes it of those of ``tensors`` right before it.

        Args:
            config: the quantization.
            sample: inputs like those that it will be run with.
            tensors: the tensors whose values will be there.

        Raises:
            EngineError: the runtime refuses a piece of the model.
        """
        specs = self._specs(sample, tensors)
        found = {
            name: make_stage(self._lowering, self._runtime, specs, config, name, set(tensors))
            for name in tensors
        }
        return {name: stage for name, stage in found.items() if stage is not None}

    def mean_shifts(
        self, config: QuantConfig, samples: Samples, tensors: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """By how much a configuration moves the means of channels, those before it mended.

        One float and one quantized run per sample; in the latter each tensor is moved to its float
        means, sample by sample, before the rest is computed.

        Args:
            config: the quantization.
            samples: sample id to inputs.
            tensors: what general nodes give, with channels along axis 1.

        Returns:
            Tensor to ``mean(x - y)`` over samples, float32 of shape (channels,). Tensors of unknown
            rank are left out.

        Raises:
            EngineError: the runtime refuses the model or fails.
        """
        ranks = {name: rank for name in tensors if (rank := self.rank(name)) and rank > 1}
        if not ranks:
            return {}
        moved = self._runtime.session(with_means(self._lowering, config, ranks))
        sums: dict[str, list[NDArray[np.float32]]] = {name: [] for name in ranks}
        floats = self.observe(QuantConfig(), samples, list(ranks))
        for sample, values in zip(samples.values(), floats, strict=True):
            feed = {target_of(name): means(values[name]) for name in ranks}
            for name, found in zip(ranks, moved.run({**sample, **feed}), strict=True):
                sums[name].append(found.reshape(-1))
        return {name: np.mean(found, axis=0, dtype=np.float32) for name, found in sums.items()}

    def rank(self, tensor: str) -> int | None:
        """Number of dimensions of a tensor, where it is known without running the model."""
        spec = self._lowering.spec(tensor)
        return None if spec is None or spec.shape is None else len(spec.shape)

    def output_tensors(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of the outputs that hold real numbers and can be compared, in order."""
        kept = []
        for name in names:
            spec = self._lowering.spec(name)
            if spec is None or np.dtype(spec.dtype).kind == "f":
                kept.append(name)
        return tuple(kept)


def _needs_all(judges: Sequence[Judge]) -> bool:
    return any(isinstance(judge, SampleJudge) for judge in judges)
