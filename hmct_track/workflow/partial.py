"""What leaving sensitive nodes out of quantization gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hmct_track.analysis import partial as analysis
from hmct_track.analysis import sensitivity
from hmct_track.data import CalibrationDataSet
from hmct_track.lake import Row
from hmct_track.report import partial_table, table_markdown
from hmct_track.report.html import partial_steps
from hmct_track.tracking import NestedRun, TrackedRun
from hmct_track.types import Metric, NodeType
from hmct_track.workflow.parameters import parse_metric
from hmct_track.workflow.result import AnalysisResult, check_save_dir, images, save
from hmct_track.workflow.run import Options, Run
from hmct_track.workflow.subject import make_subject, open_model, output_tensors

if TYPE_CHECKING:
    import onnx
    from matplotlib.figure import Figure

FIGURE_STEM = "partial_quantization"


@dataclass(frozen=True)
class PartialRequest:
    """The documented parameters of ``sensitivity_analysis``."""

    model_or_file: str | os.PathLike[str] | onnx.ModelProto
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any]
    pick_threshold: float = 0.999
    data_num: int | None = 1
    sensitive_nodes: str | Sequence[str] | None = None
    save_dir: str | os.PathLike[str] | None = None
    metric: str = Metric.COSINE_SIMILARITY.value
    qtype: str = "float32"


def analyse_partial_quantization(
    request: PartialRequest, options: Options, emit: Callable[[str], None] | None = None
) -> AnalysisResult:
    """Pick sensitive nodes, measure the model without them one after the other, record and draw.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    metric = parse_metric(request.metric)
    state = analysis.parse_qtype(request.qtype)
    model, engine = open_model(request.model_or_file, options)
    given = request.sensitive_nodes
    nodes = [given] if isinstance(given, str) else list(given or ())
    analysis.plan(model, nodes, state)  # complains of unknown nodes before anything is written
    outputs = output_tensors(model, engine, None)
    subject = make_subject(model, engine, request, outputs, options)
    folder = check_save_dir(request.save_dir)
    run = Run(
        "sensitivity-analysis",
        subject,
        options,
        metrics=[metric.value],
        parameters={
            "pick_threshold": request.pick_threshold,
            "sensitive_nodes": nodes,
            "metric": metric.value,
            "qtype": request.qtype,
        },
    )
    with run:
        if not nodes:
            ranking = sensitivity.plan(model, NodeType.NODE).planned
            run.measure(engine, ranking)
            ranked = run.lake.query("sensitivity", run_id=run.run_id, metric=metric.value)
            run.set_worst(ranked[0]["subject"], ranked[0][metric.column])
            nodes = _picked(ranked, metric, request.pick_threshold)
            planned = [p for p in analysis.plan(model, nodes, state) if p.role != "only"]
        else:
            planned = list(analysis.plan(model, nodes, state))
        run.measure(engine, planned)
        rows = run.lake.query("partial_quantization", run_id=run.run_id, metric=metric.value)
        if emit:
            emit(partial_table(rows, metric))
        figures = {FIGURE_STEM: _figure(run, rows, metric, request.qtype)}
        files = save(folder, figures=figures)
        run.describe(partial(_tracked, run, rows, metric, figures, request.qtype))
    return AnalysisResult(
        run.run_id,
        rows,
        figures,
        "Partial quantization",
        partial_steps(rows, metric),
        files,
        run.tracking_error,
        run.known,
        run.measured,
        run.noise_floor,
    )


def _picked(ranked: list[Row], metric: Metric, threshold: float) -> list[str]:
    """The nodes that are worse than the threshold, most sensitive first; all without a value."""
    return [row["subject"] for row in ranked if _is_worse(row[metric.column], metric, threshold)]


def _is_worse(value: float | None, metric: Metric, threshold: float) -> bool:
    if value is None:
        return True
    return value < threshold if metric.higher_is_better else value > threshold


def _figure(run: Run, rows: list[Row], metric: Metric, qtype: str) -> Figure:
    from hmct_track.report.partial import partial_figure

    return partial_figure(rows, metric, figure_title(run.subject.label, qtype))


def figure_title(model: str, qtype: str) -> str:
    """The heading of the figure."""
    what = "not quantized" if qtype == "float32" else qtype
    return f"Partial quantization of {model}: sensitive nodes {what}"


def _tracked(
    run: Run, rows: list[Row], metric: Metric, figures: Mapping[str, Figure], qtype: str
) -> TrackedRun:
    """What MLflow is told: each partial configuration is a nested run."""
    names = [row["node"] for row in rows[1:]]
    nested = [
        NestedRun(
            f"{row['step']:03d} {row['node']}",
            params={
                "nodes": names[: row["step"]],
                "nodes_become": qtype,
                "config_id": row["config_id"],
            },
            summary={
                name: value
                for name, value in (
                    (metric.value, row["partial"]),
                    (f"{metric.value}.single", row["single"]),
                )
                if value is not None
            },
            curves={},
        )
        for row in rows
    ]
    curve = [(row["step"], row["partial"]) for row in rows if row["partial"] is not None]
    return run.tracked_run(
        f"partial quantization, {run.subject.label}",
        summary={"sensitive_nodes": float(len(names))},
        curves={f"partial.{metric.value}": curve},
        images=images(figures),
        nested=nested,
        note=table_markdown(
            "Sensitive nodes left out one after the other",
            partial_steps(rows, metric),
            f"partial_quantization -p metric={metric}",
            run.run_id,
        ),
    )
