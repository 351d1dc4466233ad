"""Two rankings compared: what became better or worse, and what was changed in between."""

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
    TOLERANCE,
    Lake,
    Row,
    RunComparison,
    compare_runs,
    find_ranking,
    lake_path,
    load_query,
)
from hmct_track.lake.rows import CompareNodesRow
from hmct_track.options import parse_metric, parse_node_type
from hmct_track.options.condition import parse_condition
from hmct_track.reading.compared import Compared, check_gate, measured_otherwise
from hmct_track.reading.devices import DeviceComparisonResult, compare_device_runs, device_runs
from hmct_track.recording import check_save_dir, save
from hmct_track.report import comparison_markdown, comparison_table
from hmct_track.report.drawings import Drawing, Figures
from hmct_track.types import Metric, NodeType

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_ALIKE = ("data_id", "outputs")
"""What two rankings have to have in common for a gate: columns of runs."""


@dataclass(frozen=True, eq=False)
class ComparisonResult(Compared[RunComparison]):
    """Two rankings compared, and whether the gate's conditions hold."""

    @property
    def rows(self) -> list[CompareNodesRow]:
        """The nodes, largest change first."""
        return self.comparison.nodes

    @property
    def summary(self) -> Row:
        """The quantities that conditions are about."""
        return self.comparison.summary

    @property
    def table(self) -> str:
        """All of it as text."""
        sure = self.comparison.sure
        if sure.get("score_drop") is None:
            return comparison_table(self.comparison)
        counts = ""
        if sure.get("score_worse") is not None:
            counts = f"; {sure['score_worse']:g} samples worse, {sure['score_better']:g} better"
        score = f"score of all nodes quantized: {sure['score_a']:.5g} to {sure['score_b']:.5g}"
        return f"{score} (drop {sure['score_drop']:.5g}{counts})\n\n" + comparison_table(
            self.comparison
        )

    @property
    def markdown(self) -> str:
        """A short summary for a pull request."""
        return comparison_markdown(self.comparison, self.failed, self.notes)

    def _repr_html_(self) -> str:
        """A notebook shows the whole model and the nodes that changed most."""
        from hmct_track.report.comparison import comparison_html

        return comparison_html(self.comparison)


def quantities() -> dict[str, str]:
    """What conditions may be about: name to meaning."""
    from hmct_track.reading.changes import QUANTITIES

    columns = load_query("compare_summary").columns
    return {**{column.name: column.meaning for column in columns}, **QUANTITIES}


def _why() -> dict[str, str]:
    """Why a quantity may have no value."""
    pair = ("whole_drop", "whole_a", "whole_b")
    sure = ("whole_drop_low", "whole_drop_high", "surely_worse", "surely_better")
    score = ("score_drop", "score_a", "score_b", "score_worse", "score_better")
    return {
        **dict.fromkeys(quantities(), "the two runs have no node in common"),
        **dict.fromkeys(
            pair,
            "one of the runs has not measured the fully quantized model; rank its model again",
        ),
        **dict.fromkeys(
            sure,
            "one sample says too little, and so do other samples or outputs; rank both models "
            "with -d 8",
        ),
        **dict.fromkeys(
            score,
            "not both runs have the same score of the same samples, labels and outputs; rank both "
            "models with --score",
        ),
    }


def compare(
    run_a: str,
    run_b: str = "latest",
    metric: str | None = None,
    *,
    node_type: str = NodeType.NODE.value,
    fail_if: str | Sequence[str] = (),
    tolerance: float = TOLERANCE,
    save_dir: str | os.PathLike[str] | None = None,
    lake: str | os.PathLike[str] | None = None,
) -> ComparisonResult | DeviceComparisonResult:
    """Compare two rankings of nodes, or two runs of ``device``.

    Args:
        run_a: before: a run id, the beginning of one, a tag such as ``baseline``, ``latest``,
            ``latest~1``, or a model file, which means the newest ranking of that model. Where one
            of the two is a run of ``device``, the other means such a run as well.
        run_b: after: likewise.
        metric: what is compared; the metric that ranked ``run_b`` by default.
        node_type: which rankings ``latest``, a runall or a model file means: ``node``, ``weight``
            or ``activation``; ``device`` for runs of ``device``.
        fail_if: conditions such as ``"max_drop > 0.001"``; `quantities` lists what they are about,
            `device_quantities` (``"newly_parting > 0"``) of runs of ``device``.
        tolerance: a change of the metric that is not larger counts as none.
        save_dir: where figure, table and summary are written to.
        lake: the folder of the lake.

    Raises:
        HmctTrackError: an argument, a reference or the lake is at fault.
    """
    conditions = [fail_if] if isinstance(fail_if, str) else fail_if
    if not tolerance >= 0:
        raise UsageError(f"the tolerance is {tolerance!r}; it has to be 0 or more")
    chosen = parse_metric(metric) if metric else None
    devices = node_type == DEVICE
    kind = NodeType.NODE if devices else parse_node_type(node_type)
    place = Lake.open(lake_path(lake))
    if runs := device_runs(place, (run_a, run_b), wanted=devices):
        pair = runs[0], runs[1]
        return compare_device_runs(
            place, pair, chosen, fail_if=conditions, tolerance=tolerance, save_dir=save_dir
        )
    parsed = [parse_condition(text, list(quantities())) for text in conditions]
    before, after = (_ranking(place, reference, kind) for reference in (run_a, run_b))
    if before["node_type"] != after["node_type"]:
        raise UsageError(
            f"run {before['run_id']} ranks {before['node_type']}s and run {after['run_id']} "
            f"{after['node_type']}s; compare two of one sort"
        )
    if parsed:
        check_gate(before, after, _ALIKE)
    folder = check_save_dir(save_dir)
    found = compare_runs(
        place,
        before["run_id"],
        after["run_id"],
        chosen or Metric(after["metrics"][0]),
        tolerance,
    )
    from hmct_track.reading.changes import sure_changes

    sure = sure_changes(place, before, after, found.metric, found.nodes)
    found = replace(found, sure=sure)
    if parsed and not any(found.summary[name] for name in ("worse", "better", "same")):
        raise UsageError(
            f"runs {before['run_id']} and {after['run_id']} have no node in common, so --fail-if "
            "decides nothing; compare rankings of two versions of one model"
        )
    values = {**cast("Mapping[str, float | None]", found.summary), **sure}
    failed = tuple(c.text for c in parsed if c.holds(values, _why()))
    figure = cache(partial(_figure, found, before, after))
    result = ComparisonResult(found, figure, failed, measured_otherwise(before, after, _ALIKE))
    if folder is None:
        return result
    texts = {"comparison.log": result.table + "\n", "comparison.md": result.markdown}
    files = save(folder, figures=Figures([Drawing("comparison", figure)]), texts=lambda: texts)
    return ComparisonResult(found, figure, failed, result.notes, files)


def _ranking(lake: Lake, reference: str, node_type: NodeType) -> Row:
    if not Path(reference).is_file():
        return find_ranking(lake, reference, node_type=node_type)
    from hmct_track.model import load_model

    model_id = load_model(reference).model_id
    try:
        return find_ranking(lake, "latest", node_type=node_type, model_id=model_id)
    except UsageError as error:
        raise UsageError(
            f"the lake has no finished ranking of {node_type}s of the model {reference!r}; run "
            "hmct-debugger get-sensitivity-of-nodes on it first"
        ) from error


def _figure(comparison: RunComparison, before: Row, after: Row) -> Figure:
    from hmct_track.report.dumbbell import comparison_figure

    labels = [f"{row['run_id']} ({row['model']})" for row in (before, after)]
    whole_a, whole_b = comparison.summary["whole_a"], comparison.summary["whole_b"]
    whole = None if whole_a is None or whole_b is None else (whole_a, whole_b)
    return comparison_figure(comparison.nodes, comparison.metric, labels[0], labels[1], whole=whole)
