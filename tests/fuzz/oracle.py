"""What a mutated model computes in float, by ``onnx.reference``: nothing of hmct-track is here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

_erf = np.vectorize(math.erf, otypes=[np.float64])


class _Own(OpRun):
    """An op of the horizon domain, by its documented formula."""

    op_domain = "horizon"

    def _attribute(self, name: str, default: Any = None) -> Any:
        for attribute in self.onnx_node.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        if default is None:
            raise NotImplementedError(name)
        return default


class HzCalibration(_Own):
    """Off: the float model."""

    def _run(self, x: Any, **_: Any) -> tuple[Any]:
        return (x,)


class PlainCalibration(HzCalibration):
    op_domain = ""


PlainCalibration.__name__ = "HzCalibration"


class HzFilter(_Own):
    def _run(self, *x: Any, **_: Any) -> tuple[Any, ...]:
        return x[: len(self.onnx_node.output)]


class HzPreprocess(_Own):
    def _run(self, x: Any, w: Any, b: Any = None, **_: Any) -> tuple[Any]:
        channels = x.shape[1]
        if (
            self._attribute("channel_group", 1) != channels
            or self._attribute("data_format", "NCHW") != "NCHW"
            or w.shape != (channels, 1, 1, 1)
        ):
            raise NotImplementedError
        y = x.astype(np.float32) * w.reshape(1, -1, 1, 1)
        return (y if b is None else y + b.reshape(1, -1, 1, 1),)


class HzSpaceToDepth(_Own):
    def _run(self, x: Any, **_: Any) -> tuple[Any]:
        h, w = self._attribute("block_height"), self._attribute("block_width")
        n, c, height, width = x.shape
        if height % h or width % w:
            raise NotImplementedError
        split = x.reshape(n, c, height // h, h, width // w, w)
        return (split.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * h * w, height // h, width // w),)


class HzReluX(_Own):
    def _run(self, x: Any, **_: Any) -> tuple[Any]:
        return (np.minimum(np.maximum(x, 0), np.float32(self._attribute("clip_value"))),)


class HzGelu(_Own):
    def _run(self, x: Any, **_: Any) -> tuple[Any]:
        if self._attribute("approximate", "none") != "none":
            raise NotImplementedError
        return ((x / 2 * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype),)


class HzRsqrt(_Own):
    def _run(self, x: Any, **_: Any) -> tuple[Any]:
        epsilon = np.float32(self._attribute("epsilon", 0.0))
        if self._attribute("is_sqrt_add_reciprocal", 0):
            return (1 / (np.sqrt(x) + epsilon),)
        return (1 / np.sqrt(x + epsilon),)


class HzSoftmax(_Own):
    def _run(self, x: Any, **_: Any) -> tuple[Any]:
        axis = self._attribute("axis")
        powers = np.exp(x - x.max(axis=axis, keepdims=True))
        return (powers / powers.sum(axis=axis, keepdims=True),)


class QuantizeLinear(OpRun):
    """Off: a pair passes its value through."""

    def _run(self, x: Any, *_: Any, **__: Any) -> tuple[Any]:
        return (x,)


class DequantizeLinear(OpRun):
    """Of what a QuantizeLinear passed through nothing, of an integer weight its value."""

    def _run(self, x: Any, scale: Any, zero: Any = None, **_: Any) -> tuple[Any]:
        if x.dtype.kind == "f":
            return (x,)
        axis = next((a.i for a in self.onnx_node.attribute if a.name == "axis"), 1)
        shape = [1] * x.ndim
        if scale.size > 1:
            shape[axis] = scale.size
        off = 0 if zero is None else zero.reshape(shape).astype(np.int64)
        return ((x.astype(np.int64) - off).astype(np.float32) * scale.reshape(shape),)


_OPS = [HzCalibration, PlainCalibration, HzFilter, HzPreprocess, HzSpaceToDepth, HzReluX, HzGelu,
        HzRsqrt, HzSoftmax, QuantizeLinear, DequantizeLinear]  # fmt: skip


def float_outputs(
    proto: onnx.ModelProto, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray] | None:
    """The outputs by name; None where the reference has no opinion on such a model."""
    try:
        evaluator = ReferenceEvaluator(proto, new_ops=_OPS)  # type: ignore[arg-type]
        with np.errstate(all="ignore"):
            values = evaluator.run(None, dict(inputs))
    except Exception:  # noqa: BLE001 - it raises anything for what it does not take
        return None
    integers = {o for n in proto.graph.node if n.op_type == "QuantizeLinear" for o in n.output}
    found = zip(evaluator.output_names, values, strict=True)
    return {name: value for name, value in found if name not in integers}
