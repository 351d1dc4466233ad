"""Values as the documentation writes them, after the shell has eaten their quotes, and back."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TypeGuard

from hmct_track.errors import UsageError

Names = list["str | Names"]

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


# A quoted pattern: its backslashes are the regular expression's, not those of Python's literals.
_ESCAPED = str.maketrans({"[": "\\x5b", "]": "\\x5d", "'": "\\x27"})
# Other literals are matched too, so that what a name has in quotes is not taken for a pattern.
_LITERAL = re.compile(r"""(?P<p>(['"])re:.*?\2)|(['"])(?:\\.|(?!\3).)*\3""", re.DOTALL)


def parse_list(text: str) -> Names:
    """A list of names: ``['a','b']``, ``[a,b]``, ``a`` or, nested, ``[[a],[a,b]]``.

    Raises:
        UsageError: brackets or quotes do not match.
    """
    text = text.strip()
    if not text.startswith("["):
        return [_unquoted(text)]
    try:
        value = ast.literal_eval(_LITERAL.sub(_doubled, text))
    except (SyntaxError, ValueError):
        value = None
    # A literal with numbers in it is a list of bare names: 1.10 must not become 1.1.
    return _checked(value if _is_names(value) else _split(text), text)


def _doubled(found: re.Match[str]) -> str:
    return found[0].replace("\\", "\\\\") if found["p"] else found[0]


def parse_flat_list(text: str) -> list[str]:
    """A list of names that must not be nested.

    Raises:
        UsageError: it is nested, or brackets do not match.
    """
    values = parse_list(text)
    names = [value for value in values if isinstance(value, str)]
    if len(names) != len(values):
        raise UsageError(f"{text!r} is nested; a plain list was expected")
    return names


def show_names(names: str | Sequence[object]) -> str:
    """A list of names, nested or not, as one argument that `parse_list` reads back.

    Whatever characters the names have: no shell is in between.
    """
    if isinstance(names, str):
        return show_names([names])
    return "[" + ",".join(_shown(name) for name in names) + "]"


def _shown(name: object) -> str:
    if not isinstance(name, str):
        return show_names(name) if isinstance(name, Sequence) else repr(name)
    # Brackets are escaped: the command line counts them to find where a list ends.
    escaped = name.encode("unicode_escape").decode("ascii").translate(_ESCAPED)
    # Of a pattern, backslashes are taken as they are: it is written plain.
    return f"'{name if name.startswith('re:') and _is_plain(name) else escaped}'"


def _is_plain(pattern: str) -> bool:
    return pattern.isprintable() and "'" not in pattern and pattern.count("[") == pattern.count("]")


def parse_name(text: str) -> str | None:
    """A name; ``None`` is none, as the documentation writes defaults."""
    return None if text == "None" else text


def parse_optional_list(text: str) -> list[str] | None:
    """A plain list of names, or ``None``.

    Raises:
        UsageError: it is nested, or brackets do not match.
    """
    return None if text == "None" else parse_flat_list(text)


def parse_bool(text: str) -> bool:
    """``True``, ``False``, ``1``, ``0``, ``yes`` or ``no`` in any case.

    Raises:
        UsageError: it is none of them.
    """
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise UsageError(f"{text!r} is neither True nor False")


def parse_count(text: str) -> int | None:
    """A whole number, or ``None``.

    Raises:
        UsageError: it is neither.
    """
    if text.lower() in ("none", "all"):
        return None
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is neither a whole number nor None") from error


def parse_bytes(text: str) -> int:
    """A number of bytes, as ``4G``, ``512M`` or ``1.5GiB``; units are powers of 1024.

    Raises:
        UsageError: it is none, or not above zero.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    size = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ") if match else 0
    if size < 1:
        raise UsageError(f"{text!r} is not a size such as 512M or 4G")
    return int(size)


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_seconds(text: str) -> float | None:
    """A time, as ``60``, ``90s``, ``5min`` or ``1.5h``, in seconds; ``None`` is none.

    Raises:
        UsageError: it is none, or not above zero.
    """
    if text == "None":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|)", text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"{text!r} is not a time such as 60s, 5min or 1h")
    return seconds


def show_seconds(seconds: float | None) -> str:
    """A time that `parse_seconds` reads back."""
    return "None" if seconds is None else f"{float(seconds):.6f}".rstrip("0").rstrip(".") + "s"


def join_arguments(argv: Sequence[str], flags: Sequence[str]) -> list[str]:
    """``argv`` with lists that the shell split at spaces joined, and bare flags given ``True``.

    ``-m ['a', 'b']`` arrives as ``[a,`` and ``b]``; ``-v MODEL`` must not take MODEL for its value.
    """
    joined: list[str] = []
    opened: list[str] = []
    for argument in argv:
        opened.append(argument)
        text = " ".join(opened)
        if re.match(r"(--[\w-]+=)?\[", text) and text.count("[") > text.count("]"):
            continue
        joined.append(text)
        opened = []
    joined += opened
    completed: list[str] = []
    for argument, following in zip(joined, [*joined, ""][1:], strict=True):
        completed.append(argument)
        if argument in flags and following.lower() not in _TRUE + _FALSE:
            completed.append("True")
    return completed


def _split(text: str) -> Names:
    """``[a,[b,c]]`` without quotes; brackets inside a name must match."""
    if not text.endswith("]"):
        raise UsageError(f"{text!r} lacks its closing bracket")
    items: list[str] = []
    depth, item = 0, ""
    for character in text[1:-1]:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            raise UsageError(f"the brackets of {text!r} do not match")
        if character == "," and depth == 0:
            items.append(item)
            item = ""
        else:
            item += character
    if depth:
        raise UsageError(f"the brackets of {text!r} do not match")
    items.append(item)
    stripped = [item.strip() for item in items]
    if stripped == [""]:
        return []
    return [_split(i) if i.startswith("[") else _unquoted(i) for i in stripped]


def _is_names(value: object) -> TypeGuard[Names]:
    return isinstance(value, list) and all(isinstance(v, str) or _is_names(v) for v in value)


def _checked(names: Names, text: str) -> Names:
    for name in names:
        if isinstance(name, list):
            _checked(name, text)
        elif not name:
            raise UsageError(f"{text!r} has an empty name")
    return names


def _unquoted(text: str) -> str:
    for quote in "'\"":
        if len(text) > 1 and text[0] == text[-1] == quote:
            return text[1:-1]
    return text
