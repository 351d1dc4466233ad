"""Ranking nodes by how much is lost when they alone are quantized."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmct_track.analysis import sensitivity
from hmct_track.data import CalibrationDataSet
from hmct_track.errors import TrackingError
from hmct_track.lake import Row
from hmct_track.report import ranking_markdown, sensitivity_table
from hmct_track.report.html import Table, notebook_html, ranking
from hmct_track.tracking import TrackedRun
from hmct_track.types import Metric, NodeType
from hmct_track.workflow.parameters import parse_metrics, parse_node_type
from hmct_track.workflow.result import check_save_dir, images, save
from hmct_track.workflow.run import Options, Run
from hmct_track.workflow.subject import make_subject, open_model, output_tensors

if TYPE_CHECKING:
    import onnx
    import pandas as pd
    from matplotlib.figure import Figure

LOG = logging.getLogger(__name__)

_NEARLY_EQUAL = 0.999


@dataclass(frozen=True)
class SensitivityRequest:
    """The documented parameters of ``get_sensitivity_of_nodes``."""

    model_or_file: str | os.PathLike[str] | onnx.ModelProto
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any]
    metrics: str | Sequence[str] = Metric.COSINE_SIMILARITY.value
    output_node: str | None = None
    node_type: str = NodeType.NODE.value
    data_num: int | None = 1
    interested_nodes: str | Sequence[str] | None = None
    save_dir: str | os.PathLike[str] | None = None


class Ranking(dict[str, dict[str, float]]):
    """Node to metric to value, most sensitive first: the documented return value.

    It is a dict in everything, and shows itself as a table in a notebook. Copies and pickles of it
    are plain dicts.
    """

    def __init__(self, result: SensitivityResult) -> None:
        super().__init__(
            (row["subject"], {m.value: _number(row[m.column]) for m in result.metrics})
            for row in result.rows
        )
        self._result = result

    @property
    def run_id(self) -> str:
        """The run that recorded it."""
        return self._result.run_id

    @property
    def rows(self) -> list[Row]:
        """The rows of the query ``sensitivity``, with all five metrics."""
        return self._result.rows

    @property
    def figures(self) -> dict[str, Figure]:
        """File stem to figure."""
        return self._result.figures

    @property
    def files(self) -> tuple[Path, ...]:
        """What was written to ``save_dir``."""
        return self._result.files

    def to_frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def _repr_html_(self) -> str:
        """A notebook shows the table and the figure."""
        result = self._result
        return notebook_html(result.title, result.run_id, [("", result.shown, result.figures)])

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


@dataclass(frozen=True)
class SensitivityResult:
    """A ranking: the rows of the query ``sensitivity``, most sensitive first."""

    run_id: str
    rows: list[Row]
    title: str
    table: str
    metrics: tuple[Metric, ...]
    node_type: NodeType
    figure: Callable[[], Figure] = field(repr=False)
    """Draws the ranking, once."""
    files: tuple[Path, ...]
    """What was written to ``save_dir``."""
    tracking_error: TrackingError | None
    known: int
    """Configurations whose measurements the lake had."""
    measured: int
    """Configurations that were evaluated."""
    noise_floor: float | None = None
    """How far the float model in parts is from the whole, as a share of the norm, if it was run."""

    @property
    def figures(self) -> dict[str, Figure]:
        """File stem to figure."""
        return {f"sensitivity_of_{self.node_type}": self.figure()}

    @property
    def shown(self) -> Table:
        """The ranking as a table with bars."""
        return ranking(self.rows, self.metrics)


def rank_nodes(
    request: SensitivityRequest, options: Options, emit: Callable[[str], None] | None = None
) -> SensitivityResult:
    """Rank nodes, record the run in the lake and log it to MLflow.

    Args:
        request: what to rank, on what.
        options: where to record it.
        emit: called with the table as soon as it is known, before MLflow is.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    metrics = parse_metrics(request.metrics)
    node_type = parse_node_type(request.node_type)
    model, engine = open_model(request.model_or_file, options)
    interested = request.interested_nodes
    plan = sensitivity.plan(
        model, node_type, [interested] if isinstance(interested, str) else interested
    )
    outputs = output_tensors(model, engine, request.output_node)
    subject = make_subject(model, engine, request, outputs, options)
    folder = check_save_dir(request.save_dir)
    run = Run(
        "sensitivity",
        subject,
        options,
        metrics=[m.value for m in metrics],
        parameters={
            "metrics": [m.value for m in metrics],
            "output_node": request.output_node,
            "node_type": plan.node_type,
            "interested_nodes": interested,
        },
    )
    with run:
        run.measure(engine, plan.planned)
        rows = run.lake.query("sensitivity", run_id=run.run_id, metric=metrics[0].value)
        if rows:
            run.set_worst(rows[0]["subject"], rows[0][metrics[0].column])
        table = sensitivity_table(rows, plan.node_type, metrics)
        if emit:
            emit(table)
        _warn(rows, metrics[0])
        # Drawn only if it is shown: drawing takes longer than ranking a small model.
        figure = cache(partial(_figure, run, rows, metrics[0], plan.node_type))
        files = save(folder, texts={_log_name(plan.node_type): table + "\n"})
        if folder:
            stem = f"sensitivity_of_{plan.node_type}"
            files += save(folder, figures={stem: figure()})
        run.describe(partial(_tracked, run, rows, figure, plan.node_type, table))
    return SensitivityResult(
        run.run_id,
        rows,
        f"Sensitivity of each {plan.node_type} quantized alone",
        table,
        metrics,
        plan.node_type,
        figure,
        files,
        run.tracking_error,
        run.known,
        run.measured,
        run.noise_floor,
    )


def _log_name(node_type: NodeType) -> str:
    return f"sensitivity_of_{node_type}.log"


def _figure(run: Run, rows: list[Row], metric: Metric, node_type: NodeType) -> Figure:
    from hmct_track.report.ranking import ranking_figure

    title = f"Sensitivity of {run.subject.label}: each {node_type} quantized alone"
    return ranking_figure(rows, metric, title)


def _warn(rows: list[Row], metric: Metric) -> None:
    """Say what makes the values mean less than they seem to."""
    if metric is Metric.COSINE_SIMILARITY and any(row["elements"] == 1 for row in rows):
        LOG.warning(
            "an output has a single element, of which the cosine similarity is always 1 or -1; "
            "rank by another metric, such as sqnr, or at another output_node"
        )
    broken = [row["subject"] for row in rows if row["nonfinite"]]
    if broken:
        LOG.warning(
            "outputs hold NaN or Inf for %d nodes, among them %s; metrics of such samples are left "
            "out of the means",
            len(broken),
            broken[0],
        )


def _tracked(
    run: Run, rows: list[Row], figure: Callable[[], Figure], node_type: NodeType, table: str
) -> TrackedRun:
    """What MLflow is told of a ranking."""
    curves: dict[str, list[tuple[int, float]]] = {}
    summary: dict[str, float] = {}
    for metric in Metric:
        points = sorted((row["position"], _number(row[metric.column])) for row in rows)
        curves[metric.value] = points
        values = [value for _, value in points if not math.isnan(value)]
        if values:
            worst = min(values) if metric.higher_is_better else max(values)
            summary[f"{metric.value}.worst"] = worst
            summary[f"{metric.value}.mean"] = math.fsum(values) / len(values)
    cosine = [value for _, value in curves[Metric.COSINE_SIMILARITY.value]]
    summary[f"cosine-similarity.below_{_NEARLY_EQUAL}"] = float(
        sum(not value >= _NEARLY_EQUAL for value in cosine)
    )
    # Last, as the web UI's plots begin with the first.
    summary["nodes"] = float(len(rows))
    return run.tracked_run(
        f"sensitivity of {node_type}, {run.subject.label}",
        summary=summary,
        curves=curves,
        texts={_log_name(node_type): table + "\n"},
        images=images({f"sensitivity_of_{node_type}": figure()}),
        note=ranking_markdown(rows, node_type, run.run_id),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
