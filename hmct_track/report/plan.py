"""A plan in words and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hmct_track.report.html import Table
from hmct_track.report.scores import score_line
from hmct_track.report.tables import format_value, plain_table
from hmct_track.text import counted, visible
from hmct_track.types import Metric

Rows = Sequence[Mapping[str, Any]]
Row = Mapping[str, Any]

_MOST_STEPS = 12


@dataclass(frozen=True)
class Beside:
    """What was measured of a plan's points besides its target: scores, and a metric."""

    chosen: Mapping[tuple[str, str], Row] = field(default_factory=dict)
    """Configuration id and score to the row of ``score_results``, on the samples that choose."""
    held: Mapping[tuple[str, str], Row] = field(default_factory=dict)
    """``plan`` or ``calibrated`` and score to the same on the samples held out."""
    metric: Metric = Metric.SQNR
    values: Mapping[str, float] = field(default_factory=dict)
    """Configuration id to the metric; empty where the target is of a metric."""
    remedies: Rows = ()
    """Rows of the query ``mending_steps``: what cost nothing, and was done first."""

    @property
    def scores(self) -> list[str]:
        """Names of the scores, in their order."""
        return list(dict.fromkeys(score for _, score in self.chosen))

    def of_plan(self, config_id: str) -> Iterator[tuple[str, Row]]:
        """Names for MLflow, and rows: of the plan on the samples that chose it, and held out."""
        for score in self.scores:
            for name, row in (
                (f"plan.{score}", self.chosen.get((config_id, score))),
                (f"held_out.{score}", self.held.get(("plan", score))),
            ):
                if row is not None:
                    yield name, row

    def of_point(self, config_id: str) -> dict[str, float]:
        """Names for MLflow to values of a point, on the samples that choose."""
        found: dict[str, float] = {}
        for score in self.scores:
            row = self.chosen.get((config_id, score))
            if row is not None:
                found |= {score: row["value"], f"{score}.lost": row["lost"]}
        if config_id in self.values:
            found[self.metric.value] = self.values[config_id]
        return found


_NOTHING = Beside()


def shown_value(value: float | None, row: Mapping[str, Any]) -> str:
    """A value of a plan, with what it is."""
    if value is None:
        return f"no {row['metric']}"
    if row["is_share"]:
        return f"error {100 * value:.3g} %"
    unit = Metric(row["metric"]).unit if row["metric"] in tuple(Metric) else ""
    return f"{row['metric']} {value:.5g}{f' {unit}' if unit else ''}"


BOUNDARY = "for each boundary"
"""What the unit of a cost has in it if boundaries between types cost."""


def plan_text(row: Row, nodes: Rows, points: Rows, beside: Beside = _NOTHING) -> str:
    """The plan in words, its nodes, and the frontier.

    Args:
        row: the row of the query ``plan_result``.
        nodes: rows of ``plan_nodes``.
        points: rows of ``plan_frontier``.
        beside: what else was measured of them.
    """
    table = plan_table(nodes, row["metric"])
    parts = ["\n".join(plan_lines(row, nodes, points, beside))]
    if table.rows:
        parts.append(plain_table(table.header, table.rows))
    steps = frontier_table(points, row, beside)
    parts.append(plain_table(steps.header, steps.rows))
    return "\n\n".join(parts)


def plan_lines(row: Row, nodes: Rows, points: Rows, beside: Beside = _NOTHING) -> Iterator[str]:
    """What is to be known of a plan, a sentence each."""
    share = 100 * row["cost"] / row["cost_of_all"] if row["cost_of_all"] else 0.0
    yield (
        f"plan for {row['target']}: {row['moves']} of {row['slots']} change, for {share:.3g} % of "
        f"what changing all costs ({row['cost']:.4g} of {row['cost_of_all']:.4g} {row['unit']})"
    )
    yield from _free(row, beside.remedies)
    said = (
        f"{shown_value(row['value'], row)} on the {counted(row['samples'], 'sample')} that chose it"
    )
    if row["margin"]:
        said += f", which allows {_allowance(row)}"
    before = "with the free remedies alone it" if row["freed"] else "the calibrated model"
    yield f"{said}; {before} has {shown_value(row['calibrated'], row)}"
    yield from _held_out(row)
    yield from _scores(row, beside)
    if not row["moves"]:
        yield "the free remedies alone keep the target: nothing has to change its type"
    elif row["certified"] and BOUNDARY in row["unit"]:
        # Without it a node may cost more: two boundaries in place of one type.
        yield "each single change that would make it cheaper was measured, and misses the target"
    elif row["certified"]:
        removed = sum(bool(n["qtype"]) and n["without"] is not None for n in nodes)
        given = row["moves"] - removed
        more = f"; {given} had to change in any case" if given else ""
        yield (
            f"{'the' if removed == 1 else f'each of the {removed}'} single "
            f"removal{'s' * (removed != 1)} was measured, and misses the target{more}"
            if not row["target"].startswith("cost")
            else "each single change that fits into the cost was measured, and none is better"
        )
    else:
        yield "that nothing of it can be left out was not shown"
    yield from _walks(row, points)


def _free(row: Row, remedies: Rows) -> Iterator[str]:
    """What was done first, for nothing."""
    if row["freed"] is False:
        yield "no free remedy helps on the samples that check it; the model is as it was calibrated"
    elif row["freed"]:
        said = "free remedies first, which cost nothing at run time"
        if remedies:
            gain = sum(step["checking"] for step in remedies)
            steps = "; ".join(step["step"] for step in remedies)
            said += f" ({steps}): {gain:+.2g} dB on samples that did not pick them"
        yield said


def _allowance(row: Row) -> str:
    """The margin, and how sure it makes a plan that was chosen among so many."""
    scale, unit = (100, " %") if row["is_share"] else (1, "")
    said = f"{scale * row['margin']:.3g}{unit} for other samples"
    if row["halved"] is None:
        return said
    compared = f"{row['configurations']} were compared"
    if row["margin_factor"] > 1:
        compared = f"{row['margin_factor']:g} times that of one, as {compared}"
    return (
        f"{said} ({compared}; when half of the samples choose, {100 * row['halved']:.0f} % of "
        "plans keep the target on the others)"
    )


def _scores(row: Row, beside: Beside) -> Iterator[str]:
    """The plan by each score, against the float model: where it was chosen, and held out."""
    for score in beside.scores:
        for what, found in (
            (f"the plan on the {counted(row['samples'], 'sample')} that chose it",
             beside.chosen.get((row["config_id"], score))),
            (f"the plan on {counted(row['held_out'], 'sample')} held out",
             beside.held.get(("plan", score))),
            ("the calibrated model on them", beside.held.get(("calibrated", score))),
        ):  # fmt: skip
            if found is not None:
                yield score_line(found, what)


def _held_out(row: Mapping[str, Any]) -> Iterator[str]:
    if not row["held_out"]:
        return
    said = f"{shown_value(row['held_out_value'], row)} on {row['held_out']} samples held out"
    if row["held_out_low"] is not None:
        scale = 100 if row["is_share"] else 1
        low, high = scale * row["held_out_low"], scale * row["held_out_high"]
        said += f" (90 % interval {low:.5g} to {high:.5g})"
    kept = {True: ": the target is kept", False: ": the target is MISSED", None: ""}
    yield said + kept[row["kept"]]


def _walks(row: Mapping[str, Any], points: Rows) -> Iterator[str]:
    """What the walks down a ranking would have cost."""
    if row["target"].startswith("cost"):
        return
    for role in ("walk by error alone", "walk by leave-one-out"):
        there = [p for p in points if p["role"] in (role, "walk by both") and p["keeps"]]
        first = min(there, key=lambda p: p["cost"], default=None)
        if first and first["cost"] > row["cost"]:
            more = 100 * first["cost"] / row["cost_of_all"] if row["cost_of_all"] else 0.0
            yield f"the {role} keeps the target with {first['moves']} changes, for {more:.3g} %"
        elif first:
            yield f"the {role} comes to the same cost"


def plan_table(nodes: Rows, metric: object) -> Table:
    """The nodes that change, with what the plan would be without each."""
    changed = [n for n in nodes if n["qtype"]]
    total = sum(n["price"] for n in changed)
    lines = [
        [
            n["slot"] + (f" (+{len(n['nodes']) - 1})" if len(n["nodes"]) > 1 else ""),
            n["qtype"],
            f"{100 * n['price'] / total:.1f} %" if total else "",
            "" if n["without"] is None else f"{n['without']:.5g}",
        ]
        for n in changed
    ]
    header = ("node", "becomes", "of the cost", f"{metric} without")
    return Table(header, lines, frozenset({2, 3}))


def frontier_table(
    points: Rows, row: Row, beside: Beside = _NOTHING, most: int = _MOST_STEPS
) -> Table:
    """The steps of the frontier, those around the plan where there are many.

    Args:
        points: rows of the query ``plan_frontier``.
        row: the row of ``plan_result``.
        beside: what else was measured of them, as further columns.
        most: how many steps at most.
    """
    steps = [p for p in points if p["step"] is not None]
    place = next((k for k, p in enumerate(steps) if p["chosen"]), 0)
    first = max(0, min(place - most // 2, len(steps) - most))
    # What is lost of the score of the target stands in the column of the value already.
    scores = [name for name in beside.scores if f"{name} drop" != row["metric"]]
    lines = [
        [
            str(p["step"]),
            str(p["moves"]),
            "" if p["share"] is None else f"{100 * p['share']:.3g} %",
            "" if p["value"] is None else f"{p['value']:.5g}",
            *(_lost(beside, p["config_id"], name) for name in scores),
            *([format_value(beside.values.get(p["config_id"]))] if beside.values else []),
            "the plan" if p["chosen"] else ("" if p["keeps"] else "misses"),
        ]
        for p in steps[first : first + most]
    ]
    value = "error share" if row["is_share"] else row["metric"]
    more = [f"{visible(name)} lost" for name in scores]
    more += [beside.metric.value] if beside.values else []
    header = ("step", "changes", "cost", value, *more, "")
    return Table(header, lines, frozenset(range(len(header) - 1)))


def _lost(beside: Beside, config_id: str, score: str) -> str:
    row = beside.chosen.get((config_id, score))
    return "" if row is None else f"{row['lost']:.5g}"
