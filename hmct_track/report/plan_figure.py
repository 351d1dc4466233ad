"""The figure of a plan: all measured points, cost against metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hmct_track.report.plan import Beside, shown_value
from hmct_track.report.scale import ErrorScale
from hmct_track.report.style import BLUE, GREEN, PALETTE, RED, head, settle, style
from hmct_track.text import visible
from hmct_track.types import Metric

Points = Sequence[Mapping[str, Any]]

_WALKS = {"walk by error alone": PALETTE[3], "walk by leave-one-out": PALETTE[4]}


def frontier_figure(
    points: Points, row: Mapping[str, Any], title: str, beside: Beside | None = None
) -> Figure:
    """All points that the search has measured, the frontier, the walks and the plan.

    Below it, where there are scores, what they lose of the first one. Where that is the target, the
    upper part is of a metric.

    Args:
        points: rows of the query ``plan_frontier``.
        row: the row of ``plan_result``.
        title: heading, drawn as it is.
        beside: scores and metric of the points.
    """
    beside = beside or Beside()
    by_score = bool(beside.values)
    metric = beside.metric if by_score else Metric(row["metric"])
    upper = (
        [{**p, "value": beside.values.get(p["config_id"])} for p in points] if by_score else points
    )
    scale = ErrorScale([p["value"] for p in upper], metric)
    with style():
        count = 2 if beside.scores else 1
        figure = Figure(figsize=(9, 6 + 3 * (count - 1)), layout="constrained")
        parts = figure.subplots(count, sharex=True, squeeze=False, height_ratios=[2, 1][:count])
        axes = parts[0, 0]
        _scatter(axes, scale, upper, label="measured", color="0.75", s=14, zorder=1)
        for role, color in _WALKS.items():
            own = [p for p in upper if p["role"] in (role, "walk by both")]
            _line(axes, scale, own, label=role, color=color, marker=".", linewidth=1.2)
        _line(
            axes, scale, [p for p in upper if p["step"] is not None], label="frontier", color=BLUE,
            linewidth=1.8,
        )  # fmt: skip
        plan = [p for p in upper if p["chosen"]]
        _scatter(axes, scale, plan, label="the plan", color=RED, s=90, marker="*", zorder=5)
        if not by_score:
            _held_out(axes, scale, row, plan)
        axes.set(ylabel=scale.label if by_score else _label(scale, row))
        scale.apply(axes, "y", before=0.05, after=0.05)
        if beside.scores:
            _lost(parts[1, 0], points, beside, labelled=by_score)
        parts[-1, 0].set_xlabel("cost, % of changing everything")
        head(figure, title)
        axes.set_title(
            f"{row['target']}: {shown_value(row['value'], row)} with {row['moves']} of "
            f"{row['slots']} changed", fontsize=10, parse_math=False,
        )  # fmt: skip
        figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return settle(figure)


def _lost(axes: Axes, points: Points, beside: Beside, *, labelled: bool) -> None:
    """What each point loses of the first score, and the plan where it was not chosen."""
    score = beside.scores[0]
    there = [
        (100 * (p["share"] or 0.0), beside.chosen[p["config_id"], score]["lost"], p)
        for p in points
        if (p["config_id"], score) in beside.chosen
    ]
    axes.scatter([x for x, *_ in there], [y for _, y, _ in there], color="0.75", s=14, zorder=1)
    steps = [(x, y) for x, y, p in there if p["step"] is not None]
    axes.plot([x for x, _ in steps], [y for _, y in steps], ".-", color=BLUE, linewidth=1.8)
    held = beside.held.get(("plan", score))
    for x, y, point in there:
        if not point["chosen"]:
            continue
        axes.scatter([x], [y], color=RED, s=90, marker="*", zorder=5)
        if held is not None:
            named: dict[str, Any] = {"label": "on samples held out"} if labelled else {}
            axes.scatter([x], [held["lost"]], color=GREEN, s=40, marker="D", zorder=4, **named)
            if held["lost_low"] is not None:
                axes.vlines(
                    x, held["lost_low"], held["lost_high"], color=GREEN, linewidth=2, zorder=3
                )
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_ylabel(f"{visible(score)} lost", parse_math=False)


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
