"""Runs that MLflow has not been told of yet: one small file each, in the lake's folder ``outbox``.

The file is there from when a run has ended until MLflow has the run, so that neither a killed
process nor a server that is down loses it. What is told is made from the lake; the file says only
what the lake does not know. `hmct_track.analyses.recorder` tells it.
"""

from __future__ import annotations

import enum
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hmct_track.errors import LakeError, UsageError
from hmct_track.lake import is_remote
from hmct_track.lake.places import remove_quietly, written
from hmct_track.public import public_uri
from hmct_track.tracking import tracking_uri

ENVIRONMENT = "HMCT_RECORD"
_FOLDER = "outbox"
_LOCK = ".lock"
_RECORDER = "hmct_track.analyses.recorder"
_LONG = 3600.0
"""Seconds after which a process elsewhere no longer holds an entry: telling has its bounds."""
_STARTED: list[subprocess.Popen[bytes]] = []
"""Recorders whose end a long session has yet to notice."""


class Manner(enum.StrEnum):
    """How MLflow is told of a run that has ended."""

    WAIT = "wait"
    """At once, by the process that measured; whoever waits for it knows whether MLflow took it."""
    DETACHED = "detached"
    """By a process of its own, for which nobody waits."""
    LATER = "later"
    """By the next process that tells MLflow anything."""


@dataclass(frozen=True)
class Entry:
    """A run that MLflow is to be told of, with what the lake does not know of it."""

    run_id: str
    experiment: str
    uri: str
    """For which store it is meant, without secrets, as `place_of` says; no other is told."""
    label: str
    """The model's name for people."""
    nodes: Mapping[str, int]
    """How many there are, by kind."""
    system: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """What the machine did: metric name to (milliseconds since 1970, value)."""
    begun: bool = False
    """Whether somebody began to tell it, so that MLflow may have half of it."""
    starts: int = 0
    """How many processes have begun to tell it since one last came to an end with it."""
    holder: str = ""
    """Host and process that tells it itself, and is waited for; empty if any may."""
    error: str = ""
    """Why MLflow did not take it, when it was told last."""


def manner_of(wait: bool, lake: Path) -> Manner:
    """How MLflow is told of a run: as asked, as HMCT_RECORD says, or else as the store allows.

    A store in the lake fails so seldom that nobody needs to wait for it. Of a server one wants to
    know at once whether it took a run. A lake on object storage has no folder for an outbox.

    Raises:
        UsageError: HMCT_RECORD is something else.
    """
    text = os.environ.get(ENVIRONMENT)
    if text and text not in list(Manner):
        raise UsageError(f"{ENVIRONMENT} is {text!r}; it can be {', '.join(Manner)}, or unset")
    if wait or is_remote(lake):
        return Manner.WAIT
    if text:
        return Manner(text)
    return Manner.WAIT if os.environ.get("MLFLOW_TRACKING_URI") else Manner.DETACHED


def put(lake: Path, entry: Entry) -> None:
    """Keep an entry, in place of an earlier one of the run; nothing on object storage.

    Raises:
        LakeError: it cannot be written.
    """
    if is_remote(lake):
        return
    path = _path(lake, entry.run_id)
    try:
        path.parent.mkdir(exist_ok=True)
        with written(path) as temporary:
            temporary.write_text(json.dumps(asdict(entry)))
    except OSError as error:
        raise LakeError(f"cannot write {path}: {error}") from error


def take(lake: Path, run_id: str) -> None:
    """Remove an entry, as MLflow has been told."""
    if not is_remote(lake):
        remove_quietly(_path(lake, run_id))


def waiting(lake: Path) -> list[Entry]:
    """All entries, the oldest run first; files that are none are left out."""
    folder = lake / _FOLDER
    if is_remote(lake) or not folder.is_dir():
        return []
    found = (_read(path) for path in sorted(folder.glob("*.json")))
    return [entry for entry in found if entry]


def waiting_here(lake: Path) -> list[Entry]:
    """Those that are meant for the store that is told of runs now, and nobody is telling."""
    here = place_of(lake)
    return [e for e in waiting(lake) if e.uri == here and not _is_held(lake, e)]


def held(entry: Entry) -> Entry:
    """The entry as one that this process tells."""
    return replace(entry, holder=f"{platform.node()} {os.getpid()}")


def _is_held(lake: Path, entry: Entry) -> bool:
    if not entry.holder:
        return False
    host, _, process = entry.holder.rpartition(" ")
    if host == platform.node():
        return _is_alive(int(process)) if process.isdecimal() else False
    try:  # of a machine, or a container, that may be gone
        return time.time() - _path(lake, entry.run_id).stat().st_mtime < _LONG
    except OSError:
        return True  # told meanwhile


def _is_alive(process: int) -> bool:
    import psutil

    return process != os.getpid() and psutil.pid_exists(process)


def place_of(lake: Path) -> str:
    """What an entry says of the store that is told of runs now.

    It is empty for the lake's own, which moves with the outbox when a lake is moved.
    """
    return public_uri(tracking_uri(lake)) if os.environ.get("MLFLOW_TRACKING_URI") else ""


def lock(lake: Path) -> Any:
    """The lock of whoever empties the outbox."""
    from filelock import FileLock

    return FileLock(lake / _FOLDER / _LOCK)


def start(lake: Path) -> None:
    """Have a process of its own empty the outbox, unless one does so already.

    It belongs to no terminal and holds no pipe, so that nobody waits for it by accident.
    """
    if _is_busy(lake):
        return
    _STARTED[:] = [process for process in _STARTED if process.poll() is None]
    with suppress(OSError):  # if it cannot be started, what waits is told by the next
        process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-m", _RECORDER, str(lake)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _STARTED.append(process)


def _is_busy(lake: Path) -> bool:
    """Whether some process empties the outbox. It looks once more after it has let the lock go."""
    from filelock import Timeout

    held = lock(lake)
    try:
        held.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    held.release()
    return False


def _path(lake: Path, run_id: str) -> Path:
    return lake / _FOLDER / f"{run_id}.json"


def _read(path: Path) -> Entry | None:
    try:
        entry = Entry(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None  # told meanwhile, or of another version
    return entry if path.stem == entry.run_id else None
