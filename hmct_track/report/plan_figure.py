"""The figure of a plan: all measured points, cost against metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hmct_track.report.plan import shown_value
from hmct_track.report.scale import ErrorScale
from hmct_track.report.style import BLUE, GREEN, PALETTE, RED, head, settle, style
from hmct_track.types import Metric

Points = Sequence[Mapping[str, Any]]

_WALKS = {"walk by error alone": PALETTE[3], "walk by leave-one-out": PALETTE[4]}


def frontier_figure(points: Points, row: Mapping[str, Any], title: str) -> Figure:
    """All points that the search has measured, the frontier, the walks and the plan.

    Args:
        points: rows of the query ``plan_frontier``.
        row: the row of ``plan_result``.
        title: heading, drawn as it is.
    """
    metric = Metric(row["metric"])
    scale = ErrorScale([p["value"] for p in points], metric)
    with style():
        figure = Figure(figsize=(9, 6), layout="constrained")
        axes = figure.subplots()
        _scatter(axes, scale, points, label="measured", color="0.75", s=14, zorder=1)
        for role, color in _WALKS.items():
            own = [p for p in points if p["role"] in (role, "walk by both")]
            _line(axes, scale, own, label=role, color=color, marker=".", linewidth=1.2)
        _line(
            axes, scale, [p for p in points if p["step"] is not None], label="frontier", color=BLUE,
            linewidth=1.8,
        )  # fmt: skip
        plan = [p for p in points if p["chosen"]]
        _scatter(axes, scale, plan, label="the plan", color=RED, s=90, marker="*", zorder=5)
        _held_out(axes, scale, row, plan)
        axes.set(xlabel="cost, % of changing everything", ylabel=_label(scale, row))
        scale.apply(axes, "y", before=0.05, after=0.05)
        head(figure, title)
        axes.set_title(
            f"{row['target']}: {shown_value(row['value'], row)} with {row['moves']} of "
            f"{row['slots']} changed", fontsize=10, parse_math=False,
        )  # fmt: skip
        figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return settle(figure)


def _label(scale: ErrorScale, row: Mapping[str, Any]) -> str:
    return "share of the fully quantized model's mse" if row["is_share"] else scale.label


def _places(scale: ErrorScale, points: Points) -> tuple[list[float], list[float]]:
    x = [100 * (p["share"] or 0.0) for p in points]
    return x, list(scale.places([p["value"] for p in points]))


def _scatter(axes: Axes, scale: ErrorScale, points: Points, **given: Any) -> None:
    if points:
        axes.scatter(*_places(scale, points), **given)


def _line(axes: Axes, scale: ErrorScale, points: Points, **given: Any) -> None:
    if points:
        axes.plot(*_places(scale, points), **given)


def _held_out(axes: Axes, scale: ErrorScale, row: Mapping[str, Any], plan: Points) -> None:
    """The plan on the samples that chose nothing, with its interval."""
    if not plan or row["held_out_value"] is None:
        return
    x = 100 * (plan[0]["share"] or 0.0)
    (y,) = scale.places([row["held_out_value"]])
    axes.scatter([x], [y], color=GREEN, s=40, marker="D", zorder=4, label="on samples held out")
    if row["held_out_low"] is not None:
        low, high = scale.places([row["held_out_low"], row["held_out_high"]])
        axes.vlines(x, low, high, color=GREEN, linewidth=2, zorder=3)
