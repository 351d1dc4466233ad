"""How the value of an option is written: from text to value and back, and what it may be."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hmct_track.errors import UsageError
from hmct_track.options.names import parse_metric, parse_metrics, parse_node_type
from hmct_track.options.parsing import (
    parse_bool,
    parse_bytes,
    parse_count,
    parse_flat_list,
    parse_list,
    parse_name,
    parse_optional_list,
    parse_seconds,
    show_names,
    show_seconds,
)
from hmct_track.types import Metric, NodeType


def _anything(name: str, value: Any) -> None:
    """Every value is allowed, or its use says what is not."""


def _text(value: Any) -> str:
    return "None" if value is None else str(value)


@dataclass(frozen=True)
class Kind:
    """A kind of values, such as a list of nodes."""

    metavar: str
    """What the value is called where it is left open."""
    parse: Callable[[str], Any] = str
    """From text; raises UsageError."""
    show: Callable[[Any], str] = _text
    """To text that `parse` reads back."""
    check: Callable[[str, Any], object] = _anything
    """Raises UsageError, which names the option, where a value is not allowed."""
    choices: tuple[str, ...] = ()
    """All values, where they are few."""
    is_switch: bool = False
    """True or False; alone it means True."""

    @property
    def is_choice(self) -> bool:
        """Whether a value is just one of the choices."""
        return bool(self.choices) and self.parse is str


def _metric(name: str, value: Any) -> None:
    parse_metric(value)


def _metrics(name: str, value: Any) -> None:
    parse_metrics(value)


def _node_type(name: str, value: Any) -> None:
    if value is not None:
        parse_node_type(value)


def _pairs(text: str) -> dict[str, list[str]]:
    found = {}
    for item in parse_flat_list(text):
        name, separator, types = item.rpartition("=")
        if not separator or not name:
            raise UsageError(f"types has {item!r}; NAME=TYPE or NAME=TYPE/TYPE was expected")
        found[name] = types.split("/")
    return found


def _show_pairs(pairs: Any) -> str:
    return show_names(
        [f"{n}={t if isinstance(t, str) else '/'.join(t)}" for n, t in (pairs or {}).items()]
    )


_PLAIN = re.compile(r"[\w.:/][\w.:/-]*")
"""A name that needs no quotes in a list."""


def _show_list(names: Any) -> str:
    if names is None:
        return "None"
    every = [names] if isinstance(names, str) else list(names)
    if not every or any(not isinstance(n, str) or _is_odd(n) for n in every):
        return show_names(names)
    return every[0] if len(every) == 1 else f"[{','.join(every)}]"


def _is_odd(name: str) -> bool:
    return name in ("None", "[]") or name.startswith("re:") or not _PLAIN.fullmatch(name)


def _address(scheduler: Any) -> str:
    """Of a client: its scheduler's."""
    return _text(scheduler if isinstance(scheduler, str | None) else scheduler.scheduler.address)


def _positive(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or value < 1):
        raise UsageError(f"{name} is {value}; give a number above 0, or None")


def _share(name: str, value: Any) -> None:
    if isinstance(value, bool) or not 0 < value < 1:
        raise UsageError(f"{name} is {value}; give a number between 0 and 1, such as 0.95")


def _some_seconds(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not 0 < value < math.inf):
        raise UsageError(f"{name} is {value}; give a time above 0, such as 60s or 5min, or None")


TEXT = Kind("TEXT")
NAME = Kind("NODE", parse_name)
NAMES = Kind("NODES", parse_flat_list, _show_list)
MAYBE_NAMES = Kind("NODES", parse_optional_list, _show_list)
SELECTION = Kind("NODES", parse_list, _show_list)
"""A list of nodes, or a list of such lists."""
COUNT = Kind("N", parse_count)
"""A whole number; None is all."""
WHOLE = Kind("N", int)
NUMBER = Kind("VALUE", float)
SHARE = Kind("SHARE", float, check=_share)
"""Between 0 and 1."""
DURATION = Kind("TIME", parse_seconds, show_seconds, _some_seconds)
"""Seconds; None is as long as it takes."""
SIZE = Kind("SIZE", parse_bytes, check=_positive)
CORES = Kind("N", parse_count, check=_positive)
SCHEDULER = Kind("ADDRESS", show=_address)
"""Of a Dask scheduler, such as tcp://host:8786; or a client of one."""
SWITCH = Kind("BOOL", parse_bool, choices=("True", "False"), is_switch=True)
FILE = Kind("FILE", show=os.fspath)
FOLDER = Kind("FOLDER", show=os.fspath)
METRIC = Kind("METRIC", check=_metric, choices=tuple(Metric))
METRICS = Kind("METRICS", parse_flat_list, _show_list, _metrics, tuple(Metric))
NODE_TYPE = Kind("TYPE", check=_node_type, choices=tuple(NodeType))
TYPES = Kind("LIST", _pairs, _show_pairs)
"""Types by node: name to one type, or one of activations and one of weights."""


def choice(metavar: str, *allowed: str) -> Kind:
    """One of a few words."""

    def check(name: str, value: Any) -> None:
        if value not in allowed:
            raise UsageError(f"{name} {value!r} is not known; choose from {', '.join(allowed)}")

    return Kind(metavar, check=check, choices=allowed)


def texts(metavar: str) -> Kind:
    """A list of words that are not nodes."""
    return Kind(metavar, parse_flat_list, _show_list)


def as_list(names: str | Sequence[str] | None) -> list[str]:
    """One name or several as a list; empty for None."""
    return [names] if isinstance(names, str) else list(names or ())


def as_words(names: str | Sequence[str] | None) -> list[str]:
    """Words that have no commas in them, written as a list or with commas between them."""
    return [word.strip() for name in as_list(names) for word in name.split(",")]
