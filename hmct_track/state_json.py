"""The state of a calibration node as JSON, written in one way and read strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hmct_track.errors import UsageError
from hmct_track.quantization import (
    Effect,
    Quantization,
    QuantParams,
    QuantType,
    State,
    shortened,
)


def state_to_json(state: State) -> str | dict[str, Any]:
    """A state as what JSON can hold: a word, or an object for explicit parameters.

    Entries that are as by default are left out, so that equal parameters are written alike.
    """
    if isinstance(state, Quantization):
        return state.value
    if isinstance(state, QuantType):
        return state.name
    written: dict[str, Any] = {"qtype": state.qtype.name}
    for name in ("scales", "thresholds", "factors"):
        if values := getattr(state, name):
            written[name] = [float(v) for v in values]
    if state.zero_points:
        written["zero_points"] = [int(z) for z in state.zero_points]
    for name in ("axis", "factor_axis"):
        if getattr(state, name) != getattr(QuantParams, name):
            written[name] = int(getattr(state, name))
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
        raise UsageError(
            f"{shortened(value)} is not a state; give off, calibrated, a type or an object"
        )
    if odd := value.keys() - _READERS.keys():
        raise UsageError(f"{shortened(min(odd))} is not known; known are {', '.join(_READERS)}")
    if "qtype" not in value:
        raise UsageError("qtype is missing")
    params = QuantParams(**{name: _READERS[name](entry) for name, entry in value.items()})
    params.check()
    return params


def _qtype(value: object) -> QuantType:
    if not isinstance(value, str):
        raise UsageError(f"qtype {shortened(value)} is not a name")
    try:
        return QuantType(value)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _effect(value: object) -> Effect:
    if not isinstance(value, str) or value not in list(Effect):
        raise UsageError(f"effect {shortened(value)} is not known; known are {', '.join(Effect)}")
    return Effect(value)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def axis_from_json(value: object) -> int:
    """A whole number.

    Raises:
        UsageError: it is none.
    """
    if not (isinstance(value, int) and _is_int(value)):
        raise UsageError(f"axis {shortened(value)} is not a whole number")
    return value


def numbers_from_json(value: object) -> tuple[float, ...]:
    """A list of numbers.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, list) or not all(isinstance(v, float) or _is_int(v) for v in value):
        raise UsageError(f"{shortened(value)} is not a list of numbers")
    return tuple(float(v) for v in value)


def _integers(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(map(_is_int, value)):
        raise UsageError(f"{shortened(value)} is not a list of whole numbers")
    return tuple(value)


_READERS: dict[str, Callable[[object], Any]] = {
    "qtype": _qtype,
    "scales": numbers_from_json,
    "zero_points": _integers,
    "thresholds": numbers_from_json,
    "axis": axis_from_json,
    "effect": _effect,
    "factors": numbers_from_json,
    "factor_axis": axis_from_json,
}
