"""``select-sensitive-samples``: the samples on which full quantization hurts most."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
    metric,
    output,
    save_dir,
    score,
)
from hmct_track.analyses.configurations import alone, names_of_type, whole
from hmct_track.errors import UsageError
from hmct_track.options import option
from hmct_track.options.kinds import WHOLE as COUNTED
from hmct_track.report.drawings import Drawing
from hmct_track.types import Metric, NodeType

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmct_track.data import CalibrationDataSet
    from hmct_track.lake.rows import ScoreFlipsRow, SensitiveSamplesRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run, Subject
    from hmct_track.report.html import Table

_STEM = "sensitive_samples"


@dataclass(frozen=True, eq=False, kw_only=True)
class SamplesResult(Result):
    """The samples, the worst first, and the worst of them as data."""

    data: CalibrationDataSet
    """The ``sample_num`` worst samples, for other analyses."""


@dataclass(frozen=True, kw_only=True)
class SelectSensitiveSamples(Analysis["SensitiveSamplesRow"]):
    """Rank samples by what full quantization does to the outputs, and keep the worst."""

    command: ClassVar[str] = "select-sensitive-samples"
    kind: ClassVar[str] = "sensitive-samples"
    summary: ClassVar[str] = "Find the samples on which quantization hurts most."
    result_class: ClassVar[type[Result]] = SamplesResult

    metric: str = metric()
    data_num: int | None = data_num("-d", None)
    sample_num: int = option(
        COUNTED, "number of samples to save, as a folder that other commands take", "-sn",
        default=1,
    )  # fmt: skip
    save_dir: str | os.PathLike[str] | None = save_dir("-s")
    output: str | Sequence[str] | None = output()
    score: Any = score()
    labels: Any = labels()

    def check_subject(self, subject: Subject) -> None:
        """There must be so many samples."""
        count, total = self.sample_num, len(subject.samples)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= total:
            raise UsageError(f"sample_num is {count!r}; there are 1 to {total} samples")

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """The fully quantized model; with a score, each node alone where that changes an answer."""
        if not seen.rounds:
            return Round([whole(model)])
        if seen.rounds > 1 or not as_list_of_scores(self.score):
            return Round()
        flips = seen.query("score_flips")
        changed = sorted({r["sample"] for r in flips if r["place"] == 0 and r["changed"]})
        if not changed:
            return Round()
        return Round(alone(model, names_of_type(model, NodeType.NODE)), changed)

    def observe(self, run: Run) -> None:
        """Record the scores of all samples."""
        from hmct_track.analyses.scored import record_scores

        record_scores(run)

    def _flips(self, answer: Answer[SensitiveSamplesRow]) -> list[ScoreFlipsRow]:
        """The scores of each sample; none without scores."""
        if not as_list_of_scores(self.score):
            return []
        return answer.lake.query("score_flips", run_id=answer.run_id)

    def rows(self, answer: Answer[SensitiveSamplesRow]) -> list[SensitiveSamplesRow]:
        """The samples, the worst first: by what they lose of a score, where there is one."""
        rows = answer.lake.query("sensitive_samples", run_id=answer.run_id, metric=self.metric)
        lost = {r["sample"]: r["lost"] for r in self._flips(answer) if r["place"] == 0}
        order = sorted(rows, key=lambda row: -(lost.get(row["sample"]) or 0.0))
        return [{**row, "rank": rank} for rank, row in enumerate(order, start=1)]

    def text(self, answer: Answer[SensitiveSamplesRow]) -> str:
        """The whole model in a line, and the samples."""
        from hmct_track.report import samples_table

        flips = self._flips(answer)
        if flips:
            from hmct_track.analyses.scored import results
            from hmct_track.report.scores import flips_line, samples_by_score, whole_scores

            whole = [r for r in results(answer) if r["role"] == "reference"]
            said = [whole_scores(whole), answer.whole_line, flips_line(flips)]
            table = samples_by_score(answer.rows, flips, self.metric)
            return "\n".join([*(line for line in said if line), "", table])
        return f"{answer.whole_line}\n\n{samples_table(answer.rows, Metric(self.metric))}"

    def heading(self, answer: Answer[SensitiveSamplesRow]) -> str:
        """What it shows."""
        return "Sensitive samples"

    def table(self, answer: Answer[SensitiveSamplesRow]) -> Table:
        """The samples."""
        from hmct_track.report.html import worst_samples

        flips = self._flips(answer)
        if flips:
            from hmct_track.report.html import Table as Shown
            from hmct_track.report.scores import samples_header, samples_lines

            header, lines = samples_header(flips, self.metric), samples_lines(answer.rows, flips)
            return Shown(tuple(header), lines, frozenset(range(len(header) - 2)))
        return worst_samples(answer.rows, Metric(self.metric))

    def drawings(self, answer: Answer[SensitiveSamplesRow]) -> list[Drawing]:
        """The samples."""

        def draw() -> Figure:
            from hmct_track.report.samples import samples_figure

            if not answer.rows:
                raise UsageError(f"run {answer.run_id!r} has ranked no sample")
            title = f"Samples of {answer.label}: all nodes quantized"
            # The figure is of the metric, whatever ranks the table.
            metric = Metric(self.metric)
            rows = answer.lake.query("sensitive_samples", run_id=answer.run_id, metric=metric.value)
            return samples_figure(rows, metric, title)

        return [Drawing(_STEM, draw)]

    def texts(self, answer: Answer[SensitiveSamplesRow]) -> dict[str, str]:
        """The samples."""
        return {f"{_STEM}.log": self.text(answer) + "\n"}

    def save_more(
        self, answer: Answer[SensitiveSamplesRow], run: Run, folder: Path | None
    ) -> tuple[Path, ...]:
        """The worst samples, as a folder of calibration data."""
        from hmct_track.data import save_samples

        if folder is None:
            return ()
        return save_samples(folder / "calibration_data", run.subject.samples, self._chosen(answer))

    def extras(self, answer: Answer[SensitiveSamplesRow], run: Run) -> dict[str, Any]:
        """The worst samples as data."""
        from hmct_track.data import CalibrationDataSet

        samples, inputs = run.subject.samples, run.subject.model.inputs
        chosen = self._chosen(answer)
        data = {spec.name: [samples[k][spec.name] for k in chosen] for spec in inputs}
        return {"data": CalibrationDataSet(data)}

    def _chosen(self, answer: Answer[SensitiveSamplesRow]) -> list[int]:
        return [row["sample"] for row in answer.rows[: self.sample_num]]

    def run_summary(self, answer: Answer[SensitiveSamplesRow]) -> dict[str, float]:
        """The whole model over all samples, and on the worst of them."""
        from hmct_track.analyses.scored import results, score_summary

        values = [row["value"] for row in answer.rows if row["value"] is not None]
        if as_list_of_scores(self.score):
            whole = score_summary(results(answer))
            changed = [r["changed"] for r in self._flips(answer) if r["place"] == 0]
            return {
                **whole,
                **answer.whole_summary,
                "samples_changed": float(sum(map(bool, changed))),
            }
        worst = {f"worst_sample.{self.metric}": values[0]} if values else {}
        return {**answer.whole_summary, **worst}

    def run_curves(self, answer: Answer[SensitiveSamplesRow]) -> dict[str, list[tuple[int, float]]]:
        """The metric over the samples."""
        points = [(r["sample"], r["value"]) for r in answer.rows if r["value"] is not None]
        return {f"by_sample.{self.metric}": sorted(points)}

    def note(self, answer: Answer[SensitiveSamplesRow]) -> str:
        """The worst samples."""
        from hmct_track.report import table_markdown

        query = f"sensitive_samples -p metric={self.metric}"
        return table_markdown("Samples, the worst first", self.table(answer), query, answer.run_id)
