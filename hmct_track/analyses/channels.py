"""Whether an output has channels so large that the error of all others does not show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hmct_track.recording import Subject

_SAMPLES = 2
_HIDDEN = 100
"""How many times larger than most channels the largest is, if it hides them."""
_MOST_CHANNELS = 1024
_WITHIN_ONE = {"Sigmoid", "HardSigmoid", "Softmax", "Tanh"}
"""Ops whose output lies within -1 to 1, whatever they read."""


def hidden_channels(subject: Subject) -> Iterator[str]:
    """What to do about outputs most of whose channels are hidden by a few.

    Such are those of detectors, that hold boxes in hundreds of pixels beside scores below one. The
    first axis behind the batch and the last are looked at: others are places, whose magnitudes
    differ by nature. Outputs within -1 to 1 are left alone; of those of a sigmoid or a softmax the
    float model need not be run to see it.
    """
    from statistics import median

    from hmct_track.engine import channel_scales

    ranks = {name: subject.engine.rank(name) for name in subject.outputs}
    makers = {o: node.op_type for node in subject.model.general_nodes for o in node.outputs}
    outputs = [
        name
        for name, rank in ranks.items()
        if (rank is None or rank > 2) and makers.get(name) not in _WITHIN_ONE
    ]
    if not outputs:
        return
    few = subject.inputs(range(min(_SAMPLES, len(subject.samples))))
    told: set[str] = set()
    for scales in channel_scales(subject.engine, few, outputs):
        rank, size = ranks[scales.output] or scales.axis + 1, len(scales.rms)
        if scales.output in told or scales.axis not in (1, rank - 1) or size > _MOST_CHANNELS:
            continue
        largest = max(scales.rms)
        usual = median(scales.rms)
        if largest > 1 and 0 < usual * _HIDDEN < largest:
            told.add(scales.output)
            channel = scales.rms.index(largest)
            yield (
                f"channel {channel} of output {scales.output!r} (axis {scales.axis}) is "
                f"{largest / usual:.0f} times as large as most of the {size}, whose errors it "
                f'hides: look at a part (--output "{scales.output}[{_part(scales.axis)}]") or at '
                f'each channel in its own units (--output "{scales.output}/rms({scales.axis})")'
            )


def _part(axis: int) -> str:
    """A slice that begins behind the first four channels, where detectors have their boxes."""
    return ", ".join([":"] * axis + ["4:"])
