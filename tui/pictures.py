"""Whether this terminal shows images, and the widget that does it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from textual.widget import Widget

_PROTOCOL: dict[str, bool] = {}


def find_protocol() -> bool:
    """Ask the terminal, once, whether it shows images (kitty's protocol or sixel)."""
    if "images" not in _PROTOCOL:
        found = False
        if sys.__stdout__ and sys.__stdout__.isatty() and sys.__stdin__ and sys.__stdin__.isatty():
            logging.getLogger("textual_image").setLevel(logging.ERROR)
            from textual_image import renderable
            from textual_image import widget as _asks_for_the_size_of_a_cell  # noqa: F401

            found = renderable.Image in (renderable.TGPImage, renderable.SixelImage)
        _PROTOCOL["images"] = found
    return _PROTOCOL["images"]


def picture(path: Path) -> Widget:
    """A widget that shows an image file."""
    from textual_image.widget import Image

    widget: Widget = Image(path)
    return widget
