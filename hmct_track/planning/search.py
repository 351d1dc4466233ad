"""The search for the cheapest state that keeps a limit, or the best one for a price.

It asks for states in rounds and is told their errors; what measures them it does not know. What it
believes in between is `Linear`; it answers only with what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, sqrt

from hmct_track.planning.linear import Linear, Prices, State, changed, cost_of

Asking = Generator[list["Trial"], None, None]

_FACTORS = (0.45, 0.6, 0.75, 0.88, 1.0, 1.15, 1.35)
"""Predictions are off: states are proposed for limits around the one that is asked for."""
_FEW_FACTORS = (0.8, 1.0, 1.2)
_ALL_PAIRS = 40
_NEAR_SLOTS = 3
_LEAST_SAVED = 1e-9
_FAR = 8.0
"""Errors that have to fall further than this fall in two steps, with gains measured in between."""
_MOST_STAGES = 3
_MOST_ROUNDS = 6
_MOST_SWAPS = 24
_CHUNK = 8
BOTH = "walk by both"
"""The role of a state that the walks down both rankings come by."""
_NEAR = 1.15
"""A removal is worth measuring again if it is predicted within this factor of the limit."""


@dataclass(frozen=True)
class Trial:
    """A state to measure, and what for."""

    state: State
    role: str


@dataclass(kw_only=True)
class Search:
    """A search over states.

    Args:
        prices: of each choice of each slot.
        limit: the largest error that is allowed; None to find the least error.
        most: the highest cost that is allowed.
        alone: the error of each slot alone, everything else in float.
        ordered: rankings by name, slots from the most sensitive on, that are walked down as well.
    """

    prices: Prices
    limit: float | None = None
    most: float = inf
    alone: Sequence[float] = ()
    beyond: Callable[[State], float] | None = None
    """What a state costs beyond its prices, as boundaries between types do."""
    errors: dict[State, float] = field(default_factory=dict)
    """State to error: all that was measured."""
    roles: dict[State, str] = field(default_factory=dict)
    walks: dict[str, list[State]] = field(default_factory=dict)
    """Name of a ranking to the states on the way down, as far as they were measured."""
    best: State | None = None
    """The cheapest state that keeps the limit, or the best that is cheap enough."""
    certified: bool = False
    """Whether every single step that would make the best one better was measured, and does not."""
    removals: dict[tuple[int, int], float] = field(default_factory=dict)
    """Of the best: (slot, cheaper choice) to the error with it."""

    def run(self) -> Asking:
        """Ask for trials, round by round; `tell` is called before it goes on."""
        yield from self._measure([self.zero, *self.tops], "extreme")
        self._consider(self.zero, *self.tops)
        if self.best == self.zero and self.limit is not None:
            return
        if self.limit is not None and self.best is None:
            return
        if self.limit is None:
            yield from self._spend()
        else:
            yield from self._save()

    def again(self) -> Asking:
        """The same once more, when the errors of what was measured have been told anew."""
        self.best, self.certified = None, False
        self.walks.clear()
        self.removals.clear()
        self._consider(*self.errors)
        if self.best is not None and self.best != self.zero:
            yield from self._save()

    def tell(self, errors: Mapping[State, float]) -> None:
        """What was measured; an error that is no number counts as infinite."""
        self.errors.update({s: e if e == e else inf for s, e in errors.items()})  # noqa: PLR0124

    @property
    def zero(self) -> State:
        """Everything as calibrated."""
        return (0,) * len(self.prices)

    @property
    def tops(self) -> list[State]:
        """Everything at each choice, the last one where a slot has fewer."""
        count = max((len(c) for c in self.prices), default=1)
        found = [tuple(min(k, len(c) - 1) for c in self.prices) for k in range(1, count)]
        return list(dict.fromkeys(found))

    def cost(self, state: State) -> float:
        """Its price."""
        return cost_of(state, self.prices) + (self.beyond(state) if self.beyond else 0.0)

    def keeps(self, state: State) -> bool:
        """Whether a measured state is allowed."""
        fits = self.cost(state) <= self.most
        return fits and (self.limit is None or self.errors.get(state, inf) <= self.limit)

    def frontier(self) -> list[State]:
        """The measured states than which none is both cheaper and better, by cost."""
        found: list[State] = []
        for state in sorted(self.errors, key=lambda s: (self.cost(s), self.errors[s])):
            if not found or self.errors[state] < self.errors[found[-1]]:
                found.append(state)
        return found

    # What both ways share.

    def _measure(self, states: Iterable[State], role: str) -> Asking:
        unknown = [s for s in dict.fromkeys(states) if s not in self.errors]
        for state in unknown:
            self.roles.setdefault(state, role)
        if unknown:
            yield [Trial(state, role) for state in unknown]

    def _rank(self, state: State) -> tuple[float, ...]:
        """What is better comes first."""
        changes = float(sum(k > 0 for k in state))
        if self.limit is None:
            return (self.errors[state], self.cost(state), changes)
        return (self.cost(state), changes, self.errors[state])

    def _consider(self, *states: State) -> bool:
        """Take the best of them if it is better than what there is."""
        allowed = [s for s in states if s in self.errors and self.keeps(s)]
        if self.best is not None:
            allowed.append(self.best)
        found = min(allowed, key=self._rank, default=None)
        better = found != self.best
        self.best = found
        return better

    def _neighbours(self, base: State) -> list[State]:
        return [
            changed(base, slot, k)
            for slot, choices in enumerate(self.prices)
            for k in range(len(choices))
            if k != base[slot]
        ]

    def _around(self, base: State) -> Linear:
        """What was measured one step away from a state."""
        error = self.errors[base]
        found = {
            (slot, k): self.errors[state] - error
            for slot, choices in enumerate(self.prices)
            for k in range(len(choices))
            if k != base[slot]
            and (state := changed(base, slot, k)) in self.errors
            and isfinite(self.errors[state])
        }
        if self.beyond is None:
            return Linear(base, error, found, self.prices)
        steps = [
            [self._step(base, slot, k) for k in range(len(choices))]
            for slot, choices in enumerate(self.prices)
        ]
        return Linear(base, error, found, steps, self.cost(base))

    def _by_alone(self) -> Linear:
        """The same around the calibrated model, from the error of each slot alone."""
        zero = self.errors[self.zero]
        scale = zero / max(sum(self.alone), 1e-300)
        found = {}
        for slot, choices in enumerate(self.prices):
            for k in range(1, len(choices)):
                found[slot, k] = -self.alone[slot] * scale
        return Linear(self.zero, zero, found, self.prices)

    # The cheapest for a limit.

    def _save(self) -> Asking:
        yield from self._measure(self._neighbours(self.zero), "leave-one-out")
        self._consider(*self._neighbours(self.zero))
        yield from self._forward()
        yield from self._descend()
        for name, order in self._rankings().items():
            for top in self.tops:
                before = self.best
                yield from self._walk(name, order, top)
                if self.best != before:
                    yield from self._descend()
        for name, order in self._rankings().items():
            yield from self._walk_end(name, order, self.tops[0])

    def _descend(self) -> Asking:
        """Remove, then exchange, until neither makes it cheaper."""
        yield from self._prune()
        for _ in range(_MOST_ROUNDS):
            before = self.best
            yield from self._exchange()
            if self.best == before:
                break
            yield from self._prune()

    def _forward(self) -> Asking:
        """Raise what gains most for its price, gains measured anew on the way."""
        limit = self.limit or 0.0
        base = self.zero
        for stage in range(_MOST_STAGES):
            yield from self._measure(self._neighbours(base), "search")
            models = [self._around(base)]
            if not stage and self.alone:
                models.append(self._by_alone())
            error = self.errors[base]
            far = stage < _MOST_STAGES - 1 and error > _FAR * limit > 0
            goal = sqrt(error * limit) if far else limit
            proposed = [
                state
                for model in models
                for factor in _FACTORS
                if (state := model.cheapest(goal * factor)) is not None
            ]
            yield from self._measure(proposed, "search")
            self._consider(*proposed)
            between = [s for s in proposed if limit < self.errors[s] < error]
            if not between:
                return
            # Go on from the one that took away most for its price.
            base = max(between, key=lambda s: self._rate(s, error))
            if not far and any(self.keeps(s) for s in proposed):
                return

    def _rate(self, state: State, error: float) -> float:
        fallen = (error / max(self.errors[state], 1e-300)) - 1
        return fallen / max(self.cost(state), 1e-12)

    def _cheaper(self, base: State) -> list[tuple[int, int, State]]:
        """States with one choice less, or another one that is cheaper."""
        return [
            (slot, k, changed(base, slot, k))
            for slot, choices in enumerate(self.prices)
            for k in range(len(choices))
            if (self._step(base, slot, k), k > 0) < (0.0, base[slot] > 0)
        ]

    def _prune(self) -> Asking:
        """Remove in groups, then singly, until every single removal was measured and misses."""
        limit = self.limit or 0.0
        known: dict[tuple[int, int], float] = {}
        self.certified = False
        while self.best is not None:
            base, error = self.best, self.errors[self.best]
            single = self._cheaper(base)
            # Those that were hopeless around the state before are measured only at the end.
            likely = [
                state
                for slot, k, state in single
                if (slot, k) not in known or error + known[slot, k] <= _NEAR * limit
            ]
            yield from self._measure(likely, "removal")
            if not any(self.errors.get(s, inf) <= limit for *_, s in single):
                yield from self._measure([s for *_, s in single], "removal")
            for slot, k, state in single:
                if state in self.errors:
                    known[slot, k] = self.errors[state] - error
            fitting = [(s, k, x) for s, k, x in single if self.errors.get(x, inf) <= limit]
            if not fitting:
                self.removals = {(s, k): self.errors[x] for s, k, x in single}
                self.certified = True
                return
            groups = self._groups(base, fitting)
            yield from self._measure(groups, "removal")
            self._consider(*(x for *_, x in fitting), *groups)

    def _groups(self, base: State, fitting: Sequence[tuple[int, int, State]]) -> list[State]:
        """Several of the removals at once: by what each costs in error, in growing numbers."""
        error = self.errors[base]

        def worth(item: tuple[int, int, State]) -> float:
            saved = self.cost(base) - self.cost(item[2])
            return saved / max(self.errors[item[2]] - error, 1e-9 * (self.limit or 1.0))

        state, taken, found = base, 0, []
        slots: set[int] = set()
        for slot, k, _ in sorted(fitting, key=worth, reverse=True):
            if slot in slots:
                continue
            slots.add(slot)
            state = changed(state, slot, k)
            taken += 1
            if taken > 1 and (taken <= 4 or taken % max(taken // 4, 1) == 0):
                found.append(state)
        return found

    def _exchange(self) -> Asking:
        """Around the best one, all steps measured: raise some, lower others, for less."""
        base, limit = self.best, self.limit or 0.0
        if base is None:
            return
        yield from self._measure(self._neighbours(base), "search")
        self._consider(*self._neighbours(base))
        model = self._around(base)
        cost = self.cost(base)
        wide = [s for f in _FACTORS if (s := model.cheapest(limit * f)) is not None]
        wide += [s for f in _FEW_FACTORS for s in self._peeled(model, limit * f)]
        proposed = [s for s in wide if self.cost(s) < cost] + self._swaps(model, base)
        yield from self._measure(proposed, "search")
        self._consider(*proposed)

    def _peeled(self, model: Linear, limit: float) -> list[State]:
        """Where costs are not of single slots: from all changed, and from the best, step by step.

        Each step is the change of one slot, or of two, that saves most for the error that it is
        predicted to add. From all changed on, what is left lies together.
        """
        found = []
        for start in [*self.tops, model.base] if self.beyond else []:
            state: State | None = start
            while state is not None:
                last = state
                single = self._neighbours(state)
                state = self._saving(state, single, model, limit) or self._saving(
                    state, self._pairs(state, single), model, limit
                )
            found.append(last)
        return list(dict.fromkeys(found))

    def _pairs(self, state: State, single: Sequence[State]) -> Iterable[State]:
        """Two slots changed: all pairs of a few slots, of many those that follow on each other."""
        reach = len(state) if len(state) <= _ALL_PAIRS else _NEAR_SLOTS
        for one in single:
            slot = next(s for s, (a, b) in enumerate(zip(state, one, strict=True)) if a != b)
            for other in range(slot + 1, min(slot + 1 + reach, len(state))):
                for k in range(len(self.prices[other])):
                    if k != state[other]:
                        yield changed(one, other, k)

    def _saving(
        self, state: State, others: Iterable[State], model: Linear, limit: float
    ) -> State | None:
        cost, error = self.cost(state), model.predicted(state)
        best: tuple[float, State] | None = None
        for other in others:
            saved, then = cost - self.cost(other), model.predicted(other)
            if saved > _LEAST_SAVED * max(abs(cost), 1.0) and then <= limit:
                rate = saved / max(then - error, 1e-9 * limit)
                if best is None or rate > best[0]:
                    best = rate, other
        return best[1] if best else None

    def _swaps(self, model: Linear, base: State) -> list[State]:
        """Two steps, or three, that are cheaper together and predicted to keep the limit."""
        limit, cost = self.limit or 0.0, self.cost(base)
        less = [changed_to for *_, changed_to in self._cheaper(base)]
        if self.beyond:  # raising what lies between two that are raised may be cheaper by itself
            less.append(base)
        more = [
            (slot, k)
            for (slot, k), change in model.changes.items()
            if change < 0 and self.prices[slot][k] > self.prices[slot][base[slot]]
        ]
        more.sort(key=lambda sk: model.changes[sk] / max(self._step(base, *sk), 1e-12))
        firsts = more[:_MOST_SWAPS]
        found: dict[State, tuple[float, float]] = {}
        for state in less:
            for i, (slot, k) in enumerate(firsts):
                if state[slot] != base[slot]:
                    continue
                one = changed(state, slot, k)
                twos = [
                    changed(one, other, j)
                    for other, j in firsts[i + 1 :]
                    if other != slot and state[other] == base[other]
                ]
                for candidate in (one, *twos):
                    if self.cost(candidate) < cost and candidate not in self.errors:
                        predicted = model.predicted(candidate)
                        if predicted <= 1.05 * limit:
                            found[candidate] = (self.cost(candidate), predicted)
        return sorted(found, key=lambda s: found[s])[:_MOST_SWAPS]

    def _step(self, base: State, slot: int, choice: int) -> float:
        """What another choice in one slot adds to the cost."""
        if self.beyond:
            return self.cost(changed(base, slot, choice)) - self.cost(base)
        return self.prices[slot][choice] - self.prices[slot][base[slot]]

    def _rankings(self) -> dict[str, list[int]]:
        """Slots from the most sensitive on, as plain rankings have them."""
        slots = range(len(self.prices))
        first = {
            s: min(self.errors.get(changed(self.zero, s, k), inf) for k in range(len(c)))
            for s, c in enumerate(self.prices)
        }
        found = {}
        if self.alone:
            found["walk by error alone"] = sorted(slots, key=lambda s: -self.alone[s])
        found["walk by leave-one-out"] = sorted(slots, key=lambda s: first[s])
        return found

    def _walk(self, name: str, order: Sequence[int], top: State) -> Asking:
        """Down a ranking, until it keeps the limit or costs more than what there is."""
        states, state = [], self.zero
        for slot in order:
            state = changed(state, slot, top[slot])
            states.append(state)
        path = self.walks.setdefault(f"{name}, to {max(top, default=0)}", [self.zero])
        for start in range(0, len(states), _CHUNK):
            part = states[start : start + _CHUNK]
            affordable = [s for s in part if self.best is None or self._below(s)]
            yield from self._measure(affordable, name)
            self._call(affordable, name)
            path += affordable
            if self._consider(*affordable) or len(affordable) < len(part):
                return

    def _walk_end(self, name: str, order: Sequence[int], top: State) -> Asking:
        """Where the walk would have kept the limit, by bisection: to tell what it would cost."""
        path = self.walks[f"{name}, to {max(top, default=0)}"]
        low, state, states = len(path) - 1, self.zero, [self.zero]
        if self.keeps(path[-1]):
            return
        for slot in order:
            state = changed(state, slot, top[slot])
            states.append(state)
        high = len(states) - 1
        while high - low > 1:
            middle = (low + high) // 2
            yield from self._measure([states[middle]], name)
            path.append(states[middle])
            low, high = (low, middle) if self.keeps(states[middle]) else (middle, high)
        yield from self._measure([states[high]], name)
        self._call(states[high : high + 1], name)
        path.append(states[high])
        path.sort(key=self.cost)

    def _call(self, states: Sequence[State], name: str) -> None:
        """Say of states, measured for something else as they may be, that a walk comes by."""
        for state in states:
            role = self.roles.get(state, "")
            if role != "extreme":
                self.roles[state] = BOTH if role.startswith("walk") and role != name else name

    def _below(self, state: State) -> bool:
        return self.best is not None and self.cost(state) <= self.cost(self.best)

    # The best for a cost.

    def _spend(self) -> Asking:
        yield from self._measure(self._neighbours(self.zero), "leave-one-out")
        self._consider(*self._neighbours(self.zero))
        models = [self._around(self.zero), *([self._by_alone()] if self.alone else [])]
        shares = (1.0, 0.9, 0.75)
        proposed = [model.best(self.most * share) for model in models for share in shares]
        yield from self._measure(proposed, "search")
        self._consider(*proposed)
        for name, order in self._rankings().items():
            for top in self.tops:
                yield from self._walk_within(name, order, top)
        for _ in range(_MOST_ROUNDS * 4):
            base = self.best
            if base is None:
                return
            steps = [s for s in self._neighbours(base) if self.cost(s) <= self.most]
            yield from self._measure(steps, "search")
            yield from self._measure(self._neighbours(base), "search")
            model = self._around(base)
            proposed = [model.best(self.most), *self._equal_swaps(model, base)]
            yield from self._measure(proposed, "search")
            if not self._consider(*steps, *proposed):
                self.certified = all(s in self.errors for s in steps)
                return

    def _equal_swaps(self, model: Linear, base: State) -> list[State]:
        """Two steps that fit into the cost and are predicted to be better."""
        found = {}
        steps = sorted(model.changes, key=lambda sk: model.changes[sk])
        for slot, k in steps[:_MOST_SWAPS]:
            for other, j in steps:
                if other == slot:
                    continue
                state = changed(changed(base, slot, k), other, j)
                if self.cost(state) <= self.most and state not in self.errors:
                    predicted = model.predicted(state)
                    if predicted < model.error:
                        found[state] = predicted
        return sorted(found, key=lambda s: found[s])[:_MOST_SWAPS]

    def _walk_within(self, name: str, order: Sequence[int], top: State) -> Asking:
        states, state = [], self.zero
        for slot in order:
            state = changed(state, slot, top[slot])
            if self.cost(state) > self.most:
                break
            states.append(state)
        path = self.walks.setdefault(f"{name}, to {max(top, default=0)}", [self.zero])
        # Only where it ends is compared: what is before costs less and is, in general, worse.
        yield from self._measure(states[-3:], name)
        path += states[-3:]
        self._consider(*states[-3:])
