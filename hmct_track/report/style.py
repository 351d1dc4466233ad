"""The look that figures share. Nothing here touches pyplot, so figures hold no global state."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from hmct_track.report.labels import distinct_labels, lines_of
from hmct_track.text import visible

# Of Okabe and Ito's palette, safe for colour-blind readers.
BLUE, RED, GREEN = "#0072b2", "#d55e00", "#009e73"
PALETTE = (BLUE, RED, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")

WHITE_GRID: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": ".8",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.labelcolor": ".15",
    **dict.fromkeys([f"axes.spines.{side}" for side in ("bottom", "left", "right", "top")], True),
    "figure.facecolor": "white",
    "font.family": ["sans-serif"],
    "font.sans-serif": [
        *("Arial", "DejaVu Sans", "Liberation Sans", "Bitstream Vera Sans", "sans-serif")
    ],
    "grid.color": ".8",
    "grid.linestyle": "-",
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "text.color": ".15",
    **dict.fromkeys(["xtick.bottom", "xtick.top", "ytick.left", "ytick.right"], False),
    **dict.fromkeys(["xtick.color", "ytick.color"], ".15"),
    **dict.fromkeys(["xtick.direction", "ytick.direction"], "out"),
}
"""Seaborn's white grid, but for its colour map, which none of our figures uses. Importing seaborn,
with pandas and SciPy's statistics, takes longer than drawing a figure."""

_DPI = 144
"""Dots per inch, so that a figure is still sharp when it is enlarged."""
_DRAWN: WeakKeyDictionary[Figure, bytes] = WeakKeyDictionary()
# Matplotlib's style is global to the process, and so is its parser of the texts on log scales.
_LOCK = threading.RLock()


@contextmanager
def style() -> Iterator[None]:
    """Seaborn's white grid for the figures made inside, one thread at a time."""
    # Titles have a fixed place: searching one for each costs a fifth of the drawing.
    with _LOCK, mpl.rc_context({**WHITE_GRID, "axes.titley": 1.0}):
        yield


def settle(figure: Figure) -> Figure:
    """Lay the figure out once and for all, which takes as long as drawing it, and return it."""
    _show_controls(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        with _LOCK:
            engine.execute(figure)
        # The placeholder that "none" leaves has each savefig draw the figure twice.
        figure.set_layout_engine(None)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG, drawn at the first call. Safe in threads."""
    with _LOCK:
        if figure not in _DRAWN:
            _DRAWN[figure] = _saved(figure, "png")
        return _DRAWN[figure]


def svg(figure: Figure) -> bytes:
    """The figure as SVG. Safe in threads."""
    with _LOCK:
        return _saved(figure, "svg")


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # Level 3 saves a third of the packing, and files are a fourteenth larger.
    packed: dict[str, Any] = {"pil_kwargs": {"compress_level": 3}} if kind == "png" else {}
    figure.savefig(buffer, format=kind, dpi=_DPI, **packed)
    return buffer.getvalue()


def columns_of(inches: float, size: float) -> int:
    """Characters of text of this size, in points, that a width surely holds."""
    return max(12, int(inches * 72 / (0.62 * size)))


def head(figure: Figure, title: str) -> None:
    """Head a figure, in as many lines as its width asks for; the text is drawn as it is."""
    width = figure.get_figwidth() - 0.3
    size = 13 if len(title) <= columns_of(width, 13) else 11
    figure.suptitle(lines_of(title, columns_of(width, size)), parse_math=False, fontsize=size)


def _show_controls(figure: Figure) -> None:
    """Names come from models: a control character has no glyph, and XML cannot hold it."""
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            lines = text.get_text().split("\n")  # of titles, and nothing that a terminal obeys
            text.set_text("\n".join(map(visible, lines)))


def label_steps(axes: Axes, names: Sequence[str], most: int = 60) -> None:
    """Name the places 0, 1, ... below the axis; so few that the names do not overlap."""
    every = -(-len(names) // most)
    places = range(0, len(names), every)
    labels = distinct_labels([names[place] for place in places], 30)
    axes.set_xticks(list(places), labels, rotation=90, fontsize=8, parse_math=False)
