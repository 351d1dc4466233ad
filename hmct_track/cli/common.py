"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

Subparsers = Any  # argparse gives the class no public name


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but not those that say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False) or not action.option_strings:
            return action.help
        return super()._get_help_string(action)


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


def add_option(parser: argparse.ArgumentParser, short: str, name: str, **options: Any) -> None:
    """A documented option: its short form, and its name with underscores or hyphens."""
    hyphened = f"--{name.replace('_', '-')}"
    forms = dict.fromkeys((short, hyphened, f"--{name}"))
    parser.add_argument(*forms, dest=name, **options)


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


def add_recording(parser: argparse.ArgumentParser) -> None:
    """Options of every analysis: where it is recorded and what it shows."""
    group = parser.add_argument_group("recording")
    add_lake(group)
    group.add_argument(
        "--experiment",
        metavar="NAME",
        help="MLflow experiment (default: MLFLOW_EXPERIMENT_NAME, else hmct-track)",
    )
    group.add_argument("--no-track", action="store_true", help="do not log the run to MLflow")
    group.add_argument("--no-progress", action="store_true", help="show no progress on stderr")
