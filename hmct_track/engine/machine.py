"""What the machine has that an engine may use."""

from __future__ import annotations

import os

from hmct_track.memory import total_memory

_SHARE = 0.25
_MODEST = 2 << 30


def default_threads() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_memory() -> int:
    """A quarter of the memory that the machine, or the container, has, in bytes."""
    total = total_memory()
    return _MODEST if total is None else int(total * _SHARE)
