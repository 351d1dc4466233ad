"""The attributes of an HzCalibration node, checked one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import onnx
from onnx import helper

from hmct_track.errors import ModelError
from hmct_track.model.fakequant import derive, thresholds_of
from hmct_track.types import QuantParams, QuantType

_IGNORED = frozenset(
    ("quant_attrs", "cali_attrs", "max_num_bins", "num_bins", "percentiles", "group")
)
_NUMBERS = {int, float}
_MOST_RANK = 64
"""Dimensions of a tensor that NumPy holds; an axis is below it."""
_MOST_ZERO_POINT = 2**53
"""Larger whole numbers float64 does not hold exactly."""
_UNDERSTOOD = frozenset(("scales", "thresholds", "zero_point", "axis", "qtype", "bits")) | {
    "constant",
    "switch",
    "info_strings",
}


@dataclass(frozen=True)
class CalibrationAttributes:
    """What an HzCalibration node's attributes say."""

    params: QuantParams
    enabled: bool
    constant: int | None


class _Attributes:
    """Typed access to the attributes of one node; every complaint names node and attribute."""

    def __init__(self, node: onnx.NodeProto, name: str) -> None:
        self._name = name
        self._values: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.name in ("block_sizes", "block_size") or "dynamic" in attribute.name:
                self.refuse(
                    attribute.name,
                    "its scales are found at run time, so it is not a static quantizer; "
                    "recalibrate the model with a static strategy",
                )
            if attribute.name not in _UNDERSTOOD | _IGNORED:
                self.refuse(attribute.name, "this attribute is not understood")
            self._values[attribute.name] = helper.get_attribute_value(attribute)

    def refuse(self, attribute: str, why: str) -> NoReturn:
        raise ModelError(f"calibration node {self._name!r}, attribute {attribute}: {why}")

    def __contains__(self, attribute: str) -> bool:
        return attribute in self._values

    def text(self, attribute: str, default: str) -> str:
        value = self._values.get(attribute, default)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if not isinstance(value, str):
            self.refuse(attribute, f"{value!r} is not a string")
        return value

    def texts(self, attribute: str) -> list[str]:
        values = self._values.get(attribute, [])
        if not isinstance(values, list):
            self.refuse(attribute, f"{values!r} is not a list of strings")
        return [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values]

    def integer(self, attribute: str) -> int | None:
        value = self._values.get(attribute)
        if value is not None and not isinstance(value, int):
            self.refuse(attribute, f"{value!r} is not an integer")
        return value

    def numbers(self, attribute: str) -> tuple[float, ...]:
        value = self._values.get(attribute, ())
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not _NUMBERS.issuperset(map(type, values)):
            self.refuse(attribute, f"{value!r} is not a list of numbers")
        if not all(map(math.isfinite, values)):
            self.refuse(attribute, "it has NaN or Inf; the calibration of this node failed")
        return values

    def integers(self, attribute: str) -> tuple[int, ...]:
        values = self.numbers(attribute)
        whole = tuple(map(int, values))
        if whole != values:
            self.refuse(attribute, f"{list(values)} are not all integers")
        return whole


def parse_calibration(node: onnx.NodeProto, name: str) -> CalibrationAttributes:
    """What the attributes of HzCalibration node ``node``, known as ``name``, say.

    Raises:
        ModelError: an attribute is not understood, of the wrong type or out of range.
    """
    attributes = _Attributes(node, name)
    switch = attributes.text("switch", "ON")
    if switch not in ("ON", "OFF"):
        attributes.refuse("switch", f"{switch!r} is neither 'ON' nor 'OFF'")
    return CalibrationAttributes(
        _params(attributes), switch == "ON", attributes.integer("constant")
    )


def _params(attributes: _Attributes) -> QuantParams:
    qtype = _qtype(attributes)
    axis = attributes.integer("axis")
    axis = 1 if axis is None else axis
    if not -_MOST_RANK <= axis < _MOST_RANK:
        attributes.refuse("axis", f"{axis} is outside the dimensions that a tensor can have")
    scales, thresholds = attributes.numbers("scales"), attributes.numbers("thresholds")
    zero_points = attributes.integers("zero_point")
    if scales and min(scales) < 0:
        attributes.refuse("scales", f"{min(scales)} is negative; scales are at least 0")
    if not qtype.is_integer:
        return QuantParams(qtype, thresholds=thresholds, axis=axis)
    if zero_points and not qtype.qmin <= min(zero_points) <= max(zero_points) <= qtype.qmax:
        attributes.refuse("zero_point", f"{list(zero_points)} is outside the range of {qtype}")
    if not scales:
        if not thresholds:
            attributes.refuse(
                "scales", "neither scales nor thresholds are given; the node was never calibrated"
            )
        asymmetric = _thresholds_are_pair(attributes, thresholds, zero_points, qtype)
        _check_thresholds(attributes, thresholds, asymmetric)
        return _derived(attributes, qtype, thresholds, asymmetric=asymmetric, axis=axis)
    if len(zero_points) not in (0, 1, len(scales)):
        attributes.refuse(
            "zero_point", f"{len(zero_points)} entries for {len(scales)} scales; expected as many"
        )
    if len(zero_points) != len(scales):
        zero_points = (zero_points or (0,)) * len(scales)
    if len(thresholds) not in (0, len(scales), 2 * len(scales)):
        attributes.refuse(
            "thresholds",
            f"{len(thresholds)} entries for {len(scales)} scales; expected as many, or twice as "
            "many if asymmetric",
        )
    params = QuantParams(qtype, scales, zero_points, thresholds, axis)
    _check_thresholds(attributes, thresholds, len(thresholds) == 2 * len(scales))
    if thresholds:
        return params
    return QuantParams(qtype, scales, zero_points, thresholds_of(params), axis)


def _derived(
    attributes: _Attributes,
    qtype: QuantType,
    thresholds: tuple[float, ...],
    *,
    asymmetric: bool,
    axis: int,
) -> QuantParams:
    try:
        params = derive(qtype, thresholds, asymmetric=asymmetric, axis=axis)
    except OverflowError:  # a zero point beyond float64
        params = None
    if params is None or any(abs(z) > _MOST_ZERO_POINT for z in params.zero_points):
        attributes.refuse(
            "thresholds",
            f"{list(thresholds)} are too near each other for their distance from zero: no "
            "zero point holds it",
        )
    return params


def _qtype(attributes: _Attributes) -> QuantType:
    bits = attributes.integer("bits")
    source = "qtype" if "qtype" in attributes or bits is None else "bits"
    try:
        qtype = QuantType(attributes.text("qtype", "int8" if bits is None else f"int{bits}"))
    except ValueError as error:
        attributes.refuse(source, str(error))
    if bits is not None and bits != qtype.bits:
        attributes.refuse("bits", f"{bits} contradicts the attribute qtype, {qtype}")
    return qtype


def _thresholds_are_pair(
    attributes: _Attributes,
    thresholds: tuple[float, ...],
    zero_points: tuple[int, ...],
    qtype: QuantType,
) -> bool:
    """Whether thresholds that come without scales are minimum and maximum.

    Two positive ones of a signed type are two channels, unless something says asymmetric.
    """
    if len(thresholds) != 2:
        return False
    return (
        thresholds[0] <= 0
        or "asymq" in attributes.texts("info_strings")
        or any(zero_points)
        or not qtype.is_signed
    )


def _check_thresholds(
    attributes: _Attributes, thresholds: tuple[float, ...], asymmetric: bool
) -> None:
    if asymmetric:
        if any(low > high for low, high in zip(thresholds[::2], thresholds[1::2], strict=True)):
            attributes.refuse("thresholds", "a minimum is above its maximum")
    elif thresholds and min(thresholds) < 0:
        attributes.refuse(
            "thresholds", f"{min(thresholds)} is negative; symmetric thresholds are at least 0"
        )
