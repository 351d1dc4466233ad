"""Rows to text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hmct_track.text import visible
from hmct_track.types import Metric, NodeType

_TITLE = "node sensitivity"
_NAME_WIDTH = 50
_GAP = 2
_NEAR = 0.99
"""Cosine similarities from here on are told by what is missing to 1."""
_ROUNDING = 1e-15


def sensitivity_table(
    rows: Sequence[Mapping[str, Any]], node_type: NodeType, metrics: Sequence[Metric]
) -> str:
    """The documented table of a ranking.

    Args:
        rows: rows of the query ``sensitivity``, in order.
        node_type: chooses the columns in front of the metrics.
        metrics: the metrics to show.
    """
    header, front = _front(node_type)
    lines = [[*front(row), *(format_value(row[m.column]) for m in metrics)] for row in rows]
    header = [*header, *metrics]
    widths = [max(map(len, column)) + _GAP for column in zip(header, *lines, strict=True)]
    total = sum(widths)
    fill = "=" * ((total - len(_TITLE)) // 2)

    def line(cells: Sequence[str]) -> str:
        return "".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()

    return "\n".join([f"{fill}{_TITLE}{fill}", line(header), "-" * total, *map(line, lines)])


def whole_line(
    values: Mapping[Metric, float | None],
    metrics: Sequence[Metric],
    samples: int,
    place: str | None = None,
    *,
    single: bool = False,
) -> str:
    """The fully quantized model in a line: what all quantization together costs.

    Args:
        values: metric to value, the mean over samples and outputs.
        metrics: those to show.
        samples: how many samples there were.
        place: the node whose output is compared, if it is not the model's.
        single: whether an output has one element, of which a cosine means nothing.
    """
    nothing = " (means nothing of one element)" if single else ""
    shown = ", ".join(
        f"{m} {_exact(values.get(m), m)}{nothing if m is Metric.COSINE_SIMILARITY else ''}"
        for m in metrics
    )
    of = f"mean of {samples} samples" if samples > 1 else "one sample"
    at = f" at {_shortened(place)}" if place else ""
    return f"all nodes quantized{at}: {shown} ({of})"


def _exact(value: float | None, metric: Metric) -> str:
    """A value with its unit; beside one that is nearly 1 what it lacks."""
    text = format_value(value) + (f" {metric.unit}" if metric.unit else "")
    lacks = 0.0 if value is None else 1 - value
    if metric is Metric.COSINE_SIMILARITY and 0 < lacks < 1e-3:
        text += f" (1 - {lacks:.2g})"
    return text


def partial_table(rows: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """The steps of a partial quantization as text.

    Args:
        rows: rows of the query ``partial_quantization``, in order.
        metric: the metric of the values.
    """
    header = ["step", "node", f"{metric} of it alone", f"{metric} without it and those before"]
    lines = [
        [
            str(row["step"]),
            _shortened(row["node"]),
            "" if row["single"] is None else format_value(row["single"]),
            format_value(row["partial"]),
        ]
        for row in rows
    ]
    return plain_table(header, lines)


def local_errors_table(rows: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """Local errors of quantizers as text.

    Args:
        rows: rows of the query ``local_errors``, in order.
        metric: the metric of the values.
    """
    header = ["quantizer", "kind", "of", f"{metric}, own", f"{metric}, accumulated"]
    lines = [
        [
            _shortened(row["node"]),
            row["kind"],
            _shortened(";".join(row["consumers"] or ())),
            *("" if row[n] is None else format_value(row[n]) for n in ("own", "accumulated")),
        ]
        for row in rows
    ]
    return plain_table(header, lines)


def calibration_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The calibration nodes of a model as text.

    Args:
        rows: rows of the query ``calibration``, in order.
    """
    header = ["calibration node", "kind", "feeds", "type", "scales", "threshold"]
    lines = [
        [
            _shortened(row["node"]),
            row["kind"],
            _shortened(";".join(row["consumers"])),
            row["qtype"],
            str(row["scales"]),
            "" if row["threshold"] is None else format_value(row["threshold"]),
        ]
        for row in rows
    ]
    return plain_table(header, lines)


def samples_table(rows: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """The samples on which quantization hurts most, as text.

    Args:
        rows: rows of the query ``sensitive_samples``, in order.
        metric: the metric of the values.
    """
    lines = [
        [str(row["sample"]), format_value(row["value"]), visible(row["source"])] for row in rows
    ]
    return plain_table(["sample", metric.value, "source"], lines)


def curves_text(rows: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """A line per curve: where it ends.

    Args:
        rows: rows of the query ``error_accumulation``.
        metric: the metric of the values.
    """
    last = {row["curve"]: row for row in rows}
    lines = []
    for curve, row in last.items():
        value = "nan" if row["value"] is None else f"{row['value']:.5f}"
        lines.append(visible(f"{curve}: {metric} {value} at {row['node']}"))
    return "\n".join(lines)


def distribution_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line per series: its range, mean, standard deviation and threshold.

    Args:
        rows: rows of the query ``distribution``.
    """
    lines = []
    for row in rows:
        threshold = "" if row["threshold"] is None else f", threshold {row['threshold']:.5g}"
        lines.append(
            f"{visible(row['node'])} {row['series']}: {row['min']:.5g} to {row['max']:.5g}, "
            f"mean {row['mean']:.5g}, std {row['std']:.5g}{threshold}"
        )
    return "\n".join(lines)


def channels_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line per node: its widest channel.

    Args:
        rows: rows of the query ``channel_distribution``.
    """
    lines = []
    for node in dict.fromkeys(row["node"] for row in rows):
        boxes = [row for row in rows if row["node"] == node]
        widest = max(boxes, key=lambda row: row["max"] - row["min"])
        lines.append(
            f"{visible(node)}: {len(boxes)} channels, widest {widest['channel']} "
            f"({widest['min']:.5g} to {widest['max']:.5g})"
        )
    return "\n".join(lines)


def plain_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Texts in columns that are as wide as the widest of them."""
    widths = [max(map(len, column)) + _GAP for column in zip(header, *lines, strict=True)]
    return "\n".join(
        "".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in (header, *lines)
    )


def format_value(value: float | None) -> str:
    """A number with at most 5 decimals, as the documentation prints it: 0.77795, 49.4949, 1.0."""
    if value is None:
        return "nan"
    text = f"{value:.5f}"
    if "." not in text:  # inf and nan
        return text
    text = text.rstrip("0")
    return f"{text}0" if text.endswith(".") else text


@dataclass(frozen=True)
class Adapted:
    """Values of a metric as text, with digits that tell them apart."""

    name: str
    """What the texts are: the metric, or ``1 - cosine-similarity``."""
    texts: tuple[str, ...]


def adapted_values(
    values: Sequence[float | None], metric: Metric, beside: Sequence[float | None] | None = None
) -> Adapted:
    """Texts of values that stand together, in a figure or a column.

    Cosine similarities that are all 0.99 or more are given as 1 - cosine similarity, with three
    significant digits; among others each has as many decimals as show two digits of what is
    missing to 1, but at least 5. Other metrics have 4 significant digits, decibels 2 decimals. No
    value is ``nan``.

    Args:
        values: the values; None is no value.
        metric: what they are.
        beside: values of a column that these stand beside, and are given like.
    """
    if metric is not Metric.COSINE_SIMILARITY:
        return Adapted(metric.value, tuple(_significant(v, metric) for v in values))
    deciding = values if beside is None else beside
    finite = [v for v in deciding if v is not None and math.isfinite(v)]
    if finite and min(finite) >= _NEAR:
        return Adapted(f"1 - {metric.value}", tuple(map(_missing, values)))
    return Adapted(metric.value, tuple(map(_cosine, values)))


def _significant(value: float | None, metric: Metric) -> str:
    if value is None:
        return "nan"
    return f"{value:.2f}" if metric is Metric.SQNR and 0.01 <= abs(value) < 1e5 else f"{value:.4g}"


def _missing(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "nan" if value is None else str(value)
    return f"{max(1 - value, 0):.3g}" if 1 - value > _ROUNDING else "0"


def _cosine(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "nan" if value is None else str(value)
    missing = 1 - value
    if value == 0 or abs(missing) <= _ROUNDING:
        return "0" if value == 0 else "1"
    return f"{value:.{max(5, 1 - math.floor(math.log10(abs(missing))))}f}"


def _front(node_type: NodeType) -> Any:
    def name(row: Mapping[str, Any]) -> str:
        return _shortened(row["subject"])

    def consumers(row: Mapping[str, Any]) -> str:
        return _shortened(";".join(row["consumers"] or ()))

    if node_type in (NodeType.NODE, NodeType.OUTPUT):
        return ["node"], lambda row: [name(row)]
    if node_type is NodeType.WEIGHT:
        return ["weight", "node"], lambda row: [name(row), consumers(row)]
    return ["activation", "node", "threshold", "bit"], lambda row: [
        name(row),
        consumers(row),
        format_value(row["threshold"]),
        str(row["bits"]),
    ]


def _shortened(name: str) -> str:
    name = visible(name)
    if len(name) <= _NAME_WIDTH:
        return name
    return "..." + name[3 - _NAME_WIDTH :]
