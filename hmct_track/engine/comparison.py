"""What judges make of outputs: the part that is compared, and what is the same for every pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmct_track.engine.protocols import Judge, OutputJudge, SampleJudge, Tensors
from hmct_track.errors import EngineError, HmctTrackError, UsageError
from hmct_track.types import Output

Array = NDArray[Any]


class Found(NamedTuple):
    """A record but for its configuration and sample."""

    output: str | None
    judge: str
    value: Any


class Comparison:
    """Outputs of a model, and the judges of them.

    What depends on a float output alone is computed once for each sample and kept.

    Args:
        outputs: what to compare.
        judges: with different identities.
    """

    def __init__(self, outputs: Sequence[Output], judges: Sequence[Judge]) -> None:
        self._outputs = {str(output): output for output in outputs}
        self._parts: dict[str, list[tuple[str, Output]]] = defaultdict(list)
        for text, output in self._outputs.items():
            self._parts[output.tensor].append((text, output))
        self._single = [judge for judge in judges if isinstance(judge, OutputJudge)]
        self._whole = [judge for judge in judges if isinstance(judge, SampleJudge)]
        self._prepared: dict[tuple[str, str, str], Any] = {}
        self._scales: dict[tuple[str, str], Array] = {}
        self._same: dict[tuple[str, str], list[Found]] = {}

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors that outputs are, or are parts of."""
        return tuple(self._parts)

    @property
    def needs_all(self) -> bool:
        """Whether a judge needs all outputs of a sample at once."""
        return bool(self._whole)

    def tensor(self, sample: str, name: str, x: Array, y: Array, config_id: str) -> Iterator[Found]:
        """What the judges of single outputs make of a tensor.

        Args:
            sample: the id of the sample.
            name: the tensor.
            x: its float value.
            y: its value in a configuration.
            config_id: the configuration, or one of those that give it.

        Raises:
            EngineError: the shapes differ, or a judge fails.
            UsageError: the tensor has no such part as is to be compared.
        """
        if not self._single:
            return
        if x.shape != y.shape:
            raise EngineError(
                f"output {name!r} has shape {list(x.shape)} in the float model but {list(y.shape)} "
                "in a quantized one (the number of results depends on the data); analyse an "
                "earlier node with output_node"
            )
        for text, output in self._parts[name]:
            a = self._part(sample, text, output, x, x)
            b = self._part(sample, text, output, x, y)
            for judge in self._single:
                place = sample, text, judge.identity
                where = sample, config_id
                if place not in self._prepared:
                    self._prepared[place] = _ask(judge, where, partial(judge.prepare, a))
                prepared = self._prepared[place]
                value = _ask(judge, where, partial(judge.judge_output, a, b, prepared))
                yield Found(text, judge.identity, value)

    def same_tensor(self, sample: str, name: str, x: Array, config_id: str) -> list[Found]:
        """What they make of it where it is as in float."""
        place = sample, name
        if place not in self._same:
            self._same[place] = list(self.tensor(sample, name, x, x, config_id))
        return self._same[place]

    def sample(self, sample: str, xs: Tensors, changed: Tensors, config_id: str) -> Iterator[Found]:
        """What the judges of all outputs make of them.

        Args:
            sample: the id of the sample.
            xs: the float values of the tensors.
            changed: the tensors that are not as in float.
            config_id: the configuration, or one of those that give them.

        Raises:
            EngineError: a judge fails.
            UsageError: a tensor has no such part as is to be compared.
        """
        if not self._whole:
            return
        x = self._all(sample, xs, xs)
        y = self._all(sample, xs, {**xs, **changed}) if changed else x
        for judge in self._whole:
            value = _ask(judge, (sample, config_id), partial(judge.judge_sample, sample, x, y))
            yield Found(None, judge.identity, value)

    def _all(self, sample: str, xs: Tensors, ys: Tensors) -> Mapping[str, Array]:
        return {
            text: self._part(sample, text, output, xs[output.tensor], ys[output.tensor])
            for text, output in self._outputs.items()
        }

    def _part(self, sample: str, text: str, output: Output, x: Array, y: Array) -> Array:
        """What is compared of ``y``, whose float value is ``x``."""
        part = select(output, y)
        if output.rms_axis is None:
            return part
        place = sample, text
        if place not in self._scales:
            self._scales[place] = channel_scale(select(output, x), output.rms_axis)
        return part / self._scales[place]


def select(output: Output, x: Array) -> Array:
    """The part of a tensor that is compared.

    Raises:
        UsageError: a tensor of this shape has no such part, or nothing is in it.
    """
    if output.slices:
        index = tuple(slice(*p) if isinstance(p, tuple) else p for p in output.slices)
        try:
            part = np.asarray(x[index])
        except IndexError as error:
            raise UsageError(
                f"output {str(output)!r} does not fit shape {list(x.shape)}: {error}"
            ) from error
        if x.size and not part.size:
            raise UsageError(f"output {str(output)!r} holds nothing of shape {list(x.shape)}")
        x = part
    if output.rms_axis is not None and not -x.ndim <= output.rms_axis < x.ndim:
        raise UsageError(
            f"output {str(output)!r}: axis {output.rms_axis} is outside shape {list(x.shape)}"
        )
    return x


def channel_scale(x: Array, axis: int) -> NDArray[np.float64]:
    """What each channel is divided by, in a shape that broadcasts: its RMS, or 1 where that is 0.

    ``sqrt(mean(x_c^2))`` over the finite values of channel ``c`` along ``axis``.
    """
    others = tuple(k for k in range(x.ndim) if k != axis % x.ndim)
    squares, counts = channel_squares(x, others)
    rms = np.sqrt(squares / np.maximum(counts, 1))
    return np.where(rms == 0, 1.0, rms)


def channel_squares(
    x: Array, others: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sums of squares, and counts, of the finite values over the axes ``others``, kept."""
    finite = np.isfinite(x)
    values = np.where(finite, x, 0).astype(np.float64)
    squares = np.sum(np.square(values), axis=others, keepdims=True)
    return squares, np.sum(finite, axis=others, keepdims=True)


def _ask(judge: Judge, where: tuple[str, str], question: Callable[[], Any]) -> Any:
    try:
        return question()
    except HmctTrackError:
        raise
    except Exception as error:  # whatever a user's own judge raises
        sample, config = where
        raise EngineError(
            f"{judge.identity} failed on sample {sample} of configuration {config} with "
            f"{type(error).__name__}: {error}"
        ) from error
