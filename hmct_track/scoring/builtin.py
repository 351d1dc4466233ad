"""Scores that ship: of models that give one number per class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.errors import UsageError

Outputs = Mapping[str, NDArray[Any]]
"""Output name to array, in the order in which outputs are compared."""


def top1(outputs: Outputs, label: Any) -> float:
    """Share of the rows of the first output whose largest class is the label, 0 to 1.

    Args:
        outputs: the first is of shape (..., classes), mostly (1, classes).
        label: a class number from 0, or as many as the output has rows.
    """
    return _among(outputs, label, 1)


def top5(outputs: Outputs, label: Any) -> float:
    """Share of the rows of the first output whose five largest classes hold the label, 0 to 1.

    Args:
        outputs: as in `top1`.
        label: as in `top1`.
    """
    return _among(outputs, label, 5)


def same_top1(outputs: Outputs, *, float_outputs: Outputs) -> float:
    """Share of the rows of the first output whose largest class is that of the float model.

    Args:
        outputs: as in `top1`.
        float_outputs: the float model's, of the same sample.
    """
    rows, float_rows = _rows(outputs), _rows(float_outputs)
    if rows.shape != float_rows.shape:
        return 0.0
    return float(np.mean(rows.argmax(axis=1) == float_rows.argmax(axis=1)))


BUILT_IN: Mapping[str, Callable[..., float]] = {
    "top1": top1,
    "top5": top5,
    "same-top1": same_top1,
}
"""Name to function."""


def _rows(outputs: Outputs) -> NDArray[Any]:
    first = np.asarray(next(iter(outputs.values())))
    if first.ndim == 0 or first.shape[-1] < 2:
        raise UsageError(
            f"the output has shape {list(first.shape)}, which has no classes along its last axis; "
            "name one that has with --output, or score with a function of your own"
        )
    return first.reshape(-1, first.shape[-1])


def _among(outputs: Outputs, label: Any, count: int) -> float:
    rows, wanted = _rows(outputs), np.asarray(label).reshape(-1)
    if wanted.dtype.kind not in "iu":
        raise UsageError(f"the label is {label!r}; a class number from 0 was expected")
    if len(wanted) != len(rows):
        raise UsageError(f"{len(wanted)} labels were given for an output of {len(rows)} rows")
    if wanted.min() < 0 or wanted.max() >= rows.shape[1]:
        raise UsageError(f"the label is {label!r}; the output has classes 0 to {rows.shape[1] - 1}")
    # Of equal values the first counts, as with argmax.
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    return float(np.mean((order == wanted[:, None]).any(axis=1)))
