"""``hmct-debugger ui``: MLflow's web UI on the lake."""

from __future__ import annotations

import argparse
import subprocess
import sys

from hmct_track.cli.common import Subparsers, add_command, add_lake
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import HmctTrackError, LakeError


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "ui", "Open MLflow's web UI on the lake, for this machine only (127.0.0.1)."
    )
    parser.add_argument("--port", type=int, default=5000, help="port to listen on")
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Serve until Ctrl-C."""
    from hmct_track.lake import Lake, lake_path
    from hmct_track.tracking import own_store, tracking_uri, ui_command, ui_environment

    lake = Lake.open(lake_path(args.lake))
    store, uri = own_store(lake.path), tracking_uri(lake.path)
    if uri.startswith(("http://", "https://")):
        print(f"MLFLOW_TRACKING_URI is set: the runs are at {uri}")
        return ExitCode.OK
    if store and not store.exists():
        raise LakeError(f"the lake in {str(lake.path)!r} has no MLflow runs yet; run an analysis")
    print(f"MLflow's web UI: http://127.0.0.1:{args.port}  (Ctrl-C ends it)", file=sys.stderr)
    with subprocess.Popen(  # noqa: S603 - no shell; the arguments are ours
        ui_command(lake.path, args.port), env=ui_environment()
    ) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:  # the server got it as well and ends by itself
            process.wait()
            return ExitCode.OK
    if status > 0:
        raise HmctTrackError(
            f"MLflow's web UI ended with status {status}; if the port {args.port} is "
            "taken, choose another with --port"
        )
    return ExitCode.OK
