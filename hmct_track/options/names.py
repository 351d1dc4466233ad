"""Words of the vocabulary, from text."""

from __future__ import annotations

from collections.abc import Sequence

from hmct_track.errors import UsageError
from hmct_track.types import Metric, NodeType


def parse_metric(name: str) -> Metric:
    """A metric by its documented name.

    Raises:
        UsageError: it is not a metric.
    """
    if name not in list(Metric):
        raise UsageError(f"metric {name!r} is not known; choose from {', '.join(Metric)}")
    return Metric(name)


def parse_metrics(metrics: str | Sequence[str]) -> tuple[Metric, ...]:
    """One or several metric names as metrics, doubles dropped.

    Raises:
        UsageError: a name is not a metric, or there is none.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names:
        raise UsageError(f"metrics is empty; choose from {', '.join(Metric)}")
    return tuple(dict.fromkeys(parse_metric(name) for name in names))


def parse_node_type(name: str) -> NodeType:
    """A node type by its documented name.

    Raises:
        UsageError: it is not a node type.
    """
    if name not in list(NodeType):
        raise UsageError(f"node_type {name!r} is not known; choose from {', '.join(NodeType)}")
    return NodeType(name)
