"""``interactions``: what the worst nodes cost together beyond what each costs alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import (
    Analysis,
    Answer,
    Round,
    Seen,
    data_num,
    metric,
    output,
    save_dir,
)
from hmct_track.analyses.configurations import alone, every, names_of_type, whole
from hmct_track.errors import ModelError, UsageError
from hmct_track.options import option
from hmct_track.options.kinds import CORES, MAYBE_NAMES, SHARE, as_list
from hmct_track.report.drawings import Drawing
from hmct_track.types import NodeType, Planned, QuantConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmct_track.lake.rows import InteractionsRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run
    from hmct_track.report.html import Table

_STEM = "interactions"
_COPIES = 2


@dataclass(frozen=True, kw_only=True)
class Interactions(Analysis["InteractionsRow"]):
    """Quantize the worst nodes in pairs, and compare with the sum of both alone."""

    command: ClassVar[str] = "interactions"
    kind: ClassVar[str] = "interactions"
    summary: ClassVar[str] = "Find which of the worst nodes make each other's error worse."

    metric: str = metric()
    top: int = option(CORES, "how many of the worst nodes are paired", "-k", default=8, metavar="K")
    data_num: int | None = data_num("-d")
    interested_nodes: str | Sequence[str] | None = option(
        MAYBE_NAMES, "pair these nodes instead of the worst", "-i", default=None
    )
    output: str | Sequence[str] | None = output()
    confidence: float = option(SHARE, "how sure intervals are to be, such as 0.95", default=0.95)
    save_dir: str | os.PathLike[str] | None = save_dir("-s")

    def candidates(self, model: QuantModel) -> list[str]:
        """The nodes of which the worst are paired.

        Raises:
            UnknownNodeError: an interested node does not exist.
            UsageError: fewer than two are named.
            ModelError: the model has fewer than two to quantize.
        """
        if self.interested_nodes is None:
            names = names_of_type(model, NodeType.NODE)
            if len(names) < 2:
                raise ModelError(f"the model has {len(names)} nodes to quantize; pairs need two")
            return names
        names = model.expand(as_list(self.interested_nodes))
        if len(names) < 2:
            raise UsageError(f"interested_nodes has {len(names)} nodes; pairs need two")
        return names

    def check(self) -> None:
        """Pairs need two nodes.

        Raises:
            UsageError: a parameter is not allowed.
        """
        super().check()
        if self.top < 2:
            raise UsageError(f"top is {self.top}; pairs need two nodes or more")

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """Each node alone, to find the worst, and all of them together."""
        planned = [*alone(model, self.candidates(model)), whole(model)]
        return Round() if seen.rounds else Round(planned)

    def observe(self, run: Run) -> None:
        """Measure the pairs on moved copies, and record what they cost beyond the sum."""
        from hmct_track.analyses.shares import Copies, measure_copies, share_samples
        from hmct_track.lake import INTERACTIONS

        model, (ranked_by,) = run.subject.model, self.metrics_asked
        ranked = run.lake.query("sensitivity", run_id=run.run_id, metric=ranked_by.value)
        names = [row["subject"] for row in ranked]
        names = names if self.interested_nodes is not None else names[: self.top]
        pairs = list(combinations(names, 2))
        planned = [*alone(model, names), *(_pair(model, *pair) for pair in pairs), whole(model)]
        chosen = share_samples(len(run.subject.samples))
        found: Copies = measure_copies(run, planned, chosen, _COPIES, None)
        rows = _rows(found, names, pairs, self.confidence)
        run.lake.append(INTERACTIONS, [{"run_id": run.run_id, **row} for row in rows])

    def rows(self, answer: Answer[InteractionsRow]) -> list[InteractionsRow]:
        """The pairs, and each node with itself."""
        return answer.lake.query("interactions", run_id=answer.run_id)

    def text(self, answer: Answer[InteractionsRow]) -> str:
        """The matrix, and the pairs that interact."""
        from hmct_track.report.interactions import interactions_text

        parts = [answer.whole_line, interactions_text(answer.rows)]
        return "\n\n".join(part for part in parts if part)

    def warnings(self, answer: Answer[InteractionsRow]) -> Iterator[str]:
        """Nothing to take a share of."""
        if not answer.rows:
            yield "the fully quantized model has no error that is a number: no shares of it"

    def heading(self, answer: Answer[InteractionsRow]) -> str:
        """What it shows."""
        return "Interactions of the worst nodes"

    def table(self, answer: Answer[InteractionsRow]) -> Table:
        """The pairs, the largest interaction first."""
        from hmct_track.report.interactions import interactions_table

        return interactions_table(answer.rows)

    def drawings(self, answer: Answer[InteractionsRow]) -> list[Drawing]:
        """The heat map."""

        def draw() -> Figure:
            from hmct_track.report.interactions import interactions_figure

            return interactions_figure(answer.rows, f"Interactions in {answer.label}")

        return [Drawing(_STEM, draw)] if answer.rows else []

    def texts(self, answer: Answer[InteractionsRow]) -> dict[str, str]:
        """Matrix and pairs."""
        return {f"{_STEM}.log": self.text(answer) + "\n"}

    def worst(self, answer: Answer[InteractionsRow]) -> tuple[str, float | None] | None:
        """The first of the nodes that were paired."""
        (ranked_by,) = self.metrics_asked
        ranked = answer.query("sensitivity", metric=ranked_by.value)
        return (ranked[0]["subject"], ranked[0]["value"]) if ranked else None

    def run_summary(self, answer: Answer[InteractionsRow]) -> dict[str, float]:
        """The whole model, how many pairs interact, and the largest interactions."""
        values = [row["value"] for row in answer.rows if row["rank"] != row["other_rank"]]
        if not values:
            return answer.whole_summary
        sure = sum(row["interacts"] for row in answer.rows)
        return answer.whole_summary | {
            "pairs": float(len(values)),
            "pairs_interacting": float(sure),
            "interaction.largest": max(values),
            "interaction.smallest": min(values),
        }

    def note(self, answer: Answer[InteractionsRow]) -> str:
        """The pairs."""
        from hmct_track.report import table_markdown

        return table_markdown(
            "Pairs, the largest interaction first", self.table(answer), "interactions",
            answer.run_id,
        )  # fmt: skip


def _pair(model: QuantModel, one: str, other: str) -> Planned:
    """Two nodes quantized and no other."""
    switched = [*model.calibrations_of(one), *model.calibrations_of(other)]
    return Planned((one, other), "pair", QuantConfig.only(switched).canonical(every(model)))


def _rows(
    found: Any, names: Sequence[str], pairs: Sequence[tuple[str, str]], level: float
) -> Iterator[dict[str, Any]]:
    """Rows of the table ``interactions``, without their run."""
    import numpy as np

    from hmct_track.confidence import shares

    reference = next((e for (role, _), e in found.errors.items() if role == "reference"), None)
    if reference is None or not found.samples:
        return
    single = {name: found.errors["only", name] for name in names}
    both = {pair: found.errors["pair", ";".join(pair)] for pair in pairs}
    own = shares(np.stack([single[name] for name in names]), reference, level)
    if not np.isfinite(own.values).all():
        return
    beyond = shares(
        np.stack([both[one, other] - single[one] - single[other] for one, other in pairs]),
        reference,
        level,
    )
    together = shares(np.stack([both[pair] for pair in pairs]), reference, level)
    common = {"samples": found.samples, "copies": found.copies, "level": level}
    place = {name: k for k, name in enumerate(names, start=1)}
    for of, keys, sums in (
        (own, [(name, name) for name in names], own),
        (beyond, list(pairs), together),
    ):
        for k, (one, other) in enumerate(keys):
            yield common | {
                "node": one,
                "other": other,
                "rank": place[one],
                "other_rank": place[other],
                "together": float(sums.values[k]),
                "value": float(of.values[k]),
                "low": _number(of.low[k]),
                "high": _number(of.high[k]),
                "interacts": one != other and bool(of.surely[k]),
            }


def _number(value: float) -> float | None:
    import math

    return float(value) if math.isfinite(value) else None
