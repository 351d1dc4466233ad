"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from hmct_track.cli.exit_codes import ExitCode
from hmct_track.cli.parsing import parse_bytes, parse_count, parse_flat_list
from hmct_track.types import Metric

if TYPE_CHECKING:
    from hmct_track.workflow.everything import EverythingResult
    from hmct_track.workflow.result import AnalysisResult
    from hmct_track.workflow.run import Options
    from hmct_track.workflow.sensitivity import SensitivityResult

_MOST_LISTED = 8

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


def add_option(
    parser: argparse.ArgumentParser, short: str | None, name: str, **options: Any
) -> None:
    """A documented option: its short form, and its name with underscores or hyphens."""
    hyphened = f"--{name.replace('_', '-')}"
    forms = dict.fromkeys(form for form in (short, hyphened, f"--{name}") if form)
    parser.add_argument(*forms, dest=name, **options)


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """The two arguments that every analysis takes."""
    parser.add_argument("model_or_file", metavar="MODEL_OR_FILE", help="the calibrated model")
    parser.add_argument(
        "calibrated_data", metavar="CALIBRATION_DATA", help="the folder of calibration data"
    )
    add_float_model(parser)


def add_float_model(parser: argparse.ArgumentParser) -> None:
    """The model that was quantized."""
    add_option(
        parser,
        None,
        "float_model",
        metavar="FILE",
        help="the model that was quantized, where MODEL is a QDQ model with integer weights",
    )


def add_data_num(
    parser: argparse.ArgumentParser, short: str | None = None, default: int | None = 1
) -> None:
    """The number of samples."""
    add_option(
        parser,
        short,
        "data_num",
        type=parse_count,
        default=default,
        metavar="N",
        help=f"number of samples; None is all{' (default)' if default is None else ''}",
    )


def add_metric(parser: argparse.ArgumentParser) -> None:
    """The one metric of an analysis."""
    add_option(
        parser,
        "-m",
        "metric",
        default=Metric.COSINE_SIMILARITY.value,
        metavar="METRIC",
        help=f"one of: {', '.join(Metric)}",
    )


def add_save_dir(parser: argparse.ArgumentParser, short: str) -> None:
    """The folder for figures and tables."""
    add_option(
        parser, short, "save_dir", metavar="FOLDER", help="save figures and tables here as well"
    )


def options_of(args: argparse.Namespace) -> Options:
    """How the run is to be recorded."""
    from hmct_track.lake import lake_path
    from hmct_track.workflow.run import Options

    return Options(
        lake_path(args.lake),
        args.experiment,
        tracked=not args.no_track,
        progress=not args.no_progress,
        reuse=not args.no_reuse,
        float_model=args.float_model,
        threads=args.threads,
        memory=args.memory,
        providers=tuple(args.providers),
    )


def finish(
    result: AnalysisResult | SensitivityResult | EverythingResult, options: Options
) -> ExitCode:
    """Say where the answer is kept, and return the exit code."""
    known = result.known
    facts = [f"{known} of {known + result.measured} configurations were known"] if known else []
    if result.noise_floor is not None:
        facts.append(f"noise floor {result.noise_floor:.1e}")
    told = f" ({'; '.join(facts)})" if facts else ""
    print(f"run {result.run_id} is in the lake {options.lake}{told}", file=sys.stderr)
    if len(result.files) > _MOST_LISTED:
        print(f"saved {len(result.files)} files; begin with {result.files[-1]}", file=sys.stderr)
    else:
        for path in result.files:
            print(f"saved {path}", file=sys.stderr)
    return ExitCode.NOT_TRACKED if result.tracking_error else ExitCode.OK


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
    group.add_argument(
        "--no-reuse", action="store_true", help="measure again what the lake has already"
    )
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--threads", type=parse_count, metavar="N", help="cores to use (default: all)"
    )
    machine.add_argument(
        "--memory",
        type=parse_bytes,
        metavar="SIZE",
        help="what tensors held for several samples may take, such as 4G (default: a quarter of "
        "the machine's memory)",
    )
    machine.add_argument(
        "--providers",
        type=parse_flat_list,
        default=(),
        metavar="LIST",
        help="execution providers of onnxruntime, the preferred first (default: the CPU's)",
    )
    group.add_argument("--no-track", action="store_true", help="do not log the run to MLflow")
    group.add_argument("--no-progress", action="store_true", help="show no progress on stderr")
