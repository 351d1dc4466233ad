"""Find the nodes that cost a quantized neural network its accuracy, and keep what was found.

Names are loaded when first used, so that ``import hmct_track`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hmct_track.api import calibrate, diagnose, inspect_model, mend, plan
    from hmct_track.data import CalibrationDataSet
    from hmct_track.debug import get_sensitivity_of_nodes
    from hmct_track.errors import HmctTrackError
    from hmct_track.lake import Lake
    from hmct_track.reading.compare import compare
    from hmct_track.reading.graph import graph

__all__ = [
    "CalibrationDataSet",
    "HmctTrackError",
    "Lake",
    "calibrate",
    "compare",
    "diagnose",
    "get_sensitivity_of_nodes",
    "graph",
    "inspect_model",
    "mend",
    "plan",
]

_HOME = {
    "CalibrationDataSet": "data",
    "HmctTrackError": "errors",
    "Lake": "lake",
    "calibrate": "api",
    "compare": "reading.compare",
    "diagnose": "api",
    "get_sensitivity_of_nodes": "debug",
    "graph": "reading.graph",
    "inspect_model": "api",
    "mend": "api",
    "plan": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
