"""A quantized model whose nodes give outputs with the means of the float model's.

What each mean must be moved by is given out: the correction of biases, all nodes in one run.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from hmct_track.model.builder import Builder
from hmct_track.model.lowering import LoweredModel, Lowering
from hmct_track.types import QuantConfig

_TARGET, _AWAY = "hmct_track:target:", "hmct_track:away:"


def target_of(tensor: str) -> str:
    """The input that takes the float means of a tensor, float32 of shape (1, channels, 1, ...)."""
    return f"{_TARGET}{tensor}"


def away_of(tensor: str) -> str:
    """The output that gives float mean less quantized mean, of the same shape."""
    return f"{_AWAY}{tensor}"


def with_means(lowering: Lowering, config: QuantConfig, ranks: Mapping[str, int]) -> LoweredModel:
    """The model in a configuration, each of some tensors moved to given means of its channels.

    Behind a moved tensor the model computes with what it was moved to, so that no correction makes
    up for what one before it has mended: the order of Nagel et al., "Data-free quantization
    through weight equalization and bias correction", ICCV 2019, in one run.

    Args:
        lowering: the model.
        config: the quantization.
        ranks: tensors that general nodes give, with channels along axis 1, to their ranks.

    Returns:
        A model with an input `target_of` and an output `away_of` for each tensor.
    """
    lowered = lowering.lower(config, list(ranks))
    proto = onnx.load_from_string(lowered.proto)
    graph = proto.graph
    nodes = list(graph.node)
    del graph.node[:]
    del graph.output[:]
    taken = 10 * (len(nodes) + len(graph.initializer))
    builder = Builder(graph, lowering.model.opset, taken)
    for node in nodes:
        graph.node.append(node)
        for place, tensor in enumerate(node.output):
            if tensor in ranks:
                raw = builder.name("raw")
                graph.node[-1].output[place] = raw
                _move(builder, graph, tensor, raw, ranks[tensor])
    outputs = tuple(away_of(tensor) for tensor in ranks)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return LoweredModel(proto.SerializeToString(), lowered.weights, lowered.arrays, outputs)


def _move(builder: Builder, graph: onnx.GraphProto, tensor: str, raw: str, rank: int) -> None:
    shape: list[int | None] = [1, None, *[1] * (rank - 2)]
    target = target_of(tensor)
    graph.input.append(helper.make_tensor_value_info(target, TensorProto.FLOAT, shape))
    axes = [0, *range(2, rank)]
    mean = builder.reduce("ReduceMean", raw, axes)
    away = builder.node("Sub", [target, mean], away_of(tensor))
    builder.node("Add", [raw, away], tensor)


def means(values: np.ndarray) -> np.ndarray:
    """The means of the channels along axis 1, float32 of shape (1, channels, 1, ...)."""
    axes = (0, *range(2, values.ndim))
    found: np.ndarray = values.mean(axes, keepdims=True, dtype=np.float64).astype(np.float32)
    return found
