"""Options as fields of a frozen dataclass, and what is derived from them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from hmct_track.options.kinds import Kind

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """An option of a command: its name, how it is written and what it means."""

    name: str
    kind: Kind
    help: str
    short: str | None
    default: Any
    """Of the Python function; None for what is required."""
    command_default: Any
    """Of the command line, where printing the answer is what one came for."""
    metavar: str
    is_positional: bool
    is_required: bool
    """On the command line."""
    off: str | None
    """The flag that sets it to False, for what is on otherwise."""
    group: str | None
    """The heading that it stands under; none for what belongs to the command itself."""
    is_stored: bool
    """Whether a run keeps it among its parameters."""

    @property
    def forms(self) -> tuple[str, ...]:
        """All ways to write it: short, and long with hyphens or underscores."""
        if self.is_positional:
            return (self.name,)
        if self.off:
            return (self.off,)
        long = dict.fromkeys((f"--{self.name.replace('_', '-')}", f"--{self.name}"))
        return (*([self.short] if self.short else []), *long)


def option(
    kind: Kind,
    help: str,  # noqa: A002 - what argparse calls it
    short: str | None = None,
    *,
    default: Any = MISSING,
    command_default: Any = MISSING,
    command_required: bool = False,
    metavar: str | None = None,
    positional: bool = False,
    off: str | None = None,
    group: str | None = None,
    stored: bool = True,
) -> Any:
    """A field of a dataclass that is an option of its command.

    Args:
        kind: how its value is written.
        help: what it means, in half a sentence.
        short: its short form, such as ``-m``.
        default: of the Python function; without one it is required.
        command_default: of the command line, where that is another.
        command_required: whether the command line requires it all the same.
        metavar: what the value is called where it is left open; the kind's word by default.
        positional: whether the command line takes it by its place.
        off: a flag that sets it to False, instead of a value.
        group: the heading that it stands under.
        stored: whether a run keeps it among its parameters.
    """
    given = {
        "kind": kind,
        "help": help,
        "short": short,
        "command_default": default if command_default is MISSING else command_default,
        "metavar": metavar or kind.metavar,
        "is_required": command_required or default is MISSING,
        "is_positional": positional,
        "off": off,
        "group": group,
        "is_stored": stored,
    }
    if isinstance(default, dict | list):
        return field(default_factory=lambda: type(default)(default), metadata={_KEY: given})
    return field(default=default, metadata={_KEY: given})


def options_of(declaration: type[Any]) -> tuple[Option, ...]:
    """The options of a dataclass, in the order of its fields."""
    found = []
    for f in fields(declaration):
        if _KEY in f.metadata:
            given = dict(f.metadata[_KEY])
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            if given["command_default"] is MISSING:
                given["command_default"] = None
            default = None if default is MISSING else default
            found.append(Option(name=f.name, default=default, **given))
    return tuple(found)


def check_options(declared: Any) -> None:
    """Check each value of a dataclass by its kind.

    Raises:
        UsageError: one is not allowed.
    """
    for o in options_of(type(declared)):
        o.kind.check(o.name, getattr(declared, o.name))


def to_stored(declared: Any) -> dict[str, Any]:
    """The values that a run keeps, as plain ones for JSON; objects that are no files by a word."""
    return {
        o.name: _plain(getattr(declared, o.name)) for o in options_of(type(declared)) if o.is_stored
    }


def from_stored(declaration: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for a dataclass from what a run has kept; what it has not is left out."""
    known = {o.name for o in options_of(declaration)}
    return {name: value for name, value in values.items() if name in known}


def argument_list(declared: Any, left_out: Iterable[str] = ()) -> list[str]:
    """The arguments that give a dataclass on the command line; those by default are left out."""
    placed, named = [], []
    skipped = set(left_out)
    for o in options_of(type(declared)):
        value = getattr(declared, o.name)
        if o.name in skipped:
            continue
        if o.is_positional:
            placed.append(o.kind.show(value))
        elif o.off:
            named += [] if value else [o.off]
        elif not _same(value, o.command_default):
            named += [o.forms[0], o.kind.show(value)]
    return [*placed, *named]


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default; a list of one name is that name."""
    if isinstance(value, list | tuple) and isinstance(default, str):
        return list(value) == [default]
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return bool(value == default)


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return f"a {type(value).__name__}"
