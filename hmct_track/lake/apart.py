"""Asks `sift`, which is a process of its own, and outlives whatever becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hmct_track.lake.schema import Table

_SECONDS = 900.0
MODULE = ["-m", "hmct_track.lake.sift"]
"""What the other process runs."""


def part_problems(parts: Sequence[tuple[Table, Path]]) -> list[str]:
    """What is wrong with parts, a text each that is empty if nothing is.

    A part at which the reader dies is the one that it had not answered for; it goes on after that.
    """
    found: list[str] = []
    while len(found) < len(parts):
        rest = [(table.name, str(path)) for table, path in parts[len(found) :]]
        answers, ended = _ask(["parts"], json.dumps(rest))
        found += answers
        if len(found) < len(parts):
            found.append(f"cannot be read: its reader ended with {ended}")
    return found


def archive_problem(source: Path, folder: Path) -> str:
    """Take the tables of an archive apart into a folder; what is wrong, or an empty text."""
    answers, ended = _ask(["archive", str(source), str(folder)], "")
    return answers[0] if answers else f"its reader ended with {ended}"


def _ask(arguments: list[str], text: str) -> tuple[list[str], str]:
    """The answers, and how the process ended."""
    command = [sys.executable, "-P", *MODULE, *arguments]
    # The same packages as here, and none of the folder that the user happens to be in.
    own = str(Path(__file__).resolve().parents[2])
    found = [own, *(place for place in sys.path if place)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(found))}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter; paths are arguments, not text
            command,
            input=text,
            capture_output=True,
            text=True,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        given = error.stdout or b""
        return _lines(given if isinstance(given, str) else given.decode()), "no answer in time"
    return _lines(done.stdout), _ended(done.returncode, done.stderr)


def _lines(text: str) -> list[str]:
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [str(json.loads(line)) for line in whole]


def _ended(code: int, stderr: str) -> str:
    if code < 0:
        return signal.Signals(-code).name
    last = stderr.strip().splitlines()
    return f"exit code {code}" + (f" ({last[-1]})" if last else "")
