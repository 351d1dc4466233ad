"""``plot-acc-error`` against onnxruntime's ``qdq_loss_debug``, each a process of its own.

``python -m benchmarks.losses FLOAT_MODEL DATA [ROUNDS]`` quantizes a float model with one input by
onnxruntime, and asks of one sample how far each tensor of the QDQ model is from the float one.
Both print a line when they know; the rounds take turns. Told are the smallest of each: seconds to
the line and to the end, and the time on the processor.

- theirs: float and QDQ model, all tensors between nodes as outputs, errors of activations and of
  weights, as the documentation of ``qdq_loss_debug`` has it;
- ours, new and known: ``plot-acc-error`` of the same two models, with the curves of all weights and
  of all activations quantized beside the whole model's; with ``--no-reuse``, and from the lake.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.startup import Took

ROUNDS = 5
_READER = """
import sys, numpy, onnx, onnxruntime
from onnxruntime.quantization import CalibrationDataReader
source, data, quantized = sys.argv[1:]
name = onnxruntime.InferenceSession(source).get_inputs()[0].name
class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = [{name: numpy.load(data)}]
    def get_next(self):
        return self.left.pop() if self.left else None
"""
_QUANTIZE = """
from onnxruntime.quantization import QuantFormat, quantize_static
quantize_static(source, quantized, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
print("done")
"""
_THEIRS = """
import tempfile, os
from onnxruntime.quantization import qdq_loss_debug as debug
found = []
with tempfile.TemporaryDirectory() as folder:
    for model in (source, quantized):
        wider = os.path.join(folder, "wider.onnx")
        debug.modify_model_output_intermediate_tensors(model, wider)
        found.append(debug.collect_activations(wider, Reader()))
pairs = debug.create_activation_matching(found[1], found[0])
errors = debug.compute_activation_error(pairs)
weights = debug.compute_weight_error(debug.create_weight_matching(source, quantized))
print(len(errors), len(weights))
"""


def main() -> None:
    """Print a table and the ratios."""
    given = sys.argv[1:]
    rounds = int(given.pop()) if given[-1].isdecimal() else ROUNDS
    model, data = given
    sample = str(next(path for path in sorted(Path(data).rglob("*.npy"))))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        quantized, lake = str(Path(folder) / "qdq.onnx"), str(Path(folder) / "lake")
        environment = {**os.environ, "HMCT_RECORD": "later"}
        for name in ("MLFLOW_TRACKING_URI", "PYTHONDONTWRITEBYTECODE"):
            environment.pop(name, None)
        Took([sys.executable, "-c", _READER + _QUANTIZE, model, sample, quantized], environment)
        ours = [sys.executable, "-m", "hmct_track", "plot-acc-error", quantized, data]
        ours += ["--float-model", model, "-q", "['weight','activation']"]
        ours += ["--no-progress", "--lake", lake]
        ways = {
            "theirs": [sys.executable, "-c", _READER + _THEIRS, model, sample, quantized],
            "ours, new": [*ours, "--no-reuse"],
            "ours, known": ours,
        }
        for command in ways.values():  # byte code, and the system's cache of files
            Took(command, environment)
        took: dict[str, list[Took]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, command in ways.items():
                took[name].append(Took(command, environment))
    print("| way | first line | end | processor |\n|---|---|---|---|")
    for name, every in took.items():
        line, end = min(t.line for t in every), min(t.end for t in every)
        print(f"| {name} | {line:.2f} | {end:.2f} | {min(t.processor for t in every):.2f} |")
    first = {name: min(t.line for t in every) for name, every in took.items()}
    for name in ("ours, new", "ours, known"):
        print(f"{name} / theirs: {first[name] / first['theirs']:.2f}")
    print(f"load at the start {load:.1f}, at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
