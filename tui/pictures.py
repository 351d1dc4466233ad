"""Whether this terminal shows images, and the widget that does it."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from textual.widget import Widget

NO_IMAGES = "pip install hmct-track[images] shows figures in terminals that can."


def has_images() -> bool:
    """Whether the extra ``images`` is installed."""
    return importlib.util.find_spec("textual_image") is not None


def ask_terminal() -> bool:
    """Ask the terminal whether it shows images (kitty's protocol or sixel); Textual must not run.

    The package asks when it is imported, and the first time only.
    """
    logging.getLogger("textual_image").setLevel(logging.ERROR)
    from textual_image import renderable
    from textual_image import widget as _asks_for_the_size_of_a_cell  # noqa: F401

    return renderable.Image in (renderable.TGPImage, renderable.SixelImage)


def picture(path: Path) -> Widget:
    """A widget that shows an image file."""
    from textual_image.widget import Image

    widget: Widget = Image(path)
    return widget
