"""How long a lake of years takes to answer: up to 100,000 runs, 100 million values.

``python -m benchmarks.years FOLDER RUNS`` writes a lake of so many runs where there is none, else
it asks the one that is there. Ten runs a model, ten models a network, each node named in one
network only, 100 nodes and 10 samples a run. Its parts are as `lake compact` left them before
parts were laid out by key: of about 128 MB, of any model. ``lake compact`` lays them out anew.

``python -m benchmarks.years FOLDER RUNS --grow`` adds run after run as analyses do, with what
follows the end of a run, and tells what that took.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

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
    find_runs,
)

NODE_COUNT, SAMPLE_COUNT, RUNS_A_MODEL, MODELS_A_NETWORK = 100, 10, 10, 10
_PARTS_OF = 128 * 2**20
"""Bytes of a part that an earlier `compact` left."""
_ROW_BYTES = {"measurements": 50, "run_configs": 12}
"""About what a row takes, packed."""

# Ids are made of numbers: a run's model by division, run ids by time as the program makes them.
_RUN_ID = (
    "strftime(TIMESTAMP '2024-01-01' + to_seconds(r * 600), '%Y%m%dT%H%M%S') || '000-' "
    "|| left(md5('r' || r), 8)"
)
_MODEL_ID = "md5('m' || m)"
_DATA_ID = "md5('d' || (r % 100))"
_NODE = f"'/net_' || (m // {MODELS_A_NETWORK}) || '/stage_' || n || '/Conv'"
_CONFIG_ID = f"md5('c' || (m // {MODELS_A_NETWORK}) || '/' || n)"
_SAMPLE_ID = "md5('s' || (r % 100) || '/' || s)"


def _rows(table: Table, runs: int) -> tuple[str, dict[str, str]]:  # noqa: PLR0911
    """What a table's rows are made from, and the columns that are not NULL, in SQL."""
    all_runs = f"(SELECT range AS r, range // {RUNS_A_MODEL} AS m FROM range({runs}))"  # noqa: S608
    models = f"(SELECT range AS m FROM range({-(-runs // RUNS_A_MODEL)}))"  # noqa: S608
    nodes = f"(SELECT range AS n FROM range({NODE_COUNT}))"  # noqa: S608
    samples = f"(SELECT range AS s FROM range({SAMPLE_COUNT}))"  # noqa: S608
    if table is RUNS:
        started = "TIMESTAMP '2024-01-01' + to_seconds(r * 600)"
        return all_runs, {
            "run_id": _RUN_ID,
            "kind": "'sensitivity'",
            "state": "'FINISHED'",
            "started_at": started,
            "ended_at": f"{started} + to_seconds(60)",
            "model_id": _MODEL_ID,
            "model_path": f"'/models/net_' || (m // {MODELS_A_NETWORK}) || '.onnx'",
            "data_id": _DATA_ID,
            "data_path": "'/data/' || (r % 100)",
            "data_num": str(SAMPLE_COUNT),
            "metrics": "['cosine-similarity']",
            "outputs": "['y']",
            "parameters": """'{"node_type": "node"}'""",
            "runtime": "'onnxruntime'",
            "numeric_version": "1",
            "updated_at": f"{started} + to_seconds(60)",
            "version": "2",
        }
    if table is MODELS:
        return models, {"model_id": _MODEL_ID, "name": "'net'", "inputs": "[]", "outputs": "[]"}
    if table is NODES:
        columns = {"model_id": _MODEL_ID, "node": _NODE, "node_index": "n", "op_type": "'Conv'"}
        lists = {"inputs": "['t' || n]", "outputs": "['t' || (n + 1)]", "calibration_nodes": "[]"}
        return f"{models} CROSS JOIN {nodes}", columns | lists
    if table is SAMPLES:
        few = "(SELECT range AS r FROM range(100))"
        columns = {"data_id": _DATA_ID, "position": "s", "sample_id": _SAMPLE_ID, "source": "'x'"}
        return f"{few} CROSS JOIN {samples}", columns
    if table is CONFIGS:
        first = f"{models} CROSS JOIN {nodes} WHERE m % {MODELS_A_NETWORK} = 0"
        return first, {"config_id": _CONFIG_ID, "config": "'{}'"}
    if table is RUN_CONFIGS:
        columns = {"run_id": _RUN_ID, "position": "n", "config_id": _CONFIG_ID, "subject": _NODE}
        return f"{all_runs} CROSS JOIN {nodes}", columns | {"role": "'only'"}
    error = "(hash(r, n, s) % 1000000000) / 1e9"
    sums = {"sum_xx": "2.0", "sum_yy": "2.0", "sum_xy": f"2 - {error}", "sum_dd": error}
    sums |= {"sum_abs_d": error, "sum_abs_x": "5.0", "max_abs_d": error}
    sums |= {"count": "1000", "nonfinite_x": "0", "nonfinite_y": "0"}
    ids = {"model_id": _MODEL_ID, "config_id": _CONFIG_ID, "sample_id": _SAMPLE_ID}
    ids |= {"output": "'y'", "runtime": "'onnxruntime'", "numeric_version": "1", "run_id": _RUN_ID}
    return f"{all_runs} CROSS JOIN {nodes} CROSS JOIN {samples}", ids | sums


def build(place: Path, runs: int) -> None:
    """A lake as an earlier `compact` left it: parts by time of runs, each sorted by key."""
    Lake.create(place)
    for table in (RUNS, MODELS, NODES, CALIBRATION_NODES, SAMPLES, CONFIGS, RUN_CONFIGS):
        if table is not CALIBRATION_NODES:
            _write(place, table, runs, 1)
    total = runs * NODE_COUNT * SAMPLE_COUNT * _ROW_BYTES["measurements"]
    _write(place, MEASUREMENTS, runs, max(1, total // _PARTS_OF))


def _write(place: Path, table: Table, runs: int, parts: int) -> None:
    source, columns = _rows(table, runs)
    if table is RUN_CONFIGS:
        parts = max(1, runs * NODE_COUNT * _ROW_BYTES["run_configs"] // _PARTS_OF)
    chosen = ", ".join(
        f"({columns.get(c.name, 'NULL')})::{c.type} AS {c.name}" for c in table.columns
    )
    for part in range(parts):
        low, high = (runs * k // parts for k in (part, part + 1))
        cut = source.replace(f"FROM range({runs})", f"FROM range({low}, {high})")
        target = place / "tables" / table.name / f"merged-{uuid.uuid4().hex}.parquet"
        with duckdb.connect() as connection:
            connection.execute("SET memory_limit = '4GB'")
            connection.execute(f"SET temp_directory = '{place}/.spill'")
            connection.execute(
                f"COPY (SELECT {chosen} FROM {cut} ORDER BY {', '.join(table.key)}) "  # noqa: S608
                f"TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480)"
            )


def grow(lake: Lake, runs: int) -> None:
    """Add runs one by one, each with what follows its end, and tell what that took."""
    from hmct_track.lake.care import tidy

    spent, longest = 0.0, 0.0
    start = time.perf_counter()
    for run in range(runs):
        _append(lake, run)
        before = time.perf_counter()
        tidy(lake)
        spent += time.perf_counter() - before
        longest = max(longest, time.perf_counter() - before)
    total = time.perf_counter() - start
    print(f"{runs} runs added in {total:.0f} s; care took {spent:.1f} s, at most {longest:.2f} s")


def _append(lake: Lake, run: int) -> None:
    with duckdb.connect() as connection:
        for table in (MODELS, NODES, SAMPLES, CONFIGS, RUN_CONFIGS, MEASUREMENTS, RUNS):
            source, columns = _rows(table, run + 1)
            cut = source.replace(f"FROM range({run + 1})", f"FROM range({run}, {run + 1})")
            model = run // RUNS_A_MODEL
            cut = cut.replace(f"FROM range({model + 1})", f"FROM range({model}, {model + 1})")
            chosen = ", ".join(
                f"({columns.get(c.name, 'NULL')})::{c.type} AS {c.name}" for c in table.columns
            )
            found = connection.execute(f"SELECT {chosen} FROM {cut}")  # noqa: S608
            names = [c.name for c in table.columns]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
            for state in ("RUNNING", "FINISHED") if table is RUNS else ("",):
                changes: dict[str, Any] = {}
                if state:
                    changes = {"state": state, "version": 2 * (state == "FINISHED")}
                lake.append(table, [{**row, **changes} for row in rows])


def timed(what: str, call: Callable[[], Any], times: int) -> None:
    """Print the times of a call, on the clock and of the cores, and how many rows it gave."""
    seconds, computed, count = [], [], 0
    for _ in range(times):
        start, start_computed = time.perf_counter(), time.process_time()
        count = len(call())
        seconds.append(time.perf_counter() - start)
        computed.append(time.process_time() - start_computed)
    middle, most, cores = statistics.median(seconds), max(seconds), statistics.median(computed)
    print(
        f"{what} ({count} rows): median {middle:.3f} s, largest {most:.3f} s, "
        f"{cores:.3f} s of cores",
        flush=True,
    )


def ask(place: Path, runs: int, times: int) -> None:
    """Print how long the questions take, each asked of a lake that was opened for it."""
    middle = runs // 2
    started = datetime(2024, 1, 1) + timedelta(minutes=10 * middle)
    with duckdb.connect() as connection:
        (found,) = connection.execute(f"SELECT left(md5('r{middle}'), 8)").fetchall()
    run_id = f"{started:%Y%m%dT%H%M%S}000-{found[0]}"
    node = f"/net_{middle // RUNS_A_MODEL // MODELS_A_NETWORK}/stage_3/Conv"
    newest = "the 20 newest runs"
    timed(newest, lambda: find_runs(Lake.open(place), most=20), times)
    timed(
        "ranking of one run",
        lambda: Lake.open(place).query("sensitivity", run_id=run_id, metric="sqnr"),
        times,
    )
    timed("a node's history", lambda: Lake.open(place).query("node_history", node=node), times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"largest memory of the process: {peak:.0f} MB")


def main() -> None:
    """Build, grow or ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=int)
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    place = args.folder / "lake"
    start = time.perf_counter()
    if args.grow:
        grow(Lake.create(place), args.runs)
    elif not place.exists():
        build(place, args.runs)
        sys.stdout.write(f"built in {time.perf_counter() - start:.0f} s\n")
        return
    ask(place, args.runs, args.times)


if __name__ == "__main__":
    main()
