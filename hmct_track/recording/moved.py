"""Copies of samples, moved by less than anyone cares about: what they change is rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hmct_track.data import Sample

STEP = 1e-7
"""By what share of itself a value is moved: about one unit in the last place of a float32."""

_SIGN = "~"


class MovedSamples(Mapping[str, Sample]):
    """Copies of samples whose float inputs are moved, under names of their own.

    A value of 0 stays, and integers do. A copy of a sample is the same at each access and in each
    process, so that configurations are compared on the same copies.

    Args:
        samples: sample id to inputs.
        copies: the numbers of the copies, from 1.
    """

    def __init__(self, samples: Mapping[str, Sample], copies: Sequence[int]) -> None:
        self._samples = samples
        self._copies = copies

    def __getitem__(self, name: str) -> Sample:
        sample_id, copy = of_moved(name)
        random = np.random.default_rng([copy, *sample_id.encode()])
        return {
            name: (array * (1 + STEP * random.standard_normal(array.shape))).astype(array.dtype)
            if array.dtype.kind == "f"
            else array
            for name, array in self._samples[sample_id].items()
        }

    def __iter__(self) -> Iterator[str]:
        return (moved_id(s, copy) for copy in self._copies for s in self._samples)

    def __len__(self) -> int:
        return len(self._samples) * len(self._copies)


def moved_id(sample_id: str, copy: int) -> str:
    """What a copy of a sample is called."""
    return f"{sample_id}{_SIGN}{copy}"


def of_moved(name: str) -> tuple[str, int]:
    """The sample and the number of the copy that is called so."""
    sample_id, _, copy = name.rpartition(_SIGN)
    return sample_id, int(copy)
