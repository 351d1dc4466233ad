"""A lake on object storage, against a server of moto's that speaks S3."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.errors import LakeError, TrackingError
from hmct_track.lake import CONFIGS, Lake, care, lake_path, layout
from hmct_track.lake.care import check, compact, tidy
from hmct_track.lake.places import filesystem
from hmct_track.tracking import tracking_uri
from tests.conftest import Cli
from tests.support.s3 import BUCKET, s3_server, use_s3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("moto") / "log") as address:
        yield address


@pytest.fixture
def place(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A place on it for one test."""
    use_s3(monkeypatch, server)
    return f"s3://{BUCKET}/{request.node.name}"


def rank(lake: str | Path, **options: object) -> dict[str, dict[str, float]]:
    return dbg.get_sensitivity_of_nodes(
        demo.model_path(),
        calibrated_data=demo.calibration_data_path(),
        data_num=2,
        lake=lake,
        track=False,
        **options,
    )


def test_a_ranking_is_the_same_as_in_a_folder_and_is_reused(place: str, tmp_path: Path) -> None:
    found = rank(place)
    assert found == rank(tmp_path)
    assert rank(place) == found
    lake = Lake.open(lake_path(place))
    first, second = lake.query("run_costs")
    measured = {row["run_id"]: row["measured"] for row in (first, second)}
    configs = len(found) + 1  # each node, and the whole model
    assert sorted(measured.values()) == [0, 2 * configs], "the second run measured nothing"
    (worst,) = lake.query("worst_nodes", metric="cosine-similarity", most=1)
    assert worst["node"] == next(iter(found))
    assert check(lake) == []


def test_sixteen_write_while_two_merge_and_one_reads(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "TINY_PARTS", 2)
    merged: list[int] = []
    Lake.create(lake_path(place))
    counts: list[int] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def guarded(work: object, *arguments: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)  # type: ignore[operator]
            except BaseException as error:  # noqa: BLE001 - a thread's error would be lost
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write(writer: int) -> None:
        lake = Lake.open(lake_path(place))
        for k in range(4):
            lake.append(CONFIGS, [{"config_id": f"{writer}-{k}", "config": "{}"}])

    def merge() -> None:
        while not done.is_set():
            compact(Lake.open(lake_path(place)))

    def read() -> None:
        lake = Lake.open(lake_path(place))
        while not done.is_set():
            counts.append(lake.sql("SELECT count(*) FROM configs").rows[0][0])

    def tidy_up() -> None:
        while not done.is_set():
            told = tidy(Lake.open(lake_path(place)))
            merged.append(told.parts if told else 0)

    others = [guarded(merge), guarded(tidy_up), guarded(read)]
    for thread in [guarded(write, k) for k in range(16)]:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    assert errors == [] and max(merged) > 1
    assert counts == sorted(counts), "a row was missing for a moment"
    assert Lake.open(lake_path(place)).sql("SELECT count(*) FROM configs").rows == [(64,)]


def test_a_merge_that_is_killed_or_done_twice_loses_and_doubles_nothing(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.create(lake_path(place))
    for k in range(3):
        lake.append(CONFIGS, [{"config_id": f"c{k}", "config": "{}"}])

    class Killed(BaseException):
        """As by SIGKILL: nothing after it runs."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    def held() -> list[tuple[str]]:
        return Lake.open(lake.path).sql("SELECT config_id FROM configs ORDER BY 1").rows

    rows, pieces = [("c0",), ("c1",), ("c2",)], care.parts_of(lake, CONFIGS)
    with monkeypatch.context() as patched:  # before the upload is complete
        patched.setattr(filesystem(lake.path), "put_file", killed)
        with pytest.raises(Killed):
            compact(lake)
    assert (held(), care.parts_of(lake, CONFIGS)) == (rows, pieces)
    with monkeypatch.context() as patched:  # before the first old part goes
        patched.setattr("time.sleep", killed)
        with pytest.raises(Killed):
            compact(lake)
    assert held() == rows and len(care.parts_of(lake, CONFIGS)) == 4
    # Another process has listed the same parts, and merges them as well.
    lake.write_merged(CONFIGS, pieces)
    assert held() == rows and len(care.parts_of(lake, CONFIGS)) == 5
    assert compact(lake)["configs"] == (5, 1)
    assert held() == rows and check(lake) == []


def test_commands_take_it(place: str, cli: Cli, demo_files: tuple[str, str]) -> None:
    ranking = ["get-sensitivity-of-nodes", *demo_files, "-i", "Conv_2", "--no-progress"]
    done = cli(*ranking, "--lake", place)
    assert done.returncode == 3, done.stderr
    assert "set MLFLOW_TRACKING_URI to a server, or pass --no-track" in done.stderr
    assert "Conv_2" in done.stdout
    done = cli("sql", "SELECT state FROM runs", "--lake", place)
    assert (done.returncode, "FINISHED" in done.stdout) == (0, True), done.stderr
    done = cli("sql", "FROM read_parquet('s3://hmct-lakes/x.parquet')", "--lake", place)
    assert done.returncode == 2 and "disabled by configuration" in done.stderr


def test_mlflow_is_a_server_then(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrackingError, match="cannot hold MLflow's database"):
        tracking_uri(lake_path(place))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracking_uri(lake_path(place)) == "http://127.0.0.1:9"


def test_what_is_wrong_is_told_in_a_line(
    place: str, process: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(lake: str) -> str:
        done = process("runs", "--lake", lake)
        assert done.returncode == 2 and done.stdout == "", done.stderr
        (line,) = done.stderr.splitlines()
        return str(line)

    assert "there is no lake in" in told(place)
    assert "there is no lake in" in told("s3://no-such-bucket/lake")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "lake.json cannot be read" in told(place)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", os.devnull)
    assert "redentials" in told(place)


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(LakeError, match=r"pip install 'hmct-track\[s3\]'"):
        lake_path("s3://bucket/lake")
