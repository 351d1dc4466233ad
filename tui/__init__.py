"""The terminal UI: the only part that imports Textual, installed as ``hmct_track.tui``.

Modules here import each other relatively, because tools that read the source know the folder as
``tui``.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .app import DebuggerApp


def make_app(lake: Path) -> DebuggerApp:
    """The application on a lake, which need not exist yet."""
    from .reads import Reader

    reader = Reader(lake)
    # DuckDB reads the runs while Python loads Textual.
    threading.Thread(target=reader.read_ahead, daemon=True).start()
    from .app import DebuggerApp

    return DebuggerApp(reader)


def run_app(lake: Path) -> list[str]:
    """Show the application until the user quits; give a line for each analysis left running."""
    app = make_app(lake)
    try:
        app.run()
    finally:
        app.web.close()
    return app.left_running
