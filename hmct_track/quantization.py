"""How one calibration node quantizes: numeric types and explicit parameters.

Nothing here imports NumPy or ONNX.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from math import isfinite

from hmct_track.errors import UsageError

_MOST_SHOWN = 60
"""Characters of a bad value in a message."""


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
    factors: tuple[float, ...] = ()
    """Equalization: the tensor is quantized times these, and divided by them again, each channel
    along ``factor_axis`` by its own; ``y = Q(x f) / f``. Empty: as it is. That is what moving
    factors from a layer's weight to the next one's does to what is quantized; source: Nagel et
    al., "Data-free quantization through weight equalization and bias correction", ICCV 2019."""
    factor_axis: int = 1

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
        for factor in self.factors:
            if not (isfinite(factor) and factor > 0):
                raise UsageError(f"factor {factor} is not a finite number above 0")
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
            raise UsageError(
                f"thresholds {shortened(list(self.thresholds))} are not all finite numbers"
            )


class Quantization(enum.Enum):
    """What a calibration node does, when it is not told how to quantize."""

    OFF = "off"
    AS_CALIBRATED = "calibrated"


State = Quantization | QuantType | QuantParams
"""What one calibration node does in a configuration: nothing, what it was calibrated to, that with
another type (its scales derived anew from its thresholds), or what explicit parameters say."""


def shortened(value: object) -> str:
    """A bad value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
