"""Names and lists come through the command line as they went in, whatever characters they have."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hmct_track.cli.main import build_parser
from hmct_track.options.parsing import join_arguments, show_names
from hmct_track.text import shell_line

# What an argument of a process can be: no NUL, and text that UTF-8 can write.
TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)
NAMES = st.lists(TEXT, min_size=1, max_size=4)
# What needs no quotes in a list: no separators of one, and none at the ends.
PLAIN = st.from_regex(r"[\w/.:;*-]([\w/.:;* -]*[\w/.:;*-])?", fullmatch=True).filter(
    lambda name: not name.startswith("-")
)
# Quoted as Python or JSON do it; brackets count before quotes are looked at, so they are in pairs.
QUOTABLE = TEXT.filter(
    lambda name: not set(name) & set("[]\\\"'\n\r\t\x0b\x0c") and name.isprintable()
)


def parsed(option: str, value: str, command: str, *flags: str) -> Any:
    """An option's value after a shell, the cutting into arguments, and the parser."""
    line = shlex.join([command, "m.onnx", "data", f"--{option}={value}"])
    given_ = join_arguments(shlex.split(line), flags)
    return getattr(build_parser().parse_args(given_), option)


@settings(max_examples=50)
@given(names=NAMES)
@example(names=['x"re:\\d"'])
@example(names=["re:\\d", "[]"])
def test_any_names_as_the_terminal_ui_writes_them(names: list[str]) -> None:
    found = parsed("interested_nodes", show_names(names), "get-sensitivity-of-nodes")
    assert found == names


@settings(max_examples=50)
@given(names=st.lists(QUOTABLE, min_size=1, max_size=4))
def test_names_as_python_and_json_write_lists(names: list[str]) -> None:
    for text in (str(names), json.dumps(names, ensure_ascii=False)):
        assert parsed("interested_nodes", text, "get-sensitivity-of-nodes") == names


@settings(max_examples=50)
@given(names=st.lists(PLAIN, min_size=1, max_size=4))
def test_names_whose_quotes_the_shell_has_eaten(names: list[str]) -> None:
    """``-i ['a', 'b c']`` without quotes around it arrives in pieces."""
    line = f"get-sensitivity-of-nodes m d --interested_nodes {names!s}"
    pieces = [piece.replace("'", "") for piece in shlex.split(line)]
    if all("  " not in name for name in names):  # the shell would have kept them, quoted
        found = build_parser().parse_args(join_arguments(pieces, ())).interested_nodes
        assert found == names


NESTED = st.lists(st.lists(PLAIN, min_size=1, max_size=3) | PLAIN, min_size=1, max_size=3)


def bare(items: Sequence[Any]) -> str:
    return "[" + ",".join(i if isinstance(i, str) else bare(i) for i in items) + "]"


@settings(max_examples=50)
@given(items=NESTED)
def test_nested_lists_with_quotes_and_without(items: list[Any]) -> None:
    for text in (str(items), json.dumps(items, ensure_ascii=False), bare(items)):
        assert parsed("quantize_node", text, "plot-acc-error") == items


@settings(max_examples=50)
@given(name=TEXT.filter(lambda name: name != "None"))
def test_a_single_name(name: str) -> None:
    assert parsed("output_node", name, "get-sensitivity-of-nodes") == name


@settings(max_examples=50)
@given(value=st.booleans(), count=st.integers(0, 10**9) | st.none(), number=st.floats(0, 1))
def test_other_values_as_python_writes_them(value: bool, count: int | None, number: float) -> None:
    command = "sensitivity-analysis"
    assert parsed("pick_threshold", str(number), command) == number
    assert parsed("data_num", str(count), command) == count
    assert parsed("verbose", str(value), "get-sensitivity-of-nodes", "--verbose") is value


@given(NAMES)
@example(["['Conv@46','$(x)']", "a'b", "['Conv@46']"])
def test_a_command_that_is_shown_is_what_a_shell_reads(words: list[str]) -> None:
    assert shlex.split(shell_line(words)) == words


def test_a_list_of_names_is_shown_as_one_would_type_it() -> None:
    assert shell_line(["-n", "['Conv@46','Add 1']"]) == "-n \"['Conv@46','Add 1']\""
