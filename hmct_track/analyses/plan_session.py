"""A plan while it is searched: what `Plan` asks for, round by round, and what it writes down."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hmct_track.analyses.base import Round, Seen
from hmct_track.analyses.configurations import every, whole
from hmct_track.analyses.scored import HELD_OUT, losing, lost_by_sample
from hmct_track.errors import UsageError
from hmct_track.planning.boundaries import Boundaries, find_boundaries
from hmct_track.planning.linear import State
from hmct_track.planning.moves import Board, Tariff
from hmct_track.planning.search import Asking, Search
from hmct_track.planning.selection import FACTORS, surer
from hmct_track.planning.target import (
    Lost,
    Reading,
    Target,
    Values,
    error_of,
    interval,
    margin,
    power,
    read,
)
from hmct_track.types import Planned, QuantConfig

if TYPE_CHECKING:
    from hmct_track.lake.rows import ScoreValuesRow
    from hmct_track.model import QuantModel
    from hmct_track.recording import Subject

_HUGE = 1e150
"""What an infinite error counts as where errors are added up."""
_MOST_AIMS = 2
"""How often margins are widened."""


@dataclass
class Session:
    """One search of one model.

    Args:
        model: the model.
        board: what may change.
        tariff: what that costs.
        target: what to reach, or the metric to improve where ``most`` is given.
        most: the highest cost as it was written, such as ``30 %``; None for a target.
        confidence: with which the target is to hold on held-out samples; 0.5 is no margin.
        budget: seconds; None for as many as it takes.
        take: a step of the frontier to take instead of the plan.
        boundary: what each boundary between types costs, as it was written; None for nothing.
    """

    model: QuantModel
    board: Board
    tariff: Tariff
    target: Target
    most: str | None
    confidence: float
    budget: float | None
    take: int | None
    boundary: str | None = None
    choosing: list[int] = field(default_factory=list)
    """Positions of the samples that choose; filled in when the data are known."""
    held_out: list[int] = field(default_factory=list)
    readings: dict[str, Reading] = field(default_factory=dict)
    """Configuration id to what was measured on the samples that choose."""
    freed: bool | None = None
    """Whether the model has its free remedies already; None if they were not asked for."""
    given: Mapping[str, Mapping[int, float]] | None = None
    """Output to position of a sample to mean squared error of the model as it was given, where that
    is another and shares are of it."""
    search: Search | None = None
    boundaries: Boundaries | None = None
    stopped: bool = False
    seconds: float = 0.0
    _asking: Asking | None = None
    _waiting: list[State] = field(default_factory=list)
    _planned: int = 0
    _rounds: int = 0
    _began: float = 0.0
    _calibrated: dict[str, Values] = field(default_factory=dict)
    _judged: dict[str, Reading] | None = None
    _samples: Sequence[int] = ()
    factor: float = 1.0
    """By what margins are wider than those of one configuration; see `planning.selection`."""
    halved: float | None = None
    """How often a plan that half of the samples choose keeps the target on the others."""
    _aims: int = 0
    _losing: dict[str, int] = field(default_factory=dict)
    """Configuration id to how many samples of the last round lose something of the score."""

    # Rounds.

    def first(self) -> Round:
        """The calibrated model, and each slot quantized alone, as a ranking has them."""
        self._began = time.monotonic()
        known = every(self.model)
        alone = [
            Planned(slot.name, "only", QuantConfig.only(slot.calibrations).canonical(known))
            for slot in self.board.slots
        ]
        none = Planned("raised", "extreme", self.board.config((0,) * len(alone), known))
        more = [none] if self.board.raised else []
        # The samples that choose are known only once the data are opened, before it is measured.
        return self._round([whole(self.model), *more, *alone], self.choosing, "each alone")

    def next(self, seen: Seen) -> Round:
        """What to measure, given what was measured; the held-out samples come last.

        Raises:
            UsageError: the target is met already, or cannot be reached; the step is not there.
        """
        if self._judged is not None:
            return Round()
        if self.search is None:
            self._take_in(self._values(seen), self.choosing)
            self._begin()
        elif self._waiting:
            self._take_in(self._values(seen), self.choosing)
            self.search.tell({s: self._error(self.config(s)) for s in self._waiting})
            self._waiting = []
        else:
            self._judge(self._values(seen))
            return Round()
        return self._go_on() or self._last()

    def _round(self, planned: Sequence[Planned], samples: Sequence[int], what: str) -> Round:
        self._rounds += 1
        self._from = self._planned
        self._planned += len(planned)
        self._samples = samples
        return Round(planned, samples, what=what)

    def _go_on(self) -> Round:
        assert self.search is not None and self._asking is not None  # noqa: S101 - it has begun
        spent = time.monotonic() - self._began
        if self.budget is not None and spent > self.budget and self.search.best is not None:
            self.stopped = True
            return Round()
        trials = next(self._asking, None)
        if trials is None:
            return self._go_on() if self._aims_again() else Round()
        self._waiting = [trial.state for trial in trials]
        return self._round(
            [Planned(self._subject(t.state), t.role, self.config(t.state)) for t in trials],
            self.choosing,
            self._so_far(),
        )

    def _so_far(self) -> str:
        """Where the search is, for people who wait: it does not know how many rounds there are."""
        assert self.search is not None  # noqa: S101 - it has begun
        best, count = self.search.best, len(self.board.slots)
        found = (
            "no plan yet"
            if best is None
            else f"{sum(k > 0 for k in best)} of {count} change so far"
        )
        return f"round {self._rounds + 1} ({found})"

    def _aims_again(self) -> bool:
        """Whether margins have to be wider, as so many were compared; the search begins anew then.

        A wider margin compares others, so that it is asked again of these.
        """
        search = self._found
        if self.most is not None or self.confidence <= 0.5 or search.best in (None, search.zero):
            return False
        ordered = sorted(search.errors, key=lambda s: (search.cost(s), sum(k > 0 for k in s)))
        readings = [self.readings[self.config(state).config_id] for state in ordered]
        held, now = len(self.held_out), self.factor
        # Once it is widened no more, what halves tell is of the margin that the plan has.
        most = FACTORS[-1] if self._aims < _MOST_AIMS else now
        found = surer(self.target, readings, self.confidence, held, now, most)
        self.halved = found.kept
        if found.factor <= now:
            return False
        self.factor, self._aims = found.factor, self._aims + 1
        search.tell({state: self._error(self.config(state)) for state in search.errors})
        self._asking = search.again()
        return True

    def _subject(self, state: State) -> list[str]:
        """The slots that a state changes; a word where those are none or many."""
        names = [s.name for s, k in zip(self.board.slots, state, strict=True) if k]
        return names if 0 < len(names) <= 3 else [f"{len(names)} of {len(state)} changed"]

    def _begin(self) -> None:
        alone = [
            min(power(self.target.metric, self.readings[self._alone_id(k)].value), _HUGE)
            for k in range(len(self.board.slots))
        ]
        prices = self.board.prices()
        most = math.inf if self.most is None else self._most(prices)
        limit = self.target.limit if self.most is None else None
        beyond = None
        if self.boundary is not None:
            price = amount("boundary", self.boundary, self.board.base + cost_of_all(prices))
            self.boundaries = find_boundaries(self.model, self.board, price)
            beyond = self.boundaries.cost
        self.search = Search(prices=prices, limit=limit, most=most, alone=alone, beyond=beyond)
        unchanged = self.config(self.search.zero)
        self.search.tell({self.search.zero: self._error(unchanged)})
        self.search.roles[self.search.zero] = "extreme"
        self._asking = self.search.run()

    def _alone_id(self, slot: int) -> str:
        config = QuantConfig.only(self.board.slots[slot].calibrations)
        return config.canonical(every(self.model)).config_id

    def _most(self, prices: Sequence[Sequence[float]]) -> float:
        base = self.board.base
        most = amount("max_cost", self.most or "", base + cost_of_all(prices))
        if most < base:
            raise UsageError(
                f"max_cost is {most:.4g} {self.tariff.unit}, but what is raised costs {base:.4g} "
                "already; raise less, or allow more"
            )
        return most - base

    def _last(self) -> Round:
        """The plan, and the calibrated model, on the samples that chose nothing."""
        self.seconds = time.monotonic() - self._began
        self._complain()
        if not self.held_out:
            self._judged = {}
            return Round()
        plan = Planned("plan", HELD_OUT, self.config(self.state))
        calibrated = Planned("calibrated", HELD_OUT, whole(self.model).config)
        return self._round([plan, calibrated], self.held_out, "held-out samples")

    # What was measured.

    def _values(self, seen: Seen) -> dict[str, dict[str, dict[int, float]]]:
        """Configuration id to output to sample to value, of the last round."""
        found: dict[str, dict[str, dict[int, float]]] = {}
        if isinstance(self.target.metric, Lost):
            return self._lost(seen, self.target.metric.score)
        rows = seen.query("plan_values", metric=self.target.metric.value, after=self._from)
        for row in rows:
            value = math.nan if row["value"] is None else row["value"]
            outputs = found.setdefault(row["config_id"], {})
            outputs.setdefault(row["output"], {})[row["sample"]] = value
        return found

    def _lost(self, seen: Seen, score: str) -> dict[str, dict[str, dict[int, float]]]:
        """What each sample loses of a score, in the same form."""
        assert seen.run is not None  # noqa: S101 - a round was measured
        scorer = next(j.scorer for j in seen.run.subject.scores if j.scorer.name == score)
        asked = set(self._samples)
        rows: dict[str, dict[int, ScoreValuesRow]] = {}
        for row in seen.run.lake.query("score_values", run_id=seen.run_id):
            if row["score"] == score and row["position"] >= self._from and row["sample"] in asked:
                rows.setdefault(row["config_id"], {})[row["sample"]] = row
        found: dict[str, dict[str, dict[int, float]]] = {}
        for config_id, by_sample in rows.items():
            lost = lost_by_sample(scorer, [*by_sample.values()])
            found[config_id] = {score: dict(zip(by_sample, map(float, lost), strict=True))}
            self._losing[config_id] = losing(scorer, [*by_sample.values()])
        return found

    def _take_in(
        self, found: Mapping[str, Mapping[str, Mapping[int, float]]], samples: Sequence[int]
    ) -> None:
        calibrated = whole(self.model).config.config_id
        if calibrated in found:
            self._calibrated["choosing"] = _arrays(self.given or found[calibrated], samples)
        for config_id, outputs in found.items():
            values = _arrays(outputs, samples)
            self.readings[config_id] = read(
                self.target, values, self._calibrated["choosing"], self._losing.get(config_id)
            )

    def _judge(self, found: Mapping[str, Mapping[str, Mapping[int, float]]]) -> None:
        of_whole = self.given or found[whole(self.model).config.config_id]
        calibrated = _arrays(of_whole, self.held_out)
        plan = _arrays(found[self.config(self.state).config_id], self.held_out)
        lost = self._losing.get(self.config(self.state).config_id)
        self._judged = {"plan": read(self.target, plan, calibrated, lost)}

    def _error(self, config: QuantConfig) -> float:
        reading = self.readings[config.config_id]
        if self.most is not None:
            return power(self.target.metric, reading.value)
        return error_of(self.target, reading, self._margin(reading))

    def _margin(self, reading: Reading) -> float:
        """How far a value may be worse on other samples, chosen among many as it was."""
        return self.factor * margin(reading, self.confidence, len(self.held_out))

    # What was found.

    def config(self, state: State) -> QuantConfig:
        """The configuration of a state."""
        return self.board.config(state, every(self.model))

    @property
    def state(self) -> State:
        """The plan, or the step that is taken instead.

        Raises:
            UsageError: the frontier has no such step.
        """
        assert self.search is not None  # noqa: S101 - asked for only when it has begun
        if self.take is not None:
            steps = self.search.frontier()
            if not 1 <= self.take <= len(steps):
                raise UsageError(f"take is {self.take}; the frontier has steps 1 to {len(steps)}")
            return steps[self.take - 1]
        return self.search.best if self.search.best is not None else self.search.zero

    def value_of(self, state: State) -> float:
        """What was measured of a state on the samples that choose."""
        return self.readings[self.config(state).config_id].value

    def _complain(self) -> None:
        """Say in a line what is reachable, where there is nothing to plan."""
        search, target = self.search, self.target
        assert search is not None  # noqa: S101 - it has begun
        if self.take is not None or search.limit is None:
            return
        if search.best == search.zero and not self.board.raised and not self.freed:
            raise UsageError(
                f"target {target} is met already: the calibrated model has "
                f"{self._told(search.zero)}, so there is nothing to change"
            )
        if search.best is None:
            raised = self.board.raised
            name = "with the free remedies" if self.freed else "calibrated"
            reached = [f"{name} {self._told_of(whole(self.model).config)}"]
            if raised:
                reached.append(f"with what is raised {self._told(search.zero)}")
            reached += [
                f"all in {_names(self.board, top)} {self._told(top)}"
                for top in search.tops
                if top in search.errors
            ]
            raise UsageError(
                f"target {target} is not reachable with the moves that are allowed: "
                + "; ".join(reached)
            )

    def _told(self, state: State) -> str:
        return self._told_of(self.config(state))

    def _told_of(self, config: QuantConfig) -> str:
        reading = self.readings[config.config_id]
        by = self._margin(reading)
        said = self.target.shown(reading.value)
        if not by or not math.isfinite(reading.value):
            return said
        better = self.target.metric.higher_is_better and not self.target.is_share
        return (
            f"{said} ({self.target.shown(reading.value - by if better else reading.value + by)}"
            " with a margin)"
        )

    # Rows for the lake.

    def plan_row(self, run_id: str) -> dict[str, Any]:
        """The row of ``plans``."""
        search = self._found
        state, judged = self.state, (self._judged or {}).get("plan")
        reading = self.readings[self.config(state).config_id]
        low, high = interval(judged) if judged else (None, None)
        return {
            "run_id": run_id,
            "target": str(self.target) if self.most is None else f"cost <= {self.most}",
            "metric": self.target.metric.value,
            "is_share": self.target.is_share,
            "config_id": self.config(state).config_id,
            "moves": self._moves(state),
            "slots": len(state) + len(self.board.raised),
            "cost": self._cost(state),
            "cost_of_all": self._cost_of_all,
            "unit": self._unit(state),
            "samples": len(self.choosing),
            "value": _number(reading.value),
            "margin": 0.0 if self.most is not None else self._margin(reading),
            "margin_factor": self.factor,
            "halved": self.halved,
            "freed": self.freed,
            "calibrated": _number(self.readings[whole(self.model).config.config_id].value),
            "certified": search.certified and state == search.best,
            "stopped": self.stopped,
            "held_out": len(self.held_out),
            "held_out_value": judged and _number(judged.value),
            "held_out_low": _finite(low),
            "held_out_high": _finite(high),
            "kept": self.target.meets(judged.value) if judged and self.most is None else None,
            "seconds": self.seconds,
        }

    def point_rows(self, run_id: str) -> Iterator[dict[str, Any]]:
        """The rows of ``plan_points``."""
        search, steps = self._found, self._found.frontier()
        place = {state: step for step, state in enumerate(steps, start=1)}
        for state in search.errors:
            yield {
                "run_id": run_id,
                "config_id": self.config(state).config_id,
                "role": search.roles.get(state, "search"),
                "moves": self._moves(state),
                "cost": self._cost(state),
                "value": _number(self.value_of(state)),
                "keeps": search.keeps(state),
                "step": place.get(state),
                "chosen": state == self.state,
            }

    def move_rows(self, run_id: str) -> Iterator[dict[str, Any]]:
        """The rows of ``plan_moves``."""
        search, state = self._found, self.state
        for position, (slot, moves, k) in enumerate(
            zip(self.board.slots, self.board.moves, state, strict=True)
        ):
            without = (*state[:position], 0, *state[position + 1 :])
            measured = k and without in search.errors
            yield {
                "run_id": run_id,
                "slot": slot.name,
                "position": slot.position,
                "nodes": list(slot.nodes),
                "calibration_nodes": list(moves[max(k, 1) - 1].fragment),
                "qtype": moves[k - 1].name if k else None,
                "price": search.prices[position][max(k, 1)],
                "without": _number(self.value_of(without)) if measured else None,
            }
        for slot, move in self.board.raised:
            yield {
                "run_id": run_id,
                "slot": slot.name,
                "position": slot.position,
                "nodes": list(slot.nodes),
                "calibration_nodes": list(move.fragment),
                "qtype": move.name,
                "price": move.price(),
                "without": None,
            }

    def _moves(self, state: State) -> int:
        """How many slots a state changes, with those that are raised in every state."""
        return sum(k > 0 for k in state) + len(self.board.raised)

    def _cost(self, state: State) -> float:
        return self.board.base + self._found.cost(state)

    @property
    def _cost_of_all(self) -> float:
        extra = self.boundaries.cost(self._found.tops[0]) if self.boundaries else 0.0
        return self.board.base + cost_of_all(self._found.prices) + extra

    def _unit(self, state: State) -> str:
        """What a cost counts, and how many boundaries are in that of a state."""
        if self.boundaries is None:
            return self.tariff.unit
        price, count = self.boundaries.price, self.boundaries.count(state)
        return f"{self.tariff.unit}, with {price:.4g} for each boundary, of which it has {count:+d}"

    @property
    def _found(self) -> Search:
        assert self.search is not None  # noqa: S101 - asked for at the end
        return self.search


def split(count: int, share: float) -> tuple[list[int], list[int]]:
    """Positions of samples that choose, and of those held out, spread evenly over the data."""
    held = int(count * share)
    if held < 1 or count - held < 1:
        return list(range(count)), []
    places = {int((k + 0.5) * count / held) for k in range(held)}
    return [k for k in range(count) if k not in places], sorted(places)


def amount(name: str, text: str, whole: float) -> float:
    """A number, or a share of a whole such as ``30 %``.

    Raises:
        UsageError: it is neither, or not above 0.
    """
    share = text.strip().endswith("%")
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} {text!r} is neither a number above 0 nor a share such as 30 %")
    return value / 100 * whole if share else value


def cost_of_all(prices: Sequence[Sequence[float]]) -> float:
    """The cost of everything at its first move."""
    return sum(choices[min(1, len(choices) - 1)] for choices in prices)


def same_samples(subject: Subject, choosing: Iterable[int], held: Iterable[int]) -> list[str]:
    """Held-out samples that are among those that choose."""
    used = {subject.sample_ids[k] for k in choosing}
    return [subject.samples.label(k) for k in held if subject.sample_ids[k] in used]


def _arrays(outputs: Mapping[str, Mapping[int, float]], samples: Sequence[int]) -> Values:
    return {
        output: np.array([values.get(k, math.nan) for k in samples], np.float64)
        for output, values in sorted(outputs.items())
    }


def _names(board: Board, state: State) -> str:
    counts = Counter(m[k - 1].name for m, k in zip(board.moves, state, strict=True) if k)
    return counts.most_common(1)[0][0] if counts else "as calibrated"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
