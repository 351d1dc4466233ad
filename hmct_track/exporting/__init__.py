"""A plan in the words of toolchains: pure functions from a plan to texts.

What a format cannot say is listed with each text, not dropped.
"""

from hmct_track.exporting.aimet import aimet_encodings
from hmct_track.exporting.horizon import horizon_node_info, horizon_quant_config
from hmct_track.exporting.lists import modelopt_exclusions, nncf_scope
from hmct_track.exporting.onnxruntime_tool import onnxruntime_script
from hmct_track.exporting.quark import quark_config
from hmct_track.exporting.view import Exported, NodePlan, PlanView, TensorPlan

EXPORTERS = {
    "horizon_quant_config.json": horizon_quant_config,
    "horizon_node_info.yaml": horizon_node_info,
    "onnxruntime_quantize.py": onnxruntime_script,
    "aimet.encodings": aimet_encodings,
    "quark_config.json": quark_config,
    "nncf_ignored_scope.json": nncf_scope,
    "modelopt_exclude.txt": modelopt_exclusions,
}
"""File name to what writes it."""

__all__ = [
    "EXPORTERS",
    "Exported",
    "NodePlan",
    "PlanView",
    "TensorPlan",
    "aimet_encodings",
    "horizon_node_info",
    "horizon_quant_config",
    "modelopt_exclusions",
    "nncf_scope",
    "onnxruntime_script",
    "quark_config",
]
