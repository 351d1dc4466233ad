"""A network for other programs: Graphviz's DOT and SVG, and node data of Model Explorer."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from hmct_track.errors import UsageError
from hmct_track.report.network import NODE, QUANTIZERS, Network
from hmct_track.report.shades import Coloring, colorings, css_color
from hmct_track.text import visible
from hmct_track.types import Metric

_MOST_QUANTIZERS = 400
"""A network with more parts is drawn without quantizers, as the page opens it."""
_SHAPES = {"node": "box", "weight": "hexagon", "activation": "ellipse", "input": "cds",
           "output": "cds"}  # fmt: skip
_DARK = 0.18
"""Relative luminance below which text is white."""


def coloring_of(network: Network, by: str | None) -> Coloring:
    """The way of colouring that is meant.

    Args:
        network: what is coloured.
        by: a metric, ``share``, ``cause``, ``type`` or ``change``, ``weight:`` or ``activation:``
            and a metric; None for the first there is.

    Raises:
        UsageError: nothing was measured, or not this.
    """
    ways = colorings(network)
    if not ways:
        raise UsageError(f"run {network.run['run_id']!r} has measured nothing that has a colour")
    if by is None:
        return ways[0]
    found = next((way for way in ways if way.id in (by, f"each:{by}")), None)
    if found is None:
        known = ", ".join(way.id.removeprefix("each:") for way in ways)
        raise UsageError(f"there is nothing to colour by {by!r}; there is {known}")
    return found


def dot_text(network: Network, way: Coloring) -> str:
    """The network in Graphviz's language; modules are clusters.

    Args:
        network: what is drawn.
        way: its colours.
    """
    items, folding = network.items, network.folding
    drawn = {k for k, item in enumerate(items) if item.type not in QUANTIZERS}
    if len(items) <= _MOST_QUANTIZERS:
        drawn = set(range(len(items)))
    group_of = dict(enumerate(folding.group_of))
    for k, item in enumerate(items):
        if item.type == NODE:  # a quantizer is where it is read
            group_of |= {q: group_of[k] for q in item.quantizers if q not in group_of}
    inside: dict[int | None, list[int]] = {}
    for k in sorted(drawn):
        group = group_of.get(k)
        inside.setdefault(group, []).append(k)
    below: dict[int | None, list[int]] = {}
    for number, group_ in enumerate(folding.groups):
        below.setdefault(group_.parent, []).append(number)

    def block(group: int | None, indent: str) -> Iterator[str]:
        for k in inside.get(group, ()):
            yield f"{indent}n{k} [{_node(network, way, k)}];"
        for number in below.get(group, ()):
            yield f"{indent}subgraph cluster_{number} {{"
            yield f"{indent}  label={_quoted(folding.groups[number].label)};"
            yield from block(number, indent + "  ")
            yield indent + "}"

    title = f"{network.run['model']}: {way.label}; {way.note}"
    lines = [
        "digraph network {",
        f"  graph [label={_quoted(title)}, labelloc=t, fontname=Helvetica, color=gray];",
        "  graph [newrank=true];",
        "  node [style=filled, fontname=Helvetica, fontsize=10, color=gray40];",
        "  edge [color=gray40, arrowsize=0.6];",
        *block(None, "  "),
        *(f"  n{a} -> n{b};" for a, b in _edges(network, drawn)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _node(network: Network, way: Coloring, k: int) -> str:
    item = network.items[k]
    fill = css_color(way, k) or "#ffffff"
    last = [part for part in item.name.split("/") if part] or [item.name]
    what = item.op_type if item.type == NODE else item.type
    label = [part for part in (f"{what} {last[-1]}", way.texts[k]) if part]
    told = f"{item.name}: {way.label} {way.texts[k] or 'not measured'}"
    ink = "#ffffff" if _luminance(fill) < _DARK else "#111111"
    return (
        f'shape={_SHAPES[item.type]}, fillcolor="{fill}", fontcolor="{ink}", '
        f"label={_quoted(*label)}, tooltip={_quoted(told)}"
    )


def _edges(network: Network, drawn: set[int]) -> list[tuple[int, int]]:
    """The edges between what is drawn; what is not drawn is passed over."""
    readers: dict[int, list[int]] = {}
    for a, b in network.edges:
        readers.setdefault(a, []).append(b)
    found: list[tuple[int, int]] = []
    for a in sorted(drawn):
        waiting, seen = [*readers.get(a, ())], set[int]()
        while waiting:
            b = waiting.pop(0)
            if b in seen:
                continue
            seen.add(b)
            if b in drawn:
                found.append((a, b))
            else:
                waiting += readers.get(b, ())
    return found


def _quoted(*lines: str) -> str:
    """A string of DOT: its backslashes would be escapes, and its quotes would end it."""
    escaped = [visible(x).replace("\\", "\\\\").replace('"', '\\"') for x in lines]
    return '"' + "\\n".join(escaped) + '"'


def _luminance(color: str) -> float:
    """Of a colour ``#rrggbb``, 0 to 1, by WCAG 2."""
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def svg_text(dot: str) -> str:
    """DOT as drawn by Graphviz.

    Raises:
        UsageError: Graphviz is not there, or fails.
    """
    program = shutil.which("dot")
    if program is None:
        raise UsageError(
            "an SVG needs Graphviz, whose program dot is not on PATH; install it, such as by "
            "apt-get install graphviz, or write DOT"
        )
    done = subprocess.run(  # noqa: S603
        [program, "-Tsvg"], input=dot.encode(), capture_output=True, check=False
    )
    if done.returncode:
        raise UsageError(f"Graphviz fails: {done.stderr.decode(errors='replace').strip()[:300]}")
    return done.stdout.decode()


def model_explorer_text(network: Network, way: Coloring) -> str:
    """Node data of Model Explorer, as JSON: the values and colours of one way.

    Its keys are the tensors that nodes give out, its colours those of the page, as Model Explorer's
    own gradient is linear and errors are not. A value that JSON has no number for is a text.
    """
    metric = next((m for m in Metric if way.id.endswith(f":{m.value}")), None)
    results: dict[str, dict[str, Any]] = {}
    for k, item in enumerate(network.items):
        color = css_color(way, k)
        key = item.output or item.name
        if color is None or item.type not in (NODE, *QUANTIZERS) or key in results:
            continue
        row = network.items[way.source.get(k, k)].row
        value: float | str | None = way.texts[k]
        if metric is not None and row is not None:
            number = row[metric.column]
            value = number if number is not None and math.isfinite(number) else way.texts[k]
        results[key] = {
            "value": value, "bgColor": color,
            "textColor": "#ffffff" if _luminance(color) < _DARK else "#111111",
        }  # fmt: skip
    name = metric.value if metric is not None else way.label
    found = {network.name or "graph": {"name": f"hmct-track {name}", "results": results}}
    return json.dumps(found, indent=1, allow_nan=False) + "\n"
