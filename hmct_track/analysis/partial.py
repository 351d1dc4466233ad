"""Which configurations show what leaving sensitive nodes out of quantization gives."""

from __future__ import annotations

from collections.abc import Sequence

from hmct_track.errors import UsageError
from hmct_track.model import QuantModel
from hmct_track.types import Planned, QuantConfig, Quantization, QuantType, State

NONE = "none"
"""The step before any node is left out: the fully quantized model."""


def parse_qtype(name: str) -> State:
    """What the sensitive nodes become: ``float32`` (not quantized), ``int16`` or ``float16``.

    Raises:
        UsageError: it is none of them.
    """
    allowed = ("float32", "int16", "float16")
    if name not in allowed:
        raise UsageError(f"qtype {name!r} is not known; choose from {', '.join(allowed)}")
    return Quantization.OFF if name == "float32" else QuantType(name)


def plan(model: QuantModel, sensitive_nodes: Sequence[str], state: State) -> tuple[Planned, ...]:
    """Each node quantized alone, and the model without the first 0, 1, 2, ... of them.

    Raises:
        UnknownNodeError: a node does not exist.
        UsageError: a node cannot be quantized.
    """
    every = [node.name for node in model.calibration_nodes]
    nodes = model.expand(sensitive_nodes)
    calibrations = {name: model.calibrations_of(name) for name in nodes}
    single = [
        Planned(name, "only", QuantConfig.only(calibrations[name]).canonical(every))
        for name in nodes
    ]
    partial = [
        Planned(
            nodes[count - 1] if count else NONE,
            "partial",
            QuantConfig.all_but(
                (c for name in nodes[:count] for c in calibrations[name]), state
            ).canonical(every),
        )
        for count in range(len(nodes) + 1)
    ]
    return (*single, *partial)
