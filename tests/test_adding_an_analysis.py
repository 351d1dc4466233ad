"""The page that says how to add an analysis does what it says."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hmct_track.tui import make_app
from hmct_track.tui.grid import Grid
from mlflow.tracking import MlflowClient
from textual.widgets import Select, Static

from hmct_track import demo
from hmct_track.analyses import ANALYSES
from hmct_track.cli.commands_page import commands_page
from hmct_track.cli.main import main
from hmct_track.lake import Lake

DOCS = Path(__file__).parent.parent / "docs"
MODEL, DATA = str(demo.model_path()), str(demo.calibration_data_path())


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The analysis of the page, defined as a user would: in a module."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "adding-an-analysis.md").read_text(), re.S)
    (tmp_path / "compare_kinds.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("compare_kinds")
    yield "compare-kinds"
    del ANALYSES["compare-kinds"]


def test_an_added_analysis_is_everywhere(
    added: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert f"{added}       Measure weights and activations" in capsys.readouterr().out
    lake = tmp_path / "lake"
    assert main([added, MODEL, DATA, "-m", "sqnr", "-d", "2", "--lake", str(lake)]) == 0
    printed = (line.split(": ") for line in capsys.readouterr().out.splitlines())
    values = {kind: float(value) for kind, value in printed}
    assert list(values) == ["weight", "activation"], "the demo loses more by its weights"

    (run,) = Lake.open(lake).query("run_list")
    assert (run["kind"], run["state"]) == (added, "FINISHED")
    assert json.loads(run["parameters"]) == {"metric": "sqnr"}

    tracked = MlflowClient(f"sqlite:///{lake / 'mlflow.db'}").get_run(run["mlflow_run_id"])
    assert tracked.data.metrics["weight.sqnr"] == pytest.approx(values["weight"], abs=1e-5)
    assert tracked.data.params["metric"] == "sqnr"

    assert main(["repeat", "latest", "--show", "--lake", str(lake)]) == 0
    assert capsys.readouterr().out.split()[1] == added
    assert f"## {added}" in commands_page()

    async def in_the_terminal_ui() -> str:
        async with make_app(lake).run_test(size=(120, 40)) as pilot:
            while not pilot.app.screen.query_one(Grid).row_count:
                await pilot.pause(0.1)
            await pilot.press("n")
            pilot.app.screen.query_one("#analysis", Select).value = added
            preview = pilot.app.screen.query_one("#preview", Static)
            while added not in str(preview.render()):
                await pilot.pause(0.1)
            return str(preview.render())

    assert asyncio.run(in_the_terminal_ui()) == f"hmct-debugger {added} {MODEL} {DATA}"


def test_the_page_of_the_commands_is_that_of_the_declarations() -> None:
    assert (DOCS / "commands.md").read_text() == commands_page(), "make derived writes it"
