"""The search for a plan, on errors that are formulas, where the optimum is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from hmct_track.planning.linear import State
from hmct_track.planning.search import Search

Error = Callable[[State], float]


def solve(search: Search, error: Error, most_rounds: int = 10_000) -> Search:
    """Run a search against a formula, and count what it asks."""
    asking = search.run()
    for trials in itertools.islice(asking, most_rounds):
        assert trials, "an empty round would never end"
        search.tell({trial.state: error(trial.state) for trial in trials})
    return search


def additive(gains: Sequence[Sequence[float]]) -> Error:
    """Each slot has an error that its choice leaves."""
    return lambda state: float(sum(g[k] for g, k in zip(gains, state, strict=True)))


def brute(prices: Sequence[Sequence[float]], error: Error, limit: float) -> float:
    """The least price of all states that keep the limit."""
    states = itertools.product(*(range(len(p)) for p in prices))
    costs = (
        sum(p[k] for p, k in zip(prices, state, strict=True))
        for state in states
        if error(state) <= limit
    )
    return min(costs)


def problem(seed: int, slots: int, choices: int) -> tuple[list[list[float]], list[list[float]]]:
    rng = np.random.default_rng(seed)
    prices, errors = [], []
    for _ in range(slots):
        price = np.sort(rng.lognormal(0, 1, choices - 1))
        first = rng.lognormal(0, 1.5)
        left = first * np.sort(rng.uniform(0, 0.3, choices - 1))[::-1]
        prices.append([0.0, *price.tolist()])
        errors.append([float(first), *left.tolist()])
    return prices, errors


@pytest.mark.parametrize("choices", [2, 3])
def test_it_comes_near_the_optimum_of_errors_that_add_up(choices: int) -> None:
    """GIVEN many small problems of which the best answer is found by trying everything
    THEN the search is never worse than a walk, is mostly optimal, and seldom far from it.
    """
    ratios = []
    for seed in range(40):
        prices, errors = problem(seed, 9 if choices == 2 else 7, choices)
        error = additive(errors)
        limit = 0.3 * error((0,) * len(prices)) + 0.7 * error((choices - 1,) * len(prices))
        alone = [e[0] for e in errors]
        search = solve(Search(prices=prices, limit=limit, alone=alone), error)
        assert search.best is not None
        assert error(search.best) <= limit
        ratios.append(search.cost(search.best) / brute(prices, error, limit))
    assert min(ratios) >= 1 - 1e-9
    assert np.mean(np.array(ratios) < 1 + 1e-9) > 0.75
    assert np.mean(ratios) < 1.03


def interacting(seed: int, slots: int) -> Error:
    """Errors with signs: those of some slots cancel those of others, as in real networks."""
    rng = np.random.default_rng(seed)
    waves = rng.standard_normal((slots, 40)) * rng.lognormal(0, 1, slots)[:, None]
    common = rng.standard_normal(40)
    waves += common * rng.standard_normal(slots)[:, None]

    def error(state: State) -> float:
        left = np.array([1.0 if k == 0 else 0.02 for k in state])
        return float(np.square(left @ waves).mean())

    return error


@pytest.mark.parametrize("seed", range(8))
def test_it_is_never_dearer_than_the_walks_down_a_ranking(seed: int) -> None:
    slots = 24
    prices = [[0.0, p] for p in np.random.default_rng(seed).lognormal(0, 1, slots).tolist()]
    error = interacting(seed, slots)
    zero, top = (0,) * slots, (1,) * slots
    limit = 0.05 * error(zero)
    alone = [error(tuple(int(i != s) for i in range(slots))) for s in range(slots)]
    search = solve(Search(prices=prices, limit=limit, alone=alone), error)
    assert error(top) <= limit
    assert search.best is not None
    without = [error(tuple(int(i == s) for i in range(slots))) for s in range(slots)]
    for order in (np.argsort([-a for a in alone]), np.argsort(without)):
        state = list(zero)
        for slot in order:
            state[slot] = 1
            if error(tuple(state)) <= limit:
                break
        assert search.cost(search.best) <= search.cost(tuple(state)) + 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_the_certificate_is_true(seed: int) -> None:
    """THEN with any single choice taken back the limit is missed, as the search says."""
    slots = 16
    prices = [[0.0, p] for p in np.random.default_rng(seed).lognormal(0, 1, slots).tolist()]
    error = interacting(seed, slots)
    limit = 0.1 * error((0,) * slots)
    search = solve(Search(prices=prices, limit=limit), error)
    assert search.certified
    assert search.best is not None
    raised = [s for s, k in enumerate(search.best) if k]
    assert {s for s, _ in search.removals} == set(raised)
    for slot in raised:
        less = tuple(0 if s == slot else k for s, k in enumerate(search.best))
        assert error(less) > limit
        assert search.removals[slot, 0] == error(less)


def test_everything_that_it_says_was_measured() -> None:
    prices, errors = problem(3, 12, 2)
    error = additive(errors)
    search = solve(Search(prices=prices, limit=0.2 * error((0,) * 12)), error)
    assert all(search.errors[s] == error(s) for s in search.errors)
    assert search.best in search.errors
    points = [(search.cost(s), search.errors[s]) for s in search.frontier()]
    assert points == sorted(points, key=lambda p: (p[0], -p[1]))


def test_a_limit_that_is_met_already_costs_nothing() -> None:
    prices, errors = problem(0, 6, 2)
    search = solve(Search(prices=prices, limit=1e9), additive(errors))
    assert search.best == (0,) * 6
    assert len(search.errors) == 2


def test_a_limit_out_of_reach_is_told_after_the_extremes() -> None:
    prices, errors = problem(0, 6, 2)
    search = solve(Search(prices=prices, limit=0.0), additive(errors))
    assert search.best is None
    assert len(search.errors) == 2


@pytest.mark.parametrize("seed", range(10))
def test_the_best_for_a_price_is_near_the_optimum(seed: int) -> None:
    prices, errors = problem(seed, 10, 2)
    error = additive(errors)
    most = 0.4 * sum(p[1] for p in prices)
    search = solve(Search(prices=prices, most=most), error)
    assert search.best is not None
    assert search.cost(search.best) <= most
    assert search.certified
    best = min(
        error(s)
        for s in itertools.product((0, 1), repeat=10)
        if sum(p[k] for p, k in zip(prices, s, strict=True)) <= most
    )
    assert error(search.best) <= best * 1.1


def test_a_search_that_is_stopped_has_the_best_so_far() -> None:
    prices, errors = problem(5, 14, 2)
    error = additive(errors)
    search = solve(Search(prices=prices, limit=0.3 * error((0,) * 14)), error, most_rounds=3)
    assert search.best is not None
    assert search.keeps(search.best)
    assert not search.certified


def test_numbers_that_are_none_keep_no_limit() -> None:
    """GIVEN a choice whose error is NaN, as a model gives that overflows."""
    prices = [[0.0, 1.0], [0.0, 0.5]]
    error = {(0, 0): 4.0, (1, 1): 0.5, (1, 0): 1.0, (0, 1): float("nan")}
    search = solve(Search(prices=prices, limit=1.0), error.__getitem__)
    assert search.best == (1, 0)


def test_a_calibrated_model_that_overflows_is_planned_all_the_same() -> None:
    """GIVEN errors that are infinite as long as one slot is as calibrated, alone as well."""
    gains = np.array([1.0, 2.0, 0.5, 4.0])

    def error(state: State) -> float:
        return float("inf") if not state[1] else float(gains[np.array(state) == 0].sum())

    search = Search(prices=[[0.0, 1.0]] * 4, limit=1.6, alone=[1.0, 1e150, 0.5, 4.0])
    for trials in itertools.islice(search.run(), 1000):
        search.tell({t.state: error(t.state) for t in trials})
    assert search.best == (0, 1, 0, 1)
    assert search.certified


def test_boundaries_are_paid_for() -> None:
    """GIVEN chains of nodes in which each change of type costs
    THEN the search is near the optimum of all states, far below one that does not look at
    boundaries, and as its certificate says no single change makes it cheaper.
    """
    slots = 10
    ratios, blinds = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        prices = [[0.0, p] for p in rng.uniform(0.5, 1.5, slots).tolist()]
        error = additive([[float(e), 0.0] for e in rng.lognormal(0, 1, slots)])
        limit = 0.25 * error((0,) * slots)
        search = solve(Search(prices=prices, limit=limit, beyond=changes), error)
        blind = solve(Search(prices=prices, limit=limit), error)
        assert search.best is not None
        assert blind.best is not None
        assert error(search.best) <= limit
        states = (s for s in itertools.product((0, 1), repeat=slots) if error(s) <= limit)
        least = min(map(search.cost, states))
        ratios.append(search.cost(search.best) / least)
        blinds.append(search.cost(blind.best) / least)
        assert search.certified
        for slot in range(slots):
            other = tuple(1 - k if s == slot else k for s, k in enumerate(search.best))
            assert error(other) > limit or search.cost(other) >= search.cost(search.best)
    assert np.mean(ratios) < 1.05
    assert np.mean(blinds) > 1.15


def changes(state: State) -> float:
    """One for each change of choice along a chain."""
    return float(sum(a != b for a, b in itertools.pairwise(state)))
