"""Labels: distinct names stay distinct, within the width, and as they are where they fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmct_track.report.labels import (
    NARROWEST,
    distinct_labels,
    lines_of,
    listed,
    owner,
    shortened,
)
from hmct_track.text import visible

PARTS = st.sampled_from(
    ["features", "conv", "conv.0", "conv.1", "Conv", "a", "x" * 30, "", "_$<b>"]
)
PATHS = st.lists(PARTS, min_size=1, max_size=9).map("/".join)
NAMES = st.one_of(PATHS, st.text(max_size=120), st.text("ab", min_size=20, max_size=60))


@given(st.lists(NAMES, max_size=60), st.integers(NARROWEST, 60))
def test_distinct_names_have_distinct_labels_of_the_width(names: list[str], width: int) -> None:
    labels = distinct_labels(names, width)
    names = [visible(name) for name in names]  # a control character is written out in a figure
    assert len(labels) == len(names)
    assert len(set(zip(names, labels, strict=True))) == len(set(names)) == len(set(labels))
    assert all(len(label) <= width for label in labels)
    assert all(a == b for a, b in zip(names, labels, strict=True) if len(a) <= width)


def test_a_label_that_looks_like_another_name_is_not_given_twice() -> None:
    long = "a" * 50
    taken = shortened(long, 20)
    assert len(set(distinct_labels([long, taken, "a" * 51, f"{taken[:18]}~2"], 20))) == 4


def test_the_part_that_differs_is_kept() -> None:
    names = [f"/features/features.{k}/conv/conv.0/conv.0.0/Conv" for k in range(19)]
    labels = distinct_labels(names, 30)
    assert labels[0] == "…features.0/…conv.0.0/Conv"
    assert labels[18] == "…features.18/…conv.0.0/Conv"
    assert not any("~" in label for label in labels)


def test_names_that_differ_in_the_middle_of_a_part_show_where() -> None:
    names = ["x" * 40 + middle + "y" * 40 for middle in "ABC"]
    for middle, label in zip("ABC", distinct_labels(names, 30), strict=True):
        assert middle in label


def test_a_thousand_names_that_are_alike_are_numbered() -> None:
    names = ["/".join(["same"] * (10 + k)) for k in range(1000)]
    labels = distinct_labels(names, 20)
    assert len(set(labels)) == 1000
    assert max(map(len, labels)) <= 20


@given(st.text(max_size=80), st.integers(1, 60))
def test_a_shortened_name_keeps_both_ends(name: str, width: int) -> None:
    label = shortened(name, width)
    assert len(label) <= max(width, 1)
    shown = visible(name)
    assert label == shown or (len(label) == width and "…" in label)


@pytest.mark.parametrize(
    ("kind", "consumers", "text"),
    [
        ("weight", ["/layer1/conv/Conv"], "weight of /layer1/conv/Conv"),
        ("activation", ["Conv_1", "Add_2"], "input of Conv_1, Add_2"),
        ("activation", ["a", "b", "c"], "input of a, b and 1 more"),
        ("node_output", [], "node_output"),
        ("weight", None, "weight"),
    ],
)
def test_a_calibration_node_is_told_by_its_owner(
    kind: str, consumers: list[str] | None, text: str
) -> None:
    assert owner(kind, consumers) == text


def test_lists_say_how_many_are_left_out() -> None:
    assert listed(["a"]) == "a"
    assert listed(list("abcd")) == "a, b and 2 more"


def test_headings_break_between_words() -> None:
    name = "/features/features.1/conv/conv.1/Conv_HzCalibration"
    assert lines_of(f"Sensitivity of {name}", 60) == f"Sensitivity of\n{name}"
    assert max(map(len, lines_of("x" * 200, 40).split("\n"))) == 40
    assert lines_of("a\nb", 40) == "a\nb"
