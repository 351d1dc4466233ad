"""What README and docs show is what happens."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import onnx
import pytest

from benchmarks import rebuild
from hmct_track import demo
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.lake import TABLES, Lake, query_names
from tests.support.here import run_here

NAME = re.compile(r"`(\w+)`")
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LAKE_PAGE = (ROOT / "docs" / "lake.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a real shell that finds this environment's hmct-debugger."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and data under the names that the README uses, and a lake."""
    place = tmp_path_factory.mktemp("readme")
    shutil.copy(demo.model_path(), place)
    shutil.copytree(demo.calibration_data_path(), place / "calibration_data")
    done = shell("hmct-debugger demo", place)
    assert done.returncode == 0, done.stderr
    (place / "demo.txt").write_text(done.stdout)
    assert shell("hmct-debugger tag latest", place).returncode == 0
    Lake.open(place / "hmct_lake").write_database()  # as the process does that a run leaves behind
    # The float model is the calibrated one without its calibration nodes.
    onnx.save(rebuild.build(onnx.load(demo.model_path()), ()), place / "float.onnx")
    return place


def test_the_demo_prints_what_the_readme_shows(folder: Path) -> None:
    (shown,) = blocks(README, "text")
    lines = [line for line in shown.splitlines() if line and not line.startswith(("$", "..."))]
    printed = [line for line in (folder / "demo.txt").read_text().splitlines() if line]
    assert printed[: len(lines)] == lines
    assert len(lines) == 9


COMMANDS = [
    line.split(" # ")[0].strip()
    for block in blocks(README, "sh")
    for line in block.splitlines()
    if line.startswith("hmct-debugger") and line.split()[1] not in ("ui", "tui")
]


RANKING = next(line for line in COMMANDS if "get-sensitivity-of-nodes" in line)
DIAGNOSIS = next(line for line in COMMANDS if line.split()[1] == "diagnose")


def call(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of one command without a shell and a process, as there are many."""
    name, *arguments = shlex.split(line)
    assert name == "hmct-debugger"
    return run_here(folder, *arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readmes_commands_run_as_they_stand(folder: Path, command: str) -> None:
    before: tuple[str, ...] = ()  # what a reader has run by then; tests run in any order
    if "compare" in command:
        before = (RANKING, "hmct-debugger tag latest", RANKING)
    elif "--by cause" in command:
        before = (DIAGNOSIS,)
    for line in before:
        made = call(line, folder)
        assert made.returncode == 0, made.stderr
    done = call(command, folder)
    # A gate may say that its condition holds: another command has made another model before.
    allowed = {0, ExitCode.GATE_FAILED} if "--fail-if" in command else {0}
    assert done.returncode in allowed, done.stderr
    assert done.stdout or done.stderr


def test_there_are_commands_to_try() -> None:
    assert len(COMMANDS) == 16


@pytest.mark.parametrize(
    "code",
    [
        *blocks(README, "python"),
        *(block for block in blocks(LAKE_PAGE, "python") if ".pl()" not in block),
    ],
)
def test_python_snippets_run_as_they_stand(folder: Path, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_sql_snippets_run_as_they_stand(folder: Path) -> None:
    statements = [s for block in blocks(LAKE_PAGE, "sql") for s in block.split(";") if s.strip()]
    assert len(statements) == 4
    assert call(RANKING, folder).returncode == 0  # the newest run is a ranking, in any order
    with duckdb.connect(folder / "hmct_lake" / "lake.duckdb", read_only=True) as lake:
        for statement in statements:
            assert lake.sql(statement).fetchall()


def test_polars_snippet_runs_as_it_stands_where_polars_is_installed(folder: Path) -> None:
    pytest.importorskip("polars")
    (code,) = [block for block in blocks(LAKE_PAGE, "python") if ".pl()" in block]
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def test_the_lake_page_has_every_table_and_column_as_the_schema_has_them() -> None:
    for table in TABLES:
        section = LAKE_PAGE.split(f"\n### {table.name}\n")[1].split("\n### ")[0]
        found = [
            tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:4])
            for line in section.splitlines()
            if line.startswith("| `")
        ]
        expected = [(f"`{c.name}`", c.type, c.meaning.replace("|", "\\|")) for c in table.columns]
        assert found == expected, table.name
    assert LAKE_PAGE.count("\n### ") == len(TABLES)


def test_the_lake_page_names_only_queries_that_exist() -> None:
    section = LAKE_PAGE.split("## Questions that ship")[1].split("\n## ")[0]
    named = {n for row in section.splitlines() if row.startswith("| ") for n in NAME.findall(row)}
    assert named <= set(query_names()) and len(named) > 12


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/lake.md", "docs/demo.md"])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    missing = [to for to in links if not ((ROOT / page).parent / to).exists()]
    assert not missing
