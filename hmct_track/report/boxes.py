"""Box plots of the channels of a calibration node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hmct_track.report.labels import owner, shortened
from hmct_track.report.style import RED, head, settle, style

_PER_ROW = 128
_REACH, _REACH_OF_ONE = 1.0, 2.0
"""How far beyond the whiskers the axis goes at most, in spans of all whiskers: for outliers and
thresholds of channels, and for a threshold that all channels share."""
_LINE, _NEAR = 9.0, 24
"""Height of a name, in points, and its width, in channels."""
_NAMED = 3
"""Channels beyond the axis that are named in each row."""

_THRESHOLD: dict[str, Any] = {"color": "red", "linewidth": 1.4, "linestyle": "--"}

Pair = tuple[float, float]


def threshold_pairs(thresholds: Sequence[float], scales: int) -> list[Pair]:
    """Where a calibration node clips: a low and a high end, one pair or one of each channel.

    Args:
        thresholds: as the lake has them: absolute maxima, or minimum and maximum of each.
        scales: the number of scales of the node.
    """
    if len(thresholds) == 2 * scales:
        return [(low, high) for low, high in zip(thresholds[::2], thresholds[1::2], strict=True)]
    return [(-value, value) for value in thresholds]


def channel_figure(
    rows: Sequence[Mapping[str, Any]],
    kind: str,
    *,
    consumers: Sequence[str] = (),
    thresholds: Sequence[Pair] = (),
) -> Figure:
    """Box plots of the channels of one calibration node, in rows of at most 128.

    Red solid lines are medians, blue dashed lines means, points outliers, red dashed lines
    thresholds. The axis holds all whiskers; outliers and thresholds that are much further out are
    triangles at its end, and told in words. Of each row the channel with the largest absolute
    value is named.

    Args:
        rows: the node's rows of the query ``channel_distribution``.
        kind: ``weight`` or ``activation``.
        consumers: the general nodes that read it, whose weight or input it is.
        thresholds: low and high end of what is not clipped, see `threshold_pairs`: one pair for
            all channels, or one for each row; other numbers belong to another axis and are not
            drawn.
    """
    chunks = [rows[i : i + _PER_ROW] for i in range(0, len(rows), _PER_ROW)]
    width = float(np.clip(0.16 * len(chunks[0]) + 2, 8, 20))
    drawn = _Boxes(rows, thresholds)
    with style():
        figure = Figure(figsize=(width, 1.9 + 3.4 * len(chunks)), layout="constrained")
        panels = figure.subplots(len(chunks), 1, squeeze=False, sharey=True)[:, 0]
        for axes, start in zip(panels, range(0, len(rows), _PER_ROW), strict=True):
            shown = slice(start, start + _PER_ROW)
            drawn.draw(axes, shown)
            first = rows[start]["channel"]
            axes.set_xlim(first - 0.6, first + len(chunks[0]) - 0.4)
        panels[-1].set_xlabel(f"channel (axis {rows[0]['axis']})")
        name = f"{shortened(rows[0]['node'], 70)}: {owner(kind, consumers)}"
        head(figure, f"{name}, {len(rows)} channels")
        panels[0].set_title(drawn.note(), fontsize=10)
        figure.legend(
            handles=drawn.legend(), loc="outside lower center", ncols=3 if width < 12 else 6,
            fontsize=9, frameon=False,
        )  # fmt: skip
    return settle(figure)


@dataclass(frozen=True)
class _Beyond:
    """The furthest value of a channel, beyond an end of the axis."""

    place: int
    value: float


class _Boxes:
    """The channels of a node, and an axis that one of their outliers cannot stretch."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], thresholds: Sequence[Pair]) -> None:
        self.rows = rows
        names = ("channel", "min", "max", "mean", "q25", "median", "q75", "whisker_low",
                 "whisker_high")  # fmt: skip
        self.columns = {name: np.array([row[name] for row in rows], float) for name in names}
        self.is_shared = len(thresholds) == 1
        self.pairs = self._pairs(thresholds)
        self.low, self.high = self._limits()
        low, high = self.columns["min"], self.columns["max"]
        self.below = [_Beyond(int(k), low[k]) for k in np.flatnonzero(low < self.low)]
        self.above = [_Beyond(int(k), high[k]) for k in np.flatnonzero(high > self.high)]

    def _pairs(self, thresholds: Sequence[Pair]) -> np.ndarray:
        """Low and high of each channel; NaN where there is none to draw."""
        pairs = np.full((len(self.rows), 2), np.nan)
        if len(thresholds) in (1, len(self.rows)):
            pairs[:] = np.array(thresholds, float)
        # Data that are never negative do not meet a low end below zero.
        pairs[(self.columns["min"] >= 0) & (pairs[:, 0] < 0), 0] = np.nan
        return pairs

    def _limits(self) -> Pair:
        column = self.columns
        finite = np.isfinite(column["whisker_low"]) & np.isfinite(column["whisker_high"])
        if not finite.any():
            return -1.0, 1.0
        inner = column["whisker_low"][finite].min(), column["whisker_high"][finite].max()
        span = inner[1] - inner[0]
        far = np.concatenate([column["min"], column["max"], self.pairs.ravel()])
        low, high = _within(far, inner, _REACH * span if span else np.inf)
        if self.is_shared:
            shared = _within(self.pairs.ravel(), inner, _REACH_OF_ONE * span if span else np.inf)
            low, high = min(low, shared[0]), max(high, shared[1])
        margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
        return float(low - margin), float(high + margin)

    def draw(self, axes: Axes, shown: slice) -> None:
        """Draw some of the channels."""
        # Collections, not an artist per line: thousands of channels would take a minute to draw.
        column = {name: values[shown] for name, values in self.columns.items()}
        x, q25, q75 = column["channel"], column["q25"], column["q75"]
        left, right = x - 0.35, x + 0.35
        corners = np.stack([left, q25, right, q25, right, q75, left, q75], axis=1)
        boxes = corners[np.isfinite(corners).all(axis=1)].reshape(-1, 4, 2)
        line: dict[str, Any] = {"color": "0.2", "linewidth": 0.8}
        axes.add_collection(PolyCollection(boxes, facecolor="none", edgecolor="0.2", linewidth=0.8))
        for edge, whisker in ((q25, column["whisker_low"]), (q75, column["whisker_high"])):
            axes.vlines(x, edge, whisker, **line)
            axes.hlines(whisker, x - 0.18, x + 0.18, **line)
        axes.hlines(column["median"], left, right, color="red", linewidth=1.4)
        axes.hlines(column["mean"], left, right, color="blue", linewidth=1.2, linestyles="--")
        self._draw_thresholds(axes, shown)
        self._draw_outliers(axes, shown)
        axes.set_ylim(self.low, self.high)
        self._draw_beyond(axes, shown)
        self._name(axes, shown)
        ticks = MaxNLocator(integer=True, steps=[1, 2, 5, 10]).tick_values(x[0], x[-1])
        axes.set_xticks([tick for tick in ticks if x[0] <= tick <= x[-1]])
        axes.set_ylabel("value")
        axes.grid(axis="x", visible=False)

    def _draw_thresholds(self, axes: Axes, shown: slice) -> None:
        x, pairs = self.columns["channel"][shown], self.pairs[shown]
        for end in pairs.T:
            if np.isfinite(end).all() and np.ptp(end) == 0:
                axes.hlines(end[:1], x[0] - 0.6, x[-1] + 0.6, **_THRESHOLD)
            elif np.isfinite(end).any():
                axes.hlines(
                    end, x - 0.5, x + 0.5, color="red", linewidth=1.0, linestyles=(0, (2, 1))
                )

    def _draw_outliers(self, axes: Axes, shown: slice) -> None:
        outliers = [(row["channel"], v) for row in self.rows[shown] for v in row["outlier_sample"]]
        inside = [(channel, v) for channel, v in outliers if self.low <= v <= self.high]
        if inside:
            across, up = zip(*inside, strict=True)
            axes.scatter(across, up, s=6, color="0.45", linewidths=0)

    def _draw_beyond(self, axes: Axes, shown: slice) -> None:
        x = self.columns["channel"]
        for found, end, marker in ((self.below, self.low, "v"), (self.above, self.high, "^")):
            places = [x[one.place] for one in found if shown.start <= one.place < shown.stop]
            if places:
                axes.scatter(
                    places, [end] * len(places), marker=marker, s=34, color=RED, clip_on=False,
                    linewidths=0, zorder=5,
                )  # fmt: skip

    def _name(self, axes: Axes, shown: slice) -> None:
        """Name the widest channels beyond each end; where none is, the widest of all."""
        ends = ((self.below, self.low, _LINE), (self.above, self.high, -_LINE))
        named = False
        for found, end, inwards in ends:
            here = [one for one in found if shown.start <= one.place < shown.stop]
            widest = sorted(here, key=lambda one: -abs(one.value))[:_NAMED]
            line, last = 0, -np.inf
            for one in sorted(widest, key=lambda one: one.place):
                # In a line of its own where another name is near.
                line = line + 1 if one.place - last < _NEAR else 0
                last, named = one.place, True
                self._write(axes, one, end, inwards * (0.8 + 1.2 * line), shown)
        if not named:
            for one in self._widest(shown):
                self._write(axes, one, one.value, _LINE if one.value < 0 else -_LINE, shown)

    def _widest(self, shown: slice) -> list[_Beyond]:
        ends = [
            _Beyond(place + shown.start, row[end])
            for place, row in enumerate(self.rows[shown])
            for end in ("min", "max")
            if np.isfinite(row[end])
        ]
        return [max(ends, key=lambda one: (abs(one.value), one.place))] if ends else []

    def _write(self, axes: Axes, one: _Beyond, y: float, up: float, shown: slice) -> None:
        channel = self.rows[one.place]["channel"]
        right = one.place - shown.start > min(_PER_ROW, len(self.rows)) / 2
        axes.annotate(
            f"channel {channel}: {one.value:.4g}",
            (channel, y),
            xytext=(-6 if right else 6, up),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            fontsize=8,
            color=RED,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            zorder=5,
        )

    def note(self) -> str:
        """Outliers, and what is beyond the axis, in words."""
        outliers = sum(row["outliers"] for row in self.rows)
        said = [f"{outliers} outliers"]
        beyond = [*self.below, *self.above]
        if beyond:
            values = [v for row in self.rows for v in row["outlier_sample"]]
            count = sum(not self.low <= v <= self.high for v in values)
            least = "at least " if len(values) < outliers else ""
            channels = len({one.place for one in beyond})
            furthest = max(beyond, key=lambda one: abs(one.value))
            channel = self.rows[furthest.place]["channel"]
            what = f"{least}{count} value{'s' * (count != 1)}"
            said.append(
                f"beyond the axis: {what} in {channels} of {len(self.rows)} "
                f"channels, up to {furthest.value:.4g} (channel {channel})"
            )
        said += self._far_thresholds()
        return "\n".join(said)

    def _far_thresholds(self) -> list[str]:
        with np.errstate(invalid="ignore"):
            far = ((self.pairs < self.low) | (self.pairs > self.high)).any(axis=1)
        if not far.any():
            return []
        largest = f"{np.nanmax(np.abs(self.pairs)):.4g}"
        if len(np.unique(self.pairs[:, 1])) == 1:
            return [f"the threshold {largest} is beyond the axis"]
        return [f"thresholds of {far.sum()} channels are beyond the axis, up to {largest}"]

    def legend(self) -> list[Artist]:
        """What the signs mean, of those that are drawn."""
        found: list[Artist] = [
            Line2D([], [], color="red", lw=1.4, label="median"),
            Line2D([], [], color="blue", lw=1.2, ls="--", label="mean"),
            Line2D([], [], color="0.2", lw=0.8, marker="s", mfc="none", label="quartiles, 1.5 IQR"),
        ]
        if any(row["outliers"] for row in self.rows):
            found.append(_mark(".", "0.45", "outlier"))
        if np.isfinite(self.pairs).any():
            found.append(Line2D([], [], label=self._threshold_name(), **_THRESHOLD))
        if self.below or self.above:
            found.append(_mark("^", RED, "channel with values beyond the axis"))
        return found

    def _threshold_name(self) -> str:
        if len(np.unique(self.pairs[np.isfinite(self.pairs[:, 1]), 1])) > 1:
            return "threshold of the channel"
        return f"threshold {np.nanmax(np.abs(self.pairs)):.4g}"


def _within(far: np.ndarray, inner: Pair, reach: float) -> Pair:
    """The inner range, and as much of what is further out as the reach allows."""
    far = np.clip(far[np.isfinite(far)], inner[0] - reach, inner[1] + reach)
    low, high = min([inner[0], *far]), max([inner[1], *far])
    return float(low), float(high)


def _mark(marker: str, color: str, label: str) -> Line2D:
    return Line2D([], [], marker=marker, color=color, lw=0, label=label)
