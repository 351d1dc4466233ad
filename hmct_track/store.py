"""The SQLite file of MLflow's store in a lake: made as a whole, and only once for all lakes."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hmct_track.errors import TrackingError

LOG = logging.getLogger(__name__)

SOON = 5.0


def make_store(
    database: Path, migrate: Callable[[Path], None], version: str, seconds: float = 60.0
) -> None:
    """Make a database, if there is none.

    MLflow does it in many steps, which fail when two processes take them at once and leave a broken
    file when one is killed. So it is made aside, under a lock, and renamed. The steps take seconds;
    a store without runs is kept in the user's cache, from which the next lakes have theirs.

    Args:
        database: the file.
        migrate: makes a store of a file that is not there; leaves one that is whole as it is.
        version: of MLflow; each has a store of its own.
        seconds: to wait for another process that makes it; it may have been stopped meanwhile.

    Raises:
        TrackingError: another process holds the lock for longer.
    """
    if database.exists():
        return
    with _locked(database.with_suffix(".lock"), seconds):
        if not database.exists():
            _make(database, migrate, version)


def _make(database: Path, migrate: Callable[[Path], None], version: str) -> None:
    import platformdirs

    kept = platformdirs.user_cache_path("hmct-track") / f"mlflow-{version}.db"
    with _aside(database) as aside:
        copied = _copy(kept, aside)
        migrate(aside)
        if not copied:
            _keep(aside, kept)


@contextmanager
def _locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold a lock; say so when another process has it for long."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    soon = min(SOON, seconds)
    try:
        try:
            lock.acquire(timeout=soon)
        except Timeout:
            LOG.warning(
                "another process makes MLflow's database; waiting for %s for up to %g s",
                path,
                seconds,
            )
            lock.acquire(timeout=seconds - soon)
    except Timeout:
        raise TrackingError(
            f"another process, perhaps a stopped one, has held {path} for {seconds:g} s"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _copy(store: Path, target: Path) -> bool:
    """Copy a store, unless it is missing or damaged."""
    import shutil
    import sqlite3

    try:
        shutil.copyfile(store, target)
        with closing(sqlite3.connect(target)) as connection:
            sound = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        whole = sound and target.stat().st_size > 0  # an empty file is a sound database
    except (OSError, sqlite3.DatabaseError) as error:
        LOG.debug("%s is not used: %s", store, error)
        whole = False
    if not whole:
        target.unlink(missing_ok=True)
    return whole


def _keep(store: Path, place: Path) -> None:
    """Keep a copy of a store, if that can be: without it the next lake is only slower."""
    import shutil

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _aside(place) as aside:
            shutil.copyfile(store, aside)
    except OSError as error:
        LOG.debug("%s is not kept: %s", place, error)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A file to write, which takes its place when it is whole."""
    aside = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.tmp")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
