"""Configurations that begin alike share what they have in common, and sessions live so long."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hmct_track.engine.paths import Branch, Key, Variants, count_uses
from hmct_track.types import Quantization, QuantType

A: Key = (("a", Quantization.AS_CALIBRATED),)
B: Key = (("b", QuantType("int16")),)
CHANGES = st.dictionaries(st.integers(0, 4), st.sampled_from([A, B]), max_size=4)


@given(st.lists(CHANGES, max_size=8), st.integers(1, 3))
def test_a_part_is_run_once_for_all_that_come_to_it_the_same_way(
    keys: list[dict[int, Key]], times: int
) -> None:
    ways = {
        tuple(sorted(changed.items()))[: k + 1] for changed in keys for k in range(len(changed))
    }
    expected = Counter(way[-1] for way in ways)
    assert count_uses(keys, times) == {place: times * count for place, count in expected.items()}


@given(st.lists(CHANGES, min_size=1, max_size=8), st.integers(0, 4))
def test_configurations_part_where_they_differ_and_float_goes_first(
    keys: list[dict[int, Key]], part: int
) -> None:
    branch = Branch(tuple(range(len(keys))), part, ("s",), {"s": {}}, {"s": {}})
    split = branch.split(keys)
    for key, own in split:
        assert all(keys[config].get(part, ()) == key for config in own.configs)
    assert sorted(c for _, own in split for c in own.configs) == list(range(len(keys)))
    assert len({key for key, _ in split}) == len(split)
    assert not any(key == () for key, _ in split[1:])
    if len(split) > 1:  # what one branch comes to is not seen by the others
        split[0][1].changed["s"]["x"] = None  # type: ignore[assignment]
        assert not any(own.changed["s"] for _, own in split[1:])


class Session:
    """Stands for one; it can be watched as it goes."""


def test_a_session_is_made_once_and_goes_with_its_last_use() -> None:
    made: list[tuple[int, Key]] = []

    def make(part: int, key: Key) -> Any:
        made.append((part, key))
        return Session()

    variants = Variants(make, Counter({(0, A): 3, (1, A): 1}))
    first = variants.take(0, A)
    seen = weakref.ref(first)
    assert variants.take(0, A) is first
    del first
    assert seen() is not None, "it is used once more"
    assert variants.take(1, A) is not seen() and variants.take(0, A) is seen()
    assert seen() is None
    assert made == [(0, A), (1, A)]
