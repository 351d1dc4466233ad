"""Entry point: finds the command, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from hmct_track.analyses import ANALYSES
from hmct_track.cli import (
    analysis,
    compare,
    demo,
    figure,
    inspect,
    lake,
    repeat,
    runs,
    sql,
    tag,
    tui,
    ui,
)
from hmct_track.cli.common import discard_stdout, switches
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import HmctTrackError
from hmct_track.options import options_of
from hmct_track.options.parsing import join_arguments

_OTHERS = {
    "runs": runs,
    "compare": compare,
    "tag": tag,
    "repeat": repeat,
    "figure": figure,
    "tui": tui,
    "inspect": inspect,
    "sql": sql,
    "lake": lake,
    "ui": ui,
    "demo": demo,
}
"""Commands that are no analyses."""

_EPILOG = """\
exit codes:
  0    the answer was given
  1    an unforeseen failure; HMCT_TRACEBACK=1 shows where
  2    an argument, the model, the data or the lake is at fault
  3    the answer was given and is in the lake, but MLflow did not take the run
  4    the runs were compared, and a condition of --fail-if holds;
       or nothing that mend has tried is better, and it wrote no model
  130  interrupted; what was measured is in the lake

The answer goes to stdout, everything else to stderr.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``hmct-debugger`` with all its commands."""
    parser = argparse.ArgumentParser(
        prog="hmct-debugger",
        description="Find the nodes that cost a quantized model its accuracy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version("hmct-track"))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for declared in ANALYSES.values():
        analysis.add_parser(commands, declared)
    for module in _OTHERS.values():
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``hmct-debugger`` and return its exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    declared = ANALYSES.get(given[0]) if given else None
    flags = switches(options_of(declared)) if declared else []
    args = build_parser().parse_args(join_arguments(given, flags))
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


def _fail(message: str, code: ExitCode) -> int:
    line = " ".join(message.split())
    print(f"hmct-debugger: error: {line}", file=sys.stderr)
    return code
