"""Equalization: factors that move from one layer to the next, where nothing between minds them.

Of a layer, a function ``r`` with ``r(f x) = f r(x)`` for ``f > 0`` and a second layer:
``W2 r(W1 x + b1) = (W2 / f) r(f (W1 x + b1))``, one factor per channel between them. The float
function stays, the ranges of channels become alike; source: Nagel et al., "Data-free quantization
through weight equalization and bias correction", ICCV 2019, equation 11. For activations the
ranges are those of the data, as in Xiao et al., "SmoothQuant", ICML 2023, equation 4 with 0.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmct_track.engine.facts import Facts
from hmct_track.model import Layers, QuantModel
from hmct_track.model.fakequant import derive
from hmct_track.types import CalibrationKind, CalibrationNode, GeneralNode, QuantParams, State

_LAYERS = ("Conv", "Gemm")
_BETWEEN = ("Relu", "LeakyRelu", "Identity", "Dropout", "MaxPool", "AveragePool",
            "GlobalAveragePool", "GlobalMaxPool")  # fmt: skip
"""Ops with ``r(f x) = f r(x)`` that keep channels apart."""
_MOST = 64.0
"""Factors are within this and its inverse."""
_SMALLEST = 1e-8

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Two layers whose channels between them can be scaled."""

    first: str
    second: str
    first_weight: CalibrationNode
    between: CalibrationNode
    second_weight: CalibrationNode
    first_axis: int
    """The output channels of the first weight."""
    second_axis: int
    """The input channels of the second weight; of a depthwise convolution its first axis."""
    between_axis: int

    @property
    def calibrations(self) -> tuple[str, str, str]:
        """Names of the calibration nodes that take part."""
        return self.first_weight.name, self.between.name, self.second_weight.name

    def states(self, facts: Mapping[str, Facts]) -> Iterator[tuple[str, dict[str, State]]]:
        """What the three calibration nodes do, for each way to choose the factors."""
        first, between, second = (facts.get(name) for name in self.calibrations)
        if first is None or between is None or second is None:
            return
        if first.values is None or second.values is None:
            return
        own = _maxima(first.values, self.first_axis)
        other = _maxima(second.values, self.second_axis)
        if not len(own) == len(other) == len(between.maxima):
            return
        for name, ranges in (("of weights", own), ("of activations", between.maxima)):
            factors = _factors(ranges, other)
            if not np.allclose(factors, 1, rtol=0.05):
                yield name, self._with(factors, first, between, second)

    def _with(
        self, factors: Array, first: Facts, between: Facts, second: Facts
    ) -> dict[str, State]:
        given = tuple(factors.tolist())
        inverse = tuple((1 / factors).tolist())
        found: dict[str, State] = {}
        for facts, axis, by in (
            (first, self.first_axis, given),
            (second, self.second_axis, inverse),
        ):
            assert facts.values is not None  # noqa: S101 - `states` has looked
            shape = [1] * facts.values.ndim
            shape[axis] = len(by)
            scaled = facts.values * np.array(by).reshape(shape)
            found[facts.node.name] = _like(facts.node.params, _tops(facts, scaled), by, axis)
        params = between.node.params
        lows, highs = between.channel_lows * factors, between.channel_highs * factors
        if any(params.zero_points):
            pair = [float(min(lows.min(), 0)), float(max(highs.max(), _SMALLEST))]
            made = derive(params.qtype, pair, asymmetric=True, axis=params.axis)
        else:
            top = max(float(np.abs(lows).max()), float(np.abs(highs).max()), _SMALLEST)
            made = derive(params.qtype, [top], asymmetric=False, axis=params.axis)
        found[between.node.name] = _with_factors(made, given, self.between_axis)
        return found


def equalized_pairs(layers: Layers, seconds: Sequence[str]) -> list[Pair]:
    """The pairs of layers that can be equalized, of those whose second layer is named."""
    model = layers.model
    makers = {tensor: node for node in model.general_nodes for tensor in node.outputs}
    pairs = (_pair(layers, model.general_by_name[name], makers) for name in seconds)
    return [pair for pair in pairs if pair is not None]


def _pair(layers: Layers, second: GeneralNode, makers: Mapping[str, GeneralNode]) -> Pair | None:
    model = layers.model
    own, weight = _quantizers(model, second)
    if own is None or weight is None or own.consumers != (second.name,):
        return None
    tensor = own.input
    while tensor in makers and makers[tensor].op_type in _BETWEEN and layers.reads[tensor] == 1:
        tensor = makers[tensor].inputs[0]
    first = makers.get(tensor)
    if first is None or layers.reads[tensor] != 1 or first.op_type not in _LAYERS:
        return None
    _, before = _quantizers(model, first)
    values = layers.constant(weight.input)
    axis = None if values is None else layers.input_axis(second.name, values)
    if before is None or axis is None or not layers.can_shift(first.name):
        return None
    between = -1 if second.op_type == "Gemm" else 1
    first_axis = layers.weight_axis(before)
    return Pair(first.name, second.name, before, own, weight, first_axis, axis, between)


def _quantizers(
    model: QuantModel, node: GeneralNode
) -> tuple[CalibrationNode | None, CalibrationNode | None]:
    """The activation and the weight calibration node of a layer, where it alone reads them."""
    if node.op_type not in _LAYERS or len(node.inputs) < 2:
        return None, None
    by_output = {c.output: c for c in model.calibration_nodes}
    own, weight = by_output.get(node.inputs[0]), by_output.get(node.inputs[1])
    good = (
        weight is not None
        and weight.kind is CalibrationKind.WEIGHT
        and weight.consumers == (node.name,)
        and not (weight.fixed or weight.stored)
        and weight.params.qtype.is_integer
    )
    active = own is not None and own.kind is CalibrationKind.ACTIVATION
    alike = active and own is not None and own.params.qtype.is_integer
    single = alike and own is not None and not own.params.is_per_channel
    return own if single else None, weight if good else None


def _maxima(values: NDArray[np.floating], axis: int) -> Array:
    others = tuple(k for k in range(values.ndim) if k != axis % values.ndim)
    found: Array = np.abs(values).max(others).astype(np.float64)
    return found


def _factors(ranges: Array, others: Array) -> Array:
    """``sqrt(r2 / r1)`` of each channel, 1 where either is dead, about 1 in the geometric mean."""
    alive = (ranges > _SMALLEST) & (others > _SMALLEST)
    ratio = np.sqrt(np.where(alive, others, 1) / np.where(alive, ranges, 1))
    if alive.any():
        ratio = ratio / np.exp(np.log(ratio[alive]).mean())
    found: Array = np.where(alive, np.clip(ratio, 1 / _MOST, _MOST), 1.0)
    return found.astype(np.float32).astype(np.float64)


def _tops(facts: Facts, values: NDArray[np.floating]) -> list[float]:
    params = facts.node.params
    if params.is_per_channel:
        tops = _maxima(values, params.axis)
    else:
        tops = np.array([np.abs(values).max()])
    return [max(float(top), _SMALLEST) for top in tops]


def _like(params: QuantParams, tops: list[float], factors: tuple[float, ...], axis: int) -> State:
    made = derive(params.qtype, tops, asymmetric=False, axis=params.axis)
    return _with_factors(made, factors, axis)


def _with_factors(params: QuantParams, factors: tuple[float, ...], axis: int) -> QuantParams:
    return QuantParams(
        params.qtype, params.scales, params.zero_points, params.thresholds, params.axis,
        factors=factors, factor_axis=axis,
    )  # fmt: skip
