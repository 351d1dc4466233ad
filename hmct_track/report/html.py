"""Tables of an analysis' rows, and how a notebook and the page show them with their figures."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from hmct_track.report.confidence import ranges
from hmct_track.report.tables import adapted_values
from hmct_track.types import Metric

if TYPE_CHECKING:
    from hmct_track.report.drawings import Figures

Rows = Sequence[Mapping[str, Any]]

_SHOWN = 20
"""Rows that a notebook shows."""

# Notebooks have no style sheet of ours, and text and background of their own theme. Lists break
# between names, and never in one: what is wider than the table's place is scrolled to.
_TABLE = """
{%- macro show(table, most) -%}
{%- set cell = "padding:.2em .7em;border-bottom:1px solid #8884;" -%}
{%- set left = cell ~ "text-align:left;min-width:9em;" -%}
{%- set right = cell ~ "text-align:right;white-space:nowrap;" -%}
<div style="overflow:auto;max-height:40rem">
<table style="border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9em">
<thead><tr>{% for name in table.header %}
<th style="{{ right if loop.index0 in table.numbers else left }}">{{ name }}</th>{% endfor %}
{%- if table.shares %}<th style="{{ left }}">{{ table.shares_are }}</th>{% endif %}</tr></thead>
<tbody>{% for row in table.rows[:most] %}<tr>{% for value in row %}
<td style="{{ right if loop.index0 in table.numbers else left }}">
{%- for part in value.split(", ") %}<span style="white-space:nowrap">{{ part }}
{%- if not loop.last %}, {% endif %}</span>{% if not loop.last %}<wbr>{% endif %}
{%- endfor %}</td>{% endfor %}
{%- if table.shares %}{% set share = table.shares[loop.index0] %}
<td style="{{ left }}min-width:10em">{% if share is none %}no value{% else %}
<div style="height:.8em;min-width:1px;print-color-adjust:exact;background:#0072b2;
 width:{{ "%.2f" % (100 * share) }}%"></div>
{%- endif %}</td>{% endif %}</tr>
{% endfor %}</tbody></table></div>
{%- endmacro -%}
"""
_FRAGMENT = """
<p><b>{{ title }}</b><br>run {{ run_id }}</p>
{% for name, table, images in parts %}{% if name %}<p><b>{{ name }}</b></p>{% endif %}
{{ show(table, shown) }}
{% if table.rows|length > shown %}<p>and {{ table.rows|length - shown }} more rows</p>{% endif %}
{% for stem, image in images %}
{% if loop.index == 2 %}<details><summary>{{ loop.length - 1 }} more figures</summary>{% endif %}
<img alt="{{ stem }}" style="max-width:100%;background:#fff"
 src="data:image/png;base64,{{ image }}">
{% if loop.last and loop.index > 1 %}</details>{% endif %}{% endfor %}
{% endfor %}
"""


@dataclass(frozen=True)
class Table:
    """Texts in rows and columns, perhaps with a bar behind each row."""

    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    """Columns that are numbers."""
    shares: Sequence[float | None] = ()
    """Lengths of the bars, 0 to 1."""
    shares_are: str = ""


def ranking(
    rows: Rows,
    metrics: Sequence[Metric],
    sure: Mapping[int, Mapping[str, Any]] | None = None,
    shared: Mapping[int, Mapping[str, Any]] | None = None,
) -> Table:
    """Of rows of the query ``sensitivity``: nodes, metrics, each node's part of the worst error.

    With rows of the query ``intervals`` by position, also the first metric's interval and the
    ranks that a node may have, where several samples tell them; with rows of the query ``shares``
    by position, also each node's share of the whole model's error.

    The parts are of the first metric; of a decibel they are those of the noise itself.
    """
    consumed = any(row["consumers"] for row in rows)
    shown = [adapted_values([row[metric.column] for row in rows], metric) for metric in metrics]
    spans = ranges(rows, sure or {}, metrics[0])
    header = ["", "node", *(["read by"] if consumed else []), *(column.name for column in shown)]
    texts = len(header) - len(metrics)
    header += ["interval", "ranks"] if spans else []
    header += ["share", "share interval", "interacts"] if shared else []
    lines = [
        [
            str(rank),
            row["subject"],
            *([", ".join(row["consumers"] or ())] if consumed else []),
            *(column.texts[rank - 1] for column in shown),
            *(spans[rank - 1] if spans else ()),
            *(_shared(shared.get(row["position"])) if shared else ()),
        ]
        for rank, row in enumerate(rows, start=1)
    ]
    errors = [_error(row[metrics[0].column], metrics[0]) for row in rows]
    worst = max((e for e in errors if e is not None), default=0.0)
    return Table(
        tuple(header),
        lines,
        frozenset({0, *range(texts, len(header))}),
        [None if e is None else e / worst if worst else 0.0 for e in errors],
        f"error by {metrics[0]}, of the worst",
    )


def _shared(row: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if row is None:
        return "", "", ""
    low, high = row["share_low"], row["share_high"]
    span = "" if low is None or high is None else f"{100 * low:.1f} .. {100 * high:.1f} %"
    return f"{100 * row['share']:.1f} %", span, "yes" if row["interacts"] else ""


def _error(value: float | None, metric: Metric) -> float | None:
    """A metric as an error that is 0 at best; None where it has no length."""
    if value is None or math.isnan(value):
        return None
    error = metric.error(value)
    return None if math.isinf(error) else error


def distributions(rows: Rows) -> Table:
    """Of rows of the query ``distribution``."""
    columns = ("min", "max", "mean", "std", "q01", "median", "q99", "threshold", "nan", "inf")
    return plain_rows(rows, ("node", "kind", "series"), columns)


def channels(rows: Rows) -> Table:
    """Of rows of the query ``channel_distribution``: a row per node, about its widest channel."""
    nodes: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        nodes.setdefault(row["node"], []).append(row)
    found = []
    for node, boxes in nodes.items():
        ranges = [box["max"] - box["min"] for box in boxes]
        widest = boxes[max(range(len(boxes)), key=lambda k: (not math.isnan(ranges[k]), ranges[k]))]
        usual = median(ranges)
        found.append(
            {
                "node": node,
                "channels": len(boxes),
                "widest": widest["channel"],
                "min": widest["min"],
                "max": widest["max"],
                "times the median range": (widest["max"] - widest["min"]) / usual
                if usual
                else None,
                "outliers": sum(box["outliers"] for box in boxes),
            }
        )
    columns = ("channels", "widest", "min", "max", "times the median range", "outliers")
    return plain_rows(found, ("node",), columns)


def curves(rows: Rows, metric: Metric) -> Table:
    """Of rows of the query ``error_accumulation``: the end and the worst point of each curve."""
    points: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        points.setdefault(row["curve"], []).append(row)
    worst = []
    for every in points.values():
        valued = [point for point in every if point["value"] is not None]
        badly = max(valued, key=lambda p: metric.badness(p["value"]), default=every[-1])
        worst.append(badly)
    ends = [every[-1] for every in points.values()]
    # The two columns are compared, so that they have the same digits.
    shown = adapted_values([point["value"] for point in (*worst, *ends)], metric)
    lines = [
        [curve, place["node"], low, end]
        for curve, place, low, end in zip(
            points, worst, shown.texts[: len(worst)], shown.texts[len(worst) :], strict=True
        )
    ]
    header = ("curve", "worst at", f"worst {shown.name}", f"{shown.name} at the last node")
    return Table(header, lines, frozenset({2, 3}))


def partial_steps(rows: Rows, metric: Metric) -> Table:
    """Of rows of the query ``partial_quantization``."""
    values = [row[name] for name in ("single", "partial") for row in rows]
    shown = adapted_values(values, metric)
    lines = [
        [str(row["step"]), row["node"], "" if row["single"] is None else alone, text]
        for row, alone, text in zip(
            rows, shown.texts[: len(rows)], shown.texts[len(rows) :], strict=True
        )
    ]
    alone, without = f"{shown.name} of it alone", f"{shown.name} without it and those before"
    return Table(("step", "node", alone, without), lines, frozenset({2, 3}))


def worst_samples(rows: Rows, metric: Metric) -> Table:
    """Of rows of the query ``sensitive_samples``."""
    shown = adapted_values([row["value"] for row in rows], metric)
    lines = [
        [str(row["sample"]), str(row["source"]), text]
        for row, text in zip(rows, shown.texts, strict=True)
    ]
    return Table(("sample", "source", shown.name), lines, frozenset({2}))


def calibrations(rows: Rows) -> Table:
    """Of rows of the query ``calibration``."""
    return plain_rows(rows, ("node", "kind", "qtype"), ("scales", "threshold"))


def whole_table(rows: Rows) -> Table:
    """Of rows of any query: all their columns."""
    names = list(rows[0]) if rows else []
    numbers = [n for n in names if any(isinstance(row[n], int | float) for row in rows)]
    return plain_rows(rows, [n for n in names if n not in numbers], numbers)


def plain_rows(rows: Rows, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """Of any rows: some columns as they are, then some as numbers."""
    lines = [
        [*(str(row[name]) for name in texts), *(_number(row[name]) for name in numbers)]
        for row in rows
    ]
    places = range(len(texts), len(texts) + len(numbers))
    return Table((*texts, *numbers), lines, frozenset(places))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.5g}"


def template(source: str) -> Any:
    """A template that can ``show`` a table. What it is given is escaped."""
    from jinja2 import Environment

    return Environment(autoescape=True).from_string(_TABLE + source)


def encoded(figures: Figures) -> list[tuple[str, str]]:
    """Figures by name, as PNG in base64."""
    return [(name, base64.b64encode(figures.png(name)).decode()) for name in figures]


def notebook_html(title: str, run_id: str, parts: Sequence[tuple[str, Table, Figures]]) -> str:
    """What a notebook shows of a result: named tables with their figures."""
    shown = [(name, table, encoded(figures)) for name, table, figures in parts]
    html: str = template(_FRAGMENT).render(title=title, run_id=run_id, parts=shown, shown=_SHOWN)
    return html
