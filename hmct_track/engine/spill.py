"""The values of a tensor over many samples, in a temporary file instead of memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hmct_track.errors import EngineError


class Spill(Sequence[NDArray[Any]]):
    """Arrays, one per sample, mapped into memory only while they are looked at.

    The file has no name and is gone with the object.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="hmct-")  # noqa: SIM115 - lives as long as self
        weakref.finalize(self, self._file.close)
        self._places: list[tuple[int, tuple[int, ...], np.dtype[Any]]] = []
        self._end = 0

    def append(self, array: NDArray[Any]) -> None:
        """Keep an array.

        Raises:
            EngineError: the file cannot be written.
        """
        try:
            self._file.seek(self._end)
            self._file.write(np.ascontiguousarray(array).reshape(-1).data.cast("B"))
            self._file.flush()
        except OSError as error:
            raise EngineError(
                f"cannot write values to a temporary file in {tempfile.gettempdir()}: {error}; "
                "use fewer samples (data_num), or set TMPDIR to a folder with room"
            ) from error
        self._places.append((self._end, array.shape, array.dtype))
        self._end += array.nbytes

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[NDArray[Any]]: ...

    def __getitem__(self, index: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        start, shape, dtype = self._places[index]
        if 0 in shape:
            return np.empty(shape, dtype)  # nothing cannot be mapped
        return np.memmap(self._file, dtype, mode="r", offset=start, shape=shape)
