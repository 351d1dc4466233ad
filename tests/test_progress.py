"""Progress: a line per step in a file, two live bars in a terminal that leave nothing behind."""

from __future__ import annotations

import io

import pytest

import hmct_track.debug as dbg
from hmct_track import data, demo, model
from hmct_track.engine import made
from hmct_track.recording import progress as module
from hmct_track.recording.progress import Steps, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(steps: Steps) -> list[int]:
    with steps:
        for title in ("one", "two"):
            steps.begin(title)
            done = list(progress(range(3), total=3, what="doing", unit="things", steps=steps))
        steps.aside(print)("answer")
    return done


def test_in_a_file_each_step_is_a_line_and_slow_work_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0)
    assert work(Steps(2, shown=True)) == [0, 1, 2]
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("step")] == [
        "step 1 of 2: one",
        "step 2 of 2: two",
    ]
    assert lines[1].startswith("doing: 1 of 3 things, ")
    assert len(lines) == 2 * (1 + 3)
    assert "\r" not in err
    assert out == "answer\n"


def test_in_a_terminal_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    work(Steps(2, shown=True))
    shown = terminal.getvalue()
    assert "step 1 of 2: one" in shown
    assert "step 2 of 2: two" in shown
    assert shown.split("\r")[-1].strip() == ""
    assert capsys.readouterr().out == "answer\n"


def test_nothing_is_shown_where_none_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps(1, shown=False) as steps:
        steps.begin("one")
        assert list(progress(range(2), total=2, what="", unit="", shown=False)) == [0, 1]
    assert capsys.readouterr().err == ""


def test_runall_reads_model_and_data_once(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    for place, name in ((model, "load_model"), (data, "open_data"), (made, "Engine")):
        real = getattr(place, name)

        def counted(*given: object, name: str = name, real: object = real, **o: object) -> object:
            read.append(name)
            return real(*given, **o)  # type: ignore[operator]

        monkeypatch.setattr(place, name, counted)
    dbg.runall(
        demo.model_path(), demo.calibration_data_path(), data_num=1, lake=tmp_path, track=False
    )
    assert sorted(read) == ["Engine", "load_model", "open_data"]
