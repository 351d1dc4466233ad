"""A ranking that stops when its top is known, or its time is spent: what to measure next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hmct_track.analyses.base import Round, Seen
from hmct_track.analyses.certainty import measured_values
from hmct_track.confidence.racing import Standing, next_count, stand
from hmct_track.types import Metric, Planned

if TYPE_CHECKING:
    from hmct_track.lake import Lake
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run

_RESERVE = 0.05
"""The part of a budget that is left for the answer itself, at most `_MOST_RESERVE` seconds."""
_MOST_RESERVE = 2.0

_SHARE_OF_RUN = 0.6
"""A node costs about so much of a run of the whole model, as it runs from the node on."""

_CHUNK = 8
"""Nodes that are measured at a time where there is no time for all."""

_SHOWN = 10


@dataclass(frozen=True)
class Race:
    """The stopping rule of a ranking.

    It is asked between two rounds, and knows nothing but what the lake has of the run.
    """

    nodes: Sequence[Planned]
    """Each alone, in topological order."""
    whole: Planned
    metric: Metric
    k: int
    level: float
    budget: float | None
    """Seconds from the start; None is as long as it takes."""

    def next(self, model: QuantModel, seen: Seen) -> Round:
        """What to measure next; nothing when the top is known or the time is spent."""
        until = self._until(seen)
        if not seen.rounds:
            # One run of the whole model first, which tells what a run takes.
            return Round([self.whole], [0], plan=[*self.nodes, self.whole], until=until)
        if until is not None and time.monotonic() >= until:
            return Round()
        values, measured = self._values(seen)
        if not measured.any(axis=1).all():
            return self._first(model, seen, measured, until)
        standing = stand(values, measured, self.metric, self.k, self.level)
        if standing.is_settled:
            return self._whole_on_all(seen, until)
        return self._on(standing, measured, seen, until)

    def _first(
        self, model: QuantModel, seen: Seen, measured: NDArray[np.bool_], until: float | None
    ) -> Round:
        """One sample of every node; of the locally worst first where there is no time for all."""
        left = [k for k in range(len(self.nodes)) if not measured[k].any()]
        spare = np.inf if until is None else until - time.monotonic()
        if len(left) * _SHARE_OF_RUN * seen.seconds <= spare and seen.rounds == 1:
            return Round([self.nodes[k] for k in left], [0], until=until)
        if seen.rounds == 1 and seen.run is not None:
            record_local_errors(seen.run, self.nodes)
        order = [row["subject"] for row in seen.query("unmeasured")]
        by_name = {self.nodes[k].subject: self.nodes[k] for k in left}
        chosen = [by_name[name] for name in order if name in by_name][:_CHUNK]
        return Round(chosen, [0], until=until)

    def _on(
        self,
        standing: Standing,
        measured: NDArray[np.bool_],
        seen: Seen,
        until: float | None,
    ) -> Round:
        counts = measured.sum(axis=1)
        order = sample_order(seen.samples)
        opened = standing.open
        goal = next_count(counts, opened, seen.samples)
        chosen = np.flatnonzero(opened & (counts < goal)).tolist()
        lacking = [int(s) for s in order if not measured[chosen, s].all()]
        samples = lacking[: max(goal - int(counts[chosen].min()), 1)]
        planned = [self.nodes[k] for k in chosen]
        return Round(
            [*planned, self.whole], samples, until=until, standing=self._told(standing, counts)
        )

    def _whole_on_all(self, seen: Seen, until: float | None) -> Round:
        """The fully quantized model on the samples that it lacks, if there is time."""
        assert seen.lake is not None  # noqa: S101 - there was a round
        found = measured_values(seen.lake, seen.run_id, seen.samples).of_role("reference")
        lacking = np.flatnonzero(~found.measured.any(axis=0)).tolist()
        return Round([self.whole], lacking, until=until) if lacking else Round()

    def _told(self, standing: Standing, counts: NDArray[np.int64]) -> str:
        """How the race stands, in lines."""
        lines = [f"ranking so far, {int(standing.open.sum())} of {len(counts)} nodes still open"]
        for rank, node in enumerate(standing.order[:_SHOWN], start=1):
            mark = "open" if standing.open[node] else ""
            name = self.nodes[node].subject
            lines.append(f"{rank:4}  {counts[node]:4} samples  {mark:4}  {name}")
        return "\n".join(lines)

    def _values(self, seen: Seen) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        assert seen.lake is not None  # noqa: S101 - there was a round
        return values_of(seen.lake, seen.run_id, seen.samples, self.metric, len(self.nodes))

    def _until(self, seen: Seen) -> float | None:
        if self.budget is None:
            return None
        return end_of(self.budget, seen.began)


def end_of(budget: float, began: float) -> float:
    """When to stop measuring, by `time.monotonic`."""
    return began + budget - min(_RESERVE * budget, _MOST_RESERVE)


def sample_order(samples: int) -> NDArray[np.int64]:
    """The order in which samples are measured: the first, then at random, always the same.

    Data are often sorted, so that the first few are not like the others.
    """
    random = np.random.default_rng(samples)
    return np.concatenate([[0], 1 + random.permutation(samples - 1)]).astype(np.int64)


def values_of(
    lake: Lake, run_id: str, samples: int, metric: Metric, nodes: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What is measured of each node alone, by its place in the plan.

    Returns:
        The metric, nodes by outputs by samples, NaN where there is none; and what was measured,
        nodes by samples.
    """
    found = measured_values(lake, run_id, samples).of_role("only")
    values, places = found.values[metric], [row[0] for row in found.rows]
    result = np.full((nodes, *values.shape[1:]), np.nan)
    measured = np.zeros((nodes, samples), dtype=bool)
    result[places], measured[places] = values, found.measured
    return result, measured


def record_local_errors(run: Run, nodes: Sequence[Planned]) -> None:
    """Look how far quantizers move their own tensors, on the first sample: a proxy of the order."""
    from hmct_track.engine.local import local_errors
    from hmct_track.lake import LOCAL_ERRORS

    model, inputs = run.subject.model, run.subject.inputs([0])
    chosen = {c for node in nodes for c in model.calibrations_of(node.subject)}
    names = [node.name for node in model.switchable_calibrations if node.name in chosen]
    place = {name: position for position, name in enumerate(names)}
    rows = [
        {
            "run_id": run.run_id,
            "position": place[found.node],
            "node": found.node,
            "sample_id": found.sample_id,
            "error": error,
            **asdict(pair),
        }
        for found in local_errors(run.subject.engine, inputs, names)
        for error, pair in (("own", found.own), ("accumulated", found.accumulated))
    ]
    run.lake.append(LOCAL_ERRORS, rows)
