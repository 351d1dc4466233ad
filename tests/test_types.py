"""The vocabulary: numeric types, and configurations that are equal however they are written."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmct_track.errors import UsageError
from hmct_track.types import (
    BiasShift,
    CalibrationKind,
    Effect,
    Metric,
    Planned,
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


@st.composite
def explicit(draw: st.DrawFn) -> QuantParams:
    """Any parameters that a tensor can be quantized with."""
    qtype = QuantType(draw(st.sampled_from(["int4", "int8", "uint16", "int32", "float16"])))
    axis = draw(st.integers(-3, 3))
    if not qtype.is_integer:
        return QuantParams(qtype, axis=axis)
    count = draw(st.integers(1, 3))

    def several(each: st.SearchStrategy[Any], *counts: int) -> tuple[Any, ...]:
        size = draw(st.sampled_from(counts))
        return tuple(draw(st.lists(each, min_size=size, max_size=size)))

    return QuantParams(
        qtype,
        several(st.floats(0, allow_infinity=False, allow_nan=False), count),
        several(st.integers(qtype.qmin, qtype.qmax), 0, count),
        several(st.floats(allow_infinity=False, allow_nan=False), 0, count, 2 * count),
        axis,
        draw(st.sampled_from(Effect)),
        several(st.floats(0, exclude_min=True, allow_infinity=False), 0, 1, 3),
        draw(st.integers(-2, 2)),
    )


TYPED = [OFF, ON, QuantType("int8"), QuantType("int16"), QuantType("float16")]
STATES = st.sampled_from(TYPED) | explicit()
FINITE = st.floats(allow_infinity=False, allow_nan=False)
SHIFTS = st.builds(
    BiasShift, st.lists(FINITE, min_size=1, max_size=3).map(tuple), st.integers(-3, 3)
)
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


@given(
    default=st.sampled_from([ON, OFF]),
    states=st.dictionaries(st.text(), STATES),
    shifts=st.dictionaries(st.text(), SHIFTS),
)
def test_a_configuration_comes_back_from_its_json(
    default: Quantization, states: dict[str, Any], shifts: dict[str, BiasShift]
) -> None:
    config = QuantConfig(default, states, shifts)
    again = QuantConfig.from_json(config.to_json())
    assert again == config
    assert again.to_json() == config.to_json()


def test_the_ids_of_configurations_in_old_lakes() -> None:
    pinned = {
        "1f4cd4286b21f5cb": QuantConfig(),
        "d106b16808bad4f1": QuantConfig(ON),
        "80aaa4ca31853567": QuantConfig.only(["1_HzCalibration"]),
        "9226264fa70d05b1": QuantConfig.all_but(["a", "b/1:;"]),
        "30b0aa91a761f602": QuantConfig(OFF, {"b/1:;": ON, "a": QuantType("int16")}),
        "57e25a62911397a7": QuantConfig(ON, {'ü "x"': QuantType("float16")}),
    }
    assert {key: config.config_id for key, config in pinned.items()} == {k: k for k in pinned}


def test_explicit_parameters_are_written_without_what_is_as_by_default() -> None:
    int8 = QuantType("int8")
    params = QuantParams(int8, (1,), (np.int64(3),), (), -1, Effect.CLIP_ONLY)  # type: ignore[arg-type]
    config = QuantConfig(OFF, {"a": params, "b": QuantParams(int8, (0.1,))})
    assert config.to_json() == (
        '{"default":"off","overrides":{"a":{"axis":-1,"effect":"clip_only","qtype":"int8",'
        '"scales":[1.0],"zero_points":[3]},"b":{"qtype":"int8","scales":[0.1]}}}'
    )


def test_corrections_are_written_only_where_there_are_some() -> None:
    shifts = {"b": BiasShift((0.0,)), "a": BiasShift((1, -0.5), -1)}
    config = QuantConfig(OFF, {}, shifts)
    assert config.canonical("xy") == QuantConfig(OFF, {}, {"a": shifts["a"]})
    assert config.canonical("xy").to_json() == (
        '{"default":"off","overrides":{},"shifts":{"a":{"axis":-1,"values":[1.0,-0.5]}}}'
    )
    # The default may change with the calibration nodes; the corrections stay.
    turned = QuantConfig(OFF, {"x": ON, "y": ON}, {"a": shifts["a"]}).canonical("xy")
    assert turned == QuantConfig(ON, {}, {"a": shifts["a"]})


def test_explicit_parameters_are_not_folded_into_the_default() -> None:
    params = QuantParams(QuantType("int8"), (0.1,))
    config = QuantConfig(ON, {"a": params}).canonical("abc")
    assert config == QuantConfig(ON, {"a": params})
    assert QuantConfig(OFF, {"z": params}).canonical("abc") == QuantConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", r"object with default and overrides, and .* not \[\]"),
        ('{"default":"off"}', "object with default and overrides"),
        ('{"default":"off","overrides":{},"more":1}', "object with default and overrides"),
        ('{"default":"int8","overrides":{}}', "is off or calibrated, not 'int8'"),
        ('{"default":["off"],"overrides":{}}', "is off or calibrated"),
        ('{"default":"off","overrides":[]}', r"are an object, not \[\]"),
        ('{"default":"off","overrides":{"a":"off","a":"off"}}', "names 'a' twice"),
        ('{"default":"off","overrides":{"a":1}}', "node 'a' of a configuration: 1 is not a state"),
        ('{"default":"off","overrides":{"a":"int3"}}', "node 'a'.*'int3' is not supported"),
        ('{"default":"off","overrides":{"a":{}}}', "node 'a'.* qtype is missing"),
        ('{"default":"off","overrides":{"a":{"qtype":8}}}', "node 'a'.* qtype 8 is not a name"),
        ('{"default":"off","overrides":{"a":{"qtype":"int8"}}}', "node 'a'.* int8 needs scales"),
        *(
            (f'{{"default":"off","overrides":{{}},"shifts":{shifts}}}', says)
            for shifts, says in (
                ("[]", r"shifts of a configuration are an object, not \[\]"),
                ('{"a":1}', "node 'a' of a configuration: 1 is not an object with values"),
                ('{"a":{"axis":1}}', "node 'a'.* is not an object with values"),
                ('{"a":{"values":[1],"b":1}}', "node 'a'.* is not an object with values"),
                ('{"a":{"values":[]}}', r"node 'a'.* \[\] is not a list of finite numbers"),
                ('{"a":{"values":[1e999]}}', r"node 'a'.* \[inf\] is not a list of finite"),
                ('{"a":{"values":[1],"axis":"1"}}', "node 'a'.* axis '1' is not a whole number"),
            )
        ),
        (f'{{"default":"off","overrides":{{"a":{[0] * 999}}}}}', "is not a state"),
        *(
            (
                f'{{"default":"off","overrides":{{"a":{{"qtype":"int8","scales":[1],{more}}}}}}}',
                says,
            )
            for more, says in (
                ('"zero":1', "'zero' is not known; known are qtype, scales"),
                ('"axis":1.5', "axis 1.5 is not a whole number"),
                ('"axis":true', "axis True is not a whole number"),
                ('"effect":"none"', "effect 'none' is not known; known are both, clip_only"),
                ('"factors":[0]', "factor 0.0 is not a finite number above 0"),
                ('"factor_axis":null', "axis None is not a whole number"),
                ('"effect":[]', r"effect \[\] is not known"),
                ('"thresholds":1', "1 is not a list of numbers"),
                ('"thresholds":["1"]', r"\['1'\] is not a list of numbers"),
                ('"thresholds":[NaN]', "has NaN where a finite number was expected"),
                ('"thresholds":[1e999]', "not all finite"),
                ('"thresholds":[1,2,3]', "3 thresholds for 1 scales"),
                ('"zero_points":[0.5]', r"\[0.5\] is not a list of whole numbers"),
                ('"zero_points":[128]', "zero point 128 is not in the range of int8, -128 to 127"),
            )
        ),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        QuantConfig.from_json(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_numbers_that_are_not_finite_are_never_written() -> None:
    params = QuantParams(QuantType("int8"), (float("nan"),))
    with pytest.raises(UsageError, match="not finite"):
        QuantConfig.only(["a"], params).to_json()


def test_a_plan_is_about_one_node_or_several() -> None:
    one, two = Planned("a;b", "only", QuantConfig()), Planned(["a", "b"], "only", QuantConfig())
    assert (one.subjects, one.subject) == (("a;b",), "a;b")
    assert (two.subjects, two.subject) == (("a", "b"), "a;b")
    assert one != two
    assert Planned(("a", "b"), "only", QuantConfig()) == two
    assert replace(two, role="partial").subjects == ("a", "b")


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
