"""Calibrating a float model: what its tensors hold decides how they are quantized."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hmct_track.engine import thresholds
from hmct_track.engine.runtime import Runtime, Session
from hmct_track.engine.summaries import wide_enough
from hmct_track.engine.thresholds import BINS, Range
from hmct_track.errors import DataError
from hmct_track.model import FloatModel, Placement
from hmct_track.model.fakequant import derive
from hmct_track.types import CalibrationKind, QuantParams

_GROUP = 128
"""At most so many tensors are held at a time."""

_SMALLEST = 1e-8
"""Thresholds are not below this, so that a tensor of zeros has a scale that can be divided by."""


class Method(enum.StrEnum):
    """How thresholds of activations are found."""

    MAX = "max"
    """The largest value seen."""
    PERCENTILE = "percentile"
    """What holds a share of the values."""
    KL = "kl"
    """Least divergence of the quantized histogram."""
    MSE = "mse"
    """Least mean squared error."""


class Arrays(Protocol):
    """Samples by position, loaded when asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Mapping[str, NDArray[Any]]: ...


@dataclass(frozen=True)
class Settings:
    """How thresholds are found."""

    method: Method = Method.MAX
    percentile: float = 99.99
    per_channel: bool = True
    asymmetric: bool = False
    weight_method: Method = Method.MAX
    """``max`` or ``mse``."""


def find_parameters(
    model: FloatModel,
    placements: Sequence[Placement],
    samples: Arrays,
    settings: Settings,
    *,
    label: Callable[[int], str] = "sample {}".format,
    watch: Callable[[Iterator[int], int], Iterator[int]] = lambda items, _: items,
) -> list[QuantParams]:
    """Quantization parameters for each placement.

    The model runs once over the samples for ``max``, twice for the other methods: the second time
    the ranges are known, and histograms need no more memory however many samples there are.

    Args:
        model: the float model.
        placements: what is to be quantized.
        samples: what it is calibrated on.
        settings: how.
        label: the name of a sample, for errors.
        watch: passes positions of samples on and may show progress.

    Raises:
        DataError: a tensor holds NaN or Inf for a sample.
        EngineError: the runtime refuses the model or fails.
    """
    runtime = Runtime(model.weights)
    weights = {p.tensor for p in placements if p.kind is CalibrationKind.WEIGHT}
    activations = list(dict.fromkeys(p.tensor for p in placements if p.tensor not in weights))
    sessions = [
        runtime.session(model.giving(activations[start : start + _GROUP]))
        for start in range(0, len(activations), _GROUP)
    ]
    bounds = _bounds(sessions, samples, label, watch)
    counted: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    if settings.method is not Method.MAX:
        counted = _histograms(sessions, samples, bounds, watch, absolute=_is_absolute(settings))
    constants = _constants(runtime, model, weights, samples)
    return [
        _weight(placement, constants[placement.tensor], settings)
        if placement.kind is CalibrationKind.WEIGHT
        else _activation(placement, bounds[placement.tensor], counted, settings)
        for placement in placements
    ]


def _is_absolute(settings: Settings) -> bool:
    return not settings.asymmetric or settings.method is Method.KL


def _bounds(
    sessions: Sequence[Session],
    samples: Arrays,
    label: Callable[[int], str],
    watch: Callable[[Iterator[int], int], Iterator[int]],
) -> dict[str, Range]:
    """Minimum and maximum of each tensor over all samples."""
    found: dict[str, Range] = {}
    for k in watch(iter(range(len(samples))), len(samples)):
        for name, value in _values(sessions, samples[k]):
            if not value.size:
                continue
            low, high = float(value.min()), float(value.max())
            if not np.isfinite([low, high]).all():
                nan, inf = int(np.isnan(value).sum()), int(np.isinf(value).sum())
                raise DataError(
                    f"tensor {name!r} has {nan} NaN and {inf} infinite values of {value.size} for "
                    f"{label(k)}; leave this sample out, or mend the model"
                )
            have = found.get(name, (low, high))
            found[name] = (min(low, have[0]), max(high, have[1]))
    for session in sessions:
        for name in session.outputs:
            found.setdefault(name, (0.0, 0.0))  # empty for every sample
    return found


def _histograms(
    sessions: Sequence[Session],
    samples: Arrays,
    bounds: Mapping[str, Range],
    watch: Callable[[Iterator[int], int], Iterator[int]],
    *,
    absolute: bool,
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Counts and edges of each tensor, of absolute values or of the values."""
    found: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    for k in watch(iter(range(len(samples))), len(samples)):
        for name, value in _values(sessions, samples[k]):
            low, high = bounds[name]
            span = (0.0, max(-low, high)) if absolute else (low, high)
            if span[0] == span[1]:
                span = (span[0], span[0] + 1.0)
            data = np.abs(value) if absolute else value
            if span[1] - span[0] < 2 * BINS * np.spacing(data.dtype.type(max(map(abs, span)))):
                data = data.astype(np.float64)  # a saturated tensor: float32 has not so many edges
                span = wide_enough(*span, BINS)
            counts, edges = np.histogram(data, BINS, span)
            have = found.get(name)
            found[name] = (counts + have[0] if have else counts.astype(np.int64), edges)
    return found


def _values(
    sessions: Sequence[Session], sample: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[str, NDArray[Any]]]:
    for session in sessions:
        yield from zip(session.outputs, session.run(sample), strict=True)


def _constants(
    runtime: Runtime, model: FloatModel, names: set[str], samples: Arrays
) -> dict[str, NDArray[Any]]:
    """The values of weights; those computed from constants the runtime computes."""
    found = {name: model.constants[name] for name in names if name in model.constants}
    computed = sorted(names - set(found))
    if computed:
        found.update(_values([runtime.session(model.giving(computed))], samples[0]))
    return found


def _activation(
    placement: Placement,
    bounds: Range,
    counted: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]],
    settings: Settings,
) -> QuantParams:
    symmetric = not settings.asymmetric
    found = (-max(-bounds[0], bounds[1]), max(-bounds[0], bounds[1])) if symmetric else bounds
    if settings.method is not Method.MAX:
        counts, edges = counted[placement.tensor]
        if settings.method is Method.PERCENTILE:
            found = thresholds.percentile_range(
                counts, edges, settings.percentile, symmetric=symmetric
            )
        elif settings.method is Method.KL:
            found = (0.0, thresholds.kl_threshold(counts, edges, placement.qtype))
        else:
            centres = (edges[:-1] + edges[1:]) / 2
            # As the range will hold zero, the error is that of such ranges.
            around = (min(bounds[0], 0.0), max(bounds[1], 0.0))
            limits = (0.0, float(edges[-1])) if symmetric else around
            found = thresholds.mse_range(
                centres, counts.astype(np.float64), limits, placement.qtype, symmetric=symmetric
            )
        if symmetric or settings.method is Method.KL:
            found = (-found[1], found[1])
    # An unsigned type reaches below zero only with a zero point.
    paired = settings.asymmetric or (bounds[0] < 0 and not placement.qtype.is_signed)
    if paired:
        found = (max(bounds[0], found[0]), min(bounds[1], found[1]))
    return _derived(placement, np.array([found]), paired=paired, axis=1)


def _weight(placement: Placement, values: NDArray[Any], settings: Settings) -> QuantParams:
    """Weights are symmetric, as chips want them."""
    axis = 0 if placement.axis is None else placement.axis % values.ndim
    channels = (
        np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        if settings.per_channel and values.ndim
        else values.reshape(1, -1)
    )
    if not np.isfinite(channels).all():
        raise DataError(f"weight {placement.tensor!r} holds NaN or Inf; mend the model")
    maxima = np.abs(channels).max(axis=1, initial=0)
    if settings.weight_method is Method.MSE:
        ones = np.ones(channels.shape[1])
        maxima = np.array(
            [
                thresholds.mse_range(
                    channel.astype(np.float64),
                    ones,
                    (0.0, float(top)),
                    placement.qtype,
                    symmetric=True,
                )[1]
                for channel, top in zip(channels, maxima, strict=True)
            ]
        )
    bounds = np.stack([-maxima, maxima], axis=1)
    return _derived(placement, bounds, paired=False, axis=axis)


def _derived(placement: Placement, bounds: NDArray[Any], *, paired: bool, axis: int) -> QuantParams:
    """Parameters from minimum and maximum of each scale, of shape (scales, 2)."""
    if paired:
        # The range holds zero, so that padding and Relu stay exact.
        pairs = np.stack([np.minimum(bounds[:, 0], 0), np.maximum(bounds[:, 1], 0)], axis=1)
        narrow = pairs[:, 1] - pairs[:, 0] < _SMALLEST
        pairs[narrow, 1] += _SMALLEST
        values = pairs.astype(np.float32).ravel()
    else:
        values = np.maximum(np.abs(bounds).max(axis=1), _SMALLEST).astype(np.float32)
    return derive(placement.qtype, values.tolist(), asymmetric=paired, axis=axis)
