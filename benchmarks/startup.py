"""From Enter to the table and to the prompt, against what nobody can do without.

``python -m benchmarks.startup [MODEL DATA] [ROUNDS]``, by default on the demo. Each way is a
process of its own, and the rounds take turns, so that a load of the machine meets all alike.
Printed are the smallest of each way: seconds, and the processor time of the process, which a load
moves less.

- floor: a script that imports onnx and onnxruntime, loads the model and runs it once, without its
  calibration nodes, which onnxruntime does not know;
- imports: Python with what the command imports, which is what a known answer is measured against;
- new, known: a ranking on one sample that the lake does not have, and one that it has;
- untracked: the same as known, with ``--no-track``;
- waited: the same as known, with ``--wait``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, cast

from hmct_track import demo

ROUNDS = 5
_FLOOR = """
import sys, numpy, onnx, onnxruntime
model = onnx.load(sys.argv[1])
kept = [n for n in model.graph.node if n.op_type != "HzCalibration"]
same = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "HzCalibration"}
for node in kept:
    for k, name in enumerate(node.input):
        while name in same:
            name = same[name]
        node.input[k] = name
del model.graph.node[:]
model.graph.node.extend(kept)
session = onnxruntime.InferenceSession(model.SerializeToString())
given = {}
for spec in session.get_inputs():
    shape = [size if isinstance(size, int) else 1 for size in spec.shape]
    given[spec.name] = numpy.zeros(shape, numpy.float32)
session.run(None, given)
print("done")
"""
_IMPORTS = """
import duckdb, pyarrow.parquet, onnx, onnxruntime
import hmct_track.analyses.runner, hmct_track.lake.parts
print("done")
"""


class Took:
    """Of one process: seconds to its first line and to its end, and of its processor."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        start = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - this program
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        output = cast(IO[bytes], process.stdout)
        output.readline()
        self.line = time.perf_counter() - start
        output.read()
        # The processor time of this child alone, not of what it leaves behind.
        _, status, used = os.wait4(process.pid, 0)
        self.end = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        self.processor = used.ru_utime + used.ru_stime
        if process.returncode:
            raise SystemExit(f"{command} failed: {process.returncode}")


def main() -> None:
    """Print a table and the ratios."""
    given = sys.argv[1:]
    rounds = int(given.pop()) if given and given[-1].isdecimal() else ROUNDS
    model, data = given or [str(demo.model_path()), str(demo.calibration_data_path())]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lake = str(Path(folder) / "lake")
        rank = [sys.executable, "-m", "hmct_track", "get-sensitivity-of-nodes", model, data]
        rank += ["-d", "1", "--no-progress", "--lake", lake]
        ways = {
            "floor": [sys.executable, "-c", _FLOOR, model],
            "imports": [sys.executable, "-c", _IMPORTS],
            "new": [*rank, "--no-reuse"],
            "known": rank,
            "untracked": [*rank, "--no-track"],
            "waited": [*rank, "--wait"],
        }
        # The recorder would be measured with the others: it is left out, and starting it is not.
        quiet = {**os.environ, "HMCT_RECORD": "later"}
        quiet.pop("MLFLOW_TRACKING_URI", None)
        quiet.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody compiles all modules each time
        Took(ways["waited"], quiet)  # byte code, the system's cache of files, MLflow's database
        took: dict[str, list[Took]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, command in ways.items():
                took[name].append(Took(command, quiet))
        detached = {**quiet, "HMCT_RECORD": "detached"}
        took["detached"] = [Took(rank, detached)]
        _settled(rank, quiet)
    print("| way | first line | end | end after first line | processor |\n|---|---|---|---|---|")
    for name, every in took.items():
        line, end = min(t.line for t in every), min(t.end for t in every)
        after, used = min(t.end - t.line for t in every), min(t.processor for t in every)
        print(f"| {name} | {line:.2f} | {end:.2f} | {after:.2f} | {used:.2f} |")
    cost = {name: min(t.processor for t in every) for name, every in took.items()}
    first = {name: min(t.line for t in every) for name, every in took.items()}
    print(f"table / floor: {first['new'] / first['floor']:.2f}")
    print(f"table / floor, the lake has the answer: {first['known'] / first['floor']:.2f}")
    print(f"known / imports, processor: {cost['known'] / cost['imports']:.2f}")
    print(f"waited / known, processor: {cost['waited'] / cost['known']:.2f}")
    print(f"load at the start {load:.1f}, at the end {os.getloadavg()[0]:.1f}")


def _settled(rank: list[str], environment: dict[str, str]) -> None:
    """Wait for the recorder, which would go on in a lake that is gone."""
    lake = rank[rank.index("--lake") + 1]
    command = [sys.executable, "-m", "hmct_track", "lake", "status", "--tell", "--lake", lake]
    subprocess.run(command, env=environment, check=True, stdout=sys.stderr)  # noqa: S603


if __name__ == "__main__":
    main()
