"""The figure of partial quantization, in the documented colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hmct_track.report.scale import ErrorScale
from hmct_track.report.style import head, label_steps, settle, style
from hmct_track.report.tables import adapted_values
from hmct_track.types import Metric

_PURPLE = "#7b3294"
_NOISE = 1e-3
"""An error that grows by a smaller part of itself has not grown."""


def partial_figure(
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
    title: str,
    *,
    threshold: float | None = None,
    worst_instead: bool = False,
    tolerance: float = 0.0,
) -> Figure:
    """Baseline, single-node quantization and cumulative un-quantization over the sensitive nodes.

    The axis is logarithmic in the error, and a cosine similarity grows upwards to the float model's
    1. A step that makes the model worse is ringed: its error had cancelled another's.

    Args:
        rows: rows of the query ``partial_quantization``, in order.
        metric: the metric of the values.
        title: heading, drawn as it is.
        threshold: the value beyond which nodes were taken as sensitive, drawn as a line; None where
            the nodes were given.
        worst_instead: no node was beyond the threshold, and these are the worst ones.
        tolerance: a change of the metric that is not larger is not told as one.
    """
    partial, single = ([row[name] for row in rows] for name in ("partial", "single"))
    scale = ErrorScale([*partial, *single, threshold, metric.optimum], metric, as_value=True)
    cancelled = cancelling_steps(rows, metric, tolerance)
    with style():
        figure = Figure(figsize=(min(8 + 0.12 * len(rows), 16), 6.8), layout="constrained")
        axes = figure.subplots()
        _draw_lines(axes, scale, metric, threshold)
        _draw_steps(axes, scale, rows)
        _ring(axes, scale, rows, cancelled)
        label_steps(axes, [row["node"] for row in rows])
        sensitive = "sensitive node, the most sensitive first" if len(rows) > 1 else ""
        axes.set(xlabel=sensitive, ylabel=scale.label)
        axes.margins(x=0.02)
        scale.apply(axes, "y", before=0.05, after=0.05)
        if metric is Metric.COSINE_SIMILARITY:
            axes.invert_yaxis()
        head(figure, title)
        note = _note(rows, metric, threshold, worst_instead, len(cancelled))
        axes.set_title(note, fontsize=10, parse_math=False)
        figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return settle(figure)


def _draw_lines(axes: Axes, scale: ErrorScale, metric: Metric, threshold: float | None) -> None:
    best = scale.places([metric.optimum])[0]
    axes.axhline(best, color="blue", linestyle="--", linewidth=1.5, label="float model")
    if threshold is not None:
        place, text = scale.places([threshold])[0], f"threshold {threshold:g}"
        axes.axhline(place, color="0.5", linestyle=":", linewidth=1.5, label=text)


def _draw_steps(axes: Axes, scale: ErrorScale, rows: Sequence[Mapping[str, Any]]) -> None:
    steps = [row["step"] for row in rows]
    several = len(rows) > 1
    what = "this node and those before it not quantized" if several else "fully quantized model"
    axes.plot(
        steps, scale.places([row["partial"] for row in rows]), label=what, color="red",
        linewidth=1.8, marker="o", markersize=5, markeredgecolor="white",
    )  # fmt: skip
    if several:
        axes.scatter(
            steps, scale.places([row["single"] for row in rows]), color="green", marker="x", s=45,
            linewidths=1.8, zorder=3, label="only this node quantized",
        )  # fmt: skip


def cancelling_steps(
    rows: Sequence[Mapping[str, Any]], metric: Metric, tolerance: float = 0.0
) -> list[int]:
    """Places in rows where leaving one more node out of quantization made the model worse.

    Args:
        rows: rows of the query ``partial_quantization``, in order.
        metric: the metric of the values.
        tolerance: a change of the metric that is not larger does not count; nor does one of less
            than a thousandth of the error.
    """
    found = []
    for place in range(1, len(rows)):
        before, after = rows[place - 1]["partial"], rows[place]["partial"]
        if before is None or after is None:
            continue
        best = metric.optimum if math.isfinite(metric.optimum) else 0.0
        growth = metric.badness(after) - metric.badness(before)
        if math.isfinite(after) and growth > max(tolerance, _NOISE * abs(before - best)):
            found.append(place)
    return found


def _ring(
    axes: Axes, scale: ErrorScale, rows: Sequence[Mapping[str, Any]], places: Sequence[int]
) -> None:
    if places:
        axes.scatter(
            [rows[k]["step"] for k in places],
            scale.places([rows[k]["partial"] for k in places]),
            s=150 if len(rows) < 60 else 80, facecolors="none", edgecolors=_PURPLE, linewidths=1.6,
            zorder=4,
            label="worse than the step before: errors had cancelled",
        )  # fmt: skip


def _note(
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
    threshold: float | None,
    worst_instead: bool,
    cancelled: int,
) -> str:
    """What the figure says in words."""
    whole = adapted_values([rows[0]["partial"]], metric)
    said = [f"fully quantized model: {whole.name} {whole.texts[0]}"]
    beyond = "" if threshold is None else f" than {threshold:g}"
    if worst_instead:
        said.append(f"no node alone is worse{beyond}; these are the {len(rows) - 1} worst")
    elif len(rows) == 1:
        said.append(f"no node alone is worse{beyond}, so there is nothing to leave out")
    if cancelled:
        times = "once" if cancelled == 1 else f"{cancelled} times"
        said.append(f"leaving a node out made it worse {times}: errors had cancelled")
    return "\n".join(said)
