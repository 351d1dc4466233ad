"""What the search believes between two measurements: that errors add up.

Such a belief only proposes states. Each is measured before anything is said of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

State = tuple[int, ...]
"""For each slot (what changes together) the number of its choice; 0 is as calibrated."""

Prices = Sequence[Sequence[float]]
"""Price of each choice of each slot; that of choice 0 is 0."""

_LEAST = 1e-12


def cost_of(state: State, prices: Prices) -> float:
    """The sum of the prices of its choices."""
    return sum(choices[k] for choices, k in zip(prices, state, strict=True))


def changed(state: State, slot: int, choice: int) -> State:
    """The state with another choice in one slot."""
    return (*state[:slot], choice, *state[slot + 1 :])


@dataclass(frozen=True)
class Linear:
    """The error around a state: that of the state, and what each other choice changes."""

    base: State
    error: float
    changes: Mapping[tuple[int, int], float]
    """(slot, choice) to how much larger the error is with it."""
    prices: Prices
    offset: float = 0.0
    """What no price is in: the cost of a state is this and its prices."""

    def cost(self, state: State) -> float:
        """What a state costs by these prices."""
        return self.offset + cost_of(state, self.prices)

    def predicted(self, state: State) -> float:
        """The error of a state, if all changes add up."""
        moved = (
            self.changes.get((slot, k), 0.0)
            for slot, (k, before) in enumerate(zip(state, self.base, strict=True))
            if k != before
        )
        return self.error + sum(moved)

    def chain(self) -> Iterator[State]:
        """States from the cheapest to the least error: the best rate of error for a price first.

        Each step takes the choice that takes away most error for what it adds to the price, as the
        greedy way to fill a knapsack of several choices per slot does.
        """
        state = tuple(c.index(min(c)) for c in map(list, self.prices))
        # Free choices that are better are taken at once.
        yield state
        while True:
            best: tuple[float, float, State] | None = None
            for slot, choices in enumerate(self.prices):
                now = self._change(slot, state[slot])
                for k, price in enumerate(choices):
                    gain = now - self._change(slot, k)
                    paid = price - choices[state[slot]]
                    if k == state[slot] or gain <= 0 or paid < 0:
                        continue
                    rate = gain / max(paid, _LEAST)
                    if best is None or (rate, gain) > best[:2]:
                        best = rate, gain, changed(state, slot, k)
            if best is None:
                return
            state = best[2]
            yield state

    def cheapest(self, limit: float) -> State | None:
        """A state that is cheap and predicted to be at most at ``limit``; None if none is."""
        for state in self.chain():
            if self.predicted(state) <= limit:
                return self._thinned(state, limit)
        return None

    def best(self, most: float) -> State:
        """A state of little predicted error whose price is at most ``most``."""
        found: State | None = None
        for state in self.chain():
            if self.cost(state) <= most:
                found = state
            elif found is not None:
                return self._filled(found, most)
        return found or (0,) * len(self.prices)

    def _thinned(self, state: State, limit: float) -> State:
        """Without what is dear and not needed, as the last step may have gone too far."""
        by_price = sorted(range(len(state)), key=lambda s: self.prices[s][state[s]], reverse=True)
        for slot in by_price:
            for k in sorted(range(len(self.prices[slot])), key=lambda k: self.prices[slot][k]):
                less = changed(state, slot, k)
                if self.prices[slot][k] >= self.prices[slot][state[slot]]:
                    break
                if self.predicted(less) <= limit:
                    state = less
                    break
        return state

    def _filled(self, state: State, most: float) -> State:
        """With what still fits into the price, the best rate first."""
        while True:
            options = [
                (gain / max(paid, _LEAST), more)
                for slot, choices in enumerate(self.prices)
                for k, price in enumerate(choices)
                if (gain := self._change(slot, state[slot]) - self._change(slot, k)) > 0
                and (paid := price - choices[state[slot]]) >= 0
                and self.cost(more := changed(state, slot, k)) <= most
            ]
            if not options:
                return state
            state = max(options)[1]

    def _change(self, slot: int, choice: int) -> float:
        if choice == self.base[slot]:
            return 0.0
        return self.changes.get((slot, choice), 0.0)
