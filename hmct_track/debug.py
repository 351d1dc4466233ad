"""The documented functions: ``import hmct_track.debug as dbg``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hmct_track.errors import UsageError

if TYPE_CHECKING:
    import onnx

    from hmct_track.data import CalibrationDataSet

__all__ = ["get_sensitivity_of_nodes"]


def get_sensitivity_of_nodes(
    model_or_file: str | os.PathLike[str] | onnx.ModelProto,
    metrics: str | Sequence[str] = "cosine-similarity",
    calibrated_data: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Any] | None = None,
    output_node: str | None = None,
    node_type: str = "node",
    data_num: int | None = 1,
    verbose: bool = False,
    interested_nodes: str | Sequence[str] | None = None,
    *,
    lake: str | os.PathLike[str] | None = None,
    experiment: str | None = None,
    track: bool = True,
    progress: bool = True,
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
            ``weight`` or ``activation`` (one calibration node).
        data_num: number of samples to use; None for all.
        verbose: print the table.
        interested_nodes: rank only these nodes, of whatever type.
        lake: folder of the lake; by default what HMCT_LAKE says, else ``./hmct_lake``.
        experiment: MLflow experiment; by default what MLFLOW_EXPERIMENT_NAME says, else
            ``hmct-track``.
        track: whether to log the run to MLflow. The lake has it either way.
        progress: whether to show progress on stderr.

    Returns:
        Node name to metric name to value, most sensitive first. Means over samples, then outputs.

    Raises:
        HmctTrackError: the input is at fault (then nothing was written), or the run failed.
    """
    from hmct_track.lake import lake_path
    from hmct_track.workflow.run import Options
    from hmct_track.workflow.sensitivity import SensitivityRequest, rank_nodes

    if calibrated_data is None:
        raise UsageError("calibrated_data is required: a folder, a CalibrationDataSet or a mapping")
    request = SensitivityRequest(
        model_or_file,
        calibrated_data,
        metrics,
        output_node,
        node_type,
        data_num,
        interested_nodes,
    )
    options = Options(lake_path(lake), experiment, track, progress)
    return rank_nodes(request, options, print if verbose else None).as_dict()
