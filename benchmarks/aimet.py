"""Time of AIMET's per-quantizer analysis, in an environment of its own that has aimet-onnx.

``python -m benchmarks.engine --aimet PYTHON`` runs this with that interpreter; it imports nothing
of hmct_track. Arguments: a float model, and an .npz file with the samples of its input, stacked.
Prints the number of groups of quantizers that were toggled and the seconds that it took, as JSON.
"""

import json
import sys
import time

import numpy as np
import onnx
from aimet_onnx.analysis import (
    SensitivityMetric,
    analyze_per_quantizer_sensitivity,
    group_by_op_name,
)
from aimet_onnx.quantsim import QuantizationSimModel


def main() -> None:
    """Calibrate, analyse, print."""
    path, data = sys.argv[1:]
    with np.load(data) as stored:
        (name,) = stored.files
        samples = [{name: sample} for sample in stored[name]]
    sim = QuantizationSimModel(onnx.load(path), providers=["CPUExecutionProvider"])
    sim.compute_encodings(samples)
    expected: list[np.ndarray] = []

    def similarity(session) -> float:
        got = [session.run(None, sample)[0] for sample in samples]
        if not expected:
            expected.extend(got)
        pairs = zip(expected, got, strict=True)
        return float(
            np.mean([np.vdot(x, y) / np.linalg.norm(x) / np.linalg.norm(y) for x, y in pairs])
        )

    metric = SensitivityMetric("cosine", similarity, higher_is_worse=False)
    seconds, scores = float("inf"), {}
    for _ in range(3):
        began = time.perf_counter()
        scores = analyze_per_quantizer_sensitivity(sim, metric, group_by_op_name(sim))
        seconds = min(seconds, time.perf_counter() - began)
    print(json.dumps({"groups": len(scores), "seconds": seconds}))


if __name__ == "__main__":
    main()
