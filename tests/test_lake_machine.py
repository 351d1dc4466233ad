"""A lake under any order of writing, merging, tagging, dropping, exporting and importing."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hmct_track.lake import RUNS, Lake, find_runs, set_tag
from hmct_track.lake.archive import export_run, import_run
from hmct_track.lake.care import check, compact, drop_runs
from tests.support.rows import finished_run, run_row

RUN_IDS = [f"run-{k}" for k in range(4)]
NODES = ["a", "b", "c"]
TAGS = ["baseline", "best"]


class LakeMachine(RuleBasedStateMachine):
    """The lake beside dictionaries that say what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        # Parts go a second after others have taken their place; here nobody else reads.
        self.patched.setattr("time.sleep", lambda _: None)
        self.folder = TemporaryDirectory()
        self.runs: dict[str, list[str]] = {}
        self.worst: dict[str, str | None] = {}
        self.tags: dict[str, str] = {}
        self.measured: set[str] = set()
        self.files: dict[str, tuple[list[str], str | None]] = {}
        self.clock = datetime(2026, 1, 1)

    @initialize()
    def make(self) -> None:
        self.place = Path(self.folder.name) / "lake"
        self.lake = Lake.create(self.place)

    def teardown(self) -> None:
        self.folder.cleanup()
        self.patched.undo()

    def now(self) -> datetime:
        self.clock += timedelta(seconds=1)
        return self.clock

    @rule(run_id=st.sampled_from(RUN_IDS), nodes=st.lists(st.sampled_from(NODES), unique=True))
    def run(self, run_id: str, nodes: list[str]) -> None:
        if run_id in self.runs:  # a run happens once
            return
        finished_run(self.lake, run_id, nodes, updated_at=self.now())
        self.runs[run_id] = nodes
        self.worst[run_id] = None
        self.measured |= set(nodes)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), worst=st.sampled_from(NODES))
    def write_a_newer_row(self, data: st.DataObject, worst: str) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        ended = {"state": "FINISHED", "metrics": ["mse"], "worst_node": worst}
        self.lake.append(RUNS, [run_row(run_id, **ended, updated_at=self.now())])
        self.worst[run_id] = worst

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), tag=st.sampled_from(TAGS), away=st.booleans())
    def tag(self, data: st.DataObject, tag: str, away: bool) -> None:
        run_id = None if away else data.draw(st.sampled_from(sorted(self.runs)))
        set_tag(self.lake, tag, run_id)
        self.tags.pop(tag, None)
        if run_id:
            self.tags[tag] = run_id

    @rule()
    def merge(self) -> None:
        compact(self.lake)
        assert compact(self.lake) == {}, "all is merged"

    @rule()
    def open_again(self) -> None:
        self.lake = Lake.create(self.place)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def export(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        export_run(self.lake, run_id, Path(self.folder.name) / f"{run_id}.zip")
        self.files[run_id] = (self.runs[run_id], self.worst[run_id])

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        gone = data.draw(st.sets(st.sampled_from(sorted(self.runs)), min_size=1))
        drop_runs(self.lake, sorted(gone))
        for run_id in gone:
            del self.runs[run_id], self.worst[run_id]
        self.tags = {tag: run_id for tag, run_id in self.tags.items() if run_id not in gone}
        self.measured = {node for nodes in self.runs.values() for node in nodes}

    @precondition(lambda self: self.files.keys() - self.runs.keys())
    @rule(data=st.data())
    def bring_back(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.files.keys() - self.runs.keys())))
        imported = import_run(self.lake, Path(self.folder.name) / f"{run_id}.zip")
        assert imported.added == [run_id] and not imported.kept
        self.runs[run_id], self.worst[run_id] = self.files[run_id]
        self.measured |= set(self.runs[run_id])

    @invariant()
    def it_holds_what_it_should(self) -> None:
        rows = self.lake.sql("SELECT run_id, worst_node FROM runs").rows
        assert dict(rows) == self.worst and len(rows) == len(self.worst)
        plan = "SELECT run_id, subject FROM run_configs ORDER BY run_id, position"
        expected = [(run_id, node) for run_id in sorted(self.runs) for node in self.runs[run_id]]
        assert self.lake.sql(plan).rows == expected
        configs = self.lake.sql("SELECT config_id FROM measurements").rows
        assert sorted(configs) == [(node,) for node in sorted(self.measured)]
        tags = {tag: row["run_id"] for row in find_runs(self.lake) for tag in row["tags"]}
        assert tags == self.tags
        assert check(self.lake) == []


LakeMachine.TestCase.settings = settings(max_examples=3, stateful_step_count=12, deadline=None)
TestLakeMachine = pytest.mark.slow(LakeMachine.TestCase)
