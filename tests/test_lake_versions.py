"""Lakes of other schema versions: older ones are read and carried on, newer ones refused."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hmct_track.errors import LakeError
from hmct_track.lake import RUNS, SCHEMA_VERSION, TABLES, Lake, find_runs, set_tag
from tests.support.rows import run_row

SINCE_2 = {"runs": {"worst_node", "worst_value", "host", "pid"}, "tags": None}
"""What version 1 did not have: columns of a table, or the whole table."""
TYPES = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
}


def write_version_1(place: Path) -> None:
    """A lake as version 1 wrote it: its tables and columns, with one run."""
    for table in TABLES:
        lacking = SINCE_2.get(table.name, set())
        if lacking is None:
            continue
        fields = []
        for column in table.columns:
            if column.name not in lacking:
                kind = TYPES[column.type.removesuffix("[]")]
                fields.append((column.name, pa.list_(kind) if "[]" in column.type else kind))
        names = [name for name, _ in fields]
        rows = [{k: v for k, v in run_row("old").items() if k in names}]
        folder = place / "tables" / table.name
        folder.mkdir(parents=True)
        schema = pa.schema(fields)
        pq.write_table(pa.Table.from_pylist([], schema=schema), folder / "0.parquet")
        if table is RUNS:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "a.parquet")
    (place / "lake.json").write_text('{"schema_version": 1}')


def version(place: Path) -> int:
    return int(json.loads((place / "lake.json").read_text())["schema_version"])


def test_an_older_lake_is_read_as_it_lies(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    (row,) = find_runs(Lake.open(tmp_path))
    assert (row["run_id"], row["worst_node"], row["tags"]) == ("old", None, [])
    described = Lake.open(tmp_path).sql("DESCRIBE runs").rows
    assert [(r[0], r[1]) for r in described] == [(c.name, c.type) for c in RUNS.columns]
    assert sorted(tmp_path.rglob("*")) == before
    assert version(tmp_path) == 1


def test_an_older_lake_is_carried_on(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    lake = Lake.create(tmp_path)
    assert version(tmp_path) == SCHEMA_VERSION > 1
    lake.append(RUNS, [run_row("new", worst_node="Conv_1", worst_value=0.5)])
    set_tag(lake, "baseline", "old")
    rows = find_runs(lake)
    assert {(r["run_id"], r["worst_node"], *r["tags"]) for r in rows} == {
        ("new", "Conv_1"),
        ("old", None, "baseline"),
    }
    lake.write_database()
    with duckdb.connect(tmp_path / "lake.duckdb", read_only=True) as client:
        assert client.sql("SELECT count(*), count(worst_node) FROM runs").fetchall() == [(2, 1)]


def test_an_older_program_that_still_writes_loses_nothing(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    lake = Lake.create(tmp_path)
    old = tmp_path / "tables" / "runs" / "a.parquet"
    (old.parent / "z.parquet").write_bytes(old.read_bytes())
    assert [row["run_id"] for row in find_runs(lake)] == ["old"]


@pytest.mark.parametrize("found", [SCHEMA_VERSION + 1, 999])
def test_a_newer_lake_is_refused_in_one_line_and_left_as_it_is(tmp_path: Path, found: int) -> None:
    (tmp_path / "lake.json").write_text(json.dumps({"schema_version": found}))
    for way in (Lake.open, Lake.create):
        with pytest.raises(LakeError, match=f"schema version {found}.*upgrade") as caught:
            way(tmp_path)
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["lake.json"]
