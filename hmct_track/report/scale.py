"""The axis of a metric: errors on a log scale, with a place for what has no logarithm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from hmct_track.types import Metric

EQUAL, ENDLESS = "equal", "inf"
_NO_ERROR = 1e-15
"""A cosine that is nearer to 1 is 1: double precision has no more digits."""
_MOST_TICKS = 8
_FURTHEST = 1e200
"""Errors are drawn between this and its inverse, so that the axis' own arithmetic stays finite."""


class ErrorScale:
    """Where the values of a metric stand on an axis.

    Errors stand on a log scale: 1 - cosine similarity, mse, mre, chebyshev. A sqnr is a logarithm
    already, and larger is better. What equals the float model has a place on neither; it stands at
    the end of the axis, beyond all others, at a tick that says so, and infinite errors at the
    other end.

    Args:
        values: all values of the axis; None and NaN have no place on it.
        metric: what they are.
        as_value: name ticks by the cosine similarity, 0.99, instead of 1 - it, 0.01.
    """

    def __init__(
        self, values: Iterable[float | None], metric: Metric, *, as_value: bool = False
    ) -> None:
        self.metric = metric
        self.is_log = math.isfinite(metric.optimum)
        self._as_value = as_value and metric is Metric.COSINE_SIMILARITY
        errors = self._errors(list(values))
        self.has_equal = bool(self._is_equal(errors).any())
        self._has_endless = bool(self._is_endless(errors).any())
        ordinary = self._steps(errors[self._is_ordinary(errors)])
        self._is_empty = not len(ordinary)
        self._low = 0.0 if self._is_empty else float(ordinary.min())
        self._high = 1.0 if self._is_empty else float(ordinary.max())
        self._set_ends()

    def _set_ends(self) -> None:
        """Ends of the axis and the special places, in decades or decibels."""
        low, high = self._low, self._high
        span = high - low
        at_low, at_high = self.has_equal, self._has_endless
        if not self.is_log:
            at_low, at_high = at_high, at_low
        margin = max(0.12 * span, 0.3) if self.is_log else max(0.06 * span, 0.5)
        gap = max(0.13 * span, 0.6 if self.is_log else 0.5)
        if self.is_log:  # a special place is between two decades, whose ticks it must not meet
            self._low = math.floor(low) if at_low else low - margin
            self._high = math.ceil(high) if at_high else high + margin
            gap = math.ceil(gap) - 0.4
        else:
            self._low, self._high = (
                (low, high) if at_low or at_high else (low - margin, high + margin)
            )
        below, above = self._low - gap, self._high + gap
        self._ends = (
            below - gap / 2 if at_low else self._low,
            above + gap / 2 if at_high else self._high,
        )
        if not self.is_log:
            below, above = above, below
        self.equal, self.endless = self._place(below), self._place(above)

    @property
    def label(self) -> str:
        """What the axis shows."""
        if self.metric is Metric.COSINE_SIMILARITY:
            return "cosine similarity" if self._as_value else "1 - cosine similarity"
        return f"{self.metric} ({self.metric.unit})" if self.metric.unit else self.metric.value

    def places(self, values: Sequence[float | None]) -> np.ndarray:
        """Where values stand; NaN for what has no value."""
        errors = self._errors(values)
        found = np.where(self._is_ordinary(errors), errors, np.nan)
        found[self._is_equal(errors)] = self.equal
        found[self._is_endless(errors)] = self.endless
        return found

    def is_equal(self, values: Sequence[float | None]) -> np.ndarray:
        """Which values are those of equal outputs."""
        return self._is_equal(self._errors(values))

    def apply(
        self, axes: Axes, which: Literal["x", "y"] = "y", before: float = 0.0, after: float = 0.0
    ) -> None:
        """Give an axis its limits, scale and ticks.

        Args:
            axes: whose axis.
            which: the axis.
            before: room at the lower end, as a part of its length.
            after: room at the upper end.
        """
        low, high = self._ends
        room = high - low
        ends = self._place(low - before * room), self._place(high + after * room)
        axis = axes.yaxis if which == "y" else axes.xaxis
        # Limits come before the scale: of one value matplotlib makes an interval of no width.
        (axes.set_ylim if which == "y" else axes.set_xlim)(*ends)
        if self.is_log:
            (axes.set_yscale if which == "y" else axes.set_xscale)("log")
        ticks = self._ticks()
        axis.set_ticks(list(ticks), labels=list(ticks.values()))
        axis.set_minor_locator(NullLocator())

    def _ticks(self) -> dict[float, str]:
        """Places and names of the ticks."""
        marks = [] if self._is_empty and self.has_equal else self._marks()
        found = {place: self._name(place) for place in marks}
        if self.has_equal:
            found[self.equal] = "1" if self._as_value else EQUAL
        if self._has_endless:
            found[self.endless] = ENDLESS
        return found

    def _marks(self) -> list[float]:
        low, high = self._low, self._high
        if not self.is_log:
            every = MaxNLocator(_MOST_TICKS, steps=[1, 2, 5, 10]).tick_values(low, high)
            return [float(mark) for mark in every if low <= mark <= high] or [low]
        first, last = math.floor(low), math.ceil(high)
        step = -(-(last - first + 1) // _MOST_TICKS)
        parts = (1, 2, 5) if last - first <= 2 else (1,)
        every = [p * 10.0**d for d in range(first, last + 1, step) for p in parts]
        return [mark for mark in every if low - 1e-9 <= math.log10(mark) <= high + 1e-9]

    def _name(self, place: float) -> str:
        if self._as_value:
            return f"{1 - place:.12g}"
        return f"{place:g}".replace("e-0", "e-").replace("e+0", "e+")

    def _errors(self, values: Sequence[float | None]) -> np.ndarray:
        found = np.array([np.nan if value is None else value for value in values], float)
        if self.is_log and self.metric.optimum:
            found = (
                self.metric.optimum - found
                if self.metric.higher_is_better
                else (found - self.metric.optimum)
            )
            found[np.isfinite(found) & (found < _NO_ERROR)] = 0.0
        if self.is_log:
            near = np.isfinite(found) & (found > 0)
            found[near] = np.clip(found[near], 1 / _FURTHEST, _FURTHEST)
        return found

    def _is_ordinary(self, errors: np.ndarray) -> np.ndarray:
        finite: np.ndarray = np.isfinite(errors)
        return finite & (errors > 0) if self.is_log else finite

    def _is_equal(self, errors: np.ndarray) -> np.ndarray:
        found: np.ndarray = errors == (0.0 if self.is_log else np.inf)
        return found

    def _is_endless(self, errors: np.ndarray) -> np.ndarray:
        found: np.ndarray = errors == (np.inf if self.is_log else -np.inf)
        return found

    def _steps(self, errors: np.ndarray) -> np.ndarray:
        return np.log10(errors) if self.is_log else errors

    def _place(self, step: float) -> float:
        return float(10.0**step) if self.is_log else step
