"""Parts on object storage, read with one request each.

DuckDB asks for a file's size and time again and again, and reads a small file in pieces: of a part
on S3, ten requests for what one can bring. A part never changes, so what was read of it stays true.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem

SUFFIX = ".parquet"
SMALL = 1 << 20
"""Bytes of a part that is brought whole; of a bigger one only what is asked for."""
MOST = 64 << 20
"""Bytes that are kept of all parts together."""

_MADE = datetime(2000, 1, 1, tzinfo=UTC)


class KeptParts(AbstractFileSystem):  # type: ignore[misc]
    """Another file system, with small Parquet files in memory once they were read.

    What is listed comes from there each time, so that other writers' parts are seen.

    Args:
        inner: the file system of the object storage. No Parquet file below it ever changes; one
            may go.
    """

    cachable = False

    def __init__(self, inner: AbstractFileSystem) -> None:
        super().__init__()
        self.protocol = inner.protocol
        self._inner = inner
        self._sizes: dict[str, int] = {}
        self._parts: OrderedDict[str, bytes] = OrderedDict()
        self._kept = 0
        # Several threads of DuckDB's open parts at a time.
        self._lock = threading.Lock()

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """What is there now, as `AbstractFileSystem.ls`."""
        entries = self._inner.ls(path, detail=True, **options)
        self._note(entries)
        return entries if detail else [entry["name"] for entry in entries]

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> Any:
        """What is there now, as `AbstractFileSystem.glob`."""
        detail = options.pop("detail", False)
        part = self._inner._strip_protocol(path)
        # DuckDB looks for each part that it is told of by name.
        if part.endswith(SUFFIX) and part in self._sizes:
            return {part: self.info(part)} if detail else [part]
        found = self._inner.glob(path, maxdepth=maxdepth, detail=True, **options)
        self._note(list(found.values()))
        return found if detail else list(found)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Size and kind, as `AbstractFileSystem.info`."""
        path = self._inner._strip_protocol(path)
        if path.endswith(SUFFIX) and path in self._sizes:
            return {"name": path, "size": self._sizes[path], "type": "file"}
        found: dict[str, Any] = self._inner.info(path, **options)
        return found

    def modified(self, path: str) -> datetime:
        """The same for ever of a part; else as `AbstractFileSystem.modified`."""
        if path.endswith(SUFFIX):
            return _MADE
        found: datetime = self._inner.modified(path)
        return found

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """A part from memory, or what the file system itself opens."""
        path = self._inner._strip_protocol(path)
        if mode != "rb" or not path.endswith(SUFFIX):
            return self._inner.open(path, mode, **options)
        if path not in self._sizes:
            self._sizes[path] = self._inner.info(path)["size"]
        if self._sizes[path] > SMALL:
            return self._inner.open(path, "rb")
        return _Part(self._bytes(path))

    def _note(self, entries: list[dict[str, Any]]) -> None:
        self._sizes.update({e["name"]: e["size"] for e in entries if e["type"] == "file"})

    def _bytes(self, path: str) -> bytes:
        with self._lock:
            if path in self._parts:
                self._parts.move_to_end(path)
                return self._parts[path]
        content: bytes = self._inner.cat_file(path)
        with self._lock:
            if path not in self._parts:  # another thread may have brought it as well
                self._kept += len(content)
            self._parts[path] = content
            while self._kept > MOST:
                self._kept -= len(self._parts.popitem(last=False)[1])
        return content


class _Part(io.BytesIO):
    """A part as a file; DuckDB asks for its size."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.getbuffer().nbytes
