"""A process that draws what a run with many steps shows, while the next steps are measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hmct_track.report.drawings import Figures

_DRAWER = "hmct_track.analyses.drawing"


class Drawer:
    """The process. What it does not draw, for whatever reason, is drawn by who wants to see it.

    Drawing holds the interpreter's lock, so that a thread would gain nothing.

    Args:
        lake: where the runs are.
    """

    def __init__(self, lake: Path) -> None:
        self._process: subprocess.Popen[str] | None = None
        with suppress(OSError):  # it could not be started
            # At once, since it has much to import.
            self._process = subprocess.Popen(  # noqa: S603 - this program
                [sys.executable, "-m", _DRAWER, str(lake)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        self._own = TemporaryDirectory(ignore_cleanup_errors=True)
        self.asked: dict[str, tuple[Figures, Path]] = {}
        """Run to its figures and their folder."""

    def draw(self, run_id: str, figures: Figures, folder: Path | None) -> None:
        """Have the figures of a run that has ended drawn, as PNG and SVG.

        Args:
            run_id: the run.
            figures: its figures.
            folder: where to; if None, to a folder that goes with this.
        """
        if not figures:
            return
        if folder is None:
            folder = Path(self._own.name) / run_id
            folder.mkdir()
        self.asked[run_id] = figures, folder
        if self._process and self._process.stdin:
            with suppress(OSError):  # it has ended
                print(json.dumps([run_id, str(folder)]), file=self._process.stdin, flush=True)

    @property
    def pid(self) -> int:
        """Number of the process; 0 if it could not be started."""
        return self._process.pid if self._process else 0

    @property
    def total(self) -> int:
        """How many figures it was asked for."""
        return sum(len(figures) for figures, _ in self.asked.values())

    def finish(self) -> Iterator[str]:
        """Wait for the figures, which are taken from files from then on, and yield their names."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return
        with suppress(OSError):
            self._process.stdin.close()
        for line in self._process.stdout:
            run_id, stem = json.loads(line)
            figures, folder = self.asked[run_id]
            figures.files[stem] = folder
            yield stem

    def close(self) -> None:
        """End the process, wherever it is; files that others may write are looked at no more."""
        for figures, _ in self.asked.values():
            figures.files.clear()
        if self._process:
            self._process.kill()
            with suppress(OSError), self._process:  # closes its pipes, and waits for it
                pass
        self._own.cleanup()
