"""Textual's themes, with colours of severity that can be read as text."""

from __future__ import annotations

from dataclasses import replace

from textual.theme import BUILTIN_THEMES, Theme

_COLORS = {
    "textual-dark": {
        "text-primary": "#7DBBEA",
        "text-error": "#E58FA2",
        "block-cursor-background": "#005A9E",
    },
    "textual-light": {
        "text-warning": "#744A0E",
        "text-success": "#1F5C33",
        "text-error": "#7A273C",
    },
}
"""Theme to variables whose contrast with the background is at least 4.5 to 1."""


def _theme(name: str, colors: dict[str, str]) -> Theme:
    theme = BUILTIN_THEMES[name]
    return replace(theme, variables={**theme.variables, **colors})


THEMES = [_theme(name, colors) for name, colors in _COLORS.items()]
