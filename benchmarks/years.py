"""How long a lake of years takes to answer: up to 100,000 runs, 100 million values.

``python -m benchmarks.years FOLDER RUNS`` writes a lake of so many runs where there is none, else
it asks the one that is there. Ten runs a model, ten models a network, each node named in one
network only, 100 nodes and 10 samples a run. Its parts are as ``lake compact`` leaves them. With
``--old`` they are as it left them before parts were laid out by key: of about 128 MB, of any model;
``lake compact`` lays them out anew.

``python -m benchmarks.years FOLDER RUNS --grow`` adds run after run as analyses do, with what
follows the end of a run, and tells what that took; ``--first N`` begins with run N, in a lake that
has those before.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from hmct_track.lake import (
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
from hmct_track.lake.layout import WHOLE, is_divided, part_name

NODE_COUNT, SAMPLE_COUNT, RUNS_A_MODEL, MODELS_A_NETWORK = 100, 10, 10, 10
_OLD_PARTS_OF = 128 * 2**20
"""Bytes of a part that an earlier `compact` left."""
_ROW_BYTES = {"measurements": 30, "run_configs": 1, "nodes": 2}
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


def _rows(  # noqa: PLR0911
    table: Table, low: int, high: int, key: str = ""
) -> tuple[str, dict[str, str]]:
    """What a table's rows are made from, and the columns that are not NULL, in SQL.

    Args:
        table: the table.
        low: the first run.
        high: the first run that is not there any more.
        key: how the ids of models begin, or those of configurations.
    """
    run_range = f"SELECT range AS r, range // {RUNS_A_MODEL} AS m FROM range({low}, {high})"  # noqa: S608
    of_runs = f"SELECT r, m, {_RUN_ID} AS run_id, {_MODEL_ID} AS model_id FROM ({run_range})"  # noqa: S608
    all_runs = f"(FROM ({of_runs}) WHERE starts_with(model_id, '{key}'))"
    first_model, last_model = low // RUNS_A_MODEL, -(-high // RUNS_A_MODEL)
    model_range = f"SELECT range AS m FROM range({first_model}, {last_model})"  # noqa: S608
    models = f"(SELECT m, {_MODEL_ID} AS model_id FROM ({model_range}))"  # noqa: S608
    models = f"(FROM {models} WHERE starts_with(model_id, '{key}'))"
    nodes = f"(SELECT range AS n FROM range({NODE_COUNT}))"  # noqa: S608
    samples = f"(SELECT range AS s FROM range({SAMPLE_COUNT}))"  # noqa: S608
    if table is RUNS:
        started = "TIMESTAMP '2024-01-01' + to_seconds(r * 600)"
        return all_runs, {
            "run_id": "run_id",
            "kind": "'sensitivity'",
            "state": "'FINISHED'",
            "started_at": started,
            "ended_at": f"{started} + to_seconds(60)",
            "model_id": "model_id",
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
        return models, {"model_id": "model_id", "name": "'net'", "inputs": "[]", "outputs": "[]"}
    if table is NODES:
        columns = {"model_id": "model_id", "node": _NODE, "node_index": "n", "op_type": "'Conv'"}
        lists = {"inputs": "['t' || n]", "outputs": "['t' || (n + 1)]", "calibration_nodes": "[]"}
        return f"{models} CROSS JOIN {nodes}", columns | lists
    if table is SAMPLES:
        data = f"(SELECT range AS r FROM range({low}, {min(high, low + 100)}))"  # noqa: S608
        columns = {"data_id": _DATA_ID, "position": "s", "sample_id": _SAMPLE_ID, "source": "'x'"}
        return f"{data} CROSS JOIN {samples}", columns
    if table is CONFIGS:
        networks = f"(FROM ({model_range}) WHERE m % {MODELS_A_NETWORK} = 0)"
        ids = f"(SELECT {_CONFIG_ID} AS config_id FROM {networks} CROSS JOIN {nodes})"  # noqa: S608
        return f"(FROM {ids} WHERE starts_with(config_id, '{key}'))", {
            "config_id": "config_id",
            "config": "'{}'",
        }
    if table is RUN_CONFIGS:
        columns = {"run_id": "run_id", "position": "n", "config_id": _CONFIG_ID, "subject": _NODE}
        return f"{all_runs} CROSS JOIN {nodes}", columns | {"role": "'only'"}
    with_configs = f"(SELECT r, n, run_id, model_id, {_CONFIG_ID} AS config_id FROM {all_runs}"  # noqa: S608
    with_configs += f" CROSS JOIN {nodes})"
    ids = "(SELECT range AS d, s, md5('s' || range || '/' || s) AS sample_id FROM range(100) "
    ids += f"CROSS JOIN {samples})"
    error = "(hash(r, n, s) % 1000000000) / 1e9"
    sums = {"sum_xx": "2.0", "sum_yy": "2.0", "sum_xy": f"2 - {error}", "sum_dd": error}
    sums |= {"sum_abs_d": error, "sum_abs_x": "5.0", "max_abs_d": error}
    sums |= {"count": "1000", "nonfinite_x": "0", "nonfinite_y": "0", "run_id": "run_id"}
    sums |= {name: name for name in ("model_id", "config_id", "sample_id")}
    sums |= {"output": "'y'", "runtime": "'onnxruntime'", "numeric_version": "1"}
    return f"{with_configs} JOIN {ids} ON d = r % 100", sums


def build(place: Path, runs: int, *, old: bool) -> None:
    """A lake as `compact` leaves it: by model, or by time of runs, each part sorted by key.

    Args:
        place: where.
        runs: how many.
        old: as an earlier `compact` left it: all by time of runs, and names tell no keys.
    """
    Lake.create(place)
    rows = {MODELS: runs // RUNS_A_MODEL, RUNS: runs}
    rows |= dict.fromkeys((RUN_CONFIGS, MEASUREMENTS), runs * NODE_COUNT)
    rows[MEASUREMENTS] *= SAMPLE_COUNT
    rows[NODES] = rows[MODELS] * NODE_COUNT
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '4GB'")
        connection.execute(f"SET temp_directory = '{place}/.spill'")
        for table in (RUNS, MODELS, NODES, SAMPLES, CONFIGS, RUN_CONFIGS, MEASUREMENTS):
            size = rows.get(table, 0) * _ROW_BYTES.get(table.name, 60)
            if old or not is_divided(table):
                parts = max(1, size // (_OLD_PARTS_OF if old else WHOLE))
                cuts = [runs * part // parts for part in range(parts + 1)]
                for low, high in pairwise(cuts):
                    _write(connection, place, table, _rows(table, low, high), None if old else 0)
                continue
            depth = 0
            while size // 16**depth >= WHOLE:
                depth += 1
            for number in range(16**depth):
                key = f"{number:0{depth}x}" if depth else ""
                _write(connection, place, table, _rows(table, 0, runs, key), depth)
    if old:
        about = place / "lake.json"
        told = json.loads(about.read_text())
        del told["layout"]
        about.write_text(json.dumps(told))


def _write(
    connection: duckdb.DuckDBPyConnection,
    place: Path,
    table: Table,
    rows: tuple[str, dict[str, str]],
    depth: int | None,
) -> None:
    """Write a part whose name tells its keys, or, without a depth, nothing."""
    source, columns = rows
    chosen = ", ".join(
        f"({columns.get(c.name, 'NULL')})::{c.type} AS {c.name}" for c in table.columns
    )
    key = ", ".join(table.key)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE part AS SELECT {chosen} FROM {source} ORDER BY {key}"  # noqa: S608
    )
    first = table.key[0]
    ends = connection.execute(f"SELECT min({first}), max({first}) FROM part").fetchone()  # noqa: S608
    if ends is None or ends[0] is None:
        return
    name = f"merged-{uuid.uuid4().hex}" if depth is None else part_name(depth, ends)
    target = place / "tables" / table.name / f"{name}.parquet"
    options = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"
    connection.execute(f"COPY part TO '{target}' ({options})")


def grow(lake: Lake, first: int, runs: int) -> None:
    """Add runs one by one, each with what follows its end, and tell what that took."""
    from hmct_track.lake.care import tidy

    spent, longest = 0.0, 0.0
    start = time.perf_counter()
    for run in range(first, first + runs):
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
            source, columns = _rows(table, run, run + 1)
            if table is CONFIGS:  # which those of its network have in common
                network = RUNS_A_MODEL * MODELS_A_NETWORK
                first = run // network * network
                source, columns = _rows(table, first, first + 1)
            chosen = ", ".join(
                f"({columns.get(c.name, 'NULL')})::{c.type} AS {c.name}" for c in table.columns
            )
            found = connection.execute(f"SELECT {chosen} FROM {source}")  # noqa: S608
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
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--old", action="store_true")
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    place = args.folder / "lake"
    start = time.perf_counter()
    if args.grow:
        grow(Lake.create(place), args.first, args.runs)
    elif not place.exists():
        build(place, args.runs, old=args.old)
        sys.stdout.write(f"built in {time.perf_counter() - start:.0f} s\n")
        return
    ask(place, args.runs, args.times)


if __name__ == "__main__":
    main()
