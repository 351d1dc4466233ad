"""The answer is on stdout before MLflow is imported or its database made.

One runner does it for all analyses: one that prints a table and one that draws stand for them.
The process is stopped at the import of MLflow until this one, which reads its stdout, lets it go:
what it wrote until then is all that it wrote, however long one waits.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

STOPPED_AT_MLFLOW = """
import sys
from importlib.abc import MetaPathFinder

class Gate(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "mlflow":
            sys.meta_path.remove(self)
            print("importing mlflow", file=sys.stderr, flush=True)
            sys.stdin.readline()

sys.meta_path.insert(0, Gate())
from hmct_track.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "options", "lines"),
    [
        ("get-sensitivity-of-nodes", ["-i", "[Conv_0,Conv_2]"], 9),
        ("plot-distribution", ["-n", "[Conv_2]"], 3),
    ],
)
def test_the_answer_comes_before_mlflow(
    command: str, options: list[str], lines: int, tmp_path: Path, demo_files: tuple[str, str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED_AT_MLFLOW, command, *demo_files, *options, "--no-progress"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout and process.stderr
    watch = threading.Timer(300, process.kill)
    watch.start()
    try:
        told = []
        for line in process.stderr:
            told.append(line)
            if line == "importing mlflow\n":
                break
        assert told and told[-1] == "importing mlflow\n", told
        before = [process.stdout.readline() for _ in range(lines)]
        assert not (tmp_path / "hmct_lake" / "mlflow.db").exists()
        rest, _ = process.communicate("go on\n", timeout=300)
    finally:
        watch.cancel()
        process.kill()
    assert (process.returncode, rest) == (0, "")
    if command == "get-sensitivity-of-nodes":
        assert before[0].startswith("all nodes quantized: ")
    assert before[-1].strip()
    assert (tmp_path / "hmct_lake" / "mlflow.db").exists()
