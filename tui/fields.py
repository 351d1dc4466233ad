"""The widgets of a form: one for each option, as its kind asks for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.suggester import Suggester
from textual.widgets import Checkbox, Input, Label, Select

from hmct_track.errors import UsageError
from hmct_track.options import Option
from hmct_track.options.kinds import FILE, FOLDER

PLACES = (FILE, FOLDER)
_MOST_ENTRIES = 1000
"""Of a folder, those that are looked at for what a path may be completed to."""
_NOTHING: tuple[Any, ...] = (None, (), [], {})


class Field(Horizontal):
    """An option: its name, and a widget for its value.

    Args:
        option: it.
        given: its value, where that is not the one by default.
        suggested: what a text may be completed to.
    """

    def __init__(self, option: Option, *given: Any, suggested: Sequence[str] = ()) -> None:
        super().__init__(classes="field", id=f"row-{option.name}")
        self.option = option
        self.widget = _widget(option, given[0] if given else option.command_default)
        self.widget.id = f"of-{option.name}"
        self.suggest(suggested)

    def compose(self) -> ComposeResult:
        """The name and the widget."""
        o = self.option
        yield Label((o.off.strip("-") if o.off else o.name).replace("_", " ").replace("-", " "))
        yield self.widget

    @property
    def hint(self) -> str:
        """How it is written on the command line, and what it means."""
        completes = "  (right completes)" if self.option.kind in PLACES else ""
        return f"{', '.join(self.option.forms[:2])}: {self.option.help}{completes}"

    @property
    def raw(self) -> Any:
        """What the widget holds."""
        return self.widget.value

    @raw.setter
    def raw(self, value: Any) -> None:
        self.widget.value = value

    def suggest(self, names: Sequence[str]) -> None:
        """Complete what is typed to one of these, or of the kind's choices."""
        if isinstance(self.widget, Input):
            known = [*self.option.kind.choices, *names]
            if self.option.kind in PLACES:
                self.widget.suggester = Place(known, files=self.option.kind == FILE)
            else:
                self.widget.suggester = LastName(known) if known else None

    def read(self) -> Any:
        """The value.

        Raises:
            UsageError: it is missing, or not allowed.
        """
        o, widget = self.option, self.widget
        if isinstance(widget, Checkbox):
            return widget.value != bool(o.off)
        if isinstance(widget, Select):
            value = None if widget.value is Select.NULL else widget.value
        else:
            value = self._typed(widget.value.strip())
        if value is not None:
            o.kind.check(o.name, value)
        return value

    def _typed(self, text: str) -> Any:
        o = self.option
        if not text and o.is_required:
            raise UsageError(f"{o.name}: {o.help}")
        if not text:
            return o.command_default
        try:
            return o.kind.parse(text)
        except UsageError as error:
            raise UsageError(f"{o.name}: {error}") from error
        except ValueError as error:
            raise UsageError(f"{o.name}: {text!r} is no {o.metavar}") from error


class Check(Checkbox):
    """A box that is empty where it is off, which can be told without colours as well."""

    def watch_value(self) -> None:
        """Fill or empty it."""
        self.BUTTON_INNER = "X" if self.value else " "
        super().watch_value()

    def on_mount(self) -> None:
        """Begin as it was made."""
        self.BUTTON_INNER = "X" if self.value else " "


class LastName(Suggester):
    """Completes the last name of a list."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(case_sensitive=True)
        self._names = list(names)

    async def get_suggestion(self, value: str) -> str | None:
        """The text with its last name completed."""
        begun = value
        for separator in "[,":
            begun = begun.rpartition(separator)[2] if value.startswith("[") else begun
        begun = begun.lstrip(" '\"")
        fits = (n for n in self._names if begun and n.startswith(begun))
        name = next(fits, None)
        return value[: len(value) - len(begun)] + name if name else None


class Place(LastName):
    """Completes what was used before, else the last part of a path to what there is.

    Args:
        names: what was used before.
        files: whether models are places as well, besides folders.
    """

    def __init__(self, names: Iterable[str], *, files: bool) -> None:
        super().__init__(names)
        self.cache = None  # what there is may change
        self._files = files

    async def get_suggestion(self, value: str) -> str | None:
        """The text with its last part completed; a folder ends with a slash."""
        known = await super().get_suggestion(value)
        begun = value.rpartition("/")[2]
        if known or not value:
            return known
        try:
            with os.scandir(Path(value.removesuffix(begun) or ".").expanduser()) as entries:
                looked = islice((e for e in entries if e.name.startswith(begun)), _MOST_ENTRIES)
                fits = sorted(self._shown(entry) for entry in looked)
        except OSError:
            return None
        found = next((name for name in fits if name and name[0] != "."), None)
        return value.removesuffix(begun) + found if found else None

    def _shown(self, entry: os.DirEntry[str]) -> str:
        if entry.is_dir():
            return f"{entry.name}/"
        return entry.name if self._files and entry.name.endswith(".onnx") else ""


def _widget(o: Option, value: Any) -> Checkbox | Select[str] | Input:
    if o.off or o.kind.is_switch:
        return Check(o.help, bool(value) != bool(o.off), compact=True)
    if o.kind.is_choice:
        may_lack = o.command_default is None
        chosen = Select.NULL if value is None else str(value)
        words = [str(word) for word in o.kind.choices]
        return Select.from_values(
            words, allow_blank=may_lack, value=chosen, prompt=o.help, compact=True
        )
    text = "" if value in _NOTHING else o.kind.show(value)
    return Input(text, placeholder=o.help, compact=True)
