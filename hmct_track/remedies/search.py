"""Choosing free remedies for a whole model by measured error, without fitting its samples.

The error of a sample is the sum over outputs of squared error over the mean energy of that output;
a gain is that of two configurations on the same sample, in dB. An output of a few numbers says
little about noise: what its last layer reads counts in its place. Samples are in two parts:

- *choosing*: statistics are of them, and a change is a candidate only if its mean gain on them is
  larger than the standard error of that mean;
- *checking*: how many of the candidates are taken together, the most promising first, and whether
  corrections of biases are, is decided by these, on which no change was picked by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hmct_track.engine.evaluate import Engine
from hmct_track.engine.facts import Facts, facts_of
from hmct_track.engine.protocols import Tensors
from hmct_track.model import Layers, QuantModel, load_model, mended, whole_proto
from hmct_track.remedies.candidates import parameters_for
from hmct_track.remedies.equalization import equalized_pairs
from hmct_track.remedies.remedy import Family
from hmct_track.remedies.tried import parts_of, sizes, telling
from hmct_track.types import (
    BiasShift,
    CalibrationKind,
    Measurement,
    QuantConfig,
    Quantization,
    QuantParams,
    State,
)

_POOL = 12
"""The most promising changes, of which one after the other is taken."""
_STEPS = 8
_SKIPPED = ("0.9 of max", "0.7 of max", "0.5 of max", "0.3 of max", "0.2 of max", "0.55 of max",
            "percentile 99.5")  # fmt: skip
"""Parameters that are worth a look at one node, and seldom a try at all of them."""
_UNEVEN = 16.0
"""Channels whose ranges differ by less are not worth equalizing."""
_SCREENED = 3
"""Samples that every single change is tried on; the best of a node on all that choose."""
_KEPT = 2
_LEAST_DB = 0.02
"""Changes that gain less are not worth their place."""
_ALL = QuantConfig(Quantization.AS_CALIBRATED)
_WORTH_DB = 0.01

Gains = NDArray[np.float64]

Counted = Callable[[Iterable[Measurement], int, str], Iterable[Measurement]]
"""Passes on what is measured, of which there will be so much, and tells what it is for."""


@dataclass(frozen=True)
class Scope:
    """What a search may change."""

    quantizers: Collection[str]
    """Calibration nodes that may get other parameters."""
    layers: Collection[str]
    """General nodes whose biases may be corrected."""


@dataclass(frozen=True)
class Step:
    """Something that was taken, and what it gave."""

    what: str
    nodes: int
    choosing: float
    """Mean gain over the choosing samples, in dB."""
    checking: float
    """Mean gain over the checking samples, in dB."""
    config: QuantConfig
    """All that was taken so far, as a configuration of the model that the search began with."""


@dataclass(frozen=True)
class _Change:
    """A candidate: calibration nodes with new parameters."""

    what: str
    states: Mapping[str, QuantParams]


class Search:
    """A search for the free remedies of a whole model.

    Args:
        model: the calibrated model to begin with.
        engine_of: makes what evaluates a model.
        choosing: sample id to inputs.
        checking: likewise; other samples.
        outputs: what is compared.
        families: the remedies that may be taken; those at a price are ignored.
        scope: what may change; everything by default.
        rounds: how often single changes are tried.
        watch: is told of each step.
        counted: what is measured goes through it.
    """

    def __init__(
        self,
        model: QuantModel,
        engine_of: Callable[[QuantModel], Engine],
        choosing: Mapping[str, Tensors],
        checking: Mapping[str, Tensors],
        outputs: Sequence[str],
        families: Sequence[Family],
        *,
        scope: Scope | None = None,
        rounds: int = 1,
        watch: Callable[[str], None] = lambda _: None,
        counted: Counted = lambda found, _, __: found,
    ) -> None:
        self._start = model
        self._scope = scope or Scope(
            [node.name for node in model.calibration_nodes],
            [node.name for node in model.general_nodes],
        )
        self._engine_of = engine_of
        self._choosing, self._checking = dict(choosing), dict(checking)
        self.compared = telling(model, outputs)
        """The tensors whose errors are compared."""
        self._families = set(families)
        self._rounds = rounds
        self._watch = watch
        self._through = counted
        self._doing = "the model as it is"
        self._states: dict[str, QuantParams] = {}
        self._factors: dict[str, tuple[tuple[float, ...], int]] = {}
        self._shifts: dict[str, BiasShift] = {}
        self._energies: dict[str, float] = {}
        self._facts: dict[str, Facts] = {}
        self._counted: dict[str, tuple[tuple[float, ...], int]] = {}
        """The factors that were moved when facts were found."""
        self._hopeless: set[str] = set()
        """Calibration nodes that no parameter of theirs has helped."""
        self.steps: list[Step] = []
        self._renew()
        self.errors([_ALL], {**self._choosing, **self._checking})  # what errors are relative to

    @property
    def config(self) -> QuantConfig:
        """What was chosen, as a configuration of the model that it began with."""
        states: dict[str, State] = {}
        for name, params in self._states.items():
            factors, axis = self._factors.get(name, ((), 1))
            states[name] = replace(params, factors=factors, factor_axis=axis)
        every = [node.name for node in self._start.calibration_nodes]
        config = QuantConfig(Quantization.AS_CALIBRATED, states, self._shifts)
        return config.canonical(every)

    def run(self) -> QuantConfig:
        """Choose, and return what was chosen."""
        self.take_calibrator()
        if Family.EQUALIZATION in self._families:
            self._doing = "equalization"
            self._equalize()
        for number in range(self._rounds):
            self._correct()
            self._doing = "single changes"
            if not self._singles(f"round {number + 1}"):
                return self.config
        self._correct()
        return self.config

    def _renew(self) -> None:
        """The model with what was chosen so far as its own calibration.

        What its float tensors hold stays, unless factors were moved between them.
        """
        config = self.config
        changed = bool(config.overrides or config.shifts)
        skeleton = mended(self._start, config) if changed else None
        self._model = load_model(whole_proto(skeleton)) if skeleton else self._start
        self._engine = self._engine_of(self._model)
        self._layers = Layers(self._model)
        by_name = self._model.calibration_by_name
        same = self._factors == self._counted
        self._facts = {n: replace(f, node=by_name[n]) for n, f in self._facts.items() if same}

    def facts(self) -> dict[str, Facts]:
        """What the tensors of quantizers that may change hold, by their parameters as they are."""
        if not self._facts:
            nodes = [
                node
                for node in self._model.switchable_calibrations
                if node.name in self._scope.quantizers
                and node.params.qtype.is_integer
                and node.enabled
                and not node.is_correction
            ]
            self._counted = dict(self._factors)
            self._facts = facts_of(self._engine, self._choosing, nodes, self._layers, errors=False)
        return self._facts

    def errors(
        self, configs: Sequence[QuantConfig], samples: Mapping[str, Tensors]
    ) -> NDArray[np.float64]:
        """The error of each configuration and sample, float64 of shape (configs, samples)."""
        return self._errors(self._engine, configs, samples)

    def _errors(
        self, engine: Engine, configs: Sequence[QuantConfig], samples: Mapping[str, Tensors]
    ) -> NDArray[np.float64]:
        known = [node.name for node in engine.model.calibration_nodes]
        canonical = [config.canonical(known) for config in configs]
        ids = [config.config_id for config in canonical]
        unique = dict(zip(ids, canonical, strict=True))
        pairs: dict[tuple[str, str, str], float] = {}
        energies: dict[tuple[str, str], float] = {}
        records = self._through(
            engine.evaluate(list(unique.values()), samples, self.compared),
            len(unique) * len(samples) * len(self.compared),
            self._told(),
        )
        for found in records:
            s = found.statistics
            pairs[found.config_id, found.sample_id, found.output] = s.sum_dd
            energies[found.output, found.sample_id] = s.sum_xx
        outputs = list(dict.fromkeys(output for output, _ in energies))
        if not self._energies:
            self._energies = {
                o: float(np.mean([e for (name, _), e in energies.items() if name == o]))
                for o in outputs
            }
        return np.array(
            [
                [
                    sum(pairs[i, s, o] / max(self._energies[o], 1e-30) for o in outputs)
                    for s in samples
                ]
                for i in ids
            ]
        )

    def gains(
        self, configs: Sequence[QuantConfig], samples: Mapping[str, Tensors]
    ) -> NDArray[np.float64]:
        """Gains over the model as it is, in dB, float64 of shape (configs, samples)."""
        return _decibels(self.errors([_ALL, *configs], samples))

    def judged(self, samples: Mapping[str, Tensors]) -> Gains:
        """What all up to each step gains on samples that chose nothing.

        Returns:
            Gains over the model that it began with, in dB, float64 of shape (steps, samples).
        """
        engine = self._engine_of(self._start)
        self._doing = "the held-out samples"
        configs = [_ALL, *(step.config for step in self.steps)]
        return _decibels(self._errors(engine, configs, samples))

    def _take(
        self, what: str, changes: Sequence[_Change], choosing: float, checking: float
    ) -> None:
        for change in changes:
            for name, params in change.states.items():
                if params.factors:
                    self._factors[name] = (params.factors, params.factor_axis)
                self._states[name] = replace(params, factors=(), factor_axis=1)
        self._note(what, len(changes), choosing, checking)
        self._renew()

    def _note(self, what: str, nodes: int, choosing: float, checking: float) -> None:
        self.steps.append(Step(what, nodes, choosing, checking, self.config))
        self._watch(f"{what}: {nodes} nodes, {choosing:+.2f} dB, checked {checking:+.2f} dB")

    def _told(self) -> str:
        """What is tried, and what was gained by then where it was checked."""
        if not self.steps:
            return self._doing
        return f"{self._doing}, {sum(s.checking for s in self.steps):+.2f} dB so far"

    def parameters(self) -> dict[str, dict[str, QuantParams]]:
        """Calibration node to its other parameters by name, of the families allowed."""
        tried = self._families - {Family.POWER_OF_TWO}
        return {
            name: {
                what: params
                for what, _, params in parameters_for(facts, tried)
                if not what.endswith(_SKIPPED)
            }
            for name, facts in self.facts().items()
            if name not in self._hopeless
        }

    def take_calibrator(self) -> None:
        """The best way to calibrate all activations alike, then all weights."""
        found = self.parameters()
        for kind in (CalibrationKind.ACTIVATION, CalibrationKind.WEIGHT):
            own = {n: p for n, p in found.items() if self._facts_kind(n) is kind}
            names = dict.fromkeys(w for p in own.values() for w in p if "of max" not in w)
            changes = [_Change(w, {n: p[w] for n, p in own.items() if w in p}) for w in names]
            if not changes:
                continue
            self._doing = f"{kind.value}s calibrated alike"
            configs = [QuantConfig(_ALL.default, dict(c.states)) for c in changes]
            gains = self.gains(configs, {**self._choosing, **self._checking})
            count = len(self._choosing)
            checks = (gains.mean(1) > _LEAST_DB) & (gains[:, count:].mean(1) >= 0)
            if not checks.any():
                continue
            best = int(np.where(checks, gains.mean(1), -np.inf).argmax())
            chosen, checked = gains[best, :count].mean(), gains[best, count:].mean()
            singles = [_Change("", {n: p}) for n, p in changes[best].states.items()]
            self._take(f"all {kind.value}s {changes[best].what}", singles, chosen, checked)

    def _facts_kind(self, name: str) -> CalibrationKind:
        return self._model.calibration_by_name[name].kind

    def _equalize(self) -> None:
        """Move factors between layers; each calibration node takes part once."""
        facts = self.facts()
        seconds = [node.name for node in self._model.general_nodes]
        candidates = [
            [_Change(f"{pair.second} {way}", _only_params(states)) for way, states in
             pair.states(facts)]
            for pair in equalized_pairs(self._layers, seconds)
            if all(name in facts for name in pair.calibrations)
            and (facts[pair.between.name].imbalance or 0) > _UNEVEN
            and pair.between.input not in self.compared  # it would not be the same tensor
        ]  # fmt: skip
        self._choose("equalization", [c for c in candidates if c])

    def _singles(self, what: str) -> bool:
        """Try every other parameter of every node by itself, and take what helps together."""
        candidates = [
            [_Change(f"{name} {way}", {name: params}) for way, params in found.items()]
            for name, found in self.parameters().items()
        ]
        return self._choose(what, [c for c in candidates if c])

    def _choose(self, what: str, candidates: Sequence[Sequence[_Change]]) -> bool:
        ranked = self._ranked(self._screened(candidates))
        if not ranked:
            return False
        self._doing = f"{what}, changes together"
        forward = self._forward(ranked[:_POOL])
        sets = [ranked[:size] for size in sizes(len(ranked))]
        sets += [forward[:size] for size in range(1, len(forward) + 1)]
        gains = self.gains([_together(s) for s in sets], {**self._choosing, **self._checking})
        best = self._best(gains)
        if best is None:
            return False
        count = len(self._choosing)
        chosen, checked = gains[best, :count].mean(), gains[best, count:].mean()
        self._take(what, sets[best], chosen, checked)
        return True

    def _best(self, gains: Gains) -> int | None:
        """The row that is sure on the choosing samples and best on the checking ones."""
        count = len(self._choosing)
        chosen, checked = gains[:, :count], gains[:, count:]
        worth = chosen.mean(1) > np.maximum(_error(chosen), _LEAST_DB)
        worth &= gains.mean(1) > _error(gains)
        both = np.where(worth & (checked.mean(1) > _WORTH_DB), checked.mean(1), -np.inf)
        best = int(both.argmax())
        return best if np.isfinite(both[best]) else None

    def _forward(self, pool: Sequence[_Change]) -> list[_Change]:
        """One change after the other, each the best on top of those before, measured anew."""
        left = list(pool)
        taken: list[_Change] = []
        before = np.zeros(len(self._choosing))
        while left and len(taken) < _STEPS:
            gains = self.gains([_together([*taken, c]) for c in left], self._choosing) - before
            mean = gains.mean(1)
            best = int(mean.argmax())
            if not mean[best] > max(_error(gains[best : best + 1])[0], _LEAST_DB):
                break
            before = before + gains[best]
            taken.append(left[best])
            left = [c for k, c in enumerate(left) if k != best and mean[k] > 0]
        return taken

    def _screened(self, candidates: Sequence[Sequence[_Change]]) -> list[list[_Change]]:
        """The most promising of each node's candidates, tried on a few samples."""
        few = dict(list(self._choosing.items())[:_SCREENED])
        flat = [change for changes in candidates for change in changes]
        gains = self.gains([_together([c]) for c in flat], few).mean(1)
        found, place = [], 0
        for changes in candidates:
            own = gains[place : place + len(changes)]
            place += len(changes)
            order = np.argsort(-own, kind="stable")[:_KEPT]
            found.append([changes[k] for k in order if own[k] > 0])
            if not found[-1] and len(changes[0].states) == 1:
                self._hopeless |= set(changes[0].states)
        return [kept for kept in found if kept]

    def _ranked(self, candidates: Sequence[Sequence[_Change]]) -> list[_Change]:
        """The best candidate of each node whose gain is beyond its standard error, best first."""
        flat = [change for changes in candidates for change in changes]
        if not flat:
            return []
        gains = self.gains([_together([c]) for c in flat], self._choosing)
        sure = np.where(gains.mean(1) > np.maximum(_error(gains), _LEAST_DB), gains.mean(1), -1.0)
        best: list[tuple[float, _Change]] = []
        place = 0
        for changes in candidates:
            own = sure[place : place + len(changes)]
            place += len(changes)
            if own.max() > 0:
                best.append((float(own.max()), changes[int(own.argmax())]))
        taken: set[str] = set()
        ranked = []
        for _, change in sorted(best, key=lambda b: -b[0]):
            if taken.isdisjoint(change.states):
                taken.update(change.states)
                ranked.append(change)
        return ranked

    def _correct(self) -> None:
        """Correct the means of what layers give, if that holds on the checking samples."""
        if Family.BIAS not in self._families:
            return
        self._doing = "bias correction"
        before, steps = self._shifts, len(self.steps)
        base = self.errors([_ALL], {**self._choosing, **self._checking})
        self._shifts = {}
        self._renew()
        shifts = self._mean_shifts()
        configs = [QuantConfig(_ALL.default, {}, part) for part in parts_of(shifts)]
        if configs:
            samples = {**self._choosing, **self._checking}
            errors = np.maximum(self.errors(configs, samples), 1e-30)
            gains = 10 * np.log10(np.maximum(base, 1e-30) / errors)
            best, count = self._best(gains), len(self._choosing)
            chosen, checked = gains[:, :count], gains[:, count:]
            if best is not None:
                self._shifts = self._unscaled(dict(configs[best].shifts))
                nodes = len(self._shifts)
                self._note("bias correction", nodes, chosen[best].mean(), checked[best].mean())
        if len(self.steps) == steps:
            self._shifts = before
        self._renew()

    def _mean_shifts(self) -> dict[str, BiasShift]:
        names = [
            node.name
            for node in self._model.quantizable_nodes
            if node.name in self._scope.layers and self._layers.can_shift(node.name)
        ]
        outputs = {name: self._model.general_by_name[name].outputs[0] for name in names}
        found = self._engine.mean_shifts(_ALL, self._choosing, list(outputs.values()))
        return {
            name: BiasShift(tuple(found[tensor].tolist()))
            for name, tensor in outputs.items()
            if tensor in found and np.isfinite(found[tensor]).all()
        }

    def _unscaled(self, shifts: dict[str, BiasShift]) -> dict[str, BiasShift]:
        """Corrections in units of the model that it began with, where factors were moved."""
        factors = {
            pair.first: self._factors[pair.between.name][0]
            for pair in equalized_pairs(
                Layers(self._start), [n.name for n in self._start.general_nodes]
            )
            if pair.between.name in self._factors
        }
        return {
            name: BiasShift(
                tuple((np.array(shift.values) / np.array(factors.get(name, (1.0,)))).tolist())
            )
            for name, shift in shifts.items()
        }


def _only_params(states: Mapping[str, State]) -> dict[str, QuantParams]:
    return {name: state for name, state in states.items() if isinstance(state, QuantParams)}


def _together(changes: Sequence[_Change]) -> QuantConfig:
    return QuantConfig(_ALL.default, {n: p for change in changes for n, p in change.states.items()})


def _decibels(errors: NDArray[np.float64]) -> Gains:
    """Gains over the first row, in dB; an error that is no number is infinite."""
    errors = np.maximum(np.nan_to_num(errors, nan=np.inf), 1e-30)
    found: Gains = 10 * np.log10(errors[:1] / errors[1:])
    return found


def _error(gains: Gains) -> Gains:
    """The standard error of the mean gain of each row; 0 of one sample."""
    count = gains.shape[1]
    if count < 2:
        return np.zeros(len(gains))
    found: Gains = gains.std(1, ddof=1) / np.sqrt(count)
    return found
