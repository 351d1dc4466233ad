"""What the documented tool has no function for: making a calibrated model, and looking at one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from hmct_track.debug import Recording, Scores

if TYPE_CHECKING:
    import onnx

    from hmct_track.analyses import Result
    from hmct_track.analyses.calibrate import CalibrationResult, Types
    from hmct_track.analyses.mend import MendResult
    from hmct_track.analyses.plan import PlanResult
    from hmct_track.data import CalibrationDataSet
    from hmct_track.reading.inspect import Inspection


def calibrate(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any],
    output: str | os.PathLike[str] | None = None,
    *,
    method: str = "max",
    percentile: float = 99.99,
    weight_method: str = "max",
    activation_type: str = "int8",
    weight_type: str = "int8",
    types: Mapping[str, Types] | None = None,
    op_types: Sequence[str] = ("Conv", "ConvTranspose", "Gemm", "MatMul"),
    per_channel: bool = True,
    asymmetric: bool = False,
    data_num: int | None = None,
    save_data: str | os.PathLike[str] | None = None,
    **recording: Unpack[Recording],
) -> CalibrationResult:
    """Make a calibrated model from a float one.

    BatchNormalization is folded into what it follows; then the inputs of ``op_types`` get
    calibration nodes, one per tensor. Biases stay float.

    Args:
        model_or_file: the float model, as a path or a proto.
        calibrated_data: the folder of calibration data, a `CalibrationDataSet`, or a mapping of
            input names to arrays.
        output: where the calibrated model is written, if anywhere.
        method: how the thresholds of activations are found: ``max``, ``percentile``, ``kl``
            (least divergence of the histograms) or ``mse`` (least squared error).
        percentile: share of the values in percent that ``percentile`` keeps, above 50 to 100.
        weight_method: the same of weights: ``max`` or ``mse``.
        activation_type: ``int4`` to ``int16``, ``uint4`` to ``uint16`` or ``float16``.
        weight_type: likewise.
        types: other types by op type, node name, pattern or module path: one for activations and
            weights, or a pair; ``float32`` leaves a node alone. A tensor that several nodes read
            takes the widest.
        op_types: the ops whose inputs are quantized.
        per_channel: one scale per output channel of a weight, or one in all.
        asymmetric: activations from their minimum to their maximum, with a zero point.
        data_num: number of samples to use; None for all.
        save_data: folder to which the samples used are written as well, one folder per input.
        **recording: see `Recording`.

    Returns:
        The calibrated model (``model``), its calibration nodes (``rows``) and the run.

    Raises:
        HmctTrackError: the input is at fault, such as a NaN in a tensor, or the run failed.
    """
    given = {**locals(), "types": types or {}}
    from hmct_track.analyses.runner import run_command

    result: CalibrationResult = run_command("calibrate", given)
    return result


def diagnose(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any],
    *,
    metric: str = "cosine-similarity",
    nodes: str | Sequence[str] | None = None,
    top: int = 10,
    allow: str | Sequence[str] = "horizon",
    data_num: int | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    output: str | Sequence[str] | None = None,
    score: Scores = None,
    labels: Any = None,
    **recording: Unpack[Recording],
) -> Result:
    """Say why nodes cost accuracy, and what mends them: causes and remedies, measured.

    Of several samples, remedies are fitted on those at even positions and judged on the others.

    Args:
        model_or_file: the calibrated model, as a path or a proto.
        calibrated_data: the folder of calibration data, a `CalibrationDataSet`, or a mapping of
            input names to arrays.
        metric: what ranks nodes and remedies.
        nodes: names, patterns or module paths; by default the ``top`` worst.
        top: how many of the worst nodes are diagnosed.
        allow: what the toolchain can express: presets (``horizon``, ``onnxruntime``, ``all``) or
            names of remedies; see docs/diagnosis.md.
        data_num: number of samples to use; None for all.
        save_dir: folder to which texts are written as well.
        output: compare only these outputs, or parts of them.
        score: scores as in `hmct_track.debug.get_sensitivity_of_nodes`; what the whole model
            and each node alone lose of them is told.
        labels: likewise.
        **recording: see `Recording`.

    Returns:
        The causes (``rows``), the words (``answer.analysis.text(answer)``), and the run; the
        remedies are the rows of the query ``remedies``.

    Raises:
        HmctTrackError: the input is at fault, or the run failed.
    """
    given = {**locals()}
    from hmct_track.analyses.runner import run_command

    result: Result = run_command("diagnose", given)
    return result


def mend(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any],
    output: str | os.PathLike[str] | None = None,
    *,
    nodes: str | Sequence[str] | None = None,
    allow: str | Sequence[str] = "horizon",
    data_num: int | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    score: Scores = None,
    labels: Any = None,
    **recording: Unpack[Recording],
) -> MendResult:
    """Mend a model by free remedies, chosen by measuring and verified on other samples.

    Of every four samples two choose, one checks, and one is held out until the end.

    Args:
        model_or_file: a calibrated model, as a path or a proto; a float one is calibrated with
            maxima first.
        calibrated_data: the folder of calibration data, a `CalibrationDataSet`, or a mapping of
            input names to arrays; at least four samples.
        output: where the mended model is written, with its report, if it is better.
        nodes: only these nodes are mended: quantizers of what nodes read, and their biases; names,
            patterns and module paths. None for the whole model.
        allow: what the toolchain can express; see `diagnose`. What is not free is left out.
        data_num: number of samples to use; None for all.
        save_dir: folder to which texts are written as well.
        score: scores as in `hmct_track.debug.get_sensitivity_of_nodes`; the model is scored before
            and after on the held-out samples.
        labels: likewise.
        **recording: see `Recording`.

    Returns:
        The mended model (``model``), None where it is not better on the held-out samples; the model
        before and after (``rows``), and the run.

    Raises:
        HmctTrackError: the input is at fault, or the run failed.
    """
    given = {**locals()}
    from hmct_track.analyses.runner import run_command

    result: MendResult = run_command("mend", given)
    return result


def inspect_model(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    float_model: str | os.PathLike[str] | onnx.ModelProto | None = None,
) -> Inspection:
    """What the tool sees in a model: its nodes, how they are quantized, and what is odd.

    Args:
        model_or_file: a calibrated, QDQ or float model, as a path or a proto.
        float_model: the model that was quantized, for a QDQ model whose weights are integers.

    Raises:
        ModelError: the model cannot be read, or holds what is not understood.
    """
    from hmct_track.reading.inspect import inspect

    return inspect(model_or_file, float_model)


def plan(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any],
    target: str | None = None,
    *,
    max_cost: str | None = None,
    metric: str = "sqnr",
    moves: str | Sequence[str] = ("int16",),
    allow: str | Sequence[str] = "horizon",
    nodes: str | Sequence[str] | None = None,
    raised: str | Sequence[str] | None = None,
    granularity: str = "node",
    cost: str = "macs",
    boundary: str | None = None,
    data_num: int | None = None,
    held_out: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any] | None = None,
    held_out_share: float = 0.25,
    confidence: float = 0.9,
    budget: float | None = None,
    take: int | None = None,
    output_folder: str | os.PathLike[str] | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    output: str | Sequence[str] | None = None,
    score: Scores = None,
    labels: Any = None,
    **recording: Unpack[Recording],
) -> PlanResult:
    """Find the cheapest mixed precision that meets a target.

    Args:
        model_or_file: the calibrated model, as a path or a proto.
        calibrated_data: the folder of calibration data, a `CalibrationDataSet`, or a mapping of
            input names to arrays.
        target: what to reach, such as ``sqnr >= 30``, ``cosine-similarity >= 0.99``, or
            ``error <= 10 %`` of the fully quantized model's mean squared error.
        max_cost: instead of a target, the highest cost: a share such as ``30 %`` of changing
            everything, or a number in the unit of ``cost``.
        metric: what is best, with ``max_cost``, and what is shown beside a score.
        moves: what nodes may become: ``int16``, ``float16``, ``float32``; with ``free`` as well,
            what costs nothing at run time is done first, as `mend` does it.
        allow: what the toolchain can express, of which ``free`` chooses; see `diagnose`.
        nodes: only these may change; None for all.
        raised: these become the first of ``moves`` in any case, and count in the cost; what else
            changes is chosen around them.
        granularity: ``node`` (with its weight and inputs; those that share a quantizer together)
            or ``calibration`` (each calibration node).
        cost: ``macs`` (multiply-accumulates times bits), ``bytes`` (of weights), ``nodes``, or the
            path of a CSV with the columns node, type and cost.
        boundary: what is added to the cost wherever a node reads what one of another type gives: a
            number in the unit of ``cost``, or a share of changing everything such as ``0.5 %``.
        data_num: number of samples; None for all.
        held_out: samples that choose nothing and judge the plan once.
        held_out_share: share of the samples that is set aside for that, where ``held_out`` is not
            given; 0 to below 1.
        confidence: with which the target is to hold on samples held out, 0.5 (no margin) to 0.99.
        budget: seconds after which the best so far is taken.
        take: the step of the frontier to take instead of the plan.
        output_folder: where models and files for toolchains are written.
        save_dir: where the figure and the text are saved.
        output: compare only these outputs, or parts of them.
        score: scores as in `hmct_track.debug.get_sensitivity_of_nodes`; then a target may be
            ``top1 drop <= 0.5 %``.
        labels: likewise.
        **recording: see `Recording`.

    Returns:
        The plan (``config``, ``types``), what it keeps (``summary``), its nodes (``rows``), the
        ``frontier`` and the run.

    Raises:
        HmctTrackError: the target is met already or cannot be reached, the input is at fault, or
            the run failed.
    """
    given = {**locals()}
    from hmct_track.analyses.runner import run_command

    result: PlanResult = run_command("plan", given)
    return result
