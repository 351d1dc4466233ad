"""Peak memory and time of a ranking of a large model, by number of samples.

Run ``python -m benchmarks.memory FOLDER``; the model, 500 MB with external data and 1,500 nodes, is
made there once. Each row is a process of its own. ``--where`` takes the steps of a ranking one by
one and tells what each leaves in memory (Linux).
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
    began, busy = time.perf_counter(), time.process_time()
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
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"| {count} | {len(found)} | {seconds:.1f} s | {busy:.1f} s | {peak} MiB |", flush=True)


def where(path: Path) -> None:
    """Take the steps of a ranking one by one and print what each leaves."""
    from hmct_track.engine.route import Route
    from hmct_track.engine.runtime import Runtime
    from hmct_track.memory import give_back
    from hmct_track.model import Lowering, load_model
    from hmct_track.types import QuantConfig

    print("| after | own memory | of files | highest so far |\n|---|---|---|---|")
    tell("Python and the libraries")
    lowering = Lowering(load_model(path))
    tell("reading the model")
    runtime = Runtime(lowering.model.weights)
    specs = lowering.specs_for({"x": (ROWS, WIDTH)})
    give_back()
    tell("letting go of the file's message")
    sample = {"x": np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32)}
    session = runtime.session(lowering.lower(QuantConfig()), packed=False)
    session.run(sample)
    tell("the float model as a whole, for the null test")
    del session
    give_back()
    tell("letting go of it")
    route = Route(lowering, runtime, ["y"], specs, samples=1, threads=1, memory=32 << 20)
    sessions = [route._float.take(k, ()) for k in range(len(route._partition.parts))]
    tell(f"the float model in {len(sessions)} parts")


def tell(step: str) -> None:
    """Print a row of the second table, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    sizes = {key: value for key, _, value in (line.partition(":") for line in lines)}
    own, files, peak = (int(sizes[k].split()[0]) >> 10 for k in ("RssAnon", "RssFile", "VmHWM"))
    print(f"| {step} | {own} | {files} | {peak} |", flush=True)


def main() -> None:
    """Print peak memory for growing numbers of samples, with a budget of 64 MiB for tensors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--where", action="store_true", help="one row for each step of a ranking")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    path = make(args.folder)
    if args.one:
        rank(path, args.one, args.folder / f"lake{args.one}-{time.time_ns()}")
        return
    if args.where:
        where(path)
        return
    print("| samples | nodes | time | of cores | peak memory |")
    print("|---|---|---|---|---|", flush=True)
    for count in args.samples:
        command = [sys.executable, "-m", "benchmarks.memory", str(args.folder), "--one", str(count)]
        subprocess.run(command, check=True)  # noqa: S603 - this module


if __name__ == "__main__":
    main()
