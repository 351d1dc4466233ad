"""``hmct-debugger calibrate``."""

from __future__ import annotations

import argparse

from hmct_track.cli.common import (
    Subparsers,
    add_command,
    add_option,
    add_recording,
    finish,
    options_of,
    print_answer,
)
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.cli.parsing import parse_bool, parse_count, parse_flat_list
from hmct_track.errors import UsageError

FLAGS = ("--asymmetric",)
"""Options that may stand without their value, which then is True."""

_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "calibrate", "Make a calibrated model from a float one and calibration data."
    )
    parser.add_argument("model_or_file", metavar="FLOAT_MODEL", help="the float ONNX model")
    parser.add_argument(
        "calibrated_data", metavar="CALIBRATION_DATA", help="the folder of calibration data"
    )
    add_option(
        parser, "-o", "output", required=True, metavar="FILE", help="where the model is written"
    )
    texts = (
        ("-m", "method", "max", "METHOD", "of activations: max, percentile, kl, mse"),
        (None, "weight_method", "max", "METHOD", "of weights: max, mse"),
        ("-a", "activation_type", "int8", "TYPE", "int4 to int16, uint4 to uint16, float16"),
        ("-w", "weight_type", "int8", "TYPE", "likewise, of weights"),
    )
    for short, name, default, metavar, text in texts:
        add_option(parser, short, name, default=default, metavar=metavar, help=text)
    add_option(
        parser,
        None,
        "percentile",
        type=float,
        default=99.99,
        metavar="PERCENT",
        help="share of the values that the method percentile keeps",
    )
    add_option(
        parser,
        "-t",
        "types",
        type=parse_flat_list,
        default=[],
        metavar="LIST",
        help="other types by op, node, pattern or module path, such as "
        "[Gemm=int16,'re:/head/.*=int16/int8'] (activations/weights; float32 leaves it alone)",
    )
    add_option(
        parser,
        None,
        "op_types",
        type=parse_flat_list,
        default=list(_OPS),
        metavar="OPS",
        help="the ops whose inputs are quantized, such as Add, Concat, AveragePool as well",
    )
    switches = (
        ("per_channel", True, "one scale per output channel of a weight, or one in all"),
        ("asymmetric", False, "activations from minimum to maximum, with a zero point"),
    )
    for name, on, text in switches:
        add_option(parser, None, name, type=parse_bool, default=on, metavar="BOOL", help=text)
    add_option(
        parser,
        "-d",
        "data_num",
        type=parse_count,
        metavar="N",
        help="number of samples; None is all (default)",
    )
    add_option(
        parser,
        None,
        "save_data",
        metavar="FOLDER",
        help="write the samples that were used here as well, one folder per input",
    )
    parser.set_defaults(float_model=None, run=run)
    add_recording(parser)


def run(args: argparse.Namespace) -> ExitCode:
    """Calibrate; stdout has the calibration nodes."""
    from hmct_track.workflow.calibration import CalibrationRequest, calibrate_model

    request = CalibrationRequest(
        args.model_or_file,
        args.calibrated_data,
        args.output,
        args.method,
        args.percentile,
        args.weight_method,
        args.activation_type,
        args.weight_type,
        dict(_pair(text) for text in args.types),
        args.op_types,
        args.per_channel,
        args.asymmetric,
        args.data_num,
        args.save_data,
    )
    options = options_of(args)
    return finish(calibrate_model(request, options, print_answer), options)


def _pair(text: str) -> tuple[str, list[str]]:
    name, separator, types = text.rpartition("=")
    if not separator or not name:
        raise UsageError(f"types has {text!r}; NAME=TYPE or NAME=TYPE/TYPE was expected")
    return name, types.split("/")
