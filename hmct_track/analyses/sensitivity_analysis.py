"""``sensitivity-analysis``: what leaving sensitive nodes out of quantization gives."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import (
    Analysis,
    Answer,
    Round,
    Seen,
    as_list_of_scores,
    data_num,
    labels,
    metric,
    output,
    save_dir,
    score,
)
from hmct_track.analyses.configurations import alone, names_of_type, whole, without
from hmct_track.errors import UsageError
from hmct_track.options import option
from hmct_track.options.kinds import MAYBE_NAMES, NUMBER, as_list, choice
from hmct_track.report.drawings import Drawing
from hmct_track.types import Metric, NodeType, Planned, Quantization, QuantType, State

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmct_track.lake.rows import PartialQuantizationRow, ScoreResultsRow, SensitivityRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run
    from hmct_track.report.html import Table
    from hmct_track.tracking import NestedRun

NONE = "none"
"""The step before any node is left out: the fully quantized model."""

PICK_THRESHOLD = 0.999
_STAND_INS = 3
"""The worst nodes that are tested where none is sensitive."""
_MOST_TOLD = 3
_QTYPES = ("float32", "int16", "float16")


def pick_threshold(short: str, told: str) -> Any:
    """The field for what makes a node sensitive."""
    return option(NUMBER, told, short, default=PICK_THRESHOLD)


@dataclass(frozen=True, kw_only=True)
class SensitivityAnalysis(Analysis["PartialQuantizationRow"]):
    """Pick sensitive nodes, and measure the model without them one after the other."""

    command: ClassVar[str] = "sensitivity-analysis"
    kind: ClassVar[str] = "sensitivity-analysis"
    summary: ClassVar[str] = "Test what leaving the sensitive nodes out of quantization gives."

    pick_threshold: float = pick_threshold(
        "-p", "nodes whose metric is worse than this are sensitive"
    )
    data_num: int | None = data_num("-d")
    sensitive_nodes: str | Sequence[str] | None = option(
        MAYBE_NAMES, "test these nodes instead of picking them", "-sn", default=None
    )
    save_dir: str | os.PathLike[str] | None = save_dir("-sd")
    metric: str = metric()
    qtype: str = option(
        choice("TYPE", *_QTYPES), f"what the sensitive nodes become: {', '.join(_QTYPES)}", "-q",
        default="float32",
    )  # fmt: skip
    output: str | Sequence[str] | None = output()
    score: Any = score()
    labels: Any = labels()

    def parameters(self, model: QuantModel) -> dict[str, Any]:
        """As given."""
        return {**super().parameters(model), "sensitive_nodes": as_list(self.sensitive_nodes)}

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """A ranking, if no nodes are given; then the model without the first 0, 1, 2, ... nodes.

        Raises:
            UnknownNodeError: a node does not exist.
            UsageError: a node cannot be quantized.
        """
        given = model.expand(as_list(self.sensitive_nodes))
        if given and not seen.rounds:
            return Round([whole(model), *alone(model, given), *self._steps(model, given)])
        if not given and not seen.rounds:
            return Round([whole(model), *alone(model, names_of_type(model, NodeType.NODE))])
        if not given and seen.rounds == 1:
            from hmct_track.analyses.scored import losses

            return Round(self._steps(model, self._chosen(self._ranked(seen), losses(seen))))
        return Round()

    def _steps(self, model: QuantModel, nodes: Sequence[str]) -> list[Planned]:
        return [
            Planned(
                nodes[count - 1] if count else NONE,
                "partial",
                without(model, nodes[:count], self._state),
            )
            for count in range(len(nodes) + 1)
        ]

    def _chosen(self, ranked: Sequence[SensitivityRow], lost: Mapping[str, float]) -> list[str]:
        """The sensitive nodes, the worst first; of none the worst few.

        By a score, those are the nodes that alone lose some of it; what loses as much stays in the
        order of the metric.
        """
        if not lost:
            return self._picked(ranked) or _first(ranked)
        order = sorted(ranked, key=lambda row: -lost.get(row["subject"], -math.inf))
        losing = [row["subject"] for row in order if lost.get(row["subject"], 0) > 0]
        return losing or _first(order)

    def observe(self, run: Run) -> None:
        """Record the scores."""
        from hmct_track.analyses.scored import record_scores

        record_scores(run)

    def _scores(self, answer: Answer[PartialQuantizationRow]) -> list[ScoreResultsRow]:
        """What each configuration scores; none without scores."""
        from hmct_track.analyses.scored import results

        return results(answer) if as_list_of_scores(self.score) else []

    @property
    def _state(self) -> State:
        return Quantization.OFF if self.qtype == "float32" else QuantType(self.qtype)

    def _ranked(self, known: Seen | Answer) -> list[SensitivityRow]:
        if known.lake is None:
            return []
        return known.lake.query("sensitivity", run_id=known.run_id, metric=self.metric)

    def _picked(self, ranked: Sequence[SensitivityRow]) -> list[str]:
        """The nodes worse than the threshold, most sensitive first; all without a value."""
        return [row["subject"] for row in ranked if self._is_worse(row["value"])]

    def _is_worse(self, value: float | None) -> bool:
        metric = Metric(self.metric)
        return metric.badness(value) > metric.badness(self.pick_threshold)

    def rows(self, answer: Answer[PartialQuantizationRow]) -> list[PartialQuantizationRow]:
        """The steps, from the fully quantized model on."""
        return answer.lake.query("partial_quantization", run_id=answer.run_id, metric=self.metric)

    def worst(self, answer: Answer[PartialQuantizationRow]) -> tuple[str, float | None] | None:
        """The first of the ranking, where there was one."""
        if as_list(self.sensitive_nodes):
            return None
        row = next(iter(self._ranked(answer)), None)
        return (row["subject"], row["value"]) if row else None

    def text(self, answer: Answer[PartialQuantizationRow]) -> str:
        """The whole model in a line, and the steps."""
        from hmct_track.report import partial_table

        scores = self._scores(answer)
        if scores:
            from hmct_track.report.scores import partial_by_score, whole_scores

            said = [whole_scores(scores), answer.whole_line, *self._score_remarks(answer, scores)]
            return "\n".join([*said, "", partial_by_score(answer.rows, scores, self.metric)])
        said = [answer.whole_line, *self._remarks(answer)]
        return "\n".join([*said, "", partial_table(answer.rows, Metric(self.metric))])

    def _remarks(self, answer: Answer[PartialQuantizationRow]) -> list[str]:
        """In words what the steps do not say themselves."""
        said = []
        if self._is_fallback(answer):
            said.append(
                f"no node alone is worse than the threshold of {self.pick_threshold:g}; these are "
                f"the {len(answer.rows) - 1} worst"
            )
        metric, rows = Metric(self.metric), answer.rows
        worse = [
            after["node"]
            for before, after in pairwise(rows)
            if metric.badness(after["partial"]) > metric.badness(before["partial"])
        ]
        if worse:
            nodes = ", ".join(worse[:_MOST_TOLD]) + (", ..." if len(worse) > _MOST_TOLD else "")
            said.append(f"leaving out {nodes} made it worse: its error had cancelled others")
        return said

    def _score_remarks(
        self, answer: Answer[PartialQuantizationRow], scores: Sequence[ScoreResultsRow]
    ) -> list[str]:
        alone = [r for r in scores if r["place"] == 0 and r["role"] == "only"]
        if as_list(self.sensitive_nodes) or any(row["lost"] > 0 for row in alone):
            return []
        return [
            f"no node alone loses any {scores[0]['score']}; these are the "
            f"{len(answer.rows) - 1} worst by {self.metric}"
        ]

    def _is_fallback(self, answer: Answer[PartialQuantizationRow]) -> bool:
        """Whether no node was worse than the threshold, so that the worst few stand in."""
        return not as_list(self.sensitive_nodes) and not self._picked(self._ranked(answer))

    def heading(self, answer: Answer[PartialQuantizationRow]) -> str:
        """What it shows."""
        return "Partial quantization"

    def table(self, answer: Answer[PartialQuantizationRow]) -> Table:
        """The steps."""
        from hmct_track.report.html import partial_steps

        scores = self._scores(answer)
        if scores:
            from hmct_track.report.html import Table as Shown
            from hmct_track.report.scores import partial_header, partial_lines

            lines = partial_lines(answer.rows, scores)
            numbers = frozenset({0, *range(2, len(partial_header(scores, self.metric)))})
            return Shown(tuple(partial_header(scores, self.metric)), lines, numbers)
        return partial_steps(answer.rows, Metric(self.metric))

    def drawings(self, answer: Answer[PartialQuantizationRow]) -> list[Drawing]:
        """Single nodes and steps."""

        def draw() -> Figure:
            from hmct_track.report.partial import partial_figure

            if not answer.rows:
                raise UsageError(f"run {answer.run_id!r} has no steps")
            what = "not quantized" if self.qtype == "float32" else self.qtype
            title = f"Partial quantization of {answer.label}: sensitive nodes {what}"
            return partial_figure(
                answer.rows,
                Metric(self.metric),
                title,
                threshold=None
                if as_list(self.sensitive_nodes) or as_list_of_scores(self.score)
                else self.pick_threshold,
                worst_instead=self._is_fallback(answer),
            )

        return [Drawing("partial_quantization", draw)]

    def run_name(self, answer: Answer[PartialQuantizationRow]) -> str:
        """What it is."""
        return f"partial quantization, {answer.label}"

    def run_summary(self, answer: Answer[PartialQuantizationRow]) -> dict[str, float]:
        """The whole model, what leaving all sensitive nodes out gives, and how many they are."""
        last = answer.rows[-1]["partial"] if answer.rows else None
        left = {} if last is None else {f"all_left_out.{self.metric}": last}
        nodes = 0 if self._is_fallback(answer) else len(answer.rows) - 1
        from hmct_track.analyses.scored import score_summary

        scores = score_summary(self._scores(answer))
        return {**scores, **answer.whole_summary, **left, "sensitive_nodes": float(nodes)}

    def run_curves(
        self, answer: Answer[PartialQuantizationRow]
    ) -> dict[str, list[tuple[int, float]]]:
        """The metric over the steps."""
        points = [(r["step"], r["partial"]) for r in answer.rows if r["partial"] is not None]
        return {f"by_step.{self.metric}": points}

    def nested(self, answer: Answer[PartialQuantizationRow]) -> list[NestedRun]:
        """Each partial configuration is a nested run."""
        from hmct_track.tracking import NestedRun

        names = [row["node"] for row in answer.rows[1:]]
        return [
            NestedRun(
                f"{row['step']:03d} {row['node']}",
                params={
                    "nodes": names[: row["step"]],
                    "nodes_become": self.qtype,
                    "config_id": row["config_id"],
                },
                summary={
                    name: value
                    for name, value in (
                        (self.metric, row["partial"]),
                        (f"{self.metric}.single", row["single"]),
                    )
                    if value is not None
                },
                curves={},
            )
            for row in answer.rows
        ]

    def note(self, answer: Answer[PartialQuantizationRow]) -> str:
        """The steps."""
        from hmct_track.report import table_markdown

        title = "Sensitive nodes left out one after the other"
        query = f"partial_quantization -p metric={self.metric}"
        return table_markdown(title, self.table(answer), query, answer.run_id)


def _first(ranked: Sequence[SensitivityRow]) -> list[str]:
    return [row["subject"] for row in ranked[:_STAND_INS]]
