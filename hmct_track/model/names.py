"""Names that people give to nodes: plain ones, patterns and module paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from hmct_track.errors import UnknownNodeError, UsageError

REGEX = "re:"
"""What a regular expression begins with."""

_MOST_TOLD = 20
"""An error lists no more names than this."""


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


def expand(name: str, *groups: Sequence[str]) -> list[str]:
    """The names that ``name`` stands for in the first of the groups that has any.

    A plain name wins over patterns and paths in every group.

    Raises:
        UnknownNodeError: none has.
        UsageError: it is a broken regular expression.
    """
    for group in groups:
        found = [name] if any(name in g for g in groups) else matching(name, group)
        if found:
            return found
    raise UnknownNodeError(name, dict.fromkeys(n for group in groups for n in group))


def expand_one(name: str, *groups: Sequence[str]) -> str:
    """The one name that ``name`` stands for, as `expand` finds it.

    Raises:
        UnknownNodeError: nothing has such a name.
        UsageError: several have, or it is a broken regular expression.
    """
    found = expand(name, *groups)
    if len(found) > 1:
        rest = len(found) - _MOST_TOLD
        more = f" and {rest} more" if rest > 0 else ""
        raise UsageError(
            f"{name!r} stands for {len(found)} nodes where one was expected; choose one of "
            f"{', '.join(found[:_MOST_TOLD])}{more}"
        )
    return found[0]


def _dotted(path: str) -> str:
    """A path with slashes, as exporters write it, the way PyTorch writes it."""
    return path.strip("/").replace("/", ".")
