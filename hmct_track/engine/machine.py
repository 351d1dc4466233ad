"""What the machine has that an engine may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_SHARE = 0.25
_MODEST = 2 << 30
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def default_threads() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_memory() -> int:
    """A quarter of the memory that the machine, or the container, has, in bytes."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return _MODEST
    with suppress(OSError, ValueError):  # no container, or one without a limit
        total = min(total, int(_CGROUP.read_text(encoding="ascii")))
    return int(total * _SHARE)
