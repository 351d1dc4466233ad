"""Cases one after the other in a process that may hang, crash or ask for memory without end."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.cases import AGREES, REFUSED, UNJUDGED, run_case

FINE = (AGREES, UNJUDGED, REFUSED)

SECONDS = 60
"""A case that takes longer hangs."""

MEMORY = 12 << 30
"""Bytes of addresses that the process may have."""


def run(numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What became of each case, in order."""
    waiting = list(numbers)
    while waiting:
        for told in _batch(tuple(waiting)):
            del waiting[0]
            yield told


def _batch(numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Cases until one ends the process; that one told as well."""
    command = [sys.executable, "-m", "tests.fuzz.runner"]
    place = Path(__file__).parents[2]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=place, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.stdin and child.stdout
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read(stream: Any) -> None:
        for line in stream:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, args=(child.stdout,), daemon=True).start()
    try:
        for number in numbers:
            child.stdin.write(f"{number}\n")
            child.stdin.flush()
            try:
                line = lines.get(timeout=SECONDS)
            except queue.Empty:
                yield {"case": number, "outcome": "hang"}
                return
            if not line:
                yield {"case": number, "outcome": "crash", "detail": f"status {child.wait()}"}
                return
            yield json.loads(line)
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def _serve() -> None:
    """Take numbers of cases from stdin, and tell of each in a line of JSON on stdout."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what analyses print is no answer here
    for line in sys.stdin:
        out.write(json.dumps(run_case(int(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    _serve()
