"""Figures that are drawn when someone looks at them, here or by another process before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn when someone looks at it."""

    stem: str
    """The name of its file, without an ending."""
    draw: Callable[[], Figure]
    node: str | None = None
    """The node that it is of, where a run has a figure of each."""


class Figures(Mapping[str, "Figure"]):
    """File stem to figure; each is drawn once, when it is first looked at.

    Args:
        drawings: what there is to draw.
    """

    def __init__(self, drawings: Sequence[Drawing] = ()) -> None:
        self._drawings = {d.stem: d for d in drawings}
        self._drawn: dict[str, Figure] = {}
        self.files: dict[str, Path] = {}
        """Stem to folder, of those that another process has put there as files."""

    def __getitem__(self, stem: str) -> Figure:
        if stem not in self._drawn:
            self._drawn[stem] = self._drawings[stem].draw()
        return self._drawn[stem]

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawings)

    def __len__(self) -> int:
        return len(self._drawings)

    def png(self, stem: str) -> bytes:
        """A figure as PNG, drawn if there is no file of it."""
        if stem in self.files:
            return (self.files[stem] / f"{stem}.png").read_bytes()
        from hmct_track.report.style import png

        return png(self[stem])

    def svg(self, stem: str) -> bytes:
        """A figure as SVG, likewise."""
        if stem in self.files:
            return (self.files[stem] / f"{stem}.svg").read_bytes()
        from hmct_track.report.style import svg

        return svg(self[stem])
