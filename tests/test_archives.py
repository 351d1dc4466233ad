"""Runs that are imported: what is there wins, and no archive can do harm."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hmct_track.errors import UsageError
from hmct_track.lake import (
    CONFIGS,
    MEASUREMENTS,
    MODELS,
    NODES,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    SCHEMA_VERSION,
    TABLES,
    TAGS,
    Lake,
    Table,
    apart,
    archive_rules,
    find_runs,
    query_names,
    sift,
)
from hmct_track.lake import archive as archive_module
from hmct_track.lake.archive import export_run, import_run
from hmct_track.lake.care import check, compact
from hmct_track.lake.parts import arrow_schema
from tests.support.rows import measurement_row, run_row

Rows = dict[Table, list[dict[str, Any]]]


def rows_of(run_id: str, **measured: Any) -> Rows:
    """A ranking of one node, whole in itself."""
    model = {column.name: None for column in MODELS.columns} | {"model_id": "m", "name": "g"}
    node = {column.name: None for column in NODES.columns}
    return {
        CONFIGS: [{"config_id": "c", "config": "{}"}],
        SAMPLES: [{"data_id": "d", "position": 0, "sample_id": "s", "source": "a.npy"}],
        MODELS: [model],
        NODES: [node | {"model_id": "m", "node": "n", "node_index": 0, "op_type": "Conv"}],
        MEASUREMENTS: [measurement_row("c", **measured)],
        RUN_CONFIGS: [
            {"run_id": run_id, "position": 0, "config_id": "c", "subject": "n", "role": "only"}
        ],
        RUNS: [run_row(run_id, state="FINISHED", parameters="{}", version=2)],
    }


def fill(lake: Lake, rows: Rows) -> None:
    for table, found in rows.items():
        lake.append(table, found)


def write_archive(
    path: Path, rows: Rows, version: Any = SCHEMA_VERSION, schema: pa.Schema | None = None
) -> Path:
    """An archive with these rows, whatever they are."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hmct_run.json", json.dumps({"schema_version": version}))
        for table, found in rows.items():
            data = pa.Table.from_pylist(
                found, schema=schema if schema and table is RUNS else arrow_schema(table)
            )
            buffer = io.BytesIO()
            pq.write_table(data, buffer, compression="zstd")
            archive.writestr(f"{table.name}.parquet", buffer.getvalue())
    return path


def contents(place: Path) -> dict[str, list[Any]]:
    lake = Lake.open(place)
    return {table.name: sorted(map(repr, lake.rows(table))) for table in TABLES}


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Archives are read in this process, which is faster, but where a test is about the other."""
    if "another_process" in request.node.name:
        return

    def problem(source: Path, folder: Path) -> str:
        (answer,) = sift.archive_problem(source, folder)
        return answer

    monkeypatch.setattr(archive_module, "archive_problem", problem)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path / "lake")


def test_what_the_lake_has_wins_and_the_difference_is_told(lake: Lake, tmp_path: Path) -> None:
    fill(lake, rows_of("r"))
    before = contents(lake.path)
    other = rows_of("r", sum_xy=0.5)
    other[RUNS][0] |= {"worst_node": "other", "version": 1000, "updated_at": datetime(2900, 1, 1)}
    other[RUN_CONFIGS].append(other[RUN_CONFIGS][0] | {"position": 1, "subject": "more"})
    other[NODES].append(other[NODES][0] | {"node": "more"})
    other[CONFIGS][0] = {"config_id": "c", "config": '{"other": 1}'}
    done = import_run(lake, write_archive(tmp_path / "a.hmct", other))
    assert done.runs == ["r"] and done.added == []
    assert done.kept == dict.fromkeys(
        ("runs", "nodes", "configs", "run_configs", "measurements"), 1
    )
    assert contents(lake.path) == before
    assert not list(lake.path.glob("tables/*/imported-*"))


@pytest.mark.parametrize("merged", [False, True])
def test_own_measurements_go_before_imported_ones(lake: Lake, tmp_path: Path, merged: bool) -> None:
    import_run(lake, write_archive(tmp_path / "a.hmct", rows_of("theirs", sum_xy=0.5)))
    assert [row["sum_xy"] for row in lake.rows(MEASUREMENTS)] == [0.5]
    lake.append(MEASUREMENTS, [measurement_row("c", sum_xy=0.75)])
    for k in range(4):  # of four in six it was the other one
        lake.append(MEASUREMENTS, [measurement_row(f"x{k}")])
        if merged:
            compact(Lake.open(lake.path))
        again = Lake.open(lake.path)
        (found,) = (row for row in again.rows(MEASUREMENTS) if row["config_id"] == "c")
        assert (found["sum_xy"], found["imported_from"]) == (0.75, None)
        rows = again.sql("SELECT sum_xy FROM measurement_rows WHERE config_id = 'c'").rows
        assert rows == [(0.75,)]


def test_imported_rows_say_where_they_came_from(lake: Lake, tmp_path: Path) -> None:
    rows = rows_of("r")
    rows[RUNS][0] |= {"mlflow_uri": "http://evil.example", "mlflow_run_id": "x", "pid": 7}
    rows[RUNS][0] |= {"state": "RUNNING"}
    assert import_run(lake, write_archive(tmp_path / "it's\n.hmct", rows)).added == ["r"]
    for table in (RUNS, MODELS, SAMPLES, CONFIGS, MEASUREMENTS):
        (row,) = lake.rows(table)
        assert row["imported_from"].startswith("it's?.hmct (sha256 "), table.name
    (run,) = lake.rows(RUNS)
    assert (run["state"], run["pid"], run["mlflow_uri"]) == ("KILLED", None, None)
    assert check(lake) == []


def test_a_second_import_and_one_that_was_cut_short_end_the_same(
    lake: Lake, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path / "a.hmct", rows_of("r"))
    import_run(lake, archive)
    before = contents(lake.path)
    assert import_run(lake, archive).kept == {}
    assert contents(lake.path) == before
    for table in (RUNS, MODELS):  # as if killed before what says that the rest is there
        for part in (lake.path / "tables" / table.name).glob("imported-*"):
            part.unlink()
    import_run(Lake.open(lake.path), archive)
    assert contents(lake.path) == before and check(lake) == []


def changed(table: Table, **values: Any) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[table][0] |= values

    return change


BAD: dict[str, Callable[[Rows], Any]] = {
    "a run without an id": changed(RUNS, run_id=None),
    "a run with an empty id": changed(RUNS, run_id=""),
    "a run with a path as id": changed(RUNS, run_id="../../x"),
    "a run that never started": changed(RUNS, state="RUNNING", started_at=None),
    "a process beyond all": changed(RUNS, pid=2**62),
    "another state": changed(RUNS, state="DONE"),
    "no state": changed(RUNS, state=None),
    "parameters that are no JSON": changed(RUNS, parameters="{"),
    "parameters that are no object": changed(RUNS, parameters="[" * 100_000),
    "a time far off": changed(RUNS, ended_at=datetime(9999, 1, 1)),
    "a version beyond all": changed(RUNS, version=2**60),
    "a configuration that is none": changed(CONFIGS, config="no"),
    "a configuration that is empty": changed(CONFIGS, config=None),
    "a key that leads nowhere": changed(RUN_CONFIGS, config_id="none"),
    "a model that is not there": changed(RUNS, model_id="none"),
    "samples that are not there": changed(RUNS, data_id="none"),
    "a place below zero": changed(RUN_CONFIGS, position=-1),
    "a negative square": changed(MEASUREMENTS, sum_xx=-1.0),
    "a negative difference": changed(MEASUREMENTS, sum_dd=-1.0),
    "no elements": changed(MEASUREMENTS, count=0),
    "elements beyond all": changed(MEASUREMENTS, nonfinite_x=2**62),
    "a long name": changed(NODES, node="n" * 5000),
    "two of one key": lambda rows: rows[CONFIGS].append(
        {"config_id": "c", "config": '{"x": 1}', "imported_from": None}
    ),
    "no runs": lambda rows: rows.pop(RUNS),
}


@pytest.mark.parametrize("name", BAD)
def test_an_archive_with_a_value_that_cannot_be_is_refused_whole(
    lake: Lake, tmp_path: Path, name: str
) -> None:
    rows = rows_of("r")
    BAD[name](rows)
    refused(lake, write_archive(tmp_path / "a.hmct", rows))


def refused(lake: Lake, archive: Path) -> str:
    """The one line that refuses an archive; the lake is as it was, and every question works."""
    before = {p: p.read_bytes() for p in lake.path.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match="cannot be imported") as caught:
        import_run(lake, archive)
    assert {p: p.read_bytes() for p in lake.path.rglob("*") if p.is_file()} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_rows_that_the_bad_ones_are_made_of_are_good(lake: Lake, tmp_path: Path) -> None:
    import_run(lake, write_archive(tmp_path / "a.hmct", rows_of("r")))
    assert check(lake) == []
    values = {"run_id": "r", "run_a": "r", "run_b": "r", "other_run_id": "r", "node": "n"}
    values |= {"metric": "sqnr", "tolerance": 0.0, "series": "after"}
    from hmct_track.lake import load_query

    for query in map(load_query, query_names()):
        if {p.name for p in query.params} <= values.keys():
            lake.query(query.name, **{p.name: values[p.name] for p in query.params})


def test_columns_of_other_types_and_names_are_refused(lake: Lake, tmp_path: Path) -> None:
    rows = {RUNS: [{"run_id": 1}]}
    archive = write_archive(tmp_path / "a", rows, schema=pa.schema([("run_id", pa.int64())]))
    assert "'run_id' of type int64" in refused(lake, archive)
    rows = {RUNS: [{"run_id": "r", "x": "y"}]}
    schema = pa.schema([("run_id", pa.string()), ("x", pa.string())])
    assert "'x'" in refused(lake, write_archive(tmp_path / "b", rows, schema=schema))
    nested = pa.schema([("run_id", pa.list_(pa.list_(pa.string())))])
    assert "list" in refused(
        lake, write_archive(tmp_path / "c", {RUNS: [{"run_id": [["r"]]}]}, schema=nested)
    )
    other = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    data = rows_of("r")
    file = write_archive(tmp_path / "d", data)
    with zipfile.ZipFile(file) as archive_file:
        held = {name: archive_file.read(name) for name in archive_file.namelist()}
    table = pq.read_table(io.BytesIO(held["nodes.parquet"]))
    table = table.set_column(table.column_names.index("op_type"), "op_type", other)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    held["nodes.parquet"] = buffer.getvalue()
    with zipfile.ZipFile(file, "w") as archive_file:
        for name, content in held.items():
            archive_file.writestr(name, content)
    assert "UTF8" in refused(lake, file)


@pytest.mark.parametrize("version", [0, -1, 1.5, True, "3", None, 2**70, SCHEMA_VERSION + 1])
def test_other_versions_are_refused(lake: Lake, tmp_path: Path, version: Any) -> None:
    refused(lake, write_archive(tmp_path / "a", rows_of("r"), version))


def test_archives_that_unpack_without_end_are_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_rules, "MOST_UNPACKED", 32 * 2**20)
    bomb = tmp_path / "zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hmct_run.json", json.dumps({"schema_version": 1}))
        with archive.open("runs.parquet", "w", force_zip64=True) as stream:
            for _ in range(40):
                stream.write(bytes(2**20))
    assert bomb.stat().st_size < 2**20
    assert "unpacks to" in refused(lake, bomb)
    # One value of a megabyte, to which each row refers with less than a bit.
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), ["x" * 2**18])
    rows = pa.table({"config_id": [f"c{k}" for k in range(50_000)], "config": one})
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, store_schema=False)
    assert buffer.tell() < 2**22
    inner = write_archive(tmp_path / "parquet", {RUNS: [run_row("r")]})
    with zipfile.ZipFile(inner, "a") as archive:
        archive.writestr("configs.parquet", buffer.getvalue())
    refused(lake, inner)


def test_other_oddities_of_archives_are_refused(lake: Lake, tmp_path: Path) -> None:
    good = write_archive(tmp_path / "good", rows_of("r")).read_bytes()
    encrypted = bytearray(good)
    for marker, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = 0
        while (at := encrypted.find(marker, at)) >= 0:
            encrypted[at + place] |= 1
            at += 4
    (tmp_path / "encrypted").write_bytes(encrypted)
    assert "encrypted" in refused(lake, tmp_path / "encrypted")
    for kind in ("cut", "flipped"):
        for k in range(6):
            data = bytearray(good)
            at = (k + 1) * len(good) // 7
            data = data[:at] if kind == "cut" else data[:at] + b"\xff" * 20 + data[at + 20 :]
            (tmp_path / "damaged").write_bytes(data)
            refused(lake, tmp_path / "damaged")
    (tmp_path / "twice").write_bytes(good)
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(tmp_path / "twice", "a") as archive,
    ):
        archive.writestr("runs.parquet", b"")
    assert "twice" in refused(lake, tmp_path / "twice")
    (tmp_path / "nested").write_bytes(good)
    with zipfile.ZipFile(tmp_path / "nested", "a") as archive:
        archive.writestr("inner.zip", good)
    assert "inner.zip" in refused(lake, tmp_path / "nested")
    for name in ("/etc/passwd", "../../lake.json", "tables/../../x"):
        (tmp_path / "path").write_bytes(good)
        with zipfile.ZipFile(tmp_path / "path", "a") as archive:
            archive.writestr(name, b"")
        refused(lake, tmp_path / "path")


def test_an_archive_is_read_by_another_process_which_may_die(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_archive(tmp_path / "good", rows_of("r"))
    monkeypatch.setattr(apart, "MODULE", ["-c", "import os; os.abort()"])
    assert "its reader ended with SIGABRT" in refused(lake, good)
    monkeypatch.undo()
    assert import_run(lake, good).added == ["r"]
    # A folder with modules of its own, in which the user happens to be, is not asked.
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert import_run(lake, good).kept == {}


def test_what_is_no_file_is_refused(lake: Lake, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "none", "."):
        with pytest.raises(UsageError, match="cannot be"):
            import_run(lake, tmp_path / name)


def test_an_older_archive_is_read(lake: Lake, tmp_path: Path) -> None:
    rows = rows_of("r")
    schema = arrow_schema(RUNS)
    for name in ("version", "imported_from", "worst_node", "host", "pid"):
        schema = schema.remove(schema.get_field_index(name))
        rows[RUNS][0].pop(name, None)
    rows[RUNS].append(rows[RUNS][0] | {"state": "RUNNING", "updated_at": datetime(2026, 1, 2)})
    archive = write_archive(tmp_path / "a", rows, version=1, schema=schema)
    assert import_run(lake, archive).added == ["r"]
    assert [row["state"] for row in find_runs(lake)] == ["FINISHED"]


def test_tags_of_the_lake_win(lake: Lake, tmp_path: Path) -> None:
    rows = rows_of("r") | {TAGS: [{"tag": "baseline", "run_id": "r", "version": 99}]}
    fill(
        lake,
        {
            RUNS: [run_row("mine")],
            TAGS: [
                {
                    "tag": "baseline",
                    "run_id": "mine",
                    "updated_at": datetime(2020, 1, 1),
                    "version": 1,
                }
            ],
        },
    )
    done = import_run(lake, write_archive(tmp_path / "a", rows))
    assert done.kept == {"tags": 1}
    assert [row["run_id"] for row in lake.rows(TAGS)] == ["mine"]


def test_a_run_that_was_imported_can_be_exported(lake: Lake, tmp_path: Path) -> None:
    import_run(lake, write_archive(tmp_path / "a", rows_of("r")))
    export_run(lake, "r", tmp_path / "b")
    other = Lake.create(tmp_path / "other")
    assert import_run(other, tmp_path / "b").added == ["r"]
    assert other.rows(RUNS)[0]["imported_from"].startswith("b (sha256")
