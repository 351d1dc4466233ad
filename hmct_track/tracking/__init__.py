"""MLflow: the only package that imports it, and only when a run is logged."""

from hmct_track.tracking.ask import (
    NOTE,
    TAG,
    add_image,
    deleted_runs,
    described,
    forget,
    kept_image,
    move_note,
    move_tag,
)
from hmct_track.tracking.content import NestedRun, RunInput, Tracked, TrackedRun
from hmct_track.tracking.log import track
from hmct_track.tracking.place import (
    DEFAULT_EXPERIMENT,
    experiment_name,
    own_store,
    tracking_uri,
)
from hmct_track.tracking.server import run_page, ui_command, ui_environment, ui_page

__all__ = [
    "DEFAULT_EXPERIMENT",
    "NOTE",
    "TAG",
    "NestedRun",
    "RunInput",
    "Tracked",
    "TrackedRun",
    "add_image",
    "deleted_runs",
    "described",
    "experiment_name",
    "forget",
    "kept_image",
    "move_note",
    "move_tag",
    "own_store",
    "run_page",
    "track",
    "tracking_uri",
    "ui_command",
    "ui_environment",
    "ui_page",
]
