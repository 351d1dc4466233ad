"""MLflow's web UI on real runs, walked through in a browser; and a server that keeps the runs."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.lake import Lake, find_runs
from tests.conftest import Cli

if TYPE_CHECKING:
    from playwright.sync_api import Page

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
PATIENCE = 180
DEMO = "demo/calibrated_model"
"""What the demo's model is called: its file's name says nothing without its folder."""


def rank(lake: Path, model: Path) -> None:
    dbg.get_sensitivity_of_nodes(
        model, calibrated_data=demo.calibration_data_path(), data_num=2, lake=lake
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A lake with rankings of two models, and where ``hmct-debugger ui`` says that they are."""
    place = tmp_path_factory.mktemp("served")
    model = onnx.load(demo.model_path())
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.name == "303_HzCalibration" and attribute.name in ("scales", "thresholds"):
                attribute.floats[:] = [value / 2 for value in attribute.floats]
    onnx.save(model, place / "clipped.onnx")
    for path in (demo.model_path(), place / "clipped.onnx"):
        rank(place / "lake", path)
    dbg.plot_acc_error(
        None,
        demo.calibration_data_path(),
        demo.model_path(),
        quantize_node=["weight", "activation"],
        lake=place / "lake",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hmct_track", "ui", "--port", str(port)]
    errors = place / "stderr"
    with errors.open("wb") as stderr:
        server = subprocess.Popen(
            [*command, "--lake", str(place / "lake")], stdout=stderr, stderr=stderr
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"the runs are at (\S+)", errors.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, errors.read_text()
            time.sleep(0.2)
        yield place / "lake", found[1]
    finally:
        server.terminate()
        assert server.wait(30) == 0


@pytest.fixture(scope="module")
def served(told: tuple[Path, str]) -> tuple[Path, str]:
    """That lake, and the server's address."""
    lake, page = told
    return lake, page.partition("/#")[0]


def test_runs_go_to_a_server(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    _, address = served
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of a team")
    rank(tmp_path, demo.model_path())
    (row,) = find_runs(Lake.open(tmp_path))
    client = MlflowClient(tracking_uri=address)
    run = client.get_run(row["mlflow_run_id"])
    assert run.data.tags["hmct_track.run_id"] == row["run_id"]
    assert run.info.status == "FINISHED" and run.data.metrics["nodes"] == 22
    assert row["mlflow_uri"] == address
    assert not (tmp_path / "mlflow.db").exists()
    inputs = {given.tags[0].value: given.dataset.digest for given in run.inputs.dataset_inputs}
    assert inputs == {"model": row["model_id"], "calibration data": row["data_id"]}
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert names == {"sensitivity_of_node.log", "sensitivity_of_node.png"}
    table = Path(client.download_artifacts(run.info.run_id, "sensitivity_of_node.log"))
    assert row["worst_node"] in table.read_text()


def test_nested_runs_go_to_a_server(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    _, address = served
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    result = dbg.sensitivity_analysis(
        demo.model_path(),
        demo.calibration_data_path(),
        sensitive_nodes=["Conv_21", "Conv_2"],
        lake=tmp_path,
        experiment="nested",
    )
    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("nested")
    (row,) = find_runs(Lake.open(tmp_path))
    found = {
        run.info.run_name: run
        for run in client.search_runs([experiment.experiment_id])
        if run.data.tags.get("mlflow.parentRunId") == row["mlflow_run_id"]
    }
    assert sorted(found) == ["000 none", "001 Conv_21", "002 Conv_2"]
    for step in result.rows:
        nested = found[f"{step['step']:03d} {step['node']}"]
        assert nested.data.metrics["cosine-similarity"] == step["partial"]
        assert nested.data.tags["hmct_track.run_id"] == result.run_id
        assert nested.info.status == "FINISHED"
    note = client.get_run(row["mlflow_run_id"]).data.tags["mlflow.note.content"]
    assert "Conv_21" in note and result.run_id in note


def test_the_ui_says_where_a_servers_runs_are(
    tmp_path: Path, process: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    Lake.create(tmp_path / "lake")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = process("ui", "--lake", "lake")
    assert (done.returncode, done.stdout.strip()[-18:]) == (0, "http://127.0.0.1:9")


def test_the_ui_says_where_one_run_is(served: tuple[Path, str], process: Cli) -> None:
    """GIVEN a server that serves the lake already THEN no other is started."""
    lake, address = served
    run = next(r for r in Lake.open(lake).query("runs") if r["kind"] == "sensitivity")
    port = address.rpartition(":")[2]
    done = process("ui", run["run_id"], "--port", port, "--lake", str(lake))
    page = f"{address}/#/experiments/1/runs/{run['mlflow_run_id']}"
    assert (done.returncode, done.stderr) == (0, f"the run is at {page}\n")
    assert "no run is called 'nowhere'" in process("ui", "nowhere", "--lake", str(lake)).stderr


def test_the_ui_needs_a_lake_with_runs(tmp_path: Path, process: Cli) -> None:
    assert "no lake" in process("ui", "--lake", "lake").stderr
    Lake.create(tmp_path / "lake")
    done = process("ui", "--lake", "lake")
    assert done.returncode == 2 and "no MLflow runs yet" in done.stderr


def test_the_ui_complains_of_a_port_that_is_taken(tmp_path: Path, process: Cli) -> None:
    Lake.create(tmp_path / "lake")
    (tmp_path / "lake" / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = process("ui", "--lake", "lake", "--port", str(port))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert f"cannot listen on port {port}" in done.stderr
    assert process("ui", "--lake", "lake", "--port", "99999").returncode == 2


def test_the_ui_complains_of_a_database_that_cannot_be_opened(tmp_path: Path, process: Cli) -> None:
    Lake.create(tmp_path / "lake")
    os.mkfifo(tmp_path / "lake" / "mlflow.db")
    done = process("ui", "--lake", "lake", timeout=60)
    assert done.returncode == 2 and "mlflow.db is not a file" in done.stderr


def select(page: Page, *names: str) -> None:
    """Check the boxes of runs in the list, and of no others."""
    for name in names:
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))
        row.locator("input.ag-checkbox-input").check(force=True)
    page.get_by_role("button", name="Compare").first.click()
    page.get_by_text(f"Comparing {len(names)} Runs").wait_for()


def overlaid(page: Page, metric: str) -> list[str]:
    """The legend of the curves that a metric of the compared runs leads to."""
    page.get_by_role("link", name=metric, exact=True).first.click()
    legend = page.get_by_text(f"({metric})")
    legend.first.wait_for()
    page.locator(".scatterlayer .trace path.js-line").first.wait_for()
    return sorted(text.removesuffix(f" ({metric})") for text in legend.all_inner_texts())


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine: the web UI is not walked")
def test_a_person_finds_runs_compares_them_and_sees_curves_and_figures(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    _, address = served
    pictures = Path(os.environ.get("HMCT_SCREENSHOTS") or tmp_path)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{address}/#/experiments/1/runs")
        runs = page.get_by_role("link", name="sensitivity of node")
        runs.first.wait_for()
        assert sorted(runs.all_inner_texts()) == [
            "sensitivity of node, clipped",
            f"sensitivity of node, {DEMO}",
        ]

        # One run: its description, its curves and its figure.
        runs.first.click()
        page.get_by_text("Most sensitive, each quantized alone").wait_for()
        assert any(page.get_by_text(f"{name} (").count() for name in ("clipped", DEMO))
        page.get_by_role("tab", name="Model metrics").click()
        page.get_by_text("by_node.cosine-similarity", exact=True).first.wait_for()
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text("sensitivity_of_node.png").first.click()
        figure = page.locator("img[src^='blob:'], img[src^='data:image/png']").last
        figure.wait_for()

        # Two rankings: parallel coordinates, scatter, and their curves over the nodes.
        page.goto(f"{address}/#/experiments/1/runs")
        runs.first.wait_for()
        select(page, "sensitivity of node, clipped", f"sensitivity of node, {DEMO}")
        page.get_by_text("Parallel Coordinates Plot").wait_for()
        page.get_by_text("whole.cosine-similarity").first.wait_for()
        page.screenshot(path=pictures / "mlflow-compare.png")
        page.get_by_role("tab", name="Scatter Plot").click()
        page.locator(".js-plotly-plot canvas").first.wait_for()  # it draws with WebGL
        page.get_by_role("tabpanel", name="Scatter Plot").get_by_text("X-axis").first.wait_for()
        assert overlaid(page, "by_node.cosine-similarity") == [
            "sensitivity of node, clipped",
            f"sensitivity of node, {DEMO}",
        ]
        page.screenshot(path=pictures / "mlflow-curves.png")

        # Nested runs are folded away; unfolded, their error curves lie over one another.
        page.goto(f"{address}/#/experiments/1/runs")
        runs.first.wait_for()
        nested = page.get_by_role("link", name="only_weight_calibrated", exact=True)
        assert nested.count() == 0
        parent = page.get_by_role("row").filter(has_text="error accumulation").first
        parent.get_by_role("button").first.click()
        nested.wait_for()
        curves = ["only_activation_calibrated", "only_weight_calibrated"]
        select(page, *curves)
        assert overlaid(page, "by_node.cosine-similarity") == curves
        page.screenshot(path=pictures / "mlflow-nested.png")
        browser.close()


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine: the web UI is not walked")
def test_what_the_ui_says_leads_to_a_list_of_runs_with_the_columns_that_matter(
    told: tuple[Path, str], tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient
    from playwright.sync_api import sync_playwright

    lake, address = told
    pictures = Path(os.environ.get("HMCT_SCREENSHOTS") or tmp_path)
    # What rankings log of models that the lake has seen calibrated.
    client = MlflowClient(tracking_uri=f"sqlite:///{lake / 'mlflow.db'}")
    rankings = [run for run in client.search_runs(["1"]) if "sensitivity" in run.info.run_name]
    for number, run in enumerate(rankings):
        client.log_param(run.info.run_id, "calibration_method", ["kl", "max"][number])
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page(viewport={"width": 2400, "height": 1000})
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(address)
        page.get_by_role("link", name="sensitivity of node").first.wait_for()
        page.get_by_role("gridcell", name="Conv_21").first.wait_for()
        headers = page.locator("[role=columnheader][col-id*='`']").all()
        shown = {h.get_attribute("col-id"): (h.bounding_box() or {"x": 0})["x"] for h in headers}
        assert sorted(shown, key=lambda name: shown[name]) == [
            "attributes.`Run Name`",
            "metrics.`whole.cosine-similarity`",
            "tags.`hmct_track.worst_node`",
            "params.`model`",
            "params.`calibration_method`",
            "params.`data_num`",
            "params.`node_type`",
        ]
        page.screenshot(path=pictures / "mlflow-list.png")
        page.goto(f"{address}&compareRunsMode=CHART")
        parallel = page.locator("[data-testid='experiment-view-compare-runs-card']").first
        parallel.get_by_text("node_type").first.wait_for()
        page.screenshot(path=pictures / "mlflow-charts.png")
        axes = parallel.locator(".label").all_inner_texts()
        assert "NaN" not in parallel.inner_text(), axes
        browser.close()
