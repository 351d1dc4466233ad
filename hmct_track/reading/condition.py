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


_NOTHING = "the two runs have no node in common"
_WHY = (
    dict.fromkeys(
        ("whole_drop", "whole_a", "whole_b"),
        "one of the runs has not measured the fully quantized model; rank its model again",
    )
    | dict.fromkeys(
        ("whole_drop_low", "whole_drop_high", "surely_worse", "surely_better"),
        "one sample says too little, and so do other samples or outputs; rank both models "
        "with -d 8",
    )
    | dict.fromkeys(
        ("score_drop", "score_a", "score_b", "score_worse", "score_better"),
        "not both runs have the same score of the same samples, labels and outputs; rank both "
        "models with --score",
    )
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

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds for these values.

        Raises:
            UsageError: a quantity has no value; a gate that cannot decide must not pass.
        """
        return any([all([_holds(c, values) for c in group]) for group in self.groups])  # noqa: C419


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


def _holds(comparison: Comparison, values: Mapping[str, float | None]) -> bool:
    value = values[comparison.quantity]
    if value is None:
        raise UsageError(
            f"{comparison.quantity} has no value: {_WHY.get(comparison.quantity, _NOTHING)}; the "
            "condition cannot be decided"
        )
    return _OPERATORS[comparison.symbol](value, comparison.number)
