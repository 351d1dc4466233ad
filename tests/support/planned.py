"""What a model written for a configuration gives, and what it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from hmct_track import demo
from hmct_track.engine import Engine
from hmct_track.types import QuantConfig

SAMPLE = {"input": np.load(sorted(demo.calibration_data_path().glob("input/*.npy"))[7])}


def run(path: Path, sample: dict[str, np.ndarray]) -> np.ndarray:
    """What onnxruntime gives, its fusing of quantizers into integer kernels switched off."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, sample)[0]


def expected(model: object, config: QuantConfig, sample: dict[str, np.ndarray]) -> np.ndarray:
    name = model.outputs[0].name
    return next(Engine(model).observe(config, {"s": sample}, [name]))[name]


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal but for values on a rounding tie, which go either way with the order of sums."""
    return float(np.abs(a - b).max()) <= 2e-3 * float(np.abs(b).max())
