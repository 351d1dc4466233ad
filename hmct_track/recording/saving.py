"""Writing an answer's figures and texts to the user's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hmct_track.errors import UsageError

if TYPE_CHECKING:
    from hmct_track.report.drawings import Figures


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


def images(figures: Figures) -> dict[str, bytes]:
    """Figures by file stem as PNG by file name."""
    return {f"{stem}.png": figures.png(stem) for stem in figures}


def saved_as(folder: Path, figures: Figures) -> tuple[Path, ...]:
    """The files that figures are saved as."""
    return tuple(folder / f"{stem}.{kind}" for stem in figures for kind in ("png", "svg"))


def save(
    folder: Path | None,
    *,
    figures: Figures | None = None,
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
        if figures is not None:
            for stem in figures:
                write(f"{stem}.png", figures.png(stem))
                write(f"{stem}.svg", figures.svg(stem))
        for name, text in texts().items():
            write(name, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write to save_dir {str(folder)!r}: {error}") from error
    return tuple(written)
