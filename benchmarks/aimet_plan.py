"""AIMET's own search for mixed precision, in an environment of its own that has aimet-onnx.

``python -m benchmarks.plan --aimet PYTHON`` runs this with that interpreter; it imports nothing of
hmct_track. Arguments: a float model, an .npz file with the samples of its input, stacked, and the
share of the error of everything in 8 bits that is allowed. Prints as JSON the tensors whose
quantizers have 16 bits at the end, that share as AIMET simulates it, and the seconds of CPU.
"""

import json
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from aimet_onnx.common.defs import CallbackFunc, QuantizationDataType
from aimet_onnx.mixed_precision import choose_mixed_precision
from aimet_onnx.quantsim import QuantizationSimModel


def main() -> None:
    """Calibrate, search, print."""
    path, data, share = sys.argv[1:]
    with np.load(data) as stored:
        (name,) = stored.files
        samples = [{name: sample} for sample in stored[name]]
    began = time.process_time()
    sim = QuantizationSimModel(
        onnx.load(path), quant_scheme="min_max", providers=["CPUExecutionProvider"]
    )

    def feed(session, _=None) -> None:
        for sample in samples:
            session.run(None, sample)

    def error(session) -> float:
        got = [session.run(None, sample) for sample in samples]
        means = [
            np.mean([np.mean((g.astype(np.float64) - e) ** 2) for g, e in zip(gs, es, strict=True)])
            for gs, es in zip(zip(*got, strict=True), zip(*expected, strict=True), strict=True)
        ]
        return float(np.mean(means))

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = [session.run(None, sample) for sample in samples]
    sim.compute_encodings(samples)
    whole = error(sim.session)
    integer = QuantizationDataType.int
    candidates = [((16, integer), (16, integer)), ((8, integer), (8, integer))]
    score = CallbackFunc(lambda session, _=None: -error(session) / whole)
    with tempfile.TemporaryDirectory() as folder:
        choose_mixed_precision(
            sim, candidates, score, score, float(share), folder, clean_start=True,
            forward_pass_callback=CallbackFunc(feed), use_all_amp_candidates=True,
        )  # fmt: skip
    wide = [n for n, q in sim.qc_quantize_op_dict.items() if q.enabled and q.bitwidth == 16]
    print(
        json.dumps(
            {
                "wide": wide,
                "share": error(sim.session) / whole,
                "seconds": time.process_time() - began,
            }
        )
    )


if __name__ == "__main__":
    main()
