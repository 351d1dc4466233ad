"""How MLflow's web UI shows the runs: its own kind of experiment, and a view saved in it."""

from __future__ import annotations

import json
from typing import Any

VIEW = "hmct-track"
"""The id of the saved view, which an address of the web UI names."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"

_WHOLE = "whole.cosine-similarity"
_METHOD = "calibration_method"
_TYPE = "node_type"
_COLUMNS = (
    f"metrics.`{_WHOLE}`",
    "tags.`hmct_track.worst_node`",
    "params.`model`",
    f"params.`{_METHOD}`",
    "params.`data_num`",
    f"params.`{_TYPE}`",
)
_WIDTHS = {_COLUMNS[0]: 170, _COLUMNS[1]: 170, _COLUMNS[2]: 150, _COLUMNS[3]: 170}


def experiment_tags() -> dict[str, str]:
    """Tags of an experiment of ours.

    The first says that it holds runs, not traces. The second is a saved view, in the form that
    MLflow's web UI (3.17) writes itself: columns of the list, and charts that compare runs.
    """
    view = {"name": VIEW, "createdAt": 0, "state": json.dumps(_state(), separators=(",", ":"))}
    return {
        "mlflow.experimentKind": "custom_model_development",
        VIEW_TAG: json.dumps(view, separators=(",", ":")),
    }


def _state() -> dict[str, Any]:
    sections = {"overview": "Overview", "model": "Model metrics", "system": "System metrics"}
    return {
        "selectedColumns": list(_COLUMNS),
        "columnOrder": list(_COLUMNS),
        "columnWidths": dict(_WIDTHS),
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "compareRunCharts": [_parallel(), _bar()],
        "compareRunSections": [
            {"uuid": uuid, "name": name, "display": True, "isReordered": False}
            for uuid, name in sections.items()
        ],
        "isAccordionReordered": True,
    }


def _parallel() -> dict[str, Any]:
    return {
        "uuid": "parallel",
        "type": "PARALLEL",
        "metricSectionId": "overview",
        "isGenerated": False,
        "deleted": False,
        "runsCountToCompare": 100,
        "showAllRuns": False,
        "selectedParams": [_METHOD, _TYPE],
        "selectedMetrics": [_WHOLE],
    }


def _bar() -> dict[str, Any]:
    return {
        "uuid": "whole",
        "type": "BAR",
        "metricSectionId": "overview",
        "isGenerated": False,
        "deleted": False,
        "runsCountToCompare": 100,
        "metricKey": _WHOLE,
    }
