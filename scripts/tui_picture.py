"""Takes the picture of the terminal UI in the README.

``python -m scripts.tui_picture LAKE`` opens the newest ranking of nodes in LAKE (one of MobileNetV2
was used), goes to its worst node, and writes ``docs/tui.svg`` once histogram, channels, curve and
history are there. Run ``plot-distribution``, ``get-channelwise-data-distribution`` and
``plot-acc-error -q`` on that node first.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from hmct_track.tui import make_app
from hmct_track.tui.charts import Panel
from hmct_track.tui.table import Table

_PICTURE = Path(__file__).parents[1] / "docs" / "tui.svg"
_SIZE = 150, 47


def drawn(panels: Iterable[Panel]) -> set[str | None]:
    """Ids of the panels that show something; the titles of others have nothing after their name."""
    return {panel.id for panel in panels if " of " in title(panel) or " through " in title(panel)}


def title(panel: Panel) -> str:
    """The title of a panel."""
    return str(panel.border_title).replace("4 Error through", "")


async def take(lake: Path) -> None:
    """Take it."""
    app = make_app(lake)
    async with app.run_test(size=_SIZE) as pilot:
        while not app.runs:
            await pilot.pause(0.1)
        await pilot.press("slash", *"sensitivity", "down", "enter")
        while app.screen.query_one(Table).id != "nodes" or not app.screen.query_one(Table).rows:
            await pilot.pause(0.1)
        await pilot.press("enter")
        while not {"curve", "channels", "histogram"} <= drawn(app.screen.query(Panel)):
            await pilot.pause(0.1)
        await pilot.pause(1)  # the history, which is read beside them
        _PICTURE.write_text(app.export_screenshot(), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
