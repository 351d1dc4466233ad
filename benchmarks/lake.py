"""How long a lake of 1,000 runs and 1,000,000 measurements takes to answer, and to compact.

``python -m benchmarks.lake [FOLDER]``
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hmct_track.lake import (
    CONFIGS,
    MEASUREMENTS,
    MODELS,
    NODES,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    Lake,
    compare_runs,
    find_runs,
)
from hmct_track.lake.care import compact

RUN_COUNT, NODE_COUNT, SAMPLE_COUNT = 1000, 100, 10


def build(place: Path) -> Lake:
    """A lake with one model per run, each ranked over its own nodes and the same samples."""
    lake = Lake.create(place)
    rng = np.random.default_rng(0)
    samples = [
        {"data_id": "data", "position": k, "sample_id": f"{k:016x}", "source": f"{k}.npy"}
        for k in range(SAMPLE_COUNT)
    ]
    lake.append(SAMPLES, samples)
    configs = [f"{k:016x}" for k in range(NODE_COUNT)]
    lake.append(CONFIGS, [{"config_id": c, "config": "{}"} for c in configs])
    for number in range(RUN_COUNT):
        _add_run(lake, number, configs, rng)
    return lake


def _add_run(lake: Lake, number: int, configs: list[str], rng: np.random.Generator) -> None:
    model_id, started = f"{number:016x}", datetime(2026, 1, 1) + timedelta(minutes=number)
    run_id = f"{started:%Y%m%dT%H%M%S}000-{number:08x}"
    nodes = [f"/backbone/stage_{k}/Conv" for k in range(NODE_COUNT)]
    blank: dict[str, Any]
    blank = {c.name: None for c in MODELS.columns} | {"inputs": [], "outputs": []}
    lake.append(MODELS, [{**blank, "model_id": model_id, "name": "net"}])
    row = {"model_id": model_id, "op_type": "Conv", "inputs": [], "calibration_nodes": []}
    lake.append(
        NODES,
        [{**row, "node": n, "node_index": k, "outputs": [f"t{k}"]} for k, n in enumerate(nodes)],
    )
    blank = {c.name: None for c in RUNS.columns} | {"run_id": run_id, "kind": "sensitivity"}
    blank |= {"model_id": model_id, "data_id": "data", "data_num": SAMPLE_COUNT, "outputs": ["y"]}
    blank |= {"metrics": ["cosine-similarity"], "runtime": "onnxruntime", "numeric_version": 1}
    blank |= {"parameters": '{"node_type": "node"}', "model_path": f"/models/{number}.onnx"}
    for state in ("RUNNING", "FINISHED"):
        started += timedelta(seconds=1)
        lake.append(RUNS, [{**blank, "state": state, "started_at": started, "updated_at": started}])
    lake.append(
        RUN_CONFIGS,
        [
            {"run_id": run_id, "position": k, "config_id": c, "subject": n, "role": "only"}
            for k, (c, n) in enumerate(zip(configs, nodes, strict=True))
        ],
    )
    errors = rng.random((NODE_COUNT, SAMPLE_COUNT))
    key = {"model_id": model_id, "output": "y", "runtime": "onnxruntime", "numeric_version": 1}
    sums = {"count": 1000, "sum_xx": 2.0, "sum_yy": 2.0, "sum_abs_x": 5.0, "nonfinite_x": 0}
    lake.append(
        MEASUREMENTS,
        [
            {
                **key,
                **sums,
                "run_id": run_id,
                "config_id": configs[c],
                "sample_id": f"{s:016x}",
                "sum_xy": 2 - float(errors[c, s]),
                "sum_dd": float(errors[c, s]),
                "sum_abs_d": float(errors[c, s]),
                "max_abs_d": float(errors[c, s]),
                "nonfinite_y": 0,
            }
            for c in range(NODE_COUNT)
            for s in range(SAMPLE_COUNT)
        ],
    )


def timed(what: str, call: Callable[[], object], times: int = 7) -> None:
    """Print median and largest of the times that a call takes, after one that is not counted."""
    call()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    print(f"{what}: median {statistics.median(seconds):.3f} s, largest {max(seconds):.3f} s")


def answer(place: Path) -> None:
    """Print how long the questions take, each also with a lake that was just opened."""
    lake = Lake.open(place)
    runs = find_runs(lake)
    run_id = runs[len(runs) // 2]["run_id"]
    ranking = {"run_id": run_id, "metric": "cosine-similarity"}
    if len(lake.query("sensitivity", **ranking)) != NODE_COUNT or len(runs) != RUN_COUNT:
        raise SystemExit("the lake does not hold what it should")
    timed("list of the 20 newest runs", lambda: find_runs(lake, most=20))
    timed("list of all runs", lambda: find_runs(lake))
    timed("ranking of one run", lambda: lake.query("sensitivity", **ranking))
    timed(
        "ranking of one run, lake opened for it",
        lambda: Lake.open(place).query("sensitivity", **ranking),
    )
    timed("two runs compared", lambda: compare_runs(lake, run_id, runs[0]["run_id"]), 3)


def main() -> None:
    """Build, compact and ask."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(sys.argv[1] if len(sys.argv) > 1 else folder) / "lake"
        if not place.exists():
            start = time.perf_counter()
            build(place)
            print(f"built in {time.perf_counter() - start:.0f} s")
        start = time.perf_counter()
        for table, (before, after) in compact(Lake.open(place)).items():
            print(f"{table}: {before} parts became {after}")
        print(f"compacted in {time.perf_counter() - start:.1f} s")
        answer(place)


if __name__ == "__main__":
    main()
