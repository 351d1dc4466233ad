"""MLflow's runs in a real PostgreSQL, as a team should have them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hmct_track import demo
from hmct_track.lake import Lake, find_runs
from tests.conftest import Cli
from tests.support.postgres import postgres_server, programs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folder = programs()
    if folder is None:
        pytest.skip("there is no PostgreSQL here; apt-get install postgresql")
    with postgres_server(folder) as uri:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(uri, "artifacts")  # its tables, once, as a server makes them
        yield uri


def test_several_track_to_postgresql_at_once_and_gc_follows_it(
    address: str, tmp_path: Path, process: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    command = [sys.executable, "-m", "hmct_track", "get-sensitivity-of-nodes", demo.model_path()]
    command += [demo.calibration_data_path(), "-d", "1", "-i", "Conv_2", "--lake", "lake"]
    started = [subprocess.Popen(map(str, command), cwd=tmp_path) for _ in range(2)]
    assert [process.wait(300) for process in started] == [0, 0]
    lake = Lake.open(tmp_path / "lake")
    runs = find_runs(lake)
    client = MlflowClient(tracking_uri=address)
    for row in runs:
        told = client.get_run(row["mlflow_run_id"] or "")
        assert told.info.status == "FINISHED" and told.data.metrics
        assert row["mlflow_uri"] == address.replace("postgres@", ""), "no name of a user"
    assert not (tmp_path / "lake" / "mlflow.db").exists()
    client.delete_run(runs[0]["mlflow_run_id"] or "")
    assert process("lake", "gc", "--lake", "lake").returncode == 0
    assert [row["run_id"] for row in find_runs(Lake.open(lake.path))] == [runs[1]["run_id"]]
