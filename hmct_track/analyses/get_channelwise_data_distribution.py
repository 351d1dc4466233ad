"""``get-channelwise-data-distribution``: box plots of the channels of calibration nodes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import Analysis, Answer, data_num, save_dir
from hmct_track.analyses.observing import (
    Observed,
    by_node,
    expanded,
    figure_stem,
    observed_calibration,
    values_of,
    with_progress,
)
from hmct_track.errors import UsageError
from hmct_track.options import option
from hmct_track.options.kinds import NAMES, WHOLE, as_list
from hmct_track.report.drawings import Drawing
from hmct_track.types import CalibrationKind, QuantConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmct_track.engine import Engine
    from hmct_track.lake.rows import ChannelDistributionRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Run
    from hmct_track.report.html import Table


@dataclass(frozen=True, kw_only=True)
class GetChannelwiseDataDistribution(Analysis["ChannelDistributionRow"]):
    """Summarize what calibration nodes take in channel by channel, and draw box plots."""

    command: ClassVar[str] = "get-channelwise-data-distribution"
    kind: ClassVar[str] = "channelwise-distribution"
    summary: ClassVar[str] = (
        "Plot how the data of calibration nodes are distributed, channel by channel."
    )

    save_dir: str | os.PathLike[str] | None = save_dir("-s")
    nodes_list: str | Sequence[str] = option(NAMES, "the nodes to look at", "-n")
    data_num: int | None = data_num()
    axis: int | None = option(
        WHOLE, "the dimension that holds the channels (default: 1; of a weight its node's own "
        "axis)", "-a", default=None, metavar="AXIS",
    )  # fmt: skip

    def parameters(self, model: QuantModel) -> dict[str, Any]:
        """As given, a single node as a list."""
        return {**super().parameters(model), "nodes_list": as_list(self.nodes_list)}

    def observed(self, model: QuantModel) -> list[Observed]:
        """What to look at: calibration nodes only.

        Raises:
            UnknownNodeError: a node does not exist.
            UsageError: the list is empty, or a node is no calibration node.
        """
        found = []
        groups = list(model.calibration_by_name), list(model.general_by_name)
        for name in expanded(model, as_list(self.nodes_list), *groups):
            if name not in model.calibration_by_name:
                node = model.general_node(name)
                feeding = f"; those of this one are {', '.join(node.calibration_nodes)}"
                raise UsageError(
                    f"node {name!r} ({node.op_type}) is not a calibration node"
                    f"{feeding if node.calibration_nodes else ', and none feeds it'}"
                )
            found.append(observed_calibration(model.calibration_by_name[name], self.axis))
        return found

    def outputs(self, model: QuantModel, engine: Engine) -> tuple[str, ...]:
        """The tensors that are looked at."""
        observed = self.observed(model)
        for item in observed:
            rank = engine.rank(item.tensor)
            if rank is not None and not self._may_choose(item):
                _check_axis(item, rank)
        return tuple(dict.fromkeys(item.tensor for item in observed))

    def observe(self, run: Run) -> None:
        """Record the box statistics of each channel."""
        from hmct_track.engine import channel_summaries
        from hmct_track.lake import CHANNEL_SUMMARIES

        other: list[Observed] = []
        for position, given in with_progress(run, self.observed(run.subject.model)):
            # Of a weight, too, boxes are of what its calibration node takes in.
            parts = values_of(run, given, QuantConfig())
            item = self._placed(given, [part.shape for part in parts])
            other += [item] * (item != given)
            _check_axis(item, parts[0].ndim)
            own = {"run_id": run.run_id, "position": position, "node": item.node}
            rows = [
                {**own, "axis": item.axis, **asdict(summary)}
                for summary in channel_summaries(parts, item.axis)
            ]
            run.lake.append(CHANNEL_SUMMARIES, rows)
        if other:
            run.remarks.append(
                f"along axis 1 samples differ in length, or there is none, for {len(other)} of the "
                f"nodes: channels of {other[0].node} are along axis {other[0].axis} instead "
                "(axis says otherwise)"
            )

    def _placed(self, item: Observed, shapes: Sequence[tuple[int, ...]]) -> Observed:
        """With the axis along which its channels are, as far as that may be chosen."""
        if not self._may_choose(item):
            return item
        return replace(item, axis=_like_in_all(shapes, item.axis))

    def _may_choose(self, item: Observed) -> bool:
        """Whether the axis is but the default of an activation."""
        return self.axis is None and item.kind != CalibrationKind.WEIGHT

    def rows(self, answer: Answer[ChannelDistributionRow]) -> list[ChannelDistributionRow]:
        """Box statistics of each channel."""
        return answer.lake.query("channel_distribution", run_id=answer.run_id)

    def text(self, answer: Answer[ChannelDistributionRow]) -> str:
        """A line per node."""
        from hmct_track.report import channels_text

        return channels_text(answer.rows)

    def heading(self, answer: Answer[ChannelDistributionRow]) -> str:
        """What it shows."""
        return "Channel-wise distribution"

    def table(self, answer: Answer[ChannelDistributionRow]) -> Table:
        """A row per node."""
        from hmct_track.report.html import channels

        return channels(answer.rows)

    def drawings(self, answer: Answer[ChannelDistributionRow]) -> list[Drawing]:
        """The boxes of each node."""

        def draw(node: str) -> Figure:
            from hmct_track.report.boxes import channel_figure, threshold_pairs

            found = next(row for row in answer.query("model_nodes") if row["node"] == node)
            return channel_figure(
                boxes[node],
                found["type"],
                consumers=found["consumers"] or (),
                thresholds=threshold_pairs(found["thresholds"] or (), len(found["scales"] or ())),
            )

        boxes = by_node(answer.rows)
        return [
            Drawing(figure_stem(place, node), partial(draw, node), node)
            for place, node in enumerate(boxes)
        ]

    def run_name(self, answer: Answer[ChannelDistributionRow]) -> str:
        """What it is."""
        return f"channelwise distribution, {answer.label}"

    def run_summary(self, answer: Answer[ChannelDistributionRow]) -> dict[str, float]:
        """How many nodes were looked at."""
        return {"nodes": float(len(answer.figures))}

    def note(self, answer: Answer[ChannelDistributionRow]) -> str:
        """The widest channel of each node."""
        from hmct_track.report import table_markdown

        title, query = "Channelwise distribution", "channel_distribution"
        return table_markdown(title, self.table(answer), query, answer.run_id)


def _like_in_all(shapes: Sequence[tuple[int, ...]], axis: int) -> int:
    """The axis, or the last of those along which all samples are alike, where it is none.

    Of sentences of different lengths, (batch, words, features), features are channels.
    """
    rank = min(map(len, shapes))
    alike = [k for k in range(rank) if len({shape[k] for shape in shapes}) == 1]
    if axis in alike:
        return axis
    last = [k for k in alike if k > 0 or rank == 1]
    return last[-1] if last else axis


def _check_axis(item: Observed, rank: int) -> None:
    if not -rank <= item.axis < rank:
        raise UsageError(
            f"axis {item.axis} is beyond the data of {item.node!r}, which have {rank} dimensions; "
            f"choose an axis from 0 to {rank - 1}"
        )
