"""The figure of a run that is in the lake, drawn from its rows when nobody has drawn it yet."""

from __future__ import annotations

import logging
import os
import uuid
from pathlib import Path

from platformdirs import user_cache_path

from hmct_track.analyses import Answer
from hmct_track.analyses.stored import answer_of
from hmct_track.errors import LakeError, TrackingError, UsageError
from hmct_track.lake import Lake, is_remote
from hmct_track.model import expand_one
from hmct_track.report.drawings import Drawing
from hmct_track.report.style import png
from hmct_track.tracking import add_image, kept_image

LOG = logging.getLogger(__name__)


def figure_file(lake: Lake, run_id: str, node: str | None = None) -> Path:
    """The PNG of a run, or of one of its nodes where it has a figure of each.

    Of a run with steps it is that of the first step that has one.

    What MLflow's store in the lake has is taken from there. Otherwise it is drawn, kept in the
    lake's folder ``figures`` (of a lake on object storage in the user's cache), and logged to the
    run if MLflow knows it.

    Raises:
        LakeError: the lake has no such run, or cannot be written.
        UnknownNodeError: the run has no figure of this node.
        UsageError: the run has no figure.
    """
    answer = _with_figures(answer_of(lake, run_id), of_nodes=node is not None)
    drawing = _chosen(answer, node)
    name, tracked = f"{drawing.stem}.png", answer.run["mlflow_run_id"]
    logged = tracked and kept_image(tracked, name, lake.path)
    if logged:
        return Path(logged)
    folder = user_cache_path("hmct-track") if is_remote(lake.path) else lake.path
    path: Path = folder / "figures" / answer.run_id / name
    if not path.exists():
        _write(path, png(drawing.draw()))
        if tracked:
            try:
                add_image(tracked, path, lake.path)
            except TrackingError as error:
                LOG.warning("%s; it is in %s", error, path)
    return path


def _with_figures(answer: Answer, *, of_nodes: bool) -> Answer:
    """The answer whose figure is meant: its own, or that of its first step that has one."""
    if answer.analysis.drawings(answer):
        return answer
    for step in answer.steps:
        drawings = step.analysis.drawings(step)
        if drawings and (drawings[0].node is not None) >= of_nodes:
            return step
    kind = answer.run["kind"]
    if answer.analysis.has_figures or answer.steps:
        raise UsageError(f"run {answer.run_id!r} ({kind}) has nothing to draw yet")
    raise UsageError(f"a run of kind {kind!r} has no figure")


def _chosen(answer: Answer, node: str | None) -> Drawing:
    drawings = answer.analysis.drawings(answer)
    nodes = [d.node for d in drawings if d.node is not None]
    if not nodes:
        return drawings[0]
    if node is None and len(nodes) > 1:
        raise UsageError(f"the run has a figure of each node; say of which with --node: {nodes}")
    wanted = nodes[0] if node is None else expand_one(node, nodes)
    return next(d for d in drawings if d.node == wanted)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise LakeError(f"cannot write {path}: {error}") from error
