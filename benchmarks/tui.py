"""Times how long the terminal UI takes to show a lake of many runs.

``python -m benchmarks.tui [RUNS]`` makes such a lake in a temporary folder and times, five times, a
new process from its start to the moment at which the list of runs is on the screen.
"""

from __future__ import annotations

import statistics
import subprocess
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

_NODES = 64
_REPEATS = 5
_OPEN = """
import asyncio, sys
from pathlib import Path
from hmct_track.tui import make_app
from hmct_track.tui.table import Table

async def main():
    app = make_app(Path(sys.argv[1]))
    async with app.run_test(size=(120, 40)) as pilot:
        while not app.runs or app.screen.query_one(Table).row_count < int(sys.argv[2]):
            await asyncio.sleep(0.005)

asyncio.run(main())
"""


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


def main() -> None:
    """Print the seconds of each start, and their median."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with TemporaryDirectory() as folder:
        make_lake(Path(folder), runs)
        seconds = []
        for _ in range(_REPEATS):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", _OPEN, folder, str(runs)], check=True)  # noqa: S603
            seconds.append(time.perf_counter() - started)
    print(f"{runs} runs: {', '.join(f'{s:.2f}' for s in seconds)} s")
    print(f"median {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()
