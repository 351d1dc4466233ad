"""Time of ``runall`` against that of its seven commands one by one, each with its run in MLflow.

Run ``python -m benchmarks.runall [MODEL ...]``; see benchmarks/README.md. Every command is a
process of its own and writes a lake of its own, so none finds what another measured. All of them
wait for MLflow (``--wait``): what a command leaves to a process behind it would be in the way of
the next one, and is work all the same.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from benchmarks.engine import subject
from hmct_track.debug import get_sensitivity_of_nodes

NAMES = ("docorient", "ocr-rec")
TOP = 5


def top_nodes(model: Path, data: Path, folder: Path) -> list[str]:
    """The calibration nodes that runall draws: those of each ranking's worst."""
    found: list[str] = []
    for node_type in ("weight", "activation"):
        ranking = get_sensitivity_of_nodes(
            str(model),
            calibrated_data=str(data),
            node_type=node_type,
            data_num=None,
            lake=folder,
            track=False,
        )
        found += list(ranking)[:TOP]
    return found


def seconds(folder: Path, *arguments: str) -> float:
    """How long a command takes from its start to its end."""
    command = [sys.executable, "-m", "hmct_track", *arguments, "--lake", str(folder), "--wait"]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - this program
    return time.perf_counter() - began


def compare(name: str, count: int, folder: Path) -> None:
    """Print a row of the table."""
    case = subject(name, count)
    model, data = folder / "model.onnx", folder / "data"
    onnx.save(case.model, model)
    for key in case.samples[0]:
        (data / key).mkdir(parents=True)
        for k, sample in enumerate(case.samples):
            np.save(data / key / f"{k:03}.npy", sample[key])
    files = str(model), str(data)
    samples = str(count)  # the documented default of some commands is 1
    nodes = str(top_nodes(model, data, folder / "first"))
    out = str(folder / "figures")
    commands = [
        ("get-sensitivity-of-nodes", *files, "-n", "weight", "-d", samples),
        ("get-sensitivity-of-nodes", *files, "-n", "activation", "-d", samples),
        ("plot-distribution", *files, "-n", nodes, "-s", out),
        ("get-channelwise-data-distribution", *files, "-n", nodes, "-s", out),
        ("plot-acc-error", *files, "-q", "['weight','activation']", "-s", out),
        ("sensitivity-analysis", *files, "-d", samples, "-sd", out),
        ("diagnose", *files, "-k", str(TOP), "-d", samples, "-s", out),
    ]
    each = [seconds(folder / f"lake{k}", *command) for k, command in enumerate(commands)]
    every = seconds(folder / "lake", "runall", *files, "-s", str(folder / "all"))
    parts = " + ".join(f"{s:.1f}" for s in each)
    print(
        f"| {name} | {count} | {parts} = {sum(each):.1f} s | {every:.1f} s "
        f"| {sum(each) / every:.1f} |",
        flush=True,
    )


def main() -> None:
    """Print a row per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="MODEL", help=str(NAMES))
    parser.add_argument("--samples", type=int, default=8)
    args = parser.parse_args()
    print("| model | samples | seven commands | runall | ratio |")
    print("|---|---|---|---|---|")
    for name in args.names:
        with TemporaryDirectory() as folder:
            compare(name, args.samples, Path(folder))


if __name__ == "__main__":
    main()
