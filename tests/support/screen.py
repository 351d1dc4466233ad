"""What is on the screen of a Textual application, as text."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from xml.etree import ElementTree as ET

_CELL = 12.2
"""Width of a cell in the pictures that Rich draws."""


def screen_text(app: Any) -> str:
    """The lines on the screen, read from the picture that Textual exports of it."""
    picture = ET.fromstring(app.export_screenshot())  # noqa: S314 - the application's own
    lines: dict[int, list[str]] = defaultdict(list)
    for element in picture.iter("{http://www.w3.org/2000/svg}text"):
        clip = element.get("clip-path", "")
        if "-line-" not in clip or not element.text:
            continue  # the title of the window
        line = lines[int(clip.rpartition("-")[2].rstrip(")"))]
        column = round(float(element.get("x", "0")) / _CELL)
        # A wide character takes two cells; what follows it keeps its place nearly.
        line.append(" " * max(0, column - sum(map(len, line))))
        line.append(element.text.replace("\xa0", " "))
    return "\n".join("".join(lines[k]).rstrip() for k in range(max(lines, default=-1) + 1))
