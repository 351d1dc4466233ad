"""Errors on moved copies of samples, paired: what nodes and pairs have to do with the whole."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.analyses.configurations import left_out, whole
from hmct_track.types import NodeType, Planned

if TYPE_CHECKING:
    from hmct_track.confidence import Shares
    from hmct_track.recording import Run

Floats = NDArray[np.float64]
Key = tuple[str, str]
"""Role and subject of a configuration."""

MOST_SAMPLES = 16
FEWEST_COPIES, MOST_COPIES = 2, 8

_USEFUL = 0.01
"""Copies are enough where two standard deviations of rounding are less of the whole's error, or
less than half of what the samples scatter."""

TIMES = 5
"""Shares take at most so many times as long as the ranking, unless there is a budget ..."""
LEAST_SECONDS = 60.0
"""... or so long, if that is longer."""

_LEAST_GAP = 0.001
"""A smaller gap is not seen in what is printed."""


@dataclass(frozen=True)
class Copies:
    """Mean squared errors on moved copies: of each configuration outputs by samples by copies."""

    errors: Mapping[Key, Floats]
    """Of what was measured on all of them."""
    samples: int
    copies: int
    taken: int = 0
    """Samples with those on which some outputs are no numbers."""

    def of(self, role: str, subjects: Sequence[str]) -> Floats:
        """Of several configurations: subjects by outputs by samples by copies."""
        return np.stack([self.errors[role, name] for name in subjects])


def share_samples(samples: int, most: int = MOST_SAMPLES) -> list[int]:
    """Which samples shares are measured on: as many, at random, always the same."""
    from hmct_track.analyses.racing import sample_order

    return sorted(sample_order(samples)[:most].tolist())


def measure_copies(
    run: Run, planned: Sequence[Planned], samples: Sequence[int], copies: int, until: float | None
) -> Copies:
    """Measure configurations on moved copies, and give what is known of all of them.

    A sample on which some outputs are no numbers counts for none.
    """
    run.measuring.measure_moved(planned, samples, copies, until=until)
    rows = run.lake.query("moved_errors", run_id=run.run_id)
    outputs = {name: k for k, name in enumerate(sorted({row["output"] for row in rows}))}
    place = {sample: k for k, sample in enumerate(samples)}
    wanted = {(p.role, p.subject) for p in planned}
    found: dict[Key, Floats] = {}
    shape = len(outputs), len(samples), copies
    for row in rows:
        key = row["role"], row["subject"]
        if key not in wanted:
            continue
        errors = found.setdefault(key, np.full(shape, -1.0))
        for sample, copy, error in zip(row["samples"], row["copies"], row["errors"], strict=True):
            if sample in place and copy <= copies:
                value = math.nan if error is None else error
                errors[outputs[row["output"]], place[sample], copy - 1] = value
    found = {key: errors for key, errors in found.items() if not (errors == -1).any()}
    if found:
        finite = np.all([np.isfinite(e).all(axis=(0, 2)) for e in found.values()], axis=0)
        found = {key: errors[:, finite] for key, errors in found.items()}
    number = next(iter(found.values())).shape[1] if found else 0
    return Copies(found, number, copies, len(samples))


@dataclass
class _Pace:
    """What an execution of this run takes, by what it measured since it was last looked at."""

    run: Run
    seconds: float = 0.0
    executions: float = 0.0

    def look(self) -> None:
        """Count only what is measured from now on."""
        self.seconds, self.executions = self._so_far()

    def each(self) -> float | None:
        """Seconds of an execution; None where nothing was measured, as the lake had all."""
        seconds, executions = self._so_far()
        done = executions - self.executions
        return (seconds - self.seconds) / done if done else None

    def _so_far(self) -> tuple[float, float]:
        measuring = self.run.measuring
        return measuring.seconds, measuring.written / max(len(self.run.subject.outputs), 1)

    def fitting(self, executions: int, until: float) -> float:
        """How many times so many executions fit before a time; any number if it is not known."""
        left, each = until - time.monotonic(), self.each()
        if left <= 0:
            return 0.0
        return math.inf if not each else left / (each * executions)


def record_shares(
    run: Run,
    nodes: Sequence[Planned],
    node_type: NodeType,
    level: float,
    until: float | None = None,
) -> None:
    """Measure what each node alone and the whole without it cost, and record the shares.

    One sample tells what an execution takes. Then as many samples are taken as there is time for,
    and copies are added until rounding is small, there are eight, or more would take too long.

    Args:
        run: a run that has measured its nodes alone.
        nodes: each alone.
        node_type: what quantizing one means.
        level: of the intervals.
        until: the time of `time.monotonic` at which to stop; by default after `TIMES` times as long
            as the ranking takes, or `LEAST_SECONDS`.
    """
    names = [node.subject for node in nodes]
    planned = [*nodes, *left_out(run.subject.model, names, node_type), whole(run.subject.model)]
    began, pace, once = time.monotonic(), _Pace(run), len(planned) * FEWEST_COPIES
    if not names or (until is not None and pace.fitting(once, until) < 1):
        return
    ranking = run.measuring.seconds
    pace.look()
    most, count = min(len(run.subject.samples), MOST_SAMPLES), 1
    best = measure_copies(
        run, planned, share_samples(len(run.subject.samples), 1), FEWEST_COPIES, until
    )
    while count < most and pace.each() is None:  # known from before
        count = min(2 * count, most)
        best = _better(run, planned, count, FEWEST_COPIES, until, best)
    if until is None:
        own = len(nodes) * len(run.subject.samples) * (pace.each() or 0.0)
        until = began + max(LEAST_SECONDS, TIMES * max(ranking, own))
    count = int(min(most, count + pace.fitting(once, until)))
    best = _better(run, planned, count, FEWEST_COPIES, until, best)
    copies = FEWEST_COPIES
    while copies < MOST_COPIES and best.errors and not _is_useful(best, names, level):
        if pace.fitting(len(planned) * copies * count, until) < 1:
            break
        copies *= 2
        best = _better(run, planned, count, copies, until, best)
    _record(run, best, nodes, planned[-1], level)


def _better(
    run: Run,
    planned: Sequence[Planned],
    count: int,
    copies: int,
    until: float | None,
    best: Copies,
) -> Copies:
    """The same on more samples or copies, unless the time was spent before all was measured."""
    if (best.taken, best.copies) == (count, copies):
        return best
    chosen = share_samples(len(run.subject.samples), count)
    found = measure_copies(run, planned, chosen, copies, until)
    return best if len(found.errors) < max(len(best.errors), 1) else found


def is_rounding_small(
    rounding: float | None, low: float | None, high: float | None, samples: int
) -> bool:
    """Whether more copies would not tell more of a share: see `_USEFUL`.

    Args:
        rounding: standard deviation of the share that rounding makes; None of one copy.
        low: of its interval.
        high: likewise.
        samples: how many it rests on.
    """
    scattered = (high - low) / 4 if samples > 1 and low is not None and high is not None else 0.0
    return rounding is None or not 2 * rounding > max(_USEFUL, scattered)


def _is_useful(found: Copies, names: Sequence[str], level: float) -> bool:
    known = _known(found, names)
    if not known:
        return True
    share = _shares(found, known, level)[0]
    return all(
        is_rounding_small(
            _number(share.rounding[k]), _number(share.low[k]), _number(share.high[k]), found.samples
        )
        for k in range(len(known))
    )


def _known(found: Copies, names: Sequence[str]) -> list[str]:
    """The nodes of which everything was measured."""
    everything = any(role == "reference" for role, _ in found.errors)
    if not everything or not found.samples:
        return []
    return [n for n in names if ("only", n) in found.errors and ("without", n) in found.errors]


def _shares(found: Copies, names: Sequence[str], level: float) -> tuple[Shares, Shares, Shares]:
    """What is gone without each node, what each costs alone, and the gap between the two."""
    from hmct_track.confidence import shares

    everything = next(e for (role, _), e in found.errors.items() if role == "reference")
    alone, without = found.of("only", names), found.of("without", names)
    gone = everything - without
    return (
        shares(gone, everything, level),
        shares(alone, everything, level),
        shares(gone - alone, everything, level),
    )


def _record(
    run: Run, found: Copies, nodes: Sequence[Planned], everything: Planned, level: float
) -> None:
    from hmct_track.confidence import shares
    from hmct_track.lake import SHARES

    names = _known(found, [node.subject for node in nodes])
    if not names:
        return
    share, alone, gap = _shares(found, names, level)
    if not np.isfinite(share.values).all():
        return  # the whole model has no error
    positions = {
        (row["role"], row["subject"]): row["position"]
        for row in run.lake.query("moved_errors", run_id=run.run_id)
    }
    common = {
        "run_id": run.run_id,
        "samples": found.samples,
        "copies": found.copies,
        "level": level,
    }
    rows: list[dict[str, Any]] = [
        common
        | {"position": positions["only", name], "subject": name, "role": "only"}
        | _ends("alone", alone, k)
        | _ends("share", share, k)
        | _ends("gap", gap, k)
        | {
            "told": bool(share.surely[k]),
            "rounding": _number(share.rounding[k]),
            "interacts": bool(gap.surely[k]) and abs(gap.values[k]) >= _LEAST_GAP,
        }
        for k, name in enumerate(names)
    ]
    if len(names) == len(nodes):
        reference = found.errors[everything.role, everything.subject]
        total = shares(found.of("only", names).sum(axis=0)[None], reference, level)
        whole_gap = shares(reference[None] - found.of("only", names).sum(axis=0), reference, level)
        rows.append(
            common
            | {
                "position": positions[everything.role, everything.subject],
                "subject": everything.subject,
                "role": everything.role,
                "share": 1.0,
                "share_low": None,
                "share_high": None,
                "told": True,
                "rounding": None,
                "interacts": bool(whole_gap.surely[0]),
            }
            | _ends("alone", total, 0)
            | _ends("gap", whole_gap, 0)
        )
    run.lake.append(SHARES, rows)


def _ends(name: str, found: Shares, k: int) -> dict[str, float | None]:
    return {
        name: float(found.values[k]),
        f"{name}_low": _number(found.low[k]),
        f"{name}_high": _number(found.high[k]),
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
