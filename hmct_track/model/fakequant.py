"""Derivation of quantization parameters, and the fake-quantization formula in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hmct_track.types import Effect, QuantParams, QuantType


def fake_quantize(x: NDArray[np.floating], params: QuantParams) -> NDArray[np.floating]:
    """Quantize and dequantize ``x``.

    ``q = clip(round_half_to_even(x / scale) + zero_point, qmin, qmax)``,
    ``y = (q - zero_point) * scale``, over the full range of the type; ``float16`` rounds to half
    precision, ``float32`` changes nothing. Source: ONNX ``QuantizeLinear``/``DequantizeLinear``.
    Clipping alone is ``y = clip(x, (qmin - zero_point) * scale, (qmax - zero_point) * scale)``,
    rounding alone ``y = round_half_to_even(x / scale) * scale``, ``y = x`` where the scale is 0.
    With factors ``x`` is multiplied by them before and divided by them after.

    Args:
        x: float32 of any shape with ``params.axis`` inside, if per channel.
        params: scales per tensor or per channel.

    Returns:
        float32 of the shape of ``x``. ``int32`` is computed in float64, the rest in float32.
    """
    if params.factors:
        shape = [1] * x.ndim
        if len(params.factors) > 1:
            shape[params.factor_axis] = len(params.factors)
        factors = np.array(params.factors, np.float32).astype(x.dtype).reshape(shape)
        return fake_quantize(x * factors, replace(params, factors=())) / factors
    if params.qtype.name == "float32":
        return x
    if params.qtype.name == "float16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).astype(x.dtype)
    work = np.float64 if params.qtype.bits > 16 else x.dtype
    shape = [1] * x.ndim
    if params.is_per_channel:
        shape[params.axis] = len(params.scales)
    scales = np.array(params.scales, np.float32).astype(work).reshape(shape)
    low, high = (bound.astype(work).reshape(shape) for bound in clip_bounds(params))
    if params.effect is Effect.CLIP_ONLY:
        return np.clip(x.astype(work), low * scales, high * scales).astype(x.dtype)
    steps = np.where(scales == 0, 1, scales)
    q = np.rint(x / steps)
    if params.effect is Effect.ROUND_ONLY:
        return np.where(scales == 0, x, q * steps).astype(x.dtype)
    # Clipping to the range less the zero point equals adding it, clipping and taking it off.
    return (np.clip(q, low, high) * scales).astype(x.dtype)


def clip_bounds(params: QuantParams) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``qmin - zero_point`` and ``qmax - zero_point`` of each scale, int64 of shape (scales,)."""
    zero = np.zeros(len(params.scales), np.int64) + np.array(params.zero_points or 0, np.int64)
    return params.qtype.qmin - zero, params.qtype.qmax - zero


def derive(
    qtype: QuantType, thresholds: Sequence[float], *, asymmetric: bool, axis: int
) -> QuantParams:
    """Quantization parameters of a type from thresholds.

    Symmetric: ``scale = threshold / qmax``, zero point 0. Asymmetric, from pairs of minimum and
    maximum: ``scale = (max - min) / (qmax - qmin)``, ``zero_point = qmax - round(max / scale)``.

    Args:
        qtype: the type; float types need no scales.
        thresholds: absolute maxima, or minimum and maximum one after the other.
        asymmetric: whether they are pairs.
        axis: channel axis, used if there is more than one scale.
    """
    if not qtype.is_integer:
        return QuantParams(qtype, thresholds=tuple(thresholds), axis=axis)
    values = np.array(thresholds, np.float64)
    if asymmetric:
        low, high = values.reshape(-1, 2).T
        scales = ((high - low) / (qtype.qmax - qtype.qmin)).astype(np.float32)
        safe = np.where(scales == 0, 1, scales.astype(np.float64))
        zero_points = qtype.qmax - np.rint(high / safe)
    else:
        # An unsigned type reaches its whole range above zero, a signed one qmax on either side.
        scales = (values / qtype.qmax).astype(np.float32)
        zero_points = np.zeros(len(values))
    return QuantParams(
        qtype,
        tuple(scales.tolist()),
        tuple(int(z) for z in zero_points),
        tuple(thresholds),
        axis,
    )


def thresholds_of(params: QuantParams) -> tuple[float, ...]:
    """Thresholds that scales and zero points imply: absolute maxima, or pairs if asymmetric."""
    low, high = clip_bounds(params)
    scales = np.array(params.scales, np.float64)
    if not any(params.zero_points):
        return tuple((high * scales).tolist())
    return tuple(np.stack([low * scales, high * scales], axis=1).ravel().tolist())


def with_type(params: QuantParams, qtype: QuantType) -> QuantParams:
    """The same thresholds quantized to another type, scales derived anew."""
    if qtype == params.qtype:
        return params
    count = max(len(params.scales), 1)
    if not params.thresholds:
        raise ValueError("it has no thresholds to derive scales from")
    asymmetric = len(params.thresholds) == 2 * count
    thresholds = params.thresholds
    if not asymmetric and not qtype.is_signed and params.qtype.is_signed:
        # Symmetric thresholds reach as far below zero; an unsigned type needs a zero point for it.
        thresholds = tuple(v for t in thresholds for v in (-t, t))
        asymmetric = True
    return derive(qtype, thresholds, asymmetric=asymmetric, axis=params.axis)
