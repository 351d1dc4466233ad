"""Where a lake is: a folder, or a place on object storage that is used like one."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from hmct_track.errors import LakeError

DEFAULT_FOLDER = "hmct_lake"
ENVIRONMENT = "HMCT_LAKE"

_REMOTE = "s3://"


def lake_path(path: str | os.PathLike[str] | None = None) -> Path:
    """Where the lake is: ``path``, else what HMCT_LAKE says, else ``./hmct_lake``.

    ``s3://bucket/name`` is a place on object storage.

    Raises:
        LakeError: it is on object storage, and what reads that is not installed.
    """
    text = str(path or os.environ.get(ENVIRONMENT) or DEFAULT_FOLDER)
    if not text.startswith(_REMOTE):
        return Path(text).absolute()
    try:
        import s3fs  # noqa: F401
        from upath import UPath
    except ImportError as error:
        raise LakeError(
            f"a lake at {text} needs s3fs and universal-pathlib; pip install 'hmct-track[s3]'"
        ) from error
    # Listings are not kept: other writers' parts are to be seen. It has what we use of a Path.
    return cast(Path, UPath(text, use_listings_cache=False))


def is_remote(path: Path) -> bool:
    """Whether a path of `lake_path` is on object storage."""
    return not isinstance(path, Path)


def filesystem(path: Path) -> Any:
    """The fsspec filesystem of a remote path."""
    return cast(Any, path).fs


def readable(path: Path) -> Any:
    """The fsspec filesystem of a remote path for DuckDB, which reads each small part once."""
    from hmct_track.lake.kept import KeptParts

    return KeptParts(filesystem(path))


def names_in(folder: Path) -> Iterator[str]:
    """Names of what lies in a folder, in no order; none if it is not there.

    Of object storage it is one request, where a path's own ways take three.
    """
    try:
        if is_remote(folder):
            listed = filesystem(folder).ls(cast(Any, folder).path, detail=False)
            yield from (name.rpartition("/")[2] for name in listed)
            return
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)
    except FileNotFoundError:
        return


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A local file to write; then ``path`` is it, and whoever reads ``path`` sees all or nothing.

    A folder has it by renaming. Object storage shows an object when its upload is complete.
    """
    name = f".{path.stem}-{uuid.uuid4().hex}.tmp"
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / name
            yield temporary
            filesystem(path).put_file(str(temporary), str(path))
        return
    temporary = path.with_name(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        remove_quietly(temporary)


def remove_quietly(path: Path) -> None:
    """Remove what may be left of a file, where that can be."""
    with suppress(OSError):  # a place that is read-only says so also of what is not there
        path.unlink(missing_ok=True)
