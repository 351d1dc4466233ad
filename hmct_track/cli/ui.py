"""``hmct-debugger ui``: MLflow's web UI on the lake."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from hmct_track.cli.common import Subparsers, add_command, add_lake
from hmct_track.cli.exit_codes import ExitCode
from hmct_track.errors import HmctTrackError, LakeError, TrackingError, UsageError

if TYPE_CHECKING:
    from hmct_track.lake import Lake

_GRACE = 1.0
_POLL = 0.2
_LINES = 50
_OWNED = "HMCT_UI_OWNED"
"""Set by the terminal UI: the server is to end with it, however it ends."""
_PAGE = "the run is at "
"""What the terminal UI looks for."""


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "ui",
        "Open MLflow's web UI on the lake, for this machine only (127.0.0.1). With RUN say where "
        "in it that run is, also of a server that serves the lake already.",
    )
    parser.add_argument(
        "run_reference",
        metavar="RUN",
        nargs="?",
        help="a run id, the beginning of one, a tag, latest or latest~1",
    )
    parser.add_argument("--port", type=int, default=5000, help="port to listen on")
    add_lake(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Serve until Ctrl-C."""
    from hmct_track.lake import Lake, lake_path
    from hmct_track.public import public_uri
    from hmct_track.tracking import own_store, run_page, tracking_uri, ui_command, ui_environment

    lake = Lake.open(lake_path(args.lake))
    _tell(lake)
    chosen = _chosen(lake, args.run_reference) if args.run_reference else None
    store, uri = own_store(lake.path), tracking_uri(lake.path)
    if uri.startswith(("http://", "https://")):
        print(f"MLFLOW_TRACKING_URI is set: the runs are at {public_uri(uri)}")
        if chosen:
            print(f"{_PAGE}{public_uri(uri).rstrip('/')}/#/runs/{chosen}", file=sys.stderr)
        return ExitCode.OK
    if chosen and (page := run_page(args.port, chosen)):
        print(f"{_PAGE}{page}", file=sys.stderr)
        return ExitCode.OK
    if store and not store.exists():
        raise LakeError(f"the lake in {str(lake.path)!r} has no MLflow runs yet; run an analysis")
    environment = ui_environment(lake.path)
    _check_port(args.port)
    with (
        _ends_on_signals(),
        subprocess.Popen(  # noqa: S603 - no shell; the arguments are ours
            ui_command(args.port),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; the server would answer with tracebacks
        ) as process,
    ):
        try:
            _serve(process, args.port, lake.path, uri, chosen)
        except KeyboardInterrupt:
            pass
        finally:
            with _unheard():  # a second Ctrl-C must not leave the server behind
                _stop(process)
    return ExitCode.OK


def _tell(lake: Lake) -> None:
    """Tell MLflow of the runs that wait, so that they are seen."""
    from hmct_track.analyses.recorder import PATIENCE, tell_waiting
    from hmct_track.recording.outbox import waiting_here

    if not waiting_here(lake.path):
        return
    with suppress(TrackingError):  # what is wrong with the store is told by what comes next
        for entry in tell_waiting(lake, PATIENCE):
            print(f"warning: run {entry.run_id}: {entry.error}", file=sys.stderr)


def _check_port(port: int) -> None:
    """Complain of a port that cannot be had."""
    import socket

    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen on port {port}: {error}; choose another with --port"
        ) from error


def _chosen(lake: Lake, reference: str) -> str:
    """The id that MLflow has for a run.

    Raises:
        UsageError: it means no run, or one that MLflow does not have.
    """
    from hmct_track.lake import Lake, find_run

    run = find_run(Lake.open(lake.path), reference)  # it may just have been told
    if not run["mlflow_run_id"]:
        why = "it still runs" if run["state"] == "RUNNING" else "--no-track may have been given"
        raise UsageError(
            f"MLflow does not have run {run['run_id']}: {why}; hmct-debugger lake status lists "
            "what waits to be told"
        )
    return run["mlflow_run_id"]


def _serve(
    process: subprocess.Popen[bytes], port: int, lake: Path, uri: str, chosen: str | None
) -> None:
    """Say where the runs are once the server answers, and wait for it."""
    from hmct_track.public import public_text
    from hmct_track.text import one_line
    from hmct_track.tracking import run_page, ui_page

    lines: deque[str] = deque(maxlen=_LINES)
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    print("MLflow's web UI starts; Ctrl-C ends it", file=sys.stderr)
    told = False
    owner = os.getppid() if os.environ.get(_OWNED) else None
    while process.poll() is None:
        if owner and os.getppid() != owner:
            raise KeyboardInterrupt  # the application that it was started for is gone
        if not told and (page := ui_page(port, lake)):
            print(f"the runs are at {page}", file=sys.stderr)
            if chosen and (own := run_page(port, chosen)):
                print(f"{_PAGE}{own}", file=sys.stderr)
            told = True
        time.sleep(_POLL)
    reader.join(_GRACE)
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    raise HmctTrackError(
        f"MLflow's web UI ended with status {process.returncode}: "
        f"{one_line(public_text(last, uri))}"
    )


def _read(process: subprocess.Popen[bytes], lines: deque[str]) -> None:
    """Keep the server's last lines, which are told only if it fails."""
    assert process.stdout  # noqa: S101 - it is a pipe
    for line in process.stdout:
        lines.append(line.decode(errors="replace"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, by force if they do not end by themselves."""
    import psutil

    try:
        server = psutil.Process(process.pid)
        processes = [server, *server.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    _, alive = psutil.wait_procs(processes, timeout=_GRACE)
    for each in alive:
        with suppress(psutil.NoSuchProcess):
            each.kill()


@contextmanager
def _unheard() -> Iterator[None]:
    """Pay no heed to requests to end, as that is what is going on."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), signal.SIG_IGN) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@contextmanager
def _ends_on_signals() -> Iterator[None]:
    """Let a request to end, or a terminal that is closed, end the server as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
