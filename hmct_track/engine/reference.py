"""How far the float reference of a model is from the float model itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from hmct_track.engine.evaluate import Engine
from hmct_track.engine.statistics import pair_statistics
from hmct_track.model import FloatModel
from hmct_track.types import PairStatistics, QuantConfig


def float_gap(
    engine: Engine,
    original: FloatModel,
    sample: Mapping[str, NDArray[Any]],
) -> dict[str, PairStatistics]:
    """Compare the model with all quantizers off with the float model run by itself.

    What is left is what cannot be switched off: weights of which the model holds only rounded
    values, and what a quantizer changed in the graph.

    Args:
        engine: of a model that was loaded with the float model.
        original: the float model; see `hmct_track.model.load_original`.
        sample: inputs by name.

    Returns:
        For each float output of the model, x the float model's values and y the reference's.
        ``sum_dd`` is 0 where they are the same to the last bit. Empty if no output is float.

    Raises:
        EngineError: the runtime refuses one of the models, or fails.
    """
    names = [spec.name for spec in engine.model.outputs]
    # Outputs go by position where the quantizer gave them other names.
    same = set(names) == set(original.outputs)
    theirs = dict(zip(names, names if same else original.outputs, strict=True))
    outputs = engine.output_tensors(names)
    if not outputs:
        return {}
    lowered = original.giving([theirs[name] for name in outputs])
    session = engine.runtime_for(original.weights).session(lowered)
    (left,) = engine.observe(QuantConfig(), {"": sample}, outputs)
    given = session.run(sample)
    return {
        name: pair_statistics(values, left[name])
        for name, values in zip(outputs, given, strict=True)
    }
