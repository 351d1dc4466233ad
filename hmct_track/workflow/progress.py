"""Progress on stderr: rate and time left."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(
    items: Iterable[T], *, total: int, what: str, unit: str, shown: bool = True
) -> Iterator[T]:
    """Yield ``items`` while a bar on stderr shows how far they are.

    In a terminal the bar is live and gone at the end; elsewhere a line comes every ten seconds.
    Work that is done at once shows nothing.
    """
    live = sys.stderr.isatty()
    bar = tqdm(
        items,
        total=total,
        desc=what,
        unit=f" {unit}",
        disable=not shown,
        leave=not live,
        mininterval=0.1 if live else 10,
        delay=0.5,
        dynamic_ncols=live,
        file=sys.stderr,
    )
    yield from bar
