"""Conditions of a gate: what is understood, what is refused, what holds."""

from __future__ import annotations

import math

import pytest

from hmct_track.errors import UsageError
from hmct_track.options.condition import parse_condition

VALUES = {"max_drop": 0.01, "worse": 3, "added": 0, "worst_drop": math.inf, "mean_drop": None}
WHY = dict.fromkeys(VALUES, "nothing was measured")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_drop > 0.001", True),
        ("max_drop>1e-1", False),
        ("max_drop >= 0.01", True),
        ("worse == 3", True),
        ("worse != 3", False),
        ("worse < 3 or max_drop > 0.001", True),
        ("worse < 3 and max_drop > 0.001", False),
        ("added > 0 and worse > 0 or worse <= 3", True),
        ("worse <= 3 or added > 0 and worse > 9", True),
        ("worst_drop >= inf", True),
        ("added > -1", True),
        ("max_drop > .005", True),
    ],
)
def test_what_holds(text: str, expected: bool) -> None:
    assert parse_condition(text, list(VALUES)).holds(VALUES, WHY) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "max_drop",
        "max_drop > ",
        "0.1 < max_drop",
        "max_drop > 0.1 and",
        "max_drop > worse",
        "max_drop > 0.1; worse > 1",
        "(max_drop > 0.1)",
        "max_drop = 0.1",
        "max_drop > nan",
        "__import__('os').system('true')",
        "max_drop > 0.1 xor worse > 1",
        "drop > 0.1",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"condition .* (is not understood|no known quantity)"):
        parse_condition(text, list(VALUES))


@pytest.mark.parametrize("text", ["mean_drop > 1", "worse > 0 or mean_drop > 1"])
def test_a_gate_that_cannot_decide_does_not_pass(text: str) -> None:
    with pytest.raises(UsageError, match="mean_drop has no value"):
        parse_condition(text, list(VALUES)).holds(VALUES, WHY)
