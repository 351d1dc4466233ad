"""Servers and stores of MLflow that fail: what is told, and after how long."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hmct_track.cli import main
from hmct_track.errors import TrackingError
from hmct_track.tracking import TrackedRun, bounds, deleted_runs, kept_image, move_tag, track
from tests.support.tracked import draft, only_run
from tests.support.tracking_server import (
    Behaviour,
    Handler,
    Reply,
    as_json,
    but,
    drip,
    hang,
    serving,
    well,
)

IMAGE = b"\x89PNG"


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for a second where it is ten by default, and let Ctrl-C through."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    track_import()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def full(**changes: Any) -> TrackedRun:
    """A run with something of everything."""
    values: dict[str, Any] = {"params": {"a": "b"}, "summary": {"m": 1.0}}
    return draft(**(values | {"texts": {"a.txt": "a"}, "images": {"a.png": IMAGE}} | changes))


def track_import() -> None:
    """MLflow's import takes seconds, which are not to be measured here."""
    import mlflow.store.tracking.sqlalchemy_store
    import mlflow.tracking  # noqa: F401


def refused(behave: Behaviour, monkeypatch: pytest.MonkeyPatch, lake: Path) -> tuple[str, float]:
    """Why a server does not take a run, and how long that took."""
    with serving(behave) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:s3cret@{server.place}")
        begin = time.monotonic()
        with pytest.raises(TrackingError) as caught:
            track(full(), lake)
        took = time.monotonic() - begin
    message = str(caught.value)
    assert message.startswith(f"MLflow at http://{server.place} did not take the run: ")
    assert len(message) <= 300 and message.isprintable() and "s3cret" not in message
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    return message.partition("the run: ")[2], took


def reply(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, endpoint, content: (status, named, body)


def test_a_server_that_does_well_takes_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(well) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:s3cret@{server.place}")
        tracked = track(full(), tmp_path)
    assert (tracked.run_id, tracked.uri) == (server.run_id, f"http://{server.place}")
    assert server.endpoints()[-1] in ("runs/update", "runs/get")
    assert any("Authorization" in headers for _, _, headers, _ in server.seen)
    assert capfd.readouterr().out == "", "MLflow says where the run is, with the password"


def test_a_server_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"did not take the run: the connection was refused$"):
        track(draft(), tmp_path)


@pytest.mark.parametrize("endpoint", ["experiments/get-by-name", "runs/log-batch", "runs/update"])
def test_a_server_that_hangs(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why, took = refused(but(hang, endpoint), monkeypatch, tmp_path)
    assert why == "no answer within 1 s" and took < 5


@pytest.mark.parametrize("endpoint", ["experiments/get-by-name", "runs/create", "runs/log-batch"])
def test_a_server_that_drips(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why, took = refused(but(drip, endpoint), monkeypatch, tmp_path)
    assert why == "no answer within 3 s; MLFLOW_HTTP_REQUEST_TIMEOUT sets how long is waited"
    assert 3 <= took < 6


def test_a_server_that_drips_files_has_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip_files(handler: Handler, endpoint: str, body: bytes) -> Reply:
        return (drip if handler.command == "PUT" else well)(handler, endpoint, body)

    why, took = refused(drip_files, monkeypatch, tmp_path)
    assert why.startswith("no answer within 9 s;") and 9 <= took < 12


def test_a_server_that_is_slow_each_time_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(handler: Handler, endpoint: str, body: bytes) -> Reply:
        time.sleep(0.8)
        return well(handler, endpoint, body)

    monkeypatch.setattr(bounds, "SLACK", 0.0)
    why, took = refused(slow, monkeypatch, tmp_path)
    assert why.startswith("not done within 6 s;") and 6 <= took < 8


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_server_that_redirects_is_not_followed(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(well) as elsewhere:
        location = f"http://{elsewhere.place}/"
        why, _ = refused(reply(status, Location=location), monkeypatch, tmp_path)
    assert why.startswith("it redirects elsewhere; set MLFLOW_TRACKING_URI")
    assert not elsewhere.seen, "nothing goes where the user did not say"


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (reply(401), "it wants to know who asks (HTTP 401)"),
        (reply(403, b"<html>no</html>"), "it refuses (HTTP 403)"),
        (reply(404), "it answered HTTP 404"),
        (reply(500, b"x\n\x1b[31my"), "it answered HTTP 500 each time"),
        (reply(503, Retry_After="3600"), "it answered HTTP 503 each time"),
        (
            lambda handler, endpoint, body: as_json(
                {"error_code": "PERMISSION_DENIED", "message": "a\n\x1b[31m" + "b" * 999}, 403
            ),
            "PERMISSION_DENIED: a",
        ),
    ],
)
def test_a_server_that_refuses(
    behave: Behaviour, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why, took = refused(behave, monkeypatch, tmp_path)
    assert why.startswith(expected) and took < 3


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (reply(200, b"<html>Please log in</html>"), "its answer is not one of MLflow"),
        (reply(200, b"{"), "its answer is not one of MLflow"),
        (reply(200, b"[1]"), ""),
        (reply(200, b'{"experiment": 3}'), ""),
        (reply(200, b"{}"), "it gave an experiment without an id"),
        (but(reply(200, b"{}"), "runs/create"), "it made a run with the id ''"),
        (
            but(
                lambda *_: as_json({"run": {"info": {"run_id": "../../x", "run_uuid": "../../x"}}}),
                "runs/create",
            ),
            "it made a run with the id '../../x'",
        ),
        (but(reply(200, b"<html>"), "runs/create"), "its answer is not one of MLflow"),
    ],
)
def test_a_server_that_lies(
    behave: Behaviour, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why, took = refused(behave, monkeypatch, tmp_path)
    assert why.startswith(expected) and took < 3


def test_a_server_that_breaks_off_leaves_no_run_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(handler: Handler, endpoint: str, body: bytes) -> Reply:
        raise ConnectionError

    with serving(but(break_off, "runs/log-inputs")) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{server.place}")
        with pytest.raises(TrackingError, match="it broke off"):
            track(draft(), tmp_path)
    updates = [body for _, endpoint, _, body in server.seen if endpoint == "runs/update"]
    assert len(updates) == 1 and b"FAILED" in updates[0]


def test_other_calls_are_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(drip) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{server.place}")
        with pytest.raises(TrackingError, match="did not take the tag: no answer within 3 s"):
            move_tag(tmp_path, "t", [], server.run_id)
        with pytest.raises(TrackingError, match="cannot be asked: no answer within 3 s"):
            deleted_runs(tmp_path, {server.run_id: f"http://{server.place}"})


def test_what_a_run_is_called_leads_to_no_other_folder(tmp_path: Path) -> None:
    (tmp_path / "secret" / "artifacts").mkdir(parents=True)
    (tmp_path / "secret" / "artifacts" / "a.png").write_bytes(IMAGE)
    (tmp_path / "lake" / "artifacts").mkdir(parents=True)
    assert kept_image("../../secret", "a.png", tmp_path / "lake") is None


def test_interrupted_it_ends_at_once_and_the_run_is_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(well) as server:

        def interrupt(handler: Handler, endpoint: str, body: bytes) -> Reply:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
            return well(handler, endpoint, body)

        server.behave = but(interrupt, "runs/log-batch")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{server.place}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            track(full(), tmp_path)
        assert time.monotonic() - begin < 4
        updates = [body for _, endpoint, _, body in server.seen if endpoint == "runs/update"]
    assert updates and b"FAILED" in updates[0]


@contextmanager
def stopped_process_with_lock(path: Path) -> Iterator[int]:
    """A process that holds a file lock and is stopped, as by Ctrl-Z."""
    code = (
        "import sys, time; from filelock import FileLock;"
        "lock = FileLock(sys.argv[1]); lock.acquire();"
        "print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    try:
        assert process.stdout and process.stdout.readline() == b"held\n"
        process.send_signal(signal.SIGSTOP)
        yield process.pid
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def test_a_stopped_process_that_holds_the_lock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmct_track.store.SOON", 1.0)
    lock = tmp_path / "mlflow.lock"
    with stopped_process_with_lock(lock):
        begin = time.monotonic()
        with (
            caplog.at_level(logging.WARNING, "hmct_track"),
            pytest.raises(TrackingError, match=r"stopped one, has held .*mlflow.lock for 6 s$"),
        ):
            track(draft(), tmp_path)
        assert 6 <= time.monotonic() - begin < 9
    (record,) = caplog.records
    assert record.getMessage().endswith(f"waiting for {lock} for up to 6 s")
    assert not (tmp_path / "mlflow.db").exists()
    track(draft(), tmp_path)
    assert only_run(tmp_path, "e").info.run_name == "n"


def test_a_stopped_process_that_locks_the_database(tmp_path: Path) -> None:
    track(draft(), tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        begin = time.monotonic()
        with pytest.raises(TrackingError, match=r"cannot be opened: database is locked, for 3 s"):
            track(draft(), tmp_path)
        assert 3 <= time.monotonic() - begin < 6


def unopenable(path: Path, how: str) -> None:
    if how == "folder":
        path.mkdir()
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "no database":
        path.write_bytes(b"no database" * 999)
    elif how == "damaged":
        path.write_bytes(b"SQLite format 3\0" + bytes(8000))


@pytest.mark.parametrize("how", ["folder", "fifo", "no database", "damaged"])
@pytest.mark.parametrize("own", [True, False])
def test_a_database_that_cannot_be_opened(
    how: str, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow.db"
    unopenable(database, how)
    if not own:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    begin = time.monotonic()
    with pytest.raises(TrackingError, match="did not take the run: ") as caught:
        track(draft(), tmp_path)
    assert time.monotonic() - begin < 5
    assert re.search("cannot be opened|is not a file", str(caught.value))
    assert len(str(caught.value)) < 250


def test_a_database_server_that_is_down_is_not_asked_for_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder in the place of a file's folder: a database that is no SQLite would need a driver.
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")
    begin = time.monotonic()
    with pytest.raises(TrackingError, match="did not take the run"):
        track(draft(), tmp_path)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("case", ["drip", "lock", "database"])
def test_the_command_gives_its_answer_one_line_and_exit_code_3(
    case: str,
    tmp_path: Path,
    demo_files: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lake = tmp_path / "lake"
    with ExitStack() as stack:
        if case == "drip":
            server = stack.enter_context(serving(drip))
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:s3cret@{server.place}")
        else:
            lake.mkdir()
            if case == "lock":
                handle = stack.enter_context((lake / "mlflow.lock").open("w"))
                fcntl.flock(handle, fcntl.LOCK_EX)
            else:
                os.mkfifo(lake / "mlflow.db")
        code = main(["get-sensitivity-of-nodes", *demo_files, "--lake", str(lake), "--no-progress"])
    out, err = capfd.readouterr()
    assert code == 3 and "Conv_0 " in out and "Traceback" not in err
    messages = [record.getMessage() for record in caplog.records]  # stderr, outside tests
    (told,) = [message for message in messages if "did not take the run" in message]
    assert len(told) <= 300 and told.isprintable()
    assert "s3cret" not in out + err + caplog.text
