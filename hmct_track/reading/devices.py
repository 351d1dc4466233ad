"""Two runs of ``device`` compared: where the device parts from the simulation, before and after."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hmct_track.errors import UsageError
from hmct_track.lake import (
    DEVICE,
    DeviceComparison,
    Lake,
    Row,
    compare_devices,
    find_device_runs,
    find_runs,
    load_query,
)
from hmct_track.options.condition import parse_condition
from hmct_track.reading.compared import Compared, check_gate, measured_otherwise
from hmct_track.recording import check_save_dir, save
from hmct_track.report.drawings import Drawing, Figures
from hmct_track.types import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmct_track.lake.rows import CompareDevicesRow

_ALIKE = ("data_id",)
"""What two runs have to have in common for a gate: columns of runs."""


@dataclass(frozen=True, eq=False)
class DeviceComparisonResult(Compared[DeviceComparison]):
    """Two runs of ``device`` compared, and whether the gate's conditions hold."""

    @property
    def rows(self) -> list[CompareDevicesRow]:
        """The tensors of each device, in topological order."""
        return self.comparison.rows

    @property
    def summary(self) -> Row:
        """The quantities that conditions are about."""
        return self.comparison.summary

    @property
    def table(self) -> str:
        """All of it as text."""
        from hmct_track.report.devices import devices_table

        return devices_table(self.comparison)

    @property
    def markdown(self) -> str:
        """A short summary for a pull request."""
        from hmct_track.report.devices import devices_markdown

        return devices_markdown(self.comparison, self.failed, self.notes)

    def _repr_html_(self) -> str:
        """A notebook shows where the devices part, and the tensors that changed most."""
        from hmct_track.report.devices import devices_html

        return devices_html(self.comparison)


def device_quantities() -> dict[str, str]:
    """What conditions about runs of ``device`` may be about: name to meaning."""
    return {c.name: c.meaning for c in load_query("compare_devices_summary").columns}


def device_runs(lake: Lake, references: Sequence[str], *, wanted: bool) -> list[Row]:
    """The runs of ``device`` that references mean; none where they mean rankings.

    Args:
        lake: where they are.
        references: as `hmct_track.compare` takes them; a model file means the newest of that model.
        wanted: whether runs of ``device`` are asked for, whatever the references are.

    Raises:
        UsageError: a reference means no run, or one of them is of another kind.
    """
    files = {reference for reference in references if Path(reference).is_file()}
    plain = [reference for reference in references if reference not in files]
    if not wanted and not find_device_runs(lake, plain):
        return []
    named = [_newest_of(lake, r) if r in files else r for r in references]
    return [*find_device_runs(lake, named, wanted=True)]


def _newest_of(lake: Lake, path: str) -> str:
    from hmct_track.model import load_model

    found = find_runs(lake, kind=DEVICE, state="FINISHED", model=load_model(path).model_id, most=1)
    if not found:
        raise UsageError(
            f"the lake has no finished run of device with the model {path!r}; run hmct-debugger "
            "device on it first"
        )
    return found[0]["run_id"]


def compare_device_runs(
    lake: Lake,
    runs: tuple[Row, Row],
    metric: Metric | None,
    *,
    fail_if: Sequence[str],
    tolerance: float,
    save_dir: str | os.PathLike[str] | None,
) -> DeviceComparisonResult:
    """Compare two runs of ``device``.

    Args:
        lake: where they are.
        runs: before and after, as `device_runs` gives them.
        metric: of the distances; that of the second where None.
        fail_if: conditions; `device_quantities` lists what they are about.
        tolerance: a change of the metric that is not larger counts as none.
        save_dir: where figure, table and summary are written to.

    Raises:
        UsageError: a condition is not understood, or cannot be decided.
    """
    before, after = runs
    parsed = [parse_condition(text, list(device_quantities())) for text in fail_if]
    if parsed:
        check_gate(before, after, _ALIKE)
    folder = check_save_dir(save_dir)
    chosen = metric or Metric(after["metrics"][0])
    found = compare_devices(lake, before["run_id"], after["run_id"], chosen, tolerance)
    if parsed and found.summary["max_drop"] is None:
        raise UsageError(
            f"runs {before['run_id']} and {after['run_id']} have no tensor of one device in "
            "common, so --fail-if decides nothing; give the devices the same label, and dump the "
            "same tensors"
        )
    why = dict.fromkeys(device_quantities(), "the two runs have no output of one device in common")
    values = cast("Mapping[str, float | None]", found.summary)
    failed = tuple(c.text for c in parsed if c.holds(values, why))
    labels = [f"{row['run_id']} ({row['model']})" for row in (before, after)]
    figure = cache(partial(_figure, found, f"before: {labels[0]}\nafter: {labels[1]}"))
    notes = measured_otherwise(before, after, _ALIKE)
    result = DeviceComparisonResult(found, figure, failed, notes)
    if folder is None:
        return result
    texts = {"comparison.log": result.table + "\n", "comparison.md": result.markdown}
    files = save(folder, figures=Figures([Drawing("comparison", figure)]), texts=lambda: texts)
    return replace(result, files=files)


def _figure(comparison: DeviceComparison, title: str) -> Figure:
    from hmct_track.report.devices import devices_figure

    return devices_figure(comparison, title)
