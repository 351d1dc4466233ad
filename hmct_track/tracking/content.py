"""What MLflow is told of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hmct_track.types import RunState


@dataclass(frozen=True)
class NestedRun:
    """A run below another: one configuration, or one curve."""

    name: str
    params: Mapping[str, Any]
    summary: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class RunInput:
    """What a run was given, shown by MLflow among its datasets."""

    name: str
    digest: str
    """Content hash."""
    source: str
    context: str
    """What it is to the run: model, or calibration data."""
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class TrackedRun:
    """Everything that MLflow is told about one run."""

    name: str
    experiment: str
    state: RunState
    started_ms: int
    ended_ms: int
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    summary: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """Metric name to (step, value); values that are not finite are left out of a curve."""
    system: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """Metric name to (milliseconds since 1970, value)."""
    texts: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    nested: Sequence[TrackedRun | NestedRun] = ()
    inputs: Sequence[RunInput] = ()
    note: str = ""
    """Markdown that the web UI shows on top of the run."""


@dataclass(frozen=True)
class Tracked:
    """Where MLflow keeps a run."""

    run_id: str
    uri: str
    """Without secrets."""
    nested: tuple[str, ...]
    """Run ids of the nested runs, in order."""
