"""The figure of accumulated error: one curve per selection over the nodes of the model."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hmct_track.report.labels import distinct_labels, lines_of, listed
from hmct_track.report.markers import Numbered, draw_numbers
from hmct_track.report.scale import EQUAL, ErrorScale
from hmct_track.report.style import PALETTE, columns_of, head, label_steps, settle, style
from hmct_track.report.tables import adapted_values
from hmct_track.types import Metric

_DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_KNOWN = {
    "calibrated_model": "all nodes quantized",
    "only_weight_calibrated": "weights quantized",
    "only_activation_calibrated": "activations quantized",
}
_MOST_IN_A_COLUMN = 4
_NAME = 48
"""Characters of a name below the axes."""


def accumulation_figure(
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
    title: str,
    *,
    average_mode: bool,
    curve_nodes: Mapping[str, Sequence[str]] | None = None,
    quantized: bool = True,
) -> Figure:
    """Curves over the general nodes in topological order, with the worst node of each.

    Errors are on a log scale, or decibels. The worst node of a curve has the curve's number; below
    the axes stand what the curve is about, its worst value and the node's name.

    Args:
        rows: rows of the query ``error_accumulation``.
        metric: the metric of the values.
        title: heading, drawn as it is.
        average_mode: whether the values are running means; changes the axis label only.
        curve_nodes: the nodes that a curve is about, by the curve's name.
        quantized: whether those nodes are quantized, or all but those.
    """
    nodes = {row["step"]: row["node"] for row in rows}
    names = [nodes[step] for step in sorted(nodes)]
    scale = ErrorScale([row["value"] for row in rows], metric)
    curves = _curves(rows, metric, scale, curve_nodes or {}, quantized)
    width = min(10 + 0.06 * len(names), 16)
    columns = 2 if len(curves) > _MOST_IN_A_COLUMN else 1
    lines = sum(curve.text.count("\n") + 1 for curve in curves) / columns
    with style():
        figure = Figure(figsize=(width, 6.6 + 0.19 * lines), layout="constrained")
        axes = figure.subplots()
        for curve in curves:
            axes.plot(
                curve.x, curve.y, markersize=4, markeredgecolor="white", markeredgewidth=0.5,
                marker="o" if curve.has_markers else None, **curve.look,
            )  # fmt: skip
        label_steps(axes, names)
        average = "mean of the first n nodes' " if average_mode else ""
        axes.set(xlabel="node, in topological order", ylabel=f"{average}{scale.label}")
        axes.margins(x=0.02)
        scale.apply(axes, "y", before=0.03, after=0.06)
        head(figure, title)
        note = f"at {EQUAL!r}: no error" if scale.has_equal else None
        figure.legend(
            handles=[c.handle(columns_of(width / columns - 0.8, 9)) for c in curves],
            loc="outside lower left",
            ncols=columns, fontsize=9, title=note, title_fontsize=9,
            alignment="left", frameon=False,
        )  # fmt: skip
    settle(figure)
    draw_numbers(
        axes,
        [marker for curve in curves for marker in curve.marker()],
        [(curve.x, curve.y) for curve in curves],
        filled=True,
    )
    return figure


class _Curve:
    """A curve, how it looks, and where it is worst."""

    def __init__(
        self, name: str, points: Sequence[Mapping[str, Any]], scale: ErrorScale, look: Any
    ) -> None:
        self.name = name
        self.text = name
        self.number = ""
        is_reference = points[0]["role"] == "reference"
        values = [point["value"] for point in points]
        self.x = np.array([point["step"] for point in points], float)
        self.y = scale.places(values)
        self.color: str = "0.35" if is_reference else look[1]
        width = 1.4 if is_reference else 1.8
        self.look: dict[str, Any] = {
            "color": self.color,
            "linestyle": "--" if is_reference else look[0],
            "linewidth": width,
        }
        self.has_markers = len(points) <= 60 and not is_reference
        wrong = np.where(scale.is_equal(values), np.nan, self.y)
        self.worst: int | None = None
        """Place of the worst point; a reference and a curve without an error have none."""
        if np.isfinite(wrong).any() and not is_reference:
            self.worst = int(np.nanargmin(wrong) if not scale.is_log else np.nanargmax(wrong))
        at = points[self.worst or 0]
        self.worst_value, self.worst_node = at["value"], at["node"]

    def marker(self) -> list[Numbered]:
        """The number at the worst point."""
        if self.worst is None:
            return []
        return [Numbered(self.x[self.worst], self.y[self.worst], self.number, self.color)]

    def handle(self, columns: int) -> Artist:
        """The curve's entry below the axes."""
        # A legend parses mathematics, and has no switch for it.
        text = lines_of(self.text, columns).replace("$", r"\$")
        return Line2D([], [], label=text, **self.look)


def _curves(
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
    scale: ErrorScale,
    curve_nodes: Mapping[str, Sequence[str]],
    quantized: bool,
) -> list[_Curve]:
    grouped: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["curve"]].append(row)
    # Colours repeat after seven curves; the dashes tell their bearers apart.
    looks = itertools.cycle(itertools.product(_DASHES, PALETTE))
    curves = [
        _Curve(*item, scale, look) for item, look in zip(grouped.items(), looks, strict=False)
    ]
    numbered = [curve for curve in curves if curve.worst is not None]
    said = adapted_values([curve.worst_value for curve in numbered], metric)
    _tell_nodes(curves, curve_nodes, quantized)
    for number, (curve, text) in enumerate(zip(numbered, said.texts, strict=True), start=1):
        curve.number = str(number)
        curve.text = f"{number}  {curve.text}\n     worst {said.name} {text} at {curve.worst_node}"
    return curves


def _tell_nodes(
    curves: Sequence[_Curve], curve_nodes: Mapping[str, Sequence[str]], quantized: bool
) -> None:
    """Say of each curve which nodes it is about, in names that stay distinct."""
    named = [node for nodes in curve_nodes.values() for node in nodes]
    worst = [curve.worst_node for curve in curves]
    every = list(dict.fromkeys([*named, *worst, *(curve.name for curve in curves)]))
    labels = dict(zip(every, distinct_labels(every, _NAME), strict=True))
    verb = "quantized" if quantized else "not quantized"
    for curve in curves:
        curve.worst_node = labels[curve.worst_node]
        nodes = [labels[node] for node in curve_nodes.get(curve.name, ())]
        about = f"{listed(nodes)} {verb}" if nodes else _KNOWN.get(curve.name, "")
        name = labels[curve.name]
        curve.text = f"{name}: {about}" if about else name
