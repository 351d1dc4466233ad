"""What a remedy is, what it costs, and which of them a toolchain can express."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hmct_track.errors import UsageError
from hmct_track.types import BiasShift, QuantConfig, State


class Family(enum.StrEnum):
    """The kinds of remedies, as ``--allow`` names them."""

    THRESHOLD = "threshold"
    """Another threshold, of a weight or an activation."""
    ASYMMETRIC = "asymmetric"
    """An activation from its minimum to its maximum, with a zero point."""
    PER_CHANNEL = "per-channel"
    """A scale for each output channel of a weight."""
    POWER_OF_TWO = "power-of-two"
    """Scales that are powers of two: a constraint of some chips, and never better by itself."""
    BIAS = "bias"
    """The mean error of each output channel taken off by the bias."""
    EQUALIZATION = "equalization"
    """Factors moved from one layer to the next."""
    INT16_WEIGHT = "int16-weight"
    INT16_ACTIVATION = "int16-activation"
    INT16 = "int16"
    """Weight and activation."""
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Price(enum.StrEnum):
    """What a remedy costs at run time: nothing, or a wider type."""

    FREE = "free"
    INT16 = "int16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


_WIDER = {
    Family.INT16_WEIGHT: Price.INT16,
    Family.INT16_ACTIVATION: Price.INT16,
    Family.INT16: Price.INT16,
    Family.FLOAT16: Price.FLOAT16,
    Family.FLOAT32: Price.FLOAT32,
}
FREE = tuple(family for family in Family if family not in _WIDER)
"""The families that cost nothing at run time."""

PRESETS: Mapping[str, tuple[Family, ...]] = {
    "horizon": tuple(f for f in Family if f not in (Family.ASYMMETRIC, Family.POWER_OF_TWO)),
    "onnxruntime": tuple(f for f in Family if f is not Family.POWER_OF_TWO),
    "all": tuple(Family),
}
"""What targets can express. ``horizon``: symmetric integers, as its calibrated models have them by
default. ``onnxruntime``: what QuantizeLinear and DequantizeLinear say, zero points as well."""


def allowed_families(names: Sequence[str]) -> tuple[Family, ...]:
    """The families that presets and names of families stand for, in the order of `Family`.

    Raises:
        UsageError: a name is not known, or there is none.
    """
    found: set[Family] = set()
    for name in names:
        if name not in PRESETS and name not in tuple(Family):
            raise UsageError(
                f"allow has {name!r}; it can hold the presets {', '.join(PRESETS)} and "
                f"{', '.join(Family)}"
            )
        found |= set(PRESETS.get(name, ())) or {Family(name)}
    if not found:
        raise UsageError("allow is empty; name remedies, or a preset such as horizon")
    return tuple(family for family in Family if family in found)


@dataclass(frozen=True)
class Remedy:
    """Something to do about a node, as a part of a configuration."""

    node: str
    """The general node that it is for."""
    name: str
    """In words, such as ``activation percentile 99.9``; unlike those of the node's others."""
    family: Family
    states: Mapping[str, State] = field(default_factory=dict)
    """Calibration node to what it does."""
    shifts: Mapping[str, BiasShift] = field(default_factory=dict)
    """General node to the correction of what it gives."""

    @property
    def price(self) -> Price:
        """What it costs at run time."""
        return _WIDER.get(self.family, Price.FREE)

    def apply(self, config: QuantConfig) -> QuantConfig:
        """A configuration with this remedy on top; not canonical."""
        return QuantConfig(
            config.default,
            {**config.overrides, **self.states},
            {**config.shifts, **self.shifts},
        )
