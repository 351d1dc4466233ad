"""What the tensors of quantizers hold: ranges, levels, channels, and where the error comes from.

All of it of the float model's tensors, by the parameters that a calibration node has; formulas and
sources are in docs/diagnosis.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.engine.evaluate import Engine
from hmct_track.engine.protocols import Samples
from hmct_track.engine.summaries import wide_enough
from hmct_track.model import Layers, fake_quantize
from hmct_track.types import CalibrationKind, CalibrationNode, Effect, QuantConfig, QuantParams

BINS = 2048
_GROUP = 32
"""At most so many tensors are held at a time."""
_TAIL = 0.001
"""The share of the values that does not count for the levels that are used."""
_DEAD = 1e-7
"""A channel is dead where its largest value is below this share of the tensor's."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass
class Facts:
    """What one quantizer's tensor holds, over all samples."""

    node: CalibrationNode
    axis: int | None
    """The channels, from 0; None where there are none."""
    low: float = np.inf
    high: float = -np.inf
    count: int = 0
    squares: float = 0.0
    """Sum of x^2."""
    clipped: int = 0
    """Values beyond the range of the type."""
    clip_error: float = 0.0
    """Sum of (x - y)^2, only clipping."""
    round_error: float = 0.0
    """Likewise, only rounding."""
    error: float = 0.0
    """Likewise, both."""
    channel_errors: Floats = field(default_factory=lambda: np.zeros(0))
    channel_lows: Floats = field(default_factory=lambda: np.zeros(0))
    channel_highs: Floats = field(default_factory=lambda: np.zeros(0))
    level_counts: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    """How often each integer occurs; empty of types without."""
    counts: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Histogram of the values from ``low`` to ``high``."""
    absolute: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Histogram of the absolute values, from 0 to the largest."""
    values: NDArray[Any] | None = None
    """A weight's own values."""

    @property
    def top(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high, 0.0)

    @property
    def maxima(self) -> Floats:
        """The largest absolute value of each channel, float64 of shape (channels,)."""
        return np.maximum(np.abs(self.channel_lows), np.abs(self.channel_highs))

    @property
    def saturation(self) -> float:
        """The share of the values that is clipped, 0 to 1."""
        return self.clipped / max(self.count, 1)

    @property
    def dead(self) -> int:
        """Channels that hold nothing but zeros."""
        return int((self.maxima <= _DEAD * self.top).sum())

    @property
    def lost(self) -> int:
        """Channels that hold something, of which nothing is left: all rounds to zero."""
        params = self.node.params
        if not params.scales:
            return 0
        half = _per_channel(params, self.axis, len(self.maxima)) / 2
        return int(((self.maxima <= half) & (self.maxima > _DEAD * self.top)).sum())

    @property
    def imbalance(self) -> float | None:
        """Largest over smallest of the channels' largest absolute values, dead ones left out."""
        alive = self.maxima[self.maxima > _DEAD * self.top]
        return float(alive.max() / alive.min()) if len(alive) > 1 else None

    @property
    def worst_channel(self) -> tuple[int, float] | None:
        """The channel that carries most of the error, and its share of it."""
        total = float(self.channel_errors.sum())
        if len(self.channel_errors) < 2 or not total > 0:
            return None
        worst = int(self.channel_errors.argmax())
        return worst, float(self.channel_errors[worst]) / total

    @property
    def effective_bits(self) -> float | None:
        """``log2`` of how many levels lie between the 0.05 % and the 99.95 % quantile."""
        if not self.level_counts.sum():
            return None
        share = np.cumsum(self.level_counts) / self.level_counts.sum()
        first = int(np.searchsorted(share, _TAIL / 2, side="right"))
        last = int(np.searchsorted(share, 1 - _TAIL / 2))
        return float(np.log2(max(last - first + 1, 1)))

    @property
    def channel_bits(self) -> float | None:
        """The mean over channels of ``log2`` of the levels from smallest to largest value.

        A channel's levels over all levels are its precision in Nagel et al., "Data-free
        quantization through weight equalization and bias correction", ICCV 2019.
        """
        params, qtype = self.node.params, self.node.params.qtype
        if not qtype.is_integer or not len(self.maxima):
            return None
        scales = _per_channel(params, self.axis, len(self.maxima))
        steps = (self.channel_highs - self.channel_lows) / np.where(scales == 0, np.inf, scales)
        levels = np.clip(np.rint(steps) + 1, 1, qtype.qmax - qtype.qmin + 1)
        return float(np.log2(levels).mean())

    @property
    def outlier_ratio(self) -> float | None:
        """The largest absolute value over the 99.9 % quantile of them; at most the bins' number."""
        if not self.top:
            return None
        share = np.cumsum(self.absolute) / max(self.absolute.sum(), 1)
        return BINS / (int(np.searchsorted(share, 1 - _TAIL)) + 1)


def facts_of(
    engine: Engine,
    samples: Samples,
    nodes: Sequence[CalibrationNode],
    layers: Layers,
    *,
    errors: bool = True,
) -> dict[str, Facts]:
    """What the tensors of calibration nodes hold: two float runs per sample, by sums alone.

    Args:
        engine: of the model.
        samples: sample id to inputs.
        nodes: calibration nodes.
        layers: of the model.
        errors: whether what quantizing does to them is found as well: errors, levels, clipping. Of
            tensors alone it takes half the time.

    Returns:
        Node name to its facts. Values that are not finite are left out.

    Raises:
        EngineError: the runtime refuses the model or fails.
    """
    found = {node.name: Facts(node, None) for node in nodes}
    first = dict(list(samples.items())[:1])
    for kind in CalibrationKind:
        chosen = [node for node in nodes if node.kind is kind]
        data = first if kind is CalibrationKind.WEIGHT else samples
        for start in range(0, len(chosen), _GROUP):
            group = chosen[start : start + _GROUP]
            for node, x in _values(engine, data, group):
                _add(found[node.name], x, channel_axis(layers, node, x.ndim), errors=errors)
                if kind is CalibrationKind.WEIGHT:
                    found[node.name].values = x
            # A weight is there as a whole: nothing is made of its histogram.
            counted = group if errors or kind is CalibrationKind.ACTIVATION else []
            for node, x in _values(engine, data, counted):
                _count(found[node.name], x)
    return found


def _values(
    engine: Engine, samples: Samples, nodes: Sequence[CalibrationNode]
) -> Iterator[tuple[CalibrationNode, NDArray[Any]]]:
    tensors = list(dict.fromkeys(node.input for node in nodes))
    for values in engine.observe(QuantConfig(), samples, tensors) if nodes else ():
        for node in nodes:
            yield node, values[node.input]


def channel_axis(layers: Layers, node: CalibrationNode, rank: int) -> int | None:
    """The channels of a calibration node's tensor, as what reads it multiplies them.

    Of a weight its own axis if it has several scales, or the output channels of its reader.
    """
    if node.params.is_per_channel:
        return node.params.axis % rank if rank else None
    by_name = layers.model.general_by_name
    ops = [by_name[name].op_type for name in node.consumers if name in by_name]
    op = ops[0] if ops else ""
    if rank < 2:
        return None
    if node.kind is CalibrationKind.WEIGHT:
        return layers.weight_axis(node) % rank
    return rank - 1 if op in ("MatMul", "Gemm") else 1


def _per_channel(params: QuantParams, axis: int | None, channels: int) -> Floats:
    """The scale of each channel, float64 of shape (channels,)."""
    scales = np.array(params.scales or (0.0,), np.float64)
    return scales if len(scales) == channels else np.full(channels, scales.max())


def _add(facts: Facts, x: NDArray[Any], axis: int | None, *, errors: bool) -> None:
    """Add one sample's values."""
    x = np.nan_to_num(x.astype(np.float32, copy=False), nan=0.0, posinf=0.0, neginf=0.0)
    if not x.size:
        return
    facts.count += x.size
    facts.low, facts.high = min(facts.low, float(x.min())), max(facts.high, float(x.max()))
    wrong = _wrong(facts, x) if errors else None
    if axis is not None:
        _channels(facts, x, wrong, axis)


def _wrong(facts: Facts, x: NDArray[Any]) -> Floats:
    """Add the errors that quantizing makes, and return them squared, in the shape of ``x``."""
    params = facts.node.params
    y = fake_quantize(x, params)
    wrong: Floats = (x - y).astype(np.float64) ** 2
    facts.squares += float((x.astype(np.float64) ** 2).sum())
    facts.error += float(wrong.sum())
    if params.qtype.is_integer:
        for effect, name in ((Effect.CLIP_ONLY, "clip_error"), (Effect.ROUND_ONLY, "round_error")):
            part = (x - fake_quantize(x, replace(params, effect=effect))).astype(np.float64)
            setattr(facts, name, getattr(facts, name) + float((part**2).sum()))
        _levels(facts, x)
    return wrong


def _channels(facts: Facts, x: NDArray[Any], wrong: Floats | None, axis: int) -> None:
    others = tuple(k for k in range(x.ndim) if k != axis)
    lows, highs = x.min(others), x.max(others)
    errors = np.zeros(lows.shape) if wrong is None else wrong.sum(others)
    if facts.axis is None:
        facts.axis = axis
        facts.channel_errors, facts.channel_lows = errors, lows.astype(np.float64)
        facts.channel_highs = highs.astype(np.float64)
    elif facts.channel_errors.shape == errors.shape:  # else their number depends on the data
        facts.channel_errors = facts.channel_errors + errors
        facts.channel_lows = np.minimum(facts.channel_lows, lows)
        facts.channel_highs = np.maximum(facts.channel_highs, highs)


def _levels(facts: Facts, x: NDArray[Any]) -> None:
    """Count integers, and what is beyond their range by more than half a step."""
    params, qtype = facts.node.params, facts.node.params.qtype
    if qtype.bits > 16:
        return
    shape = [1] * x.ndim
    if params.is_per_channel:
        shape[params.axis] = len(params.scales)
    scales = np.array(params.scales, np.float32).reshape(shape)
    zeros = np.array(params.zero_points or 0, np.float32)
    zeros = zeros.reshape(shape) if zeros.size > 1 else zeros.reshape(())
    q = np.rint(x / np.where(scales == 0, np.inf, scales)) + zeros
    facts.clipped += int(((q < qtype.qmin) | (q > qtype.qmax)).sum())
    held = np.clip(q, qtype.qmin, qtype.qmax).astype(np.int64).ravel() - qtype.qmin
    counts = np.bincount(held, minlength=qtype.qmax - qtype.qmin + 1)
    have = facts.level_counts
    facts.level_counts = counts + have if len(have) else counts


def _count(facts: Facts, x: NDArray[Any]) -> None:
    x = x[np.isfinite(x)]
    high = facts.high if facts.high > facts.low else facts.low + 1
    counts = _counted(x, facts.low, high)
    facts.counts = facts.counts + counts
    if facts.low != 0:  # else they are the same, as after a Relu
        counts = _counted(np.abs(x), 0.0, facts.top or 1.0)
    facts.absolute = facts.absolute + counts


def _counted(x: NDArray[Any], low: float, high: float) -> NDArray[np.int64]:
    low, high = wide_enough(low, high, BINS)
    # NumPy makes edges in the type of the values, which may lack numbers between them.
    if high - low < 4 * BINS * np.spacing(x.dtype.type(max(abs(low), abs(high)))):
        x = x.astype(np.float64)
    found: NDArray[np.int64] = np.histogram(x, BINS, (low, high))[0]
    return found


def shifts_of(
    engine: Engine, samples: Samples, config: QuantConfig, outputs: Mapping[str, str]
) -> dict[str, tuple[Floats, float]]:
    """How far quantization moves the mean of each channel of what nodes give out.

    Args:
        engine: of the model.
        samples: sample id to inputs.
        config: the quantization.
        outputs: node name to its output, with channels along axis 1.

    Returns:
        Node name to ``mean(x - y)`` of each channel over all samples, float64 of shape
        (channels,), and the share of the squared error that these means are, 0 to 1.
    """
    sums: dict[str, list[Any]] = {}
    tensors = list(dict.fromkeys(outputs.values()))
    runs = (engine.observe(c, samples, tensors) for c in (QuantConfig(), config))
    for x, y in zip(*runs, strict=True):
        for node, tensor in outputs.items():
            away = (x[tensor].astype(np.float64) - y[tensor]) if x[tensor].ndim > 1 else None
            if away is None or not np.isfinite(away).all():
                continue
            others = tuple(k for k in range(away.ndim) if k != 1)
            own = [away.sum(others), away.size // away.shape[1], float((away**2).sum())]
            have = sums.get(node)
            sums[node] = own if have is None else [a + b for a, b in zip(have, own, strict=True)]
    return {
        node: (
            total / max(count, 1),
            float((total**2).sum() / max(count, 1) / max(squares, 1e-300)),
        )
        for node, (total, count, squares) in sums.items()
    }
