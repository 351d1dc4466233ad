"""Times how long the terminal UI takes to show a lake of many runs.

``python -m benchmarks.tui [RUNS]`` makes such a lake in a temporary folder and times, five times,
``hmct-debugger tui`` in a terminal of its own (Linux), from the start of the process to the moment
at which the list of runs is painted. Then it compacts the lake and does it again.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import statistics
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hmct_track.lake import (
    CALIBRATION_NODES,
    CONFIGS,
    MEASUREMENTS,
    MODELS,
    NODES,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    Lake,
    Table,
)
from hmct_track.lake.care import compact

_NODES = 64
_REPEATS = 5
_PAINTED = re.compile(rb"\d+ runs in")
"""Stands above the list, and is painted with it."""


def make_lake(path: Path, runs: int) -> Lake:
    """A lake with runs of one model, each written in as many parts as an analysis writes."""
    lake = Lake.create(path)
    lake.append(MODELS, [_row(MODELS, model_id="m", name="model", outputs=["y"])])
    lake.append(
        NODES,
        [
            _row(NODES, model_id="m", node=f"Conv_{i}", node_index=i, op_type="Conv")
            for i in range(_NODES)
        ],
    )
    lake.append(CALIBRATION_NODES, [])
    lake.append(SAMPLES, [_row(SAMPLES, data_id="d", position=0, sample_id="s")])
    start = datetime(2026, 1, 1)
    for number in range(runs):
        began = start + timedelta(minutes=number)
        run_id = f"{began:%Y%m%dT%H%M%S}000-{number:08x}"
        row = _row(
            RUNS,
            run_id=run_id,
            kind="sensitivity",
            state="RUNNING",
            started_at=began,
            model_id="m",
            model_path=f"/models/{number % 7}/calibrated_model.onnx",
            data_id="d",
            data_num=1,
            metrics=["cosine-similarity"],
            outputs=["y"],
            parameters="{}",
            runtime="r",
            numeric_version=1,
            updated_at=began,
        )
        ended = began + timedelta(seconds=5)
        for later in range(3):
            row |= {"updated_at": began + timedelta(seconds=later)}
            lake.append(RUNS, [row])
            row |= {"state": "FINISHED", "ended_at": ended}
        configs = [f"{number}-{i}" for i in range(_NODES)]
        lake.append(CONFIGS, [{"config_id": c, "config": "{}"} for c in configs])
        lake.append(
            RUN_CONFIGS,
            [
                _row(
                    RUN_CONFIGS,
                    run_id=run_id,
                    position=i,
                    config_id=c,
                    subject=f"Conv_{i}",
                    role="only",
                )
                for i, c in enumerate(configs)
            ],
        )
        lake.append(
            MEASUREMENTS,
            [_measurement(run_id, c, 1 - ((i * 7 + number) % _NODES) / 1e3) for i, c in
             enumerate(configs)],
        )  # fmt: skip
    return lake


def _measurement(run_id: str, config_id: str, cosine: float) -> dict[str, Any]:
    return _row(
        MEASUREMENTS,
        model_id="m",
        config_id=config_id,
        sample_id="s",
        output="y",
        runtime="r",
        numeric_version=1,
        run_id=run_id,
        count=10,
        sum_xx=1.0,
        sum_yy=1.0,
        sum_xy=cosine,
        sum_dd=2 - 2 * cosine,
        sum_abs_d=1.0,
        sum_abs_x=1.0,
        max_abs_d=1.0,
        nonfinite_x=0,
        nonfinite_y=0,
    )


def _row(table: Table, **values: Any) -> dict[str, Any]:
    return {column.name: values.get(column.name) for column in table.columns}


def time_start(lake: Path) -> tuple[float, float]:
    """Seconds from the start of the process to the painted list, and seconds of all cores."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        os.execv(sys.executable, [sys.executable, "-m", "hmct_track", "tui", str(lake)])  # noqa: S606
    started, shown = time.perf_counter(), b""
    while not _PAINTED.search(shown):
        shown += os.read(terminal, 65536)
    seconds = time.perf_counter() - started
    ticks = Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)
    return seconds, sum(map(int, ticks[11:13])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the seconds of each start, and their median, of a lake as written and compacted."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with TemporaryDirectory() as folder:
        lake = make_lake(Path(folder), runs)
        for state in ("as written", "compacted"):
            found = [time_start(lake.path) for _ in range(_REPEATS)]
            wall, cpu = (statistics.median(part) for part in zip(*found, strict=True))
            each = ", ".join(f"{seconds:.2f}" for seconds, _ in found)
            print(f"{runs} runs, {state}: {each} s; median {wall:.2f} s, {cpu:.2f} s of all cores")
            print(f"load {os.getloadavg()[0]:.1f}")
            compact(lake)


if __name__ == "__main__":
    main()
