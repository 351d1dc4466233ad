"""A piece of a model between tensors that are given: what one of them is, of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from hmct_track.engine.runtime import Runtime, Session
from hmct_track.model import Lowering
from hmct_track.types import QuantConfig, TensorSpec


@dataclass(frozen=True)
class Stage:
    """What makes a tensor of the given tensors right before it."""

    tensor: str
    inputs: tuple[str, ...]
    """The given tensors, and inputs of the model, that it is made of."""
    hidden: int
    """Quantizers on the way that read what is not given: each may round otherwise on a device."""
    session: Session

    def run(self, given: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The tensor.

        Args:
            given: at least its inputs, float32 as the model has them.
        """
        (found,) = self.session.run({name: given[name] for name in self.inputs})
        return found


def make_stage(
    lowering: Lowering,
    runtime: Runtime,
    specs: Mapping[str, TensorSpec],
    config: QuantConfig,
    tensor: str,
    given: Collection[str],
) -> Stage | None:
    """The stage of a tensor; None of an input of the model, or of what is made of constants.

    Args:
        lowering: of the model.
        runtime: what runs it.
        specs: types and shapes of its tensors.
        config: the quantization.
        tensor: a tensor that a node makes.
        given: the tensors whose values will be there.
    """
    flow = lowering.flow
    if tensor not in flow.makers or tensor in flow.constants:
        return None
    inner, inputs, stack = {flow.makers[tensor]}, dict[str, None](), [flow.makers[tensor]]
    while stack:
        for name in flow.reads(stack.pop()):
            step = flow.makers.get(name)
            if name in flow.constants:
                continue
            if name in given or step is None:
                if name in specs or name in {spec.name for spec in lowering.model.inputs}:
                    inputs[name] = None
            elif step not in inner:
                inner.add(step)
                stack.append(step)
    if not inputs:
        return None
    steps = [step for step in flow.steps([tensor]) if step in inner]
    read = {node.output: node.input for node in lowering.model.calibration_nodes}
    hidden = sum(
        read[name] not in inputs for step in steps for name in flow.writes(step) if name in read
    )
    lowered = lowering.lower_part(config, steps, list(inputs), [tensor], specs)
    return Stage(tensor, tuple(inputs), hidden, runtime.session(lowered))
