"""What the float reference of a run is, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, log10

from hmct_track.model import QuantModel
from hmct_track.types import PairStatistics


def gap_db(gap: Mapping[str, PairStatistics]) -> float:
    """SQNR in dB of the float reference against the float model, of the output farthest off.

    Infinite where all outputs are the same to the last bit, NaN where values are not finite.
    """
    return min((_db(pair) for pair in gap.values()), key=_badness)


def gap_line(gap: Mapping[str, PairStatistics], model: QuantModel) -> str:
    """How far the float reference is from the float model, and why.

    Args:
        gap: what `hmct_track.engine.float_gap` gave; not empty.
        model: the model.
    """
    worst = gap_db(gap)
    if worst == float("inf"):
        said = "the float reference is the float model, to the last bit"
    else:
        output = min(gap, key=lambda name: _badness(_db(gap[name])))
        said = f"the float reference is {worst:.1f} dB (SQNR) from the float model at {output!r}"
    lost = sum(node.fixed for node in model.calibration_nodes)
    if lost:
        said += f"; {lost} weights are there only as they were rounded"
    if model.corrections:
        said += (
            f"; {len(model.corrections)} biases that the quantizer changed count as quantization "
            "of their nodes"
        )
    return said


def _db(pair: PairStatistics) -> float:
    if pair.nonfinite_x or pair.nonfinite_y:
        return float("nan")
    if pair.sum_dd == 0:
        return float("inf")
    return 10 * log10(pair.sum_xx / pair.sum_dd) if pair.sum_xx > 0 else -float("inf")


def _badness(db: float) -> tuple[bool, float]:
    """A key by which the worst comes first, and NaN before all."""
    return not isnan(db), db
