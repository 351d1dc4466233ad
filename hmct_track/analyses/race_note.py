"""What a race found out and what it did not, in words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from hmct_track.analyses.base import Answer
from hmct_track.analyses.certainty import TOP, measured_values
from hmct_track.confidence.racing import Standing, stand
from hmct_track.lake import Row

_WIDTH = 80
_MOST_NAMED = 10


def race_note(answer: Answer) -> str:
    """Whether the top is settled, why the race ended, and what is not known; empty for no race."""
    given = answer.analysis
    if getattr(given, "top", None) is None and getattr(given, "budget", None) is None:
        return ""
    samples, metric = answer.run["data_num"], given.metrics_asked[0]
    left = answer.query("unmeasured")
    found = measured_values(answer.lake, answer.run_id, samples).of_role("only")
    nodes = len(found.rows) + len(left)
    k, level = min(getattr(given, "top", None) or TOP, nodes), float(getattr(given, "confidence"))  # noqa: B009
    share = f"{int(found.measured.sum())} of {nodes * samples} executions"
    budget = getattr(given, "budget", None)
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


def _proxy(left: Sequence[Row]) -> str:
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
