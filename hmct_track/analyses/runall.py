"""``runall``: all documented analyses of a model in one go, with a page that shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import (
    Analysis,
    Answer,
    Result,
    data_num,
    labels,
    output,
    score,
)
from hmct_track.analyses.diagnose import Diagnose
from hmct_track.analyses.get_channelwise_data_distribution import GetChannelwiseDataDistribution
from hmct_track.analyses.get_sensitivity_of_nodes import GetSensitivityOfNodes
from hmct_track.analyses.plot_acc_error import PlotAccError, Selection
from hmct_track.analyses.plot_distribution import PlotDistribution
from hmct_track.analyses.sensitivity_analysis import SensitivityAnalysis, pick_threshold
from hmct_track.errors import UsageError
from hmct_track.options import option, parse_metrics
from hmct_track.options.kinds import (
    FOLDER,
    MAYBE_NAMES,
    METRIC,
    METRICS,
    NAME,
    NODE_TYPE,
    SELECTION,
    SWITCH,
    WHOLE,
    as_list,
)
from hmct_track.types import Metric, NodeType, RunState

if TYPE_CHECKING:
    from hmct_track.engine import Engine
    from hmct_track.lake.rows import ScoreResultsRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run
    from hmct_track.recording.drawer import Drawer
    from hmct_track.report.html import Table

_TOP = 5
_STEPS: tuple[type[Analysis], ...] = (
    PlotDistribution, GetChannelwiseDataDistribution, PlotAccError, SensitivityAnalysis, Diagnose,
)  # fmt: skip
"""What comes after the rankings, each of use without the others."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RunallResult(Result):
    """The results of the steps, and the run above theirs."""

    @property
    def rankings(self) -> tuple[Result, ...]:
        """The rankings, in their order."""
        return tuple(s for s in self.steps if s.answer.analysis.kind == GetSensitivityOfNodes.kind)

    @property
    def distribution(self) -> Result:
        """The histograms."""
        return self._step(PlotDistribution)

    @property
    def channels(self) -> Result:
        """The box plots."""
        return self._step(GetChannelwiseDataDistribution)

    @property
    def accumulation(self) -> Result:
        """The error curves."""
        return self._step(PlotAccError)

    @property
    def partial(self) -> Result:
        """The partial quantization."""
        return self._step(SensitivityAnalysis)

    @property
    def diagnosis(self) -> Result:
        """Why the worst nodes cost accuracy, and what mends them."""
        return self._step(Diagnose)

    def _step(self, analysis: type[Analysis]) -> Result:
        found = (s for s in self.steps if isinstance(s.answer.analysis, analysis))
        step = next(found, None)
        if step is None:
            raise UsageError(f"{analysis.command} was left out of run {self.run_id}")
        return step


@dataclass(frozen=True, kw_only=True)
class Runall(Analysis):
    """The six documented steps in order and a diagnosis, under one run."""

    command: ClassVar[str] = "runall"
    kind: ClassVar[str] = "runall"
    summary: ClassVar[str] = "Run all analyses, with a page that shows them."
    result_class: ClassVar[type[Result]] = RunallResult

    save_dir: str | os.PathLike[str] | None = option(
        FOLDER, "save figures and tables here as well", "-s", default=None
    )
    ns_metrics: str | Sequence[str] = option(
        METRICS, f"one or a list of: {', '.join(Metric)}; the first ranks", "-nm",
        default=Metric.COSINE_SIMILARITY.value,
        command_default=[Metric.COSINE_SIMILARITY.value],
    )  # fmt: skip
    output_node: str | None = option(NAME, "rank by this node's output", "-o", default=None)
    node_type: str | None = option(
        NODE_TYPE, f"rank only: {', '.join(NodeType)} (default: weights, then activations)", "-nt",
        default=None,
    )  # fmt: skip
    verbose: bool = option(SWITCH, "print the rankings", "-v", default=False, command_default=True)
    interested_nodes: str | Sequence[str] | None = option(
        MAYBE_NAMES, "rank only these nodes", "-i", default=None
    )
    dis_nodes_list: str | Sequence[str] | None = option(
        MAYBE_NAMES, "plot the distribution of these (default: the five most sensitive of a type)",
        "-dnl", default=None,
    )  # fmt: skip
    cw_nodes_list: str | Sequence[str] | None = option(
        MAYBE_NAMES, "box plots of these calibration nodes (default: the same)", "-cn",
        default=None,
    )  # fmt: skip
    axis: int | None = option(
        WHOLE, "dimension of the channels", "-a", default=None, metavar="AXIS"
    )
    quantize_node: Selection = option(
        SELECTION, "error curves with only these quantized (default: weight, activation)", "-qn",
        default=None,
    )  # fmt: skip
    non_quantize_node: Selection = option(
        SELECTION, "error curves with all but these", "-nqn", default=None
    )
    ae_metric: str = option(
        METRIC, "metric of the error curves", "-am", default=Metric.COSINE_SIMILARITY.value
    )
    average_mode: bool = option(SWITCH, "running means", "-avm", default=False)
    pick_threshold: float = pick_threshold(
        "-pt", "nodes worse than this are left out of quantization one after the other"
    )
    sensitive_nodes: str | Sequence[str] | None = option(
        MAYBE_NAMES, "leave out these nodes instead", "-sn", default=None
    )
    data_num: int | None = data_num("-dn", None)
    output: str | Sequence[str] | None = output()
    score: Any = score()
    labels: Any = labels()

    @property
    def metrics_asked(self) -> tuple[Metric, ...]:
        """The metrics of the rankings."""
        return parse_metrics(self.ns_metrics)

    def outputs(self, model: QuantModel, engine: Engine) -> tuple[str, ...]:
        """The outputs of the model, or of the node asked for.

        Every step that does not wait for another's result complains first.
        """
        from hmct_track.analyses.base import Seen

        for step in self._known_steps():
            step.check()
            step.ask(model, Seen())
            step.outputs(model, engine)
        return super().outputs(model, engine)

    def observe(self, run: Run) -> None:
        """Run the steps."""
        from hmct_track.analyses.runner import run_analysis
        from hmct_track.engine.machine import default_threads
        from hmct_track.recording.drawer import Drawer
        from hmct_track.recording.progress import Steps

        rankings = self._rankings()
        looked_at = self.save_dir is not None or run.is_waited_for
        if looked_at and (run.recording.threads or default_threads()) > 1:
            run.drawer = Drawer(run.lake.path)  # with one core it would only be in the way
        with Steps(len(rankings) + 5, shown=run.recording.progress) as display:
            run.steps = display
            emit = run.emit and display.aside(run.emit)
            ranked = []
            for step in rankings:
                display.begin(f"sensitivity of each {step.node_type}")
                ranked.append(run_analysis(step, parent=run, emit=emit))
            top = _top_calibration_nodes(run.subject.model, ranked)
            for title, analysis in (
                ("distributions", self._distribution(as_list(self.dis_nodes_list) or top)),
                ("box plots", self._channels(as_list(self.cw_nodes_list) or top)),
                ("accumulated error", self._curves()),
                ("partial quantization", self._partial()),
                ("diagnosis", self._diagnosis()),
            ):
                display.begin(title)
                try:
                    run_analysis(analysis, parent=run)
                except UsageError as error:  # the other steps are of use without it
                    run.remarks.append(f"{title} left out: {error}")
            if run.drawer:
                _await_figures(run, run.drawer)
        row = next(iter(ranked[0].rows), None)
        if row:
            value = row[self.metrics_asked[0].column]
            run.row.update(worst_node=row["subject"], worst_value=value)

    def _known_steps(self) -> list[Analysis]:
        """The steps that need no other's result."""
        steps: list[Analysis] = [*self._rankings(), self._curves(), self._partial()]
        if self.dis_nodes_list:
            steps.append(self._distribution(as_list(self.dis_nodes_list)))
        if self.cw_nodes_list:
            steps.append(self._channels(as_list(self.cw_nodes_list)))
        return steps

    def _shared(self, folder: str) -> dict[str, Any]:
        place = self.save_dir and Path(self.save_dir).absolute() / folder
        names = ("model_or_file", "calibrated_data", "float_model", "data_num")
        return {"save_dir": place, **{name: getattr(self, name) for name in names}}

    def _scoring(self) -> dict[str, Any]:
        return {"score": self.score, "labels": self.labels}

    def _rankings(self) -> list[GetSensitivityOfNodes]:
        types = [self.node_type] if self.node_type else [NodeType.WEIGHT, NodeType.ACTIVATION]
        return [
            GetSensitivityOfNodes(
                metrics=self.ns_metrics,
                output_node=self.output_node,
                node_type=str(node_type),
                interested_nodes=self.interested_nodes,
                output=self.output,
                **self._scoring(),
                **self._shared("node_sensitivity"),
            )
            for node_type in types
        ]

    def _distribution(self, nodes: Sequence[str]) -> PlotDistribution:
        return PlotDistribution(nodes_list=nodes, **self._shared("data_distribution"))

    def _channels(self, nodes: Sequence[str]) -> GetChannelwiseDataDistribution:
        return GetChannelwiseDataDistribution(
            nodes_list=nodes, axis=self.axis, **self._shared("channelwise_distribution")
        )

    def _curves(self) -> PlotAccError:
        either = self.quantize_node or self.non_quantize_node
        return PlotAccError(
            quantize_node=self.quantize_node if either else ["weight", "activation"],
            non_quantize_node=self.non_quantize_node,
            metric=self.ae_metric,
            average_mode=self.average_mode,
            **self._shared("accumulate_error"),
        )

    def _partial(self) -> SensitivityAnalysis:
        return SensitivityAnalysis(
            pick_threshold=self.pick_threshold,
            sensitive_nodes=self.sensitive_nodes,
            output=self.output,
            **self._scoring(),
            **self._shared("sensitivity_analysis"),
        )

    def _diagnosis(self) -> Diagnose:
        return Diagnose(
            metric=self.metrics_asked[0].value,
            top=_TOP,
            output=self.output,
            **self._scoring(),
            **self._shared("diagnosis"),
        )

    def heading(self, answer: Answer) -> str:
        """What it shows."""
        return f"Quantization of {answer.label}"

    def table(self, answer: Answer) -> Table:
        """The table of the first step."""
        first = answer.steps[0]
        return first.analysis.table(first)

    def texts(self, answer: Answer) -> dict[str, str]:
        """The page."""
        from hmct_track.report.network import network_of
        from hmct_track.report.page import Section, render_page
        from hmct_track.report.scores import score_line
        from hmct_track.report.summary import provenance, sentences

        sections = [
            Section(step.analysis.heading(step), step.analysis.table(step), step.figures)
            for step in answer.steps
            if step.run["state"] != RunState.FAILED
        ]
        network = network_of(answer.lake, answer.run_id)
        partial = next(
            (s for s in answer.steps if isinstance(s.analysis, SensitivityAnalysis)), None
        )
        steps = (
            partial.query("partial_quantization", metric=network.metric.value) if partial else ()
        )
        scored = [score_line(r) for r in self._scores(answer) if r["role"] == "reference"]
        said = sentences(network, self._whole(answer, network.metric), steps, scored)
        said += [("What is missing?", told) for told in self._missing(answer)]
        facts = provenance(network, answer.label)
        return {"index.html": render_page(self.heading(answer), facts, sections, said, network)}

    @staticmethod
    def _missing(answer: Answer) -> Iterator[str]:
        """The steps that could not be done with this model and these data."""
        family = answer.lake.query("runs", family=answer.run_id)
        errors = {r["kind"]: r["error"] for r in family if r["state"] == RunState.FAILED}
        done = {s.analysis.kind for s in answer.steps} - errors.keys()
        for step in _STEPS:
            if step.kind not in done:
                yield f"{step.command} could not be done: {errors.get(step.kind, 'see the log')}"

    @staticmethod
    def _whole(answer: Answer, metric: Metric) -> str:
        """The fully quantized model in a line, by a metric that tells something."""
        from hmct_track.report import whole_line

        if not answer.whole or metric in answer.analysis.metrics_asked:
            return answer.whole_line if answer.whole else ""
        place = getattr(answer.analysis, "output_node", None)
        return whole_line(answer.whole, [metric], answer.run["data_num"], place)

    @staticmethod
    def _scores(answer: Answer) -> list[ScoreResultsRow]:
        """What the first ranking's configurations score; none without scores."""
        from hmct_track.analyses.scored import results

        return results(answer.steps[0]) if answer.steps else []

    def run_summary(self, answer: Answer) -> dict[str, float]:
        """The whole model."""
        from hmct_track.analyses.scored import score_summary

        return {**score_summary(self._scores(answer)), **answer.whole_summary}

    def run_name(self, answer: Answer) -> str:
        """What it is."""
        return f"all of {answer.label}"

    def note(self, answer: Answer) -> str:
        """The first ranking's."""
        first = answer.steps[0]
        return first.analysis.note(first)


def _await_figures(run: Run, drawer: Drawer) -> None:
    """Wait for the figures of the steps; draw here those that are to be saved and are missing."""
    from hmct_track.recording import save
    from hmct_track.recording.progress import progress

    for _ in progress(
        drawer.finish(),
        total=drawer.total,
        what="drawing",
        unit="figures",
        shown=run.recording.progress,
        steps=run.steps,
    ):
        pass
    for figures, folder in drawer.asked.values():
        if figures.keys() - figures.files.keys():
            save(folder, figures=figures)


def _top_calibration_nodes(model: QuantModel, rankings: Sequence[Result]) -> list[str]:
    """The calibration nodes of the most sensitive five of each ranking, most sensitive first."""
    top = [row["subject"] for ranking in rankings for row in ranking.rows[:_TOP]]
    return list(dict.fromkeys(c for name in top for c in model.calibrations_of(name)))
