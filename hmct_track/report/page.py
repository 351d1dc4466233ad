"""One self-contained HTML page of tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hmct_track.report.html import Table, encoded, template

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# On a phone tables and figures scroll in themselves, so that they can be read and the page stays. A
# figure fills the window while its box is checked: no script, and no second copy of the image.
_TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; }
  body { margin: 2rem auto; padding: 0 1rem; }
  h1, h2 { overflow-wrap: anywhere; line-height: 1.2; }
  h2 { margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1rem; }
  figure { margin: 1rem 0; overflow-x: auto; }
  img { display: block; max-width: 100%; min-width: min(100%, 36rem); background: #fff; }
  label { display: block; cursor: zoom-in; }
  label input { position: absolute; opacity: 0; }
  label input:focus-visible + span { outline: 3px solid #0072b2; display: block; }
  label input:checked + span { position: fixed; inset: 0; z-index: 9; overflow: auto; }
  label input:checked + span { background: #fff; cursor: zoom-out; }
  label input:checked + span img { max-width: none; width: max(100%, 100rem); }
  @media (max-width: 40rem) { img { max-width: none; width: 40rem; } }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
  dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
  nav a { margin-right: 1rem; }
</style>
<h1>{{ title }}</h1>
<dl>{% for name, value in facts.items() %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
<nav>{% for s in sections %}<a href="#s{{ loop.index }}">{{ s.title }}</a> {% endfor %}</nav>
{% for s in sections %}<h2 id="s{{ loop.index }}">{{ s.title }}</h2>
{{ show(s.table, none) }}{% for name, image in s.images %}
<figure><label title="click to enlarge, and again to go back"><input type="checkbox"
 aria-label="enlarge {{ s.title }}: {{ name }}"><span>
<img alt="{{ s.title }}: {{ name }}" src="data:image/png;base64,{{ image }}">
</span></label></figure>
{% endfor %}{% endfor %}</html>
"""


@dataclass(frozen=True)
class Section:
    """A heading with a table and figures below it."""

    title: str
    table: Table
    figures: Mapping[str, Figure] = field(default_factory=dict, repr=False)

    @property
    def images(self) -> list[tuple[str, str]]:
        """The figures by name, as PNG in base64."""
        return encoded(self.figures)


def render_page(title: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The page as HTML. Names and values are escaped; nothing is loaded from elsewhere."""
    page: str = template(_TEMPLATE).render(title=title, facts=facts, sections=sections)
    return page
