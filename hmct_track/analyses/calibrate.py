"""``calibrate``: make a calibrated model from a float one, recorded like every analysis."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import Analysis, Answer, Result, Round, Seen
from hmct_track.analyses.configurations import whole
from hmct_track.errors import UsageError
from hmct_track.options import option
from hmct_track.options.kinds import COUNT, FILE, FOLDER, NUMBER, SWITCH, TEXT, TYPES, texts
from hmct_track.types import CalibrationKind, Metric, QuantType

if TYPE_CHECKING:
    import onnx

    from hmct_track.engine import Engine
    from hmct_track.engine.calibration import Method, Settings
    from hmct_track.lake.rows import CalibrationRow
    from hmct_track.model import QuantModel, Skeleton
    from hmct_track.recording import Recording, Run
    from hmct_track.report.html import Table

Types = str | Sequence[str]
"""A type for activations and weights (which take it signed), or one for each."""

OP_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, eq=False, kw_only=True)
class CalibrationResult(Result):
    """The calibrated model, and its calibration nodes as rows."""

    skeleton: Skeleton = field(repr=False)

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The calibrated model; over 2 GB it cannot be serialized, so give ``output`` as well."""
        from hmct_track.model import whole_proto

        return whole_proto(self.skeleton)


@dataclass(frozen=True, kw_only=True)
class Calibrate(Analysis["CalibrationRow"]):
    """Calibrate a float model, write it, and record its thresholds."""

    command: ClassVar[str] = "calibrate"
    kind: ClassVar[str] = "calibration"
    summary: ClassVar[str] = "Make a calibrated model from a float one and calibration data."
    result_class: ClassVar[type[Result]] = CalibrationResult
    reads_slowly: ClassVar[bool] = False
    metrics_asked: ClassVar[tuple[Metric, ...]] = (Metric.COSINE_SIMILARITY, Metric.SQNR)
    has_figures: ClassVar[bool] = False

    model_or_file: Any = option(
        FILE, "the float ONNX model", metavar="FLOAT_MODEL", positional=True, stored=False
    )
    float_model: None = None
    save_dir: None = None
    output: str | os.PathLike[str] | None = option(
        FILE, "where the model is written", "-o", default=None, command_required=True, stored=False
    )
    method: str = option(
        TEXT, "of activations: max, percentile, kl, mse", "-m", default="max", metavar="METHOD"
    )
    weight_method: str = option(TEXT, "of weights: max, mse", default="max", metavar="METHOD")
    activation_type: str = option(
        TEXT, "int4 to int16, uint4 to uint16, float16", "-a", default="int8", metavar="TYPE"
    )
    weight_type: str = option(TEXT, "likewise, of weights", "-w", default="int8", metavar="TYPE")
    percentile: float = option(
        NUMBER, "share of the values that the method percentile keeps", default=99.99,
        metavar="PERCENT",
    )  # fmt: skip
    types: Mapping[str, Types] = option(
        TYPES, "other types by op, node, pattern or module path, such as "
        "[Gemm=int16,'re:/head/.*=int16/int8'] (activations/weights; float32 leaves it alone)",
        "-t", default={},
    )  # fmt: skip
    op_types: Sequence[str] = option(
        texts("OPS"), "the ops whose inputs are quantized, such as Add, Concat, AveragePool as "
        "well", default=OP_TYPES,
    )  # fmt: skip
    per_channel: bool = option(
        SWITCH, "one scale per output channel of a weight, or one in all", default=True
    )
    asymmetric: bool = option(
        SWITCH, "activations from minimum to maximum, with a zero point", default=False
    )
    data_num: int | None = option(
        COUNT, "number of samples; None is all (default)", "-d", default=None, stored=False
    )
    save_data: str | os.PathLike[str] | None = option(
        FOLDER, "write the samples that were used here as well, one folder per input",
        default=None, stored=False,
    )  # fmt: skip

    def open(self, recording: Recording) -> tuple[QuantModel, Engine]:
        """Calibrate, write the model, and read it as any other."""
        from hmct_track.data import open_data
        from hmct_track.engine.calibration import find_parameters
        from hmct_track.model import (
            insert_calibration,
            load_float_model,
            model_of,
            plan_placements,
            save_model,
        )
        from hmct_track.recording.progress import progress

        settings = self._settings()
        default = _types([self.activation_type, self.weight_type])
        chosen = {name: _types(given) for name, given in self.types.items()}
        source = load_float_model(self.model_or_file)
        output = Path(self.output).absolute() if self.output is not None else None
        if output is not None and output == source.path:
            raise UsageError(f"output {str(output)!r} is the float model itself; give another file")
        placements = plan_placements(source.proto, list(self.op_types), default, chosen)
        samples = open_data(self.calibrated_data, source.inputs).first(self.data_num)

        def watch(items: Iterator[int], total: int, what: str = "calibrating") -> Iterator[int]:
            return progress(items, total=total, what=what, unit="samples", shown=recording.progress)

        for k in watch(iter(range(len(samples))), len(samples), "reading data"):
            samples.verify(k)
        parameters = find_parameters(
            source, placements, samples, settings, label=samples.label, watch=watch
        )
        pairs = list(zip(placements, parameters, strict=True))
        calibrated = insert_calibration(source.skeleton, pairs)
        if output is not None:
            calibrated = replace(calibrated, path=output)
            save_model(calibrated, output)
        return self.engine_of(model_of(calibrated), recording)

    def outputs(self, model: QuantModel, engine: Engine) -> tuple[str, ...]:
        """The outputs of the model; ``output`` is a file here."""
        from hmct_track.recording import output_tensors

        return output_tensors(model, engine, None)

    def _settings(self) -> Settings:
        from hmct_track.engine.calibration import Method, Settings

        if not 50 < self.percentile <= 100:
            raise UsageError(f"percentile is {self.percentile}; above 50 to 100 was expected")
        weights = _method(self.weight_method, "weight_method", (Method.MAX, Method.MSE))
        return Settings(
            _method(self.method, "method", tuple(Method)),
            self.percentile,
            self.per_channel,
            self.asymmetric,
            weights,
        )

    def parameters(self, model: QuantModel) -> dict[str, Any]:
        """As given, with the float model."""
        from hmct_track.options import to_stored

        path = self.model_or_file
        source = str(path) if isinstance(path, str | os.PathLike) else "a proto"
        return {"float_model": source, **to_stored(self)}

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """How good the calibrated model is on the samples that it was calibrated on."""
        return Round() if seen.rounds else Round([whole(model)])

    def rows(self, answer: Answer[CalibrationRow]) -> list[CalibrationRow]:
        """The calibration nodes."""
        return answer.lake.query("calibration", run_id=answer.run_id)

    def text(self, answer: Answer[CalibrationRow]) -> str:
        """The whole model in a line, and how many nodes of each kind and type there are."""
        kinds = Counter((row["kind"], row["qtype"]) for row in answer.rows)
        counts = [f"{count} {kind} nodes {qtype}" for (kind, qtype), count in kinds.items()]
        return f"{answer.whole_line}\ncalibrated by {self.method}: {', '.join(counts)}"

    def heading(self, answer: Answer[CalibrationRow]) -> str:
        """What it shows."""
        return "Calibration"

    def table(self, answer: Answer[CalibrationRow]) -> Table:
        """The calibration nodes."""
        from hmct_track.report.html import calibrations

        return calibrations(answer.rows)

    def texts(self, answer: Answer[CalibrationRow]) -> dict[str, str]:
        """The calibration nodes."""
        from hmct_track.report.tables import calibration_table

        nodes = calibration_table(answer.rows)
        return {"calibration.log": f"{self.text(answer)}\n\n{nodes}\n"}

    def extras(self, answer: Answer[CalibrationRow], run: Run) -> dict[str, Any]:
        """The calibrated model."""
        return {"skeleton": run.subject.model.skeleton}

    def save_more(
        self, answer: Answer[CalibrationRow], run: Run, folder: Path | None
    ) -> tuple[Path, ...]:
        """The calibrated model, and the samples where they were asked for."""
        from hmct_track.data import save_samples

        files: tuple[Path, ...] = () if self.output is None else (Path(self.output).absolute(),)
        if self.save_data is not None:
            samples = run.subject.samples
            files += save_samples(Path(self.save_data), samples, range(len(samples)))
        return files

    def run_name(self, answer: Answer[CalibrationRow]) -> str:
        """What it is."""
        return f"calibration of {answer.label}"

    def run_summary(self, answer: Answer[CalibrationRow]) -> dict[str, float]:
        """The whole model, and how many nodes of each kind and type there are."""
        kinds = Counter(f"{row['kind']} {row['qtype']}" for row in answer.rows)
        nodes = {f"nodes.{name}": float(count) for name, count in kinds.items()}
        return {**answer.whole_summary, **nodes}

    def run_curves(self, answer: Answer[CalibrationRow]) -> dict[str, list[tuple[int, float]]]:
        """The thresholds of activations over the nodes."""
        activations = [row for row in answer.rows if row["kind"] == CalibrationKind.ACTIVATION]
        return {
            "by_node.activation_threshold": [
                (k, row["threshold"]) for k, row in enumerate(activations) if row["threshold"]
            ]
        }

    def note(self, answer: Answer[CalibrationRow]) -> str:
        """The calibration nodes."""
        from hmct_track.report import table_markdown

        return table_markdown("Calibration nodes", self.table(answer), "calibration", answer.run_id)


def _method(name: str, what: str, allowed: Sequence[Method]) -> Method:
    from hmct_track.engine.calibration import Method

    if name not in allowed:
        raise UsageError(f"{what} {name!r} is not known; choose from {', '.join(allowed)}")
    return Method(name)


def _types(given: Types) -> tuple[QuantType, QuantType]:
    names = [given] if isinstance(given, str) else list(given)
    if not 1 <= len(names) <= 2:
        raise UsageError(f"types {names!r}: one type, or one for activations and one for weights")
    activation, weight = _qtype(names[0]), _qtype(names[-1])
    if len(names) > 1 and not weight.is_signed:
        raise UsageError(f"weights cannot be {weight}: they are symmetric; give a signed type")
    return activation, weight if weight.is_signed else _qtype(weight.name.removeprefix("u"))


def _qtype(name: str) -> QuantType:
    try:
        qtype = QuantType(name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if qtype.name == "int32":
        raise UsageError("int32 is for biases, which are not calibrated; give at most 16 bits")
    return qtype
