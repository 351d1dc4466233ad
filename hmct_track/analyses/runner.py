"""The one runner of all analyses: plans, measures, records, prints, draws, tells MLflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hmct_track.analyses.base import Analysis, Answer, Round, Seen
from hmct_track.analyses.configurations import whole
from hmct_track.analyses.registry import ANALYSES
from hmct_track.engine import PAIRS, Engine, float_gap
from hmct_track.lake import Opening, lake_path
from hmct_track.model import QuantModel, load_original
from hmct_track.options import options_of, to_stored
from hmct_track.recording import (
    Recording,
    Run,
    Subject,
    check_save_dir,
    images,
    make_subject,
    save,
    saved_as,
)
from hmct_track.recording.draft import Content
from hmct_track.recording.progress import progress
from hmct_track.recording.standing import StandingDisplay
from hmct_track.report.reference import gap_db, gap_line

LOG = logging.getLogger(__name__)

Emit = Callable[[str], None]


@dataclass(frozen=True)
class Opened:
    """Model and data that are at hand for several runs."""

    subject: Subject
    float_gap: float | None
    """How far the float reference is from the given float model in dB; None if there is none."""


def run_analysis(
    analysis: Analysis,
    recording: Recording | None = None,
    *,
    emit: Emit | None = None,
    parent: Run | None = None,
    opened: Opened | None = None,
    began: float | None = None,
) -> Any:
    """Run an analysis, record it in the lake and log it to MLflow.

    Args:
        analysis: what to find out, of which model and data.
        recording: where it is kept.
        emit: called with the answer's text as soon as it is known, before MLflow is.
        parent: the run that this one is a step of; its model and data are taken.
        opened: model and data that are at hand, instead of opening those of the analysis.
        began: when the user gave the command, by `time.monotonic`; now by default.

    Returns:
        A `Result`, of the analysis' own class.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    began = time.monotonic() if began is None else began
    recording = recording or (parent.recording if parent else Recording())
    analysis.check()
    if parent:
        opened = Opened(parent.subject, parent.row["float_gap"])
        return _run_analysis(analysis, recording, emit, parent, opened, began, None)
    opening = Opening(lake_path(recording.lake))
    try:
        return _run_analysis(analysis, recording, emit, None, opened, began, opening)
    finally:
        opening.wait()  # the command line ends the process at once, which DuckDB must not see


def _run_analysis(
    analysis: Analysis,
    recording: Recording,
    emit: Emit | None,
    parent: Run | None,
    opened: Opened | None,
    began: float,
    opening: Opening | None,
) -> Any:
    about = opened.subject if opened else None
    model, engine = (about.model, about.engine) if about else analysis.open(recording)
    first = analysis.ask(model, Seen())
    subject = _subject(analysis, model, engine, recording, about)
    analysis.check_subject(subject)
    subject = replace(subject, scores=analysis.judges(subject))
    folder = check_save_dir(analysis.save_dir)
    run = Run(
        analysis.kind,
        subject,
        recording,
        metrics=[m.value for m in analysis.metrics_asked],
        parameters={**analysis.parameters(model), **_given(recording)},
        parent=parent,
        emit=emit,
        opening=opening,
    )
    run.began = began
    with run:
        run.row["float_gap"] = opened.float_gap if opened else _float_gap(analysis, subject)
        try:
            _measure(analysis, run, first, began)
            analysis.observe(run)
        except KeyboardInterrupt:
            _show_so_far(analysis, run)
            raise
        answer = _answer(analysis, run)
        files = _show(analysis, answer, run, folder)
        run.describe(partial(content_of, answer))
    if parent and parent.drawer and (folder or parent.is_waited_for):
        parent.drawer.draw(run.run_id, answer.figures, folder)
    result = analysis.result_class(
        answer=answer,
        run_id=run.run_id,
        title=analysis.heading(answer),
        files=files,
        tracking_error=run.tracking_error,
        known=run.measuring.known + sum(step.known for step in run.results),
        measured=run.measuring.measured + sum(step.measured for step in run.results),
        noise_floor=engine.noise_floor if run.results else run.measuring.noise_floor,
        steps=tuple(run.results),
        **analysis.extras(answer, run),
    )
    if parent:
        parent.results.append(result)
    return result


def run_command(command: str, given: Mapping[str, Any]) -> Any:
    """Run the analysis of a command with the arguments of a documented function.

    Args:
        command: such as ``plot-distribution``.
        given: its keyword arguments; those of `hmct_track.debug.Recording` under ``recording``.

    Raises:
        TypeError: an argument is not known.
        HmctTrackError: as in `run_analysis`.
    """
    named = dict(given)
    declared, kept = ANALYSES[command], [o.name for o in options_of(Recording)]
    of_all = [o.name for o in options_of(declared) if o.name == "float_model"]
    shared = [*kept, *of_all]
    recording: dict[str, Any] = named.pop("recording")
    for name in recording:
        if name not in shared:
            raise TypeError(f"unexpected keyword argument {name!r}; known are {', '.join(shared)}")
    where = Recording(**{name: recording[name] for name in recording.keys() & {*kept}})
    own = {name: recording[name] for name in recording.keys() - {*kept}}
    emit = print if named.get("verbose") else None
    return run_analysis(declared(**named, **own), where, emit=emit)


def open_subject(analysis: Analysis, recording: Recording) -> Opened:
    """Model and data of an analysis, for several runs about them.

    Raises:
        HmctTrackError: they cannot be read, or do not fit.
    """
    model, engine = analysis.open(recording)
    subject = _subject(analysis, model, engine, recording, None)
    return Opened(subject, _float_gap(analysis, subject))


def warm_up(subject: Subject) -> None:
    """Have at hand what every configuration needs: the float values, and sessions."""
    configs = [whole(subject.model).config]
    for _ in subject.engine.records(configs, subject.inputs(), subject.outputs, (PAIRS,)):
        pass


def _subject(
    analysis: Analysis,
    model: QuantModel,
    engine: Engine,
    recording: Recording,
    about: Subject | None,
) -> Subject:
    outputs = analysis.outputs(model, engine)
    if about:
        return replace(about, outputs=outputs)
    return make_subject(
        model,
        engine,
        analysis.samples(model),
        outputs,
        shown=recording.progress and analysis.reads_slowly,
    )


def _given(recording: Recording) -> dict[str, Any]:
    """What the run was given of the machine, where it was anything."""
    return {name: value for name, value in to_stored(recording).items() if value}


def _float_gap(analysis: Analysis, subject: Subject) -> float | None:
    """How far the float reference is from the given float model in dB, which is told as well."""
    if analysis.float_model is None:
        return None
    original, sample = load_original(analysis.float_model), next(iter(subject.inputs().values()))
    gap = float_gap(subject.engine, original, sample)
    if not gap:
        return None
    LOG.warning("%s", gap_line(gap, subject.model))
    return gap_db(gap)


def _measure(analysis: Analysis, run: Run, asked: Round, began: float) -> None:
    rounds = 0
    shown = run.recording.progress and run.parent is None
    with StandingDisplay(shown=shown) as display:
        while asked:
            started = time.monotonic()
            if asked.standing:
                display.show(asked.standing)
            run.measuring.measure(
                asked.planned,
                asked.samples,
                plan=asked.plan,
                until=asked.until,
                what=asked.what,
                quiet=display.is_live,
            )
            rounds += 1
            seen = Seen(
                rounds,
                run.lake,
                run.run_id,
                len(run.subject.samples),
                began,
                time.monotonic() - started,
                run,
            )
            asked = analysis.ask(run.subject.model, seen)


def _answer(analysis: Analysis, run: Run) -> Answer:
    row = {**run.row, "model": run.subject.model.proto.graph.name}
    return Answer(analysis, run.lake, row, [step.answer for step in run.results])


def _show_so_far(analysis: Analysis, run: Run) -> None:
    """Print the answer that there is when the user has had enough; nothing if there is none."""
    analysis.interrupted(run)
    answer = _answer(analysis, run)
    if run.emit and run.parent is None and (text := analysis.so_far(answer)):
        run.emit(text)


def _show(analysis: Analysis, answer: Answer, run: Run, folder: Path | None) -> tuple[Path, ...]:
    """Print the answer, say what it does not mean, and save it."""
    if worst := analysis.worst(answer):
        run.row.update(worst_node=worst[0], worst_value=worst[1])
    if asked := analysis.metrics_asked:
        run.row["whole_value"] = answer.whole.get(asked[0])
    text = analysis.text(answer)
    if run.emit and text is not None:
        run.emit(text)
    for warning in (*run.remarks, *analysis.warnings(answer)):
        LOG.warning("%s", warning)
    files = [file for step in run.results for file in step.files]
    files += analysis.save_more(answer, run, folder)
    if folder is not None:
        if run.parent and run.parent.drawer:
            files += saved_as(folder, answer.figures)  # when the drawer has come so far
        else:
            for _ in _drawn(answer, run):
                pass
            files += save(folder, figures=answer.figures)
        files += save(folder, texts=lambda: answer.texts)
    return tuple(files)


def _drawn(answer: Answer, run: Run) -> Any:
    """The figures, drawn while progress is shown."""
    return progress(
        (answer.figures[stem] for stem in answer.figures),
        total=len(answer.figures),
        what="drawing",
        unit="figures",
        shown=run.recording.progress,
        steps=run.steps,
    )


def content_of(answer: Answer) -> Content:
    """What MLflow is told of an answer."""
    analysis = answer.analysis
    return Content(
        analysis.run_name(answer),
        summary=analysis.run_summary(answer),
        curves=analysis.run_curves(answer),
        texts=answer.texts,
        images=images(answer.figures),
        nested=analysis.nested(answer),
        note=analysis.note(answer),
    )
