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

_LEAST_GAP = 0.001
"""A smaller gap is not seen in what is printed."""


@dataclass(frozen=True)
class Copies:
    """Mean squared errors on moved copies: of each configuration outputs by samples by copies."""

    errors: Mapping[Key, Floats]
    """Of what was measured on all of them."""
    samples: int
    copies: int

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
    return Copies(found, number, copies)


def record_shares(
    run: Run,
    nodes: Sequence[Planned],
    node_type: NodeType,
    level: float,
    until: float | None = None,
) -> None:
    """Measure what each node alone and the whole without it cost, and record the shares.

    Copies are added until rounding is small, or there are eight; where
    there is a time to keep, as many samples are taken as there is time for.

    Args:
        run: a run that has measured its nodes alone.
        nodes: each alone.
        node_type: what quantizing one means.
        level: of the intervals.
        until: the time of `time.monotonic` at which to stop.
    """
    model = run.subject.model
    names = [node.subject for node in nodes]
    planned = [*nodes, *left_out(model, names, node_type), whole(model)]
    most = _affordable(run, len(planned) * FEWEST_COPIES, until)
    if not most or not names:
        return
    chosen = share_samples(len(run.subject.samples), most)
    best, copies = Copies({}, 0, 0), FEWEST_COPIES
    while copies <= MOST_COPIES:
        found = measure_copies(run, planned, chosen, copies, until)
        if len(found.errors) < max(len(best.errors), 1):
            break  # the time is spent
        best, copies = found, 2 * copies
        if _is_useful(best, names, level) or (until is not None and time.monotonic() > until):
            break
    _record(run, best, nodes, planned[-1], level)


def _affordable(run: Run, executions: int, until: float | None) -> int:
    """How many samples there is time for, by what the run's measurements took."""
    samples = min(len(run.subject.samples), MOST_SAMPLES)
    if until is None:
        return samples
    now, done = time.monotonic(), run.measuring.written / max(len(run.subject.outputs), 1)
    each = (now - run.began) / max(done, 1)
    return int(min(samples, max(until - now, 0) // (each * executions)))


def _is_useful(found: Copies, names: Sequence[str], level: float) -> bool:
    known = _known(found, names)
    if not known:
        return True
    share = _shares(found, known, level)[0]
    scattered = (share.high - share.low) / 4 if found.samples > 1 else 0.0
    return not (2 * share.rounding > np.maximum(_USEFUL, scattered)).any()


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
