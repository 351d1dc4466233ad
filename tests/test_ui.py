"""MLflow's web UI on real runs, walked through in a browser; and a server that keeps the runs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.lake import Lake, find_runs
from tests.conftest import Cli

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
PATIENCE = 90


def rank(lake: Path, model: Path) -> None:
    dbg.get_sensitivity_of_nodes(
        model, calibrated_data=demo.calibration_data_path(), data_num=2, lake=lake
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A lake with rankings of two models, and the address of ``hmct-debugger ui`` on it."""
    place = tmp_path_factory.mktemp("served")
    model = onnx.load(demo.model_path())
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.name == "303_HzCalibration" and attribute.name in ("scales", "thresholds"):
                attribute.floats[:] = [value / 2 for value in attribute.floats]
    onnx.save(model, place / "clipped.onnx")
    for path in (demo.model_path(), place / "clipped.onnx"):
        rank(place / "lake", path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hmct_track", "ui", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--lake", str(place / "lake")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(address):
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
        yield place / "lake", address
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as reply:  # noqa: S310
            return bool(reply.status == 200)
    except OSError:
        return False


def test_runs_go_to_a_server(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    _, address = served
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of a team")
    rank(tmp_path, demo.model_path())
    (row,) = find_runs(Lake.open(tmp_path))
    run = MlflowClient(tracking_uri=address).get_run(row["mlflow_run_id"])
    assert run.data.tags["hmct_track.run_id"] == row["run_id"]
    assert run.info.status == "FINISHED" and run.data.metrics["nodes"] == 22
    assert row["mlflow_uri"] == address
    assert not (tmp_path / "mlflow.db").exists()


def test_the_ui_says_where_a_servers_runs_are(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    Lake.create(tmp_path / "lake")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = cli("ui", "--lake", "lake")
    assert (done.returncode, done.stdout.strip()[-18:]) == (0, "http://127.0.0.1:9")


def test_the_ui_needs_a_lake_with_runs(tmp_path: Path, cli: Cli) -> None:
    assert "no lake" in cli("ui", "--lake", "lake").stderr
    Lake.create(tmp_path / "lake")
    done = cli("ui", "--lake", "lake")
    assert done.returncode == 2 and "no MLflow runs yet" in done.stderr


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine: the web UI is not walked")
def test_a_person_finds_runs_compares_them_and_sees_curves_and_figures(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    _, address = served
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{address}/#/experiments/1/runs")
        runs = page.get_by_role("link", name="sensitivity of node")
        runs.first.wait_for()
        assert sorted(runs.all_inner_texts()) == [
            "sensitivity of node, calibrated_model",
            "sensitivity of node, clipped",
        ]
        runs.first.click()
        page.get_by_text("Most sensitive, each quantized alone").wait_for()
        assert (
            page.get_by_text("clipped (").count() or page.get_by_text("calibrated_model (").count()
        )
        page.get_by_role("tab", name="Model metrics").click()
        page.get_by_text("cosine-similarity", exact=True).first.wait_for()
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text("sensitivity_of_node.png").first.click()
        figure = page.locator("img[src^='blob:'], img[src^='data:image/png']").last
        figure.wait_for()
        page.goto(f"{address}/#/experiments/1/runs")
        runs.first.wait_for()
        page.get_by_role("checkbox", name="Select all runs").check(force=True)
        page.get_by_role("button", name="Compare").first.click()
        page.get_by_text("Parallel Coordinates Plot").wait_for()
        page.get_by_text("cosine-similarity.worst").first.wait_for()
        page.screenshot(path=os.environ.get("HMCT_SCREENSHOT") or tmp_path / "compare.png")
        browser.close()
