"""Fixtures that several test modules share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hmct_track import demo


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's lake and MLflow server out of the tests."""
    for name in ("HMCT_LAKE", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def demo_files() -> tuple[str, str]:
    """Paths of the demo's model and data."""
    return str(demo.model_path()), str(demo.calibration_data_path())


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run ``hmct-debugger`` in a process of its own, in an empty folder."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hmct_track", *arguments]
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            command, cwd=tmp_path, capture_output=True, text=True, check=False, **options
        )

    return run
