"""A device against float model and simulation, as text, table and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hmct_track.report.html import Table
from hmct_track.report.style import PALETTE, RED, head, settle, style
from hmct_track.report.tables import format_value, plain_table
from hmct_track.text import visible
from hmct_track.types import Metric

Row = Mapping[str, Any]


def device_text(rows: Sequence[Row], metric: Metric) -> str:
    """What each device adds at the outputs, where it parts first, and all its tensors.

    Args:
        rows: rows of the query ``device_tensors``.
        metric: the metric of the distances.
    """
    parts = []
    for device in dict.fromkeys(row["device"] for row in rows):
        own = [row for row in rows if row["device"] == device]
        said = [_output_line(row, metric) for row in own if row["is_output"]]
        said.append(first_line(own))
        parts.append("\n".join(said))
    lines = [_cells(row) for row in rows]
    return "\n\n".join([*parts, plain_table(_header(metric), lines)])


def _output_line(row: Row, metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    return (
        f"{visible(row['device'])} at output {visible(row['tensor'])}: {metric} of float and "
        f"simulation {format_value(row['quantization'])}{unit}, of simulation and device "
        f"{format_value(row['device_value'])}{unit}, of float and device "
        f"{format_value(row['total'])}{unit} ({row['samples']} samples)"
    )


def first_line(rows: Sequence[Row]) -> str:
    """Where a device parts from the simulation, in a sentence."""
    device, first = visible(rows[0]["device"]), next((r for r in rows if r["is_first"]), None)
    if first is None:
        return f"{device}: rounding explains all {len(rows)} tensors that were compared"
    node = f" of node {visible(first['node'])}" if first["node"] else ""
    parting = sum(bool(row["parts"]) for row in rows)
    before = [row for row in rows if row["position"] < first["position"]]
    since = f"; the last before it that agrees is {visible(before[-1]['tensor'])}" if before else ""
    steps = first["own_steps"]
    by = f"off by up to {steps:.3g} steps given its own inputs; " if steps is not None else ""
    if before and first["hidden"]:
        since += ", and tensors between the two were not dumped: dump them to narrow it down"
    return (
        f"{device}: parts from the simulation at {visible(first['tensor'])}{node}, by "
        f"{_times(first['ratio'])} what rounding explains ({by}{parting} of {len(rows)} tensors "
        f"part){since}"
    )


def _times(ratio: float | None) -> str:
    return "more than" if ratio is None or not math.isfinite(ratio) else f"{ratio:.3g} times"


def _header(metric: Metric) -> list[str]:
    pairs = ("float/simulation", "simulation/device", "float/device")
    return ["device", "tensor", "node", *(f"{metric} {p}" for p in pairs), "own", "steps", ""]


def _cells(row: Row) -> list[str]:
    mark = "first to part" if row["is_first"] else "parts" if row["parts"] else ""
    values = (row["quantization"], row["device_value"], row["total"], row["own"])
    steps = "" if row["own_steps"] is None else f"{row['own_steps']:.3g}"
    names = (visible(row["device"]), visible(row["tensor"]), visible(row["node"] or ""))
    return [*names, *map(format_value, values), steps, mark]


def device_table(rows: Sequence[Row], metric: Metric) -> Table:
    """The tensors for pages and notebooks."""
    return Table(tuple(_header(metric)), [_cells(row) for row in rows], frozenset(range(3, 8)))


def device_figure(rows: Sequence[Row], title: str) -> Figure:
    """How far each device is from the simulation over depth, in units of what rounding explains.

    Args:
        rows: rows of the query ``device_tensors``.
        title: heading, drawn as it is.
    """
    with style():
        figure = Figure(figsize=(10, 4.5), layout="constrained")
        axes = figure.subplots()
        head(figure, title)
        least = min((r["ratio"] for r in rows if r["ratio"]), default=1.0)
        for number, device in enumerate(dict.fromkeys(row["device"] for row in rows)):
            own = [row for row in rows if row["device"] == device]
            x = np.array([row["position"] for row in own])
            y = np.array([math.nan if r["ratio"] is None else r["ratio"] for r in own], float)
            # What is equal stands at the lower end of a log axis.
            y = np.where(y == 0, least / 2, y)
            color = PALETTE[number % len(PALETTE)]
            axes.plot(x, y, "o-", color=color, markersize=4, label=visible(device))
            first = [k for k, row in enumerate(own) if row["is_first"]]
            for k in first:
                axes.annotate(
                    visible(own[k]["tensor"])[-40:], (x[k], y[k]), color=RED, fontsize=9,
                    textcoords="offset points", xytext=(6, 6),
                )  # fmt: skip
        axes.axhline(1, color="0.4", linestyle=(0, (5, 2)), label="what rounding explains")
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set(xlabel="node, in topological order", ylabel="error of a tensor, of rounding")
        axes.legend(frameon=False, fontsize=9)
    settle(figure)
    return figure
