"""What MLflow adds to a command: the same command with and without ``--no-track``, side by side.

``python -m benchmarks.tracking [MODEL DATA]``, by default on the demo. Each command is a process of
its own. The rounds take turns, so that a load of the machine meets both alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, cast

from hmct_track import demo

ROUNDS = 5
COMMAND = [sys.executable, "-m", "hmct_track", "get-sensitivity-of-nodes"]


def timed(files: list[str], lake: Path, cache: Path, *options: str) -> tuple[float, float]:
    """Seconds until the table is on stdout, and until the process has ended."""
    arguments = [*files, "-d", "4", "--no-reuse", "--no-progress", "--lake", str(lake), *options]
    start = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - this program
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    ) as process:
        output = cast(IO[bytes], process.stdout)
        output.readline()
        answered = time.perf_counter() - start
        output.read()
    if process.returncode:
        raise SystemExit(f"the command failed: {process.returncode}")
    return answered, time.perf_counter() - start


def main() -> None:
    """Print medians for a first, a fresh and an existing lake."""
    files = sys.argv[1:3] or [str(demo.model_path()), str(demo.calibration_data_path())]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        timed(files, place / "warm", place / "warm")  # byte code and the system's cache of files
        for case in ("first lake of a user", "fresh lake", "existing lake"):
            found: dict[str, list[tuple[float, float]]] = {"untracked": [], "tracked": []}
            for k in range(ROUNDS):
                for way, options in {"untracked": ["--no-track"], "tracked": []}.items():
                    existing = case == "existing lake"
                    lake = place / "warm" if existing else place / f"{case} {way} {k}"
                    cache = place / f"cache {k}" if case.startswith("first") else place / "warm"
                    found[way].append(timed(files, lake, cache, *options))
            plain, tracked = (
                [statistics.median(times) for times in zip(*found[way], strict=True)]
                for way in ("untracked", "tracked")
            )
            print(
                f"{case}: table after {plain[0]:.2f} s untracked, {tracked[0]:.2f} s tracked; "
                f"end after {plain[1]:.2f} s untracked, {tracked[1]:.2f} s tracked, "
                f"ratio {tracked[1] / plain[1]:.2f}"
            )
    print(f"load at the start {load:.1f}, at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
