"""What a search tries together, and by which tensors it is told whether that helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hmct_track.model import QuantModel
from hmct_track.types import BiasShift

_MANY = 256
"""An output of so many numbers shows noise by itself."""
_NEAR_END = 8


def telling(model: QuantModel, outputs: Sequence[str]) -> list[str]:
    """The outputs, what the last layer before it reads in place of each that is small.

    Before it is quantized, in float32; the output itself where there is no such tensor.
    """
    makers = {tensor: node for node in model.general_nodes for tensor in node.outputs}
    shapes = {spec.name: spec.shape for spec in model.outputs}
    quantizers = {c.output: c for c in model.calibration_nodes}
    found = []
    for output in outputs:
        shape, tensor = shapes.get(output), output
        small = shape is not None and np.prod([size or 1 for size in shape]) < _MANY
        for _ in range(_NEAR_END if small else 0):
            node = makers.get(tensor)
            if node is None or not node.inputs:
                break
            tensor = node.inputs[0]
            if tensor in quantizers:
                tensor = quantizers[tensor].input
                break
        known = tensor in makers and tensor not in shapes and small
        found.append(tensor if known else output)
    return list(dict.fromkeys(found))


def sizes(count: int) -> list[int]:
    """How many of the best are tried together: 1, 2, 3, 4, 6, 8, ... and all."""
    found = {1, 2, 3, count}
    step = 4
    while step < count:
        found |= {step, step + step // 2}
        step *= 2
    return sorted(size for size in found if size <= count)


def parts_of(shifts: Mapping[str, BiasShift]) -> Iterator[dict[str, BiasShift]]:
    """All corrections, parts of each, and the first and last of the model in topological order."""
    names = list(shifts)
    if not names:
        return
    yield dict(shifts)
    for share in (0.75, 0.5, 0.25):
        yield {n: BiasShift(tuple(v * share for v in s.values), s.axis) for n, s in shifts.items()}
    for share in (0.25, 0.5, 0.75):
        cut = round(len(names) * share)
        yield {n: shifts[n] for n in names[:cut]}
        yield {n: shifts[n] for n in names[cut:]}
    yield {names[-1]: shifts[names[-1]]}
