"""Labels of samples: from a folder, a CSV, an .npz or .npy file, or Python objects."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from hmct_track.errors import UsageError
from hmct_track.types import digest

_ENDINGS = (".npy", ".json", ".txt")
_HINT = (
    "a folder with a .npy, .json or .txt file of each sample's name, a CSV with the columns sample "
    "and label, or an .npz or .npy file was expected"
)


def read_labels(source: Any, places: Sequence[str]) -> list[Any]:
    """The label of each sample.

    Labels are found by the name of the sample's file without its ending, or, where they have no
    names (a CSV without a column ``sample``, an array), by the place of the sample in the data.

    Args:
        source: a path, a mapping of names to labels, or a sequence or array in the data's order.
        places: where each sample came from, as `hmct_track.data.Samples.label` has it.

    Raises:
        UsageError: it is none of these, or lacks the label of a sample.
    """
    if isinstance(source, Mapping):
        return _by_name({str(k): v for k, v in source.items()}, places, "labels")
    if not isinstance(source, str | Path):
        return _by_place(source, places, "labels")
    path = Path(source)
    reader = _folder if path.is_dir() else _READERS.get(path.suffix)
    if reader is None:
        raise UsageError(f"labels {str(source)!r} is none; {_HINT}")
    try:
        return reader(path, places)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"labels {str(source)!r} cannot be read: {error}") from error


def label_hash(label: Any) -> str:
    """Hash of a label's content."""
    if isinstance(label, np.ndarray):
        if label.dtype.kind in "OV":
            return digest(repr(label.tolist()).encode())
        head = f"{label.dtype}\0{label.shape}".encode()
        return digest(head, np.ascontiguousarray(label).tobytes())
    if isinstance(label, np.generic):
        label = label.item()
    return digest(f"{type(label).__name__}\0{label!r}".encode())


def _names(places: Sequence[str]) -> list[str]:
    return [PurePath(place).stem for place in places]


def _by_name(found: Mapping[str, Any], places: Sequence[str], where: str) -> list[Any]:
    names = _names(places)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(
            f"{where!r} has labels by name, but two samples are called {twice!r}; give them in the "
            "data's order, as a CSV without a column sample"
        )
    labels = []
    for place, name in zip(places, names, strict=True):
        key = name if name in found else PurePath(place).name
        if key not in found:
            raise UsageError(
                f"{where!r} has no label for the sample {place!r}; one called {name!r} was expected"
            )
        labels.append(found[key])
    return labels


def _by_place(found: Any, places: Sequence[str], where: str) -> list[Any]:
    try:
        count = len(found)
    except TypeError as error:
        raise UsageError(f"labels are a {type(found).__name__}; {_HINT}") from error
    if count < len(places):
        raise UsageError(
            f"{where!r} has {count} labels for {len(places)} samples; one for each was expected"
        )
    return [found[k] for k in range(len(places))]


def _folder(path: Path, places: Sequence[str]) -> list[Any]:
    readers: dict[str, Callable[[Path], Any]] = {
        ".npy": lambda file: np.load(file, allow_pickle=False),
        ".json": lambda file: json.loads(file.read_text("utf-8")),
        ".txt": lambda file: _value(file.read_text("utf-8").strip()),
    }
    found = {}
    for name in _names(places):
        file = next((f for e in _ENDINGS if (f := path / f"{name}{e}").is_file()), None)
        if file is not None:
            found[name] = readers[file.suffix](file)
    return _by_name(found, places, str(path))


def _table(path: Path, places: Sequence[str]) -> list[Any]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        columns = list(rows.fieldnames or ())
        if not set(columns) - {"sample"} or any(not c for c in columns):
            raise UsageError(
                f"labels {str(path)!r} have the columns {', '.join(columns) or 'none'}; a first "
                "line with sample (if not in the data's order) and label was expected"
            )
        others = [c for c in columns if c != "sample"]
        if len(others) == 1 and others[0] != "label":
            raise UsageError(
                f"labels {str(path)!r} have the column {others[0]!r}; label was expected"
            )
        found: list[tuple[str, Any]] = []
        for row in rows:
            values = {c: _value(row[c] or "") for c in others}
            label = values["label"] if others == ["label"] else values
            found.append((PurePath(row.get("sample") or "").name, label))
    if "sample" not in columns:
        return _by_place([label for _, label in found], places, str(path))
    return _by_name(dict(found), places, str(path))


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _arrays(path: Path, places: Sequence[str]) -> list[Any]:
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    if "labels" in found:
        return _by_place(found["labels"], places, str(path))
    if len(found) == 1 and len(places) > 1:
        return _by_place(next(iter(found.values())), places, str(path))
    return _by_name(found, places, str(path))


def _array(path: Path, places: Sequence[str]) -> list[Any]:
    return _by_place(np.load(path, allow_pickle=False), places, str(path))


_READERS: Mapping[str, Callable[[Path, Sequence[str]], list[Any]]] = {
    ".csv": _table,
    ".npz": _arrays,
    ".npy": _array,
}
