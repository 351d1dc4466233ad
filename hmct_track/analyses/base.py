"""What an analysis is: its parameters, what it asks, and how its answer is shown.

An analysis is a frozen, keyword-only dataclass, one module each. Its fields are its parameters; one
runner (`hmct_track.analyses.runner`) does the rest for all of them. Nothing heavy is imported here,
so that the command line can list all options without loading a model reader.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self

from hmct_track.errors import UsageError
from hmct_track.names import model_label
from hmct_track.options import option, parse_metric
from hmct_track.options.declared import check_options, from_stored, options_of, to_stored
from hmct_track.options.kinds import COUNT, FILE, FOLDER, METRIC, as_list, texts
from hmct_track.report.drawings import Drawing, Figures
from hmct_track.types import Metric, Planned

if TYPE_CHECKING:
    import onnx
    import pandas as pd
    from typing_extensions import TypeVar

    from hmct_track.data import CalibrationDataSet, Samples
    from hmct_track.engine import Engine
    from hmct_track.errors import TrackingError
    from hmct_track.lake import Lake, Row
    from hmct_track.lake.rows import WholeModelRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Recording, Run, Subject
    from hmct_track.report.html import Table
    from hmct_track.scoring import ScoreJudge
    from hmct_track.tracking import NestedRun

    R = TypeVar("R", bound=Mapping[str, Any], default=Any)
    ModelSource = str | os.PathLike[str] | onnx.ModelProto
    DataSource = str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any]
else:
    from typing import TypeVar

    R = TypeVar("R")
"""What the rows of an answer are; their type is made from the header of their query."""


def data_num(short: str | None = None, default: int | None = 1) -> Any:
    """The field for the number of samples."""
    told = f"number of samples; None is all{' (default)' if default is None else ''}"
    return option(COUNT, told, short, default=default, stored=False)


def save_dir(short: str) -> Any:
    """The field for the folder of figures and tables."""
    return option(FOLDER, "save figures and tables here as well", short, default=None, stored=False)


def output() -> Any:
    """The field for what is compared of the model's outputs."""
    return option(
        texts("OUTPUTS"), "compare only these outputs, or parts of them in their own units, such "
        "as output0[:, 4:] or output0[:, 4:]/rms(1)", default=None,
    )  # fmt: skip


def metric(short: str = "-m") -> Any:
    """The field for the one metric of an analysis."""
    return option(
        METRIC, f"one of: {', '.join(Metric)}", short, default=Metric.COSINE_SIMILARITY.value
    )


def score() -> Any:
    """The field for scores of the user's own."""
    return option(
        texts("SCORES"), "your own number: top1, top5, same-top1, FILE.py:NAME or "
        "package.module:NAME, or a list; the first ranks", default=None,
    )  # fmt: skip


def labels() -> Any:
    """The field for the labels that scores get."""
    return option(
        FOLDER, "labels for the scores: a folder, CSV, .npz or .npy, by sample",
        default=None, metavar="LABELS",
    )  # fmt: skip


def as_list_of_scores(given: Any) -> list[Any]:
    """One score or several as a list; empty for None."""
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


@dataclass(frozen=True)
class Round:
    """Configurations to measure next; an empty round ends an analysis."""

    planned: Sequence[Planned] = ()
    samples: Sequence[int] | None = None
    """Positions of the samples to measure them on; all by default."""
    plan: Sequence[Planned] = ()
    """All configurations that there will be, in the order in which the run records them, where
    they are not measured at once; those of ``planned`` are among them."""
    until: float | None = None
    """The time of `time.monotonic` at which to stop, wherever it is; None is at the end."""
    standing: str | None = None
    """How the analysis stands, for people who wait."""
    what: str = "measuring"
    """What the round is, in a few words, beside its progress."""

    def __bool__(self) -> bool:
        return bool(self.planned)


@dataclass(frozen=True)
class Seen:
    """What a run knows when it asks for its next round."""

    rounds: int = 0
    """Rounds that were measured."""
    lake: Lake | None = None
    run_id: str = ""
    samples: int = 0
    """Number of samples of the run."""
    began: float = 0.0
    """When the command was given, by `time.monotonic`."""
    seconds: float = 0.0
    """What the last round took."""
    run: Run | None = None
    """The run, for what is to be recorded before the next round."""

    def query(self, name: str, /, **params: Any) -> list[Row]:
        """Rows of a shipped query about this run; none before the first round."""
        return self.lake.query(name, run_id=self.run_id, **params) if self.lake else []


@dataclass(frozen=True, kw_only=True)
class Analysis(Generic[R]):
    """An analysis: its parameters, what it asks, and the views of its answer.

    The views read the lake alone, so that they show a run of a month ago as they show a new one.
    """

    command: ClassVar[str]
    """Its command, and its module's name with underscores."""
    kind: ClassVar[str]
    """The word that the lake has for its runs."""
    summary: ClassVar[str]
    """What it does, in a sentence, for lists of commands."""
    result_class: ClassVar[type[Result[Any]]]
    reads_slowly: ClassVar[bool] = True
    """Whether reading the data is worth a progress of its own."""
    has_figures: ClassVar[bool] = True
    """Whether there is anything to draw."""

    model_or_file: ModelSource = option(
        FILE, "the calibrated model", metavar="MODEL_OR_FILE", positional=True, stored=False
    )
    calibrated_data: DataSource = option(
        FOLDER, "the folder of calibration data", metavar="CALIBRATION_DATA", positional=True,
        stored=False,
    )  # fmt: skip
    float_model: ModelSource | None = option(
        FILE, "the model that was quantized, where MODEL is a QDQ model with integer weights",
        default=None,
    )  # fmt: skip

    if TYPE_CHECKING:  # every analysis has them, with flags and defaults of its own
        data_num: int | None
        save_dir: str | os.PathLike[str] | None

    # What it asks.

    def check(self) -> None:
        """Check the parameters by themselves.

        Raises:
            UsageError: one is not allowed.
        """
        if self.model_or_file is None:
            raise UsageError(
                "model_or_file is required: the path of a calibrated model, or a proto"
            )
        if self.calibrated_data is None:
            raise UsageError(
                "calibrated_data is required: a folder, a CalibrationDataSet or a mapping"
            )
        check_options(self)

    def open(self, recording: Recording) -> tuple[QuantModel, Engine]:
        """The model and what evaluates it.

        Raises:
            ModelError: the model cannot be read, or holds what is not understood.
            UsageError: an execution provider is not there.
        """
        from hmct_track.model import load_model

        return self.engine_of(load_model(self.model_or_file, self.float_model), recording)

    @staticmethod
    def engine_of(model: QuantModel, recording: Recording) -> tuple[QuantModel, Engine]:
        """A model, and what evaluates it."""
        from hmct_track.engine import make_engine

        engine = make_engine(
            model,
            threads=recording.threads,
            memory=recording.memory,
            providers=tuple(recording.providers),
            scheduler=recording.scheduler,
            workers=recording.workers,
        )
        return model, engine

    def outputs(self, model: QuantModel, engine: Engine) -> tuple[str, ...]:
        """What is compared: the outputs of the model, of a node, or those asked for.

        Raises:
            UsageError: one is not there, or has no float values.
        """
        from hmct_track.recording import output_parts, output_tensors

        node, chosen = getattr(self, "output_node", None), as_list(getattr(self, "output", None))
        if not chosen:
            return output_tensors(model, engine, node)
        if node:
            raise UsageError("give either output or output_node; both were given")
        return output_parts(engine, chosen)

    def samples(self, model: QuantModel) -> Samples:
        """The samples of the run.

        Raises:
            DataError: the data are broken or do not fit the model.
            UsageError: ``data_num`` is out of range.
        """
        from hmct_track.data import open_data

        return open_data(self.calibrated_data, model.inputs).first(self.data_num)

    @property
    def metrics_asked(self) -> tuple[Metric, ...]:
        """The metrics of the answer; the first one ranks."""
        chosen = getattr(self, "metric", None)
        return (parse_metric(chosen),) if chosen else ()

    def parameters(self, model: QuantModel) -> dict[str, Any]:
        """What a run keeps of the parameters, from which they can be had again."""
        stored = to_stored(self)
        if stored["float_model"] is None:
            del stored["float_model"]
        elif not isinstance(self.float_model, str | os.PathLike):
            stored["float_model"] = "a proto"
        return stored

    def judges(self, subject: Subject) -> tuple[ScoreJudge, ...]:
        """What the user scores as well, where there are scores: field ``score``, and ``labels``.

        Raises:
            UsageError: a score or a label is not there, or cannot be read.
        """
        score, labels = getattr(self, "score", None), getattr(self, "labels", None)
        if not as_list_of_scores(score):
            if labels is not None:
                raise UsageError("labels were given, but no score; give score=top1 or your own")
            return ()
        from hmct_track.scoring import load_scores
        from hmct_track.scoring.judge import score_judges

        places = [subject.samples.label(k) for k in range(len(subject.samples))]
        scorers = load_scores(as_list_of_scores(score))
        return score_judges(scorers, labels, places, subject.sample_ids, subject.outputs)

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """What to measure next, given what is known; asked again until a round is empty.

        The first round must not depend on anything but the model: it is asked for before anything
        is written, so that unknown nodes are complained of first.

        Raises:
            UsageError: a parameter does not fit the model.
        """
        return Round()

    def check_subject(self, subject: Subject) -> None:
        """Check the parameters against model and data, before anything is written.

        Raises:
            UsageError: one does not fit.
        """

    def interrupted(self, run: Run) -> None:
        """Record what an answer needs when a run ends early, with what was measured."""

    def observe(self, run: Run) -> None:
        """Record what is not a measurement of a configuration."""

    # What it answers.

    def rows(self, answer: Answer[R]) -> list[R]:
        """The rows of the query that answers."""
        return []

    def text(self, answer: Answer[R]) -> str | None:
        """The answer as text; None if there is nothing to print."""
        return None

    def so_far(self, answer: Answer[R]) -> str | None:
        """The answer as text where the user has interrupted it; None if there is nothing to say."""
        return None

    def warnings(self, answer: Answer[R]) -> Iterator[str]:
        """What makes the values mean less than they seem to."""
        yield from ()

    def heading(self, answer: Answer[R]) -> str:
        """What the answer shows."""
        return self.summary.rstrip(".")

    def table(self, answer: Answer[R]) -> Table:
        """The answer as a table for pages and notebooks; all columns of its rows by default."""
        from hmct_track.report.html import whole_table

        return whole_table(answer.rows)

    def drawings(self, answer: Answer[R]) -> list[Drawing]:
        """The figures."""
        return []

    def texts(self, answer: Answer[R]) -> Mapping[str, str]:
        """Texts that are kept by file name."""
        return {}

    def save_more(self, answer: Answer[R], run: Run, folder: Path | None) -> tuple[Path, ...]:
        """Write what is neither figure nor text, to the user's folder or where it was asked for."""
        return ()

    def worst(self, answer: Answer[R]) -> tuple[str, float | None] | None:
        """The most sensitive node with its first metric, for the list of runs."""
        return None

    # What MLflow is told.

    def run_name(self, answer: Answer[R]) -> str:
        """The run's name."""
        return f"{self.kind.replace('-', ' ')}, {answer.label}"

    def run_summary(self, answer: Answer[R]) -> dict[str, float]:
        """Metrics of the run."""
        return {}

    def run_curves(self, answer: Answer[R]) -> dict[str, list[tuple[int, float]]]:
        """Metrics over steps."""
        return {}

    def nested(self, answer: Answer[R]) -> list[NestedRun]:
        """The runs below it."""
        return []

    def note(self, answer: Answer[R]) -> str:
        """Its description, in markdown."""
        return ""

    # What else there is in its result.

    def extras(self, answer: Answer[R], run: Run) -> dict[str, Any]:
        """Fields of ``result_class`` beyond those of every result."""
        return {}

    @classmethod
    def stored(cls, run: Mapping[str, Any], parameters: Mapping[str, Any]) -> Self:
        """The analysis of a run in the lake, with all that it was given.

        Args:
            run: a row of ``runs``.
            parameters: its parameters, from JSON.
        """
        known = {
            "model_or_file": run["model_path"],
            "calibrated_data": run["data_path"],
            "data_num": run["data_num"],
        }
        options = options_of(cls)
        # What is not kept is as on the command line.
        given = {o.name: o.command_default for o in options if not o.is_stored}
        given |= {o.name: known[o.name] for o in options if o.name in known}
        return cls(**{**given, **from_stored(cls, parameters)})


class Answer(Generic[R]):
    """The answer of a run that is in the lake.

    Args:
        analysis: its analysis.
        lake: where it is.
        run: its row.
        steps: the answers of its steps, in their order.
    """

    def __init__(
        self,
        analysis: Analysis[R],
        lake: Lake,
        run: Mapping[str, Any],
        steps: Sequence[Answer[Any]] = (),
    ) -> None:
        self.analysis = analysis
        self.lake = lake
        self.run = run
        self.steps = steps

    @property
    def run_id(self) -> str:
        """The run."""
        return str(self.run["run_id"])

    @property
    def label(self) -> str:
        """The model's name for people."""
        return model_label(self.run["model_path"], self.run.get("model"))

    @cached_property
    def whole(self) -> dict[Metric, float | None]:
        """The metrics of the fully quantized model; none if the run has not measured it."""
        return {Metric(row["metric"]): row["value"] for row in self._whole}

    @cached_property
    def _whole(self) -> list[WholeModelRow]:
        own = self.lake.query("whole_model", run_id=self.run_id)
        return own or next((step._whole for step in self.steps if step._whole), [])

    @property
    def whole_summary(self) -> dict[str, float]:
        """The same, as metrics of a run of MLflow."""
        return {f"whole.{m}": v for m, v in self.whole.items() if v is not None}

    @property
    def whole_line(self) -> str:
        """The same, as a line of text: by the metrics that were asked for."""
        return self.whole_line_of(self.run["data_num"])

    def whole_line_of(self, samples: int) -> str:
        """The same, where the whole model was measured on so many samples."""
        from hmct_track.report import whole_line

        asked = self.analysis.metrics_asked or tuple(Metric)[:1]
        place = getattr(self.analysis, "output_node", None)
        single = any(row["elements"] == 1 for row in self._whole)
        return whole_line(self.whole, asked, samples, place, single=single)

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What the run has kept of its parameters."""
        return dict(json.loads(self.run["parameters"]))

    @cached_property
    def rows(self) -> list[R]:
        """The rows of the query that answers."""
        return self.analysis.rows(self)

    @cached_property
    def figures(self) -> Figures:
        """The figures by file stem."""
        return Figures(self.analysis.drawings(self))

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """Texts that are kept by file name."""
        return self.analysis.texts(self)

    def query(self, name: str, /, **params: Any) -> list[Row]:
        """Rows of a shipped query about this run."""
        return self.lake.query(name, run_id=self.run_id, **params)


@dataclass(frozen=True, eq=False, kw_only=True)
class Result(Generic[R]):
    """The answer of an analysis, and where it is recorded."""

    answer: Answer[R] = field(repr=False)
    run_id: str
    title: str
    files: tuple[Path, ...] = ()
    """What was written to ``save_dir``."""
    tracking_error: TrackingError | None = None
    known: int = 0
    """Configurations whose measurements the lake had."""
    measured: int = 0
    """Configurations that were evaluated."""
    noise_floor: float | None = None
    """How far the float model in parts is from the whole, as a share of the norm, if it was run."""
    refused: bool = False
    """Whether a condition of its gate holds, or it has not written the model that it was to, which
    would have been none the better."""
    steps: tuple[Result[Any], ...] = field(default=(), repr=False)
    """The results of its steps, in their order."""

    @property
    def rows(self) -> list[R]:
        """The rows of the query that answers."""
        return self.answer.rows

    @property
    def figures(self) -> Figures:
        """File stem to figure, drawn when it is looked at."""
        return self.answer.figures

    @property
    def table(self) -> Table:
        """What people are shown of the rows."""
        return self.answer.analysis.table(self.answer)

    def to_frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def _repr_html_(self) -> str:
        """A notebook shows the tables and the figures."""
        from hmct_track.report.html import notebook_html

        parts = [(r.title if self.steps else "", r.table, r.figures) for r in self.steps or (self,)]
        return notebook_html(self.title, self.run_id, parts)


Analysis.result_class = Result
