"""What feeds a node, and what it feeds: the nodes of a model with their tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hmct_track.lake.rows import ModelNodesRow


@dataclass(frozen=True)
class Graph:
    """Nodes that are quantized or compute; the quantizers between two of them are passed over."""

    nodes: Mapping[str, ModelNodesRow]
    producers: Mapping[str, str]
    """Tensor to the node that gives it out."""
    readers: Mapping[str, list[str]]
    """Tensor to the nodes that take it in."""

    @classmethod
    def of(cls, nodes: Mapping[str, ModelNodesRow]) -> Graph:
        """The graph of the rows of ``model_nodes``."""
        producers = {t: node["node"] for node in nodes.values() for t in node["outputs"]}
        readers = defaultdict(list)
        for node in nodes.values():
            for tensor in node["inputs"]:
                readers[tensor].append(node["node"])
        return cls(nodes, producers, readers)

    def fed_by(self, name: str) -> list[str]:
        """The general nodes that feed a node."""
        inputs = self.nodes[name]["inputs"] if name in self.nodes else ()
        found = [self.producers.get(tensor) for tensor in inputs]
        return self._general(found, self.fed_by)

    def feeds(self, name: str) -> list[str]:
        """The general nodes that a node feeds."""
        outputs = self.nodes[name]["outputs"] if name in self.nodes else ()
        found = [reader for tensor in outputs for reader in self.readers.get(tensor, ())]
        return self._general(found, self.feeds)

    def constants(self, name: str) -> list[str]:
        """Tensors that no node gives: inputs of the model, weights and biases."""
        inputs = self.nodes[name]["inputs"] if name in self.nodes else ()
        return [tensor for tensor in inputs if tensor and tensor not in self.producers]

    def _general(
        self, names: Iterable[str | None], beyond: Callable[[str], list[str]]
    ) -> list[str]:
        found: list[str] = []
        for name in names:
            if name is not None and name in self.nodes:
                is_general = self.nodes[name]["type"] == "node"
                found += [name] if is_general else beyond(name)
        return list(dict.fromkeys(found))
