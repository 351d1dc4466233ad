"""What a race found out and what it did not, in words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hmct_track.analyses.certainty import measured_values
from hmct_track.confidence.racing import Standing, stand
from hmct_track.types import Metric

if TYPE_CHECKING:
    from hmct_track.analyses.base import Answer
    from hmct_track.lake.rows import UnmeasuredRow

_WIDTH = 80
_MOST_NAMED = 10


def race_note(
    answer: Answer[Any], metric: Metric, top: int, level: float, budget: float | None
) -> str:
    """Whether the top is settled, why the race ended, and what is not known.

    Args:
        answer: of a ranking that raced.
        metric: what ranked.
        top: how many are the top.
        level: how sure it was to be, 0 to 1.
        budget: the seconds that it had.
    """
    samples = answer.run["data_num"]
    left = answer.lake.query("unmeasured", run_id=answer.run_id)
    found = measured_values(answer.lake, answer.run_id, samples).of_role("only")
    nodes = len(found.rows) + len(left)
    k = min(top, nodes)
    share = f"{int(found.measured.sum())} of {nodes * samples} executions"
    spent = f"the time of {budget:g} s was spent" if budget else "it was interrupted"
    if left:
        lines = [f"{spent} after {share}; {len(left)} of {nodes} nodes were not measured"]
        return "\n".join(map(_filled, [*lines, _proxy(left)]))
    standing = stand(found.values[metric], found.measured, metric, k, level)
    if standing.is_settled:
        return _filled(f"the top {k} is settled with {100 * level:g} % after {share}")
    return _filled(
        f"the top {k} is not settled: {spent} after {share}; {_open(standing, found.rows)}"
    )


def _proxy(left: Sequence[UnmeasuredRow]) -> str:
    names = [row["subject"] for row in left[:_MOST_NAMED]]
    more = ", ..." if len(left) > _MOST_NAMED else ""
    if left[0]["local_error"] is None:
        return f"not measured: {', '.join(names)}{more}"
    return f"not measured, by local error (a proxy), worst first: {', '.join(names)}{more}"


def _open(standing: Standing, rows: Sequence[tuple[int, str, str]]) -> str:
    chosen = [k for k in standing.order if standing.open[k]]
    names = [rows[k][1] for k in chosen[:_MOST_NAMED]]
    more = ", ..." if len(chosen) > _MOST_NAMED else ""
    last = int(np.flatnonzero(standing.open[standing.order]).max()) + 1
    return f"open are {len(chosen)} nodes down to rank {last}: {', '.join(names)}{more}"


def _filled(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
