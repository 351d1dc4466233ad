"""All analyses by the word of their command; the module of each is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TypeVar

from hmct_track.analyses.base import Analysis

_SHIPPED = {
    "get-sensitivity-of-nodes": "GetSensitivityOfNodes",
    "plot-acc-error": "PlotAccError",
    "plot-distribution": "PlotDistribution",
    "get-channelwise-data-distribution": "GetChannelwiseDataDistribution",
    "sensitivity-analysis": "SensitivityAnalysis",
    "runall": "Runall",
    "select-sensitive-samples": "SelectSensitiveSamples",
    "local-errors": "LocalErrors",
    "interactions": "Interactions",
    "diagnose": "Diagnose",
    "mend": "Mend",
    "device": "Device",
    "plan": "Plan",
    "plan-check": "PlanCheck",
    "calibrate": "Calibrate",
}
"""Command to class, in the order of the help. The module has the command's name."""

_A = TypeVar("_A", bound=type[Analysis])


class Registry(MutableMapping[str, type[Analysis]]):
    """Command to analysis. Its names are known without loading any."""

    def __init__(self, shipped: Mapping[str, str]) -> None:
        self._shipped = dict(shipped)
        self._loaded: dict[str, type[Analysis]] = {}

    def __getitem__(self, command: str) -> type[Analysis]:
        if command not in self._loaded:
            name = self._shipped[command]
            module = import_module(f"hmct_track.analyses.{command.replace('-', '_')}")
            self._loaded[command] = getattr(module, name)
        return self._loaded[command]

    def __setitem__(self, command: str, analysis: type[Analysis]) -> None:
        self._loaded[command] = analysis

    def __delitem__(self, command: str) -> None:
        del self._loaded[command]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._shipped, *self._loaded]))

    def __len__(self) -> int:
        return len(self._shipped.keys() | self._loaded.keys())

    def classes(self) -> dict[str, str]:
        """Name of each class that ships to its command."""
        return {name: command for command, name in self._shipped.items()}


ANALYSES = Registry(_SHIPPED)


def register(analysis: _A) -> _A:
    """Have an analysis among the commands, in forms and tables; may stand above its class."""
    ANALYSES[analysis.command] = analysis
    return analysis


def analysis_of_kind(kind: str) -> type[Analysis] | None:
    """The analysis whose runs the lake calls so; None if this version knows none."""
    return next((a for a in ANALYSES.values() if a.kind == kind), None)
