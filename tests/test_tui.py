"""The terminal UI on lakes made by real analyses: every screen, every key, and a real terminal."""

from __future__ import annotations

import asyncio
import csv
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from filelock import FileLock
from hmct_track.tui import make_app
from hmct_track.tui.app import FigureMade
from hmct_track.tui.base import Found, JobBar, Notice
from hmct_track.tui.charts import Panel
from hmct_track.tui.fields import Field
from hmct_track.tui.grid import Grid
from hmct_track.tui.launch import Command, Job
from hmct_track.tui.reads import Reader
from hmct_track.tui.views import VIEWS
from onnxruntime.quantization import QuantFormat, quantize_static
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Button, Input, OptionList, Select, TextArea, Tree
from textual.widgets._footer import FooterKey

from hmct_track import demo
from hmct_track.analyses import ANALYSES, Analysis, GetSensitivityOfNodes, Runall
from hmct_track.cli import main
from hmct_track.errors import UsageError
from hmct_track.lake import MODELS, NODES, RUN_CONFIGS, RUNS, SAMPLES, Lake, find_run, load_query
from hmct_track.lake.schema import MEASUREMENTS
from hmct_track.options import options_of
from hmct_track.options.parsing import show_names
from hmct_track.options.recording import Recording
from hmct_track.reading.figure import figure_file
from hmct_track.types import Metric
from tests.support.floats import Reader as FloatSamples
from tests.support.floats import float_model
from tests.support.rows import measurement_row, run_row
from tests.support.screen import painted, screen_text

MODEL, DATA = str(demo.model_path()), str(demo.calibration_data_path())
ABOUT: dict[str, Any] = {"model_or_file": MODEL, "calibrated_data": DATA}
UNTRACKED = Recording(track=False)
ODD = "a/[b]:x [red] 'q'"
SNAPSHOTS = Path(__file__).parent / "snapshots"

BEFORE, AFTER = "20260102T030405000-00000000", "20260102T030405000-00000001"

Scene = Callable[[Pilot[None]], Awaitable[None]]


def analyse(*arguments: str, lake: Path) -> None:
    assert main([*arguments, "--lake", str(lake), "--no-track", "--no-progress"]) == 0


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of real analyses of the demo model, made once for all workers of pytest-xdist."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # that of the session; a worker's own is in it
    lake = place / "tui" / "lake"
    with FileLock(f"{place / 'tui'}.lock"):
        if not lake.exists():
            making = place / "tui-making" / "lake"
            analyse_demo(making)
            making.parent.rename(lake.parent)
    return lake


def analyse_demo(lake: Path) -> None:
    rank = ("get-sensitivity-of-nodes", MODEL, DATA, "-m", "sqnr")
    analyse(*rank, "-d", "2", lake=lake)
    analyse(*rank, "-d", "4", lake=lake)
    worst = Lake.open(lake).query("runs")[0]["worst_node"]
    (quantizer, *_) = calibration_nodes(lake, worst)
    analyse("plot-distribution", MODEL, DATA, "-n", f"[{worst},{quantizer}]", lake=lake)
    channels = "get-channelwise-data-distribution"
    analyse(channels, MODEL, DATA, "-n", quantizer, lake=lake)
    analyse("plot-acc-error", MODEL, DATA, "-q", f"[{worst}]", "-m", "sqnr", lake=lake)


@pytest.fixture
def lake(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; the history of SQL is kept out of the user's folder, no desktop is used."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "lake")
    return tmp_path / "lake"


def calibration_nodes(lake: Path, node: str) -> list[str]:
    (row,) = (
        Lake.open(lake)
        .sql(
            f"SELECT calibration_nodes FROM nodes WHERE node = '{node}'"  # noqa: S608
        )
        .rows
    )
    return list(row[0])


def play(
    lake: Path, scene: Scene, size: tuple[int, int] = (120, 40), *, toasts: bool = False
) -> None:
    """Run a scene in the application; toasts are shown only where they are asked for."""

    async def run() -> None:
        async with make_app(lake).run_test(size=size, notifications=toasts) as pilot:
            await scene(pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], is_so: Callable[[], Any], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, text_of(pilot)
        await pilot.pause(0.05)


def text_of(pilot: Pilot[None]) -> str:
    """What is on the screen."""
    return screen_text(pilot.app)


async def shows(pilot: Pilot[None], text: str, seconds: float = 40) -> None:
    await until(pilot, lambda: text in text_of(pilot), seconds)


def just_now() -> datetime:
    """In UTC; what has run for a week elsewhere is taken for lost."""
    return datetime.now(UTC).replace(tzinfo=None)


def table(pilot: Pilot[None]) -> Grid:
    return pilot.app.screen.query_one(Grid)


async def open_ranking(pilot: Pilot[None]) -> None:
    """The newest ranking, which is the run of four samples."""
    await until(pilot, lambda: table(pilot).row_count == 5)
    await pilot.press("slash", *"sensitivity", "enter", "enter")
    await until(pilot, lambda: table(pilot).id == "nodes" and table(pilot).row_count)


def test_runs_are_listed_filtered_marked_and_copied(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        assert "5 runs in" in text_of(pilot)
        run = table(pilot).current
        await pilot.press("y")
        assert pilot.app.clipboard == run.run_id
        await pilot.press("slash", *"sens")
        await until(pilot, lambda: table(pilot).row_count == 2)
        worst = Lake.open(lake).query("runs", kind="sensitivity")[0]
        assert worst["worst_node"] in text_of(pilot)
        assert f"{worst['worst_value']:.5f}" in text_of(pilot)
        await pilot.press(*"xyz")
        await shows(pilot, "No run fits the filter.")
        await pilot.press("escape")
        await until(pilot, lambda: table(pilot).row_count == 5)
        assert table(pilot).has_focus

    play(lake, scene)


def test_runs_of_other_processes_appear_by_themselves(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        Lake.open(lake).append(
            RUNS, [run_row("20990101T000000000-aaaaaaaa", kind="other", started_at=just_now())]
        )
        await until(pilot, lambda: table(pilot).row_count == 6)
        await shows(pilot, "▶  other")

    play(lake, scene)


def test_nodes_are_ranked_sorted_and_filtered(lake: Path) -> None:
    run = Lake.open(lake).query("runs", kind="sensitivity")[0]["run_id"]
    ranked = {
        m: [r["subject"] for r in Lake.open(lake).query("sensitivity", run_id=run, metric=m.value)]
        for m in Metric
    }

    async def scene(pilot: Pilot[None]) -> None:
        def names() -> list[str]:
            return [row.name for row in table(pilot).rows]

        await open_ranking(pilot)
        assert names() == ranked[Metric.SQNR]
        await pilot.press("r")
        assert names() == ranked[Metric.SQNR][::-1]
        await pilot.press("s")
        assert names() == ranked[Metric.CHEBYSHEV]
        await pilot.press("s")
        assert names() == ranked[Metric.COSINE_SIMILARITY]
        await pilot.click(Grid, offset=(2, 0))
        assert names() == sorted(names())
        await pilot.press("slash", *"add", "enter")
        assert {row.op_type for row in table(pilot).rows} == {"Add"}
        await pilot.press("escape", "t", "t")
        await shows(pilot, "This run has no weight nodes; w measures them.")
        await pilot.press("t", "t", "y")
        assert pilot.app.clipboard == table(pilot).current.name
        await pilot.press("escape")
        assert table(pilot).id == "runs"

    play(lake, scene)


def test_what_a_run_lacks_is_measured_with_a_key_and_appears(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await open_ranking(pilot)
        await pilot.press("t", "t", "w")
        await shows(pilot, "-n weight -d 4")
        await pilot.press("enter")
        (job,) = app.jobs
        await until(pilot, lambda: app.screen.query_one(JobBar).display)
        await until(pilot, lambda: not job.is_running)
        assert job.state == "FINISHED", job.messages
        await pilot.press("escape", "escape")
        await until(pilot, lambda: table(pilot).row_count == 6)
        assert table(pilot).rows[0].run_id == job.run_id
        assert table(pilot).rows[0].parameters["node_type"] == "weight"

    play(lake, scene)


def test_a_node_shows_what_is_known_of_it(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await open_ranking(pilot)
        worst, second = (row.name for row in table(pilot).rows[:2])
        await pilot.press("enter")
        await shows(pilot, "threshold")
        screen: Any = pilot.app.screen
        panels = {panel.id: panel for panel in screen.query(Panel)}
        await until(pilot, lambda: "sqnr through" in str(panels["curve"].border_title))
        await until(pilot, lambda: "in 2 runs" in str(panels["history"].border_title))
        await shows(pilot, "after:")
        text = text_of(pilot)
        quantizers = calibration_nodes(lake, worst)
        for fact in (worst, *quantizers, "int8, 8 bits", "scales", "before:", "after:", "channels"):
            assert fact in text
        titles = [panels["histogram"].border_title]
        for _ in quantizers:
            await pilot.press("t")
            titles.append(panels["histogram"].border_title)
        assert len(set(titles)) == 1 + len(quantizers)
        for key, name in zip("12345", panels, strict=True):
            await pilot.press(key)
            assert screen.focused.id == name
        await pilot.press("right")
        await shows(pilot, f"{second}  ")
        await shows(pilot, "d computes histograms")
        await pilot.press("left", "right", "escape")
        assert table(pilot).current.name == second

    play(lake, scene, (200, 60))


def test_figures_are_made_once_and_their_path_is_given(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await open_ranking(pilot)
        worst = table(pilot).current.name
        await pilot.press("enter")
        await shows(pilot, "threshold")
        await pilot.press("2", "p")
        await until(pilot, lambda: isinstance(pilot.app.screen, Notice))
        (figure,) = (lake / "figures").glob("*/*.png")
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert worst in figure.name
        assert pilot.app.clipboard == str(figure)
        made_at = figure.stat().st_mtime_ns
        await pilot.press("escape", "p")
        await until(pilot, lambda: isinstance(pilot.app.screen, Notice))
        assert figure.stat().st_mtime_ns == made_at

    play(lake, scene)


@pytest.mark.parametrize(
    ("key", "command"),
    [
        ("d", "plot-distribution"),
        ("b", "get-channelwise-data-distribution"),
        ("e", "plot-acc-error"),
    ],
)
def test_what_is_missing_of_a_node_is_computed_with_a_key(
    lake: Path, key: str, command: str
) -> None:
    """The form shows the command, which may be edited."""

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        started: list[tuple[Analysis, Recording]] = []
        app.start = lambda analysis, recording, then=None: started.append((analysis, recording))
        await open_ranking(pilot)
        await pilot.press("down", "enter")
        await shows(pilot, "1 What it is")
        name = app.screen.name_shown
        await pilot.press(key)
        await shows(pilot, f"hmct-debugger {command}")
        app.screen.query_one("#of-data_num", Input).value = "3"
        await pilot.pause()
        await pilot.press("enter")
        ((analysis, _),) = started
        assert (analysis.command, analysis.data_num) == (command, 3)
        assert (analysis.model_or_file, analysis.calibrated_data) == (MODEL, DATA)
        quantizers = calibration_nodes(lake, name)
        asked = getattr(analysis, "nodes_list", None) or getattr(analysis, "quantize_node", None)
        assert asked == {"d": [name, *quantizers], "b": quantizers, "e": [name]}[key]

    play(lake, scene)


@pytest.fixture
def quantized(lake: Path, tmp_path: Path) -> tuple[str, str]:
    """A QDQ model whose weights are integers, and the model that was quantized, with a run."""
    before, after = tmp_path / "float.onnx", tmp_path / "qdq.onnx"
    onnx.save(float_model(), before)
    quantize_static(before, after, FloatSamples(), quant_format=QuantFormat.QDQ)
    rank = ("get-sensitivity-of-nodes", str(after), DATA, "-m", "mse", "-d", "2", "-o", "Conv_4")
    analyse(*rank, "--threads", "1", "--float-model", str(before), lake=lake)
    return str(after), str(before)


def test_follow_ups_keep_all_that_a_run_was_given(lake: Path, quantized: tuple[str, str]) -> None:
    """A curve of a QDQ model without its float model would belong to another model content."""
    _, before = quantized

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await until(pilot, lambda: table(pilot).row_count == 6)
        await pilot.press("enter")
        await until(pilot, lambda: table(pilot).id == "nodes" and table(pilot).row_count)
        await pilot.press("t", "t", "w")
        await shows(pilot, "Start  ctrl+s")
        command = str(app.screen.query_one("#preview").render())
        for argument in (f"--float-model {before}", "-m mse -o Conv_4 -n weight -d 2 --threads 1"):
            assert argument in command
        await pilot.press("escape", "t", "t", "enter")
        await shows(pilot, "Not measured yet.  e computes the error curve")
        await pilot.press("e")
        await shows(pilot, "hmct-debugger plot-acc-error")
        await pilot.press("enter")
        await until(pilot, lambda: app.jobs and not app.jobs[0].is_running)
        assert app.jobs[0].state == "FINISHED", app.jobs[0].messages
        panel = app.screen.query_one("#curve", Panel)
        await until(pilot, lambda: "mse through the model" in str(panel.border_title))

    play(lake, scene, (120, 60))


def test_what_a_follow_up_measured_is_in_the_ranking_that_asked_for_it(lake: Path) -> None:
    analyse("get-sensitivity-of-nodes", MODEL, DATA, "-n", "weight", "-d", "4", lake=lake)

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 6)
        await pilot.press("slash", *"of node", "enter", "enter")
        await until(pilot, lambda: table(pilot).id == "nodes" and table(pilot).row_count == 22)
        await pilot.press("t", "t")
        await until(pilot, lambda: {row.type for row in table(pilot).rows} == {"weight"})
        layer = table(pilot).current.consumers[0]
        assert f" {table(pilot).current.name} " in text_of(pilot)
        assert f" {layer} " in text_of(pilot), "the layer is readable"

    play(lake, scene, (80, 24))


def test_the_whole_model_comes_first(lake: Path) -> None:
    newest = Lake.open(lake).query("runs", kind="sensitivity")[0]["run_id"]
    whole = {r["metric"]: r["value"] for r in Lake.open(lake).query("whole_model", run_id=newest)}
    cosine = f"{whole['cosine-similarity']:.5f}"

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        assert f"{whole['sqnr']:.5f}" in text_of(pilot)
        await open_ranking(pilot)
        await shows(pilot, f"all nodes quantized: sqnr {whole['sqnr']:.5f}")
        await pilot.press("s", "s")
        await shows(pilot, f"all nodes quantized: cosine-similarity {cosine}")
        await pilot.press("escape", "c", "down", "c")
        await shows(pilot, f"{whole['sqnr']:.5f}, ")

    play(lake, scene)


def test_one_goes_along_the_graph_from_a_node(lake: Path) -> None:
    """Quantizers are passed over; the demo's own file says what is connected."""
    graph = onnx.load(MODEL).graph
    source = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "HzCalibration"}
    gives = {out: n.name for n in graph.node for out in n.output}
    add = next(n for n in graph.node if n.op_type == "Add")
    fed_by = [gives[source.get(tensor, tensor)] for tensor in add.input]
    run = Lake.open(lake).query("runs", kind="sensitivity")[0]["run_id"]
    rows = Lake.open(lake).query("sensitivity", run_id=run, metric="sqnr")
    ranked = {row["subject"]: row["rank"] for row in rows}

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await open_ranking(pilot)
        await pilot.press("slash", *add.name.lower(), "enter", "enter")
        await shows(pilot, "fed by")
        for name in fed_by:
            told = f"{name} (rank {ranked[name]})" if name in ranked else name
            assert told in text_of(pilot)
        await pilot.press("u")
        await shows(pilot, "Which node?")
        await pilot.press("1")
        await until(pilot, lambda: getattr(app.screen, "name_shown", "") == fed_by[0])
        await pilot.press("f")
        await pilot.pause(0.2)
        if isinstance(app.screen, Notice):
            await pilot.press("1")
        await until(pilot, lambda: getattr(app.screen, "name_shown", fed_by[0]) != fed_by[0])
        app.screen.post_message(Found("evidence", {}, 0))  # of the node before, that was on its way
        await pilot.pause(0.1)

    play(lake, scene, (200, 60))


def test_the_rank_of_a_node_is_by_the_metric_that_is_looked_at(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await open_ranking(pilot)
        await pilot.press("s", "s", "down", "down", "enter")
        await shows(pilot, "rank 3  cosine-similarity")

    play(lake, scene)


def test_the_sign_of_the_order_is_at_the_column_that_orders(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await open_ranking(pilot)
        await shows(pilot, "sqnr▼")
        await pilot.click(Grid, offset=(2, 0))
        await shows(pilot, "node▼")
        assert "sqnr▼" not in text_of(pilot)

    play(lake, scene)


def test_the_first_match_of_a_filter_is_what_enter_opens(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await open_ranking(pilot)
        adds = [row.name for row in table(pilot).rows if row.op_type == "Add"]
        table(pilot).go_to(adds[1])
        await pilot.press("slash", *"add", "enter")
        await until(pilot, lambda: table(pilot).row_count == len(adds))
        assert table(pilot).current.name == adds[0]
        await pilot.press("j")
        assert table(pilot).current.name == adds[1]

    play(lake, scene)


def test_the_worst_of_a_runall_is_that_of_all_its_rankings(lake: Path) -> None:
    at = {"state": "FINISHED", "metrics": ["mse"], "data_num": 1}
    steps = [("weight", "Conv_1", 0.25), ("activation", "Conv_2", 0.75)]
    parent = "20990101T000000000-aaaaaaaa"
    rows = [run_row(parent, kind="runall", worst_node="Conv_1", worst_value=0.25, **at)]
    for i, (kind, node, value) in enumerate(steps):
        about = {"parameters": f'{{"node_type": "{kind}"}}', "parent_run_id": parent}
        worst = {"worst_node": node, "worst_value": value}
        run_id = f"20990101T00000000{i}-bbbbbbbb"
        rows.append(run_row(run_id, kind="sensitivity", **worst, **about, **at))
    Lake.open(lake).append(RUNS, rows)
    runs = {run.run_id: run for run in make_app(lake).reader.runs()}
    assert (runs[parent].worst_node, runs[parent].worst_value) == ("Conv_2", 0.75)


def test_a_run_whose_process_was_killed_is_not_running(lake: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        process.kill()
    here = {"host": platform.node(), "pid": process.pid}
    Lake.open(lake).append(RUNS, [run_row("20990101T000000000-aaaaaaaa", kind="other", **here)])

    async def scene(pilot: Pilot[None]) -> None:
        await shows(pilot, "■  other")

    play(lake, scene)
    (run, *_) = Lake.open(lake).query("runs")
    assert (run["state"], run["error"]) == ("KILLED", "the process ended without a word")


def test_a_job_that_was_killed_says_by_what(lake: Path) -> None:
    job = Job(Command.of(Runall(**ABOUT, data_num=8), UNTRACKED), lake)
    os.kill(job.pid, signal.SIGKILL)
    assert job.wait(40)
    assert (job.state, job.error) == ("FAILED", "runall was killed by SIGKILL")


def test_an_error_of_the_lake_goes_when_it_has_gone(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await until(pilot, lambda: table(pilot).row_count == 5)
        part = max((lake / "tables" / "runs").glob("*.parquet"))
        times, content = part.parent.stat(), part.read_bytes()
        part.write_bytes(content[:100])
        app.reader.seen = None
        await shows(pilot, "The lake cannot be read now")
        part.write_bytes(content)
        os.utime(part.parent, ns=(times.st_atime_ns, times.st_mtime_ns))
        await shows(pilot, "5 runs in")

    play(lake, scene)


def test_a_cosine_of_a_single_element_is_told_as_such(tmp_path: Path) -> None:
    """GIVEN an output of one element
    THEN the ranking and the node say what its cosine similarity is worth, but of no other metric.
    """
    lake = Lake.create(tmp_path / "lake")
    lake.append(RUNS, [run_row("r", data_num=1, parameters='{"node_type": "node"}')])
    lake.append(SAMPLES, [row(SAMPLES, data_id="d", position=0, sample_id="s")])
    lake.append(RUN_CONFIGS, [
        {"run_id": "r", "position": k, "config_id": f"c{k}", "subject": f"n{k}", "role": role}
        for k, role in enumerate(("reference", "only"))
    ])  # fmt: skip
    lake.append(MEASUREMENTS, [measurement_row(f"c{k}", count=1) for k in range(2)])
    told = "of a single element is always 1 or -1"

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 1)
        await pilot.press("enter")
        await shows(pilot, told)
        await pilot.press("s")
        await until(pilot, lambda: told not in text_of(pilot))
        await pilot.press("enter")
        await shows(pilot, told)

    play(lake.path, scene, (80, 24))


def test_a_ranking_that_cannot_be_read_says_so_and_goes_on_saying_it(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        for part in (lake / "tables" / "measurements").rglob("*.parquet"):
            part.write_bytes(part.read_bytes()[:50])
        await pilot.press("slash", *"sensitivity", "enter", "enter")
        await until(pilot, lambda: table(pilot).id == "nodes")
        await until(pilot, lambda: "Reading the run" not in text_of(pilot))
        pilot.app.clear_notifications()
        await pilot.pause(0.2)
        assert "No magic bytes found" in text_of(pilot)
        assert ".parquet" in text_of(pilot).replace("\n", "").replace(" ", "")

    play(lake, scene)


def test_sql_keeps_what_failed_what_was_typed_and_what_was_asked(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await until(pilot, lambda: table(pilot).row_count == 5)
        await pilot.press("f2")
        editor = app.screen.query_one(TextArea)
        catalog = app.screen.query_one("#catalog", OptionList)
        await until(pilot, lambda: catalog.option_count)
        catalog.highlighted = [str(o.id) for o in catalog.options].index("query sensitivity")
        catalog.focus()
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query(".parameter"))
        await shows(pilot, " run_id ")

        def field(name: str) -> Input:
            return next(f for f in app.screen.query(Input) if f.name == name)

        query = editor.text
        field("metric").value = "mse"
        await pilot.press("f5")
        await shows(pilot, "22 rows")
        editor.text = "SELECT broken"
        editor.focus()
        await pilot.press("f5")
        await shows(pilot, "LINE 1: SELECT broken")
        editor.text = "SELECT half"
        await pilot.press("escape", "f2")
        assert editor.text == "SELECT half"
        editor.focus()
        await pilot.press("f7")
        await until(pilot, lambda: editor.text == query)
        await until(pilot, lambda: app.screen.query(".parameter"))
        assert field("metric").value == "mse"
        await pilot.press("f8")
        assert editor.text == "SELECT broken"

    play(lake, scene, (120, 50))


def test_a_figure_that_is_late_waits_for_a_key(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await until(pilot, lambda: table(pilot).row_count == 5)
        asked_from = app.screen
        await pilot.press("f2")
        app.post_message(FigureMade(lake / "figure.png", asked_from))
        await shows(pilot, "figure is ready")
        assert not isinstance(app.screen, Notice)
        await pilot.press("escape", "v")
        await until(pilot, lambda: isinstance(app.screen, Notice))

    play(lake, scene, toasts=True)


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.1, of two colours such as #1f1f1f."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
@pytest.mark.parametrize("screen", ["runs", "ranking", "node", "compare", "new"])
def test_text_can_be_read_in_both_themes(written: Path, screen: str, theme: str) -> None:
    """Letters have a contrast of 4.5 to 1 with what is behind them (WCAG 2.1, 1.4.3)."""
    low: set[tuple[str, float, str]] = set()

    async def scene(pilot: Pilot[None]) -> None:
        pilot.app.theme = theme
        await go_to(screen, pilot)
        for button in pilot.app.screen.query(Button):
            button.disabled = False  # what cannot be used need not stand out
        await pilot.pause(0.2)
        texts = painted(pilot.app)
        assert len(texts) > 20
        for text, color, behind in texts:
            ratio = contrast(color, behind)
            if re.search(r"\w{3}", text) and ratio < 4.5:
                low.add((text.strip(), round(ratio, 2), f"{color} on {behind}"))
        assert not low

    play(written, scene, (120, 40))


def test_marked_nodes_are_tried_in_place_and_acted_on(lake: Path) -> None:
    """What the screen shows of the marked set is what the command line measures of it."""

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await open_ranking(pilot)
        names = [row.name for row in table(pilot).rows]
        await pilot.press("space", "space")
        await until(pilot, lambda: app.screen.so_far.keys() == set(names[:2]))
        assert "2 marked, tried as int16: sqnr" in text_of(pilot)
        run = Lake.open(lake).query("runs", kind="sensitivity-analysis")[0]["run_id"]
        rows = Lake.open(lake).query("partial_quantization", run_id=run, metric="sqnr")
        assert [row["node"] for row in rows] == ["none", *names[:2]]
        assert f"{rows[0]['partial']:.5f} -> {rows[2]['partial']:.5f}" in text_of(pilot)
        os.kill(app.screen.trying.pid, signal.SIGKILL)
        await shows(pilot, "the process that tries them has ended: killed by SIGKILL")
        await pilot.press("escape", "enter")  # the marks are still there, and are tried anew
        await until(pilot, lambda: table(pilot).id == "nodes" and app.screen.so_far)
        assert app.screen.marked == names[:2]
        assert f" -> {rows[2]['partial']:.5f}" in text_of(pilot)
        await pilot.press("a", "n")
        await until(pilot, lambda: app.screen.query("#of-non_quantize_node"))
        await shows(pilot, "hmct-debugger plot-acc-error")
        assert app.screen.read()[0].non_quantize_node == [names[:2]]
        await pilot.press("escape", "a", "h")
        await until(pilot, lambda: app.screen.query("#of-allow"))
        await shows(pilot, "hmct-debugger mend")
        assert app.screen.read()[0].nodes == names[:2]
        assert app.screen.read()[0].data_num == 4
        await pilot.press("escape", "a", "c")
        await until(pilot, lambda: not app.screen.marked)
        await pilot.press("m", *"20", "enter")
        worse = [row.name for row in table(pilot).rows if row.values[Metric.SQNR] < 20]
        assert 0 < len(worse) < len(names)
        await until(pilot, lambda: app.screen.marked == worse)
        await pilot.press("m", *"Add_*", "enter")
        await until(pilot, lambda: len(app.screen.marked) > len(worse))
        assert all(name.startswith("Add") for name in app.screen.marked[len(worse) :])

    play(lake, scene)


def test_one_goes_from_marked_nodes_to_a_plan_and_its_files(lake: Path) -> None:
    """The plan is shown when it is done; what it lists is what the lake has of it."""

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await open_ranking(pilot)
        names = [row.name for row in table(pilot).rows]
        await pilot.press(*["space"] * 4, "a", "p")
        await shows(pilot, "What is to be reached?")
        app.screen.query_one(Input).value = "sqnr >= much"
        await pilot.press("enter")
        await pilot.pause(0.1)
        app.screen.query_one(Input).value = "error <= 60 %"
        await pilot.press("enter")
        await shows(pilot, "hmct-debugger plan")
        asked = app.screen.read()[0]
        assert (asked.nodes, asked.raised, asked.target) == (names[:4], None, "error <= 60 %")
        await pilot.press("enter")
        await shows(pilot, "plan for error <= 60 %", 120)
        (run,) = Lake.open(lake).query("runs", kind="plan")
        rows = Lake.open(lake).query("plan_nodes", run_id=run["run_id"])
        await until(pilot, lambda: list(table(pilot).rows) == rows)
        assert {row["slot"] for row in rows} == set(names[:4])
        (found,) = Lake.open(lake).query("plan_result", run_id=run["run_id"])
        assert f"{found['moves']} of 4 change" in text_of(pilot)
        await pilot.press("w")
        await shows(pilot, "A folder for models")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query("#of-output_folder"))
        again = app.screen.read()[0]
        assert (again.output_folder, again.nodes, again.target) == (
            "plan", names[:4], "error <= 60 %",
        )  # fmt: skip
        await pilot.press("escape", "escape")
        await until(pilot, lambda: table(pilot).id == "nodes")
        await pilot.press("a", "f")
        await shows(pilot, "What is to be reached?")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query("#of-raised"))
        assert (app.screen.read()[0].nodes, app.screen.read()[0].raised) == (None, names[:4])

    play(lake, scene)


def test_runs_of_every_kind_have_rows_a_chart_and_a_way_to_their_nodes(lake: Path) -> None:
    """What each view lists is what its query gives."""
    kinds = ("error-accumulation", "distribution", "channelwise-distribution")

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await until(pilot, lambda: table(pilot).row_count == 5)
        for kind in kinds:
            (run,) = Lake.open(lake).query("runs", kind=kind)
            view = VIEWS[kind][0]
            metric = {"metric": "sqnr"} if view.by_metric else {}
            rows = Lake.open(lake).query(view.query, run_id=run["run_id"], **metric)
            table(pilot).go_to(run["run_id"])
            await pilot.press("enter")
            await until(pilot, lambda rows=rows: table(pilot).row_count == len(rows))
            assert app.screen.query_one("#chart", Panel).display
            assert list(table(pilot).rows) == rows
            node = rows[0]["node"]
            await pilot.press("enter")
            await until(pilot, lambda: hasattr(app.screen, "name_shown"))
            assert app.screen.name_shown == node
            await pilot.press("escape", "escape")
            await until(pilot, lambda: table(pilot).id == "runs")

    play(lake, scene)


def test_views_name_columns_of_their_queries_for_every_kind_of_run() -> None:
    kinds = {analysis.kind for analysis in ANALYSES.values()}
    assert kinds - {"sensitivity", "runall", "plan-check"} == set(VIEWS)
    for kind, views in VIEWS.items():
        for view in views:
            query = load_query(view.query)
            columns = {column.name for column in query.columns}
            assert {*view.named, *view.numbered} <= columns, (kind, view.title)
            assert view.node in (None, *view.named)
            assert view.by_metric == ("metric" in {p.name for p in query.optional})


def test_shares_stand_beside_their_node_as_the_query_has_them(lake: Path) -> None:
    rank = ("get-sensitivity-of-nodes", MODEL, DATA, "-m", "sqnr", "-d", "4", "--share")
    analyse(*rank, "-i", "[Conv_2,Conv_4,Conv_6]", lake=lake)
    run = Lake.open(lake).query("runs", kind="sensitivity")[0]["run_id"]
    shares = Lake.open(lake).query("shares", run_id=run)
    assert len(shares) == 3

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 6)
        table(pilot).go_to(run)
        await pilot.press("enter")
        await until(pilot, lambda: table(pilot).row_count == 3)
        for row in shares:
            low, high = (100 * (row[end] or 0) for end in ("share_low", "share_high"))
            assert f"{100 * row['share']:.0f} ({low:.0f}..{high:.0f}) %" in text_of(pilot)

    play(lake, scene, (160, 40))


def test_weight_and_activation_stand_beside_their_node_and_why_is_told(lake: Path) -> None:
    """Of the newest ranking's worst node, as the command line has measured them."""
    worst = Lake.open(lake).query("runs", kind="sensitivity")[0]["worst_node"]
    weight, *_ = (n for n in calibration_nodes(lake, worst) if "weight" in kinds_of(lake)[n])
    rank = ("get-sensitivity-of-nodes", MODEL, DATA, "-m", "sqnr", "-d", "4")
    analyse(*rank, "-n", "weight", "-i", f"[{weight}]", lake=lake)
    analyse("diagnose", MODEL, DATA, "-n", f"[{worst}]", "-d", "4", "-m", "sqnr", lake=lake)
    reader = Reader(lake)
    run = next(r for r in reader.runs() if r.kind == "sensitivity" and r.worst_node == worst)
    row = next(r for r in reader.ranking(run, Metric.SQNR).rows if r.name == worst)
    of_weight = Lake.open(lake).query("runs", kind="sensitivity")[0]["worst_value"]
    assert row.weight[Metric.SQNR] == of_weight
    assert not row.activation
    diagnosis = Lake.open(lake).query("runs", kind="diagnosis")[0]["run_id"]
    causes = Lake.open(lake).query("causes", run_id=diagnosis, metric="sqnr")
    best = Lake.open(lake).query("remedies", run_id=diagnosis, metric="sqnr")[0]
    told = reader.diagnosis(run, worst, Metric.SQNR)
    assert all(any(c["node"] in line and f"{c['alone']:.5f}" in line for line in told)
               for c in causes)  # fmt: skip
    assert any(best["remedy"] in line and f"{best['after']:.5f}" in line for line in told)


def kinds_of(lake: Path) -> dict[str, str]:
    run = Lake.open(lake).query("runs", kind="sensitivity")[0]["run_id"]
    rows = Lake.open(lake).query("model_nodes", run_id=run)
    return {row["node"]: row["type"] for row in rows}


def test_two_runs_are_compared(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        await pilot.press("slash", *"sens", "enter", "c", "down", "c")
        await until(pilot, lambda: table(pilot).id == "comparison" and table(pilot).row_count)
        drops = [row["drop"] for row in table(pilot).rows]
        assert drops == sorted(drops, key=abs, reverse=True)
        before = [row["value_a"] for row in table(pilot).rows]
        await pilot.press("x")
        await until(
            pilot, lambda: sorted(before) != sorted(r["value_a"] for r in table(pilot).rows)
        )
        await pilot.press("s")
        await shows(pilot, "chebyshev:")
        await pilot.press("o")
        names = [row["node"] for row in table(pilot).rows]
        assert names == sorted(names)
        row = table(pilot).current
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Notice))
        (line,) = (x for x in text_of(pilot).splitlines() if "chebyshev" in x and ":" not in x)
        left, right = line.split("chebyshev")[1].strip(" │").split()
        assert (left, right) == (f"{row['value_a']:.5f}", f"{row['value_b']:.5f}")
        await pilot.press("escape", "w")
        await shows(pilot, "data_num")

    play(lake, scene)


def test_two_runs_of_a_device_are_compared(lake: Path, tmp_path: Path) -> None:
    logits = np.ones((2, 10), np.float32)
    for name, given in (("old", logits), ("new", -logits)):
        np.savez(tmp_path / f"{name}.npz", logits=given)
        line = ("device", MODEL, DATA, str(tmp_path / f"{name}.npz"), "-d", "2", "-l", name)
        analyse(*line, "-m", "sqnr", lake=lake)
    new, old = (r["run_id"] for r in Lake.open(lake).query("runs", kind="device"))
    (row,) = Lake.open(lake).query("compare_devices", run_a=old, run_b=new, metric="sqnr")

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 7)
        await pilot.press("home", "c", "down", "c")
        await until(pilot, lambda: table(pilot).id == "comparison" and table(pilot).row_count)
        assert table(pilot).current["drop"] == row["drop"] != 0
        assert all(text in text_of(pilot) for text in ("logits", "yes > yes", "0 newly part"))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Notice))
        (line,) = (x for x in text_of(pilot).splitlines() if "simulation/device" in x)
        values = line.split("simulation/device")[1].strip(" │").split()
        assert values == [f"{row[k]:.5f}" for k in ("value_a", "value_b")]
        await pilot.press("escape", "w")
        await shows(pilot, "new.npz")

    play(lake, scene)


def test_what_cannot_be_compared_says_why_in_full(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        await pilot.press("c", "end", "c")  # an error curve, and a ranking
        await until(pilot, lambda: table(pilot).id == "comparison")
        await shows(pilot, "They cannot be compared: ")
        runs = [pilot.app.screen.before, pilot.app.screen.after]
        with pytest.raises(UsageError) as caught:
            Reader(lake).comparison(*runs, Metric.SQNR)
        said = " ".join(text_of(pilot).split())
        assert " ".join(str(caught.value).split()) in said

    play(lake, scene, (80, 24))


def test_runs_of_other_terminals_are_listed_and_cancelled(lake: Path) -> None:
    """One is ours, though this process did not start it; one is a notebook and is left alone."""
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "hmct_track"])
    notebook = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    about = {"kind": "sensitivity", "started_at": just_now(), "host": platform.node()}
    ids = ["20990101T000000000-aaaaaaaa", "20990101T000000000-bbbbbbbb"]
    rows = [run_row(i, pid=p.pid, **about) for i, p in zip(ids, (ours, notebook), strict=True)]
    Lake.open(lake).append(RUNS, rows)

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 7)
        await pilot.press("f4")
        await until(pilot, lambda: {r.run_id for r in table(pilot).rows} == set(ids))
        assert f"in process {ours.pid} on {platform.node()}" in text_of(pilot)
        table(pilot).go_to(ids[1])
        await pilot.press("x")
        await shows(pilot, "is no hmct-debugger")
        assert notebook.poll() is None
        table(pilot).go_to(ids[0])
        await pilot.press("x")
        await until(pilot, lambda: ours.poll() is not None)
        assert ours.returncode == -signal.SIGINT

    try:
        play(lake, scene, toasts=True)
    finally:
        for process in (ours, notebook):
            process.kill()
            process.wait()


def test_from_sql_and_the_palette_to_runs_and_nodes(lake: Path) -> None:
    (worst,) = {r["worst_node"] for r in Lake.open(lake).query("runs", kind="sensitivity")[:1]}
    ranking = next(r for r in Reader(lake).runs() if r.kind == "sensitivity")

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await until(pilot, lambda: table(pilot).row_count == 5)
        await pilot.press("f2")
        editor = app.screen.query_one(TextArea)
        editor.text = "SELECT run_id, worst_no"
        editor.move_cursor((0, len(editor.text)))
        await pilot.press("ctrl+n")
        assert editor.text == "SELECT run_id, worst_node"
        editor.text = "SELECT run_id, worst_node AS node FROM runs WHERE kind = 'sensitivity'"
        editor.text += " ORDER BY run_id DESC LIMIT 1"
        await pilot.press("f5")
        await until(pilot, lambda: table(pilot).row_count == 1 and table(pilot).has_focus)
        await pilot.press("enter")
        await shows(pilot, f"node: {worst}")
        await pilot.press("n")
        await until(pilot, lambda: getattr(app.screen, "name_shown", None) == worst)
        await pilot.press("escape", "enter", "o")
        await until(pilot, lambda: table(pilot).id == "nodes" and table(pilot).row_count)
        found = {text: call for text, _, call in app.places(app.screen)}
        assert {worst, "sensitivity", "compare_nodes"} <= set(found)
        assert any(ranking.run_id in text for text in found)
        assert {"Try marked", "Note", "Measure type"} <= set(found), "what the screen can do"
        await pilot.press("ctrl+p", *worst)
        await shows(pilot, "a node")
        await pilot.press("escape")
        found[worst]()
        await until(pilot, lambda: getattr(app.screen, "name_shown", None) == worst)
        await until(pilot, lambda: app.screen.query("#facts"))
        panel = app.screen.query_one("#history", Panel)
        await until(pilot, lambda: "in 2 runs" in str(panel.border_title))
        older = Lake.open(lake).query("runs", kind="sensitivity")[1]["run_id"]
        await pilot.press("h")
        await shows(pilot, "Which run?")
        await pilot.press("2")
        await until(pilot, lambda: table(pilot).id == "nodes" and table(pilot).row_count)
        assert app.screen.run.run_id == older
        assert not {r.run_id for r in table(pilot).rows} - {older}

    play(lake, scene)


def test_a_run_is_named_and_its_model_inspected_by_key(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        run = table(pilot).current.run_id
        await pilot.press("b")
        await shows(pilot, f"baseline is run {run}")
        assert find_run(Lake.open(lake), "baseline")["run_id"] == run
        await pilot.press("t", *"1x", "enter")
        await shows(pilot, "cannot be a tag")
        await pilot.press("e", *"-x [b]", "enter")
        await shows(pilot, f"noted on run {run}")
        await until(pilot, lambda: table(pilot).current.note == "-x [b]")
        assert find_run(Lake.open(lake), run)["note"] == "-x [b]"
        await pilot.press("e")
        await shows(pilot, "A remark on this run")
        assert pilot.app.screen.query_one(Input).value == "-x [b]"
        await pilot.press("escape", "u")  # it was made without MLflow
        await shows(pilot, "MLflow does not have run", 90)
        address = "http://127.0.0.1:1/#/experiments/1/runs/x"
        app: Any = pilot.app
        app.web.page_of = lambda run_id: address if run_id == run else ""
        await pilot.press("u")
        await until(pilot, lambda: app.clipboard == address)
        await pilot.press("v")
        await shows(pilot, address)
        await pilot.press("escape", "i")
        await shows(pilot, "calibration nodes")

    play(lake, scene, toasts=True)


def test_a_node_is_drawn_among_its_neighbours_and_modules_fold(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await open_ranking(pilot)
        rows = list(table(pilot).rows)
        await pilot.press("g")
        tree = app.screen.query_one(Tree)
        assert len(tree.root.children) == len(rows)  # the names of the demo have no modules
        assert "100.0 %" in str(tree.root.label)
        whole = sum(row.values[Metric.MSE] for row in rows)
        worst = next(leaf for leaf in tree.root.children if leaf.data.name == rows[0].name)
        assert f"{100 * worst.data.values[Metric.MSE] / whole:.1f} %" in str(worst.label)
        await pilot.press("escape", "enter")
        await shows(pilot, "1 What it is")
        feeds = app.screen.ranking.graph.feeds(rows[0].name)
        await pilot.press("g")
        await until(pilot, lambda: isinstance(app.screen, Notice))
        assert all(name in text_of(pilot) for name in (rows[0].name, *feeds))
        before = app.screen_stack[-2].ranking.graph.fed_by(rows[0].name)
        await pilot.press(str(len(before) + 1))
        await until(pilot, lambda: getattr(app.screen, "name_shown", None) == feeds[0])

    play(lake, scene)


async def completed_to(pilot: Pilot[None], place: Any, value: str) -> bool:
    """Whether what is proposed, which is looked for aside, completes a field so."""
    for _ in range(100):
        await pilot.press("end", "right")
        if place.value == value:
            return True
        await pilot.pause(0.05)
    return False


def test_an_analysis_is_started_from_the_form_and_cancelled(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await until(pilot, lambda: table(pilot).row_count == 5)
        await pilot.press("n")
        screen = app.screen
        await shows(pilot, "hmct-debugger get-sensitivity-of-nodes")

        def fill(option: str, value: str) -> None:
            screen.query_one(f"#of-{option}").value = value

        fill("data_num", "100000")
        await shows(pilot, "data_num: a number from 1 to ")
        assert screen.query_one("#start", Button).disabled
        fill("data_num", "all")
        fill("interested_nodes", "[Conv_0,Conv_nowhere]")
        await shows(pilot, "the model has no node 'Conv_nowhere'")
        assert not screen.query_one("#start", Button).disabled, "it is only a doubt"
        fill("interested_nodes", "[re:Conv_.*,Gemm_*,Conv_0]")
        await until(pilot, lambda: "has no node" not in text_of(pilot))
        fill("interested_nodes", "")
        fill("memory", "much")
        await shows(pilot, "memory: 'much' is not a size")
        fill("memory", "")
        fill("model_or_file", "/nowhere.onnx")
        await shows(pilot, "model_or_file: there is no file '/nowhere.onnx'")
        place = screen.query_one("#of-model_or_file")
        place.focus()
        Path("models/nested").mkdir(parents=True)
        shutil.copy(MODEL, "models/net.onnx")
        for typed, completed in (("mod", "models/"), ("models/nes", "models/nested/"),
                                 ("models/net", "models/net.onnx")):  # fmt: skip
            fill("model_or_file", typed)
            assert await completed_to(pilot, place, completed)
        fill("model_or_file", MODEL)
        fill("metrics", "mse")
        await until(pilot, lambda: "-m mse -d None" in str(screen.query_one("#preview").render()))
        screen.query_one("#analysis", Select).value = "plot-acc-error"
        await until(pilot, lambda: screen.query("#of-quantize_node"))
        # What both take is kept.
        await until(pilot, lambda: screen.query_one("#of-data_num").value == "all")
        fill("quantize_node", "[weight,activation]")
        screen.query_one("#of-track").value = True
        await shows(pilot, "--no-track")
        await pilot.press("ctrl+s", "f4")
        (job,) = app.jobs
        await until(pilot, lambda: job.run_id and job.progress)
        await pilot.press("x")
        await until(pilot, lambda: not job.is_running)
        assert job.state in ("KILLED", "FINISHED"), job.messages  # it may be faster than the key
        runs = {r["run_id"]: r for r in Lake.open(lake).query("runs")}
        assert runs[job.run_id]["state"] == job.state, runs[job.run_id]["error"]

    play(lake, scene)


@pytest.mark.parametrize("command", list(ANALYSES))
def test_the_form_has_every_option_of_every_analysis(lake: Path, command: str) -> None:
    """What is read back from the untouched form is what the command line has by default."""
    options = options_of(ANALYSES[command])
    values = {o.name: "x" if o.is_required else o.command_default for o in options}
    begun = ANALYSES[command](**{**values, **ABOUT})

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        app.show_form(begun, Recording(), None)
        await until(pilot, lambda: app.screen.query("#start"))
        shown = {field.option.name for field in app.screen.query(Field)}
        declared = {o.name for o in (*options_of(type(begun)), *options_of(Recording))}
        assert declared - shown == {"lake", "progress"}
        preview = str(app.screen.query_one("#preview").render())
        assert preview == Command.of(begun, Recording()).shown()

    play(lake, scene)


def test_quitting_asks_about_what_runs(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await until(pilot, lambda: table(pilot).row_count == 5)
        app.start(Runall(**ABOUT, data_num=8), UNTRACKED)
        await pilot.press("q")
        await shows(pilot, "Still running: runall")
        await pilot.press("escape")
        assert app.return_code is None
        await pilot.press("q", "c")
        await until(pilot, lambda: app.return_code is not None)
        assert app.jobs[0].state == "KILLED"
        assert app.left_running == []

    play(lake, scene)


def test_an_analysis_is_left_running_and_found_again(lake: Path) -> None:
    """The second application knows nothing of the first; the lake tells it."""

    async def leave(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await until(pilot, lambda: table(pilot).row_count == 5)
        app.start(GetSensitivityOfNodes(**ABOUT, data_num=8), UNTRACKED)
        (job,) = app.jobs
        os.kill(job.pid, signal.SIGSTOP)  # or it may be done before one has answered
        await pilot.press("q")
        await shows(pilot, "Still running: get-sensitivity-of-nodes")
        await pilot.press("l")
        await until(pilot, lambda: app.return_code is not None)
        (line,) = app.left_running
        assert line.startswith("left running: get-sensitivity-of-nodes, process ")
        assert job.is_running
        os.kill(job.pid, signal.SIGCONT)

    async def come_back(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 6)
        await until(pilot, lambda: table(pilot).rows[0].state == "FINISHED")
        assert table(pilot).rows[0].data_num == 8

    play(lake, leave)
    play(lake, come_back)


def test_a_run_that_measures_shows_its_worst_node_so_far(written: Path) -> None:
    now = {"state": "RUNNING", "version": 9, "metrics": ["mse"]}
    Lake.open(written).append(RUNS, [run_row(AFTER, **now, started_at=just_now())])

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 2)
        await shows(pilot, ODD)
        assert table(pilot).rows[0].worst_node is None

    play(written, scene, (200, 60))


def test_sql_gives_no_more_rows_than_can_be_looked_at(lake: Path, tmp_path: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("f2")
        pilot.app.screen.query_one(TextArea).text = "SELECT range FROM range(1000000000000)"
        await pilot.press("f5")
        await shows(pilot, "the first 10,000 rows; there are more")
        await pilot.press("ctrl+e")
        await until(pilot, lambda: list(tmp_path.glob("hmct_sql_*.csv")))
        await shows(pilot, "writes")  # all rows; the note is wrapped
        (path,) = tmp_path.glob("hmct_sql_*.csv")
        assert len(path.read_text().splitlines()) == 1 + 10_000

    play(lake, scene, toasts=True)


def test_escape_interrupts_sql_and_leaving_does_too(lake: Path) -> None:
    endless = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(10000000) b"

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        await pilot.press("f2")
        app.screen.query_one(TextArea).text = endless
        for _ in range(2):
            await pilot.press("f5")
            await shows(pilot, "escape interrupts it")
            while "interrupted" not in text_of(pilot):  # it may not have come to DuckDB yet
                await pilot.press("escape")
                await pilot.pause(1)
        app.screen.query_one(TextArea).text = "SELECT 6 * 7 AS answer"
        await pilot.press("f5")
        await shows(pilot, "42")
        app.screen.query_one(TextArea).text = endless
        await pilot.press("f5")
        await shows(pilot, "escape interrupts it")
        await pilot.pause(1)  # by now DuckDB is at work

    play(lake, scene)  # would not come back while a worker waits for DuckDB


def test_keys_that_come_in_one_burst_reach_the_filter(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        for key in ("/", *"nq"):
            pilot.app.post_message(Key("slash" if key == "/" else key, key))
        await until(pilot, lambda: pilot.app.screen.query_one(Input).value == "nq")
        await pilot.press("slash", "down")
        assert pilot.app.screen.query_one(Input).value == "nq/"
        assert table(pilot).has_focus

    play(lake, scene)


def test_a_name_stays_in_sight_while_its_values_are_scrolled(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await open_ranking(pilot)
        name = table(pilot).current.name
        assert "threshold" not in text_of(pilot)
        await pilot.press(*["right"] * 8)
        assert "threshold" in text_of(pilot)
        assert f" {name}" in text_of(pilot)
        await pilot.press(*["left"] * 8)
        assert "threshold" not in text_of(pilot)

    play(lake, scene, (80, 24))


def test_sql_is_run_exported_and_remembered(lake: Path, tmp_path: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        await pilot.press("f2")
        screen = pilot.app.screen
        editor = screen.query_one(TextArea)
        editor.text = "SELECT '[red]x' AS a, 7 AS b"
        await pilot.press("f5")
        await shows(pilot, "1 rows")
        await pilot.press("ctrl+e")
        await until(pilot, lambda: list(tmp_path.glob("hmct_sql_*.csv")))
        (path,) = tmp_path.glob("hmct_sql_*.csv")
        with path.open() as stream:
            assert list(csv.reader(stream)) == [["a", "b"], ["[red]x", "7"]]
        editor.text = "DROP VIEW runs"
        await pilot.press("f5")
        await shows(pilot, "only one SELECT can be run")
        await pilot.press("f7")
        assert editor.text == "SELECT '[red]x' AS a, 7 AS b"
        catalog = screen.query_one("#catalog", OptionList)
        places = [str(option.id) for option in catalog.options]
        catalog.focus()
        catalog.highlighted = places.index("query sensitivity")
        await pilot.press("enter")
        await shows(pilot, "Which nodes lose most")
        await pilot.press("f5")
        await shows(pilot, "22 rows")
        result: Any = screen.query_one("#result", Grid)
        run = Lake.open(lake).query("runs", kind="sensitivity")[0]["run_id"]
        expected = Lake.open(lake).query("sensitivity", run_id=run, metric="cosine-similarity")
        assert [row[1] for row in result.rows] == [row["subject"] for row in expected]

    play(lake, scene)


def test_help_themes_and_the_palette(lake: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        await pilot.press("question_mark")
        await shows(pilot, "rank by the next metric")
        await pilot.press("escape", "f3")
        assert pilot.app.theme == "textual-light"
        await pilot.press("f3")
        assert pilot.app.theme == "textual-dark"
        await pilot.press("ctrl+p", *"new anal")
        await shows(pilot, "Choose model, data and options")
        await pilot.press("escape", "ctrl+p", *"screensh")
        await shows(pilot, "Save this screen")
        await pilot.press("enter")
        await until(pilot, lambda: list(Path.cwd().glob("*.svg")))
        await pilot.press("f6")
        await until(pilot, lambda: pilot.app.screen.query("#of-op_types"))

    play(lake, scene)


def broken(lake: Path, how: str) -> str:
    """Break a lake, and give what the screen then says."""
    if how == "missing":
        shutil.rmtree(lake)
        return "there is no lake in"
    if how == "newer":
        (lake / "lake.json").write_text('{"schema_version": 999}')
        return "has schema version 999"
    if how == "half-written":
        part = next((lake / "tables" / "runs").glob("2*.parquet"), None)
        part = part or max((lake / "tables" / "runs").glob("*.parquet"))
        part.write_bytes(part.read_bytes()[:100])
        return "No runs to show."
    if how == "unreadable":
        (lake / "lake.json").unlink()
        (lake / "lake.json").mkdir()
        return "cannot be read"
    shutil.rmtree(lake)
    Lake.create(lake)
    return "No runs yet"


def test_a_lake_that_another_client_has_locked_is_read_all_the_same(lake: Path) -> None:
    """DuckDB lets one process open a database for writing, and then no other open it at all."""
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    Lake.open(lake).write_database()
    command = [sys.executable, "-c", code, str(lake / "lake.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout and it.stdout.readline() == "open\n"

        async def scene(pilot: Pilot[None]) -> None:
            await until(pilot, lambda: table(pilot).row_count == 5)

        play(lake, scene)
        it.communicate("\n")


@pytest.mark.parametrize("how", ["missing", "newer", "half-written", "unreadable", "empty"])
def test_a_lake_that_cannot_be_read_gives_a_clear_screen(lake: Path, how: str) -> None:
    said = broken(lake, how)

    async def scene(pilot: Pilot[None]) -> None:
        await shows(pilot, said)
        if how == "missing":
            Lake.create(lake).append(RUNS, [run_row("r")])
            await until(pilot, lambda: table(pilot).row_count == 1)

    play(lake, scene)


@pytest.fixture(scope="session")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake written by hand, the same each time, with a name full of markup and many nodes."""
    lake = Lake.create(tmp_path_factory.mktemp("written") / "lake")
    began = datetime(2026, 1, 2, 3, 4, 5)
    ended = {"state": "FINISHED", "ended_at": began + timedelta(seconds=2)}
    about = {"model_path": "/models/lenet/calibrated_model.onnx", **ended}
    about |= {
        "parameters": '{"node_type": "node"}',
        "started_at": began,
        "data_num": 1,
        "metrics": ["cosine-similarity"],
    }
    lake.append(MODELS, [row(MODELS, model_id="m", name="g")])
    lake.append(SAMPLES, [row(SAMPLES, data_id="d", position=0, sample_id="s")])
    nodes, configs, measurements = [], [], []
    for i in range(5000):
        name = ODD if i == 0 else f"Conv_{i}"
        nodes.append(row(NODES, model_id="m", node=name, node_index=i, op_type="Conv",
                         inputs=["x"], outputs=[f"y{i}"], calibration_nodes=[]))  # fmt: skip
        for run, run_id in enumerate((BEFORE, AFTER)):
            configs.append({"run_id": run_id, "position": i, "config_id": f"c{i}-{run}",
                            "subject": name, "role": "only"})  # fmt: skip
            loss = 0.5 / (i + 1) * (1 if i % 2 else 1 + run / 2)
            sums = {"sum_xx": 1.0, "sum_yy": 1.0, "sum_xy": 1 - loss, "sum_dd": 2 * loss}
            rest = {"nonfinite_x": 0, "nonfinite_y": 0, "max_abs_d": loss, "sum_abs_d": loss}
            measurements.append(measurement_row(f"c{i}-{run}", **sums, **rest))
    worst = {"worst_node": ODD, "worst_value": 0.25}
    lake.append(RUNS, [run_row(BEFORE, **about)])
    lake.append(RUNS, [run_row(AFTER, **(about | worst))])
    lake.append(NODES, nodes)
    lake.append(RUN_CONFIGS, configs)
    lake.append(MEASUREMENTS, measurements)
    return lake.path


@pytest.fixture
def written(written_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """It, in the present folder, with the time zone of the pictures."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    time.tzset()
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written_once, tmp_path / "lake")
    yield Path("lake")
    monkeypatch.undo()
    time.tzset()


def row(of: Any, **values: Any) -> dict[str, Any]:
    return {column.name: values.get(column.name) for column in of.columns}


async def go_to(screen: str, pilot: Pilot[None]) -> None:
    """From the list of runs to a screen of the written lake, until all of it is there."""
    await until(pilot, lambda: table(pilot).row_count == 2)
    if screen in ("ranking", "node", "help"):
        await pilot.press("down", "enter")
        await until(pilot, lambda: table(pilot).row_count == 5000)
    if screen == "node":
        await pilot.press("enter")
        await shows(pilot, "What it is")
        title = pilot.app.screen.query_one("#history", Panel)
        await until(pilot, lambda: "in 2 runs" in str(title.border_title))
    elif screen == "help":
        await pilot.press("question_mark")
    elif screen == "compare":
        await pilot.press("c", "down", "c")
        await until(pilot, lambda: table(pilot).id == "comparison" and table(pilot).row_count)
    elif screen == "sql":
        await pilot.press("f2")
        sql = "SELECT node, op_type FROM nodes ORDER BY node_index LIMIT 3"
        pilot.app.screen.query_one(TextArea).text = sql
        await until(pilot, lambda: pilot.app.screen.query_one("#catalog", OptionList).option_count)
        await pilot.press("f5")
        await shows(pilot, "3 rows")
    elif screen == "new":
        await pilot.press("n")
        await shows(pilot, "model_or_file: ")
    if screen != "help":  # a text over a screen has no footer of its own
        await until(pilot, lambda: len(pilot.app.screen.query(FooterKey)) > 1)
    await pilot.pause(0.3)


def steadied(picture: str) -> str:
    """A picture without what differs from one time to the next."""
    picture = re.sub(r"terminal-\d+", "terminal", picture)
    return re.sub(r"rows,&#160;\d\.\d\d&#160;s", "rows,&#160;0.00&#160;s", picture)


LOOKS = [("dark", (80, 24)), ("dark", (120, 40)), ("dark", (200, 60)), ("light", (120, 40))]


@pytest.mark.parametrize("screen", ["runs", "ranking", "node", "help", "compare", "sql", "new"])
def test_screens_look_as_they_did(written: Path, screen: str) -> None:
    """HMCT_UPDATE_SNAPSHOTS=1 writes the pictures anew; look at them before committing."""
    update = bool(os.environ.get("HMCT_UPDATE_SNAPSHOTS"))

    async def scene(pilot: Pilot[None]) -> None:
        await go_to(screen, pilot)
        if screen not in ("help", "new"):
            assert ODD in text_of(pilot) or screen == "runs"
        for theme, size in LOOKS:
            pilot.app.theme = f"textual-{theme}"
            await pilot.resize_terminal(*size)
            name = f"{screen}_{size[0]}x{size[1]}{'_light' if theme == 'light' else ''}.svg"
            path = SNAPSHOTS / name

            def picture() -> str:
                return steadied(pilot.app.export_screenshot())

            if update:
                await pilot.pause(2)
                path.write_text(picture())
            end, wanted = time.monotonic() + 20, path.read_text()
            # It settles when it has all been drawn, which takes as long as it takes.
            while (found := picture()) != wanted and time.monotonic() < end:
                await pilot.pause(0.2)
            assert found == wanted, name

    play(written, scene, LOOKS[0][1])


def test_a_key_costs_the_rows_in_sight_however_many_there_are(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: cells are made of rows in sight only, and no key asks the lake."""
    made, asked = [0], [0]
    show, query = Grid.show, Lake.query

    def counted_show(self: Any, columns: Any, rows: Any, cells: Any, *more: Any, **o: Any) -> None:
        def counted_cells(row: Any) -> Any:
            made[0] += 1
            return cells(row)

        show(self, columns, rows, counted_cells, *more, **o)

    def counted_query(self: Any, name: str, **parameters: Any) -> Any:
        asked[0] += name != "running"  # the watch for dead processes asks that by itself
        return query(self, name, **parameters)

    monkeypatch.setattr(Grid, "show", counted_show)
    monkeypatch.setattr(Lake, "query", counted_query)

    async def scene(pilot: Pilot[None]) -> None:
        await go_to("ranking", pilot)
        keys = ["end", "home", "pagedown", "s", "r", "slash", *"4999"]
        made[0] = asked[0] = 0
        await pilot.press(*keys)
        await until(pilot, lambda: table(pilot).row_count == 1)
        assert made[0] <= 4 * len(keys) * table(pilot).size.height  # a key may paint twice
        assert asked[0] == 0

    play(written, scene)


def test_without_colour_the_cursor_is_seen(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table(pilot).row_count == 5)
        style = table(pilot).get_component_rich_style("grid--cursor")
        assert pilot.app.no_color
        assert style.reverse

    play(lake, scene)


@pytest.mark.parametrize("name", [ODD, "a,b", "]", "[", "\\", "ü", "x'y\"z"])
def test_any_node_name_survives_the_command_line(name: str) -> None:
    from hmct_track.options.parsing import join_arguments, parse_flat_list

    (joined,) = join_arguments([show_names([name, "b"])], ())
    assert parse_flat_list(joined) == [name, "b"]


def test_a_job_that_fails_says_why(lake: Path) -> None:
    job = Job(Command("plot-distribution", (MODEL, DATA, "-n", "nowhere")), lake)
    assert job.wait(40)
    assert job.state == "FAILED"
    assert "no node named 'nowhere'" in job.error
    assert not job.log.exists()


def test_tui_needs_a_terminal(cli: Any) -> None:
    done = cli("tui")
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr


def test_figures_without_the_extra_for_images(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual_image", None)

    async def scene(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        app.post_message(FigureMade(lake / "figure.png"))
        await shows(pilot, "pip install hmct-track[images]")
        assert str(lake)[:20] in text_of(pilot)

    play(lake, scene)


def test_figures_of_runs_of_every_kind(lake: Path, cli: Any) -> None:
    folder = ("--lake", str(lake), "--no-track", "--no-progress")
    assert main(["runall", MODEL, DATA, "-nm", "mse", *folder]) == 0
    assert main(["select-sensitive-samples", MODEL, DATA, "-d", "8", *folder]) == 0
    runs = Lake.open(lake).query("run_list")
    kinds = {run["kind"]: run["run_id"] for run in runs}
    drawn = {}
    for kind in ("sensitive-samples", "sensitivity-analysis", "runall"):
        path = figure_file(Lake.open(lake), kinds[kind])
        assert path.read_bytes().startswith(b"\x89PNG")
        drawn[kind] = path.stem
    assert drawn == {
        "sensitive-samples": "sensitive_samples",
        "sensitivity-analysis": "partial_quantization",
        "runall": "sensitivity_of_weight",
    }
    assert kinds.keys() == {
        "sensitivity", "distribution", "channelwise-distribution", "error-accumulation",
        "diagnosis", *drawn,
    }  # fmt: skip


def test_figures_of_a_run_that_mlflow_has_are_its_own(tmp_path: Path, cli: Any) -> None:
    arguments = ("get-sensitivity-of-nodes", MODEL, DATA, "-i", "Conv_0", "--wait")
    assert cli(*arguments).returncode == 0
    (run,) = Lake.open(tmp_path / "hmct_lake").query("runs")
    done = cli("figure", run["run_id"])
    assert Path(done.stdout.strip()).name == "sensitivity_of_node.png"
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "hmct_lake" / "artifacts")
    assert "no run is called 'nowhere'" in cli("figure", "nowhere").stderr


TMUX = shutil.which("tmux")


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
def test_in_a_real_terminal(lake: Path, tmp_path: Path) -> None:
    """Open, sort, mark, plan around it, filter, open a node, launch its figure, quit."""
    socket = str(tmp_path / "tmux")

    def tmux(*arguments: str) -> str:
        command = [str(TMUX), "-S", socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def sees(text: str, seconds: float = 40) -> str:
        end = time.monotonic() + seconds
        while text not in (screen := tmux("capture-pane", "-p", "-t", "t")):
            assert time.monotonic() < end, screen
            time.sleep(0.1)
        return screen

    steps: list[tuple[list[str], str]] = [
        (["/", "sensitivity"], "2 of 5 runs"),
        (["Enter"], "2 of 5 runs"),
        (["Enter"], "sorted by sqnr"),
        (["s"], "sorted by chebyshev"),
        (["Space"], "1 marked, tried as int16: chebyshev "),
        (["a"], "plan around them"),
        (["f"], "What is to be reached?"),
        (["Enter"], "hmct-debugger plan"),
        (["Enter"], "plan for error <= 10 %"),
        (["Escape"], "sorted by chebyshev"),
        (["/", "conv"], "type: all"),
        (["Enter"], "type: all"),
        (["Enter"], "1 What it is"),
        (["p"], "sensitivity_of_node.png"),
        (["Escape"], "1 What it is"),
    ]
    # Python finds this environment by itself; the shell of the pane is told where the lake is.
    settings = "env -u COLUMNS -u LINES LC_ALL=C.UTF-8"
    command = f"{settings} {sys.executable} -m hmct_track tui {lake}; echo ended $?"
    tmux("new-session", "-d", "-s", "t", "-x", "110", "-y", "30", f"{command}; sleep 60")
    try:
        sees("5 runs in")
        for keys, text in steps:
            for key in keys:
                # Longer ones that are no names of keys are typed.
                typed = ("-l",) if key.islower() and len(key) > 1 else ()
                tmux("send-keys", "-t", "t", *typed, key)
            sees(text, 180 if text.startswith("plan for") else 40)
            time.sleep(1 if keys[-1] in ("Escape", "Enter") else 0.1)  # the table takes the focus
        # An escape and a key that follow at once are Alt and that key.
        assert "No viewer here" not in sees("1 What it is")
        tmux("send-keys", "-t", "t", "q")
        sees("ended 0")
    finally:
        tmux("kill-server")
