"""A client for a store, made without waiting for minutes on one that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hmct_track.tracking.bounds import Watch, Watched
from hmct_track.tracking.place import check_database

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_ATTEMPTS = 3


def open_client(uri: str, watch: Watch) -> Any:
    """MLflow's client, each call of which resets the watch.

    Raises:
        TrackingError: it is an SQLite file that cannot be opened.
    """
    from mlflow.tracking import MlflowClient

    watch.expect(watch.limits.file)
    check_database(uri, watch.limits.call)
    with _few_attempts(uri):
        return Watched(MlflowClient(tracking_uri=uri), watch)


@contextmanager
def _few_attempts(uri: str) -> Iterator[None]:
    """MLflow tries ten times in 100 s to reach a database, and no setting changes that."""
    if not uri.startswith(_DATABASES):
        yield
        return
    import mlflow.store.db.utils as database

    before = database.MAX_RETRY_COUNT
    database.MAX_RETRY_COUNT = _ATTEMPTS
    try:
        yield
    finally:
        database.MAX_RETRY_COUNT = before
