"""Speed of an exhaustive ranking: against rebuilding per node, and against what it must cost.

Run ``python -m benchmarks.engine [MODEL ...]``; see benchmarks/README.md. A model is one of the
names below, or ``FILE=DATA``: a calibrated model with a name for each node, and a folder that holds
a folder of ``.npy`` files for each input.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks import rebuild
from benchmarks.networks import mobilenet_v2
from hmct_track.analyses.configurations import alone, names_of_type
from hmct_track.engine import Engine
from hmct_track.engine.machine import default_threads
from hmct_track.model import Lowering, QuantModel, load_model
from hmct_track.types import NodeType, QuantConfig, TensorSpec
from tests.support.real import calibrate, real_model

NAMES = ("mobilenet-v2", "docorient", "ocr-rec", "ocr-det", "pp-lcnet")
ROUNDS = 3


@dataclass(frozen=True)
class Subject:
    """A calibrated model and as many samples as asked for."""

    name: str
    model: onnx.ModelProto
    samples: list[Mapping[str, np.ndarray]]


def subject(name: str, count: int) -> Subject:
    """A model by name, or by its file; too few samples are repeated with noise."""
    if "=" in name:
        file, _, data = name.partition("=")
        model = onnx.load(file)
        found = _samples(Path(data), [value.name for value in model.graph.input])
    elif name == "mobilenet-v2":
        model = mobilenet_v2()
        found = [{"x": _noise(k, (1, 3, 224, 224))} for k in range(4)]
        model = calibrate(model, found)
    else:
        real = real_model(name)
        model, found = real.calibrated, real.samples
    samples = [
        {
            n: a + 0.01 * _noise(k, a.shape) if a.dtype.kind == "f" else a
            for n, a in found[k % len(found)].items()
        }
        for k in range(count)
    ]
    return Subject(name, model, samples)


def _samples(data: Path, inputs: Sequence[str]) -> list[Mapping[str, np.ndarray]]:
    files = {
        name: sorted((data / name).glob("*.npy"), key=lambda f: int(f.stem)) for name in inputs
    }
    count = min(map(len, files.values()))
    return [{name: np.load(files[name][k]) for name in inputs} for k in range(count)]


def _noise(seed: int, shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def best(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the fastest of a few rounds, and its result."""
    seconds, result = float("inf"), None
    for _ in range(ROUNDS):
        began = time.perf_counter()
        result = work()
        seconds = min(seconds, time.perf_counter() - began)
    return seconds, result


def suffix_bound(case: Subject) -> float:
    """Seconds that the float models behind each node take, all added up.

    From places all over the model to its end, at the machine's best throughput: the better of one
    thread per run with all cores busy, and all cores in one run.
    """
    quantized = load_model(case.model)
    lowering = Lowering(quantized)
    outputs = [spec.name for spec in quantized.outputs]
    steps = lowering.flow.steps(outputs)
    plan = alone(quantized, names_of_type(quantized, NodeType.NODE))
    position = {quantized.node_names[step]: k for k, step in enumerate(steps)}
    for k, step in enumerate(steps):
        for constant in lowering.flow.calibrations([step]):
            position.setdefault(quantized.node_names[constant], k)
    begins = [min(position[n] for n in p.config.overrides if n in position) for p in plan]
    places = sorted({int(p) for p in np.linspace(0, len(steps), 25)[:-1]})
    seconds = [_suffix_seconds(case, lowering, steps[place:], outputs) for place in places]
    return float(sum(np.interp(b, [*places, len(steps)], [*seconds, 0.0]) for b in begins))


def _suffix_seconds(
    case: Subject, lowering: Lowering, steps: Sequence[int], outputs: Sequence[str]
) -> float:
    flow = lowering.flow
    made = {name for step in steps for name in flow.writes(step)}
    inputs = list(
        dict.fromkeys(
            n for s in steps for n in flow.reads(s) if n not in made and n not in flow.constants
        )
    )
    inner = [name for name in inputs if name not in case.samples[0]]
    values = dict(case.samples[0])
    if inner:
        whole = _session(lowering.lower(QuantConfig(), inner), lowering, default_threads())
        values |= dict(zip(inner, whole.run(inner, dict(case.samples[0])), strict=True))
    feed = {name: values[name] for name in inputs}
    known = {name: TensorSpec(name, x.dtype.name, x.shape) for name, x in feed.items()}
    part = lowering.lower_part(QuantConfig(), steps, inputs, outputs, known)
    cores = default_threads()
    alone, many = (_session(part, lowering, threads) for threads in (cores, 1))

    def run(session: ort.InferenceSession) -> None:
        session.run(list(outputs), feed)

    runs = 4 * cores
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(run, [many] * cores))
        busy, _ = best(lambda: list(pool.map(run, [many] * runs)))
    run(alone)
    single, _ = best(lambda: run(alone))
    return min(busy / runs, single)


def _session(lowered: Any, lowering: Lowering, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    values = {
        n: ort.OrtValue.ortvalue_from_numpy(lowering.model.weights[w])
        for n, w in lowered.weights.items()
    }
    if values:
        options.add_external_initializers(list(values), list(values.values()))
    session = ort.InferenceSession(lowered.proto, options, providers=["CPUExecutionProvider"])
    session._kept = values
    return session


def ranking(case: Subject, quantized: QuantModel) -> dict[str, float]:
    """Mean cosine similarity of each node, with a new engine."""
    plan = alone(quantized, names_of_type(quantized, NodeType.NODE))
    engine = Engine(quantized)
    samples = {str(k): sample for k, sample in enumerate(case.samples)}
    found: dict[str, list[float]] = {}
    for m in engine.evaluate(
        [p.config for p in plan], samples, [spec.name for spec in quantized.outputs]
    ):
        s = m.statistics
        similarity = s.sum_xy / max(np.sqrt(s.sum_xx * s.sum_yy), 1e-16)
        found.setdefault(m.config_id, []).append(similarity)
    return {p.subject: float(np.mean(found[p.config.config_id])) for p in plan}


def compare_with_aimet(python: Path, counts: Sequence[int]) -> None:
    """Print what a node costs in AIMET, which runs with that interpreter, and here."""
    print("| samples | AIMET, ms per node | ours, ms per node | ratio |")
    print("|---|---|---|---|")
    quantized = load_model(subject("mobilenet-v2", 1).model)
    script = Path(__file__).with_name("aimet.py")
    with TemporaryDirectory() as folder:
        model, data = Path(folder) / "model.onnx", Path(folder) / "data.npz"
        onnx.save(mobilenet_v2(), model)
        for count in counts:
            case = subject("mobilenet-v2", count)
            np.savez(data, x=np.stack([sample["x"] for sample in case.samples]))
            command = [str(python), str(script), str(model), str(data)]
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603 - given
            told = json.loads(ran.stdout.splitlines()[-1])
            theirs = told["seconds"] / told["groups"]
            seconds, got = best(partial(ranking, case, quantized))
            own = seconds / len(got)
            print(f"| {count} | {theirs * 1e3:.1f} | {own * 1e3:.1f} | {theirs / own:.1f} |")


def main() -> None:
    """Print a row per model and number of samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="MODEL", help=str(NAMES))
    parser.add_argument("--samples", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument(
        "--aimet", type=Path, metavar="PYTHON", help="compare with the aimet-onnx installed there"
    )
    args = parser.parse_args()
    print(f"{default_threads()} cores, onnxruntime {ort.__version__}")
    print("| model | nodes | samples | rebuilding | ours | ratio | bound | ours / bound | cosine |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in args.names:
        bound = suffix_bound(subject(name, 1))
        for count in args.samples:
            case = subject(name, count)
            quantized = load_model(case.model)
            seconds, got = best(partial(ranking, case, quantized))
            nodes = rebuild.feeding(case.model)
            began = time.perf_counter()
            expected = rebuild.sensitivity(case.model, case.samples, nodes)
            plain = time.perf_counter() - began
            far = max(abs(got[n] - expected[n]["cosine-similarity"]) for n in nodes)
            print(
                f"| {Path(name.partition('=')[0]).stem} | {len(nodes)} | {count} | {plain:.2f} s "
                f"| {seconds:.2f} s "
                f"| {plain / seconds:.1f} | {bound * count:.2f} s "
                f"| {seconds / (bound * count):.2f} | {far:.0e} |",
                flush=True,
            )
    if args.aimet:
        compare_with_aimet(args.aimet, args.samples)


if __name__ == "__main__":
    main()
