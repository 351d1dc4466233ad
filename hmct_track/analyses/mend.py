"""``mend``: the free remedies of a whole model, chosen by measuring, verified on other samples."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import (
    Analysis,
    Answer,
    Result,
    Round,
    Seen,
    as_list_of_scores,
    data_num,
    labels,
    save_dir,
    score,
)
from hmct_track.analyses.calibrate import OP_TYPES
from hmct_track.analyses.configurations import every, whole
from hmct_track.analyses.diagnose import allow, free_families
from hmct_track.errors import UsageError
from hmct_track.options import option
from hmct_track.options.kinds import FILE, MAYBE_NAMES, as_list
from hmct_track.options.parsing import show_names
from hmct_track.types import Measurement, Metric, Planned, QuantConfig, QuantType

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from hmct_track.data import Samples
    from hmct_track.engine import Engine
    from hmct_track.lake import Row
    from hmct_track.lake.rows import ScoreResultsRow
    from hmct_track.model import FloatModel, QuantModel, Skeleton
    from hmct_track.recording import Recording, Run, Subject
    from hmct_track.recording.progress import Steps
    from hmct_track.remedies.search import Counted, Scope
    from hmct_track.remedies.verdict import Gain
    from hmct_track.report.html import Table

LOG = logging.getLogger(__name__)

MENDED = "mended_model"
FEWEST = 4
"""Samples that it takes to choose, to check and to verify."""
_STEM = "mending"
_INT8 = QuantType("int8")


@dataclass(frozen=True, eq=False, kw_only=True)
class MendResult(Result):
    """The mended model, if there is one, and what it was worth."""

    skeleton: Skeleton | None = field(repr=False)

    @cached_property
    def model(self) -> onnx.ModelProto | None:
        """The mended model; None where it was not better on the held-out samples."""
        from hmct_track.model import whole_proto

        return whole_proto(self.skeleton) if self.skeleton else None


@dataclass(frozen=True, kw_only=True)
class Mend(Analysis):
    """Choose free remedies for a whole model, verify them, and write a calibrated model."""

    command: ClassVar[str] = "mend"
    kind: ClassVar[str] = "mending"
    summary: ClassVar[str] = "Mend a model by free remedies, chosen and verified by measuring."
    result_class: ClassVar[type[Result]] = MendResult
    metrics_asked: ClassVar[tuple[Metric, ...]] = (Metric.SQNR, Metric.COSINE_SIMILARITY)
    has_figures: ClassVar[bool] = False

    model_or_file: Any = option(
        FILE, "the calibrated model, or a float one, which is calibrated first", metavar="MODEL",
        positional=True, stored=False,
    )  # fmt: skip
    output: str | os.PathLike[str] | None = option(
        FILE, "where the mended model is written", "-o", default=None, command_required=True,
        stored=False,
    )  # fmt: skip
    nodes: str | Sequence[str] | None = option(
        MAYBE_NAMES, "mend only these nodes (default: all)", "-n", default=None
    )
    allow: str | Sequence[str] = allow()
    data_num: int | None = data_num("-d", None)
    save_dir: str | os.PathLike[str] | None = save_dir("-s")
    score: Any = score()
    labels: Any = labels()

    def check(self) -> None:
        """Check the parameters by themselves."""
        super().check()
        free_families(self.allow)

    def open(self, recording: Recording) -> tuple[QuantModel, Engine]:
        """The model; a float one is calibrated with maxima over the samples that are not held out.

        Raises:
            ModelError: the model cannot be read.
            UsageError: the output is the model itself.
        """
        from hmct_track.model import load_float_model, load_model

        if self.output is not None and isinstance(self.model_or_file, str | os.PathLike):
            given, made = Path(self.model_or_file).absolute(), Path(self.output).absolute()
            if given == made:
                raise UsageError(f"output {str(made)!r} is the model itself; give another file")
        model = load_model(self.model_or_file, self.float_model, may_be_float=True)
        if not model.calibration_nodes:
            model = self._calibrated(load_float_model(self.model_or_file))
        return self.engine_of(model, recording)

    def _calibrated(self, source: FloatModel) -> QuantModel:
        from hmct_track.data import open_data
        from hmct_track.engine.calibration import Settings, find_parameters
        from hmct_track.model import insert_calibration, model_of, plan_placements

        placements = plan_placements(source.proto, list(OP_TYPES), (_INT8, _INT8), {})
        samples = open_data(self.calibrated_data, source.inputs).first(self.data_num)
        fitted = _Chosen(samples, [k for k in range(len(samples)) if not is_held_out(k)])
        found = find_parameters(source, placements, fitted, Settings(), label=samples.label)
        pairs = list(zip(placements, found, strict=True))
        return model_of(insert_calibration(source.skeleton, pairs))

    def outputs(self, model: QuantModel, engine: Engine) -> tuple[str, ...]:
        """The float outputs of the model."""
        from hmct_track.recording import output_tensors

        return output_tensors(model, engine, None)

    def check_subject(self, subject: Subject) -> None:
        """There must be samples to choose by, to check by and to verify by."""
        if len(subject.samples) < FEWEST:
            raise UsageError(
                f"mend needs at least {FEWEST} samples: some to choose by, some to check by, one "
                f"held out; there are {len(subject.samples)}"
            )

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """The model as it is.

        Raises:
            UnknownNodeError: a node does not exist.
            UsageError: a node cannot be quantized, or none is named.
        """
        if seen.rounds:
            return Round()
        self._scope(model)
        return Round([whole(model)])

    def _scope(self, model: QuantModel) -> Scope | None:
        """What may change: quantizers of the nodes that are named, and their biases."""
        from hmct_track.remedies.search import Scope

        if self.nodes is None:
            return None
        names = model.expand(as_list(self.nodes))
        if not names:
            raise UsageError("nodes is empty; name nodes, or leave it out for the whole model")
        quantizers = {c for name in names for c in model.calibrations_of(name)}
        return Scope(quantizers, {name for name in names if name in model.general_by_name})

    def observe(self, run: Run) -> None:
        """Search on the samples that are not held out, then measure what was chosen on all."""
        from hmct_track.analyses.scored import record_scores
        from hmct_track.lake import MENDING_STEPS
        from hmct_track.remedies.search import Search

        subject = run.subject
        places = range(len(subject.samples))
        search = Search(
            subject.model,
            lambda model: self.engine_of(model, run.recording)[1],
            subject.inputs([k for k in places if k % 4 in (0, 1)]),
            subject.inputs([k for k in places if k % 4 == 2]),
            subject.outputs,
            free_families(self.allow),
            scope=self._scope(subject.model),
            watch=lambda told: LOG.info("%s", told),
            counted=shown_counted(run.recording.progress, run.steps),
        )
        config = search.run().canonical(every(subject.model))
        # Nothing is chosen any more.
        judged = search.judged(subject.inputs([k for k in places if is_held_out(k)]))
        run.lake.append(
            MENDING_STEPS,
            [
                {
                    "run_id": run.run_id,
                    "position": position,
                    "step": step.what,
                    "nodes": step.nodes,
                    "choosing": step.choosing,
                    "checking": step.checking,
                    "compared": search.compared,
                    **_held_out(gains),
                }
                for position, (step, gains) in enumerate(zip(search.steps, judged, strict=True))
            ],
        )
        run.measuring.measure([Planned(MENDED, "mended", config)])
        record_scores(run, counts=lambda row: is_held_out(row["sample"]))

    def rows(self, answer: Answer) -> list[Row]:
        """The model before and after."""
        return answer.query("mending", metric=Metric.SQNR.value)

    def is_better(self, answer: Answer) -> bool:
        """Whether the mended model is better on the held-out samples, and is written."""
        from hmct_track.remedies.verdict import is_better

        before, after = answer.rows[0], answer.rows[-1]
        if None in (before["held_out"], after["held_out"]):
            return False
        by_mean = bool(after["held_out"] > before["held_out"])
        return is_better(by_mean, held_out_gain(answer), compared_gain(answer))

    def text(self, answer: Answer) -> str:
        """Before and after, on the samples that chose and on the others; the steps."""
        from hmct_track.report.diagnosis import mending_text
        from hmct_track.report.scores import score_line

        steps = answer.query("mending_steps")
        samples = answer.run["data_num"]
        scored = [
            score_line(row, f"{what} on {row['samples']} held-out samples")
            for both in self._scores(answer)
            for what, row in zip(("before", "mended"), both, strict=True)
        ]
        said = mending_text(
            answer.rows,
            steps,
            samples,
            better=self.is_better(answer),
            gain=held_out_gain(answer),
            compared=compared_gain(answer) if _looked_before(answer) else None,
            scores=scored,
        )
        if self.nodes is None:
            return said
        return f"only these nodes were to be mended: {show_names(as_list(self.nodes))}\n{said}"

    def _scores(self, answer: Answer) -> list[tuple[ScoreResultsRow, ScoreResultsRow]]:
        """Each score before and after, on the held-out samples; none without scores."""
        from hmct_track.analyses.scored import results

        found = results(answer) if as_list_of_scores(self.score) else []
        by_role = {(row["score"], row["role"]): row for row in found}
        names = dict.fromkeys(row["score"] for row in found)
        return [(by_role[name, "reference"], by_role[name, "mended"]) for name in names]

    def warnings(self, answer: Answer) -> Iterator[str]:
        """Outputs that became worse in mean, and scores, though the model is said to be better."""
        gain = held_out_gain(answer)
        if gain and gain.mean < 0 and self.is_better(answer):
            yield (
                f"at its outputs the mended model is {-gain.mean:.2f} dB worse in mean on the "
                "held-out samples, which are too few to tell; it is better before its last layer. "
                "Compare both on more samples before you take it"
            )
        for before, after in self._scores(answer):
            if self.is_better(answer) and after["lost"] > before["lost"]:
                yield (
                    f"the mended model is better by SQNR, and loses more of {before['score']} on "
                    f"the {before['samples']} held-out samples: {after['lost']:.5g} instead of "
                    f"{before['lost']:.5g}; compare both on more samples before you take it"
                )

    def heading(self, answer: Answer) -> str:
        """What it shows."""
        return "Mending"

    def table(self, answer: Answer) -> Table:
        """Before and after."""
        from hmct_track.report.html import whole_table

        shown = ("name", "chosen", "held_out", "chosen_error", "held_out_error")
        return whole_table([{name: row[name] for name in shown} for row in answer.rows])

    def texts(self, answer: Answer) -> dict[str, str]:
        """The same text."""
        return {f"{_STEM}.log": self.text(answer) + "\n"}

    def save_more(self, answer: Answer, run: Run, folder: Path | None) -> tuple[Path, ...]:
        """The mended model with its report beside it, if it is better; nothing otherwise."""
        from hmct_track.model import save_model

        skeleton = self._skeleton(answer, run)
        if skeleton is None or self.output is None:
            return ()
        target = Path(self.output).absolute()
        report = target.with_name(f"{target.stem}.report.txt")
        save_model(skeleton, target)
        try:
            report.write_text(f"{self.text(answer)}\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {str(report)!r}: {error}") from error
        return (report, target)

    def _skeleton(self, answer: Answer, run: Run) -> Skeleton | None:
        from hmct_track.model import mended

        if not self.is_better(answer):
            return None
        planned = answer.query("planned_configs")
        config = next(row["config"] for row in planned if row["role"] == "mended")
        return mended(run.subject.model, QuantConfig.from_json(config))

    def extras(self, answer: Answer, run: Run) -> dict[str, Any]:
        """The mended model."""
        skeleton = self._skeleton(answer, run)
        return {"skeleton": skeleton, "refused": skeleton is None}

    def run_summary(self, answer: Answer) -> dict[str, float]:
        """SQNR before and after, on the held-out samples first."""
        before, after = answer.rows[0], answer.rows[-1]
        found = {
            "held_out.sqnr.before": before["held_out"],
            "held_out.sqnr.mended": after["held_out"],
            "chosen.sqnr.before": before["chosen"],
            "chosen.sqnr.mended": after["chosen"],
        }
        for pair in self._scores(answer):
            for what, row in zip(("before", "mended"), pair, strict=True):
                found[f"held_out.{row['score']}.{what}"] = row["value"]
        return {name: value for name, value in found.items() if value is not None}

    def run_curves(self, answer: Answer) -> dict[str, list[tuple[int, float]]]:
        """The gains of the steps on the checking samples."""
        steps = answer.query("mending_steps")
        return {"by_step.checked_db": [(row["position"], row["checking"]) for row in steps]}

    def note(self, answer: Answer) -> str:
        """Before and after."""
        from hmct_track.report import table_markdown

        return table_markdown(
            "Before and after",
            self.table(answer),
            f"mending -p metric={Metric.SQNR}",
            answer.run_id,
        )


def held_out_gain(answer: Answer) -> Gain | None:
    """The gain of the outputs' SQNR on the held-out samples.

    None where fewer than two of them have a value of both models.
    """
    from hmct_track.analyses.certainty import measured_values
    from hmct_track.confidence import means_of
    from hmct_track.remedies.verdict import gain_of

    found = measured_values(answer.lake, answer.run_id, answer.run["data_num"])
    before, after = (
        means_of(found.of_role(role).values[Metric.SQNR][..., 3::4], Metric.SQNR).series
        for role in ("reference", "mended")
    )
    return gain_of(after[-1] - before[0]) if len(before) and len(after) else None


def compared_gain(answer: Answer) -> Gain | None:
    """The gain on the held-out samples of what the search compared; None where none is known."""
    from hmct_track.remedies.verdict import Gain

    steps = answer.query("mending_steps")
    if not steps:
        return None
    mean, low, high = (steps[-1][n] for n in ("held_out", "held_out_low", "held_out_high"))
    return None if mean is None or low is None or high is None else Gain(mean, low, high)


def _looked_before(answer: Answer) -> bool:
    """Whether the search compared what the last layer reads, and not only outputs."""
    steps = answer.query("mending_steps")
    compared = (steps[-1]["compared"] or []) if steps else []
    return any(tensor not in answer.run["outputs"] for tensor in compared)


def _held_out(gains: NDArray[np.float64]) -> dict[str, float | None]:
    """Columns of ``mending_steps``, of gains by sample."""
    from hmct_track.remedies.verdict import gain_of

    gain = gain_of(gains)
    return {
        "held_out": gain.mean if gain else _finite(gains.mean()),
        "held_out_low": gain.low if gain else None,
        "held_out_high": gain.high if gain else None,
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def is_held_out(position: int) -> bool:
    """Whether a sample is verified by: of every four the first two choose, the third checks."""
    return position % 4 == 3


def shown_counted(shown: bool, steps: Steps | None = None) -> Counted:
    """Passes on what a search measures, of which there will be so much, while that is shown."""
    from hmct_track.recording.progress import Clock, progress

    clock = Clock()

    def passed(found: Iterable[Measurement], total: int, what: str) -> Iterable[Measurement]:
        return progress(
            found,
            total=total,
            what=what,
            unit="outputs",
            shown=shown,
            steps=steps,
            clock=clock,
        )

    return passed


class _Chosen:
    """Some of the samples, by their place among those chosen."""

    def __init__(self, samples: Samples, places: Sequence[int]) -> None:
        self._samples, self._places = samples, list(places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Mapping[str, NDArray[Any]]:
        return self._samples[self._places[index]]

    def __iter__(self) -> Iterator[Mapping[str, NDArray[Any]]]:
        return (self[k] for k in range(len(self)))
