"""Rankings that stop early: the race on values whose truth is known, and on the demo."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.analyses.racing import sample_order
from hmct_track.cli import main
from hmct_track.confidence.racing import lead_in_decibels, next_count, stand
from hmct_track.lake import Lake
from hmct_track.recording.standing import StandingDisplay
from hmct_track.types import Metric

MODEL, DATA = str(demo.model_path()), str(demo.calibration_data_path())


def race(values: np.ndarray, metric: Metric, k: int) -> tuple[set[int], float]:
    """The top that a race over all samples, in order, ends with, and its share of executions."""
    nodes, samples = values.shape
    counts = np.ones(nodes, dtype=np.int64)
    while True:
        measured = np.arange(samples) < counts[:, None]
        seen = np.where(measured, values, np.nan)[:, None]
        standing = stand(seen, measured, metric, k, 0.95)
        if standing.is_settled:
            return set(standing.order[:k].tolist()), counts.sum() / values.size
        goal = next_count(counts, standing.open, samples)
        counts[standing.open & (counts < goal)] = goal


def drawn(random: np.random.Generator, metric: Metric, samples: int) -> np.ndarray:
    """Errors of 40 nodes over four decades, with what samples do to all and to each."""
    error = np.geomspace(1, 1e-4, 40)[:, None] * random.lognormal(0, 0.6, samples)
    error = error * random.lognormal(0, 0.3, (40, samples))
    return -10 * np.log10(error) if metric is Metric.SQNR else error


@pytest.mark.parametrize("metric", [Metric.SQNR, Metric.MSE])
def test_a_race_ends_with_the_top_of_all_samples(metric: Metric) -> None:
    """In at least 95 of 100 draws, at less than half of the executions."""
    random = np.random.default_rng(0)
    right, shares = [], []
    for _ in range(100):
        values = drawn(random, metric, 32)
        worst = np.argsort([-metric.badness(value) for value in values.mean(axis=1)])
        top, share = race(values, metric, 10)
        right.append(top == set(worst[:10].tolist()))
        shares.append(share)
    assert np.mean(right) >= 0.95
    assert np.mean(shares) < 0.5


def test_decibels_of_nodes_with_unlike_samples_are_those_of_least_squares() -> None:
    """GIVEN nodes measured on 2 to 20 samples, and samples that move all nodes by more than what is
    left of them
    THEN leads are those of least squares of node and sample, and a node on two samples that is
    clearly behind is not open, though the one before it is.
    """
    random = np.random.default_rng(6)
    known = np.arange(24) < np.array([20, 20, 20, 2, 2, 2, 8, 4])[:, None]
    own = np.array([5.0, 4.9, 4.88, 1.0, 0.5, 0.3, 0.2, 0.1])
    values = own[:, None] + random.normal(0, 1, 24) + random.normal(0, 0.2, (8, 24))
    seen = np.where(known, values, np.nan)
    top, rest = np.array([0, 1]), np.arange(2, 8)
    lead, _, _ = lead_in_decibels(seen, top, rest, 24)
    node, sample = np.nonzero(known)
    design = np.concatenate([np.eye(8)[node], np.eye(24)[sample]], axis=1)
    fitted = np.linalg.lstsq(design, values[known], rcond=None)[0][:8]
    assert lead == pytest.approx(fitted[top][:, None] - fitted[rest], abs=0.02)
    standing = stand(-seen[:, None], known, Metric.SQNR, 2, 0.95)
    assert standing.open[[1, 2]].all() and not standing.open[3:].any()


def test_errors_of_a_few_samples_alone_are_not_settled_early() -> None:
    """GIVEN nodes whose error is that of a single sample in 32, which comes last
    THEN the race does not end before it: the samples before it scatter too much to be trusted.
    """
    random = np.random.default_rng(4)
    values = np.geomspace(4, 1, 12)[:, None] * random.lognormal(0, 2.5, (12, 32))
    worst = set(np.argsort(-values.mean(axis=1))[:3].tolist())
    top, share = race(values, Metric.MSE, 3)
    assert top == worst and share > 0.8


def test_nodes_that_are_no_numbers_rank_first_and_end_no_race() -> None:
    values = np.full((3, 1, 4), np.nan)
    values[1:, 0, :2] = [[5.0, 5.1], [1.0, 1.1]]
    measured = np.zeros((3, 4), bool)
    measured[:, :2] = True
    standing = stand(values, measured, Metric.MSE, 1, 0.95)
    assert standing.order.tolist() == [0, 1, 2] and standing.is_settled


def test_all_samples_settle_whatever_they_are() -> None:
    values = np.random.default_rng(5).random((6, 1, 3))
    assert stand(values, np.ones((6, 3), bool), Metric.MSE, 2, 0.99).is_settled


def test_samples_are_taken_from_everywhere_each_once() -> None:
    order = sample_order(50)
    assert order[0] == 0 and sorted(order) == list(range(50)) and list(order[:5]) != list(range(5))
    assert sample_order(1).tolist() == [0]


def executions(lake: Lake) -> int:
    """How many nodes and samples were measured."""
    found = lake.sql(
        "SELECT count(DISTINCT (m.config_id, m.sample_id)) FROM measurements AS m "
        "JOIN run_configs AS c USING (config_id) WHERE c.role = 'only'"
    )
    return int(found.rows[0][0])


def test_a_top_is_that_of_the_exhaustive_ranking_which_goes_on_from_there(tmp_path: Path) -> None:
    """GIVEN a race for the top 5 of 16 samples
    THEN it needs fewer executions, and its top is that of the ranking of all; what it measured is
    taken by that ranking, and a race after that measures nothing.
    """
    options = {"data_num": 16, "lake": tmp_path, "track": False, "progress": False}
    raced = dbg.get_sensitivity_of_nodes(MODEL, "sqnr", DATA, top=5, **options)
    lake = Lake.open(tmp_path)
    few = executions(lake)
    assert 2 * 22 <= few < 22 * 16
    full = dbg.get_sensitivity_of_nodes(MODEL, "sqnr", DATA, **options)
    assert set(list(raced)[:5]) == set(list(full)[:5])
    assert executions(lake) == 22 * 16
    before = lake.sql("SELECT count(*) FROM measurements").rows
    again = dbg.get_sensitivity_of_nodes(MODEL, "sqnr", DATA, top=5, **options)
    assert list(again)[:5] == list(full)[:5]
    assert lake.sql("SELECT count(*) FROM measurements").rows == before


def test_the_answer_says_what_is_settled_and_after_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["get-sensitivity-of-nodes", MODEL, DATA, "-m", "sqnr", "--lake", str(tmp_path)]
    assert main([*command, "-d", "8", "--top", "3", "--no-track", "--intervals"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"the top 3 is settled with 95 % after \d+ of 176 executions", out)
    assert "samples" in out and "all nodes quantized" in out


def test_a_budget_that_is_spent_at_once_gives_an_order_by_local_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["get-sensitivity-of-nodes", MODEL, DATA, "--lake", str(tmp_path), "--no-track"]
    assert main([*command, "-d", "8", "--budget", "0.001s"]) == 0
    out = capsys.readouterr().out
    assert "22 of 22 nodes were not" in out and "by local error (a proxy)" in out
    assert "all nodes quantized" not in out
    (run,) = Lake.open(tmp_path).query("runs")
    assert run["state"] == "FINISHED"
    rows = Lake.open(tmp_path).query("unmeasured", run_id=run["run_id"])
    errors = [row["local_error"] for row in rows]
    assert len(rows) == 22 and errors == sorted(errors, reverse=True) and errors[0] > 0


@pytest.mark.slow
def test_an_interrupted_ranking_gives_the_answer_so_far(tmp_path: Path) -> None:
    """WHEN the user presses Ctrl-C once something is measured
    THEN the exit code is 130, and the answer so far stands on stdout.
    """
    command = [sys.executable, "-m", "hmct_track", "get-sensitivity-of-nodes", MODEL, DATA]
    options = ["-d", "None", "--no-track", "--threads", "1", "--lake", str(tmp_path / "lake")]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    parts = tmp_path / "lake" / "tables" / "measurements"
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if len(list(parts.glob("*.parquet"))) > 1:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.05)
    out, err = process.communicate(timeout=120)
    if process.returncode == 0:
        pytest.skip("it was done before it could be interrupted")
    assert process.returncode == 130, err
    assert "interrupted; of what was measured" in out and "node sensitivity" in out
    assert "Traceback" not in err


class Terminal(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_a_race_stands_and_names_are_no_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with StandingDisplay(shown=True) as display:
        assert not display.is_live
        display.show("1  open  [red]Conv_2[/red]")
        assert display.is_live
    assert "[red]Conv_2[/red]" in terminal.getvalue()


def test_elsewhere_lines_come_seldom_and_none_where_none_are_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 11.0, 11.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with StandingDisplay(shown=True) as display:
        display.show("first")
        display.show("second")
    monkeypatch.undo()
    assert capsys.readouterr().err == "second\n"
    with StandingDisplay(shown=False) as display:
        display.show("third")
    assert capsys.readouterr().err == ""
