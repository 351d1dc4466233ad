"""``local-errors``: how far each quantizer moves its own tensor."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import Analysis, Answer, data_num, save_dir
from hmct_track.errors import UsageError
from hmct_track.options import option
from hmct_track.options.kinds import MAYBE_NAMES, METRIC, as_list, choice
from hmct_track.types import Metric

if TYPE_CHECKING:
    from hmct_track.engine import Engine
    from hmct_track.lake.rows import LocalErrorsRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run
    from hmct_track.report.html import Table

_STEM = "local_errors"


@dataclass(frozen=True, kw_only=True)
class LocalErrors(Analysis["LocalErrorsRow"]):
    """Compare what each quantizer gives out with what it takes in, in float."""

    command: ClassVar[str] = "local-errors"
    kind: ClassVar[str] = "local-errors"
    summary: ClassVar[str] = "List how far each quantizer moves its own tensor."
    has_figures: ClassVar[bool] = False

    metric: str = option(
        METRIC, f"one of: {', '.join(Metric)}", "-m", default=Metric.SQNR.value
    )  # fmt: skip
    by: str = option(
        choice("ERROR", "own", "accumulated"),
        "what ranks: own (its rounding alone) or accumulated (in the fully quantized model)", "-b",
        default="own",
    )  # fmt: skip
    data_num: int | None = data_num("-d")
    interested_nodes: str | Sequence[str] | None = option(
        MAYBE_NAMES, "list only the quantizers of these nodes", "-i", default=None
    )
    save_dir: str | os.PathLike[str] | None = save_dir("-s")

    def quantizers(self, model: QuantModel) -> list[str]:
        """The calibration nodes that are looked at, in topological order.

        Raises:
            UnknownNodeError: an interested node does not exist.
            UsageError: an interested node has no quantizer, or the list is empty.
        """
        known = [node.name for node in model.switchable_calibrations]
        if self.interested_nodes is None:
            return known
        names = as_list(self.interested_nodes)
        if not names:
            raise UsageError(
                "interested_nodes is empty; name nodes, or leave it out for all of them"
            )
        chosen = {c for name in model.expand(names) for c in model.calibrations_of(name)}
        return [name for name in known if name in chosen]

    def outputs(self, model: QuantModel, engine: Engine) -> tuple[str, ...]:
        """The tensors that are looked at: what the quantizers give out."""
        known = model.calibration_by_name
        return tuple(dict.fromkeys(known[name].output for name in self.quantizers(model)))

    def observe(self, run: Run) -> None:
        """Record the sums of both errors of each quantizer and sample."""
        from hmct_track.engine.local import local_errors
        from hmct_track.lake import LOCAL_ERRORS

        subject = run.subject
        names = self.quantizers(subject.model)
        place = {name: position for position, name in enumerate(names)}
        rows = []
        for found in local_errors(subject.engine, subject.inputs(), names):
            row = {
                "run_id": run.run_id,
                "position": place[found.node],
                "node": found.node,
                "sample_id": found.sample_id,
            }
            for error, pair in (("own", found.own), ("accumulated", found.accumulated)):
                rows.append({**row, "error": error, **asdict(pair)})
        run.lake.append(LOCAL_ERRORS, rows)

    def rows(self, answer: Answer[LocalErrorsRow]) -> list[LocalErrorsRow]:
        """The quantizers, the worst first."""
        return answer.lake.query(
            "local_errors", run_id=answer.run_id, metric=self.metric, by=self.by
        )

    def text(self, answer: Answer[LocalErrorsRow]) -> str:
        """A line for each quantizer."""
        from hmct_track.report.tables import local_errors_table

        return local_errors_table(answer.rows, Metric(self.metric))

    def warnings(self, answer: Answer[LocalErrorsRow]) -> Iterator[str]:
        """Tensors that are not numbers."""
        bad = [row["node"] for row in answer.rows if row["nonfinite"]]
        if bad:
            yield f"{len(bad)} quantizers have NaN or Inf in their tensors, among them {bad[0]!r}"

    def heading(self, answer: Answer[LocalErrorsRow]) -> str:
        """What it shows."""
        return "Local errors"

    def table(self, answer: Answer[LocalErrorsRow]) -> Table:
        """The quantizers."""
        from hmct_track.report.html import whole_table

        shown = ("rank", "node", "kind", "consumers", "qtype", "own", "accumulated")
        rows: list[Mapping[str, Any]] = [*answer.rows]
        return whole_table([{name: row[name] for name in shown} for row in rows])

    def texts(self, answer: Answer[LocalErrorsRow]) -> dict[str, str]:
        """The quantizers."""
        return {f"{_STEM}.log": self.text(answer) + "\n"}

    def worst(self, answer: Answer[LocalErrorsRow]) -> tuple[str, float | None] | None:
        """The quantizer that moves its tensor most."""
        row = next(iter(answer.rows), None)
        if row is None:
            return None
        return row["node"], row["own"] if self.by == "own" else row["accumulated"]

    def run_summary(self, answer: Answer[LocalErrorsRow]) -> dict[str, float]:
        """The worst value."""
        worst: Any = self.worst(answer)
        value = worst[1] if worst else None
        return {} if value is None else {f"{self.by}.{self.metric}.worst": value}

    def note(self, answer: Answer[LocalErrorsRow]) -> str:
        """The worst quantizers."""
        from hmct_track.report import table_markdown

        query = f"local_errors -p metric={self.metric}"
        return table_markdown("Local errors, the worst first", self.table(answer), query,
                              answer.run_id)  # fmt: skip
