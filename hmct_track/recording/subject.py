"""What a run is about: a model, the samples it uses and the tensors it compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hmct_track.data import Sample, Samples
from hmct_track.engine import Engine
from hmct_track.errors import UsageError
from hmct_track.model import QuantModel
from hmct_track.names import model_label
from hmct_track.recording.progress import progress
from hmct_track.scoring import ScoreJudge
from hmct_track.types import digest


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, the samples that a run uses, by content, and the tensors that it compares."""

    model: QuantModel
    engine: Engine
    samples: Samples
    sample_ids: tuple[str, ...]
    outputs: tuple[str, ...]
    scores: tuple[ScoreJudge, ...] = ()
    """What the user scores as well, in the same execution; the first ranks."""

    @property
    def data_id(self) -> str:
        """Hash of the sample ids in their order."""
        return digest(*(sample_id.encode() for sample_id in self.sample_ids))

    @property
    def label(self) -> str:
        """The model's name for people."""
        model = self.model
        return model_label(str(model.path) if model.path else None, model.proto.graph.name)

    def inputs(self, chosen: Sequence[int] | None = None) -> Mapping[str, Sample]:
        """Sample id to inputs, loaded at each access.

        Args:
            chosen: positions of samples; all by default.
        """
        return _LazySamples(self, chosen)


def make_subject(
    model: QuantModel,
    engine: Engine,
    samples: Samples,
    outputs: Sequence[str],
    *,
    shown: bool,
) -> Subject:
    """Check every value of the samples.

    Raises:
        DataError: the data are broken or do not fit the model.
    """
    indices = progress(
        range(len(samples)),
        total=len(samples),
        what="reading data",
        unit="samples",
        shown=shown,
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


def output_parts(engine: Engine, texts: Sequence[str]) -> tuple[str, ...]:
    """Outputs as the user writes them, in their canonical form.

    Raises:
        UnknownNodeError: the model has no such tensor.
        UsageError: a text is not understood, or a tensor holds no float values.
    """
    parts = [engine.output(text) for text in texts]
    for part in parts:
        if not engine.output_tensors([part.tensor]):
            raise UsageError(f"output {part.tensor!r} holds no float values to compare")
    return tuple(dict.fromkeys(map(str, parts)))


class _LazySamples(Mapping[str, Sample]):
    """Loads a sample whenever it is asked for, so that none but the current one is held."""

    def __init__(self, subject: Subject, chosen: Sequence[int] | None) -> None:
        self._samples = subject.samples
        places = range(len(subject.sample_ids)) if chosen is None else chosen
        self._index = {subject.sample_ids[k]: k for k in places}

    def __getitem__(self, sample_id: str) -> Sample:
        return self._samples[self._index[sample_id]]

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._index  # what a mapping does by itself loads the sample

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)
