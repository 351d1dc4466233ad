"""The terminal UI: the only part that imports Textual, installed as ``hmct_track.tui``.

Modules here import each other relatively, because tools that read the source know the folder as
``tui``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .app import DebuggerApp


def make_app(lake: Path) -> DebuggerApp:
    """The application on a lake, which need not exist yet."""
    from .app import DebuggerApp

    return DebuggerApp(lake)


def run_app(lake: Path) -> list[str]:
    """Show the application until the user quits; give a line for each analysis left running."""
    from .pictures import find_protocol

    find_protocol()  # asks the terminal, which it cannot once Textual reads from it
    app = make_app(lake)
    app.run()
    return app.left_running
