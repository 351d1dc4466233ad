"""How much memory there is, and giving back what is not used."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

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


def give_back() -> None:
    """Hand memory that was freed back to the system, where C's library (glibc) keeps it.

    It keeps what lies between blocks in use, of any size up to 32 MiB.
    """
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Any:
    with suppress(OSError, AttributeError, TypeError):  # only glibc has it
        return ctypes.CDLL(None).malloc_trim
    return None
