"""Writing an answer's figures and texts to the user's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hmct_track.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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

    return {f"{stem}.png": png(figures[stem]) for stem in figures}


def save(
    folder: Path | None,
    *,
    figures: Mapping[str, Figure] | None = None,
    texts: Callable[[], Mapping[str, str]] = dict,
) -> tuple[Path, ...]:
    """Write figures as PNG and SVG, and texts under their names; nothing without a folder.

    Raises:
        UsageError: the folder cannot be written to.
    """
    if folder is None:
        return ()
    written: list[Path] = []

    def write(name: str, content: bytes) -> None:
        written.append(folder / name)
        written[-1].write_bytes(content)

    try:
        for stem in figures or {}:
            from hmct_track.report.style import png, svg

            figure = (figures or {})[stem]
            write(f"{stem}.png", png(figure))
            write(f"{stem}.svg", svg(figure))
        for name, text in texts().items():
            write(name, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write to save_dir {str(folder)!r}: {error}") from error
    return tuple(written)
