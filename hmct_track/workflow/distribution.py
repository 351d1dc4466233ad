"""How the data of nodes are distributed: histograms of nodes, and box plots of their channels."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hmct_track.analysis import distribution
from hmct_track.analysis.distribution import Observed
from hmct_track.data import CalibrationDataSet
from hmct_track.engine import Engine, Spill, bounds_of, channel_summaries, histogram, summarize
from hmct_track.errors import UsageError
from hmct_track.lake import CHANNEL_SUMMARIES, HISTOGRAMS, TENSOR_SUMMARIES, Row
from hmct_track.model import QuantModel
from hmct_track.report import channels_text, distribution_text, table_markdown
from hmct_track.report.html import Table, channels, distributions
from hmct_track.tracking import TrackedRun
from hmct_track.types import CalibrationKind, QuantConfig, Quantization
from hmct_track.workflow.progress import progress
from hmct_track.workflow.result import AnalysisResult, check_save_dir, images, save
from hmct_track.workflow.run import Options, Run
from hmct_track.workflow.subject import Subject, make_subject, open_model

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


def show_distribution(
    request: DistributionRequest, options: Options, emit: Callable[[str], None] | None = None
) -> AnalysisResult:
    """Summarize what nodes hold, take in or give out, record the run and draw histograms.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    model, engine = open_model(request.model_or_file, options)
    observed = distribution.plan(
        model, _names(request), lambda tensor: bool(engine.output_tensors([tensor]))
    )
    run, folder = _run("distribution", request, options, model, engine, observed)
    with run:
        for position, item in _with_progress(run, observed, "observing"):
            _record_series(run, position, item, _series(engine, run.subject, item))
        rows = run.lake.query("distribution", run_id=run.run_id)
        if emit:
            emit(distribution_text(rows))
        bins = run.lake.query("histogram", run_id=run.run_id)
        figures, files = _drawn(run, folder, observed, lambda item: _histograms(item, rows, bins))
        run.describe(partial(_tracked, run, "distribution", figures, distributions(rows)))
    title = "Data distribution"
    return AnalysisResult(
        run.run_id, rows, figures, title, distributions(rows), files, run.tracking_error
    )


def show_channels(
    request: DistributionRequest, options: Options, emit: Callable[[str], None] | None = None
) -> AnalysisResult:
    """Summarize what calibration nodes take in channel by channel, record and draw box plots.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    model, engine = open_model(request.model_or_file, options)
    observed = distribution.plan_channels(model, _names(request), request.axis)
    for item in observed:
        rank = engine.rank(item.tensor)
        if rank is not None:
            _check_axis(item, rank)
    run, folder = _run("channelwise-distribution", request, options, model, engine, observed)
    with run:
        for position, item in _with_progress(run, observed, "observing"):
            # Of a weight, too, boxes are of what its calibration node takes in.
            parts = _values(engine, run.subject, item, QuantConfig())
            _check_axis(item, parts[0].ndim)
            rows = [
                {
                    "run_id": run.run_id,
                    "position": position,
                    "node": item.node,
                    "axis": item.axis,
                    **asdict(summary),
                }
                for summary in channel_summaries(parts, item.axis)
            ]
            run.lake.append(CHANNEL_SUMMARIES, rows)
        rows = run.lake.query("channel_distribution", run_id=run.run_id)
        if emit:
            emit(channels_text(rows))
        figures, files = _drawn(run, folder, observed, lambda item: _boxes(item, rows))
        run.describe(partial(_tracked, run, "channelwise distribution", figures, channels(rows)))
    title = "Channel-wise distribution"
    return AnalysisResult(
        run.run_id, rows, figures, title, channels(rows), files, run.tracking_error
    )


def _names(request: DistributionRequest) -> list[str]:
    nodes = request.nodes_list
    return [nodes] if isinstance(nodes, str) else list(nodes)


def _run(
    kind: str,
    request: DistributionRequest,
    options: Options,
    model: QuantModel,
    engine: Engine,
    observed: Sequence[Observed],
) -> tuple[Run, Path | None]:
    tensors = tuple(dict.fromkeys(item.tensor for item in observed))
    subject = make_subject(model, engine, request, tensors, options)
    folder = check_save_dir(request.save_dir)
    parameters = {"nodes_list": _names(request), "axis": request.axis}
    return Run(kind, subject, options, metrics=[], parameters=parameters), folder


def _with_progress(
    run: Run, observed: Sequence[Observed], what: str
) -> Iterator[tuple[int, Observed]]:
    """Each node with its place, while progress is shown."""
    return progress(
        enumerate(observed),
        total=len(observed),
        what=what,
        unit="nodes",
        shown=run.options.progress,
        steps=run.options.steps,
    )


def _values(
    engine: Engine, subject: Subject, item: Observed, config: QuantConfig
) -> Sequence[NDArray[Any]]:
    """A tensor's values, one array per sample; of a weight one in all."""
    found = Spill()
    for tensors in engine.observe(config, subject.inputs(), [item.tensor]):
        found.append(tensors[item.tensor])
        if item.kind == CalibrationKind.WEIGHT:
            break  # the same for every sample
    return found


def _check_axis(item: Observed, rank: int) -> None:
    if not -rank <= item.axis < rank:
        raise UsageError(
            f"axis {item.axis} is beyond the data of {item.node!r}, which have {rank} dimensions; "
            f"choose an axis from 0 to {rank - 1}"
        )


def _series(engine: Engine, subject: Subject, item: Observed) -> dict[str, Sequence[NDArray[Any]]]:
    """What is drawn of a node: series to its values."""
    before = _values(engine, subject, item, QuantConfig())
    if not item.is_compared:
        return {"input": before}
    after = _values(engine, subject, item, QuantConfig(Quantization.AS_CALIBRATED))
    series = {"before": before, "after": after}
    if item.kind == distribution.NODE_OUTPUT:
        error = Spill()
        for x, y in zip(before, after, strict=True):
            error.append(y - x)
        series["error"] = error
    return series


def _record_series(
    run: Run, position: int, item: Observed, series: Mapping[str, Sequence[NDArray[Any]]]
) -> None:
    # Before and after share their bins, so that they can be laid over each other.
    extremes = [bounds_of(parts) for name, parts in series.items() if name != "error"]
    bounds = min(low for low, _ in extremes), max(high for _, high in extremes)
    summaries, bins = [], []
    for name, parts in series.items():
        key = {"run_id": run.run_id, "node": item.node, "series": name}
        threshold = None if name == "error" else item.threshold
        own = {"position": position, "kind": item.kind, "threshold": threshold}
        summaries.append({**key, **own, **asdict(summarize(parts))})
        edges, counts = histogram(parts, _BINS, None if name == "error" else bounds)
        for k, count in enumerate(counts.tolist()):
            place = {"bin": k, "low": float(edges[k]), "high": float(edges[k + 1])}
            bins.append({**key, **place, "count": count})
    run.lake.append(TENSOR_SUMMARIES, summaries)
    run.lake.append(HISTOGRAMS, bins)


def _drawn(
    run: Run, folder: Path | None, observed: Sequence[Observed], draw: Callable[[Observed], Figure]
) -> tuple[dict[str, Figure], tuple[Path, ...]]:
    """A figure of each node by file stem, and the files that they were saved to."""
    figures: dict[str, Figure] = {}
    files: list[Path] = []
    for position, item in _with_progress(run, observed, "drawing"):
        stem = figure_stem(position, item.node)
        figures[stem] = draw(item)
        files += save(folder, figures={stem: figures[stem]})
    return figures, tuple(files)


def _histograms(item: Observed, rows: list[Row], bins: list[Row]) -> Figure:
    from hmct_track.report.distribution import distribution_figure

    return distribution_figure(
        [row for row in rows if row["node"] == item.node],
        [row for row in bins if row["node"] == item.node],
    )


def _boxes(item: Observed, rows: list[Row]) -> Figure:
    from hmct_track.report.distribution import channel_figure

    return channel_figure([row for row in rows if row["node"] == item.node], item.kind)


def figure_stem(position: int, node: str) -> str:
    """A file name from a node's: unlike names may become alike, so the position is part of it."""
    return f"{position:02d}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', node).strip('_.')[-80:]}"


def _tracked(run: Run, what: str, figures: Mapping[str, Figure], table: Table) -> TrackedRun:
    query = "distribution" if what == "distribution" else "channel_distribution"
    return run.tracked_run(
        f"{what}, {run.subject.label}",
        summary={"nodes": float(len(figures))},
        images=images(figures),
        note=table_markdown(what.capitalize(), table, query, run.run_id),
    )
