"""Configurations in, measurements out.

`Engine` is the whole interface: everything above it plans configurations and reads measurements,
so that the way they are computed can change without anything else changing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.engine.runtime import Runtime
from hmct_track.engine.statistics import pair_statistics
from hmct_track.errors import EngineError
from hmct_track.model import Lowering, QuantModel
from hmct_track.types import Measurement, QuantConfig

_BLOCK_BYTES = 1 << 30
"""Float outputs of at most about this size are held at a time."""

_GROUP = 64
"""At most so many tensors are compared at a time, so that a large model's do not pile up."""


class Engine:
    """Evaluates configurations of one model.

    This first version makes one session per configuration and shares nothing between them but the
    weights and the float outputs.
    """

    def __init__(self, model: QuantModel, *, threads: int | None = None) -> None:
        self._lowering = Lowering(model)
        self._runtime = Runtime(model.weights, threads=threads)
        self._names = [node.name for node in model.calibration_nodes]

    def evaluate(
        self,
        configs: Sequence[QuantConfig],
        samples: Mapping[str, Mapping[str, NDArray[Any]]],
        outputs: Sequence[str],
    ) -> Iterator[Measurement]:
        """Compare every configuration's outputs with the float model's.

        Args:
            configs: canonical configurations.
            samples: sample id to inputs; loaded anew whenever they are needed, so a lazy mapping
                keeps memory flat.
            outputs: names of the tensors to compare.

        Yields:
            One measurement per configuration, sample and output, as soon as it is known.

        Raises:
            EngineError: the runtime refuses the model or fails.
            ModelError: a configuration asks a calibration node for what it cannot do.
        """
        for start in range(0, len(outputs), _GROUP):
            yield from self._evaluate(configs, samples, outputs[start : start + _GROUP])

    def _evaluate(
        self,
        configs: Sequence[QuantConfig],
        samples: Mapping[str, Mapping[str, NDArray[Any]]],
        outputs: Sequence[str],
    ) -> Iterator[Measurement]:
        float_session = self._runtime.session(self._lowering.lower(QuantConfig(), outputs))
        block: dict[str, list[NDArray[Any]]] = {}
        for sample_id, sample in samples.items():
            block[sample_id] = float_session.run(sample)
            held = sum(array.nbytes for arrays in block.values() for array in arrays)
            if held >= _BLOCK_BYTES:
                yield from self._compare(configs, samples, block, outputs)
                block = {}
        if block:
            yield from self._compare(configs, samples, block, outputs)

    def _compare(
        self,
        configs: Sequence[QuantConfig],
        samples: Mapping[str, Mapping[str, NDArray[Any]]],
        block: Mapping[str, list[NDArray[Any]]],
        outputs: Sequence[str],
    ) -> Iterator[Measurement]:
        for config in configs:
            session = self._runtime.session(self._lowering.lower(config, outputs))
            config_id = config.canonical(self._names).config_id
            for sample_id, expected in block.items():
                for name, x, y in zip(
                    session.outputs, expected, session.run(samples[sample_id]), strict=True
                ):
                    if x.shape != y.shape:
                        raise EngineError(
                            f"output {name!r} has shape {list(x.shape)} in the float model but "
                            f"{list(y.shape)} in a quantized one (the number of results depends "
                            "on the data); analyse an earlier node with output_node"
                        )
                    yield Measurement(config_id, sample_id, name, pair_statistics(x, y))

    def observe(
        self,
        config: QuantConfig,
        samples: Mapping[str, Mapping[str, NDArray[Any]]],
        tensors: Sequence[str],
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """The values of tensors under a configuration, sample by sample.

        Raises:
            EngineError: the runtime refuses the model or fails.
        """
        session = self._runtime.session(self._lowering.lower(config, tensors))
        for sample in samples.values():
            yield dict(zip(session.outputs, session.run(sample), strict=True))

    def rank(self, tensor: str) -> int | None:
        """Number of dimensions of a tensor, where it is known without running the model."""
        spec = self._lowering.spec(tensor)
        return None if spec is None or spec.shape is None else len(spec.shape)

    def output_tensors(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of the tensors that hold real numbers and can be compared, in order."""
        kept = []
        for name in names:
            spec = self._lowering.spec(name)
            if spec is None or np.dtype(spec.dtype).kind == "f":
                kept.append(name)
        return tuple(kept)
