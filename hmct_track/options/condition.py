"""Conditions of a gate, such as ``max_drop > 0.001 or worse >= 3``. None is evaluated as code.

::

    condition  = all { "or" all }
    all        = comparison { "and" comparison }
    comparison = quantity ( ">" | ">=" | "<" | "<=" | "==" | "!=" ) number
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hmct_track.errors import UsageError

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPARISON = re.compile(
    r"\s*([a-z_]+)\s*(>=|<=|==|!=|>|<)\s*([+-]?(?:inf|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))\s*"
)


@dataclass(frozen=True)
class Comparison:
    """A quantity compared with a number."""

    quantity: str
    symbol: str
    number: float


@dataclass(frozen=True)
class Condition:
    """What makes a gate fail: any of the groups whose comparisons all hold."""

    text: str
    groups: tuple[tuple[Comparison, ...], ...]

    def holds(self, values: Mapping[str, Any], why: Mapping[str, str]) -> bool:
        """Whether it holds for these values.

        Args:
            values: quantity to value.
            why: quantity to the reason, should it have no value.

        Raises:
            UsageError: a quantity has no value; a gate that cannot decide must not pass.
        """
        # All are looked at: one without a value is an error even where another already decides.
        held = [[_holds(c, values, why) for c in group] for group in self.groups]
        return any(all(group) for group in held)


def parse_condition(text: str, quantities: Sequence[str]) -> Condition:
    """A condition from its text.

    Args:
        text: what the user wrote.
        quantities: the names that it may use.

    Raises:
        UsageError: it is none, or names an unknown quantity.
    """
    groups = [re.split(r"\band\b", group) for group in re.split(r"\bor\b", text)]
    return Condition(text, tuple(tuple(_parse(c, text, quantities) for c in g) for g in groups))


def _parse(comparison: str, text: str, quantities: Sequence[str]) -> Comparison:
    match = _COMPARISON.fullmatch(comparison)
    if not match:
        raise UsageError(
            f"the condition {text!r} is not understood at {comparison.strip()!r}; write it as "
            '"max_drop > 0.001", joined by and, or'
        )
    name, symbol, number = match.groups()
    if name not in quantities:
        raise UsageError(
            f"the condition {text!r} has no known quantity {name!r}; known are "
            f"{', '.join(quantities)}"
        )
    return Comparison(name, symbol, float(number))


def _holds(
    comparison: Comparison, values: Mapping[str, float | None], why: Mapping[str, str]
) -> bool:
    value = values[comparison.quantity]
    if value is None:
        raise UsageError(
            f"{comparison.quantity} has no value: {why[comparison.quantity]}; the condition "
            "cannot be decided"
        )
    return _OPERATORS[comparison.symbol](value, comparison.number)
