"""Names made short enough for a figure, and still told apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from textwrap import wrap

from hmct_track.text import visible

ELLIPSIS = "…"
NARROWEST = 8
"""Columns that a mark such as …~12345 needs."""


def distinct_labels(names: Sequence[str], width: int) -> list[str]:
    """A label of at most ``width`` characters for each name of a figure; unlike names stay unlike.

    A name that fits stays as it is. Of a longer one the last part of its path stays, and those
    parts that few other names have; if labels are still alike, the place where the names differ is
    shown, and if nothing else helps they are numbered.

    Args:
        names: all names of the figure, so that what they share can be left out.
        width: at least `NARROWEST`; beyond a million names that are alike it may be exceeded.
    """
    names = [visible(name) for name in names]
    different = list(dict.fromkeys(names))
    taken = {name: name for name in different if len(name) <= width}
    used, numbers = set(taken), Counter[str]()
    shared = Counter(part for name in different for part in set(_parts(name)))
    alike: dict[str, list[str]] = {}
    for name in different:
        if name not in taken:
            label = _by_parts(name, width, shared, len(different))
            alike.setdefault(label, []).append(name)
    # Those that are alone with their label first, so that no number takes it from them.
    for label, group in sorted(alike.items(), key=lambda item: len(item[1]) > 1):
        labels = [label] if len(group) == 1 else _differing(group, width)
        for name, wanted in zip(group, labels, strict=True):
            taken[name] = _free(wanted, width, used, numbers)
            used.add(taken[name])
    return [taken[name] for name in names]


def shortened(name: str, width: int = 42) -> str:
    """A long name with its middle left out; a third of what stays is its beginning."""
    name = visible(name)
    if len(name) <= width:
        return name
    head = (width - 1) // 3
    return f"{name[:head]}{ELLIPSIS}{name[len(name) - (width - 1 - head) :]}"


def listed(names: Sequence[str], most: int = 2) -> str:
    """The first names, and how many more there are: ``Conv_2, Conv_90 and 3 more``."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def owner(kind: str, consumers: Iterable[str] | None, width: int = 60) -> str:
    """What a calibration node quantizes, in words: ``weight of /layer1/conv/Conv``.

    Args:
        kind: ``weight``, ``activation`` or ``node_output``.
        consumers: the general nodes that read it.
        width: characters of a name.
    """
    names = list(consumers or ())
    words = {"activation": "input", "node_output": "output"}.get(kind, kind)
    return f"{words} of {listed(distinct_labels(names, width))}" if names else kind


def lines_of(text: str, columns: int) -> str:
    """A heading in lines of at most this many columns, broken between words only.

    A word that is longer than a line loses its middle.
    """
    broken = []
    for line in text.split("\n"):
        words = [shortened(word, columns) for word in line.split(" ")]
        fitting = " ".join(words)
        broken += (
            [fitting]
            if len(fitting) <= columns
            else wrap(fitting, columns, break_long_words=False, break_on_hyphens=False)
        )
    return "\n".join(broken)


def _parts(name: str) -> list[str]:
    """The name in parts that can be left out, each with the separator behind it."""
    separator = next((mark for mark in "/._" if mark in name.rstrip(mark)), None)
    if separator is None:
        return [name]
    return [p for p in re.split(f"(?<={re.escape(separator)})", name) if p]


def _by_parts(name: str, width: int, shared: Counter[str], total: int) -> str:
    """The last part and the rarest others, as many as fit, with a mark for what is left out."""
    parts = _parts(name)
    kept = {len(parts) - 1}
    if len(_joined(parts, kept)) > width:
        return shortened(name, width)
    others = [k for k in range(len(parts) - 1) if len(parts[k]) > 1]
    for place in sorted(others, key=lambda k: (shared[parts[k]], -k)):
        if len(_joined(parts, kept | {place})) <= width:
            kept.add(place)
        elif 2 * shared[parts[place]] > total:
            break  # the rest tells no more
    return _joined(parts, kept)


def _joined(parts: Sequence[str], kept: set[int]) -> str:
    text, gap = "", False
    for place, part in enumerate(parts):
        if place in kept:
            text += part
        elif not gap:
            text += ELLIPSIS
        gap = place not in kept
    return text


def _differing(group: Sequence[str], width: int) -> list[str]:
    """From where the names begin to differ; what the ends have in common gives way."""
    common = next(
        (k for k, letters in enumerate(zip(*group, strict=False)) if len(set(letters)) > 1),
        min(map(len, group)),
    )
    start = max(0, common - width // 4)
    found = []
    for name in group:
        begin = min(start, max(0, len(name) - width + 1))
        text = f"{ELLIPSIS if begin else ''}{name[begin:]}"
        found.append(text if len(text) <= width else f"{text[: width - 1]}{ELLIPSIS}")
    return found


def _free(label: str, width: int, used: set[str], numbers: Counter[str]) -> str:
    """The label, with a number where it is taken."""
    found = label
    while found in used:
        numbers[label] += 1
        mark = f"~{numbers[label] + 1}"
        found = shortened(label, max(width - len(mark), 1)) + mark
    return found
