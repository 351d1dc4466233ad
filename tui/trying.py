"""A process that stays while nodes are marked: it knows soon what one node more would give.

It is ``hmct-debugger sensitivity-analysis``, which takes its nodes from stdin, a line of JSON each,
and answers in lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .launch import Command, signal_name

if TYPE_CHECKING:
    from hmct_track.lake.rows import PartialQuantizationRow

_GRACE = 10.0
"""Seconds in which it may end its run."""
_MOST_LINES = 50


@dataclass(frozen=True)
class Tried:
    """What the process says."""

    number: int | None = None
    """Of the question; none where it says something by itself."""
    rows: Sequence[PartialQuantizationRow] = ()
    """The fully quantized model, then each marked node as far as measured, and the last one."""
    error: str = ""
    """Why there is no answer."""
    has_ended: bool = False


class Trying:
    """The process. What it says is read by a thread of its own.

    Args:
        command: of which model and data.
        lake: where it is kept.
        tell: called by that thread with each answer, and at the end.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Command, lake: Path, tell: Callable[[Tried], None]) -> None:
        self._command = command
        self._tell = tell
        self.is_ready = False
        """Whether model and data are at hand, so that answers come at once."""
        self.is_closed = False
        self._process = subprocess.Popen(  # noqa: S603 - a list, no shell
            [sys.executable, "-m", "hmct_track", *command.argv(lake)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "HMCT_GROWING": "json"},
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )
        self._said: deque[str] = deque(maxlen=_MOST_LINES)
        self._complaints = threading.Thread(target=self._listen, daemon=True)
        self._complaints.start()
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, number: int, nodes: Sequence[str], qtype: str, metric: str) -> None:
        """Ask what the model would be; an answer with this number follows, unless one asks more."""
        asked = {"number": number, "nodes": list(nodes), "qtype": qtype, "metric": metric}
        with contextlib.suppress(OSError, ValueError):  # it has ended, and that is told
            self._stdin.write(f"{json.dumps(asked)}\n")
            self._stdin.flush()

    def close(self) -> None:
        """Let it end its run, and see to it that it ends."""
        if not self.is_closed:
            self.is_closed = True
            threading.Thread(target=self._end, daemon=True).start()

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin  # noqa: S101 - it is a pipe
        return self._process.stdin

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()
        for number in (signal.SIGINT, signal.SIGKILL):  # as Ctrl-C: what was measured is kept
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._process.send_signal(number)

    def _listen(self) -> None:
        assert self._process.stderr  # noqa: S101 - it is a pipe
        with self._process.stderr as stream:
            self._said.extend(line.strip() for line in stream)

    def _follow(self) -> None:
        assert self._process.stdout  # noqa: S101 - it is a pipe
        with self._process.stdout as stream:
            for line in stream:
                self._take(line)
        self._complaints.join()
        code = self._process.wait()
        if not self.is_closed:
            said = self._said[-1].removeprefix("hmct-debugger: error: ") if self._said else ""
            reason = f"killed by {signal_name(code)}" if code < 0 else said
            self._tell(Tried(error=reason or f"it ended with {code}", has_ended=True))

    def _take(self, line: str) -> None:
        told = json.loads(line)
        if told.get("ready"):
            self.is_ready = True
            self._tell(Tried())
        else:
            self._tell(Tried(told["number"], told.get("rows", ()), told.get("error", "")))
