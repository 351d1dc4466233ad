"""One self-contained HTML page of a run: answer, network, tables, figures, where it is from.

Names and values are escaped; nothing is loaded from elsewhere, which a policy in the page forbids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hmct_track.report.drawings import Figures
from hmct_track.report.graph_page import POLICY, graph_html, list_html, scripts, stylesheet
from hmct_track.report.html import Table, encoded, template

if TYPE_CHECKING:
    from hmct_track.report.network import Network
    from hmct_track.report.shades import Coloring

# On a phone tables and figures scroll in themselves, so that they can be read and the page stays. A
# figure fills the window while its box is checked: no script, and no second copy of the image.
_TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>{{ css }}
  figure { margin: 1rem 0; overflow-x: auto; }
  figure img { display: block; max-width: 100%; min-width: min(100%, 36rem); background: #fff; }
  figure label { display: block; cursor: zoom-in; max-width: 75rem; }
  label input.zoom { position: absolute; opacity: 0; }
  label input.zoom:focus-visible + span { outline: 3px solid #0072b2; display: block; }
  label input.zoom:checked + span { position: fixed; inset: 0; z-index: 9; overflow: auto; }
  label input.zoom:checked + span { background: #fff; cursor: zoom-out; }
  label input.zoom:checked + span img { max-width: none; width: max(100%, 100rem); }
  summary { cursor: pointer; margin: .6rem 0; color: var(--link); }
  nav { margin: .5rem 0; } nav a { margin-right: 1rem; }
  @media (max-width: 40rem) { figure img { max-width: none; width: 40rem; } }
  @media print { nav, summary { display: none; } figure img { max-height: 22cm; min-width: 0; }
    section.step div { max-height: none !important; overflow: visible !important; }
    section.step table { font-size: 7pt !important; }
    section.step td:not([style*=right]), section.step td:not([style*=right]) span
      { white-space: normal !important; overflow-wrap: anywhere; min-width: 0 !important; }
    section.step td:first-child:not([style*=right]), section.step td[style*=right]:first-child + td
      { min-width: 20em !important; } }
</style>
<body class="hg-page">
<header><h1>{{ title }}</h1>
{%- if said %}<dl class="hg-said">{% for asked, answers in said %}<dt>{{ asked }}</dt>
<dd><ul>{% for answer in answers %}<li>{{ answer }}</li>{% endfor %}</ul></dd>{% endfor %}</dl>
{%- endif %}</header>
<nav aria-label="parts of the page">{% if graph %}<a href="#network">Network</a>
<a href="#nodes">Nodes</a> {% endif %}
{%- for s in sections %}<a href="#s{{ loop.index }}">{{ s.title }}</a> {% endfor %}
<a href="#from">Where this is from</a></nav>
{% if graph %}<h2 id="network">Network</h2>
{{ graph }}
<h2 id="nodes">Nodes</h2>
{{ list }}{% endif %}
{% for s in sections %}<section class="step"><h2 id="s{{ loop.index }}">{{ s.title }}</h2>
{{ show(s.table, none) }}{% if s.table.rows|length > 40 %}<p class="hg-paper">Printed are
 the first 40 of {{ s.table.rows|length }} rows; the page has all.</p>{% endif %}{% if s.images %}
<details><summary>{{ s.images|length }} figure{{ "s" if s.images|length > 1 }}</summary>
{% for name, image in s.images %}
<figure><label title="click to enlarge, and again to go back"><input type="checkbox" class="zoom"
 aria-label="enlarge {{ s.title }}: {{ name }}"><span>
<img alt="{{ s.title }}: {{ name }}" src="data:image/png;base64,{{ image }}">
</span></label></figure>
{% endfor %}</details>{% endif %}</section>
{% endfor %}<footer><h2 id="from">Where this is from</h2>
<dl>{% for name, value in facts.items() %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
</footer>
{{ scripts }}</html>
"""


@dataclass(frozen=True)
class Section:
    """A heading with a table and figures below it."""

    title: str
    table: Table
    figures: Figures = field(default_factory=Figures, repr=False)

    @property
    def images(self) -> list[tuple[str, str]]:
        """The figures by name, as PNG in base64."""
        return encoded(self.figures)


def render_page(
    title: str,
    facts: Mapping[str, str],
    sections: Sequence[Section],
    said: Sequence[tuple[str, str]] = (),
    network: Network | None = None,
    way: Coloring | None = None,
) -> str:
    """The page as HTML.

    Args:
        title: its heading.
        facts: where it is from.
        sections: tables and figures.
        said: questions and their answers, each a sentence; they come first.
        network: what is drawn as a graph and listed.
        way: its colours when it opens.
    """
    from markupsafe import Markup

    asked: dict[str, list[str]] = {}
    for question, answer in said:
        asked.setdefault(question, []).append(answer)
    made = {"css": stylesheet()}
    if network is not None:
        made |= {
            "graph": graph_html(network, way),
            "list": list_html(network),
            "scripts": scripts(),
        }
    safe = {name: Markup(text) for name, text in made.items()}  # noqa: S704
    page: str = template(_TEMPLATE).render(
        title=title, facts=facts, sections=sections, said=list(asked.items()), policy=POLICY, **safe
    )
    return page
