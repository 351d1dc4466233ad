"""What is on the screen of a Textual application, as text."""

from __future__ import annotations

import re
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


_LINE = 24.4
"""Height of a line in these pictures."""


def painted(app: Any) -> list[tuple[str, str, str]]:
    """Texts on the screen, each with its colour and that of what is behind it, as ``#rrggbb``."""
    svg = app.export_screenshot()
    fills = dict(re.findall(r"\.(terminal-[\w-]+-r\d+) \{ fill: (#\w{6})", svg))
    picture = ET.fromstring(svg)  # noqa: S314 - the application's own
    behind: dict[tuple[int, int], str] = {}
    for rect in picture.iter("{http://www.w3.org/2000/svg}rect"):
        if rect.get("shape-rendering") != "crispEdges":
            continue
        line = round((float(rect.get("y", 0)) - 1.5) / _LINE)
        first = round(float(rect.get("x", 0)) / _CELL)
        for column in range(first, first + round(float(rect.get("width", 0)) / _CELL)):
            behind[line, column] = rect.get("fill", "")
    found = []
    for element in picture.iter("{http://www.w3.org/2000/svg}text"):
        clip = element.get("clip-path", "")
        if "-line-" in clip and element.text:
            line = int(clip.rpartition("-")[2].rstrip(")"))
            place = line, round(float(element.get("x", 0)) / _CELL)
            color = fills.get(element.get("class", ""))
            if color and place in behind:
                found.append((element.text.replace("\xa0", " "), color, behind[place]))
    return found
