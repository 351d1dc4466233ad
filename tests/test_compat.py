"""Old import lines, in processes of their own: they change what can be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["horizon_nn.debug", "hmct.quantizer.debugger"])
def test_old_names_work_when_asked_for_and_only_then(name: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        f"import sys, {name} as dbg\nprint(dbg.__name__, sys.argv[1:], __name__)\n"
    )
    asked = python("-m", "hmct_track.compat", "script.py", "a", folder=tmp_path)
    assert asked.stdout == "hmct_track.debug ['a'] __main__\n", asked.stderr
    unasked = python("script.py", folder=tmp_path)
    assert "ModuleNotFoundError" in unasked.stderr


def test_a_real_package_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "horizon_nn").mkdir()
    (tmp_path / "horizon_nn" / "__init__.py").write_text("")
    (tmp_path / "horizon_nn" / "debug.py").write_text("real = True\n")
    code = (
        "from hmct_track import compat; print(compat.install());"
        "import horizon_nn.debug as d; print(d.real)"
    )
    done = python("-c", code, folder=tmp_path)
    assert done.stdout == "('hmct.quantizer.debugger',)\nTrue\n", done.stderr


def test_without_a_script_it_says_how_to_use_it(tmp_path: Path) -> None:
    done = python("-m", "hmct_track.compat", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "usage: python -m hmct_track.compat SCRIPT [ARGUMENT ...]\n"
