"""The analyses: one module each, with all that there is to know of it.

CONTRIBUTING.md tells how to add one.
"""

from hmct_track.analyses.base import (
    Analysis,
    Answer,
    Drawing,
    Result,
    Round,
    Seen,
    data_num,
    metric,
    save_dir,
)
from hmct_track.analyses.calibrate import Calibrate
from hmct_track.analyses.get_channelwise_data_distribution import GetChannelwiseDataDistribution
from hmct_track.analyses.get_sensitivity_of_nodes import GetSensitivityOfNodes
from hmct_track.analyses.local_errors import LocalErrors
from hmct_track.analyses.plan import Plan
from hmct_track.analyses.plan_check import PlanCheck
from hmct_track.analyses.plot_acc_error import PlotAccError
from hmct_track.analyses.plot_distribution import PlotDistribution
from hmct_track.analyses.registry import ANALYSES, analysis_of_kind, register
from hmct_track.analyses.runall import Runall
from hmct_track.analyses.select_sensitive_samples import SelectSensitiveSamples
from hmct_track.analyses.sensitivity_analysis import SensitivityAnalysis

for _analysis in (
    GetSensitivityOfNodes,
    PlotAccError,
    PlotDistribution,
    GetChannelwiseDataDistribution,
    SensitivityAnalysis,
    Runall,
    SelectSensitiveSamples,
    LocalErrors,
    Plan,
    PlanCheck,
    Calibrate,
):
    register(_analysis)

__all__ = [
    "ANALYSES",
    "Analysis",
    "Answer",
    "Calibrate",
    "Drawing",
    "GetChannelwiseDataDistribution",
    "GetSensitivityOfNodes",
    "LocalErrors",
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
    "register",
    "save_dir",
]
