"""The documented functions: ``import hmct_track.debug as dbg``.

Every function also takes the keywords of `Recording`, which say where its run is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

if TYPE_CHECKING:
    import distributed
    import onnx

    from hmct_track.analyses.base import Result
    from hmct_track.analyses.plot_acc_error import Selection
    from hmct_track.analyses.runall import RunallResult
    from hmct_track.analyses.select_sensitive_samples import SamplesResult
    from hmct_track.data import CalibrationDataSet

__all__ = [
    "get_channelwise_data_distribution",
    "get_sensitivity_of_nodes",
    "plot_acc_error",
    "plot_distribution",
    "runall",
    "select_sensitive_samples",
    "sensitivity_analysis",
]


Scores = str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None
"""Scores of the user's own: names, functions, classes or a list of them."""


class Recording(TypedDict, total=False):
    """Where a run is kept, what it shows, and what it may use."""

    lake: str | os.PathLike[str] | None
    """Folder of the lake; by default what HMCT_LAKE says, else ``./hmct_lake``."""
    experiment: str | None
    """MLflow experiment; by default what MLFLOW_EXPERIMENT_NAME says, else ``hmct-track``."""
    track: bool
    """Whether to log the run to MLflow (default). The lake has it either way."""
    wait: bool
    """Whether to return only when MLflow has the run; by default a process of its own tells it."""
    progress: bool
    """Whether to show progress on stderr (default)."""
    reuse: bool
    """Whether to take from the lake what was measured before (default)."""
    float_model: str | os.PathLike[str] | onnx.ModelProto | None
    """The model that was quantized: gives a QDQ model's integer weights their float values."""
    threads: int | None
    """Cores to use; all that the process may use by default."""
    memory: int | None
    """Bytes that tensors held for several samples may take; a quarter of the machine's by default.
    """
    providers: Sequence[str]
    """onnxruntime's execution providers, the preferred first; the CPU's by default."""
    scheduler: str | distributed.Client | None
    """Of Dask: its address, such as ``tcp://host:8786``, or a client; its workers measure."""
    workers: int | None
    """Processes on this machine that measure, by Dask; by default this one does."""


def get_sensitivity_of_nodes(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    metrics: str | Sequence[str] = "cosine-similarity",
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any] | None = None,
    output_node: str | None = None,
    node_type: str = "node",
    data_num: int | None = 1,
    verbose: bool = False,
    interested_nodes: str | Sequence[str] | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    *,
    output: str | Sequence[str] | None = None,
    top: int | None = None,
    budget: float | None = None,
    confidence: float = 0.95,
    intervals: bool = False,
    score: Scores = None,
    labels: Any = None,
    share: bool = False,
    **recording: Unpack[Recording],
) -> dict[str, dict[str, float]]:
    """Rank nodes by how much the output changes when each alone is quantized.

    Args:
        model_or_file: the calibrated model, as a path or a proto.
        metrics: ``cosine-similarity``, ``mse``, ``mre``, ``sqnr``, ``chebyshev``, or a list of
            them; the first one ranks.
        calibrated_data: the folder of calibration data, a `CalibrationDataSet`, or a mapping of
            input names to arrays. Required.
        output_node: compare at this node's output instead of the model's.
        node_type: what is quantized alone: ``node`` (a general node's inputs and weights),
            ``weight`` or ``activation`` (one calibration node), or ``output`` (the quantizers of
            what a general node gives out).
        data_num: number of samples to use; None for all.
        verbose: print the table.
        interested_nodes: rank only these nodes, of whatever type.
        save_dir: folder for the table (``sensitivity_of_<type>.log``) and the figure.
        output: compare only these outputs of the model, or parts of them in their own units, such
            as ``output0[:, 4:]`` or ``output0[:, 4:]/rms(1)``; a text or a list.
        top: stop as soon as so many most sensitive nodes are known, which needs several samples of
            few nodes only; every node on every sample by default.
        budget: stop after so many seconds from the call, with what is known by then.
        confidence: how sure the top and the intervals are to be, between 0 and 1.
        intervals: print the table with intervals of the first metric and of the ranks.
        score: your own number, which ranks then: ``top1``, ``top5``, ``same-top1``,
            ``FILE.py:NAME``, ``package.module:NAME``, a function of outputs and label, a class with
            the methods ``sample`` and ``total``, or a list of them; docs/scores.md has all of it.
        labels: what scores get of each sample: a folder, CSV, .npz or .npy file, a mapping of
            sample names, or a sequence in the data's order.
        share: measure also what share of the whole model's error is gone without each node.
        **recording: see `Recording`.

    Returns:
        Node name to score and metric name to value, most sensitive first. Means over samples, then
        outputs.
        A notebook shows this dict as a table and a figure; it has ``rows``, ``to_frame()``,
        ``figures`` and ``run_id`` as well.

    Raises:
        HmctTrackError: the input is at fault (then nothing was written), or the run failed.
    """
    given = locals()
    from hmct_track.analyses.get_sensitivity_of_nodes import Ranking

    return Ranking(_run("get-sensitivity-of-nodes", given))


def plot_acc_error(
    save_dir: str | os.PathLike[str] | None = None,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any] | None = None,
    model_or_file: str | os.PathLike[str] | onnx.ModelProto | None = None,
    quantize_node: Selection = None,
    non_quantize_node: Selection = None,
    metric: str = "cosine-similarity",
    average_mode: bool = False,
    *,
    data_num: int | None = 1,
    **recording: Unpack[Recording],
) -> Result:
    """Plot how the error grows from node to node when only some nodes are quantized.

    Args:
        save_dir: folder for the figure.
        calibrated_data: as in `get_sensitivity_of_nodes`. Required.
        model_or_file: the calibrated model, as a path or a proto. Required.
        quantize_node: quantize only these: a list gives a curve per node, a nested list one per
            inner list; ``weight`` and ``activation`` stand for all of a kind.
        non_quantize_node: quantize all but these: a list, or a nested list. Exactly one of the two
            is required.
        metric: one of the five metrics.
        average_mode: plot at the nth node the mean of the first n.
        data_num: number of samples to use; None for all.
        **recording: see `Recording`.

    Returns:
        The points of the curves, those of the fully quantized model among them, and the figure.

    Raises:
        HmctTrackError: the input is at fault (then nothing was written), or the run failed.
    """
    result: Result = _run("plot-acc-error", locals())
    return result


def plot_distribution(
    save_dir: str | os.PathLike[str] | None = None,
    model_or_file: str | os.PathLike[str] | onnx.ModelProto | None = None,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any] | None = None,
    nodes_list: str | Sequence[str] = (),
    *,
    data_num: int | None = 1,
    **recording: Unpack[Recording],
) -> Result:
    """Plot how the data of nodes are distributed.

    Args:
        save_dir: folder for the figures, one per node.
        model_or_file: the calibrated model, as a path or a proto. Required.
        calibrated_data: as in `get_sensitivity_of_nodes`. Required.
        nodes_list: nodes of any type: of a weight calibration node the weights before and after
            quantization are plotted, of an activation calibration node its input, of a general node
            its output in the float and in the calibrated model, and the difference. Required.
        data_num: number of samples to use; None for all.
        **recording: see `Recording`.

    Returns:
        Summary statistics of each series, and the figures.

    Raises:
        HmctTrackError: the input is at fault (then nothing was written), or the run failed.
    """
    result: Result = _run("plot-distribution", locals())
    return result


def get_channelwise_data_distribution(
    save_dir: str | os.PathLike[str] | None = None,
    model_or_file: str | os.PathLike[str] | onnx.ModelProto | None = None,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any] | None = None,
    nodes_list: str | Sequence[str] = (),
    axis: int | None = None,
    *,
    data_num: int | None = 1,
    **recording: Unpack[Recording],
) -> Result:
    """Draw box plots of the channels of what calibration nodes take in.

    Args:
        save_dir: folder for the figures, one per node.
        model_or_file: the calibrated model, as a path or a proto. Required.
        calibrated_data: as in `get_sensitivity_of_nodes`. Required.
        nodes_list: weight and activation calibration nodes. Required.
        axis: the dimension that holds the channels; by default 1, and of a weight calibration node
            its own axis.
        data_num: number of samples to use; None for all.
        **recording: see `Recording`.

    Returns:
        Box statistics of each channel, and the figures.

    Raises:
        HmctTrackError: the input is at fault (then nothing was written), or the run failed.
    """
    result: Result = _run("get-channelwise-data-distribution", locals())
    return result


def sensitivity_analysis(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any],
    pick_threshold: float = 0.999,
    data_num: int | None = 1,
    sensitive_nodes: str | Sequence[str] | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    *,
    metric: str = "cosine-similarity",
    qtype: str = "float32",
    output: str | Sequence[str] | None = None,
    score: Scores = None,
    labels: Any = None,
    **recording: Unpack[Recording],
) -> Result:
    """Test what leaving the sensitive nodes out of quantization, one after the other, gives.

    Args:
        model_or_file: the calibrated model, as a path or a proto.
        calibrated_data: as in `get_sensitivity_of_nodes`.
        pick_threshold: nodes whose metric, quantized alone, is worse than this are sensitive.
        data_num: number of samples to use; None for all.
        sensitive_nodes: test these nodes, in this order, instead of picking them.
        save_dir: folder for the figure.
        metric: one of the five metrics.
        qtype: what the sensitive nodes become: ``float32`` (not quantized), ``int16`` or
            ``float16``.
        output: compare only these outputs of the model, or parts of them in their own units, such
            as ``output0[:, 4:]`` or ``output0[:, 4:]/rms(1)``; a text or a list.
        score: as in `get_sensitivity_of_nodes`.
        labels: likewise.
        **recording: see `Recording`.

    Returns:
        The steps, from the fully quantized model on, and the figure.

    Raises:
        HmctTrackError: the input is at fault (then nothing was written), or the run failed.
    """
    result: Result = _run("sensitivity-analysis", locals())
    return result


def runall(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any],
    save_dir: str | os.PathLike[str] | None = None,
    ns_metrics: str | Sequence[str] = "cosine-similarity",
    output_node: str | None = None,
    node_type: str | None = None,
    data_num: int | None = None,
    verbose: bool = False,
    interested_nodes: str | Sequence[str] | None = None,
    dis_nodes_list: str | Sequence[str] | None = None,
    cw_nodes_list: str | Sequence[str] | None = None,
    axis: int | None = None,
    quantize_node: Selection = None,
    non_quantize_node: Selection = None,
    ae_metric: str = "cosine-similarity",
    average_mode: bool = False,
    pick_threshold: float = 0.999,
    sensitive_nodes: str | Sequence[str] | None = None,
    *,
    output: str | Sequence[str] | None = None,
    score: Scores = None,
    labels: Any = None,
    **recording: Unpack[Recording],
) -> RunallResult:
    """Run all analyses under one run, with a page that shows them.

    Args:
        model_or_file: the calibrated model, as a path or a proto.
        calibrated_data: as in `get_sensitivity_of_nodes`.
        save_dir: folder for a page, ``index.html``, and a folder of figures for each step.
        ns_metrics: metrics of the rankings; the first one ranks.
        output_node: rank by this node's output instead of the model's.
        node_type: rank nodes of this type; by default weights and then activations.
        data_num: number of samples to use; None for all.
        verbose: print the rankings.
        interested_nodes: rank only these nodes.
        dis_nodes_list: nodes whose distribution is plotted; by default the calibration nodes of the
            five most sensitive nodes of each ranking.
        cw_nodes_list: calibration nodes whose channels are plotted; by default the same.
        axis: the dimension that holds the channels.
        quantize_node: selections of `plot_acc_error`; by default ``weight`` and ``activation``.
        non_quantize_node: likewise.
        ae_metric: metric of the error curves.
        average_mode: whether the error curves are running means.
        pick_threshold: as in `sensitivity_analysis`.
        sensitive_nodes: as in `sensitivity_analysis`.
        output: compare only these outputs of the model, or parts of them in their own units, such
            as ``output0[:, 4:]`` or ``output0[:, 4:]/rms(1)``; a text or a list.
        score: as in `get_sensitivity_of_nodes`; the rankings are by it, too.
        labels: likewise.
        **recording: see `Recording`.

    Returns:
        The results of the steps.

    Raises:
        HmctTrackError: the input is at fault (then nothing was written), or the run failed.
    """
    result: RunallResult = _run("runall", locals())
    return result


def select_sensitive_samples(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any],
    metric: str = "cosine-similarity",
    data_num: int | None = None,
    sample_num: int = 1,
    save_dir: str | os.PathLike[str] | None = None,
    *,
    output: str | Sequence[str] | None = None,
    score: Scores = None,
    labels: Any = None,
    **recording: Unpack[Recording],
) -> SamplesResult:
    """Find the samples on which full quantization hurts most.

    Args:
        model_or_file: the calibrated model, as a path or a proto.
        calibrated_data: as in `get_sensitivity_of_nodes`.
        metric: the metric of the model's outputs that ranks the samples.
        data_num: number of samples to rank; None for all.
        sample_num: number of samples to keep.
        save_dir: folder for the table and for the kept samples, as ``calibration_data``.
        output: compare only these outputs of the model, or parts of them in their own units, such
            as ``output0[:, 4:]`` or ``output0[:, 4:]/rms(1)``; a text or a list.
        score: as in `get_sensitivity_of_nodes`.
        labels: likewise.
        **recording: see `Recording`.

    Returns:
        The samples, the worst first; ``data`` holds the kept ones for other functions.

    Raises:
        HmctTrackError: the input is at fault (then nothing was written), or the run failed.
    """
    result: SamplesResult = _run("select-sensitive-samples", locals())
    return result


def _run(command: str, given: Mapping[str, Any]) -> Any:
    from hmct_track.analyses.runner import run_command

    return run_command(command, given)
