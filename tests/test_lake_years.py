"""A lake that grows for years: what merges by itself, what a question opens, what is let go."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmct_track.cli import main
from hmct_track.errors import QueryError, UsageError
from hmct_track.lake import (
    CONFIGS,
    MEASUREMENTS,
    MODELS,
    NODES,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    TABLES,
    Lake,
    care,
    dropping,
    duck,
    find_run,
    find_runs,
    layout,
    set_tag,
)
from hmct_track.lake.care import check, compact, stored, tidied, tidy
from hmct_track.lake.layout import Piece, merges, part_name, span_of
from tests.support.rows import measurement_row, node_row, run_row

START = datetime(2024, 1, 1)


def model_id(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()[:32]


def add_run(lake: Lake, number: int, **changes: Any) -> str:
    """A finished ranking of two nodes on two samples; three runs of each model."""
    model = model_id(number // 3)
    started = START + timedelta(hours=number)
    run_id = f"{started:%Y%m%dT%H%M%S}000-{number:08x}"
    row = {"model_id": model, "name": "g", "opset": 13, "general_nodes": 2, "inputs": []}
    row |= {"quantizable_nodes": 2, "calibration_nodes": 0, "outputs": []}
    nodes = [f"net_{number // 3}_a", "everywhere"]
    lake.append(MODELS, [row])
    lake.append(NODES, [node_row(model, n, k, "Conv", "x", "y") for k, n in enumerate(nodes)])
    data = f"d{number % 2}"
    samples = [{"data_id": data, "position": k, "sample_id": f"{data}{k}"} for k in range(2)]
    lake.append(SAMPLES, [{**sample, "source": ""} for sample in samples])
    lake.append(CONFIGS, [{"config_id": node, "config": "{}"} for node in nodes])
    about = {
        "state": "FINISHED",
        "model_id": model,
        "data_id": data,
        "model_path": f"/{model}.onnx",
    }
    about |= {"parameters": '{"node_type": "node"}', "metrics": ["sqnr"], "data_num": 2}
    about |= {"started_at": started} | changes
    lake.append(RUNS, [run_row(run_id, version=0, **about | {"state": "RUNNING"})])
    plan = [{"run_id": run_id, "position": k, "subject": n} for k, n in enumerate(nodes)]
    lake.append(RUN_CONFIGS, [{**p, "config_id": p["subject"], "role": "only"} for p in plan])
    measured = [
        measurement_row(node, model_id=model, sample_id=f"{data}{k}", run_id=run_id, sum_dd=d + k)
        for d, node in enumerate(nodes, start=1 + number // 3)
        for k in range(2)
    ]
    lake.append(MEASUREMENTS, measured)
    lake.append(RUNS, [run_row(run_id, version=2, **about)])
    return run_id


def contents(lake: Lake) -> dict[str, list[Any]]:
    """All rows, but for which of the runs that measured the same is told."""
    return {
        table.name: sorted(
            (tuple(v for k, v in row.items() if k != "run_id" or table is not MEASUREMENTS))
            for row in ({k: repr(v) for k, v in row.items()} for row in lake.rows(table))
        )
        for table in TABLES
    }


def as_of_an_older_program(lake: Lake) -> None:
    about = json.loads((lake.path / "lake.json").read_text())
    del about["layout"]
    (lake.path / "lake.json").write_text(json.dumps(about))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes under which a hundred rows are many, and no wait for readers."""
    monkeypatch.setattr(care, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(layout, "WHOLE", 12_000)
    monkeypatch.setattr(layout, "TINY_PARTS", 8)
    for module in (layout, care):
        monkeypatch.setattr(module, "BUDGET", 24_000)


@pytest.mark.usefixtures("small")
def test_a_question_opens_only_parts_that_may_hold_its_rows(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    runs = [add_run(lake, number) for number in range(24)]
    before = contents(lake)
    asked = {
        "sensitivity": {"run_id": runs[7], "metric": "sqnr"},
        "node_history": {"node": "net_2_a", "metric": "sqnr"},
        "rankings": {"model_id": model_id(2)},
        "run_list": {"family": runs[7]},
        "runs": {"model_id": model_id(2)},
    }
    answers = {name: lake.query(name, **given) for name, given in asked.items()}  # type: ignore[call-overload]
    counts = {name: len(rows) for name, rows in answers.items()}
    assert counts == dict(zip(asked, (2, 3, 3, 1, 3), strict=True))
    assert compact(lake)["measurements"][1] > 1, "divided by key"
    lake = Lake.open(tmp_path)
    assert contents(lake) == before and check(lake) == [] and compact(lake) == {}
    keys = {"run_id": set(runs[6:9]), "model_id": {model_id(2)}, "data_id": {"d0", "d1"}}
    broken = 0
    for table in TABLES:
        for part in care.parts_of(lake, table):
            span, own = span_of(part.stem), keys.get(table.key[0])
            if span and own and not any(span.low <= key <= span.high for key in own):
                part.write_bytes(b"no Parquet")
                broken += 1
    assert broken > 1
    for name, given_ in asked.items():
        assert Lake.open(tmp_path).query(name, **given_) == answers[name]  # type: ignore[call-overload]
    with pytest.raises(QueryError):
        Lake.open(tmp_path).query("metrics")


def test_an_answer_is_given_again_until_the_parts_that_it_read_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.create(tmp_path)
    run, other = add_run(lake, 0), add_run(lake, 3)
    asked: list[str] = []
    execute = duck.Asked.execute

    def counted(self: duck.Asked, sql: str, *given: Any, **more: Any) -> tuple[str, ...]:
        asked.append(sql)
        return execute(self, sql, *given, **more)

    monkeypatch.setattr(duck.Asked, "execute", counted)
    first = lake.query("sensitivity", run_id=run, metric="sqnr")
    asked.clear()
    again = lake.query("sensitivity", run_id=run, metric="sqnr")
    assert (again, asked) == (first, []) and again is not first
    # Another run, another metric, and a part more are asked for.
    ranked = [
        lake.query("sensitivity", run_id=r, metric=m) for r, m in ((other, "sqnr"), (run, "mse"))
    ]
    assert asked and first not in ranked
    row = {"run_id": run, "position": 2, "subject": "third", "config_id": "everywhere"}
    lake.append(RUN_CONFIGS, [{**row, "role": "only"}])
    more = lake.query("sensitivity", run_id=run, metric="sqnr")
    assert more == Lake.open(tmp_path).query("sensitivity", run_id=run, metric="sqnr")
    assert {r["subject"] for r in more} - {r["subject"] for r in first} == {"third"}


@pytest.mark.usefixtures("small")
def test_a_lake_cares_for_itself_when_runs_end(tmp_path: Path) -> None:
    lake, other = Lake.create(tmp_path / "own"), Lake.create(tmp_path / "never")
    largest, sizes = 0, []
    for number in range(40):
        add_run(other, number)
        add_run(lake, number)
        done = tidy(lake)
        if done and number:
            largest = max(largest, done.size)
            sizes.append(done.parts)
    assert sizes and 0 < largest <= care.BUDGET
    assert contents(Lake.open(lake.path)) == contents(other) and check(lake) == []
    parts = sum(table.parts for table in stored(lake).values())
    assert parts < sum(table.parts for table in stored(other).values()) / 3
    told = tidied(lake)
    assert told["times"] >= len(sizes) and told["bytes"] >= largest
    assert not list(lake.path.glob(".tidying"))


@pytest.mark.usefixtures("small")
def test_a_lake_of_an_older_program_is_laid_out_by_the_first_run(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    runs = [add_run(lake, number) for number in range(5)]
    before = contents(lake)
    for table in TABLES:  # as an older program named them
        for number, part in enumerate(care.parts_of(lake, table)):
            part.rename(part.with_name(f"{number:032x}.parquet"))
    as_of_an_older_program(lake)
    assert contents(Lake.open(tmp_path)) == before
    done = tidy(Lake.open(tmp_path))
    assert done and done.parts > done.made
    assert contents(Lake.open(tmp_path)) == before
    spans = [span_of(part.stem) for part in care.parts_of(lake, RUNS)]
    assert None not in spans
    assert find_run(Lake.open(tmp_path), runs[3])["run_id"] == runs[3]


def test_only_one_process_tidies_and_a_killed_one_holds_nobody_up(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    for number in range(3):
        add_run(lake, number)
    as_of_an_older_program(lake)
    claim = tmp_path / ".tidying"
    claim.write_text("")
    assert tidy(lake) is None and claim.exists()
    os.utime(claim, (0, 0))
    assert tidy(lake) and not claim.exists()


names = st.sampled_from(["", *"0123456789abcdef"])
pieces_of = st.lists(st.tuples(names, st.integers(1, 3 * layout.WHOLE)), max_size=60)


@given(pieces_of, st.sampled_from([RUNS, MEASUREMENTS]), st.booleans())
def test_what_is_merged_at_a_time_is_bounded_and_no_part_is_merged_twice(
    found: Sequence[tuple[str, int]], table: Any, all_small: bool
) -> None:
    pieces = [
        Piece(Path(f"{part_name(int(bool(key)), [key + '00', key + 'ff'])}.parquet"), size)
        for key, size in found
    ]
    chosen = merges(table, pieces, all_small=all_small)
    used = [piece for merge in chosen for piece in merge.pieces]
    assert len(used) == len(set(used)) and set(used) <= set(pieces)
    for merge in chosen:
        assert merge.size <= layout.BUDGET or len(merge.pieces) == 1
        assert len(merge.pieces) > 1 or merge.divide or merge.size >= layout.WHOLE
        spans = [piece.span for piece in merge.pieces]
        assert len({span.group for span in spans if span}) == 1


@pytest.mark.usefixtures("small")
def test_what_a_merge_brings_back_while_runs_are_dropped_goes_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.create(tmp_path)
    runs = [add_run(lake, number) for number in range(6)]
    gone, kept = runs[:4], runs[4:]  # of one model all runs, of the other one of three
    expected = {run: lake.query("sensitivity", run_id=run, metric="sqnr") for run in kept}
    rewrite, merged = dropping.rewrite, []

    def beside(connection: Any, table: Any, part: Path, condition: str) -> list[Path] | None:
        if table in (MEASUREMENTS, RUNS) and table not in merged:
            merged.append(table)
            # Another process merges what was listed, the first part before it is read.
            other = Lake.open(tmp_path)
            other.write_merged(table, care.parts_of(other, table))
            part.unlink()
        return rewrite(connection, table, part, condition)

    monkeypatch.setattr(dropping, "rewrite", beside)
    care.drop_runs(lake, gone)
    assert merged == [MEASUREMENTS, RUNS]
    left = Lake.open(tmp_path)
    assert sorted(row["run_id"] for row in find_runs(left)) == kept
    assert {run: left.query("sensitivity", run_id=run, metric="sqnr") for run in kept} == expected
    assert left.sql("SELECT count(*) FROM measurements").rows == [(8,)]
    assert check(left) == []
    (tmp_path / ".tidying").touch()
    with pytest.raises(UsageError, match="being merged by another process"):
        care.drop_runs(left, kept)


def test_a_run_is_found_with_its_steps_and_those_that_run_with_their_newest_row(
    tmp_path: Path,
) -> None:
    lake = Lake.create(tmp_path)
    first = add_run(lake, 0)
    steps = [add_run(lake, number, parent_run_id=first) for number in (2, 5)]
    add_run(lake, 7)
    killed = add_run(lake, 8, state="RUNNING", pid=1, host="elsewhere")
    told = lake.query("run_list", family=first)
    assert [row["run_id"] for row in told] == [first, *steps]
    assert [row["run_id"] for row in find_runs(lake, family=steps[0])] == steps[:1]
    assert [row["run_id"] for row in lake.rows(RUNS, [steps[0]])] == steps[:1]
    assert lake.rows(RUNS, []) == []
    assert [row["run_id"] for row in lake.query("running")] == [killed]
    care.mark_killed(lake, [killed, first])
    assert lake.query("running") == []
    states = {row["run_id"]: row["state"] for row in lake.rows(RUNS, [killed, first])}
    assert states == {killed: "KILLED", first: "FINISHED"}


def test_newest_runs_are_found_without_the_others(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    rows = [
        run_row(
            f"{START + timedelta(hours=k):%Y%m%dT%H%M%S}000-{k:08x}",
            state="FINISHED" if k % 50 == 0 else "FAILED",
            started_at=START + timedelta(hours=k),
        )
        for k in range(900)
    ]
    lake.append(RUNS, rows)
    everything = find_runs(lake)
    assert [row["run_id"] for row in everything] == [row["run_id"] for row in reversed(rows)]
    for filters in ({}, {"state": "FINISHED"}, {"model": "m"}, {"state": "KILLED"}):
        fitting = [r for r in everything if filters.get("state") in (None, r["state"])]
        for most in (1, 20, 2000):
            assert find_runs(lake, most=most, **filters) == fitting[:most]
    assert find_run(lake, "latest~1")["run_id"] == rows[800]["run_id"]
    assert find_run(lake, rows[5]["run_id"][:-2])["run_id"] == rows[5]["run_id"]


def test_a_part_whose_name_tells_wrong_keys_is_told(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    lake.append(CONFIGS, [{"config_id": "ab", "config": "{}"}])
    (part,) = care.parts_of(lake, CONFIGS)
    part.rename(part.with_name(f"{part_name(0, ['b', 'c'])}.parquet"))
    (line,) = check(lake)
    assert "config_id that its name says is not in it" in line


def test_runs_are_let_go_by_age_and_goodness_when_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = Lake.create(tmp_path)
    now = datetime.now(UTC).replace(tzinfo=None)
    good = {0: 10.0, 1: 30.0, 2: 20.0, 3: None, 4: float("nan"), 5: 5.0}
    runs = [
        add_run(lake, k, whole_value=value, started_at=now - timedelta(days=100 - k))
        for k, value in good.items()
    ]
    recent = add_run(lake, 6, started_at=now)
    set_tag(lake, "baseline", runs[0])

    def gc(*options: str) -> str:
        assert main(["lake", "gc", "--lake", str(tmp_path), *options]) == 0
        return capsys.readouterr().out

    told = gc("--keep-best", "1", "--older-than", "30")
    assert "nothing was dropped" in told and len(find_runs(lake)) == 7
    assert all(run in told for run in (runs[2], runs[3], runs[4])) and recent not in told
    assert f"stay, as they are tagged: {runs[0]}" in told and runs[1] not in told
    assert "dropped 3 runs" in gc("--keep-best", "1", "--older-than", "30", "--yes")
    left = Lake.open(tmp_path)
    kept = {row["run_id"] for row in find_runs(left)}
    assert kept == {runs[0], runs[1], runs[5], recent} and check(left) == []
    assert left.query("sensitivity", run_id=runs[1], metric="sqnr")
    with pytest.raises(SystemExit):
        main(["lake", "gc", "--lake", str(tmp_path), "--keep-best", "0"])


@pytest.mark.usefixtures("small")
def test_other_tools_read_it_as_it_is(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    for number in range(12):
        add_run(lake, number)
    compact(lake)
    add_run(lake, 12)
    lake.write_database()
    folder = tmp_path / "tables" / "measurements"
    expected = sorted(row["sum_dd"] for row in lake.rows(MEASUREMENTS))
    with duckdb.connect(tmp_path / "lake.duckdb", read_only=True) as client:
        found = client.sql("SELECT sum_dd FROM measurements").fetchall()
        frame = client.sql("FROM results").df()
    assert sorted(value for (value,) in found) == expected
    assert isinstance(frame, pd.DataFrame) and len(frame) == 13 * 4
    # A row may lie in several files, so that its key is taken once.
    key = list(MEASUREMENTS.key)
    own = pd.read_parquet(folder).drop_duplicates(key)
    assert sorted(own["sum_dd"]) == expected
    lazy = pl.scan_parquet(folder / "*.parquet").unique(key)
    assert sorted(lazy.collect()["sum_dd"]) == expected
    assert lazy.filter(pl.col("model_id") == model_id(4)).collect().height == 4
