"""What is loaded when, and which names are public. In processes of their own."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import hmct_track
import hmct_track.debug as dbg

HEAVY = {
    "numpy",
    "onnx",
    "onnxruntime",
    "duckdb",
    "mlflow",
    "pyarrow",
    "pandas",
    "matplotlib",
    "seaborn",
    "textual",
    "rich",
}
RUN = """
import sys
from hmct_track.cli import main
try:
    code = main({arguments})
except SystemExit as end:
    code = end.code
assert code == 0, code
"""


def loaded(statements: str, folder: Path, among: Iterable[str] = HEAVY) -> set[str]:
    """Which of these packages a process has loaded once it has run the statements."""
    show = f"import sys; print(*({set(among)!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{statements}\n{show}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statements",
    [
        "import hmct_track",
        "import hmct_track; dir(hmct_track); hmct_track.HmctTrackError",
        "import hmct_track.debug as dbg; dbg.get_sensitivity_of_nodes",
        "import hmct_track.demo; hmct_track.demo.model_path()",
        RUN.format(arguments=["--help"]),
        RUN.format(arguments=["--version"]),
        RUN.format(arguments=["get-sensitivity-of-nodes", "--help"]),
        RUN.format(arguments=["sql", "--help"]),
        RUN.format(arguments=["ui", "--help"]),
        RUN.format(arguments=["tui", "--help"]),
        RUN.format(arguments=["figure", "--help"]),
        RUN.format(arguments=["runs", "--help"]),
        RUN.format(arguments=["compare", "--help"]),
        RUN.format(arguments=["demo", "--help"]),
    ],
)
def test_imports_and_help_load_nothing_heavy(statements: str, tmp_path: Path) -> None:
    assert loaded(statements, tmp_path) == set()


def test_the_check_itself_sees_what_is_loaded(tmp_path: Path) -> None:
    assert loaded("import hmct_track; hmct_track.CalibrationDataSet", tmp_path) == {"numpy"}


def test_the_terminal_ui_with_all_its_screens_loads_no_model_and_no_mlflow(tmp_path: Path) -> None:
    modules = "app, runs, compare, ranking, node, start, sql, jobs"
    unwanted = {"onnx", "onnxruntime", "mlflow", "matplotlib", "seaborn"}
    assert loaded(f"from hmct_track.tui import {modules}", tmp_path) & unwanted == set()


def test_listing_what_sql_can_ask_loads_no_runtime_no_mlflow_and_no_matplotlib(
    tmp_path: Path,
) -> None:
    unwanted = {"onnxruntime", "onnx", "mlflow", "matplotlib", "seaborn"}
    assert loaded(RUN.format(arguments=["sql"]), tmp_path) & unwanted == set()
    assert list(tmp_path.iterdir()) == []


def test_ranking_loads_no_mlflow_no_matplotlib_and_no_pandas(
    tmp_path: Path, demo_files: tuple[str, str]
) -> None:
    command = ["get-sensitivity-of-nodes", *demo_files, "-i", "Conv_0"]
    found = loaded(RUN.format(arguments=command), tmp_path)
    unwanted = {"mlflow", "matplotlib", "seaborn", "textual", "pandas", "scipy"}
    assert found & unwanted == set()
    assert {"onnxruntime", "duckdb"} <= found


@pytest.mark.parametrize("command", ["diagnose", "mend", "sensitivity-analysis", "plot-acc-error"])
def test_an_answer_without_a_figure_loads_no_matplotlib(
    command: str, tmp_path: Path, demo_files: tuple[str, str]
) -> None:
    arguments = [command, *demo_files, "--no-track"]
    more = {"plot-acc-error": ["-q", "weight"], "mend": ["-o", str(tmp_path / "mended.onnx")]}
    arguments += more.get(command, [])
    found = loaded(RUN.format(arguments=arguments), tmp_path)
    assert found & {"mlflow", "matplotlib", "seaborn", "pandas"} == set()


def test_drawing_a_ranking_loads_neither_seaborn_nor_pandas(tmp_path: Path) -> None:
    found = loaded("import hmct_track.report.ranking, hmct_track.report.accumulation", tmp_path)
    assert found & {"seaborn", "pandas", "scipy"} == set()
    assert "matplotlib" in found


def test_the_public_names_of_the_package_are_these() -> None:
    names = [
        "CalibrationDataSet",
        "HmctTrackError",
        "Lake",
        "calibrate",
        "compare",
        "diagnose",
        "get_sensitivity_of_nodes",
        "graph",
        "inspect_model",
        "mend",
        "plan",
    ]
    assert hmct_track.__all__ == names
    assert set(names) <= set(dir(hmct_track))
    assert [getattr(hmct_track, name).__name__ for name in names] == names


def test_the_documented_functions_are_these() -> None:
    assert dbg.__all__ == [
        "get_channelwise_data_distribution",
        "get_sensitivity_of_nodes",
        "plot_acc_error",
        "plot_distribution",
        "runall",
        "select_sensitive_samples",
        "sensitivity_analysis",
    ]
    assert dbg.get_sensitivity_of_nodes is hmct_track.get_sensitivity_of_nodes


REQUIRED = inspect.Parameter.empty


@pytest.mark.parametrize(
    ("function", "documented"),
    [
        (
            dbg.get_sensitivity_of_nodes,
            {
                "model_or_file": REQUIRED,
                "metrics": "cosine-similarity",
                "calibrated_data": None,
                "output_node": None,
                "node_type": "node",
                "data_num": 1,
                "verbose": False,
                "interested_nodes": None,
                "save_dir": None,
            },
        ),
        (
            dbg.plot_acc_error,
            {
                "save_dir": None,
                "calibrated_data": None,
                "model_or_file": None,
                "quantize_node": None,
                "non_quantize_node": None,
                "metric": "cosine-similarity",
                "average_mode": False,
            },
        ),
        (
            dbg.plot_distribution,
            {"save_dir": None, "model_or_file": None, "calibrated_data": None, "nodes_list": ()},
        ),
        (
            dbg.get_channelwise_data_distribution,
            {
                "save_dir": None,
                "model_or_file": None,
                "calibrated_data": None,
                "nodes_list": (),
                "axis": None,
            },
        ),
        (
            dbg.sensitivity_analysis,
            {
                "model_or_file": REQUIRED,
                "calibrated_data": REQUIRED,
                "pick_threshold": 0.999,
                "data_num": 1,
                "sensitive_nodes": None,
                "save_dir": None,
            },
        ),
    ],
)
def test_the_documented_parameters_have_their_documented_names_order_and_defaults(
    function: Callable[..., object], documented: dict[str, object]
) -> None:
    parameters = inspect.signature(function).parameters.values()
    found = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert list(found.items()) == list(documented.items())


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'lakes'; known are lake"):
        dbg.sensitivity_analysis("m", "d", lakes="x")  # type: ignore[call-arg]


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hmct_track' has no attribute 'nonsense'"):
        _ = hmct_track.nonsense


def test_every_package_is_installed() -> None:
    """GIVEN an installation that is no link to the sources
    THEN it has all packages that there are.
    """
    root = Path(hmct_track.__file__).parent
    made = {f"hmct_track.{init.parent.name}" for init in root.glob("*/__init__.py")}
    project = tomllib.loads((root.parent / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    assert listed == made | {"hmct_track", "hmct_track.queries", "hmct_track.tui"}
