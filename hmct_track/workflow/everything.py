"""All analyses of a model in one go, with a page that shows them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmct_track.analysis import accumulation, distribution, sensitivity
from hmct_track.analysis import partial as partial_analysis
from hmct_track.analysis.accumulation import Selection
from hmct_track.data import CalibrationDataSet
from hmct_track.engine import Engine
from hmct_track.errors import TrackingError
from hmct_track.model import QuantModel
from hmct_track.report import ranking_markdown
from hmct_track.report.html import notebook_html
from hmct_track.tracking import TrackedRun
from hmct_track.types import Metric, NodeType, Quantization
from hmct_track.workflow.accumulation import AccumulationRequest, accumulate_error
from hmct_track.workflow.distribution import (
    DistributionRequest,
    show_channels,
    show_distribution,
)
from hmct_track.workflow.parameters import parse_metric, parse_metrics, parse_node_type
from hmct_track.workflow.partial import PartialRequest, analyse_partial_quantization
from hmct_track.workflow.progress import Steps
from hmct_track.workflow.result import AnalysisResult, check_save_dir
from hmct_track.workflow.run import Options, Run
from hmct_track.workflow.sensitivity import SensitivityRequest, SensitivityResult, rank_nodes
from hmct_track.workflow.subject import make_subject, open_model, output_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

_TOP = 5


@dataclass(frozen=True)
class EverythingRequest:
    """The documented parameters of ``runall``."""

    model_or_file: str | os.PathLike[str] | onnx.ModelProto
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any]
    save_dir: str | os.PathLike[str] | None = None
    ns_metrics: str | Sequence[str] = Metric.COSINE_SIMILARITY.value
    output_node: str | None = None
    node_type: str | None = None
    data_num: int | None = None
    verbose: bool = False
    interested_nodes: str | Sequence[str] | None = None
    dis_nodes_list: str | Sequence[str] | None = None
    cw_nodes_list: str | Sequence[str] | None = None
    axis: int | None = None
    quantize_node: Selection = None
    non_quantize_node: Selection = None
    ae_metric: str = Metric.COSINE_SIMILARITY.value
    average_mode: bool = False
    pick_threshold: float = 0.999
    sensitive_nodes: str | Sequence[str] | None = None


@dataclass(frozen=True, eq=False)
class EverythingResult:
    """The results of the steps, and the run above theirs."""

    run_id: str
    title: str
    rankings: tuple[SensitivityResult, ...]
    distribution: AnalysisResult
    channels: AnalysisResult
    accumulation: AnalysisResult
    partial: AnalysisResult
    files: tuple[Path, ...]
    tracking_error: TrackingError | None
    known: int
    measured: int
    noise_floor: float | None

    def _repr_html_(self) -> str:
        """A notebook shows all tables and figures."""
        steps = (self.distribution, self.channels, self.accumulation, self.partial)
        parts = [(r.title, r.shown, r.figures) for r in self.rankings]
        parts += [(r.title, r.table, dict(r.figures)) for r in steps]
        return notebook_html(self.title, self.run_id, parts)


def run_everything(
    request: EverythingRequest, options: Options, emit: Callable[[str], None] | None = None
) -> EverythingResult:
    """The six documented steps in order, under one run.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    metrics = parse_metrics(request.ns_metrics)
    parse_metric(request.ae_metric)
    types = [parse_node_type(request.node_type)] if request.node_type else _default_types()
    model, engine = open_model(request.model_or_file, options)
    _check(request, model, engine, types)
    outputs = output_tensors(model, engine, request.output_node)
    subject = make_subject(model, engine, request, outputs, options)
    folder = check_save_dir(request.save_dir)
    run = Run(
        "runall",
        subject,
        options,
        metrics=[m.value for m in metrics],
        parameters={
            name: value
            for name, value in vars(request).items()
            if name not in ("model_or_file", "calibrated_data", "data_num")
        },
    )
    display = Steps(len(types) + 4, shown=options.progress)
    with run, display:
        steps = _Steps(request, replace(options, parent=run, steps=display), folder)
        rankings = tuple(steps.rank(kind, emit and display.aside(emit)) for kind in types)
        if worst := next(iter(rankings[0].rows), None):
            run.set_worst(worst["subject"], worst[metrics[0].column])
        top = _top_calibration_nodes(model, rankings)
        distributions = steps.distribution(_given(request.dis_nodes_list) or top)
        chosen = _given(request.cw_nodes_list) or [n for n in top if n in model.calibration_by_name]
        channels = steps.channels(chosen)
        curves = steps.accumulation()
        partial_result = steps.partial()
        results = (distributions, channels, curves, partial_result)
        page = _page(run, rankings, results)
        every: list[SensitivityResult | AnalysisResult] = [*rankings, *results]
        files = [file for result in every for file in result.files]
        if folder:
            index = folder / "index.html"
            index.write_text(page, encoding="utf-8")
            files.append(index)
        run.describe(partial(_tracked, run, page, rankings[0]))
    return EverythingResult(
        run.run_id,
        f"Quantization of {subject.label}",
        rankings,
        *results,
        tuple(files),
        run.tracking_error,
        sum(result.known for result in every),
        sum(result.measured for result in every),
        engine.noise_floor,
    )


def _check(
    request: EverythingRequest, model: QuantModel, engine: Engine, types: Sequence[NodeType]
) -> None:
    """Plan every step that does not wait for another's result, and so complain before the first."""
    interested = _given(request.interested_nodes) or None
    for node_type in types:
        sensitivity.plan(model, node_type, interested)
    if request.dis_nodes_list:
        nodes = _given(request.dis_nodes_list)
        distribution.plan(model, nodes, lambda tensor: bool(engine.output_tensors([tensor])))
    if request.cw_nodes_list:
        distribution.plan_channels(model, _given(request.cw_nodes_list), request.axis)
    if request.quantize_node or request.non_quantize_node:
        accumulation.plan(model, request.quantize_node, request.non_quantize_node)
    partial_analysis.plan(model, _given(request.sensitive_nodes), Quantization.OFF)


def _default_types() -> list[NodeType]:
    """What the documentation's first two steps rank unless a type is asked for."""
    return [NodeType.WEIGHT, NodeType.ACTIVATION]


class _Steps:
    """The steps of one run, each in its documented folder."""

    def __init__(self, request: EverythingRequest, options: Options, folder: Path | None) -> None:
        self._request = request
        self._options = options
        self._folder = folder

    def _next(self, title: str) -> Options:
        if self._options.steps:
            self._options.steps.begin(title)
        return self._options

    def _place(self, name: str) -> Path | None:
        return self._folder and self._folder / name

    def rank(self, node_type: NodeType, emit: Callable[[str], None] | None) -> SensitivityResult:
        asked = self._request
        request = SensitivityRequest(
            asked.model_or_file,
            asked.calibrated_data,
            asked.ns_metrics,
            asked.output_node,
            node_type.value,
            asked.data_num,
            asked.interested_nodes,
            self._place("node_sensitivity"),
        )
        return rank_nodes(request, self._next(f"sensitivity of each {node_type}"), emit)

    def distribution(self, nodes: Sequence[str]) -> AnalysisResult:
        return show_distribution(
            self._distribution_request(nodes, "data_distribution"), self._next("distributions")
        )

    def channels(self, nodes: Sequence[str]) -> AnalysisResult:
        request = self._distribution_request(nodes, "channelwise_distribution")
        return show_channels(replace(request, axis=self._request.axis), self._next("box plots"))

    def _distribution_request(self, nodes: Sequence[str], folder: str) -> DistributionRequest:
        return DistributionRequest(
            self._request.model_or_file,
            self._request.calibrated_data,
            nodes,
            self._place(folder),
            self._request.data_num,
        )

    def accumulation(self) -> AnalysisResult:
        asked = self._request
        selected = asked.quantize_node or (
            None if asked.non_quantize_node else ["weight", "activation"]
        )
        request = AccumulationRequest(
            asked.model_or_file,
            asked.calibrated_data,
            selected,
            asked.non_quantize_node,
            asked.ae_metric,
            asked.average_mode,
            asked.data_num,
            self._place("accumulate_error"),
        )
        return accumulate_error(request, self._next("accumulated error"))

    def partial(self) -> AnalysisResult:
        asked = self._request
        request = PartialRequest(
            asked.model_or_file,
            asked.calibrated_data,
            asked.pick_threshold,
            asked.data_num,
            asked.sensitive_nodes,
            self._place("sensitivity_analysis"),
        )
        return analyse_partial_quantization(request, self._next("partial quantization"))


def _top_calibration_nodes(model: QuantModel, rankings: Sequence[SensitivityResult]) -> list[str]:
    """The calibration nodes of the most sensitive five of each ranking, most sensitive first."""
    top = [row["subject"] for ranking in rankings for row in ranking.rows[:_TOP]]
    return list(dict.fromkeys(c for name in top for c in model.calibrations_of(name)))


def _given(nodes: str | Sequence[str] | None) -> list[str]:
    return [nodes] if isinstance(nodes, str) else list(nodes or ())


def _page(
    run: Run, rankings: Sequence[SensitivityResult], results: Sequence[AnalysisResult]
) -> str:
    from hmct_track.report.page import Section, render_page

    sections = [Section(r.title, r.shown, r.figures) for r in rankings]
    sections += [Section(r.title, r.table, r.figures) for r in results]
    facts = {
        "model": str(run.subject.model.path or run.subject.label),
        "model id": run.subject.model.model_id,
        "data": str(run.subject.samples.path or "arrays"),
        "samples": str(len(run.subject.sample_ids)),
        "run": run.run_id,
    }
    return render_page(f"Quantization of {run.subject.label}", facts, sections)


def _tracked(run: Run, page: str, first: SensitivityResult) -> TrackedRun:
    return run.tracked_run(
        f"all of {run.subject.label}",
        texts={"index.html": page},
        note=ranking_markdown(first.rows, first.node_type, first.run_id),
    )
