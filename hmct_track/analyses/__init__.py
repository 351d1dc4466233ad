"""The analyses: one module each, with all that there is to know of it.

docs/adding-an-analysis.md tells how to add one. Those that ship are loaded when first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hmct_track.analyses.base import (
    Analysis,
    Answer,
    Result,
    Round,
    Seen,
    data_num,
    metric,
    output,
    save_dir,
)
from hmct_track.analyses.registry import ANALYSES, analysis_of_kind, register
from hmct_track.report.drawings import Drawing

if TYPE_CHECKING:
    from hmct_track.analyses.calibrate import Calibrate
    from hmct_track.analyses.diagnose import Diagnose
    from hmct_track.analyses.get_channelwise_data_distribution import (
        GetChannelwiseDataDistribution,
    )
    from hmct_track.analyses.get_sensitivity_of_nodes import GetSensitivityOfNodes
    from hmct_track.analyses.interactions import Interactions
    from hmct_track.analyses.local_errors import LocalErrors
    from hmct_track.analyses.mend import Mend
    from hmct_track.analyses.plan import Plan
    from hmct_track.analyses.plan_check import PlanCheck
    from hmct_track.analyses.plot_acc_error import PlotAccError
    from hmct_track.analyses.plot_distribution import PlotDistribution
    from hmct_track.analyses.runall import Runall
    from hmct_track.analyses.select_sensitive_samples import SelectSensitiveSamples
    from hmct_track.analyses.sensitivity_analysis import SensitivityAnalysis

__all__ = [
    "ANALYSES",
    "Analysis",
    "Answer",
    "Calibrate",
    "Diagnose",
    "Drawing",
    "GetChannelwiseDataDistribution",
    "GetSensitivityOfNodes",
    "Interactions",
    "LocalErrors",
    "Mend",
    "Plan",
    "PlanCheck",
    "PlotAccError",
    "PlotDistribution",
    "Result",
    "Round",
    "Runall",
    "Seen",
    "SelectSensitiveSamples",
    "SensitivityAnalysis",
    "analysis_of_kind",
    "data_num",
    "metric",
    "output",
    "register",
    "save_dir",
]


def __getattr__(name: str) -> Any:
    command = ANALYSES.classes().get(name)
    if command is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return ANALYSES[command]
