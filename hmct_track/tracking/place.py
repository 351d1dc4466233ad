"""Where runs go."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from hmct_track.errors import TrackingError

DEFAULT_EXPERIMENT = "hmct-track"

_SQLITE = "sqlite:///"


def tracking_uri(lake: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store in the lake.

    It may hold secrets: what is shown or kept of it goes through `hmct_track.public`.

    Raises:
        TrackingError: there is neither.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    store = own_store(lake)
    if store is None:
        raise TrackingError(
            f"the lake at {lake} cannot hold MLflow's database: set MLFLOW_TRACKING_URI to a "
            "server, or pass --no-track"
        )
    return f"{_SQLITE}{store}"


def own_store(lake: Path) -> Path | None:
    """The SQLite file in the lake; None on object storage, or where MLFLOW_TRACKING_URI is set."""
    if os.environ.get("MLFLOW_TRACKING_URI") or not isinstance(lake, Path):
        return None
    return lake / "mlflow.db"


def experiment_name(name: str | None) -> str:
    """``name``, else MLFLOW_EXPERIMENT_NAME, else ``hmct-track``."""
    return name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT


def check_database(uri: str, seconds: float) -> None:
    """Complain of an SQLite file that cannot be opened, on which MLflow would wait for minutes.

    Args:
        uri: of any kind; only SQLite's are looked at.
        seconds: to wait for another process that has it locked.

    Raises:
        TrackingError: it is there and cannot be opened.
    """
    import sqlite3
    from contextlib import closing

    path = Path(uri.removeprefix(_SQLITE).partition("?")[0])
    if not uri.startswith(_SQLITE) or not path.exists():
        return
    if not path.is_file():  # opening a FIFO would never end
        raise TrackingError(f"{path} is not a file")
    try:
        address = f"file:{quote(str(path))}?mode=rw"
        with closing(sqlite3.connect(address, timeout=seconds, uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        waited = f", for {seconds:g} s" if "locked" in str(error) else ""
        raise TrackingError(f"{path} cannot be opened: {error}{waited}") from None
