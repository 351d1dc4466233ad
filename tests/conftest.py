"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from hmct_track import demo
from tests.support.here import run_here

# How long an example takes says more about the machine than about what is tested.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

_SLOW_MODULES = """
accumulation adding_an_analysis answer_first archives calibration cli cli_errors compare
compare_queries compat confidence declarations demo device diagnose distributed distribution
documentation everything explicit figure_words figures float_model fuzz goldens graph
history_queries imports inspection labels lake_care lake_contract lake_machine lake_versions
lake_years local_errors mend names nodes object_storage oracle outbox page partial plan plan_check
plan_files planned_models postgresql progress qdq queries query_contract racing random_graphs readme
reliability results round_trips samples scores secrets shares sql_guard tracking tracking_bounds tui
ui
"""
SLOW = frozenset(_SLOW_MODULES.split())
"""Modules whose tests run analyses, processes or servers: left out of ``make test-fast``."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests are left out, do not import their modules, which takes longest."""
    is_slow = collection_path.stem.removeprefix("test_") in SLOW
    return True if is_slow and "not slow" in config.option.markexpr else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow."""
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW:
            item.add_marker("slow")


_TOLD_MODULES = """
accumulation adding_an_analysis answer_first everything goldens postgresql secrets tracking
tracking_bounds ui
"""
_TOLD = frozenset(_TOLD_MODULES.split())
"""Modules that read MLflow after their runs. In others, runs stay in the outbox of their lake: no
process is left behind, and none pays for MLflow. Their own tests that read it pass ``wait``."""


@pytest.fixture(scope="module", autouse=True)
def _manner_of_recording(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no process behind that tells MLflow of runs."""
    name = request.path.stem.removeprefix("test_")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HMCT_RECORD", "wait" if name in _TOLD else "later")
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """A test's lake need not outlive a power cut, only the end of a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


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
    """Run ``hmct-debugger`` in an empty folder, as a call."""
    return partial(run_here, tmp_path)


@pytest.fixture
def process(tmp_path: Path) -> Cli:
    """Run ``hmct-debugger`` in a process of its own, in an empty folder."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hmct_track", *arguments]
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            command, cwd=tmp_path, capture_output=True, text=True, check=False, **options
        )

    return run
