"""Numbers beside points of a figure, where they cover neither curves nor each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

_HALF = 7.0
"""Half the height of a number, in points."""
_RINGS = (11.0, 19.0, 28.0, 40.0)
_ANGLES = (90, -90, 45, 135, -45, -135, 0, 180)
_FORBIDDEN = 1e6
_LIGHT = 0.6


@dataclass(frozen=True)
class Numbered:
    """A point in data coordinates, and what is written beside it."""

    x: float
    y: float
    text: str
    color: str


def draw_numbers(
    axes: Axes,
    points: Sequence[Numbered],
    curves: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    filled: bool = False,
) -> None:
    """Write a number beside each point, at the free place that is nearest.

    The figure has to be laid out: what is free depends on where things are on it.

    Args:
        axes: where the points are.
        points: what is numbered.
        curves: x and y of the lines that numbers should not cover.
        filled: whether the numbers are white on a disc of their colour.
    """
    unit = axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    # In pixels; lines as dots that are no further apart than half a number.
    dots = [_dotted(axes.transData.transform(np.column_stack(c)), _HALF * unit) for c in curves]
    lines = np.concatenate([np.empty((0, 2)), *dots])
    frame = axes.bbox
    taken: list[np.ndarray] = []
    for point in points:
        at = axes.transData.transform((point.x, point.y))
        half = np.array([_HALF + 2.5 * (len(point.text) - 1), _HALF]) * unit

        def cost(offset: np.ndarray, at: np.ndarray = at, half: np.ndarray = half) -> float:
            center = at + offset * unit
            inside = (np.abs(lines - center) < half).all(axis=1).sum()
            met = any((np.abs(other - center) < 2 * half).all() for other in taken)
            low, high = center - half, center + half
            out = low[0] < frame.x0 or low[1] < frame.y0 or high[0] > frame.x1 or high[1] > frame.y1
            forbidden = _FORBIDDEN * (2 * int(met) + int(out))
            return float(inside) + forbidden + 0.02 * _length(offset)

        best = min(_offsets(), key=cost)
        taken.append(at + best * unit)
        _write(axes, point, best, filled)


def _offsets() -> list[np.ndarray]:
    return [
        radius * np.array([math.cos(math.radians(a)), math.sin(math.radians(a))])
        for radius in _RINGS
        for a in _ANGLES
    ]


def _dotted(corners: np.ndarray, apart: float) -> np.ndarray:
    """Points along a line through the corners; where a corner is not finite the line has a gap."""
    found = [corners[np.isfinite(corners).all(axis=1)]]
    for start, end in itertools.pairwise(corners):
        length = _length(end - start)
        if math.isfinite(length) and length > apart:
            parts = np.linspace(0, 1, int(length / apart) + 1, endpoint=False)[1:, None]
            found.append(start + parts * (end - start))
    return np.concatenate(found)


def _write(axes: Axes, point: Numbered, offset: np.ndarray, filled: bool) -> None:
    disc = {"boxstyle": "circle,pad=0.2", "facecolor": point.color, "edgecolor": "white", "lw": 0.8}
    leader = {"arrowstyle": "-", "color": point.color, "lw": 0.8, "shrinkA": 5, "shrinkB": 2}
    axes.annotate(
        point.text,
        (point.x, point.y),
        xytext=(float(offset[0]), float(offset[1])),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=8 if filled else 9,
        color=_on(point.color) if filled else point.color,
        bbox=disc if filled else None,
        arrowprops=leader if _length(offset) > _RINGS[0] + 1 else None,
        zorder=6,
    )


def _on(color: str) -> str:
    """What can be read on a colour: black or white."""
    red, green, blue = to_rgb(color)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > _LIGHT else "white"


def _length(vector: np.ndarray) -> float:
    return float(np.hypot(vector[0], vector[1]))
