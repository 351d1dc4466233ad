"""The network of a run with all that the lake knows of its nodes: what a graph is drawn of.

Only rows of shipped queries go in, so that the graph, the tables and the terminal UI agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from hmct_track.lake import Lake, compare_runs, find_run
from hmct_track.report.diagnosis import words_table
from hmct_track.report.folding import Folding, fold
from hmct_track.report.plan import plan_lines
from hmct_track.report.tables import format_value
from hmct_track.types import Metric, NodeType

Row = Mapping[str, Any]

NODE, INPUT, OUTPUT = "node", "input", "output"
QUANTIZERS = (NodeType.WEIGHT.value, NodeType.ACTIVATION.value)
_BINS, _CHANNELS, _EVIDENCE = 48, 64, 8
"""Bins of a histogram, channels of a node and runs of a kind that are looked at, at most."""


@dataclass
class Item:
    """Something that is drawn: a node, a quantizer, an input or an output of the model."""

    name: str
    type: str
    """node, weight, activation, input or output."""
    op_type: str = ""
    quantizers: list[int] = field(default_factory=list)
    """Positions of those that feed a node."""
    row: Row | None = None
    """Its row of ``sensitivity``."""
    sure: dict[Metric, Row] = field(default_factory=dict)
    """Its rows of ``intervals``."""
    qtypes: tuple[str, ...] = ()
    facts: list[tuple[str, str]] = field(default_factory=list)
    cause: str = ""
    """Kind and effect of what costs most: weight rounding, activation clipping, ..."""
    said: list[tuple[str, str]] = field(default_factory=list)
    """Diagnosis, remedy and plan in words."""
    drop: float | None = None
    """How much worse it became."""
    change: str = ""
    """The same in words; empty without a run to compare with."""
    series: list[dict[str, Any]] = field(default_factory=list)
    """Histograms."""
    channels: dict[str, Any] = field(default_factory=dict)
    """Box statistics of channels."""


@dataclass
class Network:
    """A model as a graph, with what was measured."""

    run: Row
    metric: Metric
    """The one that ranks."""
    items: list[Item]
    edges: list[tuple[int, int]]
    folding: Folding
    """Of the items that are nodes; they come first."""
    whole: dict[Metric, float | None] = field(default_factory=dict)
    samples: int = 0
    """Samples that ``whole`` is the mean of."""
    single: bool = False
    """Whether an output has one element, whose cosine is 1 or -1 whatever it costs."""
    used: list[tuple[str, str]] = field(default_factory=list)
    """What is shown, and the run that it is of."""
    name: str = ""
    model_id: str = ""
    made_with: str = ""
    """Versions of what measured it."""
    words: list[tuple[str, str, str]] = field(default_factory=list)
    """Each diagnosed node, what is wrong with it, and what mends it; the worst first."""
    judges: int = 0
    """Samples of the run that diagnosed; of several every second one judges."""
    planned: list[str] = field(default_factory=list)
    """A plan for the model, a sentence each."""
    against: str = ""
    """The run that it is compared with."""

    @property
    def nodes(self) -> list[Item]:
        """What computes."""
        return [item for item in self.items if item.type == NODE]


def network_of(
    lake: Lake, run_id: str, before: str | None = None, metric: Metric | None = None
) -> Network:
    """The network of a run, with its steps' answers and those of other runs of the same model.

    Args:
        lake: where they are.
        run_id: the full id of the run, of any kind.
        before: the id of an older run of the same or another model, to tell what changed.
        metric: what ranks and changes; by default the run's own, or SQNR where that is the cosine
            of an output of one element, which is 1 or -1 whatever it costs.

    Raises:
        LakeError: the lake cannot be read.
        UsageError: there is no such run.
    """
    run = find_run(lake, run_id)
    rankings = _rankings(lake, run)
    single = _is_single(lake, run, rankings)
    asked = Metric(next(iter(run["metrics"] or ()), Metric.COSINE_SIMILARITY))
    telling = Metric.SQNR if single and asked is Metric.COSINE_SIMILARITY else asked
    chosen = metric or telling
    items, edges = _structure(lake, run_id)
    general = [item for item in items if item.type == NODE]
    folding = fold([i.name for i in general], [i.op_type for i in general])
    found = Network(run, chosen, items, edges, folding, single=single)
    (ends,) = lake.query("model_ends", run_id=run_id)
    found.name, found.model_id = ends["name"], ends["model_id"]
    versions = (f"hmct-track {ends['package_version']}", ends["runtime"])
    found.made_with = ", ".join(version for version in versions if version)
    by_name = {(i.type, i.name): i for i in items}
    for what, ranking in rankings.items():
        _rank(lake, found, what, ranking, by_name)
    same = lake.query("runs", model_id=run["model_id"], state="FINISHED")
    family = {run_id, run["parent_run_id"] or run_id}
    same.sort(  # stable: newest first
        key=lambda r: (
            not family & {r["run_id"], r["parent_run_id"]},
            r["data_id"] != run["data_id"],
        )
    )
    _diagnose(lake, found, same, by_name)
    _plan(lake, found, same, by_name)
    _evidence(lake, found, same)
    if before is not None:
        _compare(lake, found, before, rankings, by_name)
    return found


def _is_single(lake: Lake, run: Row, rankings: Mapping[str, Row]) -> bool:
    ranking = next(iter(rankings.values()), run)
    ends = lake.query("whole_model", run_id=ranking["run_id"])
    return any(row["elements"] == 1 for row in ends)


def _structure(lake: Lake, run_id: str) -> tuple[list[Item], list[tuple[int, int]]]:
    """Items and the edges between them: nodes first, then quantizers, then the model's ends."""
    rows = lake.query("model_nodes", run_id=run_id)
    general = sorted((r for r in rows if r["type"] == NODE), key=lambda r: r["node_index"])
    others = [r for r in rows if r["type"] != NODE]
    items = [Item(r["node"], r["type"], r["op_type"]) for r in (*general, *others)]
    producers: dict[str, int] = {}
    for position, row in enumerate((*general, *others)):
        producers |= dict.fromkeys(row["outputs"], position)
    of_quantizer = {i.name: k for k, i in enumerate(items) if i.type != NODE}
    (ends,) = lake.query("model_ends", run_id=run_id)
    for text in ends["inputs"]:
        tensor, _, told = text.rpartition(": ")
        if tensor not in producers:
            producers[tensor] = len(items)
            items.append(Item(tensor, INPUT, facts=[("tensor", told)]))
    edges = []
    for position, row in enumerate((*general, *others)):
        edges += [(producers[t], position) for t in dict.fromkeys(row["inputs"]) if t in producers]
        item = items[position]
        if row["type"] == NODE:
            item.quantizers = [of_quantizer[n] for n in row["calibration_nodes"] or ()
                               if n in of_quantizer]  # fmt: skip
        else:
            item.qtypes = (row["qtype"] or "",)
            item.facts += _quantizer(row)
    for item in items:
        if item.type == NODE:
            item.qtypes = tuple(dict.fromkeys(t for q in item.quantizers for t in items[q].qtypes))
    for text in ends["outputs"]:
        tensor, _, told = text.rpartition(": ")
        if tensor in producers:
            edges.append((producers[tensor], len(items)))
            items.append(Item(tensor, OUTPUT, facts=[("tensor", told)]))
    return items, list(dict.fromkeys(edges))


def _quantizer(row: Row) -> list[tuple[str, str]]:
    scales, points = row["scales"] or (), row["zero_points"] or ()
    of = f"per channel (axis {row['axis']})" if len(scales) > 1 else "per tensor"
    off = "" if row["enabled"] else ", switched off"
    found = [
        ("quantizes", row["inputs"][0]),
        ("type", f"{row['qtype']}, {row['bits']} bits, {of}{off}"),
        ("thresholds", _numbers(row["thresholds"])),
        ("scales", _numbers(scales)),
    ]
    return [*found, ("zero points", _numbers(points))] if any(points) else found


def _numbers(values: Sequence[float] | None, most: int = 8) -> str:
    values = values or ()
    shown = ", ".join(f"{v:.5g}" for v in values[:most])
    if len(values) <= most:
        return shown or "none"
    return f"{shown} and {len(values) - most} more, {min(values):.5g} to {max(values):.5g}"


def _rankings(lake: Lake, run: Row) -> dict[str, Row]:
    """What is ranked to the ranking: the run's own, then the newest that were measured alike."""
    every: list[Row] = [*lake.query("rankings", model_id=run["model_id"])]
    family = {run["run_id"], run["parent_run_id"] or run["run_id"]}
    own = [r for r in every if r["run_id"] == run["run_id"]]
    own += [r for r in every if r not in own and family & {r["run_id"], r["parent_run_id"]}]
    if run["kind"] == "sensitivity" and not any(r["run_id"] == run["run_id"] for r in own):
        return {NODE: run}  # it has not finished, and what it measured is all that is shown
    first = next(iter([*own, *every]), None)
    if first is None:
        return {}
    about = ("data_id", "outputs")
    alike = [r for r in every if all(r[name] == first[name] for name in about)]
    found: dict[str, Row] = {}
    for row in [*own, *alike]:
        found.setdefault(row["node_type"], row)
    return found


def _rank(
    lake: Lake, found: Network, what: str, ranking: Row, by_name: Mapping[tuple[str, str], Item]
) -> None:
    if what not in (NODE, *QUANTIZERS):
        return  # what nodes give out is no tensor of a graph's node or quantizer
    run_id = ranking["run_id"]
    found.used.append((f"ranking of {what}s", run_id))
    items = {}
    for row in lake.query("sensitivity", run_id=run_id, metric=found.metric.value):
        kinds = (what, NODE, *QUANTIZERS)
        item = next((by_name[k, row["subject"]] for k in kinds if (k, row["subject"]) in by_name),
                    None)  # fmt: skip
        if item is not None:
            item.row = row
            items[row["subject"]] = item
    for metric in dict.fromkeys((found.metric, *map(Metric, ranking["metrics"] or ()))):
        for sure in lake.query("intervals", run_id=run_id, metric=metric.value):
            if sure["role"] == "only" and sure["subject"] in items:
                items[sure["subject"]].sure[metric] = sure
    if not found.whole:
        whole = lake.query("whole_model", run_id=run_id)
        found.whole = {Metric(row["metric"]): row["value"] for row in whole}
        found.samples = find_run(lake, run_id)["data_num"]


def _diagnose(
    lake: Lake, found: Network, same: Iterable[Row], by_name: Mapping[tuple[str, str], Item]
) -> None:
    run = next((r for r in same if r["kind"] == "diagnosis"), None)
    if run is None:
        return
    metric = Metric(next(iter(run["metrics"] or ()), found.metric))
    if metric is Metric.COSINE_SIMILARITY and found.single:
        return  # of one element it tells nothing
    found.judges = run["data_num"]
    about = {"run_id": run["run_id"], "metric": metric.value}
    causes, remedies = lake.query("causes", **about), lake.query("remedies", **about)
    other = "" if run["data_id"] == found.run["data_id"] else " of other samples"
    found.used.append((f"diagnosis{other}", run["run_id"]))
    words = words_table(causes, remedies, metric).rows
    for (subject, rows), (wrong, mends) in zip(
        groupby(causes, key=lambda row: row["subject"]), words, strict=True
    ):
        found.words.append((subject, wrong + (f" ({other.strip()})" if other else ""), mends))
        item = by_name.get((NODE, subject))
        if item is None:
            continue
        worst = max(rows, key=lambda row: metric.badness(row["alone"]))
        item.cause = _cause(worst, metric)
        item.said += [("what is wrong", wrong), ("what mends it", mends)]


def _cause(row: Row, metric: Metric) -> str:
    """What costs most of a node's worst quantizer; ``docs/diagnosis.md`` has the formulas."""
    clips = row["clipping"] is not None and (row["saturation"] or row["clip_share"])
    worse = clips and metric.badness(row["clipping"]) > metric.badness(row["rounding"])
    return f"{row['kind'] or 'quantizer'} {'clipping' if worse else 'rounding'}"


def _plan(
    lake: Lake, found: Network, same: Iterable[Row], by_name: Mapping[tuple[str, str], Item]
) -> None:
    run = next((r for r in same if r["kind"] == "plan"), None)
    if run is None:
        return
    plan = next(iter(lake.query("plan_result", run_id=run["run_id"])), None)
    if plan is None:
        return
    found.used.append(("plan", run["run_id"]))
    nodes = lake.query("plan_nodes", run_id=run["run_id"])
    points = lake.query("plan_frontier", run_id=run["run_id"])
    found.planned = list(plan_lines(plan, nodes, points))
    value = "share of the error" if plan["is_share"] else plan["metric"]
    for row in nodes:
        told = "stays as calibrated"
        if row["qtype"]:
            told = f"becomes {row['qtype']} at a cost of {row['price']:.5g} {plan['unit']}"
            told += f" ({', '.join(row['calibration_nodes'])})"
            if row["without"] is not None:
                told += f"; taken back alone, the plan has {value} {format_value(row['without'])}"
        for node in row["nodes"]:
            if item := by_name.get((NODE, node)):
                item.said.append((f"plan for {plan['target']}", told))


def _evidence(lake: Lake, found: Network, same: Sequence[Row]) -> None:
    """Histograms and channels of whatever run of the model looked at them, the newest first."""
    by_name: dict[str, Item] = {}
    for item in found.items:
        by_name.setdefault(item.name, item)
    for run in [r for r in same if r["kind"] == "distribution"][:_EVIDENCE]:
        rows = lake.query("distribution", run_id=run["run_id"])
        bins: dict[tuple[str, str], list[Row]] = {}
        new = {r["node"] for r in rows if r["node"] in by_name and not by_name[r["node"]].series}
        if not new:
            continue
        found.used.append(("histograms", run["run_id"]))
        for counted in lake.query("histogram", run_id=run["run_id"]):
            bins.setdefault((counted["node"], counted["series"]), []).append(counted)
        for row in rows:
            if row["node"] in new:
                series = _series(row, bins.get((row["node"], row["series"]), []))
                by_name[row["node"]].series.append(series)
    for run in [r for r in same if r["kind"] == "channelwise-distribution"][:_EVIDENCE]:
        used = False
        channels = lake.query("channel_distribution", run_id=run["run_id"])
        for node, boxes in groupby(channels, key=lambda row: row["node"]):
            seen = by_name.get(node)
            if seen is not None and not seen.channels:
                seen.channels, used = _boxes(list(boxes)), True
        if used:
            found.used.append(("channels", run["run_id"]))


def _series(row: Row, bins: Sequence[Row]) -> dict[str, Any]:
    step = -(-len(bins) // _BINS) if bins else 1
    counts = [sum(b["count"] for b in bins[k : k + step]) for k in range(0, len(bins), step)]
    nonfinite = row["nan"] + row["inf"]
    told = (
        f"{_short(row['min'])} to {_short(row['max'])}, mean {_short(row['mean'])}, "
        f"std {_short(row['std'])}, 1 % {_short(row['q01'])}, median {_short(row['median'])}, "
        f"99 % {_short(row['q99'])}, {row['zeros']:,} of {row['count']:,} zeros"
    )
    return {
        "series": row["series"],
        "told": told + (f", {nonfinite:,} not finite" if nonfinite else ""),
        "low": _finite(bins[0]["low"]) if bins else None,
        "high": _finite(bins[-1]["high"]) if bins else None,
        "threshold": _finite(row["threshold"]),
        "counts": counts,
    }


def _finite(value: float | None) -> float | None:
    """A number that JSON has; None for all others."""
    return value if value is not None and math.isfinite(value) else None


def _short(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"


def _boxes(rows: list[Row]) -> dict[str, Any]:
    """The channels of widest range, in their order."""
    widest = sorted(rows, key=lambda r: r["min"] - r["max"])[:_CHANNELS]
    names = ("min", "q25", "median", "q75", "max")
    boxes = [
        [r["channel"], *(float(f"{r[n]:.4g}") for n in names)]
        for r in sorted(widest, key=lambda r: r["channel"])
        if all(_finite(r[n]) is not None for n in names)
    ]
    return {"axis": rows[0]["axis"], "channels": len(rows), "boxes": boxes}


def _compare(
    lake: Lake,
    found: Network,
    before: str,
    rankings: Mapping[str, Row],
    by_name: Mapping[tuple[str, str], Item],
) -> None:
    found.against = before
    older = _rankings(lake, find_run(lake, before))
    metric = found.metric
    for what in (NODE, *QUANTIZERS):
        if what not in rankings or what not in older:
            continue
        pair = (older[what]["run_id"], rankings[what]["run_id"])
        found.used.append((f"{what}s before", pair[0]))
        for row in compare_runs(lake, *pair, metric).nodes:
            item = row["node_b"] and by_name.get((what, row["node_b"]))
            if not item:
                continue
            item.drop = row["drop"]
            item.change = (
                f"{row['status']}: {metric} {format_value(row['value_a'])} to "
                f"{format_value(row['value_b'])}"
            )
            if row["matched_by"] == "structure":
                item.change += f" (was {row['node_a']})"
            if row["status"] == "added":
                item.change = f"not ranked before: {metric} {format_value(row['value_b'])}"
