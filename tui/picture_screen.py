"""An image on the whole screen, in terminals that show images."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from .pictures import picture
from .text import plain


class PictureScreen(ModalScreen[None]):
    """A figure."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "dismiss", "Back")]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def compose(self) -> ComposeResult:
        """The figure, and where it is."""
        yield Static(plain(self._path), markup=False)
        yield picture(self._path)
        yield Footer()
