"""What each calibration node of a model does: a configuration.

It is canonical, hashed, and round-trips through JSON, so that it can be stored, compared and sent
to another machine. Nothing here imports NumPy or ONNX.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hmct_track.errors import UsageError
from hmct_track.quantization import Quantization, State, state_from_json, state_to_json

_MOST_SHOWN = 60
"""Characters of a bad value in a message."""


@dataclass(frozen=True)
class QuantConfig:
    """What each calibration node of a model does.

    ``default`` holds for every calibration node that ``overrides`` does not name.
    """

    default: Quantization = Quantization.OFF
    overrides: Mapping[str, State] = field(default_factory=dict)

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
        if not isinstance(found, dict) or found.keys() != {"default", "overrides"}:
            raise UsageError(
                f"a configuration is an object with default and overrides, not {_short(found)}"
            )
        default, overrides = found["default"], found["overrides"]
        if default not in [state.value for state in Quantization]:
            raise UsageError(
                f"the default of a configuration is off or calibrated, not {_short(default)}"
            )
        if not isinstance(overrides, dict):
            raise UsageError(
                f"the overrides of a configuration are an object, not {_short(overrides)}"
            )
        return cls(Quantization(default), {n: _state(n, s) for n, s in overrides.items()})

    def state(self, node: str) -> State:
        """What the calibration node ``node`` does."""
        return self.overrides.get(node, self.default)

    def canonical(self, nodes: Iterable[str]) -> QuantConfig:
        """The one way, of many, to write this configuration for a model with these nodes.

        The default is what most nodes do (off, in a draw), and no override repeats it. Explicit
        parameters stay as they are, those that equal a node's calibrated ones too.
        """
        every = set(nodes)
        named: dict[str, State] = {n: s for n, s in self.overrides.items() if n in every}
        counts = Counter(state for state in named.values() if isinstance(state, Quantization))
        counts[self.default] += len(every) - len(named)
        more = counts[Quantization.AS_CALIBRATED] > counts[Quantization.OFF]
        default = Quantization.AS_CALIBRATED if more else Quantization.OFF
        if default is not self.default:
            named = {**dict.fromkeys(every, self.default), **named}
        return QuantConfig(default, {n: s for n, s in sorted(named.items()) if s is not default})

    def to_json(self) -> str:
        """Compact JSON, the same for equal configurations.

        Raises:
            UsageError: explicit parameters hold a number that is not finite.
        """
        overrides = {name: state_to_json(state) for name, state in sorted(self.overrides.items())}
        written = {"default": self.default.value, "overrides": overrides}
        try:
            return json.dumps(written, separators=(",", ":"), allow_nan=False)
        except ValueError as error:
            raise UsageError(f"a configuration has a number that is not finite: {error}") from error

    @property
    def config_id(self) -> str:
        """Content hash; equal for equal configurations once they are canonical."""
        return digest(self.to_json().encode())


def _state(name: str, value: object) -> State:
    try:
        return state_from_json(value)
    except UsageError as error:
        raise UsageError(f"calibration node {name!r} of a configuration: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = Counter(name for name, _ in pairs)
        raise UsageError(f"a configuration names {names.most_common(1)[0][0]!r} twice")
    return found


def _no_number(text: str) -> float:
    raise UsageError(f"a configuration has {text} where a finite number was expected")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


def digest(*parts: bytes | memoryview) -> str:
    """Content hash of byte strings: the first 64 bits of SHA-256 in hexadecimal."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()[:16]
