"""Kills a writer of a lake at each file that it renames or removes, or at any moment.

``python -m tests.support.kills FOLDER WHAT {renames,moments} COUNT`` prints a line of JSON: how
many were killed, how many ended, and what was wrong after one of them. WHAT is analysis, compact,
tidy or import.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.lake import TABLES, Lake, care, sift
from hmct_track.lake import archive as archives

Work = Callable[[Path], object]

_OF_THE_RUN = {"run_id", "started_at", "ended_at", "updated_at", "pid", "version", "noise_floor"}
"""The floor is of what a run measured itself, which is less after a kill."""


def analysis(lake: Path) -> None:
    """A ranking of three nodes."""
    dbg.get_sensitivity_of_nodes(
        demo.model_path(),
        calibrated_data=demo.calibration_data_path(),
        data_num=1,
        interested_nodes=["Conv_2", "Conv_4", "Conv_6"],
        lake=lake,
        track=False,
    )


def compact(lake: Path) -> None:
    """Merging, without the wait for readers."""
    care.GRACE_SECONDS = 0.0
    care.compact(Lake.open(lake))


def tidy(lake: Path) -> None:
    """What merging by itself does to a lake of an older program, without the wait for readers."""
    care.GRACE_SECONDS, care.CLAIM_SECONDS = 0.0, 0
    about = json.loads((lake / "lake.json").read_text())
    about.pop("layout", None)
    (lake / "lake.json").write_text(json.dumps(about))
    (lake / "tidied.json").unlink(missing_ok=True)
    care.tidy(Lake.open(lake))


def import_run(lake: Path) -> None:
    """Another lake's run."""
    archives.import_run(Lake.create(lake), lake.parent / "run.hmct")


def forked(work: Callable[[], object]) -> int:
    """The wait status of a child that does it; threads are started in children only."""
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
        except BaseException as error:  # noqa: BLE001 - told, and the child ends here
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def killed_at(number: int, work: Callable[[], object]) -> int:
    """As `forked`, killed before its rename or removal of this number, from 0."""

    def doomed() -> None:
        left = iter(range(number))

        def hooked(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: Any, **options: Any) -> object:
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        os.replace = hooked(os.replace)  # type: ignore[assignment]
        os.unlink = hooked(os.unlink)  # type: ignore[assignment]
        work()

    return forked(doomed)


def killed_after(seconds: float, work: Callable[[], object]) -> int:
    """As `forked`, killed after this time."""

    def doomed() -> None:
        def strike() -> None:
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=strike, daemon=True).start()
        work()

    return forked(doomed)


def told(place: Path, work: Callable[[], Any]) -> Any:
    """What a child answers."""
    answer = place / "answer.json"
    answer.unlink(missing_ok=True)
    status = forked(lambda: answer.write_text(json.dumps(work(), default=str)))
    return json.loads(answer.read_text()) if status == 0 else f"status {status}"


def contents(lake: Path) -> dict[str, list[str]]:
    """Every row, but for when and by which run it was made, and the ended runs only."""
    found: dict[str, list[str]] = {}
    for table in TABLES:
        rows = Lake.open(lake).rows(table)
        kept = [r for r in rows if "state" not in r or r["state"] == "FINISHED"]
        shown = [
            {k: v for k, v in row.items() if k not in _OF_THE_RUN and k != "imported_from"}
            for row in kept
        ]
        found[table.name] = sorted({repr(sorted(row.items())) for row in shown})
    return found


def wrong(lake: Path) -> list[str]:
    """What `lake check` says; a lake that was not made yet is fine."""
    if not (lake / "lake.json").exists():
        return []
    care.part_problems = lambda parts: list(  # in this process, which is faster
        sift.part_problems([(table.name, str(path)) for table, path in parts])
    )
    opened = Lake.open(lake)
    care.mark_killed(opened, care.lost_runs(opened))
    return care.check(Lake.open(lake))


def main(place: Path, what: str, how: str, count: int) -> dict[str, Any]:
    """Kill so many times, each on a copy of the same lake, and finish the work after each."""
    works = {"analysis": analysis, "compact": compact, "tidy": tidy, "import": import_run}
    work: Work = works[what]
    start, whole, lake = place / "start", place / "whole", place / "lake"
    if what != "analysis":
        forked(lambda: analysis(start))
        forked(lambda: analysis(start))
    if what == "import":
        run = told(place, lambda: Lake.open(start).query("runs")[0]["run_id"])
        forked(lambda: archives.export_run(Lake.open(start), run, place / "run.hmct"))
        shutil.rmtree(start)

    def prepare(target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        if start.exists():
            shutil.copytree(start, target)

    prepare(whole)
    before = time.monotonic()
    assert forked(lambda: work(whole)) == 0
    takes = time.monotonic() - before
    expected = told(place, lambda: contents(whole))
    found: dict[str, Any] = {"killed": 0, "ended": 0, "problems": []}
    seeded = random.Random(11)  # noqa: S311 - moments, not secrets
    for number in range(count):
        prepare(lake)
        task = lambda: work(lake)  # noqa: E731
        if how == "renames":
            status = killed_at(number, task)
        else:
            status = killed_after(seeded.uniform(0, takes), task)
        killed = os.WIFSIGNALED(status)
        found["killed" if killed else "ended"] += 1
        for problem in told(place, lambda: wrong(lake)):
            if what != "import":  # what an import left is made up for by the next
                found["problems"].append(f"{number}: {problem}")
        if forked(lambda: work(lake)) != 0:
            found["problems"].append(f"{number}: it does not go on")
        if told(place, lambda: contents(lake)) != expected:
            found["problems"].append(f"{number}: other rows than without a kill")
        for problem in told(place, lambda: wrong(lake)):
            found["problems"].append(f"{number}: in the end {problem}")
        if how == "renames" and not killed:
            break
    return found


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))) + "\n"
    )
