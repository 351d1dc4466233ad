"""Scores of the user's own, as text and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hmct_track.report.html import Table
from hmct_track.report.tables import format_value, plain_table
from hmct_track.text import visible
from hmct_track.types import Metric

Row = Mapping[str, Any]
_MOST_NODES = 3


def whole_scores(found: Sequence[Row]) -> str:
    """A line for each score of the fully quantized model: what is lost, and how sure that is.

    Args:
        found: rows of the query ``score_results``.
    """
    return "\n".join(score_line(row) for row in found if row["role"] == "reference")


def score_line(row: Row, what: str = "all nodes quantized") -> str:
    """One configuration and score in a line."""
    said = f"{what}: {visible(row['score'])} {format_value(row['value'])}"
    said += f", in float {format_value(row['float_value'])}: {_lost(row)}"
    if row["lost_low"] is not None:
        ends = f"{format_value(row['lost_low'])} to {format_value(row['lost_high'])}"
        said += f" ({100 * row['level']:g} % interval {ends})"
    if row["samples"] == 1:
        return f"{said} (one sample)"
    if row["worse"] is None:
        return f"{said} ({row['samples']} samples)"
    return f"{said}; of {row['samples']} samples {row['worse']} worse, {row['better']} better"


def lost_by_subject(found: Sequence[Row]) -> dict[str, str]:
    """Node to what it loses of each score when it alone is quantized, in words.

    Args:
        found: rows of the query ``score_results``.
    """
    told: dict[str, list[str]] = {}
    for row in found:
        if row["role"] == "only":
            said = f"{visible(row['score'])} {_lost(row)}"
            if row["worse"] is not None:
                said += (
                    f" ({row['worse']} of {row['samples']} samples worse, {row['better']} better)"
                )
            told.setdefault(row["subject"], []).append(said)
    return {subject: ", ".join(said) for subject, said in told.items()}


def _lost(row: Row) -> str:
    if row["lost"] < 0:
        return f"won {format_value(-row['lost'])}"
    return f"lost {format_value(row['lost'])}"


def ranking_header(found: Sequence[Row], metrics: Sequence[Metric]) -> list[str]:
    """Titles of the columns of a ranking by score."""
    header = ["node"]
    for name in dict.fromkeys(row["score"] for row in found):
        header += [visible(name), "lost"]
        if _counted(found, name):
            header.append("worse/better")
    return [*header, *(m.value for m in metrics)]


def ranking_lines(
    rows: Sequence[Row], found: Sequence[Row], metrics: Sequence[Metric]
) -> list[list[str]]:
    """Cells of a ranking by score, in the order of its rows."""
    names = list(dict.fromkeys(row["score"] for row in found))
    known = {(row["position"], row["score"]): row for row in found}
    lines = []
    for row in rows:
        line = [visible(row["subject"])]
        for name in names:
            of = known.get((row["position"], name))
            line += [format_value(of["value"]), format_value(of["lost"])] if of else ["", ""]
            if _counted(found, name):
                line.append(f"{of['worse']}/{of['better']}" if of else "")
        lines.append([*line, *(format_value(row[m.column]) for m in metrics)])
    return lines


def _counted(found: Sequence[Row], name: str) -> bool:
    return any(row["score"] == name and row["worse"] is not None for row in found)


def ranking_by_score(rows: Sequence[Row], found: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """A ranking by score as text, and what its order is worth.

    Args:
        rows: rows of the query ``sensitivity``, in the order of the scores.
        found: rows of the query ``score_results``.
        metrics: the metrics to show behind the scores.
    """
    table = plain_table(ranking_header(found, metrics), ranking_lines(rows, found, metrics))
    return f"{table}\n\n{order_note(found, metrics[0])}"


def order_note(found: Sequence[Row], metric: Metric) -> str:
    """How many nodes the score tells apart, in a sentence or two."""
    first = [row for row in found if row["place"] == 0 and row["role"] == "only"]
    if not first:
        return ""
    name, values = visible(first[0]["score"]), {row["value"] for row in first}
    said = (
        f"ranked by {name}, which has {len(values)} different value{'s' * (len(values) != 1)} for "
        f"{len(first)} nodes; those of one value are ordered by {metric}"
    )
    sure = [row for row in first if row["lost_low"] is not None]
    if sure:
        told = sum(row["lost_low"] > 0 for row in sure)
        said += (
            f"\n{told} of {len(sure)} nodes lose more than chance would on {first[0]['samples']} "
            f"samples ({100 * first[0]['level']:g} % interval of each alone, paired with float)"
        )
    return said


def score_table(rows: Sequence[Row], found: Sequence[Row], metrics: Sequence[Metric]) -> Table:
    """A ranking by score for pages and notebooks."""
    header = ["", *ranking_header(found, metrics)]
    lines = [
        [str(rank), *line] for rank, line in enumerate(ranking_lines(rows, found, metrics), start=1)
    ]
    return Table(tuple(header), lines, frozenset({0, *range(2, len(header))}))


def partial_header(found: Sequence[Row], metric: str) -> list[str]:
    """Titles of the columns of a partial quantization by score."""
    header = ["step", "node"]
    for name in dict.fromkeys(row["score"] for row in found):
        shown = visible(name)
        header += [f"{shown} of it alone", f"{shown} without it and those before", "lost"]
        if _counted(found, name):
            header.append("worse/better")
    return [*header, f"{metric} without it and those before"]


def partial_lines(rows: Sequence[Row], found: Sequence[Row]) -> list[list[str]]:
    """Cells of a partial quantization by score, a line for each step."""
    names = list(dict.fromkeys(row["score"] for row in found))
    alone = {(r["subject"], r["score"]): r for r in found if r["role"] == "only"}
    steps = {(r["subject"], r["score"]): r for r in found if r["role"] == "partial"}
    lines = []
    for row in rows:
        line = [str(row["step"]), visible(row["node"])]
        for name in names:
            single, step = alone.get((row["node"], name)), steps.get((row["node"], name))
            line += [format_value(single["value"]) if single else ""]
            line += [format_value(step["value"]), format_value(step["lost"])] if step else ["", ""]
            if _counted(found, name):
                line.append(f"{step['worse']}/{step['better']}" if step else "")
        lines.append([*line, format_value(row["partial"])])
    return lines


def partial_by_score(rows: Sequence[Row], found: Sequence[Row], metric: str) -> str:
    """The steps of a partial quantization by score as text.

    Args:
        rows: rows of the query ``partial_quantization``, in order.
        found: rows of the query ``score_results``.
        metric: the metric that is shown beside the scores.
    """
    return plain_table(partial_header(found, metric), partial_lines(rows, found))


def samples_by_score(rows: Sequence[Row], found: Sequence[Row], metric: str) -> str:
    """Samples by score as text: the worst first, and which node alone changes their answer.

    Args:
        rows: rows of the query ``sensitive_samples``, in order.
        found: rows of the query ``score_flips``.
        metric: the metric that is shown beside the scores.
    """
    return plain_table(samples_header(found, metric), samples_lines(rows, found))


def samples_header(found: Sequence[Row], metric: str) -> list[str]:
    """Titles of the columns of samples by score."""
    names = dict.fromkeys(visible(row["score"]) for row in found)
    of_names = [text for name in names for text in (name, "in float")]
    return ["sample", *of_names, metric, "changed alone by", "source"]


def samples_lines(rows: Sequence[Row], found: Sequence[Row]) -> list[list[str]]:
    """Cells of samples by score."""
    names = list(dict.fromkeys(row["score"] for row in found))
    known = {(row["sample"], row["score"]): row for row in found}
    lines = []
    for row in rows:
        line = [str(row["sample"])]
        for name in names:
            of = known[row["sample"], name]
            line += [_or_none(of["value"]), _or_none(of["float_value"])]
        first = known[row["sample"], names[0]]
        line += [format_value(row["value"]), _by(first), visible(row["source"])]
        lines.append(line)
    return lines


def _or_none(value: float | None) -> str:
    return "" if value is None else format_value(value)


def _by(row: Row) -> str:
    """The nodes that alone change the answer of a sample."""
    if not row["changed"]:
        return ""
    nodes = [visible(name) for name in row["nodes"] or ()]
    if not nodes:
        return "none, only together"
    more = f" and {len(nodes) - _MOST_NODES} more" if len(nodes) > _MOST_NODES else ""
    return ", ".join(nodes[:_MOST_NODES]) + more


def flips_line(found: Sequence[Row]) -> str:
    """How many samples change their answer, in a line; empty where that is not known."""
    first = [row for row in found if row["place"] == 0 and row["value"] is not None]
    if not first:
        return ""
    changed = [row for row in first if row["changed"]]
    worse = sum(row["lost"] > 0 for row in changed)
    said = f"{len(changed)} of {len(first)} samples score differently: {worse} worse, "
    said += f"{len(changed) - worse} better"
    alone = sum(bool(row["nodes"]) for row in changed)
    return said + (f"; {alone} of them already with one node quantized alone" if changed else "")
