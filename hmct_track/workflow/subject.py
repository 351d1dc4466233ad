"""What a run is about: a model, the samples it uses and the tensors it compares."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from hmct_track.data import Sample, Samples, open_data
from hmct_track.engine import Engine
from hmct_track.errors import UsageError
from hmct_track.model import QuantModel, load_model
from hmct_track.types import digest
from hmct_track.workflow.progress import progress

if TYPE_CHECKING:
    import onnx

    from hmct_track.workflow.run import Options


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, the samples that a run uses, by content, and the tensors that it compares."""

    model: QuantModel
    engine: Engine
    samples: Samples
    sample_ids: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def data_id(self) -> str:
        """Hash of the sample ids in their order."""
        return digest(*(sample_id.encode() for sample_id in self.sample_ids))

    @property
    def label(self) -> str:
        """The model's name for people."""
        model = self.model
        return model.path.stem if model.path else model.proto.graph.name or "model"

    def inputs(self) -> Mapping[str, Sample]:
        """Sample id to inputs, loaded at each access."""
        return _LazySamples(self)


def open_model(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto, options: Options
) -> tuple[QuantModel, Engine]:
    """The model and what evaluates it, those of the run above where there is one.

    Raises:
        ModelError: the model cannot be read, or holds what is not understood.
        UsageError: an execution provider is not there.
    """
    if shared := options.shared:
        return shared.model, shared.engine
    model = load_model(model_or_file, options.float_model)
    engine = Engine(
        model, threads=options.threads, memory=options.memory, providers=options.providers
    )
    return model, engine


class AsksForSamples(Protocol):
    """What requests of analyses have in common."""

    @property
    def calibrated_data(self) -> Any:
        """The calibration data, in any form."""

    @property
    def data_num(self) -> int | None:
        """How many samples to use; None for all."""


def make_subject(
    model: QuantModel,
    engine: Engine,
    request: AsksForSamples,
    outputs: Sequence[str],
    options: Options,
) -> Subject:
    """Open the data and check every value of the samples used, unless the parent run has them.

    Raises:
        DataError: the data are broken or do not fit the model.
        UsageError: ``data_num`` is out of range.
    """
    if options.shared:
        return replace(options.shared, outputs=tuple(outputs))
    samples = open_data(request.calibrated_data, model.inputs).first(request.data_num)
    indices = progress(
        range(len(samples)),
        total=len(samples),
        what="reading data",
        unit="samples",
        shown=options.progress,
    )
    ids = tuple(samples.verify(k) for k in indices)
    return Subject(model, engine, samples, ids, tuple(outputs))


def output_tensors(model: QuantModel, engine: Engine, output_node: str | None) -> tuple[str, ...]:
    """The float outputs of the model, or of one of its general nodes.

    Raises:
        UnknownNodeError: there is no such node.
        UsageError: none of the outputs is a float tensor, or several nodes could be meant.
    """
    if output_node is None:
        names: Sequence[str] = [spec.name for spec in model.outputs]
        what = "the model"
    else:
        node = model.output_node(output_node)
        names, what = node.outputs, f"node {node.name!r}"
    kept = engine.output_tensors(names)
    if not kept:
        raise UsageError(
            f"{what} has no float output to compare; choose a node that has one with output_node"
        )
    return kept


class _LazySamples(Mapping[str, Sample]):
    """Loads a sample whenever it is asked for, so that none but the current one is held."""

    def __init__(self, subject: Subject) -> None:
        self._samples = subject.samples
        self._index = {sample_id: k for k, sample_id in enumerate(subject.sample_ids)}

    def __getitem__(self, sample_id: str) -> Sample:
        return self._samples[self._index[sample_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)
