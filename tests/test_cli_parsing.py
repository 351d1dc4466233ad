"""Arguments in every form in which the documentation, or a shell, writes them."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from hmct_track.cli.exit_codes import ExitCode
from hmct_track.cli.main import build_parser, main
from hmct_track.errors import UsageError
from hmct_track.options.parsing import (
    join_arguments,
    parse_bool,
    parse_count,
    parse_flat_list,
    parse_list,
)

COMMAND = "get-sensitivity-of-nodes"


def parsed(line: str) -> argparse.Namespace:
    """A command line, cut and unquoted as a POSIX shell does it, as its arguments."""
    given = join_arguments([COMMAND, *shlex.split(line)], flags=("-v", "--verbose"))
    return build_parser().parse_args(given)


# Lists


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("['a','b']", ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        ('["a","b"]', ["a", "b"]),
        ("[a,b]", ["a", "b"]),
        ("[ a , b ]", ["a", "b"]),
        ("['a',b]", ["a", "b"]),
        ("[a]", ["a"]),
        ("a", ["a"]),
        ("'a'", ["a"]),
        (" a ", ["a"]),
        ("[]", []),
        ("[['a'],['a','b']]", [["a"], ["a", "b"]]),
        ("[[a],[a,b]]", [["a"], ["a", "b"]]),
        ("[[a], [a, b]]", [["a"], ["a", "b"]]),
        ("[a,[b,c]]", ["a", ["b", "c"]]),
        ("[[]]", [[]]),
        (r"['re:\bConv_\d', 'b']", [r"re:\bConv_\d", "b"]),
        (r"[re:/model\.6/.*,b]", [r"re:/model\.6/.*", "b"]),
    ],
)
def test_a_list_is_understood_with_quotes_and_without(text: str, names: list) -> None:
    assert parse_list(text) == names


ODD_NAMES = [
    "/backbone/mod2/mod2.0/conv/Conv",
    "Conv_50;Add_55",
    "a:0",
    "-leading-hyphen",
    "x[0]",
    "x[0][1]",
    "f(1)",
    "with two  spaces",
    "classifier.1.weight_conv_weight_HzCalibration",
    "317",
    "1.10",
    "1e3",
    "0x10",
    "None",
    "True",
    "1_000",
    "it's",
    "größe",
    "*",
    "a=b",
]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize(
    "form", ["{}", "[{}]", "[{},b]", "[b, {}]", "[[{}],[{},b]]", "['b', {!r}]"]
)
def test_a_name_comes_through_every_form_unchanged(name: str, form: str) -> None:
    found = parse_list(form.format(name, name))
    flat = [n for item in found for n in ([item] if isinstance(item, str) else item)]
    assert set(flat) - {"b"} == {name}


@pytest.mark.parametrize("name", ["a,b", "[x", "x]", "[x]", "a]b[c"])
def test_a_name_with_commas_or_odd_brackets_needs_its_quotes(name: str) -> None:
    assert parse_list(f"[{name!r}, 'c']") == [name, "c"]
    assert parsed(f"m d -i \"[{name!r}, 'c']\"").interested_nodes == [name, "c"]


@pytest.mark.parametrize(
    "text", ["[a", "[a,b", "[[a],[a,b]", "[a]]", "[a],[b]", "[a[]", "['a','b'"]
)
def test_brackets_that_do_not_match_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="bracket"):
        parse_list(text)


@pytest.mark.parametrize("text", ["[a,,b]", "[,a]", "['']", "[['a'],['']]", "[a,'']"])
def test_an_empty_name_in_a_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="has an empty name"):
        parse_list(text)


@pytest.mark.parametrize("text", ["[[a],[a,b]]", "[a,['b']]"])
def test_a_nested_list_is_refused_where_a_plain_one_is_expected(text: str) -> None:
    with pytest.raises(UsageError, match="is nested; a plain list was expected"):
        parse_flat_list(text)


# Lists on the command line, through the cutting and unquoting of a shell


@pytest.mark.parametrize(
    "written",
    [
        "['cosine-similarity','mse']",
        "['cosine-similarity', 'mse']",
        "[ 'cosine-similarity' , 'mse' ]",
        "[cosine-similarity,mse]",
        "[cosine-similarity, mse]",
        "\"['cosine-similarity', 'mse']\"",
        "'[cosine-similarity, mse]'",
        '["cosine-similarity","mse"]',
    ],
)
@pytest.mark.parametrize("line", ["-m {} m d", "m d -m {}", "m -m {} d", "m d --metrics={}"])
def test_a_list_of_metrics_may_be_quoted_bare_or_split_at_spaces(written: str, line: str) -> None:
    args = parsed(line.format(written))
    assert args.metrics == ["cosine-similarity", "mse"]
    assert (args.model_or_file, args.calibrated_data) == ("m", "d")


def test_a_single_metric_needs_no_brackets() -> None:
    assert parsed("m d -m mse").metrics == ["mse"]


def test_names_with_spaces_survive_a_list_that_the_shell_split() -> None:
    assert parsed("m d -i [my node, 'your  node']").interested_nodes == ["my node", "your  node"]


def test_two_lists_that_the_shell_split_stay_apart() -> None:
    args = parsed("m d -m [mse, mre] -i [a, b, c] -d 2")
    assert (args.metrics, args.interested_nodes) == (["mse", "mre"], ["a", "b", "c"])
    assert args.data_num == 2


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("m d -m [mse", "'[mse' lacks its closing bracket"),
        ("-m [mse, mre m d", "'[mse,' lacks its closing bracket"),
        ("m d --metrics=[mse", "'[mse' lacks its closing bracket"),
        ("m d -m [mse]]", "the brackets of '[mse]]' do not match"),
        ("m d -m [[mse]", "the brackets of '[[mse]' do not match"),
    ],
)
def test_unbalanced_brackets_are_a_usage_error(
    line: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([COMMAND, *shlex.split(line)])
    assert caught.value.code == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("usage: ")
    assert error.endswith(f"error: argument -m/--metrics: {shown}\n")


# Booleans, counts and the rest


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("true", True),
        ("1", True),
        ("yes", True),
        ("False", False),
        ("FALSE", False),
        ("0", False),
        ("no", False),
    ],
)
def test_booleans_are_words_or_digits_in_any_case(text: str, value: bool) -> None:
    assert parse_bool(text) is value
    assert parsed(f"m d -v {text}").verbose is value
    assert parsed(f"--verbose {text} m d").verbose is value
    assert parsed(f"m d --verbose={text}").verbose is value


@pytest.mark.parametrize(
    "line",
    ["-v m d", "m -v d", "m d -v", "m d -v --no-track", "m d --verbose -m mse", "--verbose m d"],
)
def test_a_bare_verbose_is_true_wherever_it_stands(line: str) -> None:
    args = parsed(line)
    assert args.verbose is True
    assert (args.model_or_file, args.calibrated_data) == ("m", "d")


@pytest.mark.parametrize("text", ["2", "ja", "", "None"])
def test_what_is_no_boolean_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="neither True nor False"):
        parse_bool(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("64", 64), ("-1", -1), ("None", None), ("none", None), ("all", None)],
)
def test_a_count_is_a_number_or_none(text: str, count: int | None) -> None:
    assert parse_count(text) == count
    assert parsed(f"m d -d {text}").data_num == count


@pytest.mark.parametrize("text", ["1.5", "many", ""])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="neither a whole number nor None"):
        parse_count(text)


def test_defaults_are_the_documented_ones_but_the_table_is_shown() -> None:
    args = vars(parsed("m d"))
    del args["run"]
    assert args == {
        "model_or_file": "m",
        "calibrated_data": "d",
        "metrics": ["cosine-similarity"],
        "output_node": None,
        "node_type": "node",
        "data_num": 1,
        "verbose": True,
        "interested_nodes": None,
        "lake": None,
        "experiment": None,
        "track": True,
        "wait": False,
        "progress": True,
        "reuse": True,
        "threads": None,
        "memory": None,
        "providers": [],
        "scheduler": None,
        "workers": None,
        "save_dir": None,
        "output": None,
        "top": None,
        "budget": None,
        "confidence": 0.95,
        "intervals": False,
        "share": False,
        "score": None,
        "labels": None,
        "float_model": None,
    }


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("separator", ["-", "_"])
def test_short_and_long_options_mean_the_same(short: bool, separator: str) -> None:
    names = {"-m": "metrics", "-o": "output_node", "-n": "node_type", "-d": "data_num"}
    names |= {"-i": "interested_nodes", "-v": "verbose"}
    values = {"-m": "mse", "-o": "-", "-n": "weight", "-d": "3", "-i": "x", "-v": "False"}
    forms = {s: s if short else f"--{n.replace('_', separator)}" for s, n in names.items()}
    args = parsed("m d " + " ".join(f"{forms[s]} {v}" for s, v in values.items()))
    assert [getattr(args, n) for n in names.values()] == [["mse"], "-", "weight", 3, ["x"], False]


@pytest.mark.parametrize("line", ["", "m", "m d e", "m d --metric mse", "m d -x"])
def test_wrong_arguments_are_a_usage_error(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(line)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.startswith("usage: hmct-debugger")


@pytest.mark.parametrize("given", [[], ["-v"], ["nonsense"]])
def test_without_a_command_the_usage_is_shown(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(given)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert "COMMAND" in capsys.readouterr().err


def test_the_help_lists_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^  (\d+) +\S", capsys.readouterr().out, re.MULTILINE)
    assert listed == [str(code.value) for code in ExitCode]


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("note RUN --lake L TEXT", {"run_reference": "RUN", "text": "TEXT", "lake": "L"}),
        ("note RUN --lake L", {"run_reference": "RUN", "text": None, "lake": "L"}),
        ("note RUN --lake L -- -5", {"run_reference": "RUN", "text": "-5", "lake": "L"}),
        ("note --lake L RUN ''", {"run_reference": "RUN", "text": "", "lake": "L"}),
        ("compare A --lake L B", {"run_a": "A", "run_b": "B", "lake": "L"}),
        ("compare A --lake L", {"run_a": "A", "run_b": "latest", "lake": "L"}),
        ("sql -q runs --lake L", {"query": "runs", "sql": None, "lake": "L"}),
    ],
)
def test_options_may_stand_between_arguments(line: str, given: dict) -> None:
    found = vars(build_parser().parse_args(shlex.split(line)))
    assert {name: found[name] for name in given} == given


def test_too_much_is_refused_behind_options_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["note", "RUN", "--lake", "L", "TEXT", "more"])
    assert "unrecognized arguments: more" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["note", "--lake", "L"])
    assert "usage: hmct-debugger note [-h]" in (said := capsys.readouterr().err)
    assert "the following arguments are required: RUN" in said
