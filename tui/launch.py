"""The one way from the screens to the analyses: ``hmct-debugger`` as a process of its own.

Arguments are given as a list, never to a shell. What the process writes goes to a file, so that it
can outlive the application.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hmct_track.analyses import Analysis
from hmct_track.analyses.stored import command_line
from hmct_track.errors import HmctTrackError
from hmct_track.options.recording import Recording
from hmct_track.text import shell_line

_POLL_SECONDS = 0.1
_INTERRUPTED = 130
_UNTRACKED = 3
_NOTHING_BETTER = 4
_GRACE = 5.0
_PAGE = "the run is at "


@dataclass(frozen=True)
class Command:
    """A command of ``hmct-debugger`` that runs an analysis; all but the lake."""

    analysis: str
    """Its word."""
    arguments: tuple[str, ...] = ()

    @classmethod
    def of(cls, analysis: Analysis, recording: Recording) -> Self:
        """The command that runs an analysis with all that it declares."""
        word, *arguments = command_line(analysis, recording)
        return cls(word, tuple(arguments))

    def argv(self, lake: Path) -> list[str]:
        """The arguments of ``hmct-debugger``."""
        return [self.analysis, *self.arguments, "--lake", str(lake)]

    def shown(self) -> str:
        """The command as one would type it."""
        return shell_line(["hmct-debugger", self.analysis, *self.arguments])


@dataclass(frozen=True)
class Progress:
    """How far an analysis is."""

    what: str
    unit: str
    done: int
    total: int
    rate: float | None

    @property
    def left(self) -> float | None:
        """Seconds until it is done, at the present rate."""
        return (self.total - self.done) / self.rate if self.rate else None


def signal_name(code: int) -> str:
    """The signal that has ended a process, by its negative exit code."""
    return signal.Signals(-code).name


class Job:
    """An analysis that runs, or ran. What it says is read by a thread of its own."""

    def __init__(self, command: Command, lake: Path) -> None:
        self.command = command
        self.started = time.monotonic()
        self.ended: float | None = None
        self.progress: Progress | None = None
        self.run_ids: list[str] = []
        self.messages: list[str] = []
        """Lines of stderr that are not progress."""
        self.cancelled = False
        handle, name = tempfile.mkstemp(prefix="hmct-debugger-", suffix=".log")
        self.log = Path(name)
        with os.fdopen(handle, "wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a list, no shell
                [sys.executable, "-m", "hmct_track", *command.argv(lake)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "HMCT_PROGRESS": "json"},
                start_new_session=True,  # Ctrl-C in the terminal is not for it
            )
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, or has not been read to its end."""
        return self.ended is None

    @property
    def run_id(self) -> str | None:
        """The run; that of its steps come after it."""
        return self.run_ids[0] if self.run_ids else None

    @property
    def succeeded(self) -> bool:
        """Whether the answer is in the lake."""
        return self._process.returncode in (0, _UNTRACKED, _NOTHING_BETTER)

    @property
    def state(self) -> str:
        """The state in the words of a run."""
        if self.is_running:
            return "CANCELLING" if self.cancelled else "RUNNING"
        if self.succeeded:
            return "FINISHED"
        return "KILLED" if self.cancelled or self._process.returncode == _INTERRUPTED else "FAILED"

    @property
    def error(self) -> str:
        """The last line of what it complained of, or the signal that ended it."""
        code = self._process.returncode
        if code is not None and code < 0 and not self.cancelled:
            return f"{self.command.analysis} was killed by {signal_name(code)}"
        return self.messages[-1].removeprefix("hmct-debugger: error: ") if self.messages else ""

    def cancel(self) -> None:
        """Interrupt it, as Ctrl-C would; what was measured is kept. The second time, end it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM if self.cancelled else signal.SIGINT)
            self.cancelled = True

    def wait(self, timeout: float) -> bool:
        """Wait until it has ended, and tell whether it has."""
        until = time.monotonic() + timeout
        while self.is_running and time.monotonic() < until:
            time.sleep(_POLL_SECONDS / 2)
        return not self.is_running

    def _follow(self) -> None:
        with self.log.open("rb") as stream:
            rest = b""
            while True:
                ended = self._process.poll() is not None
                rest += stream.read()
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    self._take(line.decode("utf-8", "replace").strip())
                if ended:
                    break
                time.sleep(_POLL_SECONDS)
        self._take(rest.decode("utf-8", "replace").strip())
        self.ended = time.monotonic()
        self.log.unlink(missing_ok=True)

    def _take(self, line: str) -> None:
        if not line:
            return
        try:
            state = json.loads(line)
            if "run" in state:
                self.run_ids.append(state["run"])
            else:
                self.progress = Progress(**state)
        except (ValueError, TypeError):
            self.messages.append(line)


class WebUi:
    """MLflow's web UI on a lake: a process that serves as long as the application."""

    def __init__(self, lake: Path) -> None:
        self._lake = lake
        self._port = 0
        self._processes: list[subprocess.Popen[str]] = []
        self._asking = threading.Lock()

    def page_of(self, run_id: str) -> str:
        """The address of a run; the server is started with the first that is asked for.

        It takes as long as MLflow takes to start, and to be told of runs that wait.

        Raises:
            HmctTrackError: MLflow does not have the run, or cannot be started.
        """
        with self._asking:
            self._port = self._port or _free_port()
            said = []
            process = subprocess.Popen(  # noqa: S603 - a list, no shell
                [sys.executable, "-m", "hmct_track", "ui", run_id, "--port", str(self._port),
                 "--lake", str(self._lake)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={**os.environ, "HMCT_UI_OWNED": "1"},
                start_new_session=True,
            )  # fmt: skip
            self._processes.append(process)
            assert process.stderr  # noqa: S101 - it is a pipe
            for line in process.stderr:
                if line.startswith(_PAGE):
                    return line.removeprefix(_PAGE).strip()
                said.append(line.strip().removeprefix("hmct-debugger: error: "))
            process.stderr.close()
            process.wait()
            raise HmctTrackError(said[-1] if said else f"ui ended with {process.returncode}")

    def close(self) -> None:
        """End the server."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            if process.stderr:
                process.stderr.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_figure(lake: Path, run_id: str, node: str | None = None) -> Path:
    """The figure of a run, or of one node in it, drawn unless it exists; where the file is.

    Raises:
        HmctTrackError: it cannot be drawn.
    """
    of = [f"--node={node}"] if node else []
    command = ["figure", run_id, *of, "--lake", str(lake)]
    done = subprocess.run(  # noqa: S603 - a list, no shell
        [sys.executable, "-m", "hmct_track", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        raise HmctTrackError(said[-1] if said else f"figure ended with {done.returncode}")
    return Path(lines[-1])


def viewer() -> str | None:
    """The program that opens files on this desktop; None without one, as over plain ssh."""
    if sys.platform == "darwin":
        return None if "SSH_CONNECTION" in os.environ else "open"
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return shutil.which("xdg-open")
    return None


def open_in_viewer(program: str, path: Path | str) -> None:
    """Open a file, or an address, with the system's viewer, and do not wait for it.

    Raises:
        HmctTrackError: the viewer cannot be started.
    """
    try:
        subprocess.Popen(  # noqa: S603 - a list, no shell
            [program, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise HmctTrackError(f"{program} cannot be started: {error}; see {path}") from error


def say(lake: Path | None, *arguments: str) -> str:
    """What a short command of ``hmct-debugger`` says.

    Args:
        lake: for commands that take one.
        *arguments: the command.

    Raises:
        HmctTrackError: it failed.
    """
    where = ["--lake", str(lake)] if lake else []
    done = subprocess.run(  # noqa: S603 - a list, no shell
        [sys.executable, "-m", "hmct_track", arguments[0], *where, *arguments[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, _UNTRACKED):
        said = done.stderr.strip().splitlines()
        raise HmctTrackError(said[-1] if said else f"{arguments[0]} ended with {done.returncode}")
    return done.stdout or done.stderr


def interrupt(pid: int) -> None:
    """Interrupt an analysis that another terminal started, as Ctrl-C would.

    Only a process whose command line is ours is interrupted: numbers of processes are used again,
    and an analysis in a notebook is a part of a process that holds more.

    Raises:
        HmctTrackError: it has ended, it is not ours, or that cannot be told.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError as error:
        raise HmctTrackError(
            f"process {pid} has ended, or cannot be looked at; if it runs, kill -INT {pid} ends it"
        ) from error
    if not any(word == b"hmct_track" or word.endswith(b"/hmct-debugger") for word in words):
        raise HmctTrackError(
            f"process {pid} is no hmct-debugger (such as a notebook); interrupt it where it runs"
        )
    try:
        os.kill(pid, signal.SIGINT)
    except OSError as error:
        raise HmctTrackError(f"process {pid} cannot be interrupted: {error}") from error
