"""What an exported run may hold: sizes before anything is unpacked, then every value."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hmct_track.errors import UsageError
from hmct_track.lake.parts import arrow_schema, fitted
from hmct_track.lake.schema import RUNS, SCHEMA_VERSION, TABLES, Column, Table
from hmct_track.types import RunState

pc: Any = importlib.import_module("pyarrow.compute")
"""Its stubs know no chunked arrays."""

_Values = Any
"""A chunked array, whose stubs ask for more than is known."""

MANIFEST = "hmct_run.json"

_MOST_PACKED = 512 * 2**20
MOST_UNPACKED = 2 * 2**30
"""Bytes, of the files and of the values in them."""
_MOST_ROWS = 20_000_000
_MOST_TEXT = 2**20
"""Characters of one value."""
_MOST_KEY = 4096
_MOST_INTEGER = 2**53
_MOST_COUNT = 2**38
"""So that the sum of all of them is an integer yet."""
_BATCH = 256

_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$"
_IDS = {"run_id", "model_id", "data_id", "sample_id", "config_id", "parent_run_id", "score_id"}
_TAG = r"^[A-Za-z][A-Za-z0-9_.-]{0,199}$"
_NEEDED = {RUNS.name: {"kind", "state", "started_at"}, "configs": {"config"}}
_EMPTY = {"local_errors": {"sample_id"}}
"""Parts of a key that may be empty."""
_JSON = {"parameters", "config"}
_SUMS = {
    *("sum_xx", "sum_yy", "sum_dd", "sum_abs_d", "sum_abs_x", "max_abs_d", "std", "noise_floor"),
    *("count", "zeros", "nan", "inf", "nonfinite_x", "nonfinite_y", "outliers", "data_num"),
    *("position", "node_index", "bin", "channel", "numeric_version", "opset", "bits", "version"),
    *("general_nodes", "quantizable_nodes", "calibration_nodes"),
}
"""What is a number is not below zero in these columns."""
_STATES = [state.value for state in RunState]


def extract(source: Path, folder: Path) -> None:
    """Write the tables of an archive to a folder, a Parquet file each, every value checked.

    Raises:
        UsageError: what it must not be or hold, to be said after the archive's name.
    """
    about = source.stat()
    if not stat.S_ISREG(about.st_mode):
        raise UsageError("it is no regular file")
    if about.st_size > _MOST_PACKED:
        raise UsageError(f"it has {about.st_size} bytes; an archive may have {_MOST_PACKED}")
    with zipfile.ZipFile(source) as archive:
        entries = _checked_entries(archive)
        _check_version(archive, entries)
        _check_names(entries)
        left = MOST_UNPACKED
        for table in TABLES:
            entry = entries.get(f"{table.name}.parquet")
            if entry is not None:
                left -= _extract_table(archive, entry, table, folder, left)


def _checked_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename[:80]
        if entry.filename in found:
            raise UsageError(f"it holds {name!r} twice")
        if entry.flag_bits & 1:
            raise UsageError(f"{name!r} in it is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UsageError(f"{name!r} in it is packed in another way than deflate")
        found[entry.filename] = entry
    total = sum(entry.file_size for entry in found.values())
    if total > MOST_UNPACKED:
        raise UsageError(f"it unpacks to {total} bytes; an archive may have {MOST_UNPACKED}")
    for name in (MANIFEST, f"{RUNS.name}.parquet"):
        if name not in found:
            raise UsageError(
                f"it is no run that hmct-debugger lake export wrote: no {name!r} in it"
            )
    return found


def _check_version(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> None:
    if entries[MANIFEST].file_size > _MOST_KEY:
        raise UsageError(f"{MANIFEST!r} in it is too long")
    told = json.loads(archive.read(MANIFEST))
    version = told.get("schema_version") if isinstance(told, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UsageError(f"it has schema version {version!r}, which is none")
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"it has schema version {version}; this hmct-track knows up to {SCHEMA_VERSION}, so "
            "upgrade it"
        )


def _check_names(entries: dict[str, zipfile.ZipInfo]) -> None:
    """Complain of files that are no table; after the version, as a newer one may have more."""
    known = {MANIFEST, *(f"{table.name}.parquet" for table in TABLES)}
    for name in entries:
        if name not in known:
            raise UsageError(f"it holds {name[:80]!r}, which no exported run does")


def _extract_table(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, table: Table, folder: Path, left: int
) -> int:
    """Write a table anew, and return how many bytes it has."""
    raw = folder / "raw"
    with archive.open(entry) as packed, raw.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
    taken = 0
    with pq.ParquetFile(raw, pre_buffer=False) as file:
        _check_columns(file, table)
        with pq.ParquetWriter(folder / f"{table.name}.parquet", arrow_schema(table)) as writer:
            for batch in file.iter_batches(_BATCH, use_threads=False):
                taken += batch.nbytes
                if taken > left:
                    raise UsageError(
                        f"its values take more than the {MOST_UNPACKED} bytes that they may"
                    )
                rows = fitted(batch, table)
                rows.validate(full=True)
                _check_rows(rows, table)
                writer.write_table(rows)
    raw.unlink()
    return taken


def _check_columns(file: pq.ParquetFile, table: Table) -> None:
    if file.metadata.num_rows > _MOST_ROWS:
        raise UsageError(
            f"its {table.name} have {file.metadata.num_rows} rows; they may have {_MOST_ROWS}"
        )
    found, expected = file.schema_arrow, arrow_schema(table)
    if len(set(found.names)) != len(found.names):
        raise UsageError(f"its {table.name} have a column twice")
    for field in found:
        known = field.name in expected.names
        if not known or not _same_type(field.type, expected.field(field.name).type):
            raise UsageError(
                f"its {table.name} have a column {field.name[:80]!r} of type {field.type}"
            )
    lacking = [name for name in table.key if name not in found.names]
    if lacking:
        raise UsageError(f"its {table.name} lack the key {', '.join(lacking)}")


def _same_type(found: pa.DataType, expected: pa.DataType) -> bool:
    if pa.types.is_list(found) and pa.types.is_list(expected):
        return bool(found.value_type == expected.value_type)
    return bool(found == expected)


def _check_rows(rows: pa.Table, table: Table) -> None:
    needed = {*table.key, *_NEEDED.get(table.name, set())} - _EMPTY.get(table.name, set())
    for column in table.columns:
        for problem in _problems(rows.column(column.name), column, table, column.name in needed):
            raise UsageError(f"its {table.name}.{column.name} {problem}")


def _problems(values: _Values, column: Column, table: Table, needed: bool) -> Iterator[str]:
    if needed and values.null_count:
        yield "is empty in a row"
    flat = pc.list_flatten(values) if column.type.endswith("[]") else values
    present = pc.drop_null(flat)
    if not len(present):
        return
    kind = column.type.removesuffix("[]")
    if kind == "VARCHAR":
        yield from _text_problems(present, column, table)
    elif kind == "TIMESTAMP":
        years = pc.year(present)
        if not _all(pc.and_(pc.greater_equal(years, 1970), pc.less(years, 3000))):
            yield "is no time between the years 1970 and 3000"
    elif kind in ("BIGINT", "DOUBLE"):
        yield from _number_problems(present, column, table)


def _text_problems(values: _Values, column: Column, table: Table) -> Iterator[str]:
    longest = _MOST_KEY if column.name in table.key else _MOST_TEXT
    if not _all(pc.less_equal(pc.binary_length(values), longest)):
        yield f"has a text of more than {longest} bytes"
    is_id = column.name in _IDS - _EMPTY.get(table.name, set())
    pattern = _ID if is_id else _TAG if column.name == "tag" else None
    if pattern and not _all(pc.match_substring_regex(values, pattern)):
        yield f"is {_first_odd(values, pattern)!r}, which is none"
    if column.name == "state" and not _all(pc.is_in(values, pa.array(_STATES))):
        yield f"is none of {', '.join(_STATES)}"
    if column.name in _JSON:
        yield from _json_problems(values)


def _first_odd(values: _Values, pattern: str) -> str:
    return next(str(v)[:80] for v in values.to_pylist() if not re.search(pattern, v))


def _json_problems(values: _Values) -> Iterator[str]:
    for text in values.to_pylist():
        try:
            fine = isinstance(json.loads(text), dict)
        except (ValueError, RecursionError):
            fine = False
        if not fine:
            yield f"is no JSON object: {text[:80]!r}"


def _number_problems(values: _Values, column: Column, table: Table) -> Iterator[str]:
    signed = column.name not in _SUMS or column.type.endswith("[]")
    most = _MOST_INTEGER if signed else _MOST_COUNT
    if column.type.startswith("BIGINT") and not _all(
        pc.and_(pc.less_equal(values, most), pc.greater_equal(values, -most))
    ):
        yield f"is beyond {most}"
    if not signed and _any(pc.less(values, 0)):
        yield "is below zero"
    if (table.name, column.name) == ("measurements", "count") and _any(pc.equal(values, 0)):
        yield "is zero"


def _all(mask: Any) -> bool:
    return bool(pc.all(mask).as_py())


def _any(mask: Any) -> bool:
    return bool(pc.any(mask).as_py())
