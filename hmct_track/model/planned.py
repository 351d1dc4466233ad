"""A configuration written into a calibrated model: each HzCalibration node says what it does."""

from __future__ import annotations

import onnx
from onnx import helper

from hmct_track.model.calibration_node import make_calibration
from hmct_track.model.graph import is_calibration
from hmct_track.model.lowering import effective_params, is_stored
from hmct_track.model.onnx_io import Skeleton, fill_skeleton
from hmct_track.model.reader import QuantModel
from hmct_track.types import CalibrationNode, Effect, QuantConfig, QuantParams, QuantType

_FLOAT = QuantParams(QuantType("float32"))
_RENEWED = ("qtype", "bits", "scales", "thresholds", "zero_point", "axis", "switch")


def planned_model(model: QuantModel, config: QuantConfig) -> tuple[Skeleton, list[str]]:
    """The model that does as calibrated what ``model`` does in ``config``, sharing its weights.

    All nodes have the names by which reports call them.

    Returns:
        The model, and what its attributes cannot say, a line each.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    unsaid = [f"node {name!r}: a shift of its output" for name in config.shifts]
    for node, name in zip(proto.graph.node, model.node_names, strict=True):
        node.name = name
        if is_calibration(node):
            _rewrite(node, model.calibration_by_name[name], config, unsaid)
    return fill_skeleton(proto, model.skeleton.weights, model.path), unsaid


def written_params(node: CalibrationNode, config: QuantConfig) -> QuantParams:
    """How a calibration node quantizes in a configuration; float32 where it does not.

    Weights that are held only as they were rounded keep the type that they were rounded to.
    """
    if node.fixed or (is_stored(node, config) and not node.is_correction):
        return node.params
    return effective_params(node, config) or _FLOAT


def source_of(node: CalibrationNode, config: QuantConfig) -> str:
    """What a calibration node reads in a configuration: perhaps the quantizer's own values."""
    return node.stored if node.stored and is_stored(node, config) else node.input


def _rewrite(
    node: onnx.NodeProto, calibration: CalibrationNode, config: QuantConfig, unsaid: list[str]
) -> None:
    params = written_params(calibration, config)
    if params.effect is not Effect.BOTH:
        unsaid.append(f"calibration node {calibration.name!r}: {params.effect} alone")
    if params.factors:
        unsaid.append(f"calibration node {calibration.name!r}: equalization factors")
    source, target = source_of(calibration, config), calibration.output
    made = make_calibration(calibration.name, source, target, params)
    others = [a for a in node.attribute if a.name not in _RENEWED]
    node.input[0] = source
    del node.attribute[:]
    node.attribute.extend([*others, *made.attribute])
    if not any(a.name == "constant" for a in others):
        node.attribute.append(helper.make_attribute("constant", int(calibration.kind == "weight")))
