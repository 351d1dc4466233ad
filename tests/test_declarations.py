"""One declaration of each analysis, and all that is derived from it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hmct_track
import hmct_track.debug as dbg
from hmct_track import api, demo
from hmct_track.analyses import ANALYSES, Analysis
from hmct_track.analyses.stored import answer_of, command_of
from hmct_track.cli.main import build_parser, main
from hmct_track.lake import Lake
from hmct_track.options import argument_list, options_of
from hmct_track.options.parsing import join_arguments, parse_list, show_names
from hmct_track.options.recording import Recording

FUNCTIONS = {
    "get-sensitivity-of-nodes": dbg.get_sensitivity_of_nodes,
    "plot-acc-error": dbg.plot_acc_error,
    "plot-distribution": dbg.plot_distribution,
    "get-channelwise-data-distribution": dbg.get_channelwise_data_distribution,
    "sensitivity-analysis": dbg.sensitivity_analysis,
    "runall": dbg.runall,
    "select-sensitive-samples": dbg.select_sensitive_samples,
    "calibrate": api.calibrate,
    "diagnose": api.diagnose,
    "mend": api.mend,
    "plan": api.plan,
}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_a_function_has_the_parameters_that_are_declared(command: str) -> None:
    """GIVEN a documented function, written by hand for editors and readers
    THEN its parameters and defaults are those of the declaration.
    """
    parameters = inspect.signature(FUNCTIONS[command]).parameters.values()
    written = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
    declared = {o.name: o.default for o in options_of(ANALYSES[command])}
    declared.pop("float_model", None)  # among the keywords that every function takes
    assert written.keys() == declared.keys()
    for name, default in declared.items():
        if default is not None and default != {}:
            assert written[name] == default, name
        else:
            assert written[name] in (None, (), inspect.Parameter.empty), name


def test_the_keywords_of_every_function_are_those_of_the_recording() -> None:
    assert set(dbg.Recording.__annotations__) == {
        "float_model",
        *(o.name for o in options_of(Recording)),
    }


def parsed(arguments: list[str], analysis: type[Analysis]) -> Analysis:
    args = build_parser().parse_args(join_arguments(arguments, ()))
    return analysis(**{o.name: getattr(args, o.name) for o in options_of(analysis)})


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name.strip() == name and not name.startswith("re:") and "\0" not in name
)


@given(st.lists(NAMES, min_size=1) | st.lists(st.lists(NAMES, min_size=1), min_size=1))
def test_lists_of_names_come_back_from_the_command_line(names: Any) -> None:
    (joined,) = join_arguments([show_names(names)], ())
    assert parse_list(joined) == names


@given(nodes=st.lists(NAMES, min_size=1), samples=st.none() | st.integers(1, 99))
def test_a_ranking_comes_back_from_its_arguments(nodes: list[str], samples: int | None) -> None:
    ranking = ANALYSES["get-sensitivity-of-nodes"]
    given = ranking(
        model_or_file="m.onnx",
        calibrated_data="d",
        metrics=["mse", "sqnr"],
        interested_nodes=nodes,
        data_num=samples,
        verbose=True,
    )
    assert parsed(["get-sensitivity-of-nodes", *argument_list(given)], ranking) == given


RUNS: dict[str, list[str]] = {
    "get-sensitivity-of-nodes": ["-m", "[sqnr,mse]", "-n", "weight", "-o", "Conv_2"],
    "plot-acc-error": ["-q", "[[Conv_2],[Conv_2,Conv_8]]", "-m", "mse", "-a"],
    "plot-distribution": ["-n", "[Conv_2]", "--data-num", "2"],
    "get-channelwise-data-distribution": ["-n", "[304_HzCalibration]", "-a", "0"],
    "sensitivity-analysis": ["-sn", "[Conv_2,Conv_8]", "-q", "int16", "-d", "2"],
    "interactions": ["-m", "mse", "-k", "2", "-i", "[Conv_2,Conv_4]", "-d", "2"],
    "local-errors": ["-m", "mse", "--by", "accumulated", "-i", "[Conv_2]", "-d", "2"],
    "select-sensitive-samples": ["-m", "sqnr", "-d", "3", "-sn", "2"],
    "plan": ["-t", "error <= 20 %", "-d", "8", "-g", "node", "--moves", "[int16,float16]"],
    "runall": ["-nm", "[mse]", "-dn", "1", "-i", "[Conv_2,Conv_8]", "-pt", "0.5"],
}


@pytest.mark.parametrize("command", RUNS)
def test_a_stored_run_is_repeated_with_all_that_it_was_given(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GIVEN a run with options of its own
    WHEN it is repeated from the lake
    THEN analysis, parameters and answer are the same, and nothing is measured again.
    """
    places = [str(demo.model_path()), str(demo.calibration_data_path())]
    kept = ["--lake", str(tmp_path), "--no-track"]
    given = [command, *places, *RUNS[command], "--threads", "1", *kept]
    assert main(given) == 0
    printed = capsys.readouterr().out
    lake = Lake.open(tmp_path)
    first = next(r for r in lake.query("run_list") if r["parent_run_id"] is None)
    assert json.loads(first["parameters"])["threads"] == 1
    arguments = command_of(answer_of(lake, first["run_id"]))
    assert arguments[:3] == [command, *places]
    assert main([*arguments, *kept]) == 0
    assert capsys.readouterr().out == printed
    again = next(r for r in Lake.open(tmp_path).query("run_list") if r["parent_run_id"] is None)
    assert again["run_id"] != first["run_id"]
    assert json.loads(again["parameters"]) == json.loads(first["parameters"])
    (new,) = lake.sql(
        f"SELECT count(*) FROM measurements WHERE run_id = '{again['run_id']}'"  # noqa: S608
    ).rows[0]
    assert new == 0


def test_repeat_shows_its_command_and_runs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [str(demo.model_path()), str(demo.calibration_data_path())]
    kept = ["--lake", str(tmp_path)]
    main(["get-sensitivity-of-nodes", *places, "-i", "[Conv_2]", "--no-track", *kept])
    table = capsys.readouterr().out
    assert main(["repeat", "latest", "--show", *kept]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("hmct-debugger get-sensitivity-of-nodes ")
    assert "Conv_2" in shown
    there = ["--scheduler", "tcp://127.0.0.1:9"]
    assert main(["repeat", "latest", "--show", *there, *kept]) == 0
    assert capsys.readouterr().out.split() == [*shown.split(), *there]
    assert main(["repeat", "latest", *kept]) == 0
    assert capsys.readouterr().out == table


def test_a_run_that_was_given_objects_cannot_be_typed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = hmct_track.CalibrationDataSet.from_folder(demo.calibration_data_path())
    dbg.select_sensitive_samples(demo.model_path(), data, data_num=1, lake=tmp_path, track=False)
    code = main(["repeat", "latest", "--show", "--lake", str(tmp_path)])
    # A folder that was opened before is a folder still; arrays are none.
    assert code in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
