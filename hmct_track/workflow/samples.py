"""The samples on which quantization hurts most."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hmct_track.data import CalibrationDataSet, save_samples
from hmct_track.errors import UsageError
from hmct_track.lake import Row
from hmct_track.report import samples_table, table_markdown
from hmct_track.report.html import worst_samples
from hmct_track.tracking import TrackedRun
from hmct_track.types import Metric, Planned, QuantConfig, Quantization
from hmct_track.workflow.parameters import parse_metric
from hmct_track.workflow.result import AnalysisResult, check_save_dir, images, save
from hmct_track.workflow.run import Options, Run
from hmct_track.workflow.subject import make_subject, open_model, output_tensors

if TYPE_CHECKING:
    import onnx
    from matplotlib.figure import Figure

FIGURE_STEM = "sensitive_samples"
"""The file name of the figure."""


@dataclass(frozen=True)
class SamplesRequest:
    """The parameters of ``select_sensitive_samples``."""

    model_or_file: str | os.PathLike[str] | onnx.ModelProto
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any]
    metric: str = Metric.COSINE_SIMILARITY.value
    data_num: int | None = None
    sample_num: int = 1
    save_dir: str | os.PathLike[str] | None = None


@dataclass(frozen=True, eq=False)
class SamplesResult(AnalysisResult):
    """The samples, the worst first, and the worst of them as data."""

    data: CalibrationDataSet | None = None
    """The ``sample_num`` worst samples, for other analyses."""


def select_samples(
    request: SamplesRequest, options: Options, emit: Callable[[str], None] | None = None
) -> SamplesResult:
    """Rank samples by what full quantization does to the outputs, record the run, keep the worst.

    Args:
        request: of which model and data.
        options: where to record it.
        emit: called with the table as soon as it is known, before MLflow is.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    metric = parse_metric(request.metric)
    model, engine = open_model(request.model_or_file, options)
    subject = make_subject(model, engine, request, output_tensors(model, engine, None), options)
    count, total = request.sample_num, len(subject.samples)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= total:
        raise UsageError(f"sample_num is {count!r}; there are 1 to {total} samples")
    folder = check_save_dir(request.save_dir)
    run = Run(
        "sensitive-samples",
        subject,
        options,
        metrics=[metric.value],
        parameters={"metric": metric.value, "sample_num": count},
    )
    every = [node.name for node in model.calibration_nodes]
    config = QuantConfig(Quantization.AS_CALIBRATED).canonical(every)
    with run:
        run.measure(engine, [Planned("calibrated_model", "reference", config)])
        rows = run.lake.query("sensitive_samples", run_id=run.run_id, metric=metric.value)
        chosen = [row["sample"] for row in rows[:count]]
        data = CalibrationDataSet(
            {spec.name: [subject.samples[k][spec.name] for k in chosen] for spec in model.inputs}
        )
        table = samples_table(rows, metric)
        if emit:
            emit(table)
        figures = {FIGURE_STEM: _figure(run, rows, metric)}
        files = save(folder, figures=figures, texts={"sensitive_samples.log": table + "\n"})
        if folder:
            files += save_samples(folder / "calibration_data", subject.samples, chosen)
        run.describe(partial(_tracked, run, rows, metric, table, figures))
    return SamplesResult(
        run.run_id,
        rows,
        figures,
        "Sensitive samples",
        worst_samples(rows, metric),
        files,
        run.tracking_error,
        run.known,
        run.measured,
        run.noise_floor,
        data,
    )


def _figure(run: Run, rows: list[Row], metric: Metric) -> Figure:
    from hmct_track.report.samples import samples_figure

    return samples_figure(rows, metric, f"Samples of {run.subject.label}: all nodes quantized")


def _tracked(
    run: Run, rows: list[Row], metric: Metric, table: str, figures: Mapping[str, Figure]
) -> TrackedRun:
    points = [(row["sample"], row["value"]) for row in rows if row["value"] is not None]
    return run.tracked_run(
        f"sensitive samples, {run.subject.label}",
        summary={f"{metric.value}.worst": points[0][1]} if points else {},
        curves={metric.value: sorted(points)},
        texts={"sensitive_samples.log": table + "\n"},
        images=images(figures),
        note=table_markdown(
            "Samples, the worst first",
            worst_samples(rows, metric),
            f"sensitive_samples -p metric={metric}",
            run.run_id,
        ),
    )
