"""Writing HzCalibration nodes, and checking that they fit what they quantize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import helper

from hmct_track.errors import ModelError
from hmct_track.types import QuantParams


def make_calibration(
    name: str, source: str, target: str, params: QuantParams, *, constant: int | None = None
) -> onnx.NodeProto:
    """An HzCalibration node from tensor ``source`` to ``target``.

    Args:
        name: of the node.
        source: what it quantizes.
        target: what it gives out.
        params: how it quantizes.
        constant: 0 for an activation, 1 for a weight; where it is not said the graph tells.
    """
    attributes: dict[str, Any] = {"qtype": params.qtype.name, "axis": params.axis}
    if params.scales:
        attributes["scales"] = list(params.scales)
    if params.thresholds:
        attributes["thresholds"] = list(params.thresholds)
    if any(params.zero_points):
        attributes["zero_point"] = list(params.zero_points)
    if constant is not None:
        attributes["constant"] = constant
    return helper.make_node(
        "HzCalibration", [source], [target], name=name, domain="horizon", **attributes
    )


def check_channels(name: str, axis: int, scales: int, shape: Sequence[int | None]) -> None:
    """Complain if the input of calibration node ``name`` has not one channel for each scale.

    Raises:
        ModelError: the axis is outside ``shape``, or is known to have another number of channels.
    """
    if not -len(shape) <= axis < len(shape):
        raise ModelError(
            f"calibration node {name!r}: attribute axis={axis} is outside its input of shape "
            f"{list(shape)}"
        )
    if shape[axis] not in (None, scales):
        raise ModelError(
            f"calibration node {name!r}: attribute scales has {scales} entries, but axis {axis} "
            f"of its input of shape {list(shape)} has {shape[axis]} channels"
        )
