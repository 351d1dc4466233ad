"""What runs configurations, and what judges their outputs: an evaluator and a judge.

Everything above the engine plans configurations and reads records, and knows of both only this, so
that the way they are computed can change without anything else changing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from hmct_track.types import Measurement, Output, QuantConfig

Tensors = Mapping[str, NDArray[Any]]
Samples = Mapping[str, Tensors]
"""Sample id to inputs."""


@dataclass(frozen=True)
class Record:
    """What a judge made of one configuration and sample."""

    config_id: str
    sample_id: str
    output: str | None
    """The output that it is about, in its canonical text; None if it is about all of them."""
    judge: str
    """The judge's identity."""
    value: Any
    """What the judge gave, or `Kept`."""


@dataclass(frozen=True)
class Kept:
    """In place of a value: it was kept where it was made."""

    part: str
    """What it is in."""


class Keeper(Protocol):
    """Keeps records where they are made, so that they need not come back. It can be pickled."""

    def keep(self, records: Sequence[Record], /) -> str | None:
        """What records are in from now on; None where they cannot be kept, and come back."""
        ...

    def close(self) -> None:
        """Have nothing kept any more."""
        ...


@runtime_checkable
class OutputJudge(Protocol):
    """Judges one output at a time, as soon as it is there, so that none is kept.

    Several threads may call it at a time.
    """

    @property
    def identity(self) -> str:
        """What its records are kept under: the same for judges that give the same values."""
        ...

    def prepare(self, x: NDArray[Any], /) -> Any:
        """What it needs to know of a float output alone; kept for each sample, so small."""
        ...

    def judge_output(self, x: NDArray[Any], y: NDArray[Any], prepared: Any, /) -> Any:
        """A record's value.

        Args:
            x: what is compared of the float output.
            y: the same of the quantized one, of the shape of ``x``.
            prepared: what `prepare` gave for ``x``.
        """
        ...


@runtime_checkable
class SampleJudge(Protocol):
    """Judges all outputs of a sample at once, which are kept until the last is there.

    Several threads may call it at a time.
    """

    @property
    def identity(self) -> str:
        """What its records are kept under: the same for judges that give the same values."""
        ...

    def judge_sample(self, sample_id: str, x: Tensors, y: Tensors, /) -> Any:
        """A record's value.

        Args:
            sample_id: the sample.
            x: each output, by its canonical text, to its float value.
            y: the same for the quantized ones, whose shapes may differ where the number of results
                depends on the data.
        """
        ...


Judge = OutputJudge | SampleJudge


class Evaluator(Protocol):
    """Runs configurations of one model."""

    @property
    def runtime(self) -> str:
        """Name of what computes; part of a measurement's key."""
        ...

    @property
    def noise_floor(self) -> float | None:
        """How far the float model as it is run was from the whole at most, as a share of the norm.

        None before anything was evaluated.
        """
        ...

    def evaluate(
        self,
        configs: Sequence[QuantConfig],
        samples: Samples,
        outputs: Sequence[str | Output],
        known: Collection[tuple[str, str]] = (),
    ) -> Iterator[Measurement]:
        """Compare every configuration's outputs with the float model's, by pair statistics."""
        ...

    def records(
        self,
        configs: Sequence[QuantConfig],
        samples: Samples,
        outputs: Sequence[str | Output],
        judges: Sequence[Judge],
        known: Collection[tuple[str, str]] = (),
    ) -> Iterator[Record]:
        """What judges make of every configuration's outputs, all of them from one execution.

        Args:
            configs: canonical configurations.
            samples: sample id to inputs; loaded anew whenever they are needed, so a lazy mapping
                keeps memory flat.
            outputs: what to compare: names of tensors, or parts of tensors.
            judges: at least one, with different identities.
            known: pairs of configuration id and sample id that no judge needs any more.

        Yields:
            For each configuration and sample one record per judge, or, of a judge of single
            outputs, one per output; as soon as it is known.

        Raises:
            EngineError: the runtime or a judge fails, or the float model is not the same twice.
            ModelError: a configuration asks a calibration node for what it cannot do.
            UsageError: an output is not there, or has no such part.
        """
        ...
