"""A network as a page that needs nothing but itself: the graph, its nodes, where it is from.

Names go into the page as JSON and as escaped text, never as markup; the script sets text only. A
policy in the page forbids the browser to load anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from hmct_track.report.network import NODE, Network
from hmct_track.report.shades import (
    CATEGORIES,
    NOT_A_NUMBER,
    PALETTES,
    Coloring,
    by_badness,
    colorings,
    shares,
)
from hmct_track.report.tables import format_value
from hmct_track.text import visible
from hmct_track.types import Metric

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
_MOST_ROWS = 1000
"""Rows of the list; the search finds the others."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_GRAPH = """
<section class="hg" aria-label="graph of the network">
<div class="hg-bar">
 <label>Colour <select class="hg-colour"></select></label>
 <label>Search <input type="search" class="hg-search" autocomplete="off" spellcheck="false"
  placeholder="name, operator or type"></label>
 <label><input type="checkbox" class="hg-quantizers"> weights and activations</label>
 <span class="hg-buttons">
 <button type="button" class="hg-fold">Fold all</button>
 <button type="button" class="hg-unfold">Unfold all</button>
 <button type="button" class="hg-worst">Worst</button>
 <button type="button" class="hg-fit">Whole</button>
 <button type="button" class="hg-in" aria-label="zoom in">+</button>
 <button type="button" class="hg-out" aria-label="zoom out">&minus;</button>
 <button type="button" class="hg-theme" aria-label="switch between light and dark">Light or dark
 </button></span>
</div>
<ul class="hg-found" aria-label="nodes found" hidden></ul>
<canvas class="hg-strip" height="40" role="img" aria-label="all nodes from input to output, each a
 bar in its colour"></canvas>
<div class="hg-main">
 <div class="hg-stage">
 <div class="hg-canvas" tabindex="0" role="application" aria-label="graph; the arrow keys go along
 it, what is reached is read out below" aria-describedby="hg-keys"></div>
 <div class="hg-legend"></div>
 </div>
 <aside class="hg-panel" aria-label="details of the chosen node" tabindex="0"></aside>
</div>
<img class="hg-print" alt="the graph as it was on the screen">
<p class="hg-status" role="status" aria-live="polite"></p>
<p class="hg-keys" id="hg-keys"><b>Keys in the graph:</b> arrows go to what feeds
 and what is fed, and to neighbours; Enter opens a group or shows
 details; f folds what the node is in; / searches; w goes to
 the worst; 0 shows all; + and - zoom; Escape leaves the search.</p>
<script type="application/json" class="hg-data">{{ data }}</script>
</section>
"""
_LIST = """
<script>document.documentElement.classList.add("hg-drawing");</script>
<section class="hg-list" aria-label="nodes as a table">
<label>Filter <input type="search" class="hg-filter" autocomplete="off"
 spellcheck="false" placeholder="text in a row; several words must all be there"></label>
<span class="hg-count" role="status"></span>
<div class="hg-scroll"><table aria-label="nodes, the worst first"><thead><tr>
{%- for name, number in table.header %}<th scope="col" aria-sort="none"
 {%- if number %} class="hg-number"{% endif %}><button type="button"
 {%- if not name %} aria-label="place"{% endif %}>{{ name }}</button></th>
{%- endfor %}</tr></thead><tbody>
{%- for position, cells in table.rows %}<tr data-item="{{ position }}">
{%- for text, key in cells %}<td{% if key is not none %} data-key="{{ key }}" class="hg-number"
{%- endif %}>{% if loop.index0 == 1 %}<button type="button" class="hg-go">{{ text }}</button>
{%- else %}{{ text }}{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{%- if table.rows|length > 40 %}<p class="hg-paper">Printed are the first 40 of
 {{ table.rows|length }} rows; the page has all.</p>{% endif %}
{%- if table.left_out %}<p>The {{ table.rows|length }} worst of
 {{ table.rows|length + table.left_out }};
 the search of the graph finds all.</p>{% endif %}</section>
"""


@dataclass(frozen=True)
class _List:
    """The nodes as a table; each cell is a text and, where it is a number, what sorts it."""

    header: list[tuple[str, bool]]
    rows: list[tuple[int, list[tuple[str, float | None]]]]
    left_out: int


@cache
def asset(folder: str, name: str) -> str:
    """A file that goes into pages."""
    text = (resources.files("hmct_track.report") / folder / name).read_text(encoding="utf-8")
    # A browser takes none of these in a page; in JavaScript they stand in strings only.
    return _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}", text)


def libraries() -> list[dict[str, str]]:
    """What is drawn with: package, version, licence and hash of each."""
    found: list[dict[str, str]] = json.loads(asset("vendor", "libraries.json"))
    return found


def scripts() -> str:
    """The script elements, for the end of a page; once, whatever is in it."""
    told = "; ".join(f"{x['package']} {x['version']} ({x['license']})" for x in libraries())
    licences = "\n\n".join(asset("vendor", x["license_file"]).strip() for x in libraries())
    sources = [asset("vendor", x["file"]) for x in libraries()] + [asset("web", "graph.js")]
    for source in sources:
        if re.search(r"</script|<!--", source, re.IGNORECASE):
            raise AssertionError("a script would end its element")
    comment = f"/* {told}\n\n{licences} */"
    return "".join(f"<script>{source}</script>\n" for source in (comment, *sources))


def stylesheet() -> str:
    """The styles of graph, list and page."""
    return asset("web", "graph.css")


def _script_safe(value: Any) -> str:
    """JSON that no HTML parser mistakes for markup."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def payload(network: Network, ways: Sequence[Coloring]) -> dict[str, Any]:
    """What the script of the page is given: items, edges, groups and colours. Plain JSON."""
    groups = [
        {"label": visible(g.label), "kind": g.kind, "up": g.parent, "n": len(g.nodes),
         "open": g.opened}
        for g in network.folding.groups
    ]  # fmt: skip
    return {
        "items": [_item(network, k) for k in range(len(network.items))],
        "edges": network.edges,
        "groups": groups,
        "ways": [
            {"id": w.id, "label": w.label, "heading": w.heading, "kind": w.kind, "t": w.t,
             "texts": w.texts, "legend": w.legend, "note": w.note, "source": w.source}
            for w in ways
        ],
        "palettes": PALETTES,
        "categories": CATEGORIES,
        "nan": NOT_A_NUMBER,
    }  # fmt: skip


def _item(network: Network, position: int) -> dict[str, Any]:
    item = network.items[position]
    group = network.folding.group_of[position] if item.type == NODE else None
    found: dict[str, Any] = {"name": visible(item.name), "type": item.type}
    optional = {
        "op": item.op_type if item.type == NODE else "",
        "q": item.quantizers,
        "qtype": ", ".join(item.qtypes),
        "values": _values(network, position),
        "facts": [(name, visible(text)) for name, text in item.facts],
        "said": [(name, visible(text)) for name, text in item.said],
        "change": visible(item.change),
        "series": item.series,
        "channels": item.channels,
    }
    if group is not None:
        found["g"] = group
    return found | {name: value for name, value in optional.items() if value}


def _values(network: Network, position: int) -> list[tuple[str, str, str, str]]:
    """Metric, value, interval and ranks of an item, in words."""
    item = network.items[position]
    if item.row is None:
        return []
    found = []
    for metric in sorted(Metric, key=lambda m: m is not network.metric):
        unit = f" {metric.unit}" if metric.unit else ""
        sure = item.sure.get(metric)
        span = ranks = ""
        if sure is not None and sure["low"] is not None and sure["high"] is not None:
            low, high = (f"{sure[end]:.2f}" if unit else format_value(sure[end])
                         for end in ("low", "high"))  # fmt: skip
            span = f"{low} to {high}{unit}"
            span += f" ({100 * sure['level']:.0f} %)"
        if sure is not None and sure["rank_low"] is not None:
            ranks = f"{sure['rank_low']} to {sure['rank_high']}"
        if sure is not None and not sure["told_from_zero"]:
            span += "; no more than rounding" if span else "no more than rounding"
        value = item.row[metric.column]
        text = f"{value:.6g}" if value is not None else "nan"
        found.append((metric.value, text + unit, span, ranks))
    if network.metric.value == found[0][0]:
        found[0] = (*found[0][:3], found[0][3] or str(item.row["rank"]))
    return found


def _listed(network: Network) -> _List:
    """Everything that was ranked, the worst first."""
    of, places = shares(network), list(by_badness(network))
    metrics = sorted(Metric, key=lambda m: m is not network.metric)
    change = any(item.change for item in network.items)
    header = [("", True), ("node", False), ("what", False), ("operator", False)]
    header += [(m.value, True) for m in metrics]
    header += [("share of the summed mse", True), ("type", False), ("cause", False)]
    header += [("change", True)] if change else []
    rows = []
    for number, k in enumerate(places[:_MOST_ROWS], start=1):
        item = network.items[k]
        row = item.row or {}
        ops = [i.op_type for i in network.nodes if k in i.quantizers]
        op = item.op_type if item.type == NODE else ", ".join(dict.fromkeys(ops))
        cells: list[tuple[str, float | None]] = [
            (str(number), float(number)), (visible(item.name), None), (item.type, None), (op, None),
        ]  # fmt: skip
        for metric in metrics:
            value = row[metric.column]
            shown = "nan" if value is None else f"{value:.6g}"
            cells.append((shown, metric.badness(value)))
        share = of.get(k)
        cells.append(("" if share is None else f"{100 * share:.3g} %", share or 0.0))
        cells += [(", ".join(item.qtypes), None), (item.cause, None)]
        cells += [(visible(item.change), item.drop or 0.0)] if change else []
        rows.append((k, cells))
    return _List(header, rows, max(len(places) - _MOST_ROWS, 0))


def graph_html(network: Network, way: Coloring | None = None) -> str:
    """The graph as an element; a page needs `stylesheet` and `scripts` once as well.

    Args:
        network: what is drawn.
        way: the colours that are shown first; by default those of the metric or the change.
    """
    from markupsafe import Markup

    ways = colorings(network)
    if way is not None:
        ways.sort(key=lambda w: w.id != way.id)  # stable
    data = Markup(_script_safe(payload(network, ways)))  # noqa: S704
    return _rendered(_GRAPH, data=data)


def list_html(network: Network) -> str:
    """The sortable list of what was ranked, as an element."""
    return _rendered(_LIST, table=_listed(network))


def _rendered(source: str, **given: Any) -> str:
    from jinja2 import Environment

    text: str = Environment(autoescape=True).from_string(source).render(**given)
    return text
