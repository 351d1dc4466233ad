"""``get-sensitivity-of-nodes``: rank nodes by how much is lost when each alone is quantized."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import (
    Analysis,
    Answer,
    Result,
    Round,
    Seen,
    as_list_of_scores,
    data_num,
    labels,
    output,
    save_dir,
    score,
)
from hmct_track.analyses.channels import hidden_channels
from hmct_track.analyses.configurations import alone, names_of_type, whole
from hmct_track.errors import ModelError, UsageError
from hmct_track.metrics import value_of
from hmct_track.options import option, parse_metrics, parse_node_type
from hmct_track.options.kinds import (
    CORES,
    DURATION,
    MAYBE_NAMES,
    METRICS,
    NAME,
    NODE_TYPE,
    SHARE,
    SWITCH,
    as_list,
)
from hmct_track.report.drawings import Drawing
from hmct_track.types import Metric, NodeType, Planned

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from hmct_track.analyses.racing import Race
    from hmct_track.lake.rows import IntervalsRow, ScoreResultsRow, SensitivityRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run
    from hmct_track.report.html import Table

_NEARLY_EQUAL = 0.999

_TOP = 10
"""How many nodes are the top, unless it is said."""

_NOISY = 3
"""The worst nodes, whose rounding is measured as well."""


@dataclass(frozen=True, kw_only=True)
class GetSensitivityOfNodes(Analysis["SensitivityRow"]):
    """Rank nodes by how much the output changes when each alone is quantized."""

    command: ClassVar[str] = "get-sensitivity-of-nodes"
    kind: ClassVar[str] = "sensitivity"
    summary: ClassVar[str] = "Rank nodes by what is lost when each is quantized."

    metrics: str | Sequence[str] = option(
        METRICS, f"one or a list of: {', '.join(Metric)}; the first ranks", "-m",
        default=Metric.COSINE_SIMILARITY.value,
        command_default=[Metric.COSINE_SIMILARITY.value],
    )  # fmt: skip
    output_node: str | None = option(
        NAME, "compare at this node instead of the model's outputs", "-o", default=None
    )
    node_type: str = option(
        NODE_TYPE, f"what is quantized alone: {', '.join(NodeType)}", "-n",
        default=NodeType.NODE.value,
    )  # fmt: skip
    data_num: int | None = data_num("-d")
    verbose: bool = option(
        SWITCH, "print the table; False only records the run", "-v", default=False,
        command_default=True, stored=False,
    )  # fmt: skip
    interested_nodes: str | Sequence[str] | None = option(
        MAYBE_NAMES, "rank only these nodes, of any type", "-i", default=None
    )
    save_dir: str | os.PathLike[str] | None = save_dir("-s")
    output: str | Sequence[str] | None = output()
    top: int | None = option(
        CORES, "stop as soon as the K most sensitive nodes are known",
        default=None, metavar="K",
    )  # fmt: skip
    budget: float | None = option(
        DURATION, "stop after this time from the start, such as 60s or 5min, with what is known",
        default=None,
    )  # fmt: skip
    confidence: float = option(
        SHARE, "how sure intervals and the top are to be, such as 0.95", default=0.95
    )
    intervals: bool = option(
        SWITCH, "print the table with intervals of the first metric and of the ranks",
        default=False,
    )  # fmt: skip
    share: bool = option(
        SWITCH, "measure also what share of the whole model's error is gone without each node",
        default=False,
    )  # fmt: skip
    score: Any = score()
    labels: Any = labels()

    def check(self) -> None:
        """Check the parameters by themselves."""
        super().check()
        if self.races and as_list_of_scores(self.score):
            raise UsageError("top and budget stop by a metric; leave them out with score")

    @property
    def metrics_asked(self) -> tuple[Metric, ...]:
        """The metrics of the table; the first one ranks."""
        return parse_metrics(self.metrics)

    def parameters(self, model: QuantModel) -> dict[str, Any]:
        """As given, with the type of the nodes that are ranked."""
        return {
            **super().parameters(model),
            "metrics": [m.value for m in self.metrics_asked],
            "node_type": self.ranked_type(model).value,
        }

    def ranked_nodes(self, model: QuantModel) -> list[str]:
        """The nodes that are ranked, in topological order.

        Raises:
            UnknownNodeError: an interested node does not exist.
            UsageError: an interested node cannot be quantized, or the list is empty.
            ModelError: the model has no nodes of the type.
        """
        if self.interested_nodes is not None:
            chosen = as_list(self.interested_nodes)
            if not chosen:
                raise UsageError(
                    "interested_nodes is empty; name nodes, or leave it out for all of them"
                )
            order = {name: i for i, name in enumerate(model.node_names)}
            return sorted(model.expand(chosen), key=order.__getitem__)
        node_type = parse_node_type(self.node_type)
        names = names_of_type(model, node_type)
        if not names:
            lost = any(node.fixed for node in model.calibration_nodes)
            hint = ", or give the float values of its weights with --float-model" if lost else ""
            raise ModelError(
                f"the model has no {node_type} to quantize; choose another node_type{hint}"
            )
        return names

    def ranked_type(self, model: QuantModel) -> NodeType:
        """The type of all ranked nodes, or ``node`` where they differ."""
        if self.interested_nodes is None:
            return parse_node_type(self.node_type)
        found = {
            NodeType(model.calibration_by_name[name].kind.value)
            if name in model.calibration_by_name
            else NodeType.NODE
            for name in self.ranked_nodes(model)
        }
        return found.pop() if len(found) == 1 else NodeType.NODE

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """Each node alone, and all of them together."""
        nodes, everything = self._planned(model), whole(model)
        if self.races:
            return self._race(nodes, everything).next(model, seen)
        return Round() if seen.rounds else Round([*nodes, everything])

    @property
    def races(self) -> bool:
        """Whether it stops as soon as the top is known, or the time is spent."""
        return self.top is not None or self.budget is not None

    def _planned(self, model: QuantModel) -> list[Planned]:
        return alone(model, self.ranked_nodes(model), self.ranked_type(model))

    def _race(self, nodes: Sequence[Planned], everything: Planned) -> Race:
        from hmct_track.analyses.racing import Race

        first = self.metrics_asked[0]
        return Race(nodes, everything, first, self.top_count, self.confidence, self.budget)

    @property
    def top_count(self) -> int:
        """How many nodes are the top."""
        return self.top or _TOP

    def observe(self, run: Run) -> None:
        """Look how sure the ranking is, and whether some channels hide the error of others."""
        if self.output is None:
            run.remarks += hidden_channels(run.subject)
        from hmct_track.analyses.scored import record_scores

        record_scores(run, self.confidence)
        model, first = run.subject.model, self.metrics_asked[0]
        ranked = run.lake.query("sensitivity", run_id=run.run_id, metric=first.value)
        worst = [row["subject"] for row in ranked[:_NOISY]]
        noisy = [*alone(model, worst, self.ranked_type(model)), whole(model)]
        from hmct_track.analyses.racing import record_local_errors

        # A race has a time to keep, and several samples to tell the noise.
        self._record(run, [] if self.races else noisy)
        left = run.lake.query("unmeasured", run_id=run.run_id) if self.races else []
        if not left and (self.share or self.budget is not None):
            self._record_shares(run)
        if left and all(row["local_error"] is None for row in left):
            record_local_errors(run, self._planned(model))

    def _record_shares(self, run: Run) -> None:
        """What each node has to do with the whole, as far as there is time."""
        from hmct_track.analyses.racing import end_of
        from hmct_track.analyses.shares import record_shares

        model = run.subject.model
        until = None if self.budget is None else end_of(self.budget, run.began)
        nodes, node_type = self._planned(model), self.ranked_type(model)
        record_shares(run, nodes, node_type, self.confidence, until)

    def interrupted(self, run: Run) -> None:
        """Record how sure the ranking is as far as it came."""
        from hmct_track.analyses.scored import record_scores

        record_scores(run, self.confidence)
        first = self.metrics_asked[0].value
        if not run.lake.query("intervals", run_id=run.run_id, metric=first):
            self._record(run, [])

    def _record(self, run: Run, noisy: Sequence[Planned]) -> None:
        from hmct_track.analyses.certainty import record_confidence

        record_confidence(run, self.metrics_asked, noisy, self.top_count, self.confidence)

    def so_far(self, answer: Answer[SensitivityRow]) -> str | None:
        """The ranking of what was measured."""
        return f"interrupted; of what was measured:\n\n{self.text(answer)}" if answer.rows else None

    def rows(self, answer: Answer[SensitivityRow]) -> list[SensitivityRow]:
        """The ranking, most sensitive first: by the first score, where there is one."""
        from hmct_track.analyses.scored import by_score

        first = self.metrics_asked[0].value
        rows = answer.lake.query("sensitivity", run_id=answer.run_id, metric=first)
        return by_score(rows, self._scores(answer)) if self.score else rows

    def _scores(self, answer: Answer[SensitivityRow]) -> list[ScoreResultsRow]:
        """What each configuration scores; none without scores."""
        from hmct_track.analyses.scored import results

        return results(answer) if self.score else []

    def text(self, answer: Answer[SensitivityRow]) -> str:
        """The whole model in a line, the documented table, and how sure it is."""
        from hmct_track.report import sensitivity_table
        from hmct_track.report.confidence import confidence_note, intervals_table

        rows, found = answer.rows, _intervals(answer)
        scores = self._scores(answer)
        if scores:
            from hmct_track.report.scores import ranking_by_score, whole_scores

            table = ranking_by_score(rows, scores, self.metrics_asked)
            whole_model = f"{whole_scores(scores)}\n{_whole_line(answer)}"
            parts = [whole_model, table if rows else "", self._shares_text(answer)]
            return "\n\n".join(part for part in parts if part)
        if self.intervals and found:
            table = intervals_table(rows, found, self.metrics_asked[0])
        else:
            table = sensitivity_table(rows, _type_of(answer), self.metrics_asked)
        note = confidence_note(rows, found, answer.run["data_num"])
        parts = [
            _whole_line(answer),
            table if rows else "",
            note,
            self._shares_text(answer),
            self._race_note(answer),
        ]
        return "\n\n".join(part for part in parts if part)

    def _shares_text(self, answer: Answer[SensitivityRow]) -> str:
        from hmct_track.report.shares import shares_text

        rows = answer.query("shares")
        text = shares_text(rows, next(iter(answer.query("share_sum")), None))
        if not answer.rows or not (rows or self.share):
            return text
        from hmct_track.analyses.share_note import share_note

        return "\n".join(part for part in (text, share_note(answer, rows, self.budget)) if part)

    def _race_note(self, answer: Answer[SensitivityRow]) -> str:
        if not self.races:
            return ""
        from hmct_track.analyses.race_note import race_note

        first = self.metrics_asked[0]
        return race_note(answer, first, self.top_count, self.confidence, self.budget)

    def warnings(self, answer: Answer[SensitivityRow]) -> Iterator[str]:
        """Outputs of one element, those that are not numbers, and infinite values left out."""
        rows, first = answer.rows, self.metrics_asked[0]
        if first is Metric.COSINE_SIMILARITY and any(row["elements"] == 1 for row in rows):
            yield (
                "an output has a single element, of which the cosine similarity is always 1 or "
                "-1; rank by another metric, such as sqnr, or at another output_node"
            )
        broken = [row["subject"] for row in rows if row["nonfinite"]]
        if broken:
            yield (
                f"outputs hold NaN or Inf for {len(broken)} nodes, among them {broken[0]}; metrics "
                "of such samples are left out of the means"
            )
        infinite = [row["subject"] for row in rows if row["infinite"]]
        if infinite:
            yield (
                f"{first} is infinite for some samples or outputs of {len(infinite)} nodes, among "
                f"them {infinite[0]}, as they are exact there; their means leave these out"
            )
        zero = max((row["all_zero"] for row in rows), default=0)
        if zero:
            yield f"{zero} of the float outputs compared are all zero, which says little of a node"

    def heading(self, answer: Answer[SensitivityRow]) -> str:
        """What is ranked."""
        return f"Sensitivity of each {_type_of(answer)} quantized alone"

    def table(self, answer: Answer[SensitivityRow]) -> Table:
        """The ranking with bars."""
        from hmct_track.report.html import ranking

        scores = self._scores(answer)
        if scores:
            from hmct_track.report.scores import score_table

            return score_table(answer.rows, scores, self.metrics_asked)
        shared = {row["position"]: row for row in answer.query("shares")}
        return ranking(answer.rows, self.metrics_asked, _intervals(answer), shared)

    def drawings(self, answer: Answer[SensitivityRow]) -> list[Drawing]:
        """The ranking."""
        node_type = _type_of(answer)
        if self.races and not answer.rows:
            return []  # there was no time for any node

        def draw() -> Figure:
            from hmct_track.report.ranking import ranking_figure

            if not answer.rows:
                raise UsageError(f"run {answer.run_id!r} has ranked no node")
            title = f"Sensitivity of {answer.label}: each {node_type} quantized alone"
            scores = self._scores(answer)
            if scores:
                from hmct_track.report.score_figure import score_figure

                return score_figure(answer.rows, scores, title)
            first = self.metrics_asked[0]
            found = _intervals(answer)
            return ranking_figure(
                answer.rows,
                first,
                title,
                intervals=[_interval(found.get(row["position"])) for row in answer.rows],
                interval_name=f"{100 * self.confidence:g} % interval",
                whole=answer.whole.get(first),
            )

        return [Drawing(f"sensitivity_of_{node_type}", draw), *_share_drawings(answer)]

    def texts(self, answer: Answer[SensitivityRow]) -> dict[str, str]:
        """The documented table."""
        return {f"sensitivity_of_{_type_of(answer)}.log": self.text(answer) + "\n"}

    def worst(self, answer: Answer[SensitivityRow]) -> tuple[str, float | None] | None:
        """The first of the ranking."""
        row = next(iter(answer.rows), None)
        return (row["subject"], row["value"]) if row else None

    def run_name(self, answer: Answer[SensitivityRow]) -> str:
        """What is ranked, of which model."""
        return f"sensitivity of {_type_of(answer)}, {answer.label}"

    def run_summary(self, answer: Answer[SensitivityRow]) -> dict[str, float]:
        """The whole model, then worst and mean of each metric over the nodes."""
        from hmct_track.analyses.scored import score_summary

        summary = {**score_summary(self._scores(answer)), **answer.whole_summary}
        for metric in Metric:
            values = [v for row in answer.rows if (v := value_of(row, metric)) is not None]
            finite = [v for v in values if math.isfinite(v)]
            if values:
                summary[f"worst_node.{metric}"] = max(values, key=metric.badness)
            if finite:
                summary[f"mean_of_nodes.{metric}"] = math.fsum(finite) / len(finite)
        cosine = [row["cosine_similarity"] for row in answer.rows]
        summary[f"nodes_below_{_NEARLY_EQUAL}"] = float(
            sum(value is None or not value >= _NEARLY_EQUAL for value in cosine)
        )
        summary |= self._sureness(answer) | _share_summary(answer)
        # Last, as the web UI's plots begin with the first.
        summary["nodes"] = float(len(answer.rows))
        return summary

    def _sureness(self, answer: Answer[SensitivityRow]) -> dict[str, float]:
        """How sure the whole model's value is, and how many nodes are not told apart."""
        first = self.metrics_asked[0]
        rows = answer.query("intervals", metric=first.value)
        nodes = [row for row in rows if row["role"] == "only"]
        if not nodes:
            return {}
        found = {
            f"whole.{first}.{name}": row[name]
            for row in rows
            for name in ("low", "high", "noise")
            if row["role"] == "reference" and row[name] is not None
        }
        if answer.run["data_num"] > 1:
            found["nodes_not_told_apart"] = float(
                sum(row["tie_group"] is not None for row in nodes)
            )
        found["nodes_not_told_from_zero"] = float(sum(not row["told_from_zero"] for row in nodes))
        return found

    def run_curves(self, answer: Answer[SensitivityRow]) -> dict[str, list[tuple[int, float]]]:
        """Each metric over the nodes in topological order."""
        curves = {
            f"by_node.{metric}": sorted(
                (row["position"], _number(value_of(row, metric))) for row in answer.rows
            )
            for metric in Metric
        }
        if shared := answer.query("shares"):
            named: list[dict[str, Any]] = [dict(row) for row in shared]
            for name in ("share", "share_low", "share_high"):
                curves[f"by_node.{name}"] = sorted(
                    (row["position"], _number(row[name])) for row in named
                )
        return curves

    def note(self, answer: Answer[SensitivityRow]) -> str:
        """The most sensitive nodes."""
        from hmct_track.report import ranking_markdown
        from hmct_track.report.confidence import confidence_note
        from hmct_track.report.shares import sum_line

        scores = self._scores(answer)
        if scores:
            from hmct_track.report import table_markdown
            from hmct_track.report.scores import order_note, score_table, whole_scores

            ranked = score_table(answer.rows, scores, self.metrics_asked)
            shown = table_markdown("Nodes by score", ranked, "score_results", answer.run_id)
            said = [whole_scores(scores), order_note(scores, self.metrics_asked[0])]
            return "\n\n".join([shown, *(line for s in said for line in s.splitlines())])
        table = ranking_markdown(answer.rows, _type_of(answer), answer.run_id)
        note = confidence_note(answer.rows, _intervals(answer), answer.run["data_num"])
        added = answer.query("share_sum")
        said = [sum_line(row) for row in added]
        return "\n\n".join([table, *note.splitlines(), *said])


class Ranking(dict[str, dict[str, float]]):
    """Node to metric to value, most sensitive first: the documented return value.

    It is a dict in everything, and shows itself as a table in a notebook. Copies and pickles of it
    are plain dicts.
    """

    def __init__(self, result: Result) -> None:
        from hmct_track.analyses.scored import results

        metrics = result.answer.analysis.metrics_asked
        scores: dict[int, dict[str, float]] = {}
        for found in results(result.answer):
            scores.setdefault(found["position"], {})[found["score"]] = found["value"]
        super().__init__(
            (
                row["subject"],
                {
                    **scores.get(row["position"], {}),
                    **{m.value: _number(value_of(row, m)) for m in metrics},
                },
            )
            for row in result.rows
        )
        self._result = result

    @property
    def result(self) -> Result:
        """All that the run gave: its text, table and rows, and where they come from."""
        return self._result

    @property
    def run_id(self) -> str:
        """The run that recorded it."""
        return self._result.run_id

    @property
    def rows(self) -> list[SensitivityRow]:
        """The rows of the query ``sensitivity``, with all five metrics."""
        return self._result.rows

    @property
    def figures(self) -> dict[str, Figure]:
        """File stem to figure."""
        return dict(self._result.figures)

    @property
    def files(self) -> tuple[Path, ...]:
        """What was written to ``save_dir``."""
        return self._result.files

    def to_frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        return self._result.to_frame()

    def _repr_html_(self) -> str:
        """A notebook shows the table and the figure."""
        return self._result._repr_html_()

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def _whole_line(answer: Answer[SensitivityRow]) -> str:
    """The whole model in a line, with the samples that it was measured on; empty if on none."""
    if not answer.whole:
        return ""
    first = answer.analysis.metrics_asked[0]
    rows = answer.lake.query("intervals", run_id=answer.run_id, metric=first.value)
    measured = [row["samples"] for row in rows if row["role"] == "reference"]
    return answer.whole_line_of(measured[0] if measured else answer.run["data_num"])


def _intervals(answer: Answer[SensitivityRow]) -> dict[int, IntervalsRow]:
    """How sure the first metric of each node is, by the node's place; empty for old runs."""
    first = answer.analysis.metrics_asked[0]
    rows = answer.lake.query("intervals", run_id=answer.run_id, metric=first.value)
    return {row["position"]: row for row in rows if row["role"] == "only"}


def _share_drawings(answer: Answer[SensitivityRow]) -> list[Drawing]:
    """The nodes' shares, where they were measured."""
    rows = answer.query("shares")

    def draw() -> Figure:
        from hmct_track.report.shares import shares_figure

        return shares_figure(rows, f"Shares of the error of {answer.label}")

    return [Drawing(f"shares_of_{_type_of(answer)}", draw)] if rows else []


def _share_summary(answer: Answer[SensitivityRow]) -> dict[str, float]:
    """The largest share, how many nodes interact, and what all of them add up to."""
    rows = answer.query("shares")
    if not rows:
        return {}
    ends = {"": rows[0]["share"], ".low": rows[0]["share_low"], ".high": rows[0]["share_high"]}
    found = {f"share.largest{end}": value for end, value in ends.items() if value is not None}
    found["nodes_interacting"] = float(sum(row["interacts"] for row in rows))
    for row in answer.query("share_sum"):
        found["share.sum_alone"] = row["sum"]
    return found


def _interval(sure: IntervalsRow | None) -> tuple[float, float] | None:
    if sure is None or sure["low"] is None or sure["high"] is None:
        return None
    return sure["low"], sure["high"]


def _type_of(answer: Answer[SensitivityRow]) -> NodeType:
    """The type of the nodes that were ranked: that of interested ones is found by the run."""
    return NodeType(answer.parameters.get("node_type") or NodeType.NODE)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
