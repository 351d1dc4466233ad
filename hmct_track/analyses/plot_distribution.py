"""``plot-distribution``: histograms of what nodes hold, take in or give out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import Analysis, Answer, data_num, save_dir
from hmct_track.analyses.observing import (
    Observed,
    by_node,
    consumers_of,
    expanded,
    figure_stem,
    observed_calibration,
    values_of,
    with_progress,
)
from hmct_track.errors import UsageError
from hmct_track.options import option
from hmct_track.options.kinds import NAMES, as_list
from hmct_track.report.drawings import Drawing
from hmct_track.types import QuantConfig, Quantization

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from hmct_track.engine import Engine
    from hmct_track.lake.rows import DistributionRow, HistogramRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run
    from hmct_track.report.html import Table

_BINS = 100
_NODE_OUTPUT = "node_output"


@dataclass(frozen=True, kw_only=True)
class PlotDistribution(Analysis["DistributionRow"]):
    """Summarize what nodes hold, take in or give out, and draw histograms."""

    command: ClassVar[str] = "plot-distribution"
    kind: ClassVar[str] = "distribution"
    summary: ClassVar[str] = "Plot how the data of nodes are distributed."

    save_dir: str | os.PathLike[str] | None = save_dir("-s")
    nodes_list: str | Sequence[str] = option(NAMES, "the nodes to look at", "-n")
    data_num: int | None = data_num()

    def parameters(self, model: QuantModel) -> dict[str, Any]:
        """As given, a single node as a list."""
        return {**super().parameters(model), "nodes_list": as_list(self.nodes_list)}

    def observed(self, model: QuantModel, engine: Engine) -> list[Observed]:
        """What to look at for nodes of any type.

        Raises:
            UnknownNodeError: a node does not exist.
            UsageError: the list is empty, or a node has no float output.
        """

        def is_real(tensor: str) -> bool:
            return bool(engine.output_tensors([tensor]))

        real = [n.name for n in model.general_nodes if any(is_real(o) for o in n.outputs)]
        names = expanded(
            model,
            as_list(self.nodes_list),
            real,
            list(model.calibration_by_name),
            list(model.general_by_name),
        )
        return [_observed(model, name, is_real) for name in names]

    def outputs(self, model: QuantModel, engine: Engine) -> tuple[str, ...]:
        """The tensors that are looked at."""
        return tuple(dict.fromkeys(item.tensor for item in self.observed(model, engine)))

    def observe(self, run: Run) -> None:
        """Record summaries and histograms."""
        observed = self.observed(run.subject.model, run.subject.engine)
        for position, item in with_progress(run, observed):
            _record(run, position, item, _series(run, item))

    def rows(self, answer: Answer[DistributionRow]) -> list[DistributionRow]:
        """Summary statistics of each series."""
        return answer.lake.query("distribution", run_id=answer.run_id)

    def text(self, answer: Answer[DistributionRow]) -> str:
        """A line per series."""
        from hmct_track.report import distribution_text

        return distribution_text(answer.rows)

    def heading(self, answer: Answer[DistributionRow]) -> str:
        """What it shows."""
        return "Data distribution"

    def table(self, answer: Answer[DistributionRow]) -> Table:
        """The summary statistics."""
        from hmct_track.report.html import distributions

        return distributions(answer.rows)

    def drawings(self, answer: Answer[DistributionRow]) -> list[Drawing]:
        """The histograms of each node."""

        def draw(node: str) -> Figure:
            from hmct_track.report.distribution import distribution_figure

            if not bins:
                bins.update(by_node(answer.lake.query("histogram", run_id=answer.run_id)))
            return distribution_figure(
                series[node], bins[node], consumers=consumers_of(answer, node)
            )

        series, bins = by_node(answer.rows), dict[str, list["HistogramRow"]]()
        return [
            Drawing(figure_stem(place, node), partial(draw, node), node)
            for place, node in enumerate(series)
        ]

    def run_summary(self, answer: Answer[DistributionRow]) -> dict[str, float]:
        """How many nodes were looked at."""
        return {"nodes": float(len(answer.figures))}

    def note(self, answer: Answer[DistributionRow]) -> str:
        """The summary statistics."""
        from hmct_track.report import table_markdown

        return table_markdown("Distribution", self.table(answer), "distribution", answer.run_id)


def _observed(model: QuantModel, name: str, is_real: Callable[[str], bool]) -> Observed:
    if name in model.calibration_by_name:
        return observed_calibration(model.calibration_by_name[name], None)
    node = model.general_node(name)
    tensor = next((output for output in node.outputs if is_real(output)), None)
    if tensor is None:
        raise UsageError(f"node {name!r} ({node.op_type}) has no float output to look at")
    readers = [c.params.max_threshold for c in model.calibration_nodes if c.input == tensor]
    threshold = max((t for t in readers if t is not None), default=None)
    return Observed(name, _NODE_OUTPUT, tensor, threshold, 1)


def _series(run: Run, item: Observed) -> dict[str, Sequence[NDArray[Any]]]:
    """What is drawn of a node: series to its values."""
    from hmct_track.engine import Spill

    before = values_of(run, item, QuantConfig())
    if not item.is_compared:
        return {"input": before}
    after = values_of(run, item, QuantConfig(Quantization.AS_CALIBRATED))
    series = {"before": before, "after": after}
    if item.kind == _NODE_OUTPUT:
        error = Spill()
        for x, y in zip(before, after, strict=True):
            error.append(y - x)
        series["error"] = error
    return series


def _record(
    run: Run, position: int, item: Observed, series: Mapping[str, Sequence[NDArray[Any]]]
) -> None:
    from hmct_track.engine import bounds_of, histogram, summarize
    from hmct_track.lake import HISTOGRAMS, TENSOR_SUMMARIES

    # Before and after share their bins, so that they can be laid over each other.
    extremes = [bounds_of(parts) for name, parts in series.items() if name != "error"]
    bounds = min(low for low, _ in extremes), max(high for _, high in extremes)
    summaries, bins = [], []
    for name, parts in series.items():
        key = {"run_id": run.run_id, "node": item.node, "series": name}
        threshold = None if name == "error" else item.threshold
        own = {"position": position, "kind": item.kind, "threshold": threshold}
        summaries.append({**key, **own, **asdict(summarize(parts))})
        edges, counts = histogram(parts, _BINS, None if name == "error" else bounds)
        for k, count in enumerate(counts.tolist()):
            place = {"bin": k, "low": float(edges[k]), "high": float(edges[k + 1])}
            bins.append({**key, **place, "count": count})
    run.lake.append(TENSOR_SUMMARIES, summaries)
    run.lake.append(HISTOGRAMS, bins)
