"""Making a calibrated model from a float one, recorded like every analysis."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmct_track.data import CalibrationDataSet, open_data, save_samples
from hmct_track.engine import Engine
from hmct_track.engine.calibration import Method, Settings, find_parameters
from hmct_track.errors import UsageError
from hmct_track.lake import Row
from hmct_track.model import (
    WEIGHTED_OPS,
    Skeleton,
    insert_calibration,
    load_float_model,
    model_of,
    plan_placements,
    save_model,
    whole_proto,
)
from hmct_track.report import table_markdown
from hmct_track.report.html import calibrations
from hmct_track.report.tables import calibration_table
from hmct_track.tracking import TrackedRun
from hmct_track.types import CalibrationKind, QuantType
from hmct_track.workflow.progress import progress
from hmct_track.workflow.result import AnalysisResult
from hmct_track.workflow.run import Options, Run
from hmct_track.workflow.subject import make_subject, output_tensors

if TYPE_CHECKING:
    import onnx

Types = str | Sequence[str]
"""A type for activations and weights (which take it signed), or one for each."""


@dataclass(frozen=True)
class CalibrationRequest:
    """The parameters of ``calibrate``."""

    model_or_file: str | os.PathLike[str] | onnx.ModelProto
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any]
    output: str | os.PathLike[str] | None = None
    method: str = Method.MAX.value
    percentile: float = 99.99
    weight_method: str = Method.MAX.value
    activation_type: str = "int8"
    weight_type: str = "int8"
    types: Mapping[str, Types] = field(default_factory=dict)
    op_types: Sequence[str] = WEIGHTED_OPS
    per_channel: bool = True
    asymmetric: bool = False
    data_num: int | None = None
    save_data: str | os.PathLike[str] | None = None


@dataclass(frozen=True, eq=False)
class CalibrationResult(AnalysisResult):
    """The calibrated model, and its calibration nodes as rows."""

    skeleton: Skeleton = field(kw_only=True, repr=False)

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The calibrated model; over 2 GB it cannot be serialized, so give ``output`` as well."""
        return whole_proto(self.skeleton)


def calibrate_model(
    request: CalibrationRequest, options: Options, emit: Callable[[str], None] | None = None
) -> CalibrationResult:
    """Calibrate a float model, write it, and record the run with its thresholds.

    Raises:
        HmctTrackError: any of its kinds; nothing was written if the input was at fault.
    """
    settings = _settings(request)
    default = _types([request.activation_type, request.weight_type])
    chosen = {name: _types(given) for name, given in request.types.items()}
    source = load_float_model(request.model_or_file)
    output = Path(request.output).absolute() if request.output is not None else None
    if output is not None and output == source.path:
        raise UsageError(f"output {str(output)!r} is the float model itself; give another file")
    placements = plan_placements(source.proto, list(request.op_types), default, chosen)
    samples = open_data(request.calibrated_data, source.inputs).first(request.data_num)
    for k in progress(
        range(len(samples)),
        total=len(samples),
        what="reading data",
        unit="samples",
        shown=options.progress,
    ):
        samples.verify(k)

    def watch(items: Iterator[int], total: int) -> Iterator[int]:
        return progress(
            items, total=total, what="calibrating", unit="samples", shown=options.progress
        )

    parameters = find_parameters(
        source, placements, samples, settings, label=samples.label, watch=watch
    )
    calibrated = insert_calibration(source.skeleton, list(zip(placements, parameters, strict=True)))
    if output is not None:
        calibrated = replace(calibrated, path=output)
        save_model(calibrated, output)
    model = model_of(calibrated)
    engine = Engine(
        model, threads=options.threads, memory=options.memory, providers=options.providers
    )
    subject = make_subject(
        model,
        engine,
        request,
        output_tensors(model, engine, None),
        replace(options, progress=False),
    )
    files: tuple[Path, ...] = () if output is None else (output,)
    if request.save_data is not None:
        files += save_samples(Path(request.save_data), samples, range(len(samples)))
    run = Run("calibration", subject, options, metrics=[], parameters=_parameters(request))
    with run:
        rows = run.lake.query("calibration", run_id=run.run_id)
        if emit:
            emit(calibration_table(rows))
        run.describe(partial(_tracked, run, rows))
    return CalibrationResult(
        run.run_id,
        rows,
        {},
        "Calibration",
        calibrations(rows),
        files,
        run.tracking_error,
        skeleton=calibrated,
    )


def _settings(request: CalibrationRequest) -> Settings:
    if not 50 < request.percentile <= 100:
        raise UsageError(f"percentile is {request.percentile}; above 50 to 100 was expected")
    weights = _method(request.weight_method, "weight_method", (Method.MAX, Method.MSE))
    return Settings(
        _method(request.method, "method", tuple(Method)),
        request.percentile,
        request.per_channel,
        request.asymmetric,
        weights,
    )


def _method(name: str, what: str, allowed: Sequence[Method]) -> Method:
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


def _parameters(request: CalibrationRequest) -> dict[str, Any]:
    left_out = ("model_or_file", "calibrated_data", "data_num", "output", "save_data")
    path = request.model_or_file
    source = str(path) if isinstance(path, str | os.PathLike) else "a proto"
    return {"float_model": source} | {
        name: value for name, value in vars(request).items() if name not in left_out
    }


def _tracked(run: Run, rows: list[Row]) -> TrackedRun:
    """What MLflow is told: the thresholds of activations as a curve over the nodes."""
    activations = [row for row in rows if row["kind"] == CalibrationKind.ACTIVATION]
    curve = [(k, row["threshold"]) for k, row in enumerate(activations) if row["threshold"]]
    kinds = Counter(f"{row['kind']} {row['qtype']}" for row in rows)
    return run.tracked_run(
        f"calibration of {run.subject.label}",
        summary={f"nodes.{name}": float(count) for name, count in kinds.items()},
        curves={"activation_threshold": curve},
        texts={"calibration.log": calibration_table(rows) + "\n"},
        note=table_markdown("Calibration nodes", calibrations(rows), "calibration", run.run_id),
    )
