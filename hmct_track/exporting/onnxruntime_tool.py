"""onnxruntime's ``quantize_static``: a Python file with its arguments.

Its overrides hold enumerations and sets, which JSON has not.
"""

from __future__ import annotations

from typing import Any

from hmct_track.exporting.view import Exported, PlanView, TensorPlan
from hmct_track.types import CalibrationKind

_TYPES = {"int4": "QInt4", "uint4": "QUInt4", "int8": "QInt8", "uint8": "QUInt8",
          "int16": "QInt16", "uint16": "QUInt16"}  # fmt: skip

_TINY = 1.2e-38

_TEXT = '''\
"""{title}

Arguments of onnxruntime.quantization.quantize_static for the float model:

    from onnxruntime.quantization import quantize_static
    quantize_static("float.onnx", "quantized.onnx", reader, **QUANTIZE)
"""

from numpy import array
from onnxruntime.quantization import QuantFormat, QuantType

NODES_TO_EXCLUDE = {exclude}

TENSOR_QUANT_OVERRIDES = {{
{overrides}}}

QUANTIZE = {{
    "quant_format": QuantFormat.QDQ,
    "activation_type": QuantType.{activation},
    "weight_type": QuantType.{weight},
    "per_channel": {per_channel},
    "op_types_to_quantize": {ops},
    "nodes_to_exclude": NODES_TO_EXCLUDE,
    "extra_options": {{
        "TensorQuantOverrides": TENSOR_QUANT_OVERRIDES,
        "ActivationSymmetric": {symmetric},
        "WeightSymmetric": True,
        # Types of 16 bits in models of an opset below 21.
        "UseQDQContribOps": True,
    }},
}}
'''


def onnxruntime_script(view: PlanView) -> Exported:
    """``nodes_to_exclude`` for what becomes float, ``TensorQuantOverrides`` for the other types.

    The scales are those of the plan. Where a tensor has one type for some readers and another for
    the rest, the others have a ``convert``.
    """
    unsaid: list[str] = []
    exclude = [n.name for n in view.nodes if set(n.types) == {"float32"}]
    for node in view.nodes:
        if "float16" in node.types:
            unsaid.append(f"node {node.name!r}: float16, which the quantizer does not know")
        elif "float32" in node.types and len(node.types) > 1:
            unsaid.append(f"node {node.name!r}: some of its inputs in float32")
    overrides = "".join(_override(name, own, unsaid) for name, own in _by_tensor(view).items())
    usual = {kind: _TYPES.get(view.usual(kind)) for kind in CalibrationKind}
    for kind, name in usual.items():
        if name is None:
            unsaid.append(f"{kind}s of {view.usual(kind)}; the default is int8")
    activations = [t for t in view.tensors if t.kind is CalibrationKind.ACTIVATION]
    weights = [t for t in view.tensors if t.kind is CalibrationKind.WEIGHT]
    text = _TEXT.format(
        title=view.title.replace("\\", "\\\\").replace('"""', "'''"),
        exclude=repr(exclude),
        overrides=overrides,
        activation=usual[CalibrationKind.ACTIVATION] or "QInt8",
        weight=usual[CalibrationKind.WEIGHT] or "QInt8",
        per_channel=any(w.params.is_per_channel for w in weights),
        ops=repr(sorted({n.op_type for n in view.nodes})),
        symmetric=all(a.params.is_symmetric for a in activations),
    )
    return Exported(text, unsaid)


def _by_tensor(view: PlanView) -> dict[str, list[tuple[TensorPlan, str]]]:
    """Tensor to its quantizers that are of integer types, with the nodes that read them."""
    found: dict[str, list[tuple[TensorPlan, str]]] = {}
    for node in view.nodes:
        for tensor in node.inputs:
            if tensor.after in _TYPES:
                found.setdefault(tensor.tensor, []).append((tensor, node.name))
    return found


def _override(name: str, own: list[tuple[TensorPlan, str]], unsaid: list[str]) -> str:
    first = own[0][0]
    if not first.is_named:
        unsaid.append(f"tensor of {first.calibration!r}: its name in the float model")
        return ""
    others = [(t, node) for t, node in own if t.params != first.params]
    if not first.is_changed and not others:
        return ""  # as the quantizer finds it
    if any(t.params != others[0][0].params for t, _ in others):
        unsaid.append(f"tensor {name!r}: more than two types for its readers")
    if first.params.is_per_channel and first.kind is CalibrationKind.ACTIVATION:
        unsaid.append(f"tensor {name!r}: an activation per channel")
        return ""
    entries = _entries(first)
    if others:
        nodes = ", ".join(repr(node) for _, node in others)
        convert = _entries(others[0][0])[0]
        entries[0]["convert"] = f"{_dict(convert)[:-1]}, 'recv_nodes': {{{nodes}}}}}"
    listed = ", ".join(_dict(entry) for entry in entries)
    return f"    {name!r}: [{listed}],\n"


def _entries(tensor: TensorPlan) -> list[dict[str, Any]]:
    """A dict for the tensor, or one for each channel, the first with the axis."""
    params = tensor.params
    kind = f"QuantType.{_TYPES[tensor.after]}"
    dtype = tensor.after if tensor.after not in ("int4", "uint4") else "int8"
    zeros = params.zero_points or (0,)
    zeros = zeros if len(zeros) == len(params.scales) else zeros[:1] * len(params.scales)
    found = [
        {
            "quant_type": kind,
            # A channel of zeros has no steps; onnxruntime divides by them.
            "scale": f"array({max(scale, _TINY)!r}, 'float32')",
            "zero_point": f"array({zero}, '{dtype}')",
        }
        for scale, zero in zip(params.scales, zeros, strict=True)
    ]
    if params.is_per_channel:
        found[0]["axis"] = str(params.axis)
    return found


def _dict(entry: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key!r}: {value}" for key, value in entry.items()) + "}"
