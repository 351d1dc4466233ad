"""How one calibration node quantizes: numeric types, explicit parameters, and both as JSON.

Nothing here imports NumPy or ONNX.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from hmct_track.errors import UsageError


@dataclass(frozen=True)
class QuantType:
    """A numeric type that a calibration node quantizes to: ``int8``, ``uint16``, ``float16``, ...

    Integer types have 4 to 16 bits, signed or unsigned, and ``int32``.
    """

    name: str

    _INTEGER = re.compile(r"(u?)int([1-9][0-9]?)")

    def __post_init__(self) -> None:
        if self.name in ("float16", "float32"):
            return
        match = self._INTEGER.fullmatch(self.name)
        if not match or not (4 <= int(match[2]) <= 16 or self.name == "int32"):
            raise ValueError(
                f"quantization type {self.name!r} is not supported; supported: int4 to int16, "
                "uint4 to uint16, int32, float16, float32"
            )

    @property
    def is_integer(self) -> bool:
        """Whether values are rounded to integers times a scale."""
        return "int" in self.name

    @property
    def is_signed(self) -> bool:
        """Whether the type holds negative numbers."""
        return not self.name.startswith("u")

    @property
    def bits(self) -> int:
        """Width in bits."""
        return int(self.name.lstrip("uintfloa"))

    @property
    def qmin(self) -> int:
        """Smallest integer of the full range."""
        return -(1 << (self.bits - 1)) if self.is_signed else 0

    @property
    def qmax(self) -> int:
        """Largest integer of the full range."""
        return (1 << (self.bits - self.is_signed)) - 1

    def __str__(self) -> str:
        return self.name


class Effect(enum.StrEnum):
    """Which of its two effects a quantizer of an integer type has.

    With ``s`` the scale, ``z`` the zero point, round to the nearest (ties to even):
    """

    BOTH = "both"
    """``y = (clip(round(x / s) + z, qmin, qmax) - z) * s``."""
    CLIP_ONLY = "clip_only"
    """``y = clip(x, (qmin - z) * s, (qmax - z) * s)``: what is in range is not rounded."""
    ROUND_ONLY = "round_only"
    """``y = round(x / s) * s``: nothing saturates. A scale of 0 has no steps, so ``y = x``."""


@dataclass(frozen=True)
class QuantParams:
    """How a calibration node quantizes.

    ``y = (clip(round(x / scale) + zero_point, qmin, qmax) - zero_point) * scale``, unless
    ``effect`` leaves out one of clipping and rounding.

    ``scales`` and ``zero_points`` have one entry (per tensor) or one per channel along ``axis``.
    ``thresholds`` has as many entries (absolute maxima) or twice as many (minimum and maximum of
    each); it is empty only for float types, and does not change what is computed. A scale of 0 maps
    every value to 0.
    """

    qtype: QuantType
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    thresholds: tuple[float, ...] = ()
    axis: int = 1
    effect: Effect = Effect.BOTH

    @property
    def is_per_channel(self) -> bool:
        """Whether each channel along ``axis`` has its own scale."""
        return len(self.scales) > 1

    @property
    def is_symmetric(self) -> bool:
        """Whether zero is quantized to the integer 0."""
        return not any(self.zero_points)

    @property
    def max_threshold(self) -> float | None:
        """Largest threshold, as the documented table shows it."""
        return max(self.thresholds, default=None)

    def check(self) -> None:
        """Complain if this is not how a tensor can be quantized.

        Raises:
            UsageError: it says which entry is wrong, and what was expected.
        """
        if not self.qtype.is_integer:
            if self.effect is not Effect.BOTH:
                raise UsageError(f"{self.qtype} cannot be {self.effect}; only integer types can")
            return
        count, qtype = len(self.scales), self.qtype
        for scale in self.scales:
            if not (isfinite(scale) and scale >= 0):
                raise UsageError(f"scale {scale} is not a finite number of 0 or more")
        if not count:
            raise UsageError(f"{qtype} needs scales: one, or one per channel")
        if len(self.zero_points) not in (0, 1, count):
            raise UsageError(f"there are {len(self.zero_points)} zero points for {count} scales")
        for zero in self.zero_points:
            if not qtype.qmin <= zero <= qtype.qmax:
                raise UsageError(
                    f"zero point {zero} is not in the range of {qtype}, {qtype.qmin} to "
                    f"{qtype.qmax}"
                )
        if len(self.thresholds) not in (0, count, 2 * count):
            raise UsageError(
                f"there are {len(self.thresholds)} thresholds for {count} scales; give as many, or "
                "twice as many"
            )
        if not all(map(isfinite, self.thresholds)):
            raise UsageError(f"thresholds {list(self.thresholds)} are not all finite numbers")


class Quantization(enum.Enum):
    """What a calibration node does, when it is not told how to quantize."""

    OFF = "off"
    AS_CALIBRATED = "calibrated"


State = Quantization | QuantType | QuantParams
"""What one calibration node does in a configuration: nothing, what it was calibrated to, that with
another type (its scales derived anew from its thresholds), or what explicit parameters say."""


def state_to_json(state: State) -> str | dict[str, Any]:
    """A state as what JSON can hold: a word, or an object for explicit parameters.

    Entries that are as by default are left out, so that equal parameters are written alike.
    """
    if isinstance(state, Quantization):
        return state.value
    if isinstance(state, QuantType):
        return state.name
    written: dict[str, Any] = {"qtype": state.qtype.name}
    for name in ("scales", "thresholds"):
        if values := getattr(state, name):
            written[name] = [float(v) for v in values]
    if state.zero_points:
        written["zero_points"] = [int(z) for z in state.zero_points]
    if state.axis != QuantParams.axis:
        written["axis"] = int(state.axis)
    if state.effect is not QuantParams.effect:
        written["effect"] = state.effect.value
    return dict(sorted(written.items()))


def state_from_json(value: object) -> State:
    """The state that `state_to_json` wrote.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, str):
        words = {state.value: state for state in Quantization}
        return words[value] if value in words else _qtype(value)
    if not isinstance(value, Mapping):
        raise UsageError(f"{value!r} is not a state; give off, calibrated, a type or an object")
    if odd := value.keys() - _READERS.keys():
        raise UsageError(f"{min(odd)!r} is not known; known are {', '.join(_READERS)}")
    if "qtype" not in value:
        raise UsageError("qtype is missing")
    params = QuantParams(**{name: _READERS[name](entry) for name, entry in value.items()})
    params.check()
    return params


def _qtype(value: object) -> QuantType:
    if not isinstance(value, str):
        raise UsageError(f"qtype {value!r} is not a name")
    try:
        return QuantType(value)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _effect(value: object) -> Effect:
    if not isinstance(value, str) or value not in list(Effect):
        raise UsageError(f"effect {value!r} is not known; known are {', '.join(Effect)}")
    return Effect(value)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _axis(value: object) -> int:
    if not (isinstance(value, int) and _is_int(value)):
        raise UsageError(f"axis {value!r} is not a whole number")
    return value


def _numbers(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or not all(isinstance(v, float) or _is_int(v) for v in value):
        raise UsageError(f"{value!r} is not a list of numbers")
    return tuple(float(v) for v in value)


def _integers(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(map(_is_int, value)):
        raise UsageError(f"{value!r} is not a list of whole numbers")
    return tuple(value)


_READERS: dict[str, Callable[[object], Any]] = {
    "qtype": _qtype,
    "scales": _numbers,
    "zero_points": _integers,
    "thresholds": _numbers,
    "axis": _axis,
    "effect": _effect,
}
