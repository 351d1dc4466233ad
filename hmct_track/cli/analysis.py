"""The commands of all analyses, from their declarations."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from hmct_track.analyses import Analysis
from hmct_track.cli.common import Subparsers, add_command, add_options, print_answer
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.options import options_of

if TYPE_CHECKING:
    from hmct_track.analyses import Result, SensitivityAnalysis
    from hmct_track.recording import Recording

_MOST_LISTED = 8
GROWING = "HMCT_GROWING"
"""Set to ``json``, ``sensitivity-analysis`` stays and takes its nodes from stdin, for programs: a
JSON object per line, such as ``{"number": 1, "nodes": ["Conv_1"], "qtype": "int16", "metric":
"sqnr"}``. Of several that wait, it answers the newest, in a line on stdout: ``{"number": 1, "run":
ID, "rows": [...]}``, with rows of the query ``partial_quantization``, or ``{"number": 1, "error":
...}``. The first line is ``{"ready": true}``; it ends with stdin."""


def add_parser(commands: Subparsers, analysis: type[Analysis], *, listed: bool = False) -> None:
    """Add the command of an analysis; without its options, where it is only to be listed."""
    parser = add_command(commands, analysis.command, analysis.summary)
    if listed:
        return
    from hmct_track.options.recording import Recording

    add_options(parser, options_of(analysis))
    add_options(parser, options_of(Recording))

    def run(args: argparse.Namespace) -> ExitCode:
        return run_command(analysis(**_given(args, analysis)), Recording(**_given(args, Recording)))

    parser.set_defaults(run=run)


def run_command(analysis: Analysis, recording: Recording) -> ExitCode:
    """Run an analysis, print its answer, say where it is kept, and return the exit code."""
    if os.environ.get(GROWING) == "json":
        from hmct_track.analyses import SensitivityAnalysis

        if isinstance(analysis, SensitivityAnalysis):
            return _serve(analysis, recording)
    from hmct_track.analyses.runner import run_analysis

    printed = getattr(analysis, "verbose", True)
    emit = print_answer if printed else None
    limited = getattr(analysis, "budget", None) is not None
    began = _process_start() if limited else None
    result = run_analysis(analysis, recording, emit=emit, began=began)
    _tell(result, recording)
    if result.refused:
        return ExitCode.GATE_FAILED
    return ExitCode.NOT_TRACKED if result.tracking_error else ExitCode.OK


def _serve(analysis: SensitivityAnalysis, recording: Recording) -> ExitCode:
    """Answer one line after the other."""
    from hmct_track.analyses.growing import Talk, serve

    serve(analysis, recording, Talk(sys.stdin, lambda told: print(json.dumps(told), flush=True)))
    return ExitCode.OK


def _process_start() -> float:
    """When this process began, by `time.monotonic`: what a budget of time counts from."""
    import psutil

    age = time.time() - float(psutil.Process().create_time())
    return time.monotonic() - max(age, 0.0)


def _given(args: argparse.Namespace, declaration: type[Any]) -> dict[str, Any]:
    return {o.name: getattr(args, o.name) for o in options_of(declaration)}


def _tell(result: Result, recording: Recording) -> None:
    from hmct_track.lake import lake_path

    known = result.known
    facts = [f"{known} of {known + result.measured} configurations were known"] if known else []
    if result.noise_floor is not None:
        facts.append(f"noise floor {result.noise_floor:.1e}")
    told = f" ({'; '.join(facts)})" if facts else ""
    print(f"run {result.run_id} is in the lake {lake_path(recording.lake)}{told}", file=sys.stderr)
    if len(result.files) > _MOST_LISTED:
        print(f"saved {len(result.files)} files; begin with {result.files[-1]}", file=sys.stderr)
    else:
        for path in result.files:
            print(f"saved {path}", file=sys.stderr)
