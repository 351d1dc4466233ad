"""What every lake does, wherever it lies: a class of tests that a test module inherits.

A subclass has a fixture ``place``, where a new lake can be made.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime
from pathlib import Path

import pytest

from hmct_track.errors import LakeError, QueryError, UsageError
from hmct_track.lake import CONFIGS, MEASUREMENTS, RUNS, TABLES, Lake, find_run, find_runs, set_tag
from hmct_track.lake.archive import export_run, import_run
from hmct_track.lake.care import check, compact, drop_runs
from tests.support.rows import finished_run, measurement_row, run_row


class LakeContract:
    """Tests that any lake passes."""

    def test_one_that_is_not_there_is_told(self, place: Path) -> None:
        with pytest.raises(LakeError, match="there is no lake in"):
            Lake.open(place)

    def test_making_it_again_changes_nothing(self, place: Path) -> None:
        Lake.create(place).append(CONFIGS, [{"config_id": "a", "config": "{}"}])
        rows = Lake.create(place).sql("SELECT config_id, config FROM configs").rows
        assert rows == [("a", "{}")]

    def test_a_newer_one_is_not_touched(self, place: Path) -> None:
        Lake.create(place)
        (place / "lake.json").write_text(json.dumps({"schema_version": 10**6}))
        for attempt in (Lake.open, Lake.create):
            with pytest.raises(LakeError, match="schema version 1000000"):
                attempt(place)

    def test_every_table_is_empty_and_has_its_columns(self, place: Path) -> None:
        lake = Lake.create(place)
        for table in TABLES:
            result = lake.sql(f"FROM {table.name}")
            assert result.columns == tuple(column.name for column in table.columns)
            assert result.rows == []

    def test_what_is_written_is_read_at_once_and_by_others(self, place: Path) -> None:
        lake, other = Lake.create(place), Lake.open(place)
        row = run_row("r", outputs=["a", "it's"], noise_floor=1e-300, parameters='{"ü": null}')
        lake.append(RUNS, [row])
        for reader in (lake, other, Lake.open(place)):
            result = reader.sql("FROM runs")
            assert [dict(zip(result.columns, r, strict=True)) for r in result.rows] == [row]

    def test_a_key_written_twice_counts_once_and_the_newest_row_holds(self, place: Path) -> None:
        lake = Lake.create(place)
        for run_id in ("first", "second"):
            lake.append(MEASUREMENTS, [measurement_row("a", run_id=run_id)])
        lake.append(RUNS, [run_row("r", state="FINISHED", updated_at=datetime(2026, 1, 2))])
        lake.append(RUNS, [run_row("r")])
        assert lake.sql("SELECT count(*) FROM measurements").rows == [(1,)]
        assert lake.sql("SELECT state FROM runs").rows == [("FINISHED",)]

    def test_a_part_has_the_name_it_was_given(self, place: Path) -> None:
        lake = Lake.create(place)
        assert not lake.has_part(CONFIGS, "p")
        lake.append(CONFIGS, [{"config_id": "a", "config": "{}"}], "p")
        assert lake.has_part(CONFIGS, "p")

    def test_rows_of_other_columns_leave_nothing(self, place: Path) -> None:
        lake = Lake.create(place)
        with pytest.raises(ValueError, match="columns"):
            lake.append(CONFIGS, [{"config_id": "a"}])
        assert lake.sql("FROM configs").rows == []

    @pytest.mark.parametrize("text", ["DROP TABLE runs", "SELECT 1; SELECT 2", "FROM nowhere", ""])
    def test_sql_that_is_no_single_select_is_refused(self, place: Path, text: str) -> None:
        with pytest.raises(QueryError):
            Lake.create(place).sql(text)

    def test_merging_keeps_every_row(self, place: Path) -> None:
        lake = Lake.create(place)
        for k in range(3):
            lake.append(CONFIGS, [{"config_id": str(i), "config": "{}"} for i in range(k + 1)])
        before = lake.sql("FROM configs ORDER BY ALL").rows
        assert compact(lake)["configs"] == (3, 1)
        for reader in (lake, Lake.open(place)):
            assert reader.sql("FROM configs ORDER BY ALL").rows == before
        assert compact(lake) == {}

    def test_a_run_is_dropped_and_comes_back_from_its_file(
        self, place: Path, tmp_path: Path
    ) -> None:
        lake = Lake.create(place)
        finished_run(lake, "one", ["a", "b"])
        finished_run(lake, "two", ["b", "c"])
        # Where a row came from is the one thing that its way through a file adds to it.
        own = {}
        for table in TABLES:
            columns = [c.name for c in table.columns if c.name != "imported_from"]
            own[table] = f"SELECT {', '.join(columns)} FROM {table.name} ORDER BY ALL"  # noqa: S608
        before = {table: lake.sql(own[table]).rows for table in TABLES}
        export_run(lake, "one", tmp_path / "one.zip")
        drop_runs(lake, ["one"])
        configs = lake.sql("SELECT config_id FROM measurements ORDER BY ALL").rows
        assert configs == [("b",), ("c",)], "what the other rests on stays"
        assert check(lake) == []
        for _ in range(2):
            assert import_run(lake, tmp_path / "one.zip").runs == ["one"]
            for table, rows in before.items():
                assert lake.sql(own[table]).rows == rows, table.name
        origins = dict(lake.sql("SELECT run_id, imported_from FROM runs").rows)
        assert origins["two"] is None and origins["one"].startswith("one.zip")
        assert check(lake) == []

    def test_a_tag_is_of_one_run_at_a_time(self, place: Path) -> None:
        lake = Lake.create(place)
        for run_id in ("one", "two"):
            finished_run(lake, run_id, ["a"])
            set_tag(lake, "baseline", run_id)
        assert find_run(lake, "baseline")["run_id"] == "two"
        assert {row["run_id"]: row["tags"] for row in find_runs(lake)} == {
            "one": [],
            "two": ["baseline"],
        }
        set_tag(lake, "baseline", None)
        with pytest.raises(UsageError, match="no run is called 'baseline'"):
            find_run(lake, "baseline")

    def test_those_who_write_at_once_lose_nothing(self, place: Path) -> None:
        Lake.create(place)
        errors: list[BaseException] = []

        def write(writer: int) -> None:
            try:
                lake = Lake.create(place)
                for k in range(3):
                    lake.append(CONFIGS, [{"config_id": f"{writer}-{k}", "config": "{}"}])
            except BaseException as error:  # noqa: BLE001 - a thread's error would be lost
                errors.append(error)

        writers = [threading.Thread(target=write, args=(k,)) for k in range(6)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert errors == []
        assert Lake.open(place).sql("SELECT count(*) FROM configs").rows == [(18,)]
