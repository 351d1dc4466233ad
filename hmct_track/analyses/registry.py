"""All analyses by the word of their command."""

from __future__ import annotations

from typing import TypeVar

from hmct_track.analyses.base import Analysis

ANALYSES: dict[str, type[Analysis]] = {}
"""Command to analysis, in the order of the help."""

_A = TypeVar("_A", bound=type[Analysis])


def register(analysis: _A) -> _A:
    """Have an analysis among the commands, in forms and tables; may stand above its class."""
    ANALYSES[analysis.command] = analysis
    return analysis


def analysis_of_kind(kind: str) -> type[Analysis] | None:
    """The analysis whose runs the lake calls so; None if this version knows none."""
    return next((a for a in ANALYSES.values() if a.kind == kind), None)
