"""Every error that hmct-track raises on purpose.

HmctTrackError
├── ModelError        a model file that is broken, or holds what is not understood
├── DataError         calibration data that is broken, or does not fit the model
├── UsageError        an argument out of its documented range (also a ValueError)
│   └── UnknownNodeError  a node name that the model does not have
├── EngineError       the runtime refused the model or failed while running it
├── LakeError         the lake is missing, newer than this version, or damaged
│   └── QueryError    SQL that was refused or failed
└── TrackingError     MLflow could not take the run; the answer itself is safe in the lake

A message names the bad value, what was expected, and what to do, on one line of at most 300
characters. Control characters of names are written out in it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from hmct_track.text import one_line


class HmctTrackError(Exception):
    """Base of every error that hmct-track raises on purpose."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ModelError(HmctTrackError):
    """The model file is broken, or holds something that is not understood."""


class DataError(HmctTrackError):
    """The calibration data are broken, or do not fit the model."""


class UsageError(HmctTrackError, ValueError):
    """An argument is out of its documented range."""


class UnknownNodeError(UsageError):
    """A node name that the model does not have."""

    def __init__(
        self, name: str, known: Iterable[str], *, what: str = "node", more: str = ""
    ) -> None:
        close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
        hint = f"; closest names: {', '.join(close)}" if close else ""
        hint += f"; {more}" if more else ""
        super().__init__(f"the model has no {what} named {name!r}{hint}")


class EngineError(HmctTrackError):
    """The runtime refused the model, or failed while running it."""


class LakeError(HmctTrackError):
    """The lake is missing, written by a newer version, or damaged."""


class QueryError(LakeError):
    """SQL that was refused or failed."""


class TrackingError(HmctTrackError):
    """MLflow could not take the run; the answer itself is safe in the lake."""
