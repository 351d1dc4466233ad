"""Textual's themes, with colours of severity that can be read as text."""

from __future__ import annotations

from dataclasses import replace

from textual.theme import BUILTIN_THEMES, Theme

_COLORS = {
    "textual-dark": {
        "block-cursor-background": "#005A9E",
        "text-error": "#E58FA2",
        "text-primary": "#7DBBEA",
    },
    "textual-light": {
        "footer-key-foreground": "#004578",
        "text-error": "#7A273C",
        "text-success": "#1F5C33",
        "text-warning": "#744A0E",
    },
}
"""Theme to variables whose contrast with the background is at least 4.5 to 1."""


def _theme(name: str, colors: dict[str, str]) -> Theme:
    theme = BUILTIN_THEMES[name]
    return replace(theme, variables={**theme.variables, **colors})


THEMES = {name: _theme(name, colors) for name, colors in _COLORS.items()}
