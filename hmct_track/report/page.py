"""One self-contained HTML page of tables and figures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jinja2 import Environment

from hmct_track.report.style import png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; }
  body { margin: 2rem auto; padding: 0 1rem; }
  pre { overflow: auto; max-height: 40rem; padding: 1rem; background: #8881; border-radius: 6px; }
  img { max-width: 100%; margin: .5rem 0 1.5rem; background: #fff; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
  dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
  nav a { margin-right: 1rem; }
  :root { color-scheme: light dark; }
</style>
<h1>{{ title }}</h1>
<dl>{% for name, value in facts.items() %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
<nav>{% for s in sections %}<a href="#s{{ loop.index }}">{{ s.title }}</a>{% endfor %}</nav>
{% for s in sections %}<h2 id="s{{ loop.index }}">{{ s.title }}</h2>
{% for text in s.texts %}<pre>{{ text }}</pre>
{% endfor %}{% for image in s.images %}
<img alt="{{ s.title }}" src="data:image/png;base64,{{ image }}">
{% endfor %}{% endfor %}</html>
"""


@dataclass(frozen=True)
class Section:
    """A heading with texts and figures below it."""

    title: str
    texts: Sequence[str] = ()
    figures: Sequence[Figure] = field(default=(), repr=False)

    @property
    def images(self) -> list[str]:
        """The figures as PNG in base64."""
        return [base64.b64encode(png(figure)).decode() for figure in self.figures]


def render_page(title: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The page as HTML. Names and values are escaped; nothing is loaded from elsewhere."""
    template = Environment(autoescape=True).from_string(_TEMPLATE)
    return template.render(title=title, facts=facts, sections=sections)
