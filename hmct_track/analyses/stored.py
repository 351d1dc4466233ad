"""The answers of runs that are in the lake."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hmct_track.analyses.base import Answer
from hmct_track.analyses.registry import ANALYSES, analysis_of_kind
from hmct_track.errors import LakeError, UsageError
from hmct_track.options import argument_list, from_stored

if TYPE_CHECKING:
    from hmct_track.lake import Lake
    from hmct_track.recording import Recording


def answer_of(lake: Lake, run_id: str) -> Answer:
    """The answer of a run by its full id.

    Raises:
        LakeError: the lake has no such run.
        UsageError: it is of an analysis that this version does not know.
    """
    runs = lake.query("run_list")
    for run in runs:
        if run["run_id"] == run_id:
            below = [
                r for r in runs if r["parent_run_id"] == run_id and analysis_of_kind(r["kind"])
            ]
            return _answer(lake, run, [_answer(lake, step) for step in below])
    raise LakeError(f"the lake in {str(lake.path)!r} has no run {run_id!r}")


def recording_of(answer: Answer) -> Recording:
    """What a run was given of the machine, in the lake where it is."""
    from hmct_track.options.recording import Recording

    given = from_stored(Recording, answer.parameters)
    return Recording(lake=answer.lake.path, **given)


def command_of(answer: Answer) -> list[str]:
    """The arguments of ``hmct-debugger`` that repeat a run, with all that it was given.

    Raises:
        UsageError: its model or its data were no files.
    """
    for name in ("model_path", "data_path"):
        if not answer.run[name]:
            raise UsageError(
                f"run {answer.run_id!r} was given objects from Python, which no command can give "
                "again; run it from there"
            )
    analysis = answer.analysis
    machine = argument_list(recording_of(answer), ["lake"])
    return [analysis.command, *argument_list(analysis), *machine]


def _answer(lake: Lake, run: Mapping[str, Any], steps: Sequence[Answer] = ()) -> Answer:
    kind = analysis_of_kind(run["kind"])
    if kind is None:
        known = ", ".join(analysis.kind for analysis in ANALYSES.values())
        raise UsageError(f"a run of kind {run['kind']!r} is not known; known are {known}")
    return Answer(kind.stored(run, json.loads(run["parameters"])), lake, run, steps)
