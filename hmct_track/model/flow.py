"""In what order a graph computes, what each step reads, and what depends on constants alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import onnx

from hmct_track.model.graph import constant_tensors, is_calibration, outer_inputs


class Flow:
    """The computing steps of a graph.

    A step is the position of a node in the graph. Nodes that depend on constants alone are no
    steps: whatever needs their values computes them anew, so that no value of theirs has to be
    handed on.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: Sequence[onnx.NodeProto] = list(graph.node)  # protobuf looks each up anew
        """The nodes by position. Not to be changed."""
        self.constants = constant_tensors(graph)
        self._writes = [tuple(o for o in node.output if o) for node in self.nodes]
        self.makers = {o: k for k, names in enumerate(self._writes) for o in names}
        """Tensor to the position of the node that makes it."""

    def op_type(self, step: int) -> str:
        """The op type of a node."""
        return str(self.nodes[step].op_type)

    def reads(self, step: int) -> tuple[str, ...]:
        """The tensors that a node reads, those that it reads inside its bodies included."""
        return self._reads[step]

    def writes(self, step: int) -> tuple[str, ...]:
        """The tensors that a node makes."""
        return self._writes[step]

    @cached_property
    def _reads(self) -> list[tuple[str, ...]]:
        return [
            tuple(dict.fromkeys(i for i in (*node.input, *outer_inputs(node)) if i))
            for node in self.nodes
        ]

    def steps(self, outputs: Iterable[str]) -> tuple[int, ...]:
        """The steps that tensors depend on, in an order in which they can be computed.

        It is the graph's order, but a calibration node comes right before the first that reads it:
        what lies between does not depend on it, and so need not run again when it is switched.
        An output that depends on constants alone takes one step, which makes it.
        """
        needed = {self.makers[name] for name in outputs if name in self.makers}
        stack = list(needed)
        while stack:
            for name in self._reads[stack.pop()]:
                step = self.makers.get(name)
                if step is not None and step not in needed and name not in self.constants:
                    needed.add(step)
                    stack.append(step)
        order: list[int] = []
        waiting: dict[str, int] = {}
        for step in sorted(needed):
            if is_calibration(self.nodes[step]):
                waiting[self.nodes[step].output[0]] = step
                continue
            self._release(self._reads[step], waiting, order)
            order.append(step)
        for step in waiting.copy().values():
            self._release(self.writes(step), waiting, order)
        return tuple(order)

    def _release(self, names: Sequence[str], waiting: dict[str, int], order: list[int]) -> None:
        """Append the waiting calibration nodes that make these tensors, and what those wait for."""
        for tensor in names:
            name, chain = tensor, []
            while name in waiting:  # a calibration node reads one tensor
                chain.append(waiting.pop(name))
                name = next(iter(self._reads[chain[-1]]), "")
            order += chain[::-1]

    def constants_of(self, steps: Iterable[int]) -> tuple[str, ...]:
        """The constants that steps read, and those from which these are computed."""
        found: dict[str, None] = {}
        stack = [name for step in steps for name in self._reads[step]]
        while stack:
            name = stack.pop()
            if name in self.constants and name not in found:
                found[name] = None
                if name in self.makers:
                    stack += self._reads[self.makers[name]]
        return tuple(found)

    def makers_of(self, constant: str) -> list[int]:
        """The positions of the nodes from which a constant is computed, in the graph's order."""
        found: set[int] = set()
        stack = [constant]
        while stack:
            name = stack.pop()
            step = self.makers.get(name)
            if step is not None and name in self.constants and step not in found:
                found.add(step)
                stack += self._reads[step]
        return sorted(found)

    def calibrations(self, steps: Iterable[int]) -> tuple[int, ...]:
        """The positions of the calibration nodes among steps and the constants that they read."""
        steps = tuple(steps)
        makers = (self.makers.get(name) for name in self.constants_of(steps))
        found = {step for step in (*steps, *makers) if step is not None}
        return tuple(sorted(step for step in found if is_calibration(self.nodes[step])))
