"""The only file system that a user's SQL has: the parts of one lake, opened for reading.

DuckDB asks it for whatever lies at ``lake://``. It has no way to write: it opens what exists for
reading, lists, and tells sizes; all that fsspec would write with comes down to opening.
"""

from __future__ import annotations

import posixpath
from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem

from hmct_track.lake.schema import TABLES

SCHEME = "lake"

_FOLDERS = frozenset(table.name for table in TABLES)


class PartsOnly(AbstractFileSystem):  # type: ignore[misc]
    """``lake://<table>/<part>.parquet``, read from ``root`` of another file system."""

    protocol = SCHEME
    cachable = False
    root_marker = ""

    def __init__(self, inner: AbstractFileSystem, root: str) -> None:
        super().__init__()
        self._inner = inner
        self._root = root.rstrip("/")

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """The tables, or the parts of one."""
        path = self._checked(path)
        if path:
            listed = self._inner.ls(self._below(path), detail=True)
            found = [self._told(entry, f"{path}/{_name(entry)}") for entry in listed]
        else:
            found = [{"name": name, "size": 0, "type": "directory"} for name in sorted(_FOLDERS)]
        return found if detail else [entry["name"] for entry in found]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Size and kind of a part or a table's folder."""
        path = self._checked(path)
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        return self._told(self._inner.info(self._below(path)), path)

    def modified(self, path: str) -> datetime:
        """The same for ever: a part never changes."""
        self._checked(path)
        return datetime(2000, 1, 1, tzinfo=UTC)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise PermissionError("the lake is read-only for SQL")
        return self._inner.open(self._below(self._checked(path)), "rb")

    def _checked(self, path: str) -> str:
        """A path below the tables: a table, or what lies in its folder, and nothing else."""
        inside = str(self._strip_protocol(path)).strip("/")
        parts = inside.split("/") if inside else []
        if len(parts) > 2 or {".", ".."} & set(parts) or not {*parts[:1]} <= _FOLDERS:
            raise FileNotFoundError(f"{SCHEME}://{inside} is no part of the lake")
        return inside

    def _below(self, path: str) -> str:
        return posixpath.join(self._root, path)

    @staticmethod
    def _told(entry: dict[str, Any], name: str) -> dict[str, Any]:
        return {"name": name, "size": entry.get("size") or 0, "type": entry["type"]}


def _name(entry: dict[str, Any]) -> str:
    return posixpath.basename(str(entry["name"]).rstrip("/"))
