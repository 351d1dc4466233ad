"""Questions about runs that commands, notebooks and the terminal UI ask alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from hmct_track.errors import UsageError
from hmct_track.lake.lake import Lake
from hmct_track.lake.rows import (
    CompareCalibrationRow,
    CompareChannelsRow,
    CompareDevicesRow,
    CompareDevicesSummaryRow,
    CompareNodesRow,
    CompareSettingsRow,
    CompareSummaryRow,
    RankingsRow,
    RunsRow,
)
from hmct_track.lake.schema import NOTES, TAGS
from hmct_track.types import Metric, NodeType

DEVICE = "device"
"""The kind of run that compares a device with the simulation."""

BASELINE = "baseline"
"""The tag that a gate compares with."""

TOLERANCE = 1e-6
"""A metric that changed by no more is said to be the same."""

_LATEST = re.compile(r"latest(?:~(\d+))?")
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_MOST_NAMED = 3
_LONGEST_NOTE = 1000
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class RunComparison:
    """Two rankings side by side: the rows of the queries ``compare_*``."""

    run_a: str
    run_b: str
    metric: Metric
    tolerance: float
    summary: CompareSummaryRow = field(repr=False)
    nodes: list[CompareNodesRow] = field(repr=False)
    """Worst change first."""
    calibration: list[CompareCalibrationRow] = field(repr=False)
    channels: list[CompareChannelsRow] = field(repr=False)
    settings: list[CompareSettingsRow] = field(repr=False)
    sure: Mapping[str, float | None] = field(default_factory=dict, repr=False)
    """Whether changes are more than chance, where that was looked at."""


@dataclass(frozen=True)
class DeviceComparison:
    """Two runs of kind device side by side: the rows of the queries ``compare_devices*``."""

    run_a: str
    run_b: str
    metric: Metric
    tolerance: float
    summary: CompareDevicesSummaryRow = field(repr=False)
    rows: list[CompareDevicesRow] = field(repr=False)
    """The tensors of each device, in topological order."""
    settings: list[CompareSettingsRow] = field(repr=False)


def find_runs(lake: Lake, **filters: Any) -> list[RunsRow]:
    """Runs, newest first: the rows of the query ``runs``.

    Args:
        lake: where to look.
        **filters: the query's optional parameters: kind, state, model, data, since, steps, most.
    """
    return lake.query("runs", **filters)


def find_run(lake: Lake, reference: str) -> RunsRow:
    """The run that a reference means.

    Args:
        lake: where to look.
        reference: a run id or a unique prefix of one, a tag, ``latest`` for the newest finished
            run, or ``latest~1`` for the one before.

    Raises:
        UsageError: it means no run, or several.
    """
    if latest := _LATEST.fullmatch(reference):
        most = int(latest[1] or 0) + 1
        return _newest(reference, find_runs(lake, state="FINISHED", most=most))
    return _named(lake, reference)


def find_ranking(
    lake: Lake,
    reference: str,
    *,
    node_type: NodeType = NodeType.NODE,
    model_id: str | None = None,
) -> RankingsRow:
    """The finished ranking that a reference means: a row of the query ``rankings``.

    Args:
        lake: where to look.
        reference: as in `find_run`; ``latest`` counts rankings of ``node_type``. A runall means
            its ranking of ``node_type``.
        node_type: what is ranked; a ranking given by its id may be of another.
        model_id: only rankings of this model; ``latest`` is then its newest.

    Raises:
        UsageError: it means no run, or several, or one that ranks no nodes.
    """
    if latest := _LATEST.fullmatch(reference):
        most = int(latest[1] or 0) + 1
        fitting = lake.query("rankings", node_type=node_type.value, model_id=model_id, most=most)
        return _newest(reference, fitting, f"finished ranking of {node_type}s")
    run = find_run(lake, reference)
    family = lake.query("rankings", family=run["run_id"])
    own = [row for row in family if row["run_id"] == run["run_id"]]
    steps = [
        row
        for row in family
        if row["parent_run_id"] == run["run_id"]
        and row["node_type"] == node_type
        and model_id in (None, row["model_id"])
    ]
    if not own and not steps:
        hint = "compare runs of get-sensitivity-of-nodes or runall"
        if run["kind"] == "calibration":
            hint += (
                " of the two models, or lay thresholds alone side by side: hmct-debugger sql -q "
                f"compare_calibration -p run_a={run['run_id']} -p run_b=... -p same=true"
            )
        raise UsageError(
            f"run {run['run_id']} ({run['kind']}, {run['state']}) is no finished ranking of "
            f"{node_type}s; {hint}"
        )
    return (own or steps)[0]


def compare_runs(
    lake: Lake,
    run_a: str,
    run_b: str,
    metric: Metric = Metric.COSINE_SIMILARITY,
    tolerance: float = TOLERANCE,
) -> RunComparison:
    """Compare two rankings by their full run ids; `find_ranking` gives them.

    Args:
        lake: where they are.
        run_a: before.
        run_b: after.
        metric: what is compared.
        tolerance: a change of the metric that is not larger counts as none.

    Raises:
        QueryError: a query failed.
    """
    both: dict[str, Any] = {"run_a": run_a, "run_b": run_b}
    measured = {**both, "metric": metric.value, "tolerance": tolerance}
    (summary,) = lake.query("compare_summary", **measured)
    return RunComparison(
        run_a,
        run_b,
        metric,
        tolerance,
        summary,
        lake.query("compare_nodes", **measured),
        lake.query("compare_calibration", **both),
        lake.query("compare_channels", **both),
        lake.query("compare_settings", **both),
    )


def find_device_runs(
    lake: Lake, references: Sequence[str], *, wanted: bool = False
) -> list[RunsRow]:
    """The finished runs of kind device that references mean.

    Args:
        lake: where to look.
        references: as in `find_run`; ``latest`` counts runs of kind device here.
        wanted: whether such runs are asked for; otherwise one of the references has to say so.

    Returns:
        A run for each reference; none where neither is of this kind.

    Raises:
        UsageError: a reference means no run, or one of them is of another kind.
    """
    runs = [None if _LATEST.fullmatch(r) else find_run(lake, r) for r in references]
    if not wanted and not any(run is not None and run["kind"] == DEVICE for run in runs):
        return []
    other = next((run for run in runs if run is not None and not _is_device_run(run)), None)
    if other is not None:
        raise UsageError(
            f"run {other['run_id']} ({other['kind']}, {other['state']}) is no finished run of "
            "device; compare two of one sort"
        )
    finished = find_runs(lake, kind=DEVICE, state="FINISHED")
    return [
        _newest(reference, finished, "finished run of device") if run is None else run
        for run, reference in zip(runs, references, strict=True)
    ]


def _is_device_run(run: RunsRow) -> bool:
    return run["kind"] == DEVICE and run["state"] == "FINISHED"


def compare_devices(
    lake: Lake,
    run_a: str,
    run_b: str,
    metric: Metric = Metric.COSINE_SIMILARITY,
    tolerance: float = TOLERANCE,
) -> DeviceComparison:
    """Compare two runs of kind device by their full ids; `find_device_runs` gives them.

    Args:
        lake: where they are.
        run_a: before.
        run_b: after.
        metric: of the distances.
        tolerance: a change of the metric that is not larger counts as none.

    Raises:
        QueryError: a query failed.
    """
    both: dict[str, Any] = {"run_a": run_a, "run_b": run_b}
    measured = {**both, "metric": metric.value, "tolerance": tolerance}
    (summary,) = lake.query("compare_devices_summary", **measured)
    rows = lake.query("compare_devices", **measured)
    settings = lake.query("compare_settings", **both)
    return DeviceComparison(run_a, run_b, metric, tolerance, summary, rows, settings)


def set_tag(lake: Lake, tag: str, run_id: str | None) -> None:
    """Point a tag at a run, away from the one it pointed at; at none to take it away.

    Raises:
        UsageError: it is no name for a tag.
        LakeError: it cannot be written.
    """
    if not _TAG.fullmatch(tag) or _LATEST.fullmatch(tag):
        raise UsageError(
            f"{tag!r} cannot be a tag; begin with a letter, go on with letters, digits, _ . or -, "
            "and do not call it latest"
        )
    now = datetime.now(UTC).replace(tzinfo=None)
    before = [row["version"] or 0 for row in lake.rows(TAGS) if row["tag"] == tag]
    version = max(before, default=0) + 1  # clocks go back
    lake.append(TAGS, [{"tag": tag, "run_id": run_id, "updated_at": now, "version": version}])


def tagged_runs(lake: Lake, tag: str) -> list[RunsRow]:
    """The run that a tag points at, if it does."""
    ids = [row["run_id"] for row in lake.rows(TAGS) if row["tag"] == tag and row["run_id"]]
    return [row for run_id in ids for row in find_runs(lake, run=run_id) if tag in row["tags"]]


def set_note(lake: Lake, run_id: str, note: str) -> None:
    """Write a remark on a run, in place of an earlier one; an empty one takes it away.

    Raises:
        UsageError: it is longer than 1000 characters, or more than a line.
        LakeError: it cannot be written.
    """
    if not note.isprintable() or len(note) > _LONGEST_NOTE:
        raise UsageError(
            f"a note of {len(note):,} characters cannot be kept; write one line of at most "
            f"{_LONGEST_NOTE:,}, without control characters"
        )
    now = datetime.now(UTC).replace(tzinfo=None)
    before = [row["version"] or 0 for row in lake.rows(NOTES, [run_id])]
    version = max(before, default=0) + 1  # clocks go back
    row = {"run_id": run_id, "note": note, "updated_at": now, "version": version}
    lake.append(NOTES, [row])


def _newest(reference: str, finished: Sequence[_Row], what: str = "finished run") -> _Row:
    """The run that ``latest`` or ``latest~1`` means."""
    latest = _LATEST.fullmatch(reference)
    back = int(latest[1] or 0) if latest else 0
    if back >= len(finished):
        raise UsageError(
            f"{reference!r} means the {what} number {back + 1} from the newest, but the lake "
            f"has {len(finished)}"
        )
    return finished[back]


def _named(lake: Lake, reference: str) -> RunsRow:
    found = find_runs(lake, run=reference) if reference else []
    for row in found:
        if reference == row["run_id"]:
            return row
    for tag in lake.rows(TAGS):
        if tag["tag"] == reference and tag["run_id"]:
            for row in find_runs(lake, run=tag["run_id"]):
                if row["run_id"] == tag["run_id"]:
                    return row
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(row["run_id"] for row in found[:_MOST_NAMED])
        raise UsageError(
            f"{reference!r} is the beginning of {len(found)} run ids ({named}, ...); give more"
        )
    raise UsageError(
        f"no run is called {reference!r}; hmct-debugger runs lists them. A run is given by its id, "
        "the beginning of it, a tag, latest or latest~1"
    )
