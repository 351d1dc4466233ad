"""What shares were not measured, or not on all that they could be, in words."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hmct_track.analyses.shares import (
    LEAST_SECONDS,
    MOST_COPIES,
    MOST_SAMPLES,
    TIMES,
    is_rounding_small,
)

if TYPE_CHECKING:
    from hmct_track.analyses.base import Answer

_WIDTH = 80


def share_note(answer: Answer[Any], rows: Sequence[Mapping[str, Any]], budget: float | None) -> str:
    """Why there are no shares, or why there are not more samples and copies; empty if all is there.

    Args:
        answer: of a ranking that was asked for shares.
        rows: rows of the query ``shares``.
        budget: the seconds that it had, if it had a budget.
    """
    if rows:
        return _limit(rows, answer.run["data_num"], budget)
    found = [row for row in answer.query("moved_errors") if row["role"] == "reference"]
    errors = [math.nan if e is None else e for row in found for e in row["errors"]]
    if errors and not any(errors):
        why = "the whole model has no error"
    elif errors and all(map(math.isnan, errors)):
        why = "the whole model's error is no number"
    else:
        why = "it was interrupted" if budget is None else "there was no time left"
    return f"shares were not measured: {why}"


def _limit(rows: Sequence[Mapping[str, Any]], samples: int, budget: float | None) -> str:
    first, most = rows[0], min(samples, MOST_SAMPLES)
    noisy = [
        row["rounding"]
        for row in rows
        if not is_rounding_small(
            row["rounding"], row["share_low"], row["share_high"], first["samples"]
        )
    ]
    limited = first["copies"] < MOST_COPIES and noisy
    if first["samples"] >= most and not limited:
        return ""
    what = f"{first['copies']} copies of each" if first["samples"] >= most else ""
    what = what or f"{first['samples']} of {most} samples"
    than = f"{TIMES} times the ranking ({LEAST_SECONDS:g} s at least)"
    than = than if budget is None else f"the {budget:g} s"
    said = [f"shares rest on {what}, as more would take longer than {than}"]
    if limited:
        said.append(f"rounding moves them by up to {100 * 2 * max(noisy):.1f} %")
    said.append("the same command goes on from there")
    return textwrap.fill("; ".join(said), _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
