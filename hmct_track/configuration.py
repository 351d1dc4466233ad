"""What each calibration node of a model does: a configuration.

It is canonical, hashed, and round-trips through JSON, so that it can be stored, compared and sent
to another machine. Nothing here imports NumPy or ONNX.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, TypeVar

from hmct_track.errors import UsageError
from hmct_track.quantization import Quantization, State, shortened
from hmct_track.state_json import (
    axis_from_json,
    numbers_from_json,
    state_from_json,
    state_to_json,
)

T = TypeVar("T")

_KEYS = {"default", "overrides", "shifts"}


@dataclass(frozen=True)
class BiasShift:
    """A correction of what a general node gives out: ``y + values``, one value per channel.

    A toolchain expresses it in the node's bias. Meant to take away the mean that quantization has
    moved; source: Nagel et al., "Data-free quantization through weight equalization and bias
    correction", ICCV 2019.
    """

    values: tuple[float, ...]
    """One, or one per channel along ``axis`` of the node's first output."""
    axis: int = 1

    def check(self) -> None:
        """Complain if nothing can be shifted so.

        Raises:
            UsageError: there are no values, or one is not finite.
        """
        if not self.values or not all(map(isfinite, self.values)):
            raise UsageError(f"{shortened(list(self.values))} is not a list of finite numbers")


@dataclass(frozen=True)
class QuantConfig:
    """What each calibration node of a model does, and corrections of what general nodes give.

    ``default`` holds for every calibration node that ``overrides`` does not name; ``shifts`` names
    general nodes. The float reference has no corrections.
    """

    default: Quantization = Quantization.OFF
    overrides: Mapping[str, State] = field(default_factory=dict)
    shifts: Mapping[str, BiasShift] = field(default_factory=dict)

    @classmethod
    def only(cls, nodes: Iterable[str], state: State = Quantization.AS_CALIBRATED) -> QuantConfig:
        """The float model but for these calibration nodes."""
        return cls(Quantization.OFF, dict.fromkeys(nodes, state))

    @classmethod
    def all_but(cls, nodes: Iterable[str], state: State = Quantization.OFF) -> QuantConfig:
        """The fully quantized model but for these calibration nodes."""
        return cls(Quantization.AS_CALIBRATED, dict.fromkeys(nodes, state))

    @classmethod
    def from_json(cls, text: str) -> QuantConfig:
        """The configuration that `to_json` wrote.

        Raises:
            UsageError: it is not one; what is wrong is said in a line.
        """
        try:
            found = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UsageError(f"a configuration is no JSON: {error}") from error
        if not isinstance(found, dict) or found.keys() | {"shifts"} != _KEYS:
            raise UsageError(
                "a configuration is an object with default and overrides, and shifts if there are "
                f"some, not {shortened(found)}"
            )
        default, overrides, shifts = found["default"], found["overrides"], found.get("shifts", {})
        if default not in [state.value for state in Quantization]:
            raise UsageError(
                f"the default of a configuration is off or calibrated, not {shortened(default)}"
            )
        for name, value in (("overrides", overrides), ("shifts", shifts)):
            if not isinstance(value, dict):
                raise UsageError(
                    f"the {name} of a configuration are an object, not {shortened(value)}"
                )
        return cls(
            Quantization(default),
            {name: _named(name, state, state_from_json) for name, state in overrides.items()},
            {name: _named(name, shift, _shift) for name, shift in shifts.items()},
        )

    def state(self, node: str) -> State:
        """What the calibration node ``node`` does."""
        return self.overrides.get(node, self.default)

    def canonical(self, nodes: Iterable[str]) -> QuantConfig:
        """The one way, of many, to write this configuration for a model with these nodes.

        The default is what most nodes do (off, in a draw), and no override repeats it. Explicit
        parameters stay as they are, those that equal a node's calibrated ones too. Corrections by
        zeros are none.
        """
        every = set(nodes)
        named: dict[str, State] = {n: s for n, s in self.overrides.items() if n in every}
        counts = Counter(state for state in named.values() if isinstance(state, Quantization))
        counts[self.default] += len(every) - len(named)
        more = counts[Quantization.AS_CALIBRATED] > counts[Quantization.OFF]
        default = Quantization.AS_CALIBRATED if more else Quantization.OFF
        if default is not self.default:
            named = {**dict.fromkeys(every, self.default), **named}
        return QuantConfig(
            default,
            {n: s for n, s in sorted(named.items()) if s is not default},
            {n: s for n, s in sorted(self.shifts.items()) if any(s.values)},
        )

    def to_json(self) -> str:
        """Compact JSON, the same for equal configurations.

        Raises:
            UsageError: explicit parameters hold a number that is not finite.
        """
        overrides = {name: state_to_json(state) for name, state in sorted(self.overrides.items())}
        written: dict[str, Any] = {"default": self.default.value, "overrides": overrides}
        if self.shifts:  # ids of configurations without stay as they were
            written["shifts"] = {n: _shift_to_json(s) for n, s in sorted(self.shifts.items())}
        try:
            return json.dumps(written, separators=(",", ":"), allow_nan=False)
        except ValueError as error:
            raise UsageError(f"a configuration has a number that is not finite: {error}") from error

    @property
    def config_id(self) -> str:
        """Content hash; equal for equal configurations once they are canonical."""
        return digest(self.to_json().encode())


def _named(name: str, value: object, read: Callable[[object], T]) -> T:
    try:
        return read(value)
    except UsageError as error:
        raise UsageError(f"node {name!r} of a configuration: {error}") from error


def _shift(value: object) -> BiasShift:
    if not isinstance(value, dict) or value.keys() | {"axis"} != {"axis", "values"}:
        raise UsageError(
            f"{shortened(value)} is not an object with values, and axis if it is not 1"
        )
    shift = BiasShift(numbers_from_json(value["values"]), axis_from_json(value.get("axis", 1)))
    shift.check()
    return shift


def _shift_to_json(shift: BiasShift) -> dict[str, Any]:
    axis = {} if shift.axis == BiasShift.axis else {"axis": int(shift.axis)}
    return {**axis, "values": [float(v) for v in shift.values]}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = Counter(name for name, _ in pairs)
        raise UsageError(f"a configuration names {names.most_common(1)[0][0]!r} twice")
    return found


def _no_number(text: str) -> float:
    raise UsageError(f"a configuration has {text} where a finite number was expected")


def digest(*parts: bytes | memoryview) -> str:
    """Content hash of byte strings: the first 64 bits of SHA-256 in hexadecimal."""
    import hashlib  # loads OpenSSL, which no help needs

    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()[:16]
