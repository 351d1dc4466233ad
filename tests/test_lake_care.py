"""Care of a lake: merging while others work, what is wrong, runs lost, moved or deleted."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hmct_track.errors import UsageError
from hmct_track.lake import CONFIGS, MEASUREMENTS, RUN_CONFIGS, RUNS, TABLES, Lake, find_runs
from hmct_track.lake.archive import Imported, export_run, import_run
from hmct_track.lake.care import check, compact, drop_runs, leftovers
from tests.conftest import Cli
from tests.support.rows import measurement_row, rank, run_row


def contents(lake: Lake) -> dict[str, list[Any]]:
    """All rows; of measurements made twice either run may be told as the one that measured."""
    rows = {table.name: lake.sql(f"FROM {table.name}").rows for table in TABLES}
    place = [column.name for column in MEASUREMENTS.columns].index("run_id")
    rows["measurements"] = [row[:place] + row[place + 1 :] for row in rows["measurements"]]
    return {name: sorted(found, key=repr) for name, found in rows.items()}


def parts(lake: Path) -> int:
    return sum(1 for _ in lake.glob("tables/*/*.parquet"))


def test_merging_changes_no_answer(tmp_path: Path) -> None:
    for count in (1, 2, 3):
        rank(tmp_path, data_num=count)
    lake = Lake.open(tmp_path)
    before, ranking = contents(lake), lake.query("worst_nodes", metric="sqnr")
    count = parts(tmp_path)
    merged = compact(lake)
    assert merged["runs"] == (6, 1) and parts(tmp_path) < count
    after = Lake.open(tmp_path)
    assert contents(after) == before
    assert after.query("worst_nodes", metric="sqnr") == ranking
    assert check(after) == [] and compact(after) == {}
    rank(tmp_path, data_num=3)  # what is known is still known
    newest = find_runs(after)[0]["run_id"]
    assert [r["measured"] for r in after.query("run_costs") if r["run_id"] == newest] == [0]


def test_a_measurement_that_is_there_twice_counts_once_for_a_run(tmp_path: Path) -> None:
    rank(tmp_path, data_num=2)
    lake = Lake.open(tmp_path)
    before = lake.query("results"), lake.query("metrics")
    (part,) = [p for p in (tmp_path / "tables/measurements").iterdir() if p.name != "0.parquet"]
    (part.parent / "again.parquet").write_bytes(part.read_bytes())
    for rows, again in zip(before, (lake.query("results"), lake.query("metrics")), strict=True):
        assert sorted(rows, key=repr) == sorted(again, key=repr)


WRITER = """
import sys
from pathlib import Path
from hmct_track.lake import CONFIGS, Lake
lake = Lake.create(Path(sys.argv[1]))
for k in range(30):
    lake.append(CONFIGS, [{"config_id": f"{sys.argv[2]}-{k}", "config": "{}"}])
"""
READER = """
import sys
from pathlib import Path
from hmct_track.lake import Lake
seen = 0
for _ in range(30):
    (count,), = Lake.open(Path(sys.argv[1])).sql("SELECT count(*) FROM configs").rows
    assert count >= seen, (count, seen)
    seen = count
"""


def test_merging_while_others_read_and_write_loses_nothing(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    start = [[sys.executable, "-c", WRITER, str(tmp_path), str(k)] for k in range(3)]
    start.append([sys.executable, "-c", READER, str(tmp_path)])
    others = [subprocess.Popen(command) for command in start]
    rounds = 0
    while any(other.poll() is None for other in others):
        rounds += bool(compact(lake))
    assert [other.wait() for other in others] == [0] * 4
    assert rounds > 1
    assert lake.sql("SELECT count(*) FROM configs").rows == [(90,)]


def test_what_is_wrong_is_found(tmp_path: Path, cli: Cli) -> None:
    lake = Lake.create(tmp_path / "lake")
    assert check(lake) == []
    lake.append(
        RUN_CONFIGS,
        [{"run_id": "r", "position": 0, "config_id": "c", "subject": "n", "role": "only"}],
    )
    lake.append(MEASUREMENTS, [measurement_row("d")])
    wrong = "\n".join(check(lake))
    for place in ("run_configs.run_id", "run_configs.config_id", "measurements.config_id"):
        assert f"1 {place} lead nowhere" in wrong
    (tmp_path / "lake/tables/configs/broken.parquet").write_bytes(b"PAR1 and no more")
    (lines,) = check(lake)
    assert "broken.parquet cannot be read" in lines
    done = cli("lake", "check", "--lake", "lake")
    assert (done.returncode, "broken.parquet" in done.stdout) == (2, True)


def test_old_leftovers_of_killed_writers_are_removed(tmp_path: Path, cli: Cli) -> None:
    lake = Lake.create(tmp_path / "lake")
    old = lake.path / "tables" / "configs" / ".half-1.tmp"
    for path in (old, old.with_name(".half-2.tmp")):
        path.write_bytes(b"PAR1")
    os.utime(old, (0, 0))
    assert leftovers(lake) == [old]
    assert cli("lake", "check", "--lake", "lake").returncode == 0
    assert not old.exists() and old.with_name(".half-2.tmp").exists()


STARTED = """
import os, signal, sys
from hmct_track.engine import Engine
Engine.records = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
import hmct_track.debug as dbg
dbg.get_sensitivity_of_nodes(sys.argv[1], calibrated_data=sys.argv[2], lake=sys.argv[3])
"""


def test_a_run_that_was_killed_without_a_word_is_noticed(
    tmp_path: Path, cli: Cli, demo_files: tuple[str, str]
) -> None:
    place = tmp_path / "lake"
    done = subprocess.run(
        [sys.executable, "-c", STARTED, *demo_files, str(place)], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    assert [row["state"] for row in find_runs(Lake.open(place))] == ["RUNNING"]
    told = cli("lake", "check", "--lake", "lake")
    assert told.returncode == 0 and "set to KILLED" in told.stdout
    (row,) = find_runs(Lake.open(place))
    assert (row["state"], row["error"]) == ("KILLED", "the process ended without a word")


def test_a_lost_run_becomes_killed_and_running_ones_are_left(
    tmp_path: Path, demo_files: tuple[str, str]
) -> None:
    from hmct_track.lake.care import lost_runs, mark_killed

    lake = Lake.create(tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    here = {"host": platform.node(), "started_at": datetime(2026, 1, 1)}
    lake.append(RUNS, [run_row("alive", **here, pid=os.getpid())])
    lake.append(RUNS, [run_row("lost", **here, pid=ended.pid)])
    recent = datetime.now()
    lake.append(RUNS, [run_row("elsewhere", host="another", pid=ended.pid, started_at=recent)])
    lake.append(RUNS, [run_row("long ago", host="another", started_at=datetime(2020, 1, 1))])
    assert lost_runs(lake) == ["long ago", "lost"]
    mark_killed(lake, lost_runs(lake))
    states = {row["run_id"]: row["state"] for row in find_runs(lake)}
    assert states == {
        "alive": "RUNNING",
        "elsewhere": "RUNNING",
        "lost": "KILLED",
        "long ago": "KILLED",
    }
    assert lost_runs(lake) == []


def test_a_run_is_exported_and_imported_whole(tmp_path: Path, cli: Cli) -> None:
    rank(tmp_path / "lake", data_num=2)
    rank(tmp_path / "lake", data_num=1)
    lake = Lake.open(tmp_path / "lake")
    compact(lake)
    newest, older = (row["run_id"] for row in find_runs(lake))
    assert cli("lake", "export", older, "run.hmct", "--lake", "lake").returncode == 0
    for _ in range(2):
        assert cli("lake", "import", "run.hmct", "--lake", "other").returncode == 0
    other = Lake.open(tmp_path / "other")
    ranking = {"run_id": older, "metric": "sqnr"}
    assert other.query("sensitivity", **ranking) == lake.query("sensitivity", **ranking)
    assert [row["run_id"] for row in find_runs(other)] == [older] != [newest]
    assert check(other) == []
    export_run(other, older, tmp_path / "again.hmct")
    assert import_run(lake, tmp_path / "again.hmct") == Imported([older], [])


@pytest.mark.parametrize("kind", ["text", "zip", "newer", "other columns"])
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, kind: str) -> None:
    lake = Lake.create(tmp_path / "lake")
    file = tmp_path / "file"
    if kind == "text":
        file.write_text("hello")
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("../../evil.parquet", b"")
            if kind != "zip":
                version = 99 if kind == "newer" else 1
                archive.writestr("hmct_run.json", f'{{"schema_version": {version}}}')
                archive.writestr("runs.parquet", b"PAR1")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="upgrade" if kind == "newer" else "cannot be imported"):
        import_run(lake, file)
    assert sorted(tmp_path.rglob("*")) == before


def test_runs_deleted_in_mlflow_are_dropped_with_what_only_they_need(
    tmp_path: Path, cli: Cli
) -> None:
    from mlflow.tracking import MlflowClient

    place = tmp_path / "lake"
    rank(place, data_num=1, track=True)
    rank(place, data_num=2, track=True)
    lake = Lake.open(place)
    newest, older = find_runs(lake)
    ranking = {"run_id": older["run_id"], "metric": "sqnr"}
    kept = lake.query("sensitivity", **ranking)
    assert "no run" in cli("lake", "gc", "--lake", "lake").stdout
    MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}").delete_run(
        newest["mlflow_run_id"]
    )
    assert newest["run_id"] in cli("lake", "gc", "--dry-run", "--lake", "lake").stdout
    assert len(find_runs(lake)) == 2
    assert cli("lake", "gc", "--lake", "lake").returncode == 0
    left = Lake.open(place)
    assert [row["run_id"] for row in find_runs(left)] == [older["run_id"]]
    # Of the two samples one is left, and of 22 nodes and the whole model as many measurements.
    assert left.sql("SELECT count(*) FROM measurements").rows == [(23,)]
    assert left.sql("SELECT count(*) FROM samples").rows == [(1,)]
    assert left.query("sensitivity", **ranking) == kept
    assert check(left) == []


def test_nothing_is_dropped_while_an_analysis_runs(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    lake.append(RUNS, [run_row("r", host=platform.node(), pid=os.getpid())])
    lake.append(CONFIGS, [{"config_id": "c", "config": "{}"}])
    with pytest.raises(UsageError, match="run r is running"):
        drop_runs(lake, ["r"])
    assert lake.sql("SELECT count(*) FROM configs").rows == [(1,)]
