"""Ranking nodes by how much is lost when they alone are quantized."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hmct_track.analysis import sensitivity
from hmct_track.data import CalibrationDataSet, Samples, open_data
from hmct_track.engine import Engine
from hmct_track.errors import TrackingError, UsageError
from hmct_track.lake import Row
from hmct_track.model import QuantModel, load_model
from hmct_track.report import sensitivity_table
from hmct_track.tracking import TrackedRun
from hmct_track.types import Metric, NodeType
from hmct_track.workflow.progress import progress
from hmct_track.workflow.run import Options, Run, Subject

if TYPE_CHECKING:
    import onnx

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


@dataclass(frozen=True)
class SensitivityResult:
    """A ranking: the rows of the query ``sensitivity``, most sensitive first."""

    run_id: str
    rows: list[Row]
    table: str
    metrics: tuple[Metric, ...]
    tracking_error: TrackingError | None

    def as_dict(self) -> dict[str, dict[str, float]]:
        """The documented return value: node to metric to value, most sensitive first."""
        return {
            row["subject"]: {m.value: _number(row[m.column]) for m in self.metrics}
            for row in self.rows
        }


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
    node_type = _parse_node_type(request.node_type)
    model = load_model(request.model_or_file)
    engine = Engine(model)
    interested = request.interested_nodes
    plan = sensitivity.plan(
        model, node_type, [interested] if isinstance(interested, str) else interested
    )
    outputs = _output_tensors(model, engine, request.output_node)
    samples = open_data(request.calibrated_data, model.inputs).first(request.data_num)
    subject = Subject(model, samples, _verified(samples, options), outputs)
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
        run.plan(plan.planned)
        lazily = _LazySamples(subject)
        configs = list({p.config.config_id: p.config for p in plan.planned}.values())
        total = len(configs) * len(lazily) * len(outputs)
        measurements = engine.evaluate(configs, lazily, outputs)
        run.record(
            progress(
                measurements,
                total=total,
                what="measuring",
                unit="outputs",
                shown=options.progress,
            )
        )
        rows = run.lake.query("sensitivity", run_id=run.run_id, metric=metrics[0].value)
        table = sensitivity_table(rows, plan.node_type, metrics)
        if emit:
            emit(table)
        _warn(rows, metrics[0])
        run.describe(partial(_tracked, run, rows, metrics, plan.node_type, table))
    return SensitivityResult(run.run_id, rows, table, metrics, run.tracking_error)


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


def parse_metrics(metrics: str | Sequence[str]) -> tuple[Metric, ...]:
    """One or several metric names as metrics, doubles dropped.

    Raises:
        UsageError: a name is not a metric, or there is none.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names:
        raise UsageError(f"metrics is empty; choose from {', '.join(Metric)}")
    found = []
    for name in names:
        if name not in list(Metric):
            raise UsageError(f"metric {name!r} is not known; choose from {', '.join(Metric)}")
        found.append(Metric(name))
    return tuple(dict.fromkeys(found))


def _parse_node_type(name: str) -> NodeType:
    if name not in list(NodeType):
        raise UsageError(f"node_type {name!r} is not known; choose from {', '.join(NodeType)}")
    return NodeType(name)


def _output_tensors(model: QuantModel, engine: Engine, output_node: str | None) -> tuple[str, ...]:
    if output_node is None:
        names: Sequence[str] = [spec.name for spec in model.outputs]
        what = "the model"
    else:
        names = model.general_node(output_node).outputs
        what = f"node {output_node!r}"
    kept = engine.output_tensors(names)
    if not kept:
        raise UsageError(
            f"{what} has no float output to compare; choose a node that has one with output_node"
        )
    return kept


def _verified(samples: Samples, options: Options) -> tuple[str, ...]:
    indices = progress(
        range(len(samples)),
        total=len(samples),
        what="reading data",
        unit="samples",
        shown=options.progress and len(samples) > 1,
    )
    return tuple(samples.verify(k) for k in indices)


class _LazySamples(Mapping[str, Any]):
    """Sample id to inputs, loaded at each access, so that none but the current one is held."""

    def __init__(self, subject: Subject) -> None:
        self._samples = subject.samples
        self._index = {sample_id: k for k, sample_id in enumerate(subject.sample_ids)}

    def __getitem__(self, sample_id: str) -> Any:
        return self._samples[self._index[sample_id]]

    def __iter__(self) -> Any:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)


def _tracked(
    run: Run, rows: list[Row], metrics: Sequence[Metric], node_type: NodeType, table: str
) -> TrackedRun:
    """What MLflow is told of a ranking."""
    from hmct_track.report.figures import ranking_figure

    model = run.subject.model
    label = model.path.stem if model.path else model.proto.graph.name
    curves, summary = {}, {"nodes": float(len(rows))}
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
    title = f"Sensitivity of {label}: each {node_type} quantized alone"
    return run.tracked_run(
        f"sensitivity of {node_type}, {label}",
        summary=summary,
        curves=curves,
        texts={f"sensitivity_of_{node_type}.log": table + "\n"},
        figures={f"sensitivity_of_{node_type}.png": ranking_figure(rows, metrics[0], title)},
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
