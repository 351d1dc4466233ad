"""AIMET's encodings, version 1.0.0."""

from __future__ import annotations

import json
from typing import Any

from hmct_track.exporting.view import Exported, PlanView, TensorPlan
from hmct_track.types import CalibrationKind


def aimet_encodings(view: PlanView) -> Exported:
    """Scales and offsets by tensor: ``activation_encodings`` and ``param_encodings``.

    A value is ``(q + offset) * scale`` with ``q`` from 0 to ``2^bw - 1``, so a symmetric tensor has
    the offset ``-2^(bw-1)``. Tensors in float32 have no entry.
    """
    unsaid: list[str] = []
    found: dict[CalibrationKind, list[dict[str, Any]]] = {kind: [] for kind in CalibrationKind}
    seen: dict[str, str] = {}
    for tensor in view.tensors:
        if not tensor.is_named:
            unsaid.append(f"tensor of {tensor.calibration!r}: its name in the float model")
            continue
        if seen.setdefault(tensor.tensor, tensor.after) != tensor.after:
            unsaid.append(f"tensor {tensor.tensor!r}: {tensor.after} for some of its readers")
            continue
        if tensor.after != "float32" and not any(
            e["name"] == tensor.tensor for e in found[tensor.kind]
        ):
            found[tensor.kind].append(_encoding(tensor, unsaid))
    return Exported(
        json.dumps(
            {
                "version": "1.0.0",
                "activation_encodings": found[CalibrationKind.ACTIVATION],
                "param_encodings": found[CalibrationKind.WEIGHT],
                "excluded_layers": [],
                "producer": "hmct-track",
            },
            indent=1,
        )
        + "\n",
        unsaid,
    )


def _encoding(tensor: TensorPlan, unsaid: list[str]) -> dict[str, Any]:
    params, qtype = tensor.params, tensor.params.qtype
    if not qtype.is_integer:
        return {"name": tensor.tensor, "dtype": "FLOAT", "bw": qtype.bits}
    zeros = params.zero_points or (0,) * len(params.scales)
    zeros = zeros * len(params.scales) if len(zeros) == 1 else zeros
    if params.is_per_channel and params.axis not in (0, 1, -1):
        unsaid.append(f"tensor {tensor.tensor!r}: channels along axis {params.axis}")
    return {
        "name": tensor.tensor,
        "dtype": "INT",
        "bw": qtype.bits,
        "enc_type": "PER_CHANNEL" if params.is_per_channel else "PER_TENSOR",
        "is_sym": qtype.is_signed and params.is_symmetric,
        "scale": list(params.scales),
        "offset": [qtype.qmin - zero for zero in zeros],
    }
