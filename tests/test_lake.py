"""The lake: parts, views, other clients, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from hmct_track.errors import LakeError, QueryError
from hmct_track.lake import CONFIGS, MEASUREMENTS, RUNS, TABLES, Lake, lake_path
from tests.support.rows import measurement_row, run_row


def test_any_duckdb_client_opens_the_lake_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "it's a [lake]*"
    lake = Lake.create(place)
    lake.write_database()
    lake.append(CONFIGS, [{"config_id": "a", "config": "{}"}])
    monkeypatch.chdir("/")
    with duckdb.connect(place / "lake.duckdb", read_only=True) as client:
        assert client.sql("SELECT config_id FROM configs").fetchall() == [("a",)]
        names = {name for (name,) in client.sql("SELECT view_name FROM duckdb_views()").fetchall()}
    assert {table.name for table in TABLES} | {"metrics", "results"} <= names


def test_a_moved_lake_gets_views_of_its_new_place_when_it_is_written_to(tmp_path: Path) -> None:
    old = Lake.create(tmp_path / "old")
    old.write_database()
    old.append(CONFIGS, [{"config_id": "a", "config": "{}"}])
    shutil.move(tmp_path / "old", tmp_path / "new")
    found = Lake.open(tmp_path / "new").sql("SELECT config_id, config FROM configs").rows
    assert found == [("a", "{}")]
    Lake.create(tmp_path / "new").write_database()
    with duckdb.connect(tmp_path / "new" / "lake.duckdb", read_only=True) as client:
        assert client.sql("SELECT config_id FROM configs").fetchall() == [("a",)]


def test_a_client_that_holds_the_database_open_does_not_stop_a_writer(tmp_path: Path) -> None:
    Lake.create(tmp_path).write_database()
    with duckdb.connect(tmp_path / "lake.duckdb", read_only=True) as client:
        Lake.create(tmp_path).append(CONFIGS, [{"config_id": "b", "config": "{}"}])
        assert client.sql("SELECT config_id FROM configs").fetchall() == [("b",)]


def test_a_process_that_ends_while_duckdb_is_opened_ends_well(tmp_path: Path) -> None:
    code = "from pathlib import Path; from hmct_track.lake import Opening; Opening(Path())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_row_written_twice_counts_once(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    for run_id in ("first", "second"):
        lake.append(MEASUREMENTS, [measurement_row("a", run_id=run_id)])
    assert lake.sql("SELECT count(*) FROM measurements").rows == [(1,)]


def test_the_newest_row_of_a_run_holds(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    lake.append(RUNS, [run_row("r", state="FINISHED", updated_at=datetime(2026, 1, 2))])
    lake.append(RUNS, [run_row("r")])
    assert lake.sql("SELECT state FROM runs").rows == [("FINISHED",)]


def test_parts_are_whole_or_absent(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    with pytest.raises(ValueError, match="columns"):
        lake.append(CONFIGS, [{"config_id": "a"}])
    folder = tmp_path / "tables" / "configs"
    (folder / ".half-written.tmp").write_bytes(b"PAR1")
    lake.append(CONFIGS, [{"config_id": "a", "config": "{}"}])
    assert lake.sql("SELECT count(*) FROM configs").rows == [(1,)]
    assert sorted(f.suffix for f in folder.iterdir()) == [".parquet", ".parquet", ".tmp"]


def test_columns_of_parts_are_those_of_the_schema(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    for table in TABLES:
        schema = pq.read_schema(tmp_path / "tables" / table.name / "0.parquet")
        assert schema.names == [column.name for column in table.columns]
        described = lake.sql(f"DESCRIBE {table.name}").rows
        assert [(r[0], r[1]) for r in described] == [(c.name, c.type) for c in table.columns]
        assert set(table.key) <= set(schema.names)


WRITER = """
import sys
from pathlib import Path
from hmct_track.lake import CONFIGS, Lake
lake = Lake.create(Path(sys.argv[1]))
for k in range(10):
    lake.append(CONFIGS, [{"config_id": f"{sys.argv[2]}-{k}", "config": "{}"}])
"""


@pytest.mark.slow
def test_many_processes_make_and_write_a_lake_at_once_and_lose_nothing(tmp_path: Path) -> None:
    place = tmp_path / "lake"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, place, str(k)]) for k in range(8)]
    assert [writer.wait(120) for writer in writers] == [0] * 8
    assert Lake.open(place).sql("SELECT count(*) FROM configs").rows == [(80,)]


def test_a_missing_lake_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=r"no lake in .*nowhere.*HMCT_LAKE"):
        Lake.open(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema_version": "x"}'])
def test_a_damaged_lake_is_told(tmp_path: Path, text: str) -> None:
    Lake.create(tmp_path)
    (tmp_path / "lake.json").write_text(text)
    with pytest.raises(LakeError, match=r"lake\.json|schema version"):
        Lake.open(tmp_path)


def test_a_newer_lake_is_not_touched(tmp_path: Path) -> None:
    Lake.create(tmp_path)
    (tmp_path / "lake.json").write_text(json.dumps({"schema_version": 999}))
    with pytest.raises(LakeError, match=r"999.*upgrade"):
        Lake.create(tmp_path)


def test_a_path_that_duckdb_cannot_take_is_told(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="cannot have a '\\?'"):
        Lake.create(tmp_path / "what?")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LakeError, match="cannot make a lake"):
        Lake.create(tmp_path / "lake")


def test_a_file_in_the_lakes_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("")
    with pytest.raises(LakeError, match="cannot make a lake"):
        Lake.create(tmp_path / "lake")


def test_where_the_lake_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lake_path() == tmp_path / "hmct_lake"
    monkeypatch.setenv("HMCT_LAKE", str(tmp_path / "of-environment"))
    assert lake_path() == tmp_path / "of-environment"
    assert lake_path("given") == tmp_path / "given"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    place = tmp_path_factory.mktemp("guarded")
    (place / "secret.csv").write_text("a\n1\n")
    (place / "mlflow.db").write_text("")
    return Lake.create(place / "lake")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_csv('{outside}/secret.csv')",
        "SELECT * FROM '{outside}/secret.csv'",
        "SELECT * FROM read_text('{inside}/../../secret.csv')",
        "SELECT * FROM read_blob('{outside}/lake/lake.json')",
        "SELECT * FROM glob('{outside}/*')",
        "COPY configs TO '{inside}/configs/x.parquet'",
        "COPY configs TO '{outside}/x.csv'",
        "EXPLAIN ANALYZE COPY configs TO '{inside}/configs/x.parquet'",
        "EXPORT DATABASE '{inside}/x'",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW configs",
        "ATTACH '{outside}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA enable_profiling",
        "CALL duckdb_settings()",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY configs TO '{inside}/configs/x.parquet'",
        "",
        "not sql",
    ],
)
def test_a_users_sql_can_neither_write_nor_read_other_files(guarded: Lake, text: str) -> None:
    outside, inside = guarded.path.parent, guarded.path / "tables"
    before = sorted(outside.rglob("*"))
    with pytest.raises(QueryError):
        guarded.sql(text.format(outside=outside, inside=inside))
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize(
    "text",
    [
        "FROM runs",
        "SELECT 1",
        "VALUES (1)",
        "DESCRIBE measurements",
        "SHOW TABLES",
        "SUMMARIZE runs",
        "WITH a AS (SELECT 1 AS b) FROM a",
        "SELECT * FROM (PIVOT configs ON config_id IN (1) USING count(*))",
    ],
)
def test_a_users_sql_can_ask_in_any_form(guarded: Lake, text: str) -> None:
    assert guarded.sql(text).columns


LONG_QUERY = """
import os, signal, sys, threading
from pathlib import Path
from hmct_track.lake import Lake

lake = Lake.create(Path(sys.argv[1]))
lake.sql("SELECT 1")
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    lake.sql("SELECT count(*) FROM (SELECT unnest(range(1000000)) FROM range(3000))")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.slow
def test_ctrl_c_in_a_query_is_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LONG_QUERY, str(tmp_path / "lake")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "interrupted\n", done.stderr
