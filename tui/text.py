"""Values as text for the terminal. Names are shown as they are, never taken for markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.text import Text

from hmct_track.types import Metric

EIGHTHS = " ▏▎▍▌▋▊▉"
SINGLE = "cosine similarity of a single element is always 1 or -1"
STATES = {"RUNNING": "▶", "FINISHED": "✓", "FAILED": "✗", "KILLED": "■"}

# Levels of the relative error r = |x - y| / |x| at which a node is of concern: 14 % and 4.5 %.
# For small r, cosine similarity is 1 - r^2 / 2 and sqnr is -20 log10 r.
_LEVELS = {
    Metric.COSINE_SIMILARITY: (0.99, 0.999),
    Metric.SQNR: (17.0, 27.0),
    Metric.MRE: (0.14, 0.045),
}


def clean(text: object) -> str:
    """Text without what a terminal would obey: control characters become a replacement sign."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def plain(text: object, style: str = "") -> Text:
    """Text that is shown as it is."""
    return Text(clean(text), style=style, no_wrap=True, end="")


def shortened(name: str, width: int) -> str:
    """The end of a long name, which tells more than its beginning."""
    return name if len(name) <= width else "…" + name[1 - width :] if width > 1 else name[:width]


def squeezed(name: str, width: int) -> str:
    """Beginning and end of a long name, for those whose beginning tells as much."""
    if len(name) <= width:
        return name
    left = (width - 1) // 2
    return f"{name[:left]}…{name[left + 1 - width :]}"


def number(value: Any, digits: int = 5) -> str:
    """A number for people; empty for None, and ``nan`` for what is none."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}f}"
    return f"{value:.3e}"


def numbers(values: Sequence[float] | None, most: int = 4) -> str:
    """A few numbers, or the range of many."""
    if not values:
        return "none"
    if len(values) <= most:
        return ", ".join(f"{v:.6g}" for v in values)
    return f"{len(values)} values, {min(values):.6g} to {max(values):.6g}"


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return ""
    if value < 60:
        return f"{value:.1f} s"
    return str(timedelta(seconds=round(value)))


def moment(value: datetime | None) -> str:
    """A time of the lake, which is UTC, in the local time zone."""
    if value is None:
        return ""
    return f"{value.replace(tzinfo=UTC).astimezone():%m-%d %H:%M:%S}"


def worst_of(values: Iterable[float | None], metric: Metric) -> float | None:
    """The worst of some values; None if there are none."""
    return max((v for v in values if v is not None), key=metric.badness, default=None)


def share(value: float | None, values: Sequence[float | None], metric: Metric) -> float:
    """How long the bar of a value is, from 0 (best) to 1 (as bad as the worst of ``values``).

    Drawn from the optimum; where that is not finite, between the extremes.
    """
    if value is None or math.isnan(value):
        return 1.0
    errors = [metric.badness(v) for v in values]
    finite = [e for e in errors if math.isfinite(e)]
    if not finite or value == metric.optimum:
        return 0.0
    best = metric.badness(metric.optimum)
    zero = best if math.isfinite(best) else min(finite)
    extent = max(finite) - zero
    if extent <= 0:
        return 0.0
    return min(max((metric.badness(value) - zero) / extent, 0.0), 1.0)


def bar(fraction: float, width: int, style: str = "") -> Text:
    """A bar of ``width`` cells; anything above 0 shows at least as a sliver."""
    eighths = math.ceil(fraction * width * 8) if fraction > 0 else 0
    whole, rest = divmod(eighths, 8)
    drawn = "█" * whole + (EIGHTHS[rest] if rest else "")
    return Text(drawn.ljust(width), style=style, no_wrap=True, end="")


def severity(value: float | None, metric: Metric, worst: float | None = None) -> str:
    """``bad``, ``poor`` or ``good``.

    ``worst`` is the worst value of the list, for the metrics whose scale depends on the model.
    """
    if value is None or math.isnan(value):
        return "bad"
    levels = _LEVELS.get(metric)
    if levels is None:
        if not worst:
            return "good"
        levels = (worst * 0.5, worst * 0.1)
    worse = [metric.badness(value) >= metric.badness(level) for level in levels]
    return "bad" if worse[0] else "poor" if worse[1] else "good"
