"""The command line without a process of its own, for what does not depend on one: much faster."""

from __future__ import annotations

import io
import logging
import subprocess
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

from hmct_track.cli import main

_LOG = logging.getLogger("hmct_track")


def run_here(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What ``hmct-debugger`` with these arguments returns and prints, called in a folder."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n") for _ in range(2))
    # Warnings go to stderr where nobody handles them, and pytest does.
    shown = logging.StreamHandler(err)
    shown.setLevel(logging.WARNING)
    _LOG.addHandler(shown)
    try:
        with chdir(folder), redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(arguments)
            except SystemExit as stop:  # argparse
                code = int(stop.code or 0)
    finally:
        _LOG.removeHandler(shown)
    printed = []
    for stream in (out, err):
        stream.flush()
        printed.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(list(arguments), code, *printed)
