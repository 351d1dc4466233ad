"""The errors: their documented tree, and the messages that they build."""

from __future__ import annotations

import inspect
import re

import pytest

from hmct_track import errors
from hmct_track.errors import HmctTrackError, TrackingError, UnknownNodeError, UsageError

INDENT = 4
"""Width of a level in the tree of the docstring."""


def _documented() -> dict[str, str | None]:
    """Class to base class, as the docstring draws them."""
    path: list[str] = []
    found: dict[str, str | None] = {}
    for branch, name in re.findall(r"^([│├└─ ]*)(\w+Error)\b", errors.__doc__ or "", re.MULTILINE):
        del path[len(branch) // INDENT :]
        found[name] = path[-1] if path else None
        path.append(name)
    return found


def _real() -> dict[str, str | None]:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    return {
        c.__name__: None if c is HmctTrackError else c.__base__.__name__
        for c in classes
        if c.__module__ == errors.__name__
    }


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert len(_documented()) == 9
    assert _documented() == _real()


@pytest.mark.parametrize("name", sorted(_real()))
def test_every_error_is_caught_by_its_base_and_documented(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, HmctTrackError)
    assert error.__doc__


def test_usage_errors_alone_are_value_errors_too() -> None:
    value_errors = {name for name in _real() if issubclass(getattr(errors, name), ValueError)}
    assert value_errors == {"UsageError", "UnknownNodeError"}
    assert "(also a ValueError)" in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        ("Conv1", ["Conv_1", "Relu_2"], "no node named 'Conv1'; closest names: Conv_1"),
        ("zzz", ["Conv_1"], "no node named 'zzz'"),
        ("zzz", [], "no node named 'zzz'"),
    ],
)
def test_an_unknown_node_comes_with_the_closest_names(
    name: str, known: list[str], message: str
) -> None:
    assert str(UnknownNodeError(name, known)) == f"the model has {message}"


def test_at_most_three_close_names_are_listed_the_closest_first() -> None:
    message = str(UnknownNodeError("Conv_10", [f"Conv_1{k}" for k in range(1, 9)] + ["Conv_1"]))
    close = message.partition("closest names: ")[2].split(", ")
    assert len(close) == 3
    assert close[0] == "Conv_1"


def test_an_unknown_node_is_a_usage_error_of_any_kind_of_node() -> None:
    error = UnknownNodeError("a", iter(["b"]), what="output")
    assert str(error) == "the model has no output named 'a'"
    assert isinstance(error, UsageError)
    assert not isinstance(error, TrackingError)
