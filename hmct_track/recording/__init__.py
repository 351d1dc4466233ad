"""Recording: a run's rows in the lake from start to end, and its place in MLflow."""

from hmct_track.options.recording import Recording
from hmct_track.recording.run import Run
from hmct_track.recording.saving import check_save_dir, images, save, saved_as
from hmct_track.recording.subject import Subject, make_subject, output_parts, output_tensors

__all__ = [
    "Recording",
    "Run",
    "Subject",
    "check_save_dir",
    "images",
    "make_subject",
    "output_parts",
    "output_tensors",
    "save",
    "saved_as",
]
