"""Secrets in MLFLOW_TRACKING_URI, and everywhere that they must not be found."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmct_track.cli import main
from hmct_track.lake import Lake
from hmct_track.public import public_text, public_uri
from hmct_track.text import one_line
from tests.conftest import Cli
from tests.support.tracked import draft
from tests.support.tracking_server import serving, well

SECRET = "hunter2-x9"  # noqa: S105 - planted
PATIENCE = 120


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("http://me:hunter2-x9@host:80/x", "http://host:80/x"),
        ("https://hunter2-x9@host/x", "https://host/x"),
        ("https://hunter2-x9:x-oauth-basic@host", "https://host"),
        ("http://me:hunter2%2Dx9@host/", "http://host/"),
        ("postgresql://me:hunter2-x9@h1:5432,h2:5433/db", "postgresql://h1:5432,h2:5433/db"),
        ("mysql://a:hunter2-x9@h1,b:hunter2-x9@h2/db", "mysql://h2/db"),
        ("postgresql://me:a@b/hunter2-x9?c#d@host/db", "postgresql://host/db"),
        (
            "postgresql:///db?host=h1&host=h2&user=me&password=hunter2-x9",
            "postgresql:///db?host=h1&host=h2&user=***&password=***",
        ),
        ("postgresql://h/db?pass%77ord=hunter2-x9", "postgresql://h/db?password=***"),
        ("postgresql://h/db?PassWord=hunter2-x9", "postgresql://h/db?PassWord=***"),
        ("mysql://h/db?ssl_key_password=hunter2-x9", "mysql://h/db?ssl_key_password=***"),
        (
            "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dhunter2-x9",
            "mssql+pyodbc:///?odbc_connect=***",
        ),
        ("mssql://host;password=hunter2-x9/db", "mssql://host;password=***/db"),
        ("http://host/x?hunter2-x9", "http://host/x?***"),
        ("postgresql://host/db?k=@hunter2-x9", "postgresql://***"),
        ("postgresql://me:a?b@hunter2-x9", "postgresql://***"),
        ("http://host/x#access_token=hunter2-x9", "http://host/x"),
        ("me:hunter2-x9@host/x", "host/x"),
        ("s3://key:hunter2-x9@bucket/x", "s3://bucket/x"),
    ],
)
def test_a_uri_is_made_public(uri: str, public: str) -> None:
    assert public_uri(uri) == public_uri(public) == public
    told = public_text(f"cannot reach '{uri}', nor {uri}; it is {SECRET}", uri)
    assert "hunter2" not in told and told.startswith("cannot reach '")


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////home/me@work/lake/mlflow.db",
        "/home/me@work/mlruns",
        "./mlruns",
        "http://127.0.0.1:5000",
        "http://[::1]:5000/mlflow",
        "databricks://profile:prefix",
        "C:\\lake@home\\mlruns",
        "postgresql://host/db?sslmode=require&host=h2:5433",
    ],
)
def test_what_holds_no_secret_stays(uri: str) -> None:
    assert public_uri(uri) == uri


WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(
    user=WORD,
    secret=st.from_regex(r"[a-z]{6}[0-9]{6}", fullmatch=True),
    around=st.tuples(WORD, WORD),
    form=st.sampled_from(
        ["{s}://{u}:{p}@host/db", "{s}://{p}@host/db", "{s}://host/db?k={p}", "{s}://u:{p}@/db"]
    ),
)
def test_whatever_stands_around_a_secret_it_is_not_told(
    user: str, secret: str, around: tuple[str, str], form: str
) -> None:
    password = secret.join(around)
    uri = form.format(s="postgresql", u=user, p=password)
    public = public_uri(uri)
    # Behind another parameter's name it is that parameter's: ?k=a&host=b says that b is a host.
    if "?k=" not in form or not re.search("[&=]", password):
        assert secret not in public
        assert secret not in public_text(f"x {uri} y", uri)
    assert public_uri(public) == public


def test_secrets_of_the_environment_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    assert SECRET not in public_text(f"header Bearer {SECRET} was refused")


def test_a_message_is_one_line_of_bounded_length() -> None:
    assert one_line("a\n\x1b[31m b\u202ec") == r"a \x1b[31m b\u202ec"
    cut = one_line("/folder/" * 99 + "mlflow.db is not a file", 200)
    assert len(cut) == 200 and cut.endswith("mlflow.db is not a file")


def everything_kept(folder: Path) -> str:
    """All files as text, and the rows of the lake's tables, whose files are compressed."""
    texts = [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    opened = Lake.open(folder / "lake")
    tables = [row[0] for row in opened.sql("SELECT table_name FROM information_schema.tables").rows]
    assert "runs" in tables
    return "\n".join([*texts, *(repr(opened.sql(f'FROM "{t}"').rows) for t in tables)])


@pytest.mark.parametrize(
    "form",
    [
        "http://me:hunter2-x9@{}",
        "http://hunter2-x9@{}",
        "http://me:hunter2%2Dx9@{}",
        "http://me:h2@hunter2-x9@{}",
        "http://{}?password=hunter2-x9",
        "http://me:hunter2-x9@127.0.0.1:9",
        "nosuch://me:hunter2-x9@host/db?token=hunter2-x9",
        "sqlite:///x.db?password=hunter2-x9",
        "postgresql://me:hunter2-x9@127.0.0.1:9/db",
    ],
)
def test_no_secret_is_told_or_kept(
    form: str,
    tmp_path: Path,
    demo_files: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(well) as server, caplog.at_level(logging.DEBUG):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", form.format(server.place))
        code = main(["get-sensitivity-of-nodes", *demo_files, "--lake", "lake"])
        assert code in (0, 3)
        main(["tag", "latest", "--lake", "lake"])
        main(["lake", "gc", "--lake", "lake"])
    out, err = capfd.readouterr()
    logged = [record for record in caplog.records if record.name.startswith("hmct_track")]
    told = out + err + "\n".join(record.getMessage() for record in logged)
    for text in (told, everything_kept(tmp_path)):
        assert "hunter2" not in text
    assert "View run" not in told and len(out.splitlines()) >= 25
    if code == 0:
        (row,) = Lake.open(tmp_path / "lake").sql("SELECT mlflow_uri FROM runs").rows
        assert row == (f"http://{server.place}",)
        assert b"hunter2" not in b"".join(body for _, _, _, body in server.seen)


def test_the_ui_tells_no_secret_of_a_server(
    tmp_path: Path, process: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    Lake.create(tmp_path / "lake")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://hunter2-x9@host/mlflow")
    done = process("ui", "--lake", "lake")
    assert done.stdout == "MLFLOW_TRACKING_URI is set: the runs are at https://host/mlflow\n"


def arguments_of(process: psutil.Process) -> Iterator[str]:
    """What the process list shows of a process and of those that it started."""
    for each in [process, *process.children(recursive=True)]:
        try:
            yield " ".join(each.cmdline())
        except psutil.NoSuchProcess:
            continue


def test_the_ui_tells_no_secret_of_a_database_and_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite reads a password from a URI, and does not mind that it needs none."""
    from hmct_track.tracking import track

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # else it is inherited
    lake = Lake.create(tmp_path / "lake").path
    (tmp_path / "own").mkdir()
    track(draft(experiment="hmct-track"), tmp_path / "own")
    database = tmp_path / "own" / "mlflow.db"
    uri = f"sqlite:///file:{database}?uri=true&password={SECRET}"
    port = 20_000 + os.getpid() % 20_000
    command = [sys.executable, "-m", "hmct_track", "ui", "--port", str(port), "--lake", str(lake)]
    with (tmp_path / "out").open("wb") as out:
        server = subprocess.Popen(
            command, env=dict(os.environ, MLFLOW_TRACKING_URI=uri), stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + PATIENCE
        seen: set[str] = set()
        while "the runs are at" not in (tmp_path / "out").read_text():
            assert server.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < deadline
            seen.update(arguments_of(psutil.Process(server.pid)))
            time.sleep(0.1)
        started = psutil.Process(server.pid).children(recursive=True)
        assert any("uvicorn" in line for line in seen)
        assert not [line for line in seen if SECRET in line]
        begin = time.monotonic()
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert time.monotonic() - begin < 2
        assert not [process for process in started if process.is_running()]
    finally:
        signal.signal(signal.SIGINT, before)
        server.kill()
    told = (tmp_path / "out").read_text()
    assert SECRET not in told and "Traceback" not in told
    assert re.search(r"http://127\.0\.0\.1:\d+/#/experiments/1/runs\?\S*viewStateShareKey", told)
