"""Outputs as they are written: parts of tensors, read strictly, in one canonical text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmct_track.engine.comparison import select
from hmct_track.errors import UnknownNodeError, UsageError
from hmct_track.types import Output, Span

TENSORS = ["output0", "/model/Add_output_0", "odd[0]", "odd", "a/rms(1)", "a", "x:0"]


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("output0", Output("output0")),
        ("output0[:, 4:]", Output("output0", (Span(), Span(4)))),
        ("output0[0]", Output("output0", (0,))),
        ("output0[..., -1]", Output("output0", (..., -1))),
        ("output0[1:9:2]", Output("output0", (Span(1, 9, 2),))),
        ("output0/rms(1)", Output("output0", (), 1)),
        ("output0[:, 4:]/rms(-1)", Output("output0", (Span(), Span(4)), -1)),
        ("/model/Add_output_0[:, :4]", Output("/model/Add_output_0", (Span(), Span(None, 4)))),
        ("x:0[1:]", Output("x:0", (Span(1),))),
        ("odd[0]", Output("odd[0]")),
        ("odd[1]", Output("odd", (1,))),
        ("odd[0][1]", Output("odd[0]", (1,))),
        ("a/rms(1)", Output("a/rms(1)")),
        ("a/rms(0)", Output("a", (), 0)),
    ],
)
def test_an_output_is_read_and_written(text: str, output: Output) -> None:
    assert Output.parse(text, TENSORS) == output
    assert str(output) == text
    assert hash(Output.parse(text, TENSORS)) == hash(output)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("output0[:,4:]", "output0[:, 4:]"),
        ("output0[ : , 4 : ]", "output0[:, 4:]"),
        ("output0[0:, 4::1]", "output0[:, 4:]"),
        ("output0[:, 4:, :, :]", "output0[:, 4:]"),
        ("output0[:, 4:, ...]", "output0[:, 4:]"),
        ("output0[:]", "output0"),
        ("output0[..., :]", "output0"),
        ("output0[:, ..., :]", "output0"),
        ("output0[..., 0, :]", "output0[..., 0, :]"),
        ("output0[...]/rms( +1 )", "output0/rms(1)"),
        ("output0[007]", "output0[7]"),
    ],
)
def test_many_ways_to_write_have_one_canonical_text(text: str, canonical: str) -> None:
    assert str(Output.parse(text, TENSORS)) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output0[]", "'' is not a whole number"),
        ("output0[a]", "'a' is not a whole number"),
        ("output0[1.5]", r"'1\.5' is not a whole number"),
        ("output0[1:2:3:4]", "'1:2:3:4' is not a slice"),
        ("output0[::-1]", "step of a slice of an output is -1; give one above 0"),
        ("output0[::0]", "step of a slice of an output is 0; give one above 0"),
        ("output0[..., ...]", r"more than one '\.\.\.'"),
        ("output0[None]", "'None' is not a whole number"),
        ("output0[٣]", "is not a whole number"),
        ("output0[__import__('os')]", "is not a whole number"),
        ("output0[9999999999]", "is not a whole number"),
        ("output0/rms()", "'' is not a whole number"),
        ("output0/rms(1)[0]", r"is not understood; expected is NAME\[SLICES\]/rms\(AXIS\)"),
        ("output0[[0]]", "is not understood"),
        ("output0[0", "is not understood"),
        ("", "no tensor named ''"),
        ("output", r"no tensor named 'output'; closest names: output0"),
        ("nothing[0]", "no tensor named 'nothing'"),
    ],
)
def test_what_is_no_output_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Output.parse(text, TENSORS)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnknownNodeError) == ("no tensor" in message)


PLACES = st.integers(-3, 3) | st.builds(
    slice,
    st.none() | st.integers(-4, 4),
    st.none() | st.integers(-4, 4),
    st.none() | st.integers(1, 3),
)


@given(
    places=st.lists(PLACES, max_size=3),
    ellipsis=st.none() | st.integers(0, 3),
    axis=st.none() | st.integers(-2, 2),
)
def test_every_output_comes_back_from_its_text_and_takes_what_numpy_takes(
    places: list[object], ellipsis: int | None, axis: int | None
) -> None:
    if ellipsis is not None:
        places.insert(ellipsis, ...)
    output = Output("x", tuple(places), axis)  # type: ignore[arg-type]
    assert Output.parse(str(output), ["x"]) == output
    x = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    plain = Output("x", output.slices)
    expected = x[tuple(places)]  # type: ignore[index]
    if expected.size:
        np.testing.assert_array_equal(select(plain, x), expected)
        return
    with pytest.raises(UsageError, match="holds nothing"):
        select(plain, x)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (Output("x", (0, 0, 0)), r"'x\[0, 0, 0\]' does not fit shape \[2, 3\]: too many indices"),
        (Output("x", (5,)), r"'x\[5\]' does not fit shape \[2, 3\]: index 5 is out of bounds"),
        (Output("x", (Span(2),)), r"'x\[2:\]' holds nothing of shape \[2, 3\]"),
        (Output("x", (), 2), r"'x/rms\(2\)': axis 2 is outside shape \[2, 3\]"),
        (Output("x", (0,), 1), r"'x\[0\]/rms\(1\)': axis 1 is outside shape \[3\]"),
    ],
)
def test_parts_that_a_tensor_does_not_have(output: Output, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select(output, np.zeros((2, 3)))


def test_no_values_have_no_part_and_that_is_no_error() -> None:
    assert select(Output("x", (Span(), Span(4))), np.zeros((0, 6))).shape == (0, 2)
