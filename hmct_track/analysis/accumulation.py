"""Which configurations show how error accumulates through a model."""

from __future__ import annotations

from collections.abc import Sequence

from hmct_track.errors import UsageError
from hmct_track.model import QuantModel
from hmct_track.types import CalibrationKind, Planned, QuantConfig, Quantization

REFERENCE = "calibrated_model"
"""Name of the curve of the fully quantized model."""

Selection = str | Sequence[str] | Sequence[Sequence[str]] | None


def plan(
    model: QuantModel, quantize_node: Selection, non_quantize_node: Selection
) -> tuple[Planned, ...]:
    """One curve per element of the selection, and the fully quantized model as a reference.

    Args:
        model: the model.
        quantize_node: nodes that alone are quantized: a list gives one curve per node, a nested
            list one per inner list; ``weight`` and ``activation`` stand for all of a kind.
        non_quantize_node: nodes that alone are not quantized, likewise, without those two.

    Raises:
        UsageError: both or neither are given, or an element is not allowed there.
        UnknownNodeError: a node does not exist.
    """
    chosen = [s for s in (quantize_node, non_quantize_node) if s]
    if len(chosen) != 1:
        given = "both were" if len(chosen) == 2 else "neither was"
        raise UsageError(f"give either quantize_node or non_quantize_node; {given} given")
    curves = _curves(model, chosen[0], inverted=not quantize_node)
    every = [node.name for node in model.calibration_nodes]
    reference = Planned(
        REFERENCE, "reference", QuantConfig(Quantization.AS_CALIBRATED).canonical(every)
    )
    planned = [
        Planned(
            name,
            "curve",
            (
                QuantConfig.all_but(nodes) if non_quantize_node else QuantConfig.only(nodes)
            ).canonical(every),
        )
        for name, nodes in curves.items()
    ]
    return (*planned, reference)


def _curves(
    model: QuantModel, selection: str | Sequence[str] | Sequence[Sequence[str]], *, inverted: bool
) -> dict[str, list[str]]:
    """Name of each curve, and the calibration nodes that it is about."""
    elements = [selection] if isinstance(selection, str) else list(selection)
    nested = [not isinstance(element, str) for element in elements]
    if any(nested) and not all(nested):
        raise UsageError(
            f"{elements!r} mixes names and lists; give a list of names or a list of lists"
        )
    if any(nested):
        return {
            f"partial_qmodel_{i}": _calibrations(model, group) for i, group in enumerate(elements)
        }
    curves = {}
    for element in elements:
        if element in list(CalibrationKind):
            if inverted:
                raise UsageError(
                    f"non_quantize_node cannot have {element!r}; use quantize_node with the other "
                    "kind, which comes to the same"
                )
            nodes = [n.name for n in model.calibration_nodes if n.kind == element and not n.fixed]
            curves[f"only_{element}_calibrated"] = nodes
        else:
            for name in model.expand([str(element)]):
                curves[name] = _calibrations(model, [name])
    return curves


def _calibrations(model: QuantModel, names: Sequence[str]) -> list[str]:
    """The calibration nodes of a group of nodes."""
    if not names:
        raise UsageError("a list of nodes is empty; name at least one node in each")
    for name in names:
        if name in list(CalibrationKind):
            raise UsageError(f"{name!r} is allowed in a plain list only, not in a nested one")
    return list(dict.fromkeys(c for n in model.expand(names) for c in model.calibrations_of(n)))
