"""What an analysis gives to Python: rows, figures, and where it is recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hmct_track.errors import TrackingError, UsageError
from hmct_track.lake import Row
from hmct_track.report.html import Table, notebook_html

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class AnalysisResult:
    """The rows of an analysis' query, its figures, and the run that recorded it."""

    run_id: str
    rows: list[Row] = field(repr=False)
    figures: Mapping[str, Figure] = field(repr=False)
    """File stem to figure."""
    title: str
    table: Table = field(repr=False)
    """What people are shown of the rows."""
    files: tuple[Path, ...] = ()
    """What was written to ``save_dir``."""
    tracking_error: TrackingError | None = None
    known: int = 0
    """Configurations whose measurements the lake had."""
    measured: int = 0
    """Configurations that were evaluated."""
    noise_floor: float | None = None
    """How far the float model in parts is from the whole, as a share of the norm, if it was run."""

    def to_frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def _repr_html_(self) -> str:
        """A notebook shows the table and the figures."""
        return notebook_html(self.title, self.run_id, [("", self.table, self.figures)])


def check_save_dir(save_dir: str | os.PathLike[str] | None) -> Path | None:
    """The folder to save to, made if it is missing.

    Raises:
        UsageError: it cannot be made.
    """
    if save_dir is None:
        return None
    folder = Path(save_dir).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"save_dir {str(save_dir)!r} cannot be made: {error}") from error
    return folder


def images(figures: Mapping[str, Figure]) -> dict[str, bytes]:
    """Figures by file stem as PNG by file name."""
    if not figures:
        return {}
    from hmct_track.report.style import png

    return {f"{stem}.png": png(figure) for stem, figure in figures.items()}


def save(
    folder: Path | None,
    *,
    figures: Mapping[str, Figure] | None = None,
    texts: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """Write figures as PNG and SVG, and texts under their names; nothing without a folder.

    Raises:
        UsageError: the folder cannot be written to.
    """
    if folder is None:
        return ()
    contents = {name: text.encode() for name, text in (texts or {}).items()}
    for stem, figure in (figures or {}).items():
        from hmct_track.report.style import png, svg

        contents |= {f"{stem}.png": png(figure), f"{stem}.svg": svg(figure)}
    try:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise UsageError(f"cannot write to save_dir {str(folder)!r}: {error}") from error
    return tuple(folder / name for name in contents)
