"""``hmct-debugger inspect``."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from hmct_track.analyses import Analysis
from hmct_track.cli.common import Subparsers, add_command, add_options, print_answer
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.options import options_of

if TYPE_CHECKING:
    from hmct_track.reading.inspect import Inspection

_SHOWN = 20


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "inspect", "Show what a model holds, how it is quantized and what is odd."
    )
    parser.add_argument(
        "model_or_file", metavar="MODEL_OR_FILE", help="a calibrated, QDQ or float model"
    )
    add_options(parser, [o for o in options_of(Analysis) if o.name == "float_model"])
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print what is in the model."""
    from hmct_track.reading.inspect import inspect

    found = inspect(args.model_or_file, args.float_model)
    print_answer(json.dumps(found.as_dict(), indent=2) if args.json else _text(found))
    return ExitCode.OK


def _text(found: Inspection) -> str:
    lines = [
        f"model      {found.model}",
        f"model id   {found.model_id}, opset {found.opset}",
        f"inputs     {'; '.join(found.inputs)}",
        f"outputs    {'; '.join(found.outputs)}",
        f"nodes      {found.general_nodes} general, of which {found.quantizable_nodes} can be "
        "quantized",
        f"           {found.calibration_nodes} calibration nodes",
    ]
    for group in found.groups:
        symmetry = "symmetric" if group.symmetric else "asymmetric"
        lines.append(
            f"           {group.count:5} {group.kind} {group.qtype} {group.granularity}, {symmetry}"
        )
    if not found.calibration_nodes:
        lines.append(
            "           make them with: hmct-debugger calibrate MODEL CALIBRATION_DATA "
            "-o calibrated_model.onnx"
        )
    lines.append(f"quantized  {_counts(found.quantized_ops)}")
    lines.append(f"float      {_counts(found.unquantized_ops)}")
    named = "unquantized weighted nodes"
    lines += _listed(named, [repr(name) for name in found.unquantized_weighted])
    alike: dict[str, list[str]] = {}
    for odd in found.oddities:
        alike.setdefault(odd.what, []).append(odd.node)
    lines += _listed("odd", [f"{what}: {_few(nodes)}" for what, nodes in alike.items()])
    return "\n".join(lines)


def _counts(ops: dict[str, int]) -> str:
    return ", ".join(f"{count} {op}" for op, count in ops.items()) or "none"


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _listed(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = len(items) - _SHOWN
    rest = [f"  and {more} more; --json shows all"] if more > 0 else []
    return [f"{title} ({len(items)}):", *(f"  {item}" for item in items[:_SHOWN]), *rest]
