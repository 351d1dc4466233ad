"""How the data of nodes are distributed: histograms of nodes, and box plots of their channels."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.analysis import distribution
from hmct_track.analysis.distribution import Observed
from hmct_track.data import CalibrationDataSet
from hmct_track.engine import Engine, channel_summaries, histogram, summarize
from hmct_track.errors import UsageError
from hmct_track.lake import CHANNEL_SUMMARIES, HISTOGRAMS, TENSOR_SUMMARIES, Row
from hmct_track.model import QuantModel, load_model
from hmct_track.tracking import TrackedRun
from hmct_track.types import CalibrationKind, QuantConfig, Quantization
from hmct_track.workflow.progress import progress
from hmct_track.workflow.result import AnalysisResult, check_save_dir, images, save
from hmct_track.workflow.run import Options, Run
from hmct_track.workflow.subject import Subject, make_subject

if TYPE_CHECKING:
    import onnx
    from matplotlib.figure import Figure

_BINS = 100


@dataclass(frozen=True)
class DistributionRequest:
    """The documented parameters of ``plot_distribution``, and ``axis`` of the box plots."""

    model_or_file: str | os.PathLike[str] | onnx.ModelProto
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any]
    nodes_list: str | Sequence[str]
    save_dir: str | os.PathLike[str] | None = None
    data_num: int | None = 1
    axis: int | None = None


def show_distribution(request: DistributionRequest, options: Options) -> AnalysisResult:
    """Summarize what nodes hold, take in or give out, record the run and draw histograms.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    model, engine = _load(request, options)
    observed = distribution.plan(
        model, _names(request), lambda tensor: bool(engine.output_tensors([tensor]))
    )
    run, folder = _run("distribution", request, options, model, observed)
    with run:
        for position, item, values in _observe(engine, run.subject, observed, options):
            _record_series(run, position, item, values)
        rows = run.lake.query("distribution", run_id=run.run_id)
        bins = run.lake.query("histogram", run_id=run.run_id)
        figures = _distribution_figures(observed, rows, bins)
        files = save(folder, figures=figures)
        run.describe(partial(_tracked, run, "distribution", figures))
    return AnalysisResult(run.run_id, rows, figures, files, run.tracking_error)


def show_channels(request: DistributionRequest, options: Options) -> AnalysisResult:
    """Summarize what calibration nodes take in channel by channel, record and draw box plots.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    model, engine = _load(request, options)
    observed = distribution.plan_channels(model, _names(request), request.axis)
    for item in observed:
        rank = engine.rank(item.tensor)
        if rank is not None:
            _check_axis(item, rank)
    run, folder = _run("channelwise-distribution", request, options, model, observed)
    with run:
        for position, item, values in _observe(engine, run.subject, observed, options):
            data = values["input"]
            _check_axis(item, data.ndim)
            rows = [
                {
                    "run_id": run.run_id,
                    "position": position,
                    "node": item.node,
                    "axis": item.axis,
                    **asdict(summary),
                }
                for summary in channel_summaries(data, item.axis)
            ]
            run.lake.append(CHANNEL_SUMMARIES, rows)
        rows = run.lake.query("channel_distribution", run_id=run.run_id)
        figures = _channel_figures(observed, rows)
        files = save(folder, figures=figures)
        run.describe(partial(_tracked, run, "channelwise distribution", figures))
    return AnalysisResult(run.run_id, rows, figures, files, run.tracking_error)


def _load(request: DistributionRequest, options: Options) -> tuple[QuantModel, Engine]:
    model = load_model(request.model_or_file, options.float_model)
    return model, Engine(model)


def _names(request: DistributionRequest) -> list[str]:
    nodes = request.nodes_list
    return [nodes] if isinstance(nodes, str) else list(nodes)


def _run(
    kind: str,
    request: DistributionRequest,
    options: Options,
    model: QuantModel,
    observed: Sequence[Observed],
) -> tuple[Run, Any]:
    tensors = tuple(dict.fromkeys(item.tensor for item in observed))
    subject = make_subject(
        model, request.calibrated_data, request.data_num, tensors, shown=options.progress
    )
    folder = check_save_dir(request.save_dir)
    parameters = {"nodes_list": _names(request), "axis": request.axis}
    return Run(kind, subject, options, metrics=[], parameters=parameters), folder


def _observe(
    engine: Engine, subject: Subject, observed: Sequence[Observed], options: Options
) -> Any:
    """Each node with the series of its values over all samples, one node's held at a time."""
    numbered = progress(
        enumerate(observed),
        total=len(observed),
        what=f"{options.step}observing",
        unit="nodes",
        shown=options.progress,
    )
    for position, item in numbered:
        before = _values(engine, subject, item, QuantConfig())
        if not item.is_compared:
            yield position, item, {"input": before}
            continue
        after = _values(engine, subject, item, QuantConfig(Quantization.AS_CALIBRATED))
        # Box plots of a weight are of what its calibration node takes in.
        yield position, item, {"input": before, "before": before, "after": after}


def _values(engine: Engine, subject: Subject, item: Observed, config: QuantConfig) -> NDArray[Any]:
    """A tensor's values, those of all samples one behind the other along the first dimension."""
    arrays = []
    for tensors in engine.observe(config, subject.inputs(), [item.tensor]):
        arrays.append(tensors[item.tensor])
        if item.kind == CalibrationKind.WEIGHT:
            break  # the same for every sample
    if len(arrays) == 1:
        return arrays[0]
    if item.axis == 0 or any(a.shape[1:] != arrays[0].shape[1:] for a in arrays):
        channels = [np.moveaxis(a, item.axis, 0).reshape(a.shape[item.axis], -1) for a in arrays]
        return np.moveaxis(np.concatenate(channels, axis=1)[..., None], 0, item.axis)
    return np.concatenate(arrays)


def _check_axis(item: Observed, rank: int) -> None:
    if not -rank <= item.axis < rank:
        raise UsageError(
            f"axis {item.axis} is beyond the data of {item.node!r}, which have {rank} dimensions; "
            f"choose an axis from 0 to {rank - 1}"
        )


def _record_series(
    run: Run, position: int, item: Observed, values: dict[str, NDArray[Any]]
) -> None:
    if item.is_compared:
        del values["input"]
    if item.kind == distribution.NODE_OUTPUT:
        values["error"] = values["after"] - values["before"]
    # Before and after share their bins, so that they can be laid over each other.
    finite = [v[np.isfinite(v)] for name, v in values.items() if name != "error"]
    bounds = (
        min((float(v.min()) for v in finite if v.size), default=0.0),
        max((float(v.max()) for v in finite if v.size), default=1.0),
    )
    summaries, bins = [], []
    for series, data in values.items():
        key = {"run_id": run.run_id, "node": item.node, "series": series}
        threshold = None if series == "error" else item.threshold
        own = {"position": position, "kind": item.kind, "threshold": threshold}
        summaries.append({**key, **own, **asdict(summarize(data))})
        edges, counts = histogram(data, _BINS, None if series == "error" else bounds)
        for k, count in enumerate(counts.tolist()):
            place = {"bin": k, "low": float(edges[k]), "high": float(edges[k + 1])}
            bins.append({**key, **place, "count": count})
    run.lake.append(TENSOR_SUMMARIES, summaries)
    run.lake.append(HISTOGRAMS, bins)


def _distribution_figures(
    observed: Sequence[Observed], rows: list[Row], bins: list[Row]
) -> dict[str, Figure]:
    from hmct_track.report.distribution import distribution_figure

    return {
        _stem(position, item): distribution_figure(
            [row for row in rows if row["node"] == item.node],
            [row for row in bins if row["node"] == item.node],
        )
        for position, item in enumerate(observed)
    }


def _channel_figures(observed: Sequence[Observed], rows: list[Row]) -> dict[str, Figure]:
    from hmct_track.report.distribution import channel_figure

    return {
        _stem(position, item): channel_figure(
            [row for row in rows if row["node"] == item.node], item.kind
        )
        for position, item in enumerate(observed)
    }


def _stem(position: int, item: Observed) -> str:
    """A file name from a node's: unlike names may become alike, so the position is part of it."""
    return f"{position:02d}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', item.node).strip('_.')[-80:]}"


def _tracked(run: Run, what: str, figures: Mapping[str, Figure]) -> TrackedRun:
    return run.tracked_run(
        f"{what}, {run.subject.label}",
        summary={"nodes": float(len(figures))},
        images=images(figures),
    )
