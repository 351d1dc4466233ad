"""Names that people give to nodes: plain ones, patterns and module paths."""

from __future__ import annotations

from collections.abc import Sequence

from hmct_track.errors import UnknownNodeError, UsageError
from hmct_track.options.patterns import matching

_MOST_TOLD = 20
"""An error lists no more names than this."""


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
