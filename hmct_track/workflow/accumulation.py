"""Curves of how error grows from node to node."""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hmct_track.analysis import accumulation
from hmct_track.analysis.accumulation import Selection
from hmct_track.data import CalibrationDataSet
from hmct_track.engine import Engine
from hmct_track.errors import ModelError
from hmct_track.lake import Row
from hmct_track.model import QuantModel
from hmct_track.report import curves_text, table_markdown
from hmct_track.report.html import curves
from hmct_track.tracking import NestedRun, TrackedRun
from hmct_track.types import Metric
from hmct_track.workflow.parameters import parse_metric
from hmct_track.workflow.result import AnalysisResult, check_save_dir, images, save
from hmct_track.workflow.run import Options, Run
from hmct_track.workflow.subject import make_subject, open_model

if TYPE_CHECKING:
    import onnx
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class AccumulationRequest:
    """The documented parameters of ``plot_acc_error``."""

    model_or_file: str | os.PathLike[str] | onnx.ModelProto
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any]
    quantize_node: Selection = None
    non_quantize_node: Selection = None
    metric: str = Metric.COSINE_SIMILARITY.value
    average_mode: bool = False
    data_num: int | None = 1
    save_dir: str | os.PathLike[str] | None = None


def accumulate_error(
    request: AccumulationRequest, options: Options, emit: Callable[[str], None] | None = None
) -> AnalysisResult:
    """Measure every node's output under each selection, record the run and draw the curves.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    metric = parse_metric(request.metric)
    model, engine = open_model(request.model_or_file, options)
    planned = accumulation.plan(model, request.quantize_node, request.non_quantize_node)
    outputs = _compared_tensors(model, engine)
    subject = make_subject(model, engine, request, outputs, options)
    folder = check_save_dir(request.save_dir)
    run = Run(
        "error-accumulation",
        subject,
        options,
        metrics=[metric.value],
        parameters={
            "quantize_node": request.quantize_node,
            "non_quantize_node": request.non_quantize_node,
            "metric": metric.value,
            "average_mode": request.average_mode,
        },
    )
    with run:
        run.measure(engine, planned)
        rows = run.lake.query(
            "error_accumulation",
            run_id=run.run_id,
            metric=metric.value,
            average_mode=request.average_mode,
        )
        if emit:
            emit(curves_text(rows, metric))
        figures = {figure_stem(metric, request.average_mode): _figure(run, rows, metric, request)}
        files = save(folder, figures=figures)
        run.describe(partial(_tracked, run, rows, metric, figures))
    return AnalysisResult(
        run.run_id,
        rows,
        figures,
        "Accumulated error",
        curves(rows, metric),
        files,
        run.tracking_error,
        run.known,
        run.measured,
        run.noise_floor,
    )


def _compared_tensors(model: QuantModel, engine: Engine) -> tuple[str, ...]:
    """The float outputs of the general nodes that depend on the input, in topological order."""
    from_input = {spec.name for spec in model.inputs}
    calibrations = {node.output: node.input for node in model.calibration_nodes}
    names: list[str] = []
    for node in model.general_nodes:
        sources = {calibrations.get(name, name) for name in node.inputs}
        if sources & from_input or not any(node.inputs):
            from_input.update(node.outputs)
            names += node.outputs
    kept = engine.output_tensors(names)
    if not kept:
        raise ModelError("no node of the model has a float output to compare")
    return kept


def figure_stem(metric: Metric, average_mode: bool) -> str:
    """The file name of the curves."""
    return f"accumulated_error_{metric.value}{'_average' if average_mode else ''}"


def _figure(run: Run, rows: list[Row], metric: Metric, request: AccumulationRequest) -> Figure:
    from hmct_track.report.accumulation import accumulation_figure

    inverted = not request.quantize_node
    what = "all but these quantized" if inverted else "only these quantized"
    return accumulation_figure(
        rows,
        metric,
        f"Accumulated error of {run.subject.label}: {what}",
        average_mode=request.average_mode,
    )


def _tracked(
    run: Run, rows: list[Row], metric: Metric, figures: Mapping[str, Figure]
) -> TrackedRun:
    """What MLflow is told: each curve is a nested run, so that any two can be overlaid."""
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        lines[row["curve"]].append(row)
    nested = [
        NestedRun(
            name,
            params={"curve": name, "role": points[0]["role"], "metric": metric.value},
            summary=_present({f"{metric.value}.last": points[-1]["value"]}),
            curves={metric.value: _points(points)},
        )
        for name, points in lines.items()
    ]
    last = {f"{name}.last": points[-1]["value"] for name, points in lines.items()}
    return run.tracked_run(
        f"error accumulation, {run.subject.label}",
        summary=_present({_metric_key(name): value for name, value in last.items()}),
        images=images(figures),
        nested=nested,
        note=table_markdown(
            "Accumulated error",
            curves(rows, metric),
            f"error_accumulation -p metric={metric} -p average_mode=false",
            run.run_id,
        ),
    )


def _present(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _points(rows: Sequence[Row]) -> list[tuple[int, float]]:
    return [(row["step"], row["value"]) for row in rows if row["value"] is not None]


def _metric_key(name: str) -> str:
    """A name as MLflow allows it for a metric: such as a relative path in its shortest form."""
    allowed = "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
    return posixpath.normpath(f"/{allowed}").lstrip("/")
