"""The demo model: a small digit classifier with its calibration data and labelled held-out digits.

``scripts/make_demo.py`` trains, calibrates and writes everything in this folder.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def model_path() -> Path:
    """Path of the calibrated demo model."""
    return _file("calibrated_model.onnx")


def calibration_data_path() -> Path:
    """Path of the demo's calibration data: 64 samples of one input."""
    return _file("calibration_data")


def heldout() -> tuple[np.ndarray, np.ndarray]:
    """Digits that neither training nor calibration has seen.

    Returns:
        Images as model input, float32 of shape (n, 1, 16, 16) in [0, 1], and labels, int64 (n,).
    """
    import numpy as np

    with np.load(_file("heldout.npz"), allow_pickle=False) as archive:
        return preprocess(archive["images"]), archive["labels"].astype(np.int64)


def write_heldout(folder: Path) -> tuple[Path, Path]:
    """Write the held-out digits as samples, and their labels.

    Args:
        folder: where the folder ``heldout`` and the file ``labels.csv`` are made.

    Returns:
        The folder of samples, as calibration data are, and the file of labels in their order.

    Raises:
        OSError: they cannot be written.
    """
    import numpy as np

    images, labels = heldout()
    samples, table = folder / "heldout", folder / "labels.csv"
    (samples / "input").mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(images):
        np.save(samples / "input" / f"{k}.npy", image[None])
    table.write_text("label\n" + "".join(f"{label}\n" for label in labels))
    return samples, table


def preprocess(images: np.ndarray) -> np.ndarray:
    """Resize digits of 8x8 pixels in 0..16 to model input by bilinear interpolation.

    Args:
        images: shape (n, 8, 8), any real dtype, values 0 to 16.

    Returns:
        float32 of shape (n, 1, 16, 16) in [0, 1].
    """
    import numpy as np

    # Pixel centres of a doubled grid lie a quarter of a pixel beside those of the old one.
    at = np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7)
    low = np.minimum(at.astype(int), 6)
    weight = np.zeros((16, 8), np.float32)
    weight[np.arange(16), low] = 1 - (at - low)
    weight[np.arange(16), low + 1] = at - low
    scaled = images.astype(np.float32) / 16
    return np.ascontiguousarray((weight @ scaled @ weight.T)[:, None], dtype=np.float32)


def _file(name: str) -> Path:
    return Path(str(resources.files(__name__) / name))
