"""What a lake survives: clocks, full disks, read-only places, damage, kills, many at once."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from hmct_track.errors import LakeError
from hmct_track.lake import (
    CONFIGS,
    MODELS,
    NODES,
    RUNS,
    TAGS,
    Lake,
    apart,
    care,
    find_run,
    find_runs,
    set_tag,
)
from hmct_track.lake.care import check, compact, drop_runs, leftovers, lost_runs, mark_killed
from tests.conftest import Cli
from tests.support.rows import rank, run_row

EARLY, LATE = datetime(2001, 1, 1), datetime(2031, 1, 1)


@pytest.mark.parametrize("merged", [False, True])
def test_a_run_that_ended_has_ended_though_the_clock_went_back(
    tmp_path: Path, merged: bool
) -> None:
    lake = Lake.create(tmp_path)
    lake.append(RUNS, [run_row("r", updated_at=LATE, version=0, pid=2**22 + 1)])
    lake.append(RUNS, [run_row("r", updated_at=EARLY, version=2, state="FINISHED")])
    if merged:
        compact(lake)
    again = Lake.open(tmp_path)
    assert [row["state"] for row in find_runs(again)] == ["FINISHED"]
    assert lost_runs(again) == []


def test_an_old_lake_whose_clock_went_back_has_no_run_that_runs(tmp_path: Path) -> None:
    """Schema version 2 had no versions of rows: what ended does not run again."""
    lake = Lake.create(tmp_path)
    lake.append(RUNS, [run_row("r", updated_at=LATE)])
    lake.append(RUNS, [run_row("r", updated_at=EARLY, state="FINISHED")])
    lake.append(RUNS, [run_row("r", updated_at=datetime(2001, 1, 2), state="FINISHED", error="x")])
    (row,) = find_runs(lake)
    assert (row["state"], row["error"]) == ("FINISHED", "x")


def test_a_run_that_was_taken_for_lost_and_goes_on_has_the_last_word(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    lake.append(RUNS, [run_row("r", version=0, updated_at=EARLY, started_at=EARLY)])
    assert lost_runs(lake) == ["r"]
    mark_killed(lake, ["r"])
    assert [row["state"] for row in find_runs(lake)] == ["KILLED"]
    lake.append(RUNS, [run_row("r", version=2, updated_at=EARLY, state="FINISHED")])
    mark_killed(lake, ["r"])
    assert [row["state"] for row in find_runs(lake)] == ["FINISHED"]


@pytest.mark.parametrize("merged", [False, True])
def test_a_tag_is_moved_though_the_clock_went_back(tmp_path: Path, merged: bool) -> None:
    lake = Lake.create(tmp_path)
    lake.append(RUNS, [run_row("a"), run_row("b")])
    # As a program of schema version 2 wrote it.
    lake.append(TAGS, [{"tag": "baseline", "run_id": "a", "updated_at": datetime(2999, 1, 1)}])
    for run_id in ("b", "a", "b"):
        set_tag(lake, "baseline", run_id)
        if merged:
            compact(Lake.open(tmp_path))
        assert find_run(Lake.open(tmp_path), "baseline")["run_id"] == run_id
    set_tag(lake, "baseline", None)
    assert [row["tags"] for row in find_runs(lake)] == [[], []]


def test_a_real_run_that_meets_a_clock_going_back_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(datetime(2026, 1, 1, 23 - k % 24, 59 - k // 24) for k in range(24 * 60))

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return next(moments)

    monkeypatch.setattr("hmct_track.recording.run.datetime", Backwards)
    rank(tmp_path, data_num=1, interested_nodes=["Conv_2"])
    assert [row["state"] for row in find_runs(Lake.open(tmp_path))] == ["FINISHED"]


def test_a_run_without_a_start_and_with_an_odd_process_harms_nothing(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    here = os.uname().nodename
    for k, pid in enumerate((2**62, 2**31, -1, 0, None)):
        lake.append(RUNS, [run_row(f"r{k}", host=here, pid=pid, started_at=None)])
    assert len(lost_runs(lake)) == 5


def test_damaged_parts_are_told_and_end_nothing(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    rows = [{"config_id": f"c{k}", "config": "{}" * (k % 50)} for k in range(500)]
    lake.append(CONFIGS, rows, "whole")
    data = (tmp_path / "tables/configs/whole.parquet").read_bytes()
    chosen = random.Random(7)  # noqa: S311 - damage, not secrets
    for k in range(60):
        damaged = bytearray(data)
        for _ in range(chosen.choice([1, 5, 50])):
            damaged[chosen.randrange(len(data))] = chosen.randrange(256)
        cut = chosen.randrange(len(data)) if k % 3 == 0 else len(data)
        (tmp_path / f"tables/configs/damaged-{k}.parquet").write_bytes(damaged[:cut])
    found = check(lake)
    assert 20 <= len(found) <= 60
    assert not [line for line in found if "damaged-" not in line or "\n" in line]
    assert not [line for line in found if "whole" in line]


def test_a_part_at_which_its_reader_dies_is_the_one_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.create(tmp_path)
    for name in ("a", "b", "c"):
        lake.append(CONFIGS, [{"config_id": name, "config": "{}"}], name)
    dies = (
        "import os, sys; from hmct_track.lake import sift; real = sift.part_problem\n"
        "def problem(table, path):\n"
        "    return os.abort() if path.name == 'b.parquet' else real(table, path)\n"
        "sift.part_problem = problem; sift.main(sys.argv[1:])"
    )
    monkeypatch.setattr(apart, "MODULE", ["-c", dies])
    (line,) = check(lake)
    assert "b.parquet cannot be read: its reader ended with SIGABRT" in line


def test_models_without_their_nodes_get_them(tmp_path: Path) -> None:
    """As if killed between the parts: the next run writes what is missing, and no key is lost."""
    rank(tmp_path, data_num=1, interested_nodes=["Conv_2"])
    lake = Lake.open(tmp_path)
    before = sorted(lake.rows(NODES), key=repr)
    (model,) = lake.rows(MODELS)
    for table in ("nodes", "calibration_nodes"):
        (tmp_path / "tables" / table / f"{model['model_id']}.parquet").unlink()
    assert check(Lake.open(tmp_path)) == []
    rank(tmp_path, data_num=1, interested_nodes=["Conv_2"])
    assert sorted(Lake.open(tmp_path).rows(NODES), key=repr) == before


def test_a_link_in_a_lake_from_someone_else_costs_no_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    lake = Lake.create(tmp_path / "lake")
    for name in ("a", "b"):
        lake.append(CONFIGS, [{"config_id": name, "config": "{}"}], name)
        shutil.copy(lake.path / f"tables/configs/{name}.parquet", mine)
    (mine / ".old.tmp").write_text("mine")
    os.utime(mine / ".old.tmp", (0, 0))
    before = sorted(mine.iterdir())
    shutil.rmtree(lake.path / "tables/configs")
    (lake.path / "tables/configs").symlink_to(mine)
    for care_for in (compact, lambda lake: drop_runs(lake, ["r"])):
        with pytest.raises(LakeError, match="is a link"):
            care_for(lake)
    assert leftovers(lake) == [] and sorted(mine.iterdir()) == before


def test_a_part_that_is_no_file_is_told(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    os.mkfifo(tmp_path / "tables/configs/fifo.parquet")
    (line,) = check(lake)
    assert "is no regular file" in line


def test_two_that_merge_at_once_both_end_well(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    for k in range(30):
        lake.append(CONFIGS, [{"config_id": str(k), "config": "{}"}])
    code = (
        "import sys; from pathlib import Path; from hmct_track.lake import Lake, care\n"
        "care.GRACE_SECONDS = 0.0\n"
        "for _ in range(5): care.compact(Lake.open(Path(sys.argv[1])))"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for k in range(30, 60):
        lake.append(CONFIGS, [{"config_id": str(k), "config": "{}"}])
    told = [other.communicate()[1].decode() for other in others]
    assert [other.returncode for other in others] == [0, 0, 0], told
    assert Lake.open(tmp_path).sql("SELECT count(*) FROM configs").rows == [(60,)]


def test_parts_that_vanish_while_they_are_merged_are_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.create(tmp_path)
    for k in range(3):
        lake.append(CONFIGS, [{"config_id": str(k), "config": "{}"}])
    listed = care.parts_of(lake, CONFIGS)
    gone = listed[0].with_name("gone.parquet")
    shutil.copy(listed[0], gone)
    answers = [[*listed, gone]]
    real = care.parts_of

    def once(lake: Lake, table: object) -> list[Path]:
        gone.unlink(missing_ok=True) if table is not CONFIGS else None
        return answers.pop() if table is CONFIGS and answers else real(lake, table)  # type: ignore[arg-type]

    monkeypatch.setattr(care, "parts_of", once)
    assert compact(lake)["configs"] == (3, 1)
    assert len(Lake.open(tmp_path).rows(CONFIGS)) == 3


def mounted(*arguments: str | Path) -> bool:
    """Whether a file system could be mounted, which takes root."""
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, *arguments], capture_output=True, check=False)
    return bool(done) and done.returncode == 0


def unmount(place: Path) -> None:
    subprocess.run([shutil.which("umount") or "umount", "-l", place], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    if not mounted("-t", "tmpfs", "-o", "size=4m", "tmpfs", place):
        pytest.skip("a file system of its own cannot be mounted here")
    yield place
    unmount(place)


def test_a_full_disk_is_told_and_nothing_half_written_stays(small_disk: Path) -> None:
    lake = Lake.create(small_disk / "lake")
    lake.append(CONFIGS, [{"config_id": "a", "config": "{}"}])
    ballast = small_disk / "ballast"
    for left in (0, 1, 5, 20, 60, 200):
        ballast.unlink(missing_ok=True)
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        ballast.write_bytes(bytes(max(free - left * 1024, 0)))
        noise = random.Random(left).randbytes(300_000).hex()  # noqa: S311
        with pytest.raises(LakeError, match="cannot write") as caught:
            lake.append(CONFIGS, [{"config_id": "b", "config": noise}])
        assert "\n" not in str(caught.value)
        (lake.path / ".views").unlink(missing_ok=True)
        with suppress(LakeError):  # there may be room for a small file
            Lake.create(lake.path)
        assert not list(lake.path.rglob("*.tmp*")), left
        assert Lake.open(lake.path).rows(CONFIGS)[0]["config_id"] == "a"
    ballast.unlink()
    Lake.create(lake.path).append(CONFIGS, [{"config_id": "b", "config": "{}"}])
    assert check(Lake.open(lake.path)) == []


def test_a_file_that_may_not_grow_is_as_a_full_disk(tmp_path: Path) -> None:
    Lake.create(tmp_path)
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from hmct_track.lake import CONFIGS, Lake\n"
        "lake = Lake.open(Path(sys.argv[1]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "import random\n"
        "lake.append(CONFIGS, [{'config_id': 'a', 'config': random.randbytes(100000).hex()}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False
    )
    assert "LakeError: cannot write to the lake" in done.stderr
    assert not list(tmp_path.rglob("*.tmp*"))
    assert Lake.open(tmp_path).rows(CONFIGS) == []


def test_a_moved_lake_that_is_read_only_is_told_in_a_line(tmp_path: Path, cli: Cli) -> None:
    rank(tmp_path / "old", data_num=1, interested_nodes=["Conv_2"])
    shutil.move(tmp_path / "old", tmp_path / "lake")
    (run,) = find_runs(Lake.open(tmp_path / "lake"))
    rank(tmp_path / "other", data_num=1, interested_nodes=["Conv_4"])
    assert cli("lake", "export", "latest", "run.hmct", "--lake", "other").returncode == 0
    place = tmp_path / "lake"
    if not mounted("--bind", place, place):
        pytest.skip("a read-only file system cannot be mounted here")
    try:
        assert mounted("-o", "remount,ro,bind", place)
        assert cli("runs", "--lake", "lake").returncode == 0
        assert cli("sql", "FROM runs", "--lake", "lake").returncode == 0
        assert cli("lake", "check", "--lake", "lake").returncode == 0
        from hmct_track import demo

        ranking = ("get-sensitivity-of-nodes", demo.model_path(), demo.calibration_data_path())
        for command in (
            ("tag", run["run_id"], "--lake", "lake"),
            ("lake", "import", "run.hmct", "--lake", "lake"),
            (*map(str, ranking), "-i", "Conv_4", "--no-progress", "--lake", "lake"),
        ):
            done = cli(*command)
            (line,) = done.stderr.splitlines()
            assert done.returncode == 2, line
            assert line.startswith("hmct-debugger: error: cannot "), line
            assert "ead-only" in line
    finally:
        unmount(place)


def test_runs_of_a_moved_lake_that_mlflow_deleted_are_dropped(tmp_path: Path, cli: Cli) -> None:
    from mlflow.tracking import MlflowClient

    rank(tmp_path / "old", data_num=1, interested_nodes=["Conv_2"], track=True, wait=True)
    shutil.move(tmp_path / "old", tmp_path / "lake")
    (run,) = find_runs(Lake.open(tmp_path / "lake"))
    assert "no run" in cli("lake", "gc", "--dry-run", "--lake", "lake").stdout
    store = f"sqlite:///{tmp_path / 'lake' / 'mlflow.db'}"
    MlflowClient(tracking_uri=store).delete_run(run["mlflow_run_id"])
    assert run["run_id"] in cli("lake", "gc", "--dry-run", "--lake", "lake").stdout


def test_what_duckdb_leaves_behind_is_removed(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    for name in (".a.duckdb.tmp", ".a.duckdb.tmp.wal"):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (0, 0))
    assert len(leftovers(lake)) == 2


def kills(place: Path, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.kills", place, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("what", ["compact", "tidy", "import"])
def test_killed_at_the_first_files_that_it_puts_into_place_nothing_is_lost(
    tmp_path: Path, what: str
) -> None:
    found = kills(tmp_path, what, "renames", "2")
    assert found == {"killed": 2, "ended": 0, "problems": []}


@pytest.mark.long
@pytest.mark.parametrize("what", ["analysis", "compact", "tidy", "import"])
@pytest.mark.parametrize("how", ["renames", "moments"])
def test_killed_at_each_file_and_at_any_moment_nothing_is_lost(
    tmp_path: Path, what: str, how: str
) -> None:
    found = kills(tmp_path, what, how, "400" if how == "renames" else "15")
    assert found["problems"] == [] and found["killed"] != 0
