"""Goldens: what the program said once, kept as text, and how it is compared with what it says now.

What differs from run to run (ids, times, versions, places) is replaced by placeholders. Numbers are
compared by value, since the last digits of a sum depend on the processor; all else by the letter.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "goldens"
UPDATE = "HMCT_UPDATE_GOLDENS"

_RELATIVE, _ABSOLUTE = 2e-4, 1e-6
_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[+-]?\d+)?(?![\w.])|(?<![\w.])-?\d+e[+-]?\d+")
_PLACEHOLDERS = (
    # Of a page what it says is kept; what it does has its tests in a browser.
    (r"(?s)<(script|style)\b[^>]*>.*?</\1>", r"<\1>"),
    (r"hmct-track \d+(\.\w+)+", "hmct-track <version>"),
    (r"data:image/png;base64,[A-Za-z0-9+/=]+", "data:image/png;base64,<image>"),
    (r"\b\d{8}T\d{9}-[0-9a-f]{8}\b", "<run>"),
    (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?", "<time>"),
    (r"onnxruntime-\d+(\.\d+)*", "onnxruntime-<version>"),
    (r"noise floor:? [\d.]+e-\d+", "noise floor <small>"),
)


class Golden:
    """The goldens below one name, and what was found to differ from them."""

    def __init__(self, name: str, places: Mapping[str, str]) -> None:
        """Take ``places``: text, such as the name of a folder, to its placeholder."""
        self.folder = FOLDER / name
        self.differences: list[str] = []
        self._places = dict(places)
        self._seen: set[Path] = set()

    def replace(self, text: str, by: str) -> None:
        """Replace a text, such as an id, by a placeholder from now on."""
        self._places[text] = by

    def knows(self, text: str) -> bool:
        """Whether a text has its placeholder."""
        return text in self._places

    def clean(self, text: str) -> str:
        """A text with placeholders for what differs from run to run."""
        for place in sorted(self._places, key=len, reverse=True):
            text = text.replace(place, self._places[place])
        for pattern, placeholder in _PLACEHOLDERS:
            text = re.sub(pattern, placeholder, text)
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines())

    def text(self, name: str, text: str) -> None:
        """Compare a text with the golden ``name``."""
        self._check(name, self.clean(text))

    def json(self, name: str, value: Any) -> None:
        """Compare a value of lists, dicts and scalars with the golden ``name``."""
        self._check(name, self.clean("\n".join(_lines(_rounded(value)))))

    def finish(self) -> None:
        """Fail with all differences, goldens without a counterpart among them."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path not in self._seen:
                if os.environ.get(UPDATE):
                    path.unlink()
                else:
                    self.differences.append(f"{path.relative_to(FOLDER)} has no counterpart now")
        told = "\n".join(self.differences)
        assert not self.differences, (
            f"{told}\nIf this is meant: {UPDATE}=1 pytest tests/test_goldens.py"
        )

    def _check(self, name: str, found: str) -> None:
        path = self.folder / name
        assert path not in self._seen, f"{name} is compared twice"
        self._seen.add(path)
        if os.environ.get(UPDATE):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or not same(path.read_text(), found):
                path.write_text(found)
            return
        kept = path.read_text() if path.exists() else ""
        if not same(kept, found):
            lines = difflib.unified_diff(
                kept.splitlines(), found.splitlines(), f"golden {name}", "now", lineterm="", n=1
            )
            self.differences.append("\n".join(lines))


def same(kept: str, found: str) -> bool:
    """Whether two texts say the same: numbers nearly, all else exactly."""
    if _NUMBER.sub("#", kept) != _NUMBER.sub("#", found):
        return False
    pairs = zip(_NUMBER.findall(kept), _NUMBER.findall(found), strict=True)
    return all(
        math.isclose(float(a), float(b), rel_tol=_RELATIVE, abs_tol=_ABSOLUTE) for a, b in pairs
    )


def _rounded(value: Any) -> Any:
    """Floats to six digits; what JSON has no word for as text."""
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        # With a point always, so that 1.0 and 0.9999999 are both numbers that may differ a bit.
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value if isinstance(value, str | int | bool | None) else str(value)


def _lines(value: Any, indent: str = "", end: str = "") -> Iterator[str]:
    """JSON with what is flat on one line, so that a difference is a line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not _nests(value):
        yield f"{indent}{flat}{end}"
        return
    items = list(value.values() if isinstance(value, dict) else value)
    if not any(_nests(item) for item in items) and (len(flat) < 100 or isinstance(value, list)):
        yield f"{indent}{flat}{end}"
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield indent + opening
    names = list(value) if isinstance(value, dict) else [None] * len(items)
    for k, (name, item) in enumerate(zip(names, items, strict=True)):
        comma = "," if k + 1 < len(items) else ""
        first, *others = _lines(item, f"{indent} ", comma)
        key = "" if name is None else f"{json.dumps(name, ensure_ascii=False)}: "
        yield f"{indent} {key}{first.removeprefix(f'{indent} ')}"
        yield from others
    yield f"{indent}{closing}{end}"


def _nests(value: Any) -> bool:
    return isinstance(value, dict | list)
