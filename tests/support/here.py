"""The command line without a process of its own, for what does not depend on one: much faster."""

from __future__ import annotations

import subprocess

import pytest

from hmct_track.cli import main


def run_here(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """What ``hmct-debugger`` with these arguments returns and prints, in the current folder."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return subprocess.CompletedProcess(list(arguments), code, out, err)
