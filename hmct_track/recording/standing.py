"""How an analysis stands, on stderr while it runs: live in a terminal, else in lines."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from hmct_track.recording.progress import QUIET_SECONDS


class StandingDisplay:
    """Shows what it is told last, and is gone at the end.

    Where stderr is no terminal, it writes what it is told at most every ten seconds.

    Args:
        shown: whether anything is shown at all.
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._live: Any = None
        self._told = time.monotonic()

    @property
    def is_live(self) -> bool:
        """Whether it has the terminal, so that no bar may."""
        return self._live is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, text: str) -> None:
        """Show ``text`` instead of what was shown before."""
        if not self._shown:
            return
        if sys.stderr.isatty():
            self._show_live(text)
        elif time.monotonic() - self._told >= QUIET_SECONDS:
            self._told = time.monotonic()
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _show_live(self, text: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            self._live = Live(console=Console(stderr=True), transient=True, auto_refresh=False)
            self._live.start()
        self._live.update(Text(text), refresh=True)  # as text: names are no markup
