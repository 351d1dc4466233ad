"""Configurations as paths through the parts of a model, which share what they have in common."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from numpy.typing import NDArray

from hmct_track.engine.partition import Partition
from hmct_track.engine.runtime import Session
from hmct_track.types import BiasShift, QuantConfig, Quantization, State

Key = tuple[tuple[str, State | BiasShift], ...]
"""What the calibration nodes of a part do, those left out that are off, and how its general nodes
are corrected. Empty: as in float."""

Place = tuple[int, Key]
"""A part, and how it differs from float."""

Tensors = dict[str, NDArray[Any]]


class Variants:
    """Sessions of parts, each made at its first use and dropped after its last.

    Configurations that differ in many parts, such as those of a partial quantization, keep the
    sessions alive that others of them will use again: memory grows with how many there are.
    """

    def __init__(self, make: Callable[[int, Key], Session], uses: Counter[Place]) -> None:
        self._make = make
        self._uses = uses
        self._lock = threading.Lock()
        self._making: dict[Place, threading.Lock] = {}
        self._kept: dict[Place, Session] = {}

    def take(self, part: int, key: Key) -> Session:
        """The session of a part, for one of its uses."""
        place = part, key
        with self._lock:
            making = self._making.setdefault(place, threading.Lock())
        with making:  # whoever wants the same session waits, others do not
            session = self._kept.get(place) or self._make(part, key)
            with self._lock:
                self._uses[place] -= 1
                if self._uses[place] > 0:
                    self._kept[place] = session
                else:
                    self._kept.pop(place, None)
                    self._making.pop(place, None)
        return session


def count_uses(keys: Iterable[Mapping[int, Key]], times: int) -> Counter[Place]:
    """How often each session is used, where configurations share what they have in common."""
    prefixes: dict[tuple[int, Place], int] = {}
    uses: Counter[Place] = Counter()
    for changed in keys:
        prefix = 0
        for place in sorted(changed.items(), key=itemgetter(0)):
            step = prefix, place
            if step not in prefixes:
                prefixes[step] = len(prefixes) + 1
                uses[place] += times
            prefix = prefixes[step]
    return uses


@dataclass
class Branch:
    """Configurations that are the same up to a part, and where that has led for each sample."""

    configs: tuple[int, ...]
    part: int
    samples: tuple[str, ...]
    changed: dict[str, Tensors] = field(default_factory=dict)
    """Sample to those of its live tensors that are not as in float."""
    given: dict[str, Tensors] = field(default_factory=dict)
    """Sample to those of its compared tensors that are not as in float, where they are kept."""

    def split(self, keys: Sequence[Mapping[int, Key]]) -> list[tuple[Key, Branch]]:
        """Branches by what the configurations do in this part, those as in float first."""
        groups: dict[Key, list[int]] = defaultdict(list)
        for config in self.configs:
            groups[keys[config].get(self.part, ())].append(config)
        if len(groups) == 1:
            return [(next(iter(groups)), self)]
        return [
            (
                key,
                replace(
                    self,
                    configs=tuple(groups[key]),
                    changed={sample: dict(tensors) for sample, tensors in self.changed.items()},
                    given={sample: dict(tensors) for sample, tensors in self.given.items()},
                ),
            )
            for key in sorted(groups, key=bool)
        ]


def keys_of(
    partition: Partition,
    configs: Sequence[QuantConfig],
    enabled: Mapping[str, bool],
) -> list[dict[int, Key]]:
    """For each configuration, the parts that it changes and how.

    Args:
        partition: the parts.
        configs: canonical configurations.
        enabled: calibration node to whether it quantizes as calibrated.
    """
    parts_of: dict[str, list[int]] = defaultdict(list)
    for number, part in enumerate(partition.parts):
        for name in part.calibrations:
            parts_of[name].append(number)
    full = {
        number: tuple((n, Quantization.AS_CALIBRATED) for n in part.calibrations if enabled[n])
        for number, part in enumerate(partition.parts)
    }
    runs = {name: number for number, part in enumerate(partition.parts) for name in part.nodes}
    found = []
    for config in configs:
        base = full if config.default is Quantization.AS_CALIBRATED else {}
        keys: dict[int, Key] = dict(base)
        for number in {p for name in config.overrides for p in parts_of.get(name, ())}:
            keys[number] = tuple(
                (name, config.state(name))
                for name in partition.parts[number].calibrations
                if _acts(config.state(name), enabled[name])
            )
        for name, shift in sorted(config.shifts.items()):
            if name in runs:  # what comes after all outputs changes none of them
                keys[runs[name]] = (*keys.get(runs[name], ()), (name, shift))
        found.append({number: key for number, key in keys.items() if key})
    return found


def config_of(key: Key) -> QuantConfig:
    """A configuration that does in a part what a key says."""
    return QuantConfig(
        overrides={name: state for name, state in key if not isinstance(state, BiasShift)},
        shifts={name: state for name, state in key if isinstance(state, BiasShift)},
    )


def _acts(state: State, enabled: bool) -> bool:
    if state is Quantization.AS_CALIBRATED:
        return enabled
    return state is not Quantization.OFF
