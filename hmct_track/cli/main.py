"""Entry point: finds the command, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from hmct_track.analyses import ANALYSES
from hmct_track.cli import analysis
from hmct_track.cli.common import CommandParser, discard_stdout, switches
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import HmctTrackError
from hmct_track.options import options_of
from hmct_track.options.parsing import join_arguments
from hmct_track.text import one_line

_OTHERS = (
    "runs",
    "compare",
    "tag",
    "note",
    "repeat",
    "figure",
    "graph",
    "tui",
    "inspect",
    "nodes",
    "sql",
    "lake",
    "ui",
    "demo",
)
"""Commands that are no analyses, each in a module of its name."""

_LONGEST_LINE = 300
_RARELY = 50_000
"""Objects that are made until circles are looked for."""
_EPILOG = """\
exit codes:
  0    the answer was given
  1    an unforeseen failure; HMCT_TRACEBACK=1 shows where
  2    an argument, the model, the data or the lake is at fault
  3    the answer was given and is in the lake, but MLflow did not take the run,
       or an earlier one that it waits behind (lake status tells)
  4    the runs were compared, and a condition of --fail-if holds;
       or nothing that mend has tried is better, and it wrote no model
  130  interrupted; what was measured is in the lake

The answer goes to stdout, everything else to stderr.
"""


class _Version(argparse.Action):
    """Prints the version, which takes longer to find out than all else that a help needs."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(version("hmct-track"))
        parser.exit()


def build_parser(only: str | None = None, *, listed: bool = False) -> argparse.ArgumentParser:
    """The parser of ``hmct-debugger`` with all its commands.

    Args:
        only: the one command that is wanted; the modules of the others are not loaded.
        listed: whether the commands are only to be listed, so that options are not needed.
    """
    parser = argparse.ArgumentParser(
        prog="hmct-debugger",
        description="Find the nodes that cost a quantized model its accuracy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    shown = "show program's version number and exit"
    parser.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help=shown
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for name in ANALYSES if only is None else [only]:
        if name in ANALYSES:
            analysis.add_parser(commands, ANALYSES[name], listed=listed)
    for name in _OTHERS if only is None else [only]:
        if name in _OTHERS:
            import_module(f"hmct_track.cli.{name}").add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``hmct-debugger`` and return its exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    only = given[0] if given and given[0] in (*ANALYSES, *_OTHERS) else None
    flags: list[str] = []
    if only and only in ANALYSES:
        from hmct_track.options.recording import Recording

        flags = switches([*options_of(ANALYSES[only]), *options_of(Recording)])
    args = build_parser(only, listed=only is None).parse_args(join_arguments(given, flags))
    try:
        code = args.run(args)
        print(end="", flush=True)  # sys.stdout is None where the shell closed it
    except HmctTrackError as error:
        return _fail(str(error), ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        discard_stdout()  # the reader, such as head, has all it wants
        return ExitCode.OK
    except Exception as error:  # the last place before the user; a bug must not look like an answer
        if os.environ.get("HMCT_TRACEBACK"):
            raise
        message = f"unforeseen {type(error).__name__}: {error} (HMCT_TRACEBACK=1 shows where)"
        return _fail(message, ExitCode.INTERNAL_ERROR)
    return int(code)


def script() -> NoReturn:
    """Run ``hmct-debugger`` as a process, which ends without taking apart what it has loaded."""
    # What lives through a command is made early on, and few objects refer to each other in circles:
    # looking for those takes longer than they are worth.
    gc.set_threshold(_RARELY, *gc.get_threshold()[1:])
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # the shell may have closed it
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(code)


def _fail(message: str, code: ExitCode) -> int:
    line = one_line(f"hmct-debugger: error: {message}", _LONGEST_LINE)
    print(line, file=sys.stderr)
    return code
