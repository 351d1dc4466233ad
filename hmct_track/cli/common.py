"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from hmct_track.errors import UsageError
from hmct_track.options import Option
from hmct_track.options.kinds import Kind

Subparsers = Any  # argparse gives the class no public name


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but not those that say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        switched_off = action.nargs == 0  # it takes no value, so its default says nothing
        if switched_off or action.default in (None, False, (), [], {}) or not action.option_strings:
            return action.help
        return super()._get_help_string(action)


class CommandParser(argparse.ArgumentParser):
    """A parser that takes options between positional arguments too.

    argparse by itself takes an argument that may be left out for left out where an option comes
    before it: ``note RUN --lake DIR TEXT``.
    """

    _is_mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """What was given, and what is not known."""
        left_out = any(a.nargs == "?" and not a.option_strings for a in self._actions)
        if self._is_mixing or not left_out:  # of two that are missing, this one tells both
            return super().parse_known_args(args, namespace)
        self._is_mixing = True  # it calls this method in its turn
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False


def add_command(commands: Subparsers, name: str, summary: str) -> argparse.ArgumentParser:
    """A parser for command ``name`` with the project's formatting."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    return parser


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Add declared options, each below its heading."""
    groups: dict[str, Any] = {}
    for o in options:
        place: Any = parser
        if o.group:
            if o.group not in groups:
                groups[o.group] = parser.add_argument_group(o.group)
            place = groups[o.group]
        _add(place, o)


def _add(place: Any, o: Option) -> None:
    told = o.help.replace("%", "%%")  # argparse formats it
    if o.off:
        place.add_argument(o.off, dest=o.name, action="store_false", help=told)
        return
    given: dict[str, Any] = {"metavar": o.metavar, "help": told, "type": typed(o.kind)}
    if o.is_positional:
        place.add_argument(o.name, **given)
        return
    default = o.command_default
    if isinstance(default, tuple):
        default = list(default)
    place.add_argument(*o.forms, dest=o.name, default=default, required=o.is_required, **given)


def typed(kind: Kind) -> Callable[[str], Any]:
    """What argparse calls to make a value of an argument."""
    if kind.parse in (int, float, str):
        return kind.parse

    def parse(text: str) -> Any:
        try:
            return kind.parse(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def switches(options: Iterable[Option]) -> list[str]:
    """The forms of options that may stand without their value, which then is True."""
    return [form for o in options if o.kind.is_switch and not o.off for form in o.forms]


def add_option(
    parser: argparse.ArgumentParser, short: str | None, name: str, **options: Any
) -> None:
    """A documented option: its short form, and its name with underscores or hyphens."""
    hyphened = f"--{name.replace('_', '-')}"
    forms = dict.fromkeys(form for form in (short, hyphened, f"--{name}") if form)
    parser.add_argument(*forms, dest=name, **options)


def add_save_dir(parser: argparse.ArgumentParser, short: str) -> None:
    """The folder for figures and tables."""
    add_option(
        parser, short, "save_dir", metavar="FOLDER", help="save figures and tables here as well"
    )


def print_answer(text: str) -> None:
    """Write to stdout at once. A reader that has enough, such as head, does not fail the run."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """Send the rest of stdout nowhere, so that the interpreter does not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def add_lake(parser: argparse._ActionsContainer) -> None:
    """The option that says where the lake is."""
    parser.add_argument(
        "--lake", metavar="FOLDER", help="the lake (default: HMCT_LAKE, else ./hmct_lake)"
    )
