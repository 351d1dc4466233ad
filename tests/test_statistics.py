"""Sums over pairs of tensors, against exact summation and plain NumPy in float64."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hmct_track.engine.statistics import CHUNK, pair_statistics
from hmct_track.types import PairStatistics


def exact(x: np.ndarray, y: np.ndarray) -> PairStatistics:
    """The definitions, each sum without any rounding but that of its terms."""
    pairs = list(zip(x.ravel().tolist(), y.ravel().tolist(), strict=True))
    return PairStatistics(
        len(pairs),
        math.fsum(a * a for a, _ in pairs),
        math.fsum(b * b for _, b in pairs),
        math.fsum(a * b for a, b in pairs),
        math.fsum((a - b) ** 2 for a, b in pairs),
        math.fsum(abs(a - b) for a, b in pairs),
        math.fsum(abs(a) for a, _ in pairs),
        max((abs(a - b) for a, b in pairs), default=0.0),
        0,
        0,
    )


def assert_same(got: PairStatistics, x: np.ndarray, y: np.ndarray) -> None:
    """Counts and maximum exactly; sums to the rounding of adding, which the products bound."""
    expected = exact(x, y)
    counts = ("count", "max_abs_d", "nonfinite_x", "nonfinite_y")
    assert [getattr(got, c) for c in counts] == [getattr(expected, c) for c in counts]
    noise = 1e-12 * math.sqrt(expected.sum_xx * expected.sum_yy)
    assert got.sum_xy == pytest.approx(expected.sum_xy, rel=1e-12, abs=noise)
    for name in ("sum_xx", "sum_yy", "sum_dd", "sum_abs_d", "sum_abs_x"):
        assert getattr(got, name) == pytest.approx(getattr(expected, name), rel=1e-12), name


PAIRS = st.sampled_from(["float16", "float32", "float64"]).flatmap(
    lambda dtype: array_shapes(min_dims=0, min_side=0).flatmap(
        lambda shape: st.tuples(
            *[arrays(dtype, shape, elements=st.floats(-100, 100, width=16))] * 2
        )
    )
)


@given(pair=PAIRS)
def test_every_sum_is_what_it_says(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    assert_same(pair_statistics(x, y), x, y)


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_sizes_around_the_chunk(size: int) -> None:
    rng = np.random.default_rng(size)
    x, y = rng.normal(3, 1, (2, size)).astype(np.float32)
    x[-1] = 50  # the largest difference is the last
    assert_same(pair_statistics(x, y), x, y)


@given(x=arrays(np.float32, 50, elements=st.floats(-(2.0**60), 2.0**60, width=32)))
def test_equal_tensors_have_no_error(x: np.ndarray) -> None:
    got = pair_statistics(x, x.copy())
    assert (got.sum_dd, got.sum_abs_d, got.max_abs_d) == (0, 0, 0)
    assert [got.sum_yy, got.sum_xy] == pytest.approx([got.sum_xx] * 2, rel=1e-12)


def test_sums_are_in_float64_whatever_the_dtype() -> None:
    half = np.full(100_000, 300, np.float16)  # 300 * 300 is beyond float16
    got = pair_statistics(half, half)
    assert (got.sum_xx, got.sum_abs_x) == (9e9, 3e7)
    one = np.ones(1, np.float64)
    assert pair_statistics(one, one + 1e-12).sum_abs_d == (1 + 1e-12) - 1
    single, double = np.array([0.1], np.float32), np.array([0.1], np.float64)
    assert pair_statistics(single, double).max_abs_d == float(single[0]) - 0.1


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64"])
def test_integers_do_not_wrap_around(dtype: str) -> None:
    x, y = np.array([0, 100], dtype), np.array([100, 0], dtype)
    assert_same(pair_statistics(x, y), x, y)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2],
        lambda a: a[::-1, ::3],
        lambda a: a.T,
        np.asfortranarray,
        lambda a: np.broadcast_to(a[0], (300, *a[0].shape)),
    ],
    ids=["step", "reversed", "transposed", "Fortran order", "broadcast"],
)
def test_elements_pair_by_index_not_by_memory(view: object) -> None:
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(300, 400)).astype(np.float32)
    x = view(whole)  # type: ignore[operator]
    y = np.ascontiguousarray(x) + rng.normal(size=x.shape).astype(np.float32)
    assert_same(pair_statistics(x, y), x, y)
    assert_same(pair_statistics(y, x), y, x)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0, 2)])
def test_empty_tensors_sum_to_zero(shape: tuple[int, ...]) -> None:
    empty = np.zeros(shape, np.float32)
    assert not any(astuple(pair_statistics(empty, empty)))


@pytest.mark.parametrize("position", [0, CHUNK - 1, CHUNK, CHUNK + 9])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_counted_and_seen_in_its_sums(
    value: float, position: int
) -> None:
    good = np.ones(CHUNK + 10, np.float32)
    bad = good.copy()
    bad[position] = value
    for got, counts in (
        (pair_statistics(bad, good), (1, 0)),
        (pair_statistics(good, bad), (0, 1)),
        (pair_statistics(bad, bad), (1, 1)),
    ):
        assert (got.nonfinite_x, got.nonfinite_y) == counts
        assert math.isfinite(got.sum_xx) == math.isfinite(got.sum_abs_x) == (counts[0] == 0)
        assert math.isfinite(got.sum_yy) == (counts[1] == 0)
        errors = (got.sum_xy, got.sum_dd, got.sum_abs_d, got.max_abs_d)
        assert not any(map(math.isfinite, errors))
        assert got.count == good.size


def test_values_of_which_most_are_not_finite_are_counted() -> None:
    x, y = np.array([[1, math.nan, math.inf, math.nan], [1, 1, -math.inf, math.nan]], np.float32)
    got = pair_statistics(x, y)
    assert (got.nonfinite_x, got.nonfinite_y) == (3, 2)


@given(
    pair=st.tuples(*[arrays(np.float32, 30, elements=st.floats(width=32))] * 2),
)
def test_any_float32_gives_no_warning_and_numpy_s_sums(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    got = pair_statistics(x, y)
    assert got.nonfinite_x == sum(not math.isfinite(v) for v in x.tolist())
    assert got.nonfinite_y == sum(not math.isfinite(v) for v in y.tolist())
    a, b = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(all="ignore"):
        largest = np.abs(a - b).max()
        sums = [(a * a).sum(), (b * b).sum(), ((a - b) ** 2).sum(), np.abs(a - b).sum()]
    np.testing.assert_equal(got.max_abs_d, float(largest))
    np.testing.assert_allclose(
        [got.sum_xx, got.sum_yy, got.sum_dd, got.sum_abs_d], sums, rtol=1e-12
    )


def test_numbers_too_large_for_their_squares_are_infinite_without_a_warning() -> None:
    huge = np.array([1e200, -1e200])
    got = pair_statistics(huge, -huge)
    assert (got.sum_xx, got.sum_dd, got.max_abs_d) == (np.inf, np.inf, 2e200)
    assert (got.nonfinite_x, got.nonfinite_y) == (0, 0)


@pytest.mark.parametrize(("x", "y"), [((2, 3), (3, 2)), ((6,), (2, 3)), ((1,), ()), ((0,), (1,))])
def test_shapes_that_differ_are_refused(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="differ"):
        pair_statistics(np.zeros(x), np.zeros(y))
