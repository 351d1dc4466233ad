"""Text that comes from others, made fit to be shown: in terminals, figures and messages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

LONGEST_MESSAGE = 270
"""Characters of an error; with the program's name in front a line stays within 300."""

# What a terminal obeys (C0, DEL, C1), what turns the direction of writing or ends a line, and what
# XML cannot hold (surrogates and noncharacters).
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""``text`` with control characters as Python writes them: ``\x1b``, ``\n``, ``\u202e``."""
    return _UNSEEN.sub(_written, text)


def one_line(text: str, most: int = LONGEST_MESSAGE) -> str:
    """``text`` on one line of at most ``most`` characters, cut in its middle, all of it visible.

    An error names what is wrong at its beginning and what to do at its end; both stay.
    """
    line = visible(" ".join(part.strip() for part in text.splitlines()))
    if len(line) <= most:
        return line
    head = most * 2 // 3
    return f"{line[:head]} ... {line[head + 5 - most :]}"


def _written(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def counted(number: int, what: str) -> str:
    """So many of something: ``1 sample``, ``2 samples``."""
    return f"{number} {what}{'s' * (number != 1)}"


def shell_line(words: Iterable[str]) -> str:
    """Words of a command as one types them: a shell takes them as they are."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    # A list of names has single quotes of its own, which shlex makes hard to read.
    is_plain = "'" in word and word.isprintable() and not set(word) & set('"$`\\!')
    return f'"{word}"' if is_plain else shlex.quote(word)
