"""Figures that another process draws: the same ones, and drawn here where it does not."""

import os
import signal
from pathlib import Path

import pytest

from hmct_track import debug, demo
from hmct_track.analyses.stored import answer_of
from hmct_track.lake import Lake
from hmct_track.recording import save
from hmct_track.recording.drawer import Drawer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, str]:
    """A lake with a ranking, and its id."""
    place = tmp_path_factory.mktemp("drawer") / "lake"
    ranking = debug.get_sensitivity_of_nodes(
        str(demo.model_path()),
        calibrated_data=str(demo.calibration_data_path()),
        lake=place,
        track=False,
    )
    return Lake.open(place), ranking.run_id


def test_it_draws_what_would_be_drawn_here(ranked: tuple[Lake, str], tmp_path: Path) -> None:
    lake, run_id = ranked
    figures = answer_of(lake, run_id).figures
    drawer = Drawer(lake.path)
    try:
        drawer.draw(run_id, figures, tmp_path)
        assert list(drawer.finish()) == list(figures) == list(figures.files)
        here = answer_of(lake, run_id).figures
        for stem in here:
            assert figures.png(stem) == (tmp_path / f"{stem}.png").read_bytes() == here.png(stem)
            assert figures.svg(stem) == (tmp_path / f"{stem}.svg").read_bytes()
    finally:
        drawer.close()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".png", ".svg"]


def test_what_it_does_not_draw_is_drawn_here(ranked: tuple[Lake, str], tmp_path: Path) -> None:
    lake, run_id = ranked
    stale = b"of an earlier run"
    figures = answer_of(lake, run_id).figures
    (stem,) = figures
    (tmp_path / f"{stem}.png").write_bytes(stale)
    drawer = Drawer(lake.path)
    try:
        os.kill(drawer.pid, signal.SIGKILL)
        drawer.draw(run_id, figures, tmp_path)
        assert list(drawer.finish()) == []
    finally:
        drawer.close()
    save(tmp_path, figures=figures)
    assert (tmp_path / f"{stem}.png").read_bytes() == figures.png(stem) != stale


def test_a_run_that_it_cannot_draw_does_not_end_it(
    ranked: tuple[Lake, str], tmp_path: Path
) -> None:
    lake, run_id = ranked
    figures = answer_of(lake, run_id).figures
    drawer = Drawer(lake.path)
    try:
        drawer.draw("no such run", answer_of(lake, run_id).figures, tmp_path)
        drawer.draw(run_id, figures, None)
        assert list(drawer.finish()) == list(figures)
        (stem,) = figures
        (folder,) = figures.files.values()
        drawn = (folder / f"{stem}.png").read_bytes()
        assert figures.png(stem) == drawn
    finally:
        drawer.close()
    assert not folder.exists()
    assert figures.png(stem) == drawn
