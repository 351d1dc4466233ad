"""The axis of a metric: order is kept, and what has no logarithm has a place of its own."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from hmct_track.report.scale import ErrorScale
from hmct_track.report.tables import adapted_values
from hmct_track.types import Metric

COSINE = Metric.COSINE_SIMILARITY
LOG = [metric for metric in Metric if metric is not Metric.SQNR]
INF, NAN = math.inf, math.nan
ERRORS = st.lists(st.floats(1e-14, 1e6) | st.sampled_from([0.0, NAN, None, INF]), max_size=30)


@given(ERRORS, st.sampled_from([m for m in LOG if m is not COSINE]))
def test_errors_keep_their_order_and_lie_within_the_axis(
    errors: list[float | None], metric: Metric
) -> None:
    scale = ErrorScale(errors, metric)
    places = scale.places(errors)
    axes = Figure().subplots()
    scale.apply(axes)
    low, high = axes.get_ylim()
    for error, place in zip(errors, places, strict=True):
        missing = error is None or math.isnan(error)
        assert math.isnan(place) if missing else low < place < high
    pairs = sorted((e, p) for e, p in zip(errors, places, strict=True) if not math.isnan(p))
    for (a, place_a), (b, place_b) in pairwise(pairs):
        assert place_a < place_b if a < b else place_a == place_b


@pytest.mark.parametrize("metric", Metric)
def test_what_equals_the_float_model_stands_at_a_tick_that_says_so(metric: Metric) -> None:
    values = [metric.optimum, 0.5, 0.25]
    scale = ErrorScale(values, metric)
    figure = Figure()
    axes = figure.subplots()
    scale.apply(axes)
    names = {
        label.get_text(): tick
        for label, tick in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
    }
    assert names["equal"] == scale.equal == scale.places(values)[0]
    others = scale.places(values)[1:]
    # Least error: beyond the others, where errors are smaller or decibels are more.
    assert (scale.equal < others).all() if scale.is_log else (scale.equal > others).all()
    assert list(scale.is_equal(values)) == [True, False, False]


def test_a_cosine_that_rounds_above_one_is_equal() -> None:
    scale = ErrorScale([1 + 2e-16, 1 - 1e-16, 0.9], COSINE)
    assert list(scale.is_equal([1 + 2e-16, 1 - 1e-16, 1 - 1e-14, None])) == [
        True,
        True,
        False,
        False,
    ]


def test_ticks_can_name_the_cosine_itself() -> None:
    axes = Figure().subplots()
    ErrorScale([0.9, 0.99999, 1.0], COSINE, as_value=True).apply(axes)
    assert {"0.9", "0.999", "1"} <= {label.get_text() for label in axes.get_yticklabels()}


def test_no_values_are_an_axis_without_an_error() -> None:
    for metric in Metric:
        scale = ErrorScale([None, NAN], metric)
        axes = Figure().subplots()
        scale.apply(axes)
        assert np.isnan(scale.places([None, NAN])).all()
        assert axes.get_ylim()[0] < axes.get_ylim()[1]


@pytest.mark.parametrize(
    ("metric", "values", "name", "texts"),
    [
        (COSINE, [0.99972, 0.9999982, 1.0], "1 - cosine-similarity", ["0.00028", "1.8e-06", "0"]),
        (COSINE, [0.72, 0.9999982, 1.0], "cosine-similarity", ["0.72000", "0.9999982", "1"]),
        (COSINE, [-0.5, 0.0, None], "cosine-similarity", ["-0.50000", "0", "nan"]),
        (COSINE, [None, NAN], "cosine-similarity", ["nan", "nan"]),
        (COSINE, [0.995, NAN, INF], "1 - cosine-similarity", ["0.005", "nan", "inf"]),
        (Metric.SQNR, [31.4159, INF, 1e-6], "sqnr", ["31.42", "inf", "1e-06"]),
        (Metric.MSE, [68.02103, 3.1e-9, 0.0], "mse", ["68.02", "3.1e-09", "0"]),
    ],
)
def test_digits_tell_values_apart(
    metric: Metric, values: list[float | None], name: str, texts: list[str]
) -> None:
    shown = adapted_values(values, metric)
    assert (shown.name, list(shown.texts)) == (name, texts)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_texts_of_cosines_are_near_their_values(values: list[float]) -> None:
    shown = adapted_values(values, COSINE)
    read = np.array([float(text) for text in shown.texts])
    errors = read if shown.name.startswith("1 -") else 1 - read
    np.testing.assert_allclose(errors, 1 - np.array(values), rtol=0.06, atol=1e-5)


def test_ends_of_intervals_are_written_like_the_column_beside_them() -> None:
    ends = adapted_values([0.9, 0.9995], COSINE, [0.995, 0.9999])
    assert (ends.name, ends.texts) == ("1 - cosine-similarity", ("0.1", "0.0005"))
    assert adapted_values([0.9999], COSINE, [0.9]).name == "cosine-similarity"
