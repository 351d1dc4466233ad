"""Local errors: how far each quantizer's own tensor moves, alone and in the whole quantized model.

They say where values change, not what that costs at the model's output: a large local error may
not matter there, and a small one may. Of each quantizer, with ``x`` its input in the float model:

- by itself: ``x`` against ``Q(x)``, its rounding and clipping alone;
- accumulated: ``x`` against what the quantizer gives out when all of them quantize.

The signal-to-quantization-noise ratio of either is ``20 log10(|x| / |x - y|)`` dB, as onnxruntime's
``onnxruntime.quantization.qdq_loss_debug`` has it. There ``xmodel_err`` is the accumulated error,
and the error of a weight is that by itself; its ``qdq_err`` rounds the input in the quantized
model, not in the float one, so it is the error by itself only where these are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from hmct_track.engine.evaluate import Engine
from hmct_track.engine.protocols import Samples
from hmct_track.engine.statistics import pair_statistics
from hmct_track.errors import EngineError, UnknownNodeError
from hmct_track.model import fake_quantize
from hmct_track.model.lowering import effective_params
from hmct_track.types import (
    CalibrationKind,
    CalibrationNode,
    PairStatistics,
    QuantConfig,
    Quantization,
)

_ALL = QuantConfig(Quantization.AS_CALIBRATED)


@dataclass(frozen=True)
class LocalError:
    """How far a calibration node moves its tensor."""

    node: str
    sample_id: str | None
    """The sample; None for a weight, which is the same in all."""
    own: PairStatistics
    """The float input against the same quantized. For a weight, what it holds as quantized."""
    accumulated: PairStatistics
    """The float input against what the node gives in the fully quantized model."""


def local_errors(engine: Engine, samples: Samples, nodes: Sequence[str]) -> Iterator[LocalError]:
    """The local errors of calibration nodes: one float and one quantized run per sample.

    The inputs and outputs of the nodes of one sample are held at a time. Sums of several samples
    add up to those of all of them. A weight whose float values are lost has no error.

    Args:
        engine: of the model.
        samples: sample id to inputs.
        nodes: names of calibration nodes.

    Yields:
        First the weights, once each; then the activations, sample by sample.

    Raises:
        UnknownNodeError: there is no such calibration node.
        EngineError: the runtime refuses the model or fails, or a tensor has another shape once it
            is quantized.
    """
    known = engine.model.calibration_by_name
    for name in nodes:
        if name not in known:
            raise UnknownNodeError(name, known, what="calibration node")
    chosen = [known[name] for name in dict.fromkeys(nodes)]
    weights = [node for node in chosen if node.kind is CalibrationKind.WEIGHT]
    others = [node for node in chosen if node.kind is CalibrationKind.ACTIVATION]
    first = dict(islice(samples.items(), 1))
    if weights:
        for _, x, y in _runs(engine, first, weights):
            for node in weights:
                found = _statistics(node, x[node.input], y[node.output])
                yield LocalError(node.name, None, found, found)
    if others:
        for sample, x, y in _runs(engine, samples, others):
            for node in others:
                yield _of_activation(node, sample, x[node.input], y[node.output])


_Run = tuple[str, Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]


def _runs(engine: Engine, samples: Samples, nodes: Sequence[CalibrationNode]) -> Iterator[_Run]:
    """Inputs in the float model and outputs in the quantized one, sample by sample."""
    inputs = list(dict.fromkeys(node.input for node in nodes))
    outputs = list(dict.fromkeys(node.output for node in nodes))
    return zip(
        samples,
        engine.observe(QuantConfig(), samples, inputs),
        engine.observe(_ALL, samples, outputs),
        strict=True,
    )


def _of_activation(
    node: CalibrationNode, sample: str, x: NDArray[Any], y: NDArray[Any]
) -> LocalError:
    params = effective_params(node, _ALL)
    own = x if params is None else fake_quantize(x, params)
    return LocalError(node.name, sample, pair_statistics(x, own), _statistics(node, x, y))


def _statistics(node: CalibrationNode, x: NDArray[Any], y: NDArray[Any]) -> PairStatistics:
    if x.shape != y.shape:
        raise EngineError(
            f"the input of calibration node {node.name!r} has shape {list(x.shape)} in the float "
            f"model but {list(y.shape)} in the quantized one; leave the node out"
        )
    return pair_statistics(x, y)
