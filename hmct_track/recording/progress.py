"""Progress on stderr: rate and time left, and of several steps which one it is."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from types import TracebackType
from typing import Any, Self, TypeVar

# The package that draws bars is loaded where one is drawn: scripts have none.

T = TypeVar("T")

ENVIRONMENT = "HMCT_PROGRESS"
"""Set to ``json``, progress is a JSON object per line on stderr: ``{"run": ID, "kind": ...}`` when
a run begins, then ``{"what": ..., "unit": ..., "done": n, "total": n, "rate": per second}``."""

_JSON_SECONDS = 0.2
QUIET_SECONDS = 10
"""Where stderr is no terminal, a line comes at most so often."""


class Clock:
    """When people who wait were told last, over several loops that are each done at once."""

    def __init__(self) -> None:
        self.began = self.told = time.monotonic()


class Steps:
    """One display of several steps: a bar over all of them, and below it that of the present one.

    Where stderr is no terminal each step is a line. As a context it ends with the last step.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        self._total = total
        self._shown = shown
        self._count = 0
        self._bar: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._shown and sys.stderr.isatty():
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._bar = tqdm(
                total=self._total,
                bar_format="{desc}  {bar:20}  {elapsed}",
                leave=False,
                miniters=0,
                dynamic_ncols=True,
                file=sys.stderr,
            )
            self._stack.callback(self._bar.close)
            self._stack.enter_context(logging_redirect_tqdm())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def begin(self, title: str) -> None:
        """The next step."""
        self._count += 1
        line = f"step {self._count} of {self._total}: {title}"
        if self._bar:
            self._bar.n = self._count - 1
            self._bar.set_description_str(line)
        elif self._shown:
            _tell(line)

    def aside(self, emit: Callable[[str], None]) -> Callable[[str], None]:
        """``emit`` so that what it prints does not mix with the bars."""

        def printed(text: str) -> None:
            with type(self._bar).external_write_mode() if self._bar else nullcontext():
                emit(text)

        return printed

    def tick(self) -> None:
        """Keep the clock going."""
        if self._bar:
            self._bar.update(0)


def progress(
    items: Iterable[T],
    *,
    total: int,
    what: str,
    unit: str,
    shown: bool = True,
    steps: Steps | None = None,
    clock: Clock | None = None,
) -> Iterator[T]:
    """Yield ``items`` while a bar on stderr shows how far they are.

    In a terminal the bar is live and gone at the end; elsewhere a line comes every ten seconds.
    Work that is done at once shows nothing; of many loops with one ``clock``, their whole counts.
    """
    clock = clock or Clock()
    if _is_json():
        yield from _json_lines(items, total, what, unit)
    elif not shown:
        yield from items
    elif not sys.stderr.isatty():
        yield from _lines(items, total, what, unit, clock)
    else:
        from tqdm import tqdm

        bar = tqdm(
            items,
            total=total,
            desc=what,
            unit=f" {unit}",
            leave=False,
            delay=max(0.5 + clock.began - time.monotonic(), 0),
            dynamic_ncols=True,
            file=sys.stderr,
        )
        for item in bar:
            yield item
            if steps:
                steps.tick()


def _lines(items: Iterable[T], total: int, what: str, unit: str, clock: Clock) -> Iterator[T]:
    began = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - clock.told >= QUIET_SECONDS:
            from tqdm import tqdm

            clock.told = now
            form = "{desc}: {n_fmt} of {total_fmt}{unit}, {rate_fmt}, {remaining} left"
            line = tqdm.format_meter(
                done, total, now - began, prefix=what, unit=f" {unit}", bar_format=form
            )
            _tell(line)


def announce(run_id: str, kind: str) -> None:
    """Tell a program that reads JSON lines which run has begun."""
    if _is_json():
        _tell(json.dumps({"run": run_id, "kind": kind}))


def _json_lines(items: Iterable[T], total: int, what: str, unit: str) -> Iterator[T]:
    began = told = time.monotonic()
    done = 0

    def state() -> str:
        spent = time.monotonic() - began
        rate = done / spent if done and spent else None
        return json.dumps({"what": what, "unit": unit, "done": done, "total": total, "rate": rate})

    _tell(state())
    for done, item in enumerate(items, start=1):  # noqa: B007 - state() reads it
        yield item
        if time.monotonic() - told >= _JSON_SECONDS:
            told = time.monotonic()
            _tell(state())
    _tell(state())


def _is_json() -> bool:
    return os.environ.get(ENVIRONMENT) == "json"


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
