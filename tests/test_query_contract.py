"""What headers of queries promise: types of rows, what is unique and never null, what they read.

Checked on the rows of real analyses of the demo, one of them of an object without a file.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import onnx
import pytest

from benchmarks import rebuild
from hmct_track import api, debug, demo
from hmct_track.cli import main
from hmct_track.errors import QueryError
from hmct_track.lake import RUNS, TABLES, Lake, Query, load_query, query_names, set_tag
from hmct_track.lake.macros import scalar_macros
from hmct_track.lake.queries import Use, parse_query, stored_queries
from hmct_track.lake.rows import READS
from hmct_track.lake.views import tables_of
from scripts import query_rows

ROOT = Path(__file__).parent.parent
DEMO, DATA = demo.model_path(), demo.calibration_data_path()
PYTHON = {"VARCHAR": str, "BIGINT": int, "DOUBLE": float, "BOOLEAN": bool, "TIMESTAMP": datetime}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with a run of each kind."""
    place = tmp_path_factory.mktemp("contract")
    options: dict[str, Any] = {"lake": place / "lake", "track": False}
    recorded = ["--lake", str(place / "lake"), "--no-track"]
    nodes = ["Conv_2", "Conv_4"]
    debug.get_sensitivity_of_nodes(DEMO, "sqnr", DATA, data_num=2, share=True, **options)
    debug.get_sensitivity_of_nodes(onnx.load(DEMO), "mse", DATA, data_num=1, **options)
    debug.get_sensitivity_of_nodes(DEMO, "mse", DATA, node_type="weight", data_num=1, **options)
    debug.plot_acc_error(None, DATA, DEMO, quantize_node=nodes, **options)
    debug.sensitivity_analysis(DEMO, DATA, sensitive_nodes=nodes, **options)
    debug.plot_distribution(None, DEMO, DATA, nodes, **options)
    quantizers = ["301_HzCalibration", "302_HzCalibration"]
    debug.get_channelwise_data_distribution(None, DEMO, DATA, quantizers, **options)
    images, labels = (array[280:300] for array in demo.heldout())
    digits = {"input": [image[None] for image in images]}
    debug.select_sensitive_samples(
        DEMO, digits, data_num=3, score=["same-top1", "top1"], labels=labels, **options
    )
    np.savez(place / "chip.npz", logits=np.zeros((1, 10), np.float32))
    main(["device", str(DEMO), str(DATA), str(place / "chip.npz"), "-d", "1", *recorded])
    main(["local-errors", str(DEMO), str(DATA), "--lake", str(place / "lake"), "--no-track"])
    main(["diagnose", str(DEMO), str(DATA), "-d", "2", "-k", "2", *recorded])
    main(["interactions", str(DEMO), str(DATA), "-d", "2", "-k", "2", *recorded])
    main(["mend", str(DEMO), str(DATA), "-d", "4", "-o", str(place / "m.onnx"), *recorded])
    onnx.save(rebuild.build(onnx.load(DEMO), ()), place / "float.onnx")
    main(
        ["calibrate", str(place / "float.onnx"), str(DATA), "-o", str(place / "c.onnx"), *recorded]
    )
    files = place / "plan"
    api.plan(DEMO, DATA, "error <= 60 %", data_num=2, output_folder=files, **options)
    main(["plan-check", str(files), str(DEMO), "--lake", str(place / "lake"), "--no-track"])
    opened = Lake.open(place / "lake")
    newest = opened.query("runs", kind="sensitivity")[0]
    set_tag(opened, "baseline", newest["run_id"])
    row = opened.sql(f"FROM runs WHERE run_id = '{newest['run_id']}'")
    begun = dict(zip(row.columns, row.rows[0], strict=True))
    changes = {"run_id": "99991231", "state": "RUNNING", "ended_at": None, "kind": "calibration"}
    opened.append(RUNS, [begun | changes])
    return Lake.open(place / "lake")


def given(lake: Lake, query: Query) -> dict[str, Any]:
    """Parameters under which a query has rows."""
    kinds = {"error_accumulation": "error-accumulation", "histogram": "distribution"}
    kinds |= {"partial_quantization": "sensitivity-analysis", "distribution": "distribution"}
    kinds |= {"channel_distribution": "channelwise-distribution"}
    kinds |= {"sensitive_samples": "sensitive-samples", "local_errors": "local-errors"}
    kinds |= dict.fromkeys(("plan_result", "plan_nodes", "plan_frontier", "plan_values"), "plan")
    kinds |= {"plan_check": "plan-check", "interactions": "interactions"}
    weights, _, nodes = lake.query("runs", kind="sensitivity")
    kinds |= dict.fromkeys(
        ("known_scores", "score_values", "score_results", "score_flips"), "sensitive-samples"
    )
    kinds |= {"device_tensors": "device"}
    kinds |= {"causes": "diagnosis", "remedies": "diagnosis", "config_values": "diagnosis"}
    kinds |= {"mending": "mending", "mending_steps": "mending"}
    kinds |= {"model_calibration": "calibration"}
    of = lake.query("runs", kind=kinds.get(query.name, "sensitivity"))[-1]
    values = {"run_id": of["run_id"], "run_a": nodes["run_id"], "run_b": weights["run_id"]}
    if query.name.startswith("compare_devices"):
        values |= dict.fromkeys(("run_a", "run_b"), lake.query("runs", kind="device")[0]["run_id"])
    if query.name in ("compare_calibration", "compare_channels"):
        values["same"] = True
    values |= {"node": "Conv_2", "after": 0, "made": of["model_id"], "model_id": of["model_id"]}
    values |= {"family": of["parent_run_id"] or of["run_id"]}
    if query.name == "plan_values":
        values["metric"] = "mse"
    taken = {param.name for param in query.params + query.optional}
    return {name: value for name, value in values.items() if name in taken}


NEVER = {"orphans", "compare_channels", "unmeasured"}
"""Those that have no rows in this lake: nothing is lost, no channel changed, no node left out."""


@pytest.mark.parametrize("name", query_names())
def test_rows_are_what_the_header_promises(lake: Lake, name: str) -> None:
    query = load_query(name)
    rows = lake.run_query(query, given(lake, query))
    assert rows.columns == tuple(column.name for column in query.columns)
    assert bool(rows.rows) == (name not in NEVER)
    for place, column in enumerate(query.columns):
        values = [row[place] for row in rows.rows]
        assert column.nullable or None not in values, column.name
        kind = PYTHON[column.type.removesuffix("[]")]
        if column.type.endswith("[]"):
            assert {type(value) for value in values} <= {list, type(None)}
            values = [item for value in values for item in value or ()]
        assert {type(value) for value in values} <= {kind, type(None)}, column.name
    if query.unique is not None:
        places = [rows.columns.index(column) for column in query.unique]
        keys = [tuple(row[place] for place in places) for row in rows.rows]
        assert len(keys) == len(set(keys))


ABOUT_FEW = [name for name in query_names() if load_query(name).about]


@pytest.mark.parametrize("name", ABOUT_FEW)
def test_a_query_about_few_runs_answers_as_if_it_read_all(lake: Lake, name: str) -> None:
    query = load_query(name)
    everything = replace(query, about=None)
    for changes in ({}, {"most": 2}) if "most" in {p.name for p in query.optional} else ({},):
        params = given(lake, query) | changes
        few, all_ = lake.run_query(query, params), lake.run_query(everything, params)
        assert sorted(few.rows, key=repr) == sorted(all_.rows, key=repr)


def test_the_module_of_rows_is_what_the_queries_say() -> None:
    assert query_rows.TARGET.read_text() == query_rows.formatted(), "run: make derived"


def made(names: frozenset[str] | set[str]) -> duckdb.DuckDBPyConnection:
    """A database with these tables, views and macros, and nothing else."""
    connection = duckdb.connect()
    for statement in scalar_macros().values():
        connection.execute(statement)
    for table in TABLES:
        columns = ", ".join(f'"{c.name}" {c.type}' for c in table.columns)
        for name in {table.name, table.rows_view} & names:
            connection.execute(f"CREATE TABLE {name} ({columns})")
    for query in stored_queries():
        if query.name in names:
            view = f"CREATE VIEW {query.name} AS {query.sql}"
            connection.execute(query.macro if query.params or query.optional else view)
    return connection


def asked(query: Query, names: set[str]) -> None:
    params = {p.name: p.default for p in query.params + query.optional}
    if "metric" in params:
        params["metric"] = "mse"
    made(names).execute(query.sql, params or None)


@pytest.mark.parametrize("name", query_names())
def test_a_query_reads_what_duckdb_says_and_no_less(name: str) -> None:
    """Asked in a database that has only that, it can be answered; without any of it, it cannot."""
    own = {n for table in TABLES for n in (table.name, table.rows_view)}
    needed = set(READS[name])
    while more := {n for query in needed - own for n in READS[query]} - needed:
        needed |= more
    asked(load_query(name), needed)
    for table in READS[name]:
        with pytest.raises(duckdb.Error):
            asked(load_query(name), needed - {table})
    tables = {table.name: {table.name, table.rows_view} for table in TABLES}
    assert tables_of(name) == {table for table, names in tables.items() if names & needed}


def test_views_and_macros_are_those_that_users_or_other_queries_read() -> None:
    stored = {query.name for query in stored_queries()}
    assert set(query_names(Use.VIEW)) <= stored
    assert {"sensitivity", "compare_nodes"} <= stored, "the documentation has them as functions"
    assert "runs" not in stored and "orphans" not in stored


def test_a_default_holds_for_queries_and_their_macros_alike() -> None:
    text = (
        "-- x\n-- :use user\n-- :optional most BIGINT=5 most\n-- :column a BIGINT a\n"
        "SELECT $most::BIGINT AS a"
    )
    query = parse_query("x", text)
    assert query.optional[0].default == "5"
    connection = duckdb.connect()
    connection.execute(query.macro)
    assert connection.sql("SELECT a FROM x()").fetchall() == [(5,)]
    assert connection.sql("SELECT a FROM x(7)").fetchall() == [(7,)]


def test_a_parameter_has_one_default_wherever_it_is_taken() -> None:
    defaults: dict[str, set[str]] = {}
    for query in map(load_query, query_names()):
        for param in query.params:
            defaults.setdefault(param.name, set()).add("required")
        for param in query.optional:
            defaults.setdefault(param.name, set()).add(param.literal)
    assert {name: found for name, found in defaults.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-- x\n-- :column a BIGINT a\nSELECT 1 AS a", "for whom it is"),
        ("-- x\n-- :use all\n-- :column a BIGINT a\nSELECT 1 AS a", "for whom it is"),
        (
            "-- x\n-- :use user\n-- :column a BIGINT a\n-- :unique b\nSELECT 1 AS a",
            "no column is named b",
        ),
    ],
)
def test_a_header_that_promises_nonsense_is_refused(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse_query("x", text)


@pytest.mark.slow
def test_mypy_knows_the_rows(tmp_path: Path) -> None:
    """A column that there is not, and one that may be empty, are found before anything runs."""
    code = tmp_path / "snippet.py"
    code.write_text(
        "from hmct_track.lake import Lake\n"
        "from hmct_track.metrics import Metric, value_of\n"
        "def ask(lake: Lake) -> None:\n"
        "    (row,) = lake.query('sensitivity', run_id='r', metric=Metric.SQNR)\n"
        "    name: str = row['subject']\n"
        "    value: float | None = value_of(row, Metric.SQNR)\n"
        "    row['subjekt']\n"
        "    row['value'] + 1\n"
    )
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        str(code),
    ]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    lines = re.findall(r"snippet\.py:(\d+): error: .*\[([a-z-]+)\]", run.stdout)
    assert lines == [("7", "typeddict-item"), ("8", "operator")], run.stdout
