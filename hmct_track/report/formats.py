"""A network for other programs: Graphviz's DOT and SVG, and node data of Model Explorer."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from hmct_track.errors import UsageError
from hmct_track.report.folding import FOLDED, Group, opened
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


def dot_text(network: Network, way: Coloring, *, folded: bool = True) -> str:
    """The network in Graphviz's language; modules are clusters, or one shape where folded.

    Args:
        network: what is drawn.
        way: its colours.
        folded: whether a network that is too large to be read has modules folded, as a page
            of ten thousand nodes has.
    """
    items, folding = network.items, network.folding
    groups = folding.groups
    opened_ = opened(folding, FOLDED) if folded else set(range(len(groups)))
    drawn = {k for k, item in enumerate(items) if item.type not in QUANTIZERS}
    if len(items) <= _MOST_QUANTIZERS and len(opened_) == len(groups):
        drawn = set(range(len(items)))
    group_of = dict(enumerate(folding.group_of))
    for k, item in enumerate(items):
        if item.type == NODE:  # a quantizer is where it is read
            group_of |= {q: group_of[k] for q in item.quantizers if q not in group_of}
    inside: dict[int | None, list[int]] = {}
    for k in sorted(drawn):
        inside.setdefault(group_of.get(k), []).append(k)
    below: dict[int | None, list[int]] = {}
    for number, group_ in enumerate(groups):
        below.setdefault(group_.parent, []).append(number)

    def block(group: int | None, indent: str) -> Iterator[str]:
        for k in inside.get(group, ()):
            yield f"{indent}n{k} [{_node(network, way, k)}];"
        for number in below.get(group, ()):
            if number not in opened_:
                yield f"{indent}g{number} [{_folded(network, way, groups[number])}];"
                continue
            yield f"{indent}subgraph cluster_{number} {{"
            yield f"{indent}  label={_quoted(groups[number].label)};"
            yield from block(number, indent + "  ")
            yield indent + "}"

    def shown(k: int) -> str:
        """What stands for an item: itself, or the outermost group that is folded."""
        found, group = f"n{k}", group_of.get(k)
        while group is not None:
            found = found if group in opened_ else f"g{group}"
            group = groups[group].parent
        return found

    ends = ((shown(a), shown(b)) for a, b in _edges(network, drawn))
    title = f"{network.run['model']}: {way.label}; {way.note}"
    lines = [
        "digraph network {",
        f"  graph [label={_quoted(title)}, labelloc=t, fontname=Helvetica, color=gray];",
        "  graph [newrank=true];",
        "  node [style=filled, fontname=Helvetica, fontsize=10, color=gray40];",
        "  edge [color=gray40, arrowsize=0.6];",
        *block(None, "  "),
        *dict.fromkeys(f"  {a} -> {b};" for a, b in ends if a != b),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _node(network: Network, way: Coloring, k: int) -> str:
    item = network.items[k]
    last = [part for part in item.name.split("/") if part] or [item.name]
    what = item.op_type if item.type == NODE else item.type
    label = [part for part in (f"{what} {last[-1]}", way.texts[k]) if part]
    told = f"{item.name}: {way.label} {way.texts[k] or 'not measured'}"
    return _shape(_SHAPES[item.type], css_color(way, k), label, told)


def _folded(network: Network, way: Coloring, group: Group) -> str:
    """A folded module: in the colour of its worst node, or of categories in the commonest."""
    inner = [k for n in group.nodes for k in (n, *network.items[n].quantizers)]
    known = [k for k in inner if way.t[k] is not None]
    count = Counter(way.t[k] for k in known)
    by = (lambda k: count[way.t[k]]) if way.kind == "category" else (lambda k: _badness(way.t[k]))
    best = max(known, key=by, default=None)
    text = "not measured" if best is None else way.texts[best]
    if best is not None and way.kind != "category":
        text = f"worst {text}"
    told = f"{group.label}: {len(group.nodes)} nodes, {way.label} {text}"
    if best is not None and way.kind != "category":
        told += f" at {network.items[best].name}"
    fill = None if best is None else css_color(way, best)
    return _shape("folder", fill, [f"{group.label}: {len(group.nodes)} nodes", text], told)


def _badness(t: float | None) -> float:
    """Of a shade; what is no number is the worst."""
    return -1.0 if t is None else 2.0 if t < 0 else t


def _shape(shape: str, fill: str | None, label: Sequence[str], told: str) -> str:
    fill = fill or "#ffffff"
    ink = "#ffffff" if _luminance(fill) < _DARK else "#111111"
    return (
        f'shape={shape}, fillcolor="{fill}", fontcolor="{ink}", '
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

    Its keys are names of nodes, which are the ids that Model Explorer's adapter for ONNX gives; its
    colours are those of the page, as Model Explorer's own gradient is linear and errors are not. A
    value that JSON has no number for is a text.
    """
    metric = next((m for m in Metric if way.id.endswith(f":{m.value}")), None)
    results: dict[str, dict[str, Any]] = {}
    for k, item in enumerate(network.items):
        color = css_color(way, k)
        if color is None or item.type not in (NODE, *QUANTIZERS) or item.name in results:
            continue
        row = network.items[way.source.get(k, k)].row
        value: float | str | None = way.texts[k]
        if metric is not None and row is not None:
            number = row[metric.column]
            value = number if number is not None and math.isfinite(number) else way.texts[k]
        results[item.name] = {
            "value": value, "bgColor": color,
            "textColor": "#ffffff" if _luminance(color) < _DARK else "#111111",
        }  # fmt: skip
    name = metric.value if metric is not None else way.label
    found = {network.name or "graph": {"name": f"hmct-track {name}", "results": results}}
    return json.dumps(found, indent=1, allow_nan=False) + "\n"
