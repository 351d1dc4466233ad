"""The answers of runs that are in the lake."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from hmct_track.analyses.base import Analysis, Answer
from hmct_track.analyses.registry import ANALYSES, analysis_of_kind
from hmct_track.errors import LakeError, UsageError
from hmct_track.options import argument_list, from_stored, options_of
from hmct_track.options.kinds import FOLDER

if TYPE_CHECKING:
    from hmct_track.lake import Lake
    from hmct_track.recording import Recording

_A = TypeVar("_A", bound=Analysis)
_PROTO = "a proto"
"""What a run keeps of a float model that was no file."""


def answer_of(lake: Lake, run_id: str) -> Answer:
    """The answer of a run by its full id.

    Raises:
        LakeError: the lake has no such run.
        UsageError: it is of an analysis that this version does not know.
    """
    runs = lake.query("run_list", family=run_id)
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


def command_line(analysis: Analysis, recording: Recording) -> list[str]:
    """The arguments of ``hmct-debugger`` that run an analysis; all but the lake."""
    machine = argument_list(recording, ["lake"])
    return [analysis.command, *argument_list(analysis), *machine]


def command_of(answer: Answer, **machine: Any) -> list[str]:
    """The arguments of ``hmct-debugger`` that repeat a run, with all that it was given.

    Args:
        answer: that of the run.
        **machine: fields of `Recording` that are other.

    Raises:
        UsageError: its model or its data were no files.
    """
    _check_files(answer)
    return command_line(answer.analysis, replace(recording_of(answer), **machine))


def follow_up(answer: Answer, analysis: type[_A], **given: Any) -> _A:
    """Another analysis of what a run was about: of the same model, data, output and metric.

    What both declare alike is taken over, but for where files are saved.

    Args:
        answer: that of the run.
        analysis: what is asked next.
        **given: parameters that are other.

    Raises:
        UsageError: the run's model or its data were no files.
    """
    _check_files(answer)
    before = answer.analysis
    known = {o.name: o.kind for o in options_of(type(before))}
    same = [o for o in options_of(analysis) if known.get(o.name) == o.kind]
    taken = {o.name: getattr(before, o.name) for o in same if not _is_saved(o.name, o.kind)}
    taken |= {o.name: o.command_default for o in options_of(analysis)
              if o.name not in taken and not o.is_required}  # fmt: skip
    metrics = [metric.value for metric in before.metrics_asked]
    if metrics:
        asked = {"metric": metrics[0], "metrics": metrics}
        taken |= {f.name: asked[f.name] for f in fields(analysis) if f.name in asked}
    return analysis(**{**taken, **given})


def _is_saved(name: str, kind: object) -> bool:
    return kind == FOLDER and name.startswith("save")


def _check_files(answer: Answer) -> None:
    has_proto = getattr(answer.analysis, "float_model", None) == _PROTO
    if has_proto or not (answer.run["model_path"] and answer.run["data_path"]):
        raise UsageError(
            f"run {answer.run_id!r} was given objects from Python, which no command can give "
            "again; run it from there"
        )


def _answer(lake: Lake, run: Mapping[str, Any], steps: Sequence[Answer] = ()) -> Answer:
    kind = analysis_of_kind(run["kind"])
    if kind is None:
        known = ", ".join(analysis.kind for analysis in ANALYSES.values())
        raise UsageError(f"a run of kind {run['kind']!r} is not known; known are {known}")
    return Answer(kind.stored(run, json.loads(run["parameters"])), lake, run, steps)
