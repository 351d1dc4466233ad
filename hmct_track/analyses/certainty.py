"""How sure a run's numbers are: worked out of its samples, and recorded with it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.types import Metric, Planned

if TYPE_CHECKING:
    from hmct_track.lake import Lake
    from hmct_track.recording import Run

COPIES = 2
"""Moved copies of the first sample, on which rounding is measured."""

_SMALLEST = 2.0**-23
"""A float32 is known to so much of itself."""

_TOLD = 2.0
"""An error is told from rounding if it is so many times as large."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """The values of a run's configurations, by metric: nodes by outputs by samples."""

    rows: Sequence[tuple[int, str, str]]
    """Position, subject and role of each node of the arrays."""
    values: dict[Metric, Floats]
    measured: NDArray[np.bool_]
    """Nodes by samples; also where the outputs were no numbers."""

    def of_role(self, role: str) -> Measured:
        """Those of one role."""
        chosen = [k for k, row in enumerate(self.rows) if row[2] == role]
        return Measured(
            [self.rows[k] for k in chosen],
            {m: v[chosen] for m, v in self.values.items()},
            self.measured[chosen],
        )


def measured_values(lake: Lake, run_id: str, samples: int) -> Measured:
    """What a run's configurations gave on each sample, whichever run measured it."""
    found = lake.query("sample_values", run_id=run_id)
    keys = sorted({(row["position"], row["subject"], row["role"]) for row in found})
    outputs = sorted({row["output"] for row in found})
    shape = len(keys), len(outputs), samples
    arrays = {metric: np.full(shape, math.nan) for metric in Metric}
    measured = np.zeros((len(keys), samples), dtype=bool)
    node = {key[0]: k for k, key in enumerate(keys)}
    output = {name: k for k, name in enumerate(outputs)}
    for row in found:
        values = [math.nan if value is None else value for value in row["values"]]
        place = node[row["position"]], output[row["output"]]
        arrays[Metric(row["metric"])][*place, row["samples"]] = values
        measured[place[0], row["samples"]] = True
    return Measured(keys, arrays, measured)


def record_confidence(
    run: Run,
    asked: Sequence[Metric],
    noisy: Sequence[Planned],
    top: int,
    level: float,
    until: float | None = None,
) -> None:
    """Measure what rounding does to a few configurations, and record how sure each metric is.

    Args:
        run: a run that has measured its nodes alone, and all of them together.
        asked: the metrics that may rank.
        noisy: the configurations whose rounding is measured; none to leave it.
        top: how many are the top of the ranking.
        level: of the intervals.
        until: the time of `time.monotonic` from which on nothing more is measured.
    """
    from hmct_track.lake import CONFIDENCE

    samples = len(run.subject.samples)
    measured = measured_values(run.lake, run.run_id, samples)
    if not measured.rows:
        return
    if noisy and (until is None or time.monotonic() < until):
        run.measuring.measure_moved(noisy, [0], COPIES, until=until)
    noise = rounding(run, measured)
    floor = max(run.measuring.noise_floor or 0.0, _SMALLEST)
    told = told_from_zero(measured, noise, floor)
    rows: list[dict[str, Any]] = []
    for role in dict.fromkeys(row[2] for row in measured.rows):
        part = measured.of_role(role)
        for metric in Metric:
            ranked = role == "only" and metric in asked
            rows += _rows(run, part, metric, noise, told, min(top, len(part.rows)), level, ranked)
    run.lake.append(CONFIDENCE, rows)


def _rows(
    run: Run,
    measured: Measured,
    metric: Metric,
    noise: dict[tuple[int, Metric], float],
    told: dict[int, bool],
    top: int,
    level: float,
    ranked: bool,
) -> Iterable[dict[str, Any]]:
    from hmct_track.confidence import mean_intervals, means_of, rank_nodes

    means = means_of(measured.values[metric], metric)
    counts = means.counts
    own = np.array([noise.get((row[0], metric), math.nan) for row in measured.rows])
    found = mean_intervals(means, metric, level)
    ranks = rank_nodes(means, metric, top, own, level) if ranked else None
    for k, (position, subject, role) in enumerate(measured.rows):
        row: dict[str, Any] = {
            "run_id": run.run_id,
            "position": position,
            "subject": subject,
            "role": role,
            "metric": metric.value,
            "samples": int(measured.measured[k].sum()),
            "level": level,
            "low": _number(found.low[k]),
            "high": _number(found.high[k]),
            "method": found.methods[k],
            "noise": _number(own[k]),
            "told_from_zero": told[position],
            **dict.fromkeys(("rank_low", "rank_high", "top_k", "top_k_probability", "tie_group")),
        }
        sure = ranks is not None and counts[k] > 1
        if ranks is not None:
            row |= {"tie_group": int(ranks.groups[k]) or None, "top_k": top}
        if ranks is not None and sure:
            row |= {
                "rank_low": int(ranks.low[k]),
                "rank_high": int(ranks.high[k]),
                "top_k_probability": float(ranks.top[k]),
            }
        yield row


def rounding(run: Run, measured: Measured) -> dict[tuple[int, Metric], float]:
    """By position and metric, the standard deviation of a value that rounding alone makes.

    That of one sample, over the sample and its moved copies; a mean's is smaller, as rounding is
    another in each sample.
    """
    found = run.lake.query("moved_values", run_id=run.run_id)
    places = {row[0]: k for k, row in enumerate(measured.rows)}
    by_copy: dict[tuple[int, Metric, int], dict[int, list[float]]] = {}
    for row in found:
        if row["position"] in places and row["value"] is not None:
            key = row["position"], Metric(row["metric"]), row["sample"]
            by_copy.setdefault(key, {}).setdefault(row["copy"], []).append(row["value"])
    deviations: dict[tuple[int, Metric], list[float]] = {}
    for (position, metric, sample), copies in by_copy.items():
        here = measured.values[metric][places[position], :, sample]
        values = [float(np.mean(here)), *(math.fsum(v) / len(v) for v in copies.values())]
        if len(values) > 1 and np.isfinite(values).all():
            deviations.setdefault((position, metric), []).append(float(np.var(values, ddof=1)))
    result = {}
    for (position, metric), variances in deviations.items():
        number = int(measured.measured[places[position]].sum())
        result[position, metric] = math.sqrt(float(np.mean(variances)) / max(number, 1))
    return result


def told_from_zero(
    measured: Measured, noise: dict[tuple[int, Metric], float], floor: float
) -> dict[int, bool]:
    """Of each configuration whether its error is more than rounding.

    An error relative to its output, as the ratio of signal to noise has it, has to be above what
    two float models of one network differ by, and a mean squared error above its own noise.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        relative = 10 ** (-measured.values[Metric.SQNR] / 20)
    squared = measured.values[Metric.MSE]
    told = {}
    for k, (position, _, _) in enumerate(measured.rows):
        known = relative[k][~np.isnan(relative[k])]
        error = float(known.mean()) if known.size else math.inf
        own = noise.get((position, Metric.MSE), 0.0)
        mean = squared[k][np.isfinite(squared[k])]
        told[position] = error > _TOLD * floor and (
            not mean.size or float(mean.mean()) > _TOLD * own
        )
    return told


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
