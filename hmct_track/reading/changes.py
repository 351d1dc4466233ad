"""Whether a change from one ranking to another is more than its samples and rounding make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hmct_track.analyses.certainty import Floats, Measured, measured_values
from hmct_track.confidence import LEVEL, Means, mean_intervals, means_of
from hmct_track.types import Metric

if TYPE_CHECKING:
    from hmct_track.lake import Lake, Row

QUANTITIES = {
    "whole_drop_low": "what the fully quantized model lost at least, with a confidence of 95 %",
    "whole_drop_high": "what it lost at most, likewise",
    "surely_worse": "nodes that became worse by more than chance, all of them looked at",
    "surely_better": "nodes that became better, likewise",
    "score_drop": "how much worse the first score of the fully quantized model became",
    "score_a": "that score in run_a",
    "score_b": "the same in run_b",
    "score_worse": "samples that score worse in run_b than in run_a; empty of a class",
    "score_better": "samples that score better, likewise",
}
"""What `sure_changes` gives, by name; all empty where the runs used other samples or outputs."""

_CLOSE = 1e-12
_TWO_SIDED = 1.96
"""Standard deviations of a normal distribution that hold 95 %."""


def sure_changes(
    lake: Lake, before: Row, after: Row, metric: Metric, nodes: Sequence[Row]
) -> dict[str, float | None]:
    """The quantities of `QUANTITIES`: drops paired sample by sample.

    Several samples tell the spread of the drop (`mean_intervals`); of one, what was measured of
    rounding does. Nodes are tested by Student's t, at a level divided by their number (Bonferroni).

    Args:
        lake: where the runs are.
        before: the first run.
        after: the second one.
        metric: what is compared.
        nodes: rows of the query ``compare_nodes``.
    """
    found: dict[str, float | None] = dict.fromkeys(QUANTITIES)
    if any(before[name] != after[name] for name in ("data_id", "outputs")):
        return found
    runs = lake.query("runs", run=before["run_id"])
    samples = next(r["data_num"] for r in runs if r["run_id"] == before["run_id"])
    both = [measured_values(lake, run["run_id"], samples) for run in (before, after)]
    whole = [_series(m.of_role("reference"), metric) for m in both]
    if all(len(w.values) for w in whole):
        found["whole_drop_low"], found["whole_drop_high"] = _interval(
            _drops(whole[0], whole[1], metric), _noise(lake, (before, after), metric)
        )
    pairs = [(row["node_a"], row["node_b"]) for row in nodes if row["node_a"] and row["node_b"]]
    if samples > 1 and pairs:
        counts = _worse_and_better([m.of_role("only") for m in both], pairs, metric)
        found["surely_worse"], found["surely_better"] = counts
    return found | score_changes(lake, before["run_id"], after["run_id"])


def score_changes(lake: Lake, before: str, after: str) -> dict[str, float | None]:
    """How the first score of the second run changed from the first, of all nodes quantized.

    Args:
        lake: where the runs are.
        before: a run's id.
        after: another's, of the same samples.

    Returns:
        Quantities whose names begin with ``score``; none where not both have the score, of the same
        function and labels.
    """
    runs = [
        {r["score"]: r for r in lake.query("score_results", run_id=run) if r["role"] == "reference"}
        for run in (before, after)
    ]
    name = next((name for name in runs[1] if name in runs[0]), None)
    if name is None:
        return {}
    a, b = runs[0][name], runs[1][name]
    sign = 1.0 if b["higher_is_better"] else -1.0
    found: dict[str, float | None] = {
        "score_drop": sign * (a["value"] - b["value"]),
        "score_a": a["value"],
        "score_b": b["value"],
    }
    values = [
        {
            (r["sample"], r["score_id"]): r["value"]
            for r in lake.query("score_values", run_id=run)
            if r["score"] == name and r["role"] == "reference"
        }
        for run in (before, after)
    ]
    if values[0].keys() != values[1].keys():
        return {}  # of other labels, or a function that has changed since
    pairs = [(values[0][k], values[1][k]) for k in values[0]]
    drops = [sign * (x - y) for x, y in pairs if x is not None and y is not None]
    if drops:
        found["score_worse"] = float(sum(drop > _CLOSE for drop in drops))
        found["score_better"] = float(sum(drop < -_CLOSE for drop in drops))
    return found


def _series(measured: Measured, metric: Metric) -> Means:
    return means_of(measured.values[metric], metric)


def _drops(before: Means, after: Means, metric: Metric) -> Means:
    """How much worse the second is, by node and sample."""
    sign = -1.0 if metric.higher_is_better else 1.0
    return Means(sign * (after.values - before.values), sign * (after.series - before.series))


def _interval(drops: Means, noise: float | None) -> tuple[float | None, float | None]:
    if drops.counts[0] > 1:
        found = mean_intervals(drops, None, LEVEL)
        return float(found.low[0]), float(found.high[0])
    if noise is None or not math.isfinite(drops.values[0]):
        return None, None
    drop, width = float(drops.values[0]), _TWO_SIDED * noise
    return drop - width, drop + width


def _noise(lake: Lake, runs: Sequence[Row], metric: Metric) -> float | None:
    """What rounding does to a difference of the fully quantized models."""
    found: list[Any] = [
        row["noise"]
        for run in runs
        for row in lake.query("intervals", run_id=run["run_id"], metric=metric.value)
        if row["role"] == "reference"
    ]
    return math.hypot(*found) if len(found) == 2 and None not in found else None


def _worse_and_better(
    both: Sequence[Measured], pairs: Sequence[tuple[str, str]], metric: Metric
) -> tuple[int, int]:
    series = [_by_name(m, metric) for m in both]
    drops = [
        series[1][b] - series[0][a] for a, b in pairs if a in series[0] and b in series[1]
    ]  # fmt: skip
    chances = [_chance(d[np.isfinite(d)]) for d in drops]
    least = (1 - LEVEL) / max(len(chances), 1)
    sign = -1 if metric.higher_is_better else 1
    sure = [sign * way for way, chance in chances if chance < least]
    return sum(way > 0 for way in sure), sum(way < 0 for way in sure)


def _by_name(measured: Measured, metric: Metric) -> dict[str, Floats]:
    series = _series(measured, metric).series
    return {row[1]: series[k] for k, row in enumerate(measured.rows)}


def _chance(drops: Floats) -> tuple[float, float]:
    """Which way it goes, and how probable it is where nothing has changed."""
    from scipy.special import stdtr  # scipy.stats takes long to load

    if len(drops) < 2 or not drops.any():
        return 0.0, 1.0
    mean, error = float(drops.mean()), float(drops.std(ddof=1)) / math.sqrt(len(drops))
    return mean, float(2 * stdtr(len(drops) - 1, -abs(mean) / error)) if error else 0.0
