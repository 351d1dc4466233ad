"""What scores make of a run's configurations: totals, intervals, and the order by a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.errors import EngineError, UsageError

if TYPE_CHECKING:
    from hmct_track.analyses.base import Answer, Seen
    from hmct_track.lake import Lake
    from hmct_track.lake.rows import ScoreResultsRow, ScoreValuesRow
    from hmct_track.recording import Run
    from hmct_track.scoring.judge import Scorer

PROPORTION, BOOTSTRAP, NONE = "wilson-newcombe", "bootstrap", "none"

LEVEL = 0.95
_RESAMPLES = 200
_SEED = 20240229
"""Fixed, so that the same measurements give the same intervals."""
_CLOSE = 1e-12
_MOST_GROUPS = 50
"""Groups of samples that are left out in turn, to see what each has to do with a class's total."""
HELD_OUT = "held-out"
"""The role of what is judged on samples that chose nothing."""


def record_scores(
    run: Run,
    level: float = LEVEL,
    counts: Callable[[ScoreValuesRow], bool] = lambda _: True,
) -> None:
    """Work out and record each score of each configuration; nothing of a run without scores.

    Args:
        run: the run.
        level: of the intervals.
        counts: whether a sample of a configuration counts; the lake may know more than was asked.

    Raises:
        EngineError: the total of a class fails.
    """
    from hmct_track.lake import SCORE_TOTALS

    rows = [
        {"run_id": run.run_id, **total_row(judge.scorer, values, level)}
        for judge in run.subject.scores
        for values in _by_position(run.lake, run.run_id, judge.scorer.name, counts)
    ]
    if rows:
        run.lake.append(SCORE_TOTALS, rows)


def _by_position(
    lake: Lake, run_id: str, name: str, counts: Callable[[ScoreValuesRow], bool] = lambda _: True
) -> list[list[ScoreValuesRow]]:
    found: dict[int, list[ScoreValuesRow]] = {}
    for row in lake.query("score_values", run_id=run_id):
        if row["score"] == name and counts(row):
            found.setdefault(row["position"], []).append(row)
    return [*found.values()]


def total_row(scorer: Scorer, rows: Sequence[ScoreValuesRow], level: float) -> dict[str, Any]:
    """The row of ``score_totals`` of one configuration, but for its run.

    Args:
        scorer: the score.
        rows: rows of the query ``score_values`` of the configuration.
        level: of the intervals.

    Raises:
        EngineError: the total of a class fails.
    """
    row: dict[str, Any] = {
        "position": rows[0]["position"],
        "score": scorer.name,
        "samples": len(rows),
        "level": level,
        "method": NONE,
        **dict.fromkeys(("value_low", "value_high", "drop_low", "drop_high", "worse", "better")),
    }
    sign = 1.0 if scorer.higher_is_better else -1.0
    if scorer.total is None:
        after = np.array([r["value"] for r in rows], np.float64)
        before = np.array([r["float_value"] for r in rows], np.float64)
        lost = sign * (before - after)
        row["value"] = math.fsum(after) / len(after)
        row["float_value"] = math.fsum(before) / len(before)
        row |= {"worse": int(np.sum(lost > _CLOSE)), "better": int(np.sum(lost < -_CLOSE))}
        return row | _function_intervals(before, after, sign, level)
    try:
        row["value"] = scorer.total_of([r["part"] for r in rows])
        row["float_value"] = scorer.total_of([r["float_part"] for r in rows])
        # Of every node it would take long: a class may do anything.
        if rows[0]["role"] in ("reference", HELD_OUT, "mended") and len(rows) > 1:
            row |= _class_intervals(scorer, rows, sign, level)
    except UsageError as error:
        what = "with all nodes quantized" if rows[0]["role"] == "reference" else rows[0]["subject"]
        raise EngineError(f"{error} ({what})") from error
    return row


def _function_intervals(
    before: NDArray[np.float64], after: NDArray[np.float64], sign: float, level: float
) -> dict[str, Any]:
    from hmct_track.confidence import Means, mean_intervals, paired_difference, wilson

    if len(after) < 2:
        return {}
    if np.isin(after, (0, 1)).all() and np.isin(before, (0, 1)).all():
        low, high = wilson(int(after.sum()), len(after), level)
        ends = paired_difference(before, after, level)
        first, last = ends if sign > 0 else (-ends[1], -ends[0])
        method = PROPORTION
    else:
        series = np.stack([after, sign * (before - after)])
        found = mean_intervals(Means(series.mean(axis=1), series), None, level)
        (low, first), (high, last) = found.low, found.high
        method = found.methods[0]
    return _ends(method, (low, high), (first, last))


def _class_intervals(
    scorer: Scorer, rows: Sequence[ScoreValuesRow], sign: float, level: float
) -> dict[str, Any]:
    """Percentiles over resamples of the samples, both models on the same ones."""
    random = np.random.default_rng(_SEED)
    values = []
    for _ in range(_RESAMPLES):
        drawn = [rows[k] for k in random.integers(len(rows), size=len(rows))]
        after = scorer.total_of([r["part"] for r in drawn])
        values.append((after, sign * (scorer.total_of([r["float_part"] for r in drawn]) - after)))
    ends = np.quantile(np.array(values), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return _ends(BOOTSTRAP, tuple(ends[:, 0]), tuple(ends[:, 1]))


def lost_by_sample(scorer: Scorer, rows: Sequence[ScoreValuesRow]) -> NDArray[np.float64]:
    """What each sample has to do with what a configuration loses of a score; the mean is the loss.

    Of a function what the sample loses. Of a class the pseudo-values of the jackknife, moved so
    that their mean is the loss itself; of many samples, groups are left out in turn, and values
    spread as those of single samples would. Source: Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapter 11.

    Args:
        scorer: the score.
        rows: rows of the query ``score_values`` of a configuration, a row for each sample.

    Returns:
        Less is better; shape (samples,).

    Raises:
        EngineError: the total of a class fails, for all samples or without some of them.
    """
    sign, count = (1.0 if scorer.higher_is_better else -1.0), len(rows)
    if scorer.total is None:
        pairs = [(r["float_value"], r["value"]) for r in rows]
        before, after = np.array(pairs, np.float64).T
        return np.asarray(sign * (before - after))
    if not losing(scorer, rows):
        return np.zeros(count)

    def lost(kept: Sequence[ScoreValuesRow]) -> float:
        before = scorer.total_of([r["float_part"] for r in kept])
        return sign * (before - scorer.total_of([r["part"] for r in kept]))

    groups = min(count, _MOST_GROUPS)
    try:
        whole = lost(rows)
        if count < 2:
            return np.array([whole])
        without = np.array(
            [lost([r for k, r in enumerate(rows) if k % groups != g]) for g in range(groups)]
        )
    except UsageError as error:
        raise EngineError(f"{error} ({rows[0]['subject']})") from error
    pseudo = groups * whole - (groups - 1) * without
    moved = (pseudo - pseudo.mean()) * math.sqrt(count / groups)
    found = moved[np.arange(count) % groups]
    return np.asarray(whole + found - found.mean())


def losing(scorer: Scorer, rows: Sequence[ScoreValuesRow]) -> int:
    """How many samples lose something: of a class those of which it keeps something else."""
    if scorer.total is not None:
        return sum(row["part"] != row["float_part"] for row in rows)
    return int((lost_by_sample(scorer, rows) > _CLOSE).sum())


def _ends(method: str, value: Sequence[Any], lost: Sequence[Any]) -> dict[str, Any]:
    """Columns of two intervals. One of no width is none: too few samples say anything."""
    found: dict[str, Any] = {"method": method}
    for name, (low, high) in (("value", value), ("drop", lost)):
        if low < high:
            found |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def losses(seen: Seen, level: float = LEVEL) -> dict[str, float]:
    """Subject of each node quantized alone to what it loses of the run's first score."""
    if seen.run is None or not seen.run.subject.scores:
        return {}
    scorer = seen.run.subject.scores[0].scorer
    found = {}
    for rows in _by_position(seen.run.lake, seen.run_id, scorer.name):
        if rows[0]["role"] == "only":
            row = total_row(scorer, rows, level)
            worse = scorer.badness(row["value"]) - scorer.badness(row["float_value"])
            found[rows[0]["subject"]] = worse
    return found


def results(answer: Answer[Any]) -> list[ScoreResultsRow]:
    """What each configuration scores; none of a run without scores."""
    return answer.lake.query("score_results", run_id=answer.run_id)


def badness(row: Mapping[str, Any]) -> float:
    """How bad the value of a row of ``score_results`` is; larger is worse."""
    return -row["value"] if row["higher_is_better"] else float(row["value"])


def by_score(rows: Sequence[Any], found: Sequence[ScoreResultsRow]) -> list[Any]:
    """Rows of a ranking by its first score; what scores the same stays in its order.

    Args:
        rows: rows of the query ``sensitivity``, most sensitive first by the first metric.
        found: rows of the query ``score_results`` of the same run.
    """
    first = {r["position"]: badness(r) for r in found if r["place"] == 0}
    order = sorted(rows, key=lambda row: -first.get(row["position"], -math.inf))
    return [{**row, "rank": rank} for rank, row in enumerate(order, start=1)]


def score_summary(found: Sequence[ScoreResultsRow]) -> dict[str, float]:
    """Scores of the whole model, as metrics of a run of MLflow."""
    summary: dict[str, float] = {}
    for row in found:
        if row["role"] == "reference":
            name = f"whole.{row['score']}"
            summary |= {name: row["value"], f"{name}.float": row["float_value"]}
            summary[f"{name}.lost"] = row["lost"]
    return summary
