"""How much memory there is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup/memory.max")


def total_memory() -> int | None:
    """Bytes of memory that the machine, or the container, has; None where it does not say."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
    with suppress(OSError, ValueError):  # no container, or one without a limit
        total = min(total, int(_CGROUP.read_text(encoding="ascii")))
    return total
