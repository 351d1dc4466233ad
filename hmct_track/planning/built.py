"""Where the model that a toolchain built differs from its plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hmct_track.errors import UsageError
from hmct_track.types import QuantConfig, Quantization, QuantType, State

PLAN_FILE = "plan.json"
NOT_THERE = "not there"


@dataclass(frozen=True)
class Deviation:
    """An input of a node whose type is not the planned one."""

    node: str
    calibration: str
    """The calibration node of the plan's model."""
    kind: str
    position: int
    """The input of the node, from 0."""
    calibrated: str
    planned: str
    built: str
    """``not there`` where the built model has no node of this name."""

    @property
    def state(self) -> State | None:
        """What the calibration node does as built; None where that cannot be measured."""
        if self.built == NOT_THERE:
            return None
        if self.built == self.calibrated:
            return Quantization.AS_CALIBRATED
        if self.built == "float32":
            return Quantization.OFF
        return QuantType(self.built)


def read_plan(path: str) -> dict[str, Any]:
    """A ``plan.json``, or that of a folder.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    file = Path(path)
    file = file / PLAN_FILE if file.is_dir() else file
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"plan {str(file)!r} cannot be read: {error}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"plan {str(file)!r} is no JSON: {error}") from error
    try:
        if found["hmct_track_plan"] != 1:
            raise UsageError(
                f"plan {str(file)!r} is of form {found['hmct_track_plan']!r}; form 1 was expected"
            )
        planned_config(found)
        deviations(found, {})
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{str(file)!r} is not a plan of hmct-debugger plan -o FOLDER: {error!r}"
        ) from error
    return dict(found)


def planned_config(plan: Mapping[str, Any]) -> QuantConfig:
    """The configuration of a plan."""
    return QuantConfig.from_json(json.dumps(plan["config"]))


def deviations(plan: Mapping[str, Any], built: Mapping[str, Sequence[str]]) -> list[Deviation]:
    """All inputs whose types differ, in the order of the plan's nodes.

    Args:
        plan: the content of a ``plan.json``.
        built: node of the built model to the types of its inputs.
    """
    found = []
    for name, node in plan["nodes"].items():
        types = built.get(name)
        for given in node["inputs"]:
            position = given["position"]
            if types is None:
                kind = NOT_THERE
            else:
                kind = types[position] if position < len(types) else NOT_THERE
            if kind != given["planned"]:
                found.append(
                    Deviation(
                        name,
                        given["calibration_node"],
                        given["kind"],
                        position,
                        given["calibrated"],
                        given["planned"],
                        kind,
                    )
                )
    return found


def as_built(config: QuantConfig, found: Sequence[Deviation]) -> QuantConfig:
    """The plan's configuration with these deviations."""
    states = {d.calibration: d.state for d in found if d.state is not None}
    return QuantConfig(config.default, {**config.overrides, **states}, config.shifts)


def to_rows(found: Sequence[Deviation]) -> list[dict[str, Any]]:
    """Deviations as plain data."""
    return [asdict(d) for d in found]
