"""Peak memory and time of a ranking of a large model, by number of samples.

Run ``python -m benchmarks.memory FOLDER``; the model, 500 MB with external data and 1,500 nodes, is
made there once. Each row is a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCKS, WIDTH, ROWS = 300, 644, 64
"""1,500 general nodes in all, 300 of them MatMul, with 498 MB of weights."""
NODES = 20
"""Nodes that are ranked, spread over the model."""


def make(folder: Path) -> Path:
    """The calibrated model: blocks of MatMul, Add, Relu, Mul and a residual Add."""
    path = folder / "large.onnx"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    nodes, constants, last = [], [], "x"
    for k in range(BLOCKS):
        weight = rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) / WIDTH**0.5
        bias = np.zeros(WIDTH, np.float32)
        half = np.array(0.1, np.float32)
        for name, value in ((f"w{k}", weight), (f"b{k}", bias), (f"h{k}", half)):
            constants.append(numpy_helper.from_array(value, name))
        scale = float(np.abs(weight).max()) / 127
        for source, scales in ((last, [0.05]), (f"w{k}", [scale])):
            nodes.append(
                helper.make_node(
                    "HzCalibration",
                    [source],
                    [f"{source}_q{k}"],
                    name=f"quantize_{source}_{k}",
                    domain="horizon",
                    scales=scales,
                    thresholds=[scales[0] * 127],
                    qtype="int8",
                )
            )
        out = "y" if k == BLOCKS - 1 else f"a{k}"
        for op, inputs, output in (
            ("MatMul", [f"{last}_q{k}", f"w{k}_q{k}"], f"m{k}"),
            ("Add", [f"m{k}", f"b{k}"], f"s{k}"),
            ("Relu", [f"s{k}"], f"r{k}"),
            ("Mul", [f"r{k}", f"h{k}"], f"t{k}"),
            ("Add", [f"t{k}", last], out),
        ):
            nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{output}"))
        last = out
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, WIDTH])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("horizon", 1)]
    onnx.save_model(
        helper.make_model(graph, opset_imports=opsets, ir_version=8),
        path,
        save_as_external_data=True,
        location="large.weights",
    )
    return path


def rank(path: Path, count: int, lake: Path) -> None:
    """Rank a few nodes and print a row of the table."""
    import hmct_track.debug as dbg

    rng = np.random.default_rng(1)
    data = {"x": [rng.standard_normal((ROWS, WIDTH)).astype(np.float32) for _ in range(count)]}
    names = [f"MatMul_m{k}" for k in range(0, BLOCKS, BLOCKS // NODES)]
    began = time.perf_counter()
    found = dbg.get_sensitivity_of_nodes(
        str(path),
        calibrated_data=data,
        data_num=None,
        interested_nodes=names,
        lake=lake,
        track=False,
        progress=False,
        memory=64 << 20,
    )
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"| {count} | {len(found)} | {seconds:.1f} s | {peak} MiB |", flush=True)


def main() -> None:
    """Print peak memory for growing numbers of samples, with a budget of 64 MiB for tensors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    path = make(args.folder)
    if args.one:
        rank(path, args.one, args.folder / f"lake{args.one}-{time.time_ns()}")
        return
    print("| samples | nodes | time | peak memory |")
    print("|---|---|---|---|", flush=True)
    for count in args.samples:
        command = [sys.executable, "-m", "benchmarks.memory", str(args.folder), "--one", str(count)]
        subprocess.run(command, check=True)  # noqa: S603 - this module


if __name__ == "__main__":
    main()
