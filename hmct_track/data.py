"""Calibration data in: samples checked against a model's inputs, loaded one at a time."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.errors import DataError, UsageError
from hmct_track.types import TensorSpec, digest

Array = NDArray[Any]
Sample = dict[str, Array]

_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class _Entry:
    """One array that is loaded when asked for; ``label`` names it in errors."""

    label: str
    load: Callable[[], Array]
    number: int | None = None


class CalibrationDataSet:
    """Calibration samples: for each model input, one array per sample.

    Args:
        data: maps input names to a list of arrays, each one sample with its batch dimension, or to
            one array. Of one array with a dimension more than the input, the first dimension
            counts the samples; otherwise its rows are the samples, in batches of the model's
            batch size (1 where that is dynamic).

    Example:
        >>> data = CalibrationDataSet({"input": np.zeros((64, 1, 16, 16), np.float32)})
    """

    def __init__(self, data: Mapping[str, Array | Sequence[Array]]) -> None:
        if not isinstance(data, Mapping):
            raise DataError(
                f"the data are a {type(data).__name__}; expected a mapping of input names to "
                "arrays (CalibrationDataSet.from_folder takes a path)"
            )
        self._data = dict(data)
        self.path: Path | None = None
        self._folders: dict[str, list[_Entry]] | None = None

    @classmethod
    def from_folder(cls, path: str | os.PathLike[str]) -> CalibrationDataSet:
        """The documented folder: one folder per input, ``0.npy, 1.npy, ...`` in each.

        Files sort by the last number in their names. Nothing is read before it is needed.

        Raises:
            DataError: the folder is missing or holds no .npy files.
        """
        folder = Path(path)
        try:
            if not folder.is_dir():
                what = "is a file" if folder.exists() else "does not exist"
                raise DataError(
                    f"calibration data {str(folder)!r} {what}; expected a folder that has one "
                    "folder of .npy files per model input"
                )
            found = {
                child.name: _entries(child)
                for child in sorted(folder.iterdir())
                if child.is_dir() and not child.name.startswith(".")
            }
            own = _entries(folder)
        except OSError as error:
            raise DataError(
                f"calibration data {str(folder)!r} cannot be read: {error.strerror}; "
                "check the path and its permissions"
            ) from error
        if own and not any(found.values()):
            found = {"": own}  # files right in the folder: they can only belong to a single input
        if not any(found.values()):
            raise DataError(
                f"calibration data {str(folder)!r} holds no .npy files; expected "
                f"{folder.name}/<input name>/0.npy, 1.npy, ..."
            )
        made = cls({})
        made.path = folder.absolute()
        made._folders = found
        return made

    def bind(self, inputs: Sequence[TensorSpec]) -> Samples:
        """The samples as the inputs of a model, with names and counts checked.

        Raises:
            DataError: an input has no data, data have no input, or counts differ.
        """
        folders = self._folders
        columns = self._bind(inputs) if folders is None else self._bind_folders(inputs, folders)
        counts = {name: len(entries) for name, entries in columns.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
            raise DataError(f"every input needs the same number of samples: {listed}")
        if not next(iter(counts.values()), 0):
            raise DataError("the calibration data hold no samples")
        _check_pairs(columns)
        return Samples(inputs, columns, self.path)

    def _bind(self, inputs: Sequence[TensorSpec]) -> dict[str, list[_Entry]]:
        _check_names(set(self._data), [spec.name for spec in inputs], "the calibration data")
        return {spec.name: _array_entries(spec, self._data[spec.name]) for spec in inputs}

    def _bind_folders(
        self, inputs: Sequence[TensorSpec], folders: Mapping[str, list[_Entry]]
    ) -> Mapping[str, list[_Entry]]:
        names = {spec.name: folder_name(spec.name) for spec in inputs}
        if set(folders) == {""}:
            if len(inputs) == 1:
                return {inputs[0].name: folders[""]}
            raise DataError(
                f"calibration data {str(self.path)!r} has its .npy files right in it, but the "
                f"model has {len(inputs)} inputs; expected one folder of .npy files for each of: "
                f"{', '.join(map(repr, names.values()))}"
            )
        # A folder may also carry the very name, where the file system allows it.
        folder_of = {n: n if n in folders else folder for n, folder in names.items()}
        if len(set(folder_of.values())) < len(folder_of):
            raise DataError(
                f"inputs {', '.join(map(repr, folder_of))} would share a folder of calibration "
                f"data {str(self.path)!r}; give a mapping of input names to arrays instead"
            )
        with_data = {name for name, entries in folders.items() if entries}
        _check_names(with_data, list(folder_of.values()), f"calibration data {str(self.path)!r}")
        return {name: folders[folder] for name, folder in folder_of.items()}


class Samples:
    """The samples of one model's inputs. ``samples[k]`` loads and checks sample k."""

    def __init__(
        self, inputs: Sequence[TensorSpec], columns: Mapping[str, list[_Entry]], path: Path | None
    ) -> None:
        self._specs = {spec.name: spec for spec in inputs}
        self._columns = columns
        self.path = path

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def first(self, data_num: int | None) -> Samples:
        """The first ``data_num`` samples, or all of them if it is None.

        Raises:
            UsageError: ``data_num`` is below 1 or above the number of samples.
        """
        if data_num is None:
            return self
        if isinstance(data_num, bool) or not isinstance(data_num, int | np.integer):
            raise UsageError(f"data_num is {data_num!r}; a whole number or None was expected")
        if not 1 <= data_num <= len(self):
            raise UsageError(f"data_num is {data_num}; there are 1 to {len(self)} samples")
        columns = {name: entries[:data_num] for name, entries in self._columns.items()}
        return Samples(tuple(self._specs.values()), columns, self.path)

    def followed_by(self, others: Samples) -> Samples:
        """These samples, and behind them those of other data for the same inputs."""
        columns = {name: [*own, *others._columns[name]] for name, own in self._columns.items()}
        return Samples(tuple(self._specs.values()), columns, self.path)

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``: input name to array.

        Files are mapped into memory, not read whole; nothing of earlier samples is kept.

        Raises:
            DataError: an array cannot be read, or has the wrong dtype or shape.
        """
        loaded = {}
        for name, entries in self._columns.items():
            array = entries[index].load()
            _check_array(array, self._specs[name], entries[index].label)
            loaded[name] = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
        return loaded

    def verify(self, index: int) -> str:
        """Check every value of sample ``index`` and return its content hash.

        Raises:
            DataError: values are NaN or infinite.
        """
        sample = self[index]
        parts: list[bytes | memoryview] = []
        for name, array in sample.items():
            label = self._columns[name][index].label
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
                raise DataError(
                    f"{label} has {nan} NaN and {inf} infinite values of {array.size}; "
                    "calibration data must be finite, so mend or remove this sample"
                )
            head = f"{name}\0{array.dtype.name}\0{array.shape}\0".encode()
            parts += [head, array.reshape(-1).data.cast("B")]
        return digest(*parts)

    def label(self, index: int) -> str:
        """Where sample ``index`` came from, for people."""
        return next(iter(self._columns.values()))[index].label


def folder_name(input_name: str) -> str:
    """Name of the folder with an input's data, where ``/`` and ``:`` cannot be."""
    return re.sub("[/:]", "_", input_name)


def save_samples(folder: Path, samples: Samples, chosen: Sequence[int]) -> tuple[Path, ...]:
    """Write samples as the documented folder, the first of the chosen as ``0.npy``.

    Raises:
        UsageError: the folder cannot be written to.
    """
    written = []
    try:
        for place, k in enumerate(chosen):
            for name, array in samples[k].items():
                path = folder / folder_name(name) / f"{place}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array, allow_pickle=False)
                written.append(path)
    except OSError as error:
        raise UsageError(f"cannot write samples to {str(folder)!r}: {error}") from error
    return tuple(written)


def open_data(
    source: str | os.PathLike[str] | CalibrationDataSet | Mapping[str, Array | Sequence[Array]],
    inputs: Sequence[TensorSpec],
) -> Samples:
    """Calibration data of any accepted kind as samples for a model's inputs.

    Raises:
        DataError: the data are broken or do not fit the model.
    """
    if isinstance(source, str | os.PathLike):
        source = CalibrationDataSet.from_folder(source)
    elif isinstance(source, Mapping):
        source = CalibrationDataSet(source)
    elif not isinstance(source, CalibrationDataSet):
        raise DataError(
            f"calibrated_data is a {type(source).__name__}; expected the path of a folder, a "
            "CalibrationDataSet, or a mapping of input names to arrays"
        )
    return source.bind(inputs)


def _entries(folder: Path) -> list[_Entry]:
    """The .npy files of a folder in the order of their numbers."""
    files = [f for f in folder.iterdir() if f.suffix == ".npy" and not f.name.startswith(".")]
    made = [_Entry(str(f), partial(_load, f), _number(f)) for f in files]
    return sorted(made, key=lambda e: (e.number is None, e.number or 0, e.label))


def _number(file: Path) -> int | None:
    digits = re.findall(r"\d+", file.stem)
    return int(digits[-1]) if digits else None


_HEADER = threading.Lock()
"""NumPy parses a header with ``ast``, which Python 3.11 cannot do in several threads at a time:
https://github.com/python/cpython/issues/106905."""


def _load(file: Path) -> Array:
    try:
        mode = file.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe would be waited for
            raise DataError(f"{file} is not a regular file; write it with numpy.save")
        with file.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}; check its permissions") from error
    if not magic:
        raise DataError(f"{file} is empty; write it again with numpy.save")
    if magic != _MAGIC:
        raise DataError(f"{file} is not in .npy format; write it with numpy.save")
    try:
        with _HEADER:
            array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a broken header makes NumPy raise nearly anything
        if "Python objects" in str(error):
            raise DataError(
                f"{file} holds pickled Python objects, which are never loaded; "
                "save a plain float32 array"
            ) from error
        raise DataError(
            f"{file} is damaged or truncated ({error}); write it again with numpy.save"
        ) from error
    return array


def _array_entries(spec: TensorSpec, data: Array | Sequence[Array]) -> list[_Entry]:
    if isinstance(data, np.ndarray):
        arrays: Sequence[Any] = _split(spec, data)
    elif isinstance(data, Sequence) and not isinstance(data, str):
        arrays = data
    else:
        raise DataError(
            f"the data of input {spec.name!r} are a {type(data).__name__}; "
            "a list of arrays, one per sample, or one array was expected"
        )
    entries = []
    for k, array in enumerate(arrays):
        label = f"input {spec.name!r}, sample {k}"
        if not isinstance(array, np.ndarray):
            raise DataError(f"{label} is a {type(array).__name__}; an array was expected")
        entries.append(_Entry(label, partial(_identity, array)))
    return entries


def _identity(array: Array) -> Array:
    return array


def _split(spec: TensorSpec, array: Array) -> list[Array]:
    if array.ndim and (spec.shape is None or array.ndim == len(spec.shape) + 1):
        return [array[k, ...] for k in range(len(array))]  # list() would make scalars of a vector
    if spec.shape is None or array.ndim != len(spec.shape) or not array.ndim:
        return [array]  # one sample; the check of its shape will say what is wrong
    batch = spec.shape[0] or 1
    if len(array) % batch:
        raise DataError(
            f"the data of input {spec.name!r} have {len(array)} rows, which do not divide into "
            f"batches of {batch}, the model's batch size"
        )
    return [array[i : i + batch] for i in range(0, len(array), batch)]


def _check_names(found: set[str], expected: Sequence[str], where: str) -> None:
    missing = [name for name in expected if name not in found]
    extra = sorted(found - set(expected))
    if not missing and not extra:
        return
    parts = []
    if missing:
        parts.append(f"lack input {', '.join(map(repr, missing))}")
    if extra:
        parts.append(f"have {', '.join(map(repr, extra))}, which the model does not")
    raise DataError(
        f"{where} {' and '.join(parts)}; expected one entry for each of: "
        f"{', '.join(map(repr, expected))}"
    )


def _check_pairs(columns: Mapping[str, list[_Entry]]) -> None:
    """Samples of several inputs belong together by number, so the numbers must be the same."""
    first, *others = columns.values()
    for entries in others:
        for a, b in zip(first, entries, strict=True):
            if None not in (a.number, b.number) and a.number != b.number:
                raise DataError(
                    f"{a.label} and {b.label} would be one sample, but their numbers differ; "
                    "every input needs files of the same numbers"
                )


def _check_array(array: Array, spec: TensorSpec, label: str) -> None:
    if not array.size:
        raise DataError(
            f"{label} has shape {list(array.shape)} and no values; mend or remove this sample"
        )
    if array.dtype.name != spec.dtype:
        raise DataError(
            f"{label} is {array.dtype.name}; input {spec.name!r} takes {spec.dtype}, so convert "
            f"it with astype(numpy.{spec.dtype}) after the preprocessing that the model expects"
        )
    if spec.shape is None:
        return
    fits = array.ndim == len(spec.shape) and all(
        want in (None, have) for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        hint = "; a batch dimension is missing" if array.ndim + 1 == len(spec.shape) else ""
        raise DataError(
            f"{label} has shape {list(array.shape)}; input {spec.name!r} is {spec}{hint}"
        )
