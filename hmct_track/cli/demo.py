"""``hmct-debugger demo``: the main job on the model that ships with the package."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from hmct_track.cli.common import Subparsers, add_command, add_lake
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import UsageError
from hmct_track.options import argument_list
from hmct_track.options.recording import Recording


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "demo", "Rank the nodes of a small model that ships with this.")
    parser.add_argument(
        "folder", nargs="?", default="hmct_demo", help="where model and data are copied to"
    )
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Copy model and data, rank the nodes, and say what to type next."""
    from hmct_track import demo
    from hmct_track.analyses import GetSensitivityOfNodes
    from hmct_track.cli.analysis import run_command
    from hmct_track.lake import lake_path

    folder = Path(args.folder)
    model, data = folder / demo.model_path().name, folder / demo.calibration_data_path().name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo.model_path(), model)
        shutil.copytree(demo.calibration_data_path(), data, dirs_exist_ok=True)
        heldout, labels = demo.write_heldout(folder)
    except OSError as error:
        raise UsageError(f"cannot copy the demo to {args.folder!r}: {error}") from error
    program = _program()
    lake = ["--lake", args.lake] if args.lake else []
    _say(
        "The demo model classifies digits. It was calibrated for int8 with plain maxima, one\n"
        "scale per weight tensor, and lost accuracy by it. Which nodes are to blame? Each node\n"
        "is quantized alone, on 16 samples, and the output compared with the float model's:\n"
    )
    ranking = GetSensitivityOfNodes(
        model_or_file=str(model),
        calibrated_data=str(data),
        metrics=["cosine-similarity", "sqnr"],
        data_num=16,
        verbose=True,
    )
    shown = ["get-sensitivity-of-nodes", *argument_list(ranking), *lake]
    # As one would type it: this shell takes the brackets as they are.
    _say(f"$ {program} {' '.join(shown).replace(chr(39), '')}\n")
    code = run_command(ranking, Recording(lake=args.lake))
    suffix = f" {' '.join(lake)}" if lake else ""
    question = (
        "SELECT subject, min(cosine_similarity) AS worst_sample FROM results "
        "GROUP BY subject ORDER BY worst_sample LIMIT 5"
    )
    _say(
        f"\nThe most sensitive node is on top. All is kept in {lake_path(args.lake)}\n"
        "\nNext:\n"
        f"  {program} sql{suffix}    # what can be asked\n"
        f"  {program} sql{suffix} -q sensitivity -p run_id=latest -p metric=sqnr\n"
        f'  {program} sql{suffix} "{question}"\n'
        f"  {program} get-sensitivity-of-nodes {model} {data}{suffix} -n weight\n"
        f"  {program} get-sensitivity-of-nodes {model} {heldout} -d None --score top1 --labels "
        f"{labels}{suffix}    # by accuracy\n"
        f"  {program} ui{suffix}     # MLflow's web UI"
    )
    return code


def _program() -> str:
    """What to type to run this again: make runs it from an environment that is not activated."""
    if shutil.which("hmct-debugger"):
        return "hmct-debugger"
    started = Path(sys.argv[0])
    return "python -m hmct_track" if started.name == "__main__.py" else str(started)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
