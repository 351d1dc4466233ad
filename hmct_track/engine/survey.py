"""How large the channels of float outputs are; where they differ by orders, large hide small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmct_track.engine.comparison import channel_squares, select
from hmct_track.engine.evaluate import Engine
from hmct_track.engine.protocols import Samples
from hmct_track.types import Output


@dataclass(frozen=True)
class ChannelScales:
    """The magnitude of each channel of an output along one axis."""

    output: str
    axis: int
    """From 0, in what is compared of the output."""
    rms: tuple[float, ...]
    """``sqrt(mean(x_c^2))`` of each channel, over the finite values of all samples."""

    @property
    def ratio(self) -> float:
        """Largest over smallest magnitude, channels of zeros left out; 1 where all are zero."""
        some = [value for value in self.rms if value > 0]
        return max(some) / min(some) if some else 1.0


def channel_scales(
    engine: Engine, samples: Samples, outputs: Sequence[str | Output]
) -> list[ChannelScales]:
    """The magnitudes of the channels of float outputs, along every axis with several.

    One run of the float model per sample, unless it was evaluated; nothing but the sums is kept.

    Args:
        engine: of the model.
        samples: sample id to inputs; a few are enough.
        outputs: what is to be compared; see `Output`.

    Returns:
        By output, then by axis. Axes whose size changes from sample to sample are left out, the
        channels of outputs with ``rms_axis`` are measured as they are.

    Raises:
        EngineError: the runtime refuses the model or fails.
        UsageError: an output is not there, or has no such part.
    """
    parts = [engine.output(output) for output in outputs]
    tensors = list(dict.fromkeys(part.tensor for part in parts))
    sums: dict[tuple[Output, int], list[tuple[NDArray[np.float64], NDArray[np.int64]]]] = {}
    for values in engine.float_values(samples, tensors):
        for part in parts:
            x = select(part, values[part.tensor])
            for axis in range(x.ndim):
                others = tuple(k for k in range(x.ndim) if k != axis)
                squares, counts = channel_squares(x, others)
                sums.setdefault((part, axis), []).append((squares.ravel(), counts.ravel()))
    found = []
    for (part, axis), each in sums.items():
        sizes = {squares.size for squares, _ in each}
        if len(sizes) == 1 and sizes.pop() > 1:
            squares = np.sum([s for s, _ in each], axis=0)
            counts = np.sum([c for _, c in each], axis=0)
            rms = np.sqrt(squares / np.maximum(counts, 1))
            found.append(ChannelScales(str(part), axis, tuple(rms.tolist())))
    return found
