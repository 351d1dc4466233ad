"""What a name stands for that people give: a node, a pattern or the path of a module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from hmct_track.errors import UsageError

REGEX = "re:"
"""What a regular expression begins with."""


def matching(name: str, names: Sequence[str]) -> list[str]:
    """The names that ``name`` stands for, in their order; none if there is no such.

    A name stands for itself, whatever it looks like. Otherwise ``re:...`` is a regular expression
    that matches whole names, ``*``, ``?`` and ``[...]`` make a glob (in which ``*`` matches ``/``
    as well), and the rest is a module path: ``/model.6/m.0`` or ``model.6.m.0`` stands for the
    nodes below it.

    Raises:
        UsageError: the regular expression is broken.
    """
    if name in names:
        return [name]
    if name.startswith(REGEX):
        try:
            pattern = re.compile(name.removeprefix(REGEX))
        except re.error as error:
            raise UsageError(f"{name!r} is not a regular expression: {error}") from error
        return [n for n in names if pattern.fullmatch(n)]
    if set(name) & set("*?["):
        return [n for n in names if fnmatchcase(n, name)]
    path = _dotted(name)
    return [n for n in names if "/" in n and f"{_dotted(n)}.".startswith(f"{path}.")]


def _dotted(path: str) -> str:
    """A path with slashes, as exporters write it, the way PyTorch writes it."""
    return path.strip("/").replace("/", ".")
