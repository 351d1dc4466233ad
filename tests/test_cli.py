"""``hmct-debugger`` as a process: what it prints where, its exit codes, what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from hmct_track import demo
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.lake import Lake
from tests.conftest import Cli
from tests.support.graphs import calibration, model
from tests.support.here import run_here

RANK = "get-sensitivity-of-nodes"
DEAD_SERVER = "http://127.0.0.1:9"
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with the demo's files under the names that the documentation uses."""
    (tmp_path / "calibrated_model.onnx").symlink_to(demo.model_path())
    (tmp_path / "calibration_data").symlink_to(demo.calibration_data_path())
    return tmp_path


@pytest.fixture
def bash(workplace: Path) -> Callable[..., Done]:
    """Run a line in a real shell, which eats quotes, in the workplace."""

    def run(line: str, **environment: str) -> Done:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", line],
            cwd=workplace,
            env={**os.environ, "PATH": path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def header(done: Done) -> list[str]:
    assert done.returncode == ExitCode.OK, done.stderr
    return done.stdout.splitlines()[3].split()


def names(done: Done) -> list[str]:
    """The first column of the table: a blank line ends it, and what is sure of it follows."""
    return [line.split()[0] for line in takewhile(bool, done.stdout.splitlines()[5:])]


def runs(folder: Path) -> list[dict]:
    """The runs of a lake, the newest first."""
    result = Lake.open(folder).sql("FROM runs ORDER BY run_id DESC")
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


# The documented command


def kept(stderr: str, run_id: str = "", lake: Path | str = "") -> bool:
    """Whether stderr says where the run is and how good its numbers are, and nothing else."""
    run, place = re.escape(run_id) or r"\S+", re.escape(str(lake)) or r"\S+"
    line = rf"run {run} is in the lake {place} \(noise floor \d\.\de[-+]\d\d\)\n"
    return re.fullmatch(line, stderr) is not None


def test_the_documented_line_ranks_prints_and_records(
    bash: Callable[..., Done], workplace: Path
) -> None:
    done = bash(
        "hmct-debugger get-sensitivity-of-nodes calibrated_model.onnx calibration_data "
        "-m ['cosine-similarity','mse'] -v True",
        HMCT_RECORD="wait",
    )
    assert header(done) == ["node", "cosine-similarity", "mse"]
    whole, empty, title, _, dashes, *rows = done.stdout.splitlines()
    rows = list(takewhile(bool, rows))
    assert re.fullmatch(
        r"all nodes quantized: cosine-similarity \S+, mse \S+ \(one sample\)", whole
    ), whole
    assert empty == ""
    assert re.fullmatch("(=+)node sensitivity(=+)", title)
    assert re.fullmatch("-+", dashes)
    assert len(rows) == 22
    values = [float(row.split()[1]) for row in rows]
    assert values == sorted(values)
    (run,) = runs(workplace / "hmct_lake")
    assert kept(done.stderr, run["run_id"], workplace / "hmct_lake")
    assert (run["state"], run["data_num"]) == ("FINISHED", 1)
    assert run["mlflow_run_id"]
    assert (workplace / "hmct_lake/mlflow.db").exists()


@pytest.mark.parametrize(
    "options",
    [
        "-m ['mse','sqnr'] -i ['Conv_0','302_HzCalibration']",
        "-m ['mse', 'sqnr'] -i ['Conv_0', '302_HzCalibration']",
        "-m \"['mse', 'sqnr']\" -i \"['Conv_0', '302_HzCalibration']\"",
        "-m [mse,sqnr] -i [Conv_0,302_HzCalibration] -v 1",
        "-v -m [mse, sqnr] -i [ Conv_0 , 302_HzCalibration ]",
    ],
)
def test_lists_come_through_a_real_shell(bash: Callable[..., Done], options: str) -> None:
    done = bash(f"hmct-debugger {RANK} {options} calibrated_model.onnx calibration_data --no-track")
    assert header(done) == ["node", "mse", "sqnr"]
    assert set(names(done)) == {"Conv_0", "302_HzCalibration"}


OPTIONS = {
    "-m": ("metrics", "[sqnr,mse]"),
    "-o": ("output_node", "Conv_6"),
    "-n": ("node_type", "activation"),
    "-d": ("data_num", "2"),
    "-v": ("verbose", "True"),
}


@pytest.mark.parametrize(
    "form",
    [
        lambda short, _: short,
        lambda _, name: f"--{name}",
        lambda _, name: f"--{name.replace('_', '-')}",
    ],
    ids=["short", "underscores", "hyphens"],
)
def test_every_documented_option_takes_effect_in_every_form(
    cli: Cli, demo_files: tuple[str, str], tmp_path: Path, form: Callable[[str, str], str]
) -> None:
    given = [
        part for short, (name, value) in OPTIONS.items() for part in (form(short, name), value)
    ]
    done = cli(RANK, *demo_files, *given, "--no-track")
    assert header(done) == ["activation", "node", "threshold", "bit", "sqnr", "mse"]
    assert len(names(done)) == 22
    (run,) = runs(tmp_path / "hmct_lake")
    assert run["metrics"] == ["sqnr", "mse"]
    assert run["data_num"] == 2
    assert len(run["outputs"]) == 1 and run["outputs"] != ["logits"]
    parameters = json.loads(run["parameters"])
    assert (parameters["output_node"], parameters["node_type"]) == ("Conv_6", "activation")


@pytest.mark.parametrize("option", ["-i", "--interested_nodes", "--interested-nodes"])
def test_interested_nodes_win_over_the_node_type_and_none_means_all_samples(
    cli: Cli, demo_files: tuple[str, str], tmp_path: Path, option: str
) -> None:
    nodes = "[302_HzCalibration,304_HzCalibration]"
    done = cli(RANK, *demo_files, "-n", "node", option, nodes, "-d", "None", "--no-track")
    assert header(done) == ["weight", "node", "cosine-similarity"]
    assert set(names(done)) == {"302_HzCalibration", "304_HzCalibration"}
    assert runs(tmp_path / "hmct_lake")[0]["data_num"] == 64


def test_verbose_false_records_and_prints_no_table(
    cli: Cli, demo_files: tuple[str, str], tmp_path: Path
) -> None:
    done = cli(RANK, *demo_files, "-i", "Conv_0", "-v", "False", "--no-track")
    assert (done.returncode, done.stdout) == (ExitCode.OK, "")
    (run,) = runs(tmp_path / "hmct_lake")
    assert kept(done.stderr, run["run_id"], tmp_path / "hmct_lake")


@pytest.mark.parametrize("by_option", [True, False])
def test_the_lake_is_where_option_or_environment_say(
    bash: Callable[..., Done], workplace: Path, by_option: bool
) -> None:
    line = f"hmct-debugger {RANK} calibrated_model.onnx calibration_data -i Conv_0 --no-track"
    done = bash(f"{line} --lake b", HMCT_LAKE="a") if by_option else bash(line, HMCT_LAKE="a")
    assert done.returncode == ExitCode.OK
    place = workplace / ("b" if by_option else "a")
    assert len(runs(place)) == 1
    assert str(place) in done.stderr
    assert {p.name for p in workplace.iterdir()} == {
        "calibrated_model.onnx",
        "calibration_data",
        place.name,
    }


# Help


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ([], ["get-sensitivity-of-nodes", "sql", "ui", "demo", "exit codes:"]),
        (
            [RANK],
            ["MODEL_OR_FILE", "CALIBRATION_DATA"]
            + list(OPTIONS)
            + [f"--{name}" for name, _ in OPTIONS.values()]
            + ["-i", "--interested_nodes", "cosine-similarity", "mse", "mre", "sqnr", "chebyshev"]
            + [
                "node, weight, activation, output",
                "(default: 1)",
                "--lake",
                "--experiment",
                "--no-track",
            ],
        ),
        (
            ["plot-acc-error"],
            [
                "MODEL_OR_FILE",
                "CALIBRATION_DATA",
                "-s",
                "--save_dir",
                "-q",
                "--quantize_node",
                "-nq",
                "--non_quantize_node",
                "-m",
                "--metric",
                "-a",
                "--average_mode",
            ],
        ),
        (
            ["sensitivity-analysis"],
            [
                "MODEL_OR_FILE",
                "CALIBRATION_DATA",
                "-p",
                "--pick_threshold",
                "-d",
                "--data_num",
                "-sn",
                "--sensitive_nodes",
                "-sd",
                "--save_dir",
            ],
        ),
        (["sql"], ["SQL", "--query", "--param", "--format", "--lake", "run_id=latest"]),
        (["ui"], ["--port", "--lake", "127.0.0.1"]),
        (["demo"], ["folder", "--lake"]),
    ],
)
def test_help_shows_what_the_command_takes(cli: Cli, command: list[str], shown: list[str]) -> None:
    short, long = cli(*command, "-h"), cli(*command, "--help")
    assert (short.returncode, short.stderr) == (ExitCode.OK, "")
    assert short.stdout == long.stdout
    text = " ".join(short.stdout.split())
    missing = [part for part in shown if not re.search(rf"(?<![\w-]){re.escape(part)}(?!\w)", text)]
    assert missing == []


@pytest.mark.parametrize(
    "command", [RANK, "plot-acc-error", "sensitivity-analysis", "sql", "ui", "demo"]
)
def test_a_documented_command_is_on_the_page_of_all_commands(cli: Cli, command: str) -> None:
    assert re.search(rf"^    {command}\b", cli("-h").stdout, re.MULTILINE)


# Bad input: one line, status 2, nothing written


@pytest.fixture
def broken(workplace: Path) -> Path:
    """The workplace with things in it that cannot be used."""
    (workplace / "garbage.onnx").write_bytes(b"\x08 this is no model \xff" * 9)
    (workplace / "nothing.onnx").write_bytes(b"")
    plain = model([helper.make_node("Relu", ["x"], ["y"], name="Relu_0")])
    onnx.save(plain, workplace / "uncalibrated.onnx")
    picks = [
        calibration("x", "xq", "1_HzCalibration"),
        helper.make_node("Relu", ["xq"], ["r"], name="Relu_0"),
        helper.make_node("ArgMax", ["r"], ["n"], name="ArgMax_1"),
        helper.make_node("Cast", ["n"], ["y"], name="Cast_2", to=onnx.TensorProto.FLOAT),
    ]
    onnx.save(model(picks, {"x": [1, 1, 16, 16]}), workplace / "picks.onnx")
    for name, array in {
        "nan": np.full((1, 1, 16, 16), np.nan, np.float32),
        "double": np.zeros((1, 1, 16, 16)),
        "small": np.zeros((1, 1, 8, 8), np.float32),
    }.items():
        (workplace / name).mkdir()
        np.save(workplace / name / "0.npy", array)
    (workplace / "cut").mkdir()
    whole = (workplace / "small/0.npy").read_bytes()
    (workplace / "cut/0.npy").write_bytes(whole[:-8])
    (workplace / "empty").mkdir()
    return workplace


M, D = "calibrated_model.onnx", "calibration_data"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"no.onnx {D}", "model file 'no.onnx' does not exist"),
        (f". {D}", "model file '.' is not a file; give the path of an .onnx file"),
        (f"garbage.onnx {D}", "'garbage.onnx' is not an ONNX model"),
        (f"nothing.onnx {D}", "is it an ONNX model?"),
        (f"uncalibrated.onnx {D}", "has no calibration nodes"),
        (f"{M} no_data", "'no_data' does not exist; expected a folder"),
        (f"{M} empty", "holds no .npy files; expected empty/<input name>/0.npy"),
        (f"{M} nan", "0.npy has 256 NaN and 0 infinite values of 256; "),
        (f"{M} cut", "0.npy is damaged or truncated"),
        (f"{M} double", "astype(numpy.float32)"),
        (f"{M} small", "0.npy has shape [1, 1, 8, 8]; input 'input' is float32[?, 1, 16, 16]"),
        (f"{M} {D} -m [mse,rmse]", "'rmse' is not known; choose from cosine-similarity, mse, mre,"),
        (f"{M} {D} -m []", "metrics is empty; choose from"),
        (
            f"{M} {D} -n weights",
            "'weights' is not known; choose from node, weight, activation, output",
        ),
        (f"{M} {D} -i Conv0", "no node named 'Conv0'; closest names: Conv_0"),
        (f"{M} {D} -i [Conv_0,Cnv_21]", "no node named 'Cnv_21'; closest names: Conv_21"),
        (f"{M} {D} -i Relu_1", "'Relu_1' (Relu) cannot be quantized"),
        (f"{M} {D} -o Gem_34", "no node named 'Gem_34'; closest names: Gemm_34"),
        (f"{M} {D} -d 0", "data_num is 0; there are 1 to 64 samples"),
        (f"{M} {D} -d 65", "data_num is 65; there are 1 to 64 samples"),
        (f"picks.onnx {D} -o ArgMax_1", "'ArgMax_1' has no float output"),
        (f"{M} {D} --lake {M}/lake", "cannot make a lake in"),
    ],
)
def test_bad_input_is_one_line_of_advice_status_2_and_leaves_nothing(
    broken: Path,
    arguments: str,
    message: str,
) -> None:
    before = sorted(broken.rglob("*"))
    done = run_here(broken, RANK, *arguments.split())
    assert (done.returncode, done.stdout) == (ExitCode.BAD_INPUT, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("hmct-debugger: error: ")
    assert message in line
    assert sorted(broken.rglob("*")) == before


@pytest.mark.parametrize(
    "line", ["hmct-debugger", "hmct-debugger -v", f"hmct-debugger {RANK} {M} {D} -m [mse"]
)
def test_wrong_usage_shows_the_usage_and_is_status_2(bash: Callable[..., Done], line: str) -> None:
    done = bash(line)
    assert (done.returncode, done.stdout) == (ExitCode.BAD_INPUT, "")
    assert done.stderr.startswith("usage: hmct-debugger")
    assert "Traceback" not in done.stderr


def test_bad_input_of_a_process_is_one_line_and_status_2(bash: Callable[..., Done]) -> None:
    done = bash(f"hmct-debugger {RANK} no.onnx {D}")
    assert (done.returncode, done.stdout) == (ExitCode.BAD_INPUT, "")
    assert done.stderr.count("\n") == 1


# Pipes


def test_head_gets_its_lines_and_nothing_complains(bash: Callable[..., Done]) -> None:
    line = f"hmct-debugger {RANK} {M} {D} -i Conv_0 --no-track --no-progress | head -1"
    done = bash(line)
    assert re.fullmatch(r"all nodes quantized: cosine-similarity \S+ \(one sample\)\n", done.stdout)
    assert kept(done.stderr)
    assert done.returncode == ExitCode.OK


@pytest.mark.parametrize("reader", ["| true", ">&-"])
def test_a_run_whose_reader_has_gone_is_finished_all_the_same(
    bash: Callable[..., Done], workplace: Path, reader: str
) -> None:
    done = bash(f"hmct-debugger {RANK} {M} {D} -i Conv_0 --no-track --no-progress {reader}")
    assert kept(done.stderr)
    assert done.returncode == ExitCode.OK
    assert [run["state"] for run in runs(workplace / "hmct_lake")] == ["FINISHED"]


@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_the_list_of_what_sql_can_ask_goes_through_a_pipe(
    bash: Callable[..., Done], reader: str
) -> None:
    done = bash(f"hmct-debugger sql | {reader}")
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert done.stdout == ("Tables\n" if reader == "head -1" else "")


# MLflow out of reach


def test_without_mlflow_the_answer_is_printed_and_kept_and_the_failure_told_once(
    bash: Callable[..., Done], workplace: Path
) -> None:
    done = bash(f"hmct-debugger {RANK} {M} {D} -i Conv_0 --wait", MLFLOW_TRACKING_URI=DEAD_SERVER)
    assert done.returncode == ExitCode.NOT_TRACKED
    assert names(done) == ["Conv_0"]
    (run,) = runs(workplace / "hmct_lake")
    assert (run["state"], run["error"], run["mlflow_run_id"]) == ("FINISHED", None, None)
    told, recorded = done.stderr.splitlines()
    assert told.startswith(f"MLflow at {DEAD_SERVER} did not take the run: ")
    assert told.endswith(f"the run is in the lake as {run['run_id']}")
    assert kept(f"{recorded}\n", run["run_id"], workplace / "hmct_lake")


# Ctrl-C


def _long_model(nodes: int) -> onnx.ModelProto:
    chain = []
    for k in range(nodes):
        source = "x" if k == 0 else f"t{k - 1}"
        target = "y" if k == nodes - 1 else f"t{k}"
        chain += [
            calibration(source, f"q{k}", f"{k}_HzCalibration"),
            helper.make_node("Softplus", [f"q{k}"], [target], name=f"Softplus_{k}"),
        ]
    return model(chain, {"x": [1, 16384]})


def _interruptible() -> None:
    """Have Ctrl-C work even where the tests were started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_is_status_130_and_keeps_what_was_measured(tmp_path: Path) -> None:
    nodes, samples = 400, 20  # minutes of work
    onnx.save(_long_model(nodes), tmp_path / "long.onnx")
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for k in range(samples):
        np.save(tmp_path / f"data/{k}.npy", rng.standard_normal((1, 16384)).astype(np.float32))
    process = subprocess.Popen(
        [sys.executable, "-m", "hmct_track", RANK, "long.onnx", "data", "-d", "None", "--no-track"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_interruptible,  # noqa: PLW1509 - no threads here
    )
    parts = tmp_path / "hmct_lake/tables/measurements"
    # The first part is the empty one of a new lake.
    while len(list(parts.glob("*.parquet"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    # Ctrl-C gives the answer so far, and says that it is no more than that.
    assert stdout.startswith("interrupted; of what was measured:\n")
    kept, last = stderr.splitlines()[-2:]
    assert re.search(r"[1-9]\d* measurements are kept; the same command goes on from there", kept)
    assert last == "hmct-debugger: error: interrupted"
    assert "Traceback" not in stderr
    (run,) = runs(tmp_path / "hmct_lake")
    assert run["state"] == "KILLED"
    assert run["ended_at"] is not None
    ((kept,),) = Lake.open(tmp_path / "hmct_lake").sql("SELECT count(*) FROM measurements").rows
    assert 0 < kept < nodes * samples


# The rest


def test_the_demo_says_what_it_does_on_stderr_and_answers_on_stdout(
    process: Cli, tmp_path: Path
) -> None:
    done = process("demo")
    assert header(done) == ["node", "cosine-similarity", "sqnr"]
    assert len(names(done)) == 22
    assert "Traceback" not in done.stderr
    assert f"All is kept in {tmp_path / 'hmct_lake'}" in done.stderr
    for command in ("sql", "ui", RANK):
        assert re.search(rf"^  .+ {command}\b", done.stderr, re.MULTILINE)
    (run,) = runs(tmp_path / "hmct_lake")
    assert (run["data_num"], run["metrics"]) == (16, ["cosine-similarity", "sqnr"])
    assert (tmp_path / "hmct_demo/calibrated_model.onnx").exists()
    assert len(list((tmp_path / "hmct_demo/calibration_data/input").iterdir())) == 64


def test_the_demo_goes_where_it_is_told_and_passes_exit_codes_on(
    bash: Callable[..., Done], workplace: Path
) -> None:
    done = bash(
        "hmct-debugger demo here/there --lake l",
        MLFLOW_TRACKING_URI=DEAD_SERVER,
        HMCT_RECORD="wait",
    )
    assert done.returncode == ExitCode.NOT_TRACKED
    assert (workplace / "here/there/calibration_data/input/63.npy").exists()
    assert len(runs(workplace / "l")) == 1
    done = bash(f"hmct-debugger demo {M}/no")
    assert done.returncode == ExitCode.BAD_INPUT
    assert done.stderr.startswith("hmct-debugger: error: cannot copy the demo to")


def test_the_module_and_the_script_are_the_same_program(
    process: Cli, bash: Callable[..., Done]
) -> None:
    module, script = process("--version"), bash("hmct-debugger --version")
    assert (module.returncode, module.stderr) == (ExitCode.OK, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", module.stdout)
    assert module.stdout == script.stdout
    assert process(RANK, "-h").stdout == bash(f"hmct-debugger {RANK} -h").stdout


def test_an_unforeseen_failure_is_one_line_and_a_traceback_on_demand(
    bash: Callable[..., Done],
) -> None:
    line = f"hmct-debugger {RANK} {M} {D} -i Conv_0 --no-track --no-progress > /dev/full"
    done = bash(line)
    assert done.returncode == ExitCode.INTERNAL_ERROR
    assert done.stderr.count("\n") == 1
    assert "HMCT_TRACEBACK=1 shows where" in done.stderr
    assert "Traceback (most recent call last)" in bash(line, HMCT_TRACEBACK="1").stderr
