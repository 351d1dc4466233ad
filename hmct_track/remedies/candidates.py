"""The remedies of a node: what its data and its types allow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hmct_track.engine import thresholds
from hmct_track.engine.evaluate import Engine
from hmct_track.engine.facts import BINS, Facts, facts_of
from hmct_track.engine.protocols import Samples
from hmct_track.model import Layers
from hmct_track.model.fakequant import derive
from hmct_track.remedies.equalization import equalized_pairs
from hmct_track.remedies.remedy import Family, Remedy
from hmct_track.types import (
    BiasShift,
    CalibrationKind,
    CalibrationNode,
    Effect,
    Quantization,
    QuantParams,
    QuantType,
    State,
)

RATIOS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Shares of the largest value that are tried as thresholds of activations."""
WEIGHT_RATIOS = (0.9, 0.8, 0.7, 0.55)
PERCENTILES = (99.99, 99.9, 99.5)
_SMALLEST = 1e-8
_ALIKE = 0.01
"""Thresholds that differ by less are tried once."""
_INT16 = QuantType("int16")
_FLOAT16 = QuantType("float16")


@dataclass(frozen=True)
class Material:
    """What remedies are made of: statistics of the data of quantizers."""

    layers: Layers
    facts: Mapping[str, Facts]
    """Calibration node to what its tensor holds."""
    shifts: Mapping[str, BiasShift] = field(default_factory=dict)
    """General node to the correction that takes away the mean error of what it gives."""


def material_of(engine: Engine, samples: Samples, nodes: Sequence[str]) -> Material:
    """The material for general nodes and those before them, without corrections of means."""
    model, layers = engine.model, Layers(engine.model)
    names = {c: None for node in nodes for c in model.calibrations_of(node)}
    for pair in equalized_pairs(layers, list(nodes)):
        names |= dict.fromkeys(pair.calibrations)
    known = model.calibration_by_name
    chosen = [known[name] for name in names if not known[name].is_correction]
    return Material(layers, facts_of(engine, samples, chosen, layers))


def remedies_of(node: str, material: Material, allowed: Collection[Family]) -> list[Remedy]:
    """The remedies of a general node; those at a price come last.

    Args:
        node: a general node, fed by calibration nodes that can be switched.
        material: facts of these, and corrections where there are any.
        allowed: what the toolchain can express.

    Returns:
        Remedies with unlike names; none that asks for what the node has.

    Raises:
        UnknownNodeError: there is no such node.
        UsageError: it cannot be quantized.
    """
    model = material.layers.model
    owned = [model.calibration_by_name[name] for name in model.calibrations_of(node)]
    quantizers = [c for c in owned if not c.is_correction and c.name in material.facts]
    found: list[Remedy] = []
    for number, quantizer in enumerate(quantizers):
        what = _what(quantizer, number, quantizers)
        for name, family, params in parameters_for(material.facts[quantizer.name]):
            found.append(Remedy(node, f"{what} {name}", family, {quantizer.name: params}))
    if shift := material.shifts.get(node):
        found.append(Remedy(node, "bias correction", Family.BIAS, shifts={node: shift}))
    for pair in equalized_pairs(material.layers, [node]):
        for name, states in pair.states(material.facts):
            found.append(Remedy(node, f"equalization {name}", Family.EQUALIZATION, states))
    found += _wider(node, quantizers, material, owned)
    return [remedy for remedy in found if remedy.family in allowed]


def _what(quantizer: CalibrationNode, number: int, all_of_them: Sequence[CalibrationNode]) -> str:
    """What a quantizer is called among those of its node: by its kind, numbered where needed."""
    alike = [q.name for q in all_of_them if q.kind is quantizer.kind]
    kind = quantizer.kind.value
    return kind if len(alike) == 1 else f"{kind} {alike.index(quantizer.name)}"


def _wider(
    node: str,
    quantizers: Sequence[CalibrationNode],
    material: Material,
    owned: Sequence[CalibrationNode],
) -> Iterator[Remedy]:
    narrow = [q for q in quantizers if q.params.qtype.is_integer and q.params.qtype.bits < 16]
    wide = {q.name: _full(material.facts[q.name], _INT16) for q in narrow}
    for kind, family in (
        (CalibrationKind.WEIGHT, Family.INT16_WEIGHT),
        (CalibrationKind.ACTIVATION, Family.INT16_ACTIVATION),
    ):
        states: dict[str, State] = {q.name: wide[q.name] for q in narrow if q.kind is kind}
        if states:
            yield Remedy(node, family.value, family, states)
    if len({q.kind for q in narrow}) > 1:
        yield Remedy(node, "int16", Family.INT16, dict(wide))
    floats = [q for q in quantizers if q.params.qtype.is_integer]
    if floats:
        yield Remedy(node, "float16", Family.FLOAT16, {q.name: _FLOAT16 for q in floats})
    off = {q.name: Quantization.OFF for q in owned}
    yield Remedy(node, "float32", Family.FLOAT32, off)


def _full(facts: Facts, qtype: QuantType) -> QuantParams:
    """All of what the tensor holds, in another type."""
    params = facts.node.params
    if params.is_per_channel and len(facts.maxima) == len(params.scales):
        return _symmetric(facts, np.maximum(facts.maxima, _SMALLEST), qtype)
    return _symmetric(facts, np.array([max(facts.top, _SMALLEST)]), qtype)


def _symmetric(facts: Facts, tops: np.ndarray, qtype: QuantType | None = None) -> QuantParams:
    params = facts.node.params
    values = np.maximum(tops, _SMALLEST).astype(np.float32).tolist()
    axis = facts.axis if len(values) > 1 and facts.axis is not None else params.axis
    return derive(qtype or params.qtype, values, asymmetric=False, axis=axis)


def parameters_for(
    facts: Facts, families: Collection[Family] = tuple(Family)
) -> Iterator[tuple[str, Family, QuantParams]]:
    """Other parameters of the same type for one quantizer: name, family and parameters."""
    params = facts.node.params
    if not params.qtype.is_integer or params.qtype.bits > 16 or not facts.top:
        return
    if facts.node.kind is CalibrationKind.WEIGHT:
        found = _of_weight(facts)
    else:
        found = _of_activation(facts, asymmetric=Family.ASYMMETRIC in families)
    seen = [np.array(replace(params, effect=Effect.BOTH).scales)]
    for name, family, made in found:
        scales = np.array(made.scales)
        alike = any(
            s.shape == scales.shape and np.allclose(s, scales, rtol=_ALIKE, atol=0) for s in seen
        )
        if alike and family is Family.THRESHOLD:
            continue
        if family is Family.THRESHOLD:
            seen.append(scales)
        if family in families:
            yield name, family, made


def _of_weight(facts: Facts) -> Iterator[tuple[str, Family, QuantParams]]:
    params, values = facts.node.params, facts.values
    channels = len(facts.maxima)
    single = not params.is_per_channel
    if values is None:
        return
    tops = {True: np.array([facts.top]), False: facts.maxima}
    if single and channels > 1:
        yield "per channel", Family.PER_CHANNEL, _symmetric(facts, tops[False])
        moved = np.moveaxis(values, facts.axis or 0, 0).reshape(channels, -1)
        best = thresholds.mse_maxima(moved, tops[False], params.qtype)
        yield "per channel, mse", Family.PER_CHANNEL, _symmetric(facts, best)
    own = tops[single]
    if single or len(own) == len(params.scales):
        rows = len(own)
        moved = np.moveaxis(values, facts.axis or 0, 0).reshape(rows, -1)
        yield "max", Family.THRESHOLD, _symmetric(facts, own)
        yield (
            "mse",
            Family.THRESHOLD,
            _symmetric(facts, thresholds.mse_maxima(moved, own, params.qtype)),
        )
        for ratio in WEIGHT_RATIOS:
            yield f"{ratio:g} of max", Family.THRESHOLD, _symmetric(facts, own * ratio)
    yield "power of two", Family.POWER_OF_TWO, power_of_two(params)


def _of_activation(facts: Facts, *, asymmetric: bool) -> Iterator[tuple[str, Family, QuantParams]]:
    params = facts.node.params
    if params.is_per_channel:
        return
    qtype, paired = params.qtype, any(params.zero_points)
    if not paired:
        for name, (_, high) in activation_ranges(facts, symmetric=True).items():
            yield name, Family.THRESHOLD, _symmetric(facts, np.array([high]))
    pairs = activation_ranges(facts, symmetric=False) if paired or asymmetric else {}
    for name, (low, high) in pairs.items():
        pair = np.array([min(low, 0.0), max(high, 0.0)])
        pair[1] += _SMALLEST * (pair[1] - pair[0] < _SMALLEST)
        made = derive(qtype, pair.astype(np.float32).tolist(), asymmetric=True, axis=params.axis)
        if paired:
            yield name, Family.THRESHOLD, made
        elif "of max" not in name:
            yield f"asymmetric, {name}", Family.ASYMMETRIC, made
    yield "power of two", Family.POWER_OF_TWO, power_of_two(params)


def activation_ranges(facts: Facts, *, symmetric: bool) -> dict[str, tuple[float, float]]:
    """Ranges by the method that finds them; symmetric ones begin at 0."""
    top = facts.top
    bounds = (0.0, top) if symmetric else (min(facts.low, 0.0), max(facts.high, 0.0))
    qtype = facts.node.params.qtype
    if symmetric:
        counts, edges = facts.absolute, np.linspace(0, top, BINS + 1)
    else:
        counts, edges = facts.counts, np.linspace(facts.low, facts.high, BINS + 1)
    found = {"max": bounds}
    for percent in PERCENTILES:
        low, high = thresholds.percentile_range(counts, edges, percent, symmetric=symmetric)
        found[f"percentile {percent:g}"] = (low, high)
    if symmetric:
        found["kl"] = (0.0, thresholds.kl_threshold(counts, edges, qtype))
    centres = (edges[:-1] + edges[1:]) / 2
    weights = counts.astype(np.float64)
    found["mse"] = thresholds.mse_range(centres, weights, bounds, qtype, symmetric=symmetric)
    for ratio in RATIOS:
        found[f"{ratio:g} of max"] = (bounds[0] * ratio, bounds[1] * ratio)
    return {name: pair for name, pair in found.items() if pair[1] > pair[0]}


def power_of_two(params: QuantParams) -> QuantParams:
    """The same with each scale rounded up to a power of two, so that nothing more is clipped."""
    scales = np.array(params.scales, np.float64)
    rounded = np.where(scales > 0, 2.0 ** np.ceil(np.log2(np.where(scales > 0, scales, 1))), 0.0)
    factors = np.divide(rounded, scales, out=np.ones_like(scales), where=scales > 0)
    repeat = len(params.thresholds) // max(len(scales), 1)
    tops = np.array(params.thresholds) * np.repeat(factors, repeat) if repeat else np.zeros(0)
    return replace(params, scales=tuple(rounded.tolist()), thresholds=tuple(tops.tolist()))
