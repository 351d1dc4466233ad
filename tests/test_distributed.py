"""Measuring on Dask workers gives what measuring here gives, whatever happens to workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

import hmct_track.debug as dbg
import hmct_track.demo
from hmct_track.engine import PAIRS, Engine, distributed
from hmct_track.engine.blocks import LEAST_SECONDS, MOST_SECONDS, TASK_SECONDS, Pool
from hmct_track.engine.distributed import Connection, DistributedEngine, apart, check_versions
from hmct_track.engine.protocols import Evaluator
from hmct_track.engine.remote import Facts
from hmct_track.errors import UsageError
from hmct_track.lake import MEASUREMENTS, Lake, Table
from hmct_track.lake.care import compact
from hmct_track.model import load_model
from hmct_track.recording.shared import Measurer, SharedLake
from tests.support.evaluator_contract import CONFIGS, OUTPUTS, EvaluatorContract, by_key, network

DEMO = Path(hmct_track.demo.__file__).parent


def drain(pool: Pool, workers: int, seconds: float | None) -> list[int]:
    """Take everything; the sizes of the tasks, whose cost is told if it is known."""
    sizes = []
    while blocks := pool.take(workers):
        sizes.append(sum(block.units for block in blocks))
        if seconds is not None:
            pool.learn(sizes[-1], sizes[-1] * seconds)
    return sizes


@pytest.mark.parametrize("seconds", [None, 1e-6, 0.01, 1.0, 100.0])
@pytest.mark.parametrize(("configs", "samples", "workers"), [(1, 1, 4), (7, 3, 16), (40, 50, 2)])
def test_tasks_are_all_that_is_missing_once(
    configs: int, samples: int, workers: int, seconds: float | None
) -> None:
    ids, names = [f"c{k}" for k in range(configs)], [f"s{k}" for k in range(samples)]
    every = [(c, s) for c in ids for s in names]
    known = every[1::3]
    pool = Pool(ids, names, known)
    lost = pool.take(workers)
    pool.give_back(lost)
    found: Counter[tuple[str, str]] = Counter()
    while blocks := pool.take(workers):
        found.update((ids[k], s) for b in blocks for k in b.todo for s in b.samples)
        if seconds:
            pool.learn(sum(b.units for b in blocks), seconds * sum(b.units for b in blocks))
    assert found == Counter(set(every) - set(known))


def test_tasks_are_sized_by_cost_and_the_biggest_go_first() -> None:
    ids, names = [f"c{k}" for k in range(200)], [f"s{k}" for k in range(500)]
    pool = Pool(ids, names)
    pool.learn(1000, 10.0)
    sizes = drain(pool, 8, 0.01)
    assert sizes[0] * 0.01 == pytest.approx(TASK_SECONDS, rel=0.2)
    assert min(sizes[:-1]) * 0.01 >= LEAST_SECONDS  # the last one is the rest
    assert sizes == sorted(sizes, reverse=True)


def test_samples_are_split_where_they_are_fewer_than_workers_or_take_too_long() -> None:
    ids = [f"c{k}" for k in range(100)]
    assert drain(Pool(ids, ["s"]), 4, None)[0] < 100 / 4
    pool = Pool(ids, [f"s{k}" for k in range(100)])
    pool.learn(1, 1.0)
    assert max(drain(pool, 4, 1.0)) <= MOST_SECONDS


OWN = Facts("a CPU", "onnxruntime-1", "0.1", 1)


@pytest.mark.parametrize(
    "other",
    [
        Facts("a CPU", "onnxruntime-2", "0.1", 1),
        Facts("a CPU", "onnxruntime-1", "0.2", 1),
        Facts("a CPU", "onnxruntime-1", "0.1", 2),
    ],
)
def test_versions_that_differ_are_told(other: Facts) -> None:
    check_versions("tcp://there:1", Facts("another CPU", *list(vars(OWN).values())[1:]), OWN)
    with pytest.raises(UsageError, match=r"tcp://there:1 has .* here it is .* same versions"):
        check_versions("tcp://there:1", other, OWN)


def test_kinds_of_workers_that_compute_differently_are_told() -> None:
    x = np.array([3.0, 4.0], np.float32)
    assert apart({"a": {"y": x}, "b": {"y": x.copy()}}) == []
    (line,) = apart({"a": {"y": x}, "b": {"y": x + np.float32([0, 0.005])}})
    assert "1.0e-03" in line and "with a and" in line


@pytest.mark.parametrize("address", ["host:8786", "tcp://host", "http://host:1", "", 5])
def test_an_address_that_is_none_is_told(address: Any) -> None:
    with pytest.raises(UsageError, match="expected the address of a Dask scheduler"):
        Connection(address)


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_one_line_after_a_short_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distributed, "WAIT_SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        Connection("tcp://127.0.0.1:9")
    assert time.monotonic() - began < 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, processes=True, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as made:
        yield made


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as made:
        made.wait_for_workers(2, timeout=120)
        yield made


@pytest.mark.slow
def test_a_scheduler_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "WAIT_SECONDS", 0.5)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        Client(empty, set_as_default=False) as own,
        pytest.raises(UsageError, match="has no workers within"),
    ):
        Connection(own)


@pytest.mark.slow
class TestDistributed(EvaluatorContract):
    """The contract, kept by processes of a cluster."""

    @pytest.fixture
    def evaluator(self, client: Client) -> Evaluator:
        return DistributedEngine(load_model(network()), Connection(client))


@pytest.mark.slow
def test_a_killed_worker_loses_and_doubles_nothing(client: Client) -> None:
    model = load_model(network())
    samples = {
        str(k): {"x": np.random.default_rng(k).normal(0, 1, (2, 5)).astype(np.float32)}
        for k in range(40)
    }
    engine = DistributedEngine(model, Connection(client))
    victim = next(iter(client.run(os.getpid).values()))
    running = engine.evaluate(CONFIGS, samples, OUTPUTS)
    found = [next(running)]
    os.kill(victim, signal.SIGKILL)
    found += running
    assert victim not in client.run(os.getpid).values()
    assert len(found) == len(CONFIGS) * len(samples) * len(OUTPUTS)
    assert by_key(found) == by_key(list(Engine(model).evaluate(CONFIGS, samples, OUTPUTS)))


@pytest.mark.slow
def test_a_scheduler_that_is_restarted_loses_and_doubles_nothing() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def started() -> LocalCluster:
        return LocalCluster(
            n_workers=1, processes=False, scheduler_port=port, dashboard_address=":0",
            silence_logs=50,
        )  # fmt: skip

    model = load_model(network())
    samples = {
        str(k): {"x": np.random.default_rng(k).normal(0, 1, (2, 5)).astype(np.float32)}
        for k in range(20)
    }
    with started():
        connection = Connection(f"tcp://127.0.0.1:{port}")
        engine = DistributedEngine(model, connection)
        running = engine.evaluate(CONFIGS, samples, OUTPUTS)
        found = [next(running)]
    with started():
        found += running
        connection.close()
    assert len(found) == len(CONFIGS) * len(samples) * len(OUTPUTS)
    assert by_key(found) == by_key(list(Engine(model).evaluate(CONFIGS, samples, OUTPUTS)))


@pytest.mark.slow
def test_ctrl_c_cancels_the_tasks_and_keeps_what_was_measured(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"lake": tmp_path / "lake", "track": False, "progress": False}
    asked: dict[str, Any] = {
        "model_or_file": DEMO / "calibrated_model.onnx",
        "calibrated_data": DEMO / "calibration_data",
        "data_num": 4,
        "interested_nodes": ["Conv_21", "Conv_10"],
    }
    done: list[int] = []

    def pressed(_: Pool, units: int, seconds: float) -> None:
        assert seconds > 0
        done.append(units)
        if len(done) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Pool, "learn", pressed)
    with pytest.raises(KeyboardInterrupt):
        dbg.get_sensitivity_of_nodes(**asked, **given, scheduler=client)
    lake = Lake.open(tmp_path / "lake")
    (row,) = lake.query("run_list")
    kept = len(lake.rows(MEASUREMENTS))
    assert row["state"] == "KILLED" and sum(done) <= kept < 12
    until = time.monotonic() + 30
    while any(client.processing().values()):
        assert time.monotonic() < until, "tasks go on"
        time.sleep(0.1)
    monkeypatch.undo()
    there = dbg.get_sensitivity_of_nodes(**asked, **given, scheduler=client)
    assert there == dbg.get_sensitivity_of_nodes(**asked, **given, reuse=False)


def test_rows_that_workers_write_count_once_and_only_in_the_lake_that_is_meant(
    tmp_path: Path,
) -> None:
    model = load_model(network())
    x = {"x": np.random.default_rng(0).normal(0, 1, (2, 5)).astype(np.float32)}
    records = list(Engine(model).records(CONFIGS, {"s": x}, OUTPUTS, [PAIRS]))
    lake = Lake.create(tmp_path / "lake")
    measurer = Measurer(model.model_id, "onnxruntime", "r")
    shared = SharedLake.mark(lake, measurer, moved=False)
    assert shared
    parts = [shared.keep(records), shared.keep(records)]  # a task that was lost and done again
    assert None not in parts and len(set(parts)) == 2
    assert len(lake.rows(MEASUREMENTS)) == len(records)
    compact(lake)
    assert len(Lake.open(lake.path).rows(MEASUREMENTS)) == len(records)
    shared.await_parts([str(part) for part in parts])  # merged meanwhile
    for other in (
        replace(shared, content="guessed"),
        replace(shared, place=str(tmp_path / "nowhere")),
        replace(shared, marker=".shared-0.tmp"),
    ):
        assert other.keep(records) is None
    shared.close()
    assert shared.keep(records) is None
    assert not (tmp_path / "nowhere").exists()


def unseen(lake: Lake, measurer: Measurer, *, moved: bool) -> SharedLake:
    """A marker that no worker finds."""
    return SharedLake(str(lake.path), ".shared-0.tmp", "", moved, measurer)


@pytest.mark.slow
def test_a_ranking_is_the_local_one_and_says_what_computed_it(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"lake": tmp_path / "lake", "track": False, "progress": False}
    asked: dict[str, Any] = {
        "model_or_file": DEMO / "calibrated_model.onnx",
        "calibrated_data": DEMO / "calibration_data",
        "data_num": 2,
        "interested_nodes": ["Conv_21", "Conv_10"],
    }
    written: list[str] = []
    append = Lake.append

    def noted(lake: Lake, table: Table, rows: Any, part: str | None = None) -> None:
        written.append(table.name)
        append(lake, table, rows, part)

    monkeypatch.setattr(Lake, "append", noted)
    there = dbg.get_sensitivity_of_nodes(**asked, **given, scheduler=client)
    assert "runs" in written and "measurements" not in written, "workers wrote them"
    here = dbg.get_sensitivity_of_nodes(**asked, **given, reuse=False)
    assert there == here
    # In a folder that only this machine's name is the same of, workers send them back.
    monkeypatch.setattr(SharedLake, "mark", unseen)
    written.clear()
    back = dbg.get_sensitivity_of_nodes(**asked, **given, scheduler=client, reuse=False)
    assert "measurements" in written and back == here
    assert list((tmp_path / "lake").glob(".shared-*")) == []
    rows = Lake.open(tmp_path / "lake").query("run_list")
    kept = {row["run_id"]: json.loads(row["parameters"]) for row in rows}
    (kind,) = kept[there.run_id]["computed_on"]  # type: ignore[attr-defined]
    assert kind[0] in "12" and " x " in kind and "onnxruntime-" in kind
    assert "computed_on" not in kept[here.run_id]  # type: ignore[attr-defined]
