"""Facts of a graph that need nothing but the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import onnx

_RANDOM_OPS = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
_BODIES = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def is_calibration(node: onnx.NodeProto) -> bool:
    """Whether this is a calibration node, by its op type."""
    return node.op_type == "HzCalibration" and node.domain in ("horizon", "")


def draws_random(node: onnx.NodeProto) -> bool:
    """Whether a node of the standard domain draws random numbers, by its op type."""
    return node.op_type in _RANDOM_OPS and node.domain in ("", "ai.onnx")


def unique_names(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """The nodes' names; ``<op type>_<position>`` for those without, ``_2`` behind a second one."""
    taken = {node.name for node in nodes if node.name}
    names: list[str] = []
    used: set[str] = set()
    copies: dict[tuple[str, bool], int] = {}
    """How many have such a name, given or made up: the search for the next begins there."""
    for position, node in enumerate(nodes):
        base = node.name or f"{node.op_type}_{position}"
        copy = copies.get((base, bool(node.name)), 1)
        name = base if copy == 1 else f"{base}_{copy}"
        while name in used or (copy > 1 and name in taken) or (not node.name and name in taken):
            copy += 1
            name = f"{base}_{copy}"
        copies[base, bool(node.name)] = copy
        names.append(name)
        used.add(name)
    return names


def constant_tensors(graph: onnx.GraphProto) -> set[str]:
    """Initializers, and the outputs of nodes that compute from constants alone."""
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        inputs = [name for name in node.input if name]
        from_constants = bool(inputs) and all(name in constants for name in inputs)
        has_body = any(a.type in _BODIES for a in node.attribute)
        if node.op_type == "Constant" or (
            from_constants and not has_body and node.op_type not in _RANDOM_OPS
        ):
            constants.update(node.output)
    return constants


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies of a control-flow node."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def outer_inputs(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node's bodies read, their own among them."""
    for body in subgraphs(node):
        for value in body.output:
            yield value.name
        for inner in body.node:
            yield from inner.input
            yield from outer_inputs(inner)


def every_node(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those in their bodies."""
    for node in nodes:
        yield node
        for body in subgraphs(node):
            yield from every_node(body.node)
