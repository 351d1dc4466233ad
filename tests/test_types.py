"""The vocabulary: numeric types, and configurations that are equal however they are written."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmct_track.types import (
    CalibrationKind,
    Metric,
    QuantConfig,
    Quantization,
    QuantParams,
    QuantType,
    TensorSpec,
    digest,
)

ON, OFF = Quantization.AS_CALIBRATED, Quantization.OFF


@pytest.mark.parametrize(
    ("name", "qmin", "qmax"),
    [
        ("int4", -8, 7),
        ("int5", -16, 15),
        ("int12", -2048, 2047),
        ("uint4", 0, 15),
        ("uint5", 0, 31),
        ("uint12", 0, 4095),
        *(
            (name, np.iinfo(name).min, np.iinfo(name).max)
            for name in ("int8", "uint8", "int16", "uint16", "int32")
        ),
    ],
)
def test_an_integer_type_spans_its_full_range(name: str, qmin: int, qmax: int) -> None:
    qtype = QuantType(name)
    assert (qtype.qmin, qtype.qmax) == (qmin, qmax)
    assert qtype.is_integer
    assert qtype.is_signed == (qmin < 0)
    assert 2**qtype.bits == qmax - qmin + 1
    assert str(qtype) == name


@pytest.mark.parametrize("bits", range(4, 17))
@pytest.mark.parametrize("sign", ["", "u"])
def test_integers_of_4_to_16_bits_are_types(sign: str, bits: int) -> None:
    assert QuantType(f"{sign}int{bits}").bits == bits


@pytest.mark.parametrize(("name", "bits"), [("float16", 16), ("float32", 32)])
def test_half_and_single_precision_are_types(name: str, bits: int) -> None:
    qtype = QuantType(name)
    assert not qtype.is_integer
    assert qtype.bits == bits


@pytest.mark.parametrize(
    "name",
    [
        *("int3", "uint3", "int17", "uint17", "uint32", "int64", "int0", "int", "uint"),
        *("float8e4m3fn", "float8e5m2", "mxint8", "float64", "bfloat16", "float"),
        *(
            "",
            " int8",
            "int8 ",
            "int8\n",
            "INT8",
            "Int8",
            "int-8",
            "int08",
            "int٨",
            "sint8",
            "int8x",
        ),
    ],
)
def test_anything_else_is_refused_with_what_is_supported(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not supported; supported: int4 to int16") as caught:
        QuantType(name)
    assert repr(name) in str(caught.value)


NODES = ("a", "b", "c", "d", "e")
STATES = st.sampled_from([OFF, ON, QuantType("int8"), QuantType("int16"), QuantType("float16")])
ASSIGNMENTS = st.fixed_dictionaries(dict.fromkeys(NODES, STATES))


@given(
    states=ASSIGNMENTS,
    order=st.permutations(NODES),
    strangers=st.dictionaries(st.just("z"), STATES),
)
def test_every_way_to_write_a_configuration_has_one_canonical_form(
    states: dict[str, object], order: list[str], strangers: dict[str, object]
) -> None:
    written = [
        QuantConfig(OFF, states),
        QuantConfig(ON, {name: states[name] for name in order} | strangers),
        QuantConfig(OFF, {n: s for n, s in states.items() if s is not OFF}),
        QuantConfig(ON, {n: s for n, s in states.items() if s is not ON}),
    ]
    canonical = [config.canonical(nodes) for config in written for nodes in (NODES, order)]

    assert all(config == canonical[0] for config in canonical)
    assert len({config.config_id for config in canonical}) == 1
    assert {name: canonical[0].state(name) for name in NODES} == states
    assert canonical[0].canonical(NODES) == canonical[0]


@given(first=ASSIGNMENTS, second=ASSIGNMENTS)
def test_config_ids_are_equal_for_equal_configurations_only(
    first: dict[str, object], second: dict[str, object]
) -> None:
    ids = [QuantConfig(OFF, states).canonical(NODES).config_id for states in (first, second)]
    assert (ids[0] == ids[1]) == (first == second)


def test_the_canonical_default_is_what_most_nodes_do_and_off_in_a_draw() -> None:
    assert QuantConfig(OFF, {"a": ON, "b": ON}).canonical("abc") == QuantConfig(ON, {"c": OFF})
    assert QuantConfig(ON, {"a": OFF}).canonical("ab") == QuantConfig(OFF, {"b": ON})
    int16 = QuantType("int16")
    assert QuantConfig(ON, dict.fromkeys("ab", int16)).canonical("ab") == QuantConfig(
        OFF, {"a": int16, "b": int16}
    )


def test_only_and_all_but_name_the_exceptions() -> None:
    only, all_but = QuantConfig.only(["a"]), QuantConfig.all_but(["a"])
    assert [only.state(n) for n in "ab"] == [ON, OFF]
    assert [all_but.state(n) for n in "ab"] == [OFF, ON]
    int16 = QuantType("int16")
    assert QuantConfig.only(["a"], int16).state("a") == int16
    assert QuantConfig.all_but(["a"], int16).state("a") == int16


def test_a_configuration_is_written_as_sorted_json() -> None:
    config = QuantConfig(OFF, {"b/1:;": ON, "a": QuantType("int16")})
    text = '{"default":"off","overrides":{"a":"int16","b/1:;":"calibrated"}}'
    assert config.to_json() == text
    assert config.config_id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_digest_is_that_of_the_joined_parts() -> None:
    assert digest(b"ab", memoryview(b"c")) == hashlib.sha256(b"abc").hexdigest()[:16]


def test_params_tell_per_channel_and_the_largest_threshold() -> None:
    int8 = QuantType("int8")
    assert not QuantParams(int8, (0.1,)).is_per_channel
    assert QuantParams(int8, (0.1, 0.1)).is_per_channel
    assert QuantParams(int8, (0.1,), thresholds=(-3.0, 2.0)).max_threshold == 2.0
    assert QuantParams(QuantType("float16")).max_threshold is None


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (TensorSpec("x", "float32", (1, None, 3)), "float32[1, ?, 3]"),
        (TensorSpec("x", "float32", ()), "float32[]"),
        (TensorSpec("x", "int64", None), "int64[?]"),
    ],
)
def test_a_tensor_spec_shows_unknown_sizes_as_question_marks(spec: TensorSpec, text: str) -> None:
    assert str(spec) == text


def test_cosine_and_sqnr_are_better_when_higher() -> None:
    assert {m.value for m in Metric if m.higher_is_better} == {"cosine-similarity", "sqnr"}
    assert Metric("cosine-similarity").column == "cosine_similarity"
    assert CalibrationKind("weight") is CalibrationKind.WEIGHT
