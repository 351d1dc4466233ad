"""``diagnose``: why nodes cost accuracy, and what mends them, tried and measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from hmct_track.analyses.configurations import alone, every, names_of_type, whole
from hmct_track.errors import UsageError
from hmct_track.options import option
from hmct_track.options.kinds import MAYBE_NAMES, WHOLE, as_list, as_words, texts
from hmct_track.types import (
    CalibrationNode,
    Effect,
    Metric,
    NodeType,
    Planned,
    QuantConfig,
)

if TYPE_CHECKING:
    from hmct_track.engine.facts import Facts
    from hmct_track.lake import Row
    from hmct_track.lake.rows import ScoreResultsRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run
    from hmct_track.remedies import Family, Remedy
    from hmct_track.report.html import Table

ALLOW = "horizon"
TOP = 10
_STEM = "diagnosis"


def allow() -> Any:
    """The field for what the toolchain can express."""
    return option(
        texts("REMEDIES"), "what the toolchain can express: a preset (horizon, onnxruntime, all) "
        "or remedies such as [threshold,per-channel,bias,int16-activation]",
        default=ALLOW, command_default=[ALLOW],
    )  # fmt: skip


def free_families(allowed: str | Sequence[str]) -> list[Family]:
    """Those of the remedies that are allowed which cost nothing at run time.

    Raises:
        UsageError: there is none, or a name is not known.
    """
    from hmct_track.remedies import FREE, allowed_families

    found = [f for f in allowed_families(as_words(allowed)) if f in FREE]
    if not found:
        raise UsageError(
            f"allow names nothing that is free at run time; choose from {', '.join(FREE)}"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Diagnose(Analysis):
    """Take the worst nodes apart, and try remedies on each."""

    command: ClassVar[str] = "diagnose"
    kind: ClassVar[str] = "diagnosis"
    summary: ClassVar[str] = "Say why nodes cost accuracy, and what mends them, tried and measured."
    has_figures: ClassVar[bool] = False

    metric: str = metric()
    nodes: str | Sequence[str] | None = option(
        MAYBE_NAMES, "diagnose these nodes (default: the worst)", "-n", default=None
    )
    top: int = option(WHOLE, "how many of the worst nodes are diagnosed", "-k", default=TOP)
    allow: str | Sequence[str] = allow()
    data_num: int | None = data_num("-d", None)
    save_dir: str | os.PathLike[str] | None = save_dir("-s")
    output: str | Sequence[str] | None = output()
    score: Any = score()
    labels: Any = labels()

    def check(self) -> None:
        """Check the parameters by themselves."""
        super().check()
        if self.top < 1:
            raise UsageError(f"top is {self.top}; give a number above 0")
        self._allowed()

    def _allowed(self) -> tuple[Family, ...]:
        from hmct_track.remedies import allowed_families

        return allowed_families(as_words(self.allow))

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """The whole model, and each node alone.

        Raises:
            UnknownNodeError: a node does not exist.
            UsageError: a node cannot be quantized.
        """
        if seen.rounds:
            return Round()
        return Round([whole(model), *alone(model, self._candidates(model))])

    def _candidates(self, model: QuantModel) -> list[str]:
        if self.nodes is None:
            return names_of_type(model, NodeType.NODE)
        names = model.expand(as_list(self.nodes))
        if not names:
            raise UsageError("nodes is empty; name nodes, or leave it out for the worst")
        calibrations = model.calibration_by_name
        # What is said is said of nodes that compute; a quantizer stands for those that read it.
        owners = [(calibrations[n].consumers if n in calibrations else (n,)) for n in names]
        return list(dict.fromkeys(name for owner in owners for name in owner))

    def observe(self, run: Run) -> None:
        """Find the causes, and try the remedies, of the worst nodes."""
        from hmct_track.analyses.scored import record_scores
        from hmct_track.lake import CAUSES, REMEDIES

        ranked = run.lake.query("sensitivity", run_id=run.run_id, metric=self.metric)
        subjects = [row["subject"] for row in ranked][: None if self.nodes else self.top]
        work = _Diagnosing(run, subjects, self._allowed(), Metric(self.metric))
        run.lake.append(CAUSES, work.causes())
        run.lake.append(REMEDIES, work.remedies())
        # Remedies are judged on some of the samples only.
        record_scores(run, counts=lambda row: row["role"] in ("reference", "only"))

    def _scores(self, answer: Answer) -> list[ScoreResultsRow]:
        """What the whole model scores, and each node alone; none without scores."""
        from hmct_track.analyses.scored import results

        return results(answer) if as_list_of_scores(self.score) else []

    def _lost(self, answer: Answer) -> dict[str, str]:
        """Node to what it loses of the scores alone, in words."""
        from hmct_track.report.scores import lost_by_subject

        return lost_by_subject(self._scores(answer))

    def rows(self, answer: Answer) -> list[Row]:
        """The causes: a row for each calibration node, the worst general node first."""
        return answer.query("causes", metric=self.metric)

    def remedies(self, answer: Answer) -> list[Row]:
        """The remedies that were measured."""
        return answer.query("remedies", metric=self.metric)

    def text(self, answer: Answer) -> str:
        """The whole model in a line, and one or two lines for each node."""
        from hmct_track.report.diagnosis import said
        from hmct_track.report.scores import whole_scores

        scored = whole_scores(self._scores(answer))
        lost = self._lost(answer)
        lines = said(answer.rows, self.remedies(answer), Metric(self.metric), lost)
        return "\n".join([*([scored] if scored else []), answer.whole_line, "", *lines])

    def warnings(self, answer: Answer) -> Iterator[str]:
        """One sample cannot show what holds for others."""
        if answer.run["data_num"] == 1:
            yield (
                "remedies were fitted and judged on the same sample; give more (-d) to judge them "
                "on others"
            )

    def heading(self, answer: Answer) -> str:
        """What it shows."""
        return "Diagnosis"

    def table(self, answer: Answer) -> Table:
        """The nodes, in words."""
        from hmct_track.report.diagnosis import words_table

        return words_table(
            answer.rows, self.remedies(answer), Metric(self.metric), self._lost(answer)
        )

    def texts(self, answer: Answer) -> dict[str, str]:
        """The same text, and all remedies."""
        from hmct_track.report.diagnosis import remedies_text

        tried = remedies_text(self.remedies(answer), Metric(self.metric))
        return {f"{_STEM}.log": f"{self.text(answer)}\n\n{tried}\n"}

    def worst(self, answer: Answer) -> tuple[str, float | None] | None:
        """The worst node."""
        row = next(iter(answer.rows), None)
        return (row["subject"], row["together"]) if row else None

    def run_summary(self, answer: Answer) -> dict[str, float]:
        """The whole model; what the best free remedy gives the worst node."""
        from hmct_track.analyses.scored import score_summary

        worst = next(iter(answer.rows), None)
        free = [
            row["after"]
            for row in self.remedies(answer)
            if row["price"] == "free" and row["rank"] == 1 and row["position"] == 0
        ]
        found: dict[str, float | None] = {
            "worst": worst["together"] if worst else None,
            "worst.free": free[0] if free else None,
        }
        told: dict[str, float] = {
            f"{n}.{self.metric}": v for n, v in found.items() if v is not None
        }
        return {**score_summary(self._scores(answer)), **answer.whole_summary, **told}

    def note(self, answer: Answer) -> str:
        """The nodes, in words."""
        from hmct_track.report import table_markdown

        query = f"causes -p metric={self.metric}"
        return table_markdown("Diagnosis", self.table(answer), query, answer.run_id)


class _Diagnosing:
    """The work of one run: what is measured of each of its nodes, and the rows that are kept."""

    def __init__(
        self, run: Run, subjects: Sequence[str], allowed: Sequence[Family], metric: Metric
    ) -> None:
        from hmct_track.remedies import material_of

        self._run = run
        self._model = run.subject.model
        self._engine = run.subject.engine
        self._known = every(self._model)
        self._subjects = list(subjects)
        self._allowed = allowed
        self._metric = metric
        count = len(run.subject.samples)
        self.judged = range(1, count, 2) if count > 1 else range(1)
        fitted = range(0, count, 2)
        self._fitted = run.subject.inputs(fitted)
        self._material = material_of(self._engine, self._fitted, self._subjects)
        self._shares = self._find_shifts()

    def _find_shifts(self) -> dict[str, float]:
        """Corrections for nodes that have a bias, and the share of the error that they take off."""
        from hmct_track.engine.facts import shifts_of
        from hmct_track.types import BiasShift

        shares, shifts = {}, {}
        for name in self._subjects:
            if not self._material.layers.can_shift(name):
                continue
            output = self._model.general_by_name[name].outputs[0]
            found = shifts_of(self._engine, self._fitted, self._only(name), {name: output})
            for node, (means, share) in found.items():
                shares[node] = share
                shifts[node] = BiasShift(tuple(means.astype("float32").tolist()))
        self._material = replace(self._material, shifts=shifts)
        return shares

    def _only(self, name: str) -> QuantConfig:
        config = QuantConfig.only(self._model.calibrations_of(name))
        return config.canonical(self._known)

    def _quantizers(self, name: str) -> list[CalibrationNode]:
        known = self._model.calibration_by_name
        found = [known[c] for c in self._model.calibrations_of(name)]
        return [node for node in found if node.name in self._material.facts]

    def causes(self) -> list[dict[str, Any]]:
        """Measure each calibration node alone, its clipping alone and its rounding alone."""
        planned, rows = [], []
        for position, subject in enumerate(self._subjects):
            for node in self._quantizers(subject):
                configs = self._parts(node)
                planned += [Planned(node.name, role, c) for role, c in configs.items()]
                ids = {f"{role}_id": config.config_id for role, config in configs.items()}
                rows.append(
                    {
                        "run_id": self._run.run_id,
                        "position": position,
                        "subject": subject,
                        "node": node.name,
                        **dict.fromkeys(("clip_id", "round_id")),
                        **ids,
                        **facts_row(self._material.facts[node.name]),
                        "mean_shift": self._shares.get(subject),
                    }
                )
        self._run.measuring.measure(planned, self.judged)
        return rows

    def _parts(self, node: CalibrationNode) -> dict[str, QuantConfig]:
        """The node alone, and where it is of integers, either of its effects alone."""
        names = self._model.calibrations_of(node.name)
        found = {"alone": QuantConfig.only(names)}
        if node.params.qtype.is_integer:
            for role, effect in (("clip", Effect.CLIP_ONLY), ("round", Effect.ROUND_ONLY)):
                params = replace(node.params, effect=effect)
                found[role] = QuantConfig.only([node.name], params)
        return {role: config.canonical(self._known) for role, config in found.items()}

    def remedies(self) -> list[dict[str, Any]]:
        """Try each remedy alone, and then the best free ones of each node together."""
        from hmct_track.remedies import remedies_of

        tried = {name: remedies_of(name, self._material, self._allowed) for name in self._subjects}
        self._measure(tried)
        values = self._values()
        together = {name: self._together(name, tried[name], values) for name in self._subjects}
        self._measure(together)
        return [
            self._row(position, place, remedy)
            for position, name in enumerate(self._subjects)
            for place, remedy in enumerate([*tried[name], *together[name]])
        ]

    def _measure(self, tried: Mapping[str, Sequence[Remedy]]) -> None:
        planned = [
            Planned(f"{name}: {remedy.name}", "remedy", self._after(remedy))
            for name, remedies in tried.items()
            for remedy in remedies
        ]
        if planned:
            self._run.measuring.measure(planned, self.judged)

    def _after(self, remedy: Remedy) -> QuantConfig:
        """Only the node with its remedy; other nodes that take part in it stay float."""
        own = self._model.calibrations_of(remedy.node)
        states = {name: state for name, state in remedy.states.items() if name in own}
        return replace(remedy, states=states).apply(self._only(remedy.node)).canonical(self._known)

    def _values(self) -> dict[str, float]:
        """How bad each configuration of a remedy is."""
        rows = self._run.lake.query(
            "config_values", run_id=self._run.run_id, metric=self._metric.value
        )
        return {row["config_id"]: self._metric.badness(row["value"]) for row in rows}

    def _together(
        self, name: str, tried: Sequence[Remedy], values: Mapping[str, float]
    ) -> list[Remedy]:
        """The best free remedy for each calibration node that helps by itself, and the bias."""
        from hmct_track.remedies import Price
        from hmct_track.remedies import Remedy as Made

        before = values[self._only(name).config_id]
        best: dict[str, tuple[float, Remedy]] = {}
        for remedy in tried:
            if remedy.price is not Price.FREE or len([*remedy.states, *remedy.shifts]) != 1:
                continue
            (place,) = [*remedy.states, *remedy.shifts]
            value = values[self._after(remedy).config_id]
            if value < before and value < best.get(place, (before, None))[0]:
                best[place] = (value, remedy)
        chosen = [remedy for _, remedy in best.values()]
        if len(chosen) < 2:
            return []
        states = {k: v for r in chosen for k, v in r.states.items()}
        shifts = {k: v for r in chosen for k, v in r.shifts.items()}
        title = " + ".join(remedy.name for remedy in chosen)
        return [Made(name, title, chosen[0].family, states, shifts)]

    def _row(self, position: int, place: int, remedy: Remedy) -> dict[str, Any]:
        return {
            "run_id": self._run.run_id,
            "position": position,
            "place": place,
            "subject": remedy.node,
            "remedy": remedy.name,
            "family": remedy.family.value,
            "price": remedy.price.value,
            "nodes": sorted(remedy.states),
            "before_id": self._only(remedy.node).config_id,
            "after_id": self._after(remedy).config_id,
        }


def facts_row(facts: Facts) -> dict[str, Any]:
    """The columns of ``causes`` that are about a tensor."""
    channels = len(facts.maxima) or None
    worst = facts.worst_channel
    return {
        "low": facts.low if facts.count else None,
        "high": facts.high if facts.count else None,
        "elements": facts.count,
        "sum_xx": facts.squares,
        "sum_dd": facts.error,
        "clip_dd": facts.clip_error,
        "round_dd": facts.round_error,
        "saturation": facts.saturation,
        "effective_bits": facts.effective_bits,
        "outlier_ratio": facts.outlier_ratio,
        "axis": facts.axis,
        "channels": channels,
        "dead_channels": channels and facts.dead,
        "lost_channels": channels and facts.lost,
        "channel_bits": facts.channel_bits,
        "imbalance": facts.imbalance,
        "worst_channel": worst and worst[0],
        "worst_share": worst and worst[1],
    }
