"""The figure of a run that is in the lake, drawn from its rows when nobody has drawn it yet."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from hmct_track.errors import LakeError, TrackingError, UsageError
from hmct_track.lake import Lake, Row, is_remote
from hmct_track.model import expand_one
from hmct_track.tracking import add_image, kept_image
from hmct_track.types import Metric
from hmct_track.workflow.accumulation import figure_stem as accumulation_stem
from hmct_track.workflow.distribution import figure_stem as node_stem
from hmct_track.workflow.partial import FIGURE_STEM as PARTIAL_STEM
from hmct_track.workflow.partial import figure_title as partial_title
from hmct_track.workflow.samples import FIGURE_STEM as SAMPLES_STEM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WHOLE = "runall"
LOG = logging.getLogger(__name__)


def figure_file(lake: Lake, run_id: str, node: str | None = None) -> Path:
    """The PNG of a run, or of one of its nodes where it has a figure of each.

    Of a runall it is the figure of its first ranking, or the distribution of the node.

    What MLflow's store in the lake has is taken from there. Otherwise it is drawn, kept in the
    lake's folder ``figures`` (of a lake on object storage in the user's cache), and logged to the
    run if MLflow knows it.

    Raises:
        LakeError: the lake has no such run, or cannot be written.
        UnknownNodeError: the run has no figure of this node.
        UsageError: runs of this kind have no figure.
    """
    every = lake.query("run_list")
    run = next((row for row in every if row["run_id"] == run_id), None)
    if run is None:
        raise LakeError(f"the lake in {str(lake.path)!r} has no run {run_id!r}")
    if run["kind"] == _WHOLE:
        run = _step(every, run_id, "distribution" if node else "sensitivity")
    stem, draw = _DRAWN.get(run["kind"], _undrawn)(lake, run, node)
    name = f"{stem}.png"
    logged = run["mlflow_run_id"] and kept_image(run["mlflow_run_id"], name, lake.path)
    if logged:
        return Path(logged)
    folder = user_cache_path("hmct-track") if is_remote(lake.path) else lake.path
    path: Path = folder / "figures" / run["run_id"] / name
    if not path.exists():
        from hmct_track.report.style import png

        _write(path, png(draw()))
        if run["mlflow_run_id"]:
            try:
                add_image(run["mlflow_run_id"], path, lake.path)
            except TrackingError as error:
                LOG.warning("%s; it is in %s", error, path)
    return path


Drawn = tuple[str, Callable[[], "Figure"]]
"""The stem of a file, and what draws it."""


def _ranking(lake: Lake, run: Row, node: str | None) -> Drawn:
    metric, parameters = _metric(run), json.loads(run["parameters"])
    node_type = parameters.get("node_type") or "node"

    def draw() -> Figure:
        from hmct_track.report.ranking import ranking_figure

        rows = lake.query("sensitivity", run_id=run["run_id"], metric=metric.value)
        if not rows:
            raise UsageError(f"run {run['run_id']!r} has ranked no node")
        title = f"Sensitivity of {_label(run)}: each {node_type} quantized alone"
        return ranking_figure(rows, metric, title)

    return f"sensitivity_of_{node_type}", draw


def _distribution(lake: Lake, run: Row, node: str | None) -> Drawn:
    rows = lake.query("distribution", run_id=run["run_id"])
    node, stem = _place(run, rows, node)

    def draw() -> Figure:
        from hmct_track.report.distribution import distribution_figure

        bins = lake.query("histogram", run_id=run["run_id"])
        return distribution_figure(_of(rows, node), _of(bins, node))

    return stem, draw


def _channels(lake: Lake, run: Row, node: str | None) -> Drawn:
    rows = lake.query("channel_distribution", run_id=run["run_id"])
    node, stem = _place(run, rows, node)

    def draw() -> Figure:
        from hmct_track.report.distribution import channel_figure

        nodes = {row["node"]: row for row in lake.query("model_nodes", run_id=run["run_id"])}
        return channel_figure(_of(rows, node), nodes[node]["type"])

    return stem, draw


def _accumulation(lake: Lake, run: Row, node: str | None) -> Drawn:
    metric, parameters = _metric(run), json.loads(run["parameters"])
    average = bool(parameters.get("average_mode"))

    def draw() -> Figure:
        from hmct_track.report.accumulation import accumulation_figure

        rows = lake.query(
            "error_accumulation", run_id=run["run_id"], metric=metric.value, average_mode=average
        )
        if not rows:
            raise UsageError(f"run {run['run_id']!r} has no curve")
        what = "only these" if parameters.get("quantize_node") else "all but these"
        title = f"Accumulated error of {_label(run)}: {what} quantized"
        return accumulation_figure(rows, metric, title, average_mode=average)

    return accumulation_stem(metric, average), draw


def _partial(lake: Lake, run: Row, node: str | None) -> Drawn:
    metric, parameters = _metric(run), json.loads(run["parameters"])

    def draw() -> Figure:
        from hmct_track.report.partial import partial_figure

        rows = lake.query("partial_quantization", run_id=run["run_id"], metric=metric.value)
        if not rows:
            raise UsageError(f"run {run['run_id']!r} has no steps")
        return partial_figure(rows, metric, partial_title(_label(run), parameters["qtype"]))

    return PARTIAL_STEM, draw


def _samples(lake: Lake, run: Row, node: str | None) -> Drawn:
    metric = _metric(run)

    def draw() -> Figure:
        from hmct_track.report.samples import samples_figure

        rows = lake.query("sensitive_samples", run_id=run["run_id"], metric=metric.value)
        if not rows:
            raise UsageError(f"run {run['run_id']!r} has ranked no sample")
        return samples_figure(rows, metric, f"Samples of {_label(run)}: all nodes quantized")

    return SAMPLES_STEM, draw


def _undrawn(lake: Lake, run: Row, node: str | None) -> Drawn:
    raise UsageError(
        f"a run of kind {run['kind']!r} has no figure; there are figures of {', '.join(_DRAWN)}"
    )


_DRAWN: dict[str, Callable[[Lake, Row, str | None], Drawn]] = {
    "sensitivity": _ranking,
    "distribution": _distribution,
    "channelwise-distribution": _channels,
    "error-accumulation": _accumulation,
    "sensitivity-analysis": _partial,
    "sensitive-samples": _samples,
}


def _step(runs: list[Row], run_id: str, kind: str) -> Row:
    """The first step of this kind, which stands for a run of several analyses."""
    for row in runs:
        if row["parent_run_id"] == run_id and row["kind"] == kind:
            return row
    raise UsageError(f"run {run_id!r} has no step of kind {kind!r} yet")


def _label(run: Row) -> str:
    path = run["model_path"]
    return Path(path).stem if path else run["model"] or "model"


def _metric(run: Row) -> Metric:
    return Metric(run["metrics"][0]) if run["metrics"] else Metric.COSINE_SIMILARITY


def _place(run: Row, rows: list[Row], node: str | None) -> tuple[str, str]:
    """The node that is meant, and the stem of its file, which has its place in the run's list."""
    nodes = list(dict.fromkeys(row["node"] for row in rows))
    if node is None and len(nodes) == 1:
        node = nodes[0]
    if node is None:
        raise UsageError(f"the run has a figure of each node; say of which with --node: {nodes}")
    node = expand_one(node, nodes)
    return node, node_stem(nodes.index(node), node)


def _of(rows: list[Row], node: str) -> list[Row]:
    return [row for row in rows if row["node"] == node]


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise LakeError(f"cannot write {path}: {error}") from error
