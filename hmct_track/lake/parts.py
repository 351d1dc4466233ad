"""Immutable Parquet parts: written under a temporary name, then renamed, so that a reader sees a
whole part or none.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmct_track.lake.layout import part_name
from hmct_track.lake.places import written
from hmct_track.lake.schema import FILLED, Table

if TYPE_CHECKING:
    import pyarrow as pa

_SMALL = 64
"""Rows."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)

# Arrow is for writing; a reader of the lake does not wait for it.


def write_part(
    folder: Path, table: Table, rows: Sequence[Mapping[str, Any]], name: str | None = None
) -> Path:
    """Write rows as one part and return its path.

    Args:
        folder: the table's folder.
        table: the table; each row has its columns and no others.
        rows: column name to value; columns of `schema.FILLED` may be left out.
        name: the part's name; parts of equal content may share one. By default one that
            tells its keys.

    Raises:
        ValueError: a row has other columns than the table.
    """
    columns = {c.name for c in table.columns}
    for row in rows:
        if not columns - FILLED <= row.keys() <= columns:
            raise ValueError(f"a row of {table.name} has the columns {sorted(row)}")
    import pyarrow as pa

    columns_of = [_array([row.get(c.name) for row in rows], c.type) for c in table.columns]
    data = pa.Table.from_arrays(columns_of, schema=arrow_schema(table))
    keys = {row[table.key[0]] for row in rows}
    path = folder / f"{name or part_name(0, keys)}.parquet"
    write_table(path, data)
    return path


def _array(values: Sequence[Any], kind: str) -> pa.Array[Any]:
    """Values of a column, by a type of the schema, as Arrow has them in memory.

    Arrow's own conversion of Python objects imports pandas, which takes longer than a small run.

    Raises:
        TypeError: a value is of another type.
    """
    import pyarrow as pa

    there = [value for value in values if value is not None]
    valid = None
    if len(there) < len(values):
        valid = _bits([value is not None for value in values])
    if kind.endswith("[]"):
        items = _array([item for value in there for item in value], kind.removesuffix("[]"))
        ends = _ends(0 if value is None else len(value) for value in values)
        return pa.Array.from_buffers(
            pa.list_(items.type), len(values), [valid, ends], -1, 0, [items]
        )
    if kind == "VARCHAR":
        texts = [None if value is None else _utf8(value) for value in values]
        ends = _ends(0 if text is None else len(text) for text in texts)
        text = pa.py_buffer(b"".join(text for text in texts if text))
        return pa.Array.from_buffers(pa.string(), len(values), [valid, ends, text])
    if kind == "BOOLEAN":
        bits = _bits([bool(value) for value in values])
        return pa.Array.from_buffers(pa.bool_(), len(values), [valid, bits])
    if kind == "DOUBLE":
        numbers = array("d", [0.0 if value is None else value for value in values])
        return pa.Array.from_buffers(pa.float64(), len(values), [valid, pa.py_buffer(numbers)])
    if kind == "TIMESTAMP":
        values = [None if value is None else (value - _EPOCH) // _MICROSECOND for value in values]
    whole = pa.py_buffer(array("q", [0 if value is None else value for value in values]))
    of = pa.timestamp("us") if kind == "TIMESTAMP" else pa.int64()
    return pa.Array.from_buffers(of, len(values), [valid, whole])


def _bits(values: Sequence[bool]) -> pa.Buffer:
    """A bit each, the first one lowest."""
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(np.array(values, bool), bitorder="little").tobytes())


def _ends(lengths: Iterable[int]) -> pa.Buffer:
    """Where each of several pieces begins, and where the last one ends."""
    import pyarrow as pa

    return pa.py_buffer(array("i", accumulate(lengths, initial=0)))


def _utf8(text: Any) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text")
    return text.encode()


def write_table(path: Path, data: pa.Table) -> None:
    """Write a table as one part: it is there whole or not at all."""
    import pyarrow.parquet as pq

    # Many parts hold a row or a few: what would tell a reader which rows to skip costs it more than
    # reading them.
    small = len(data) < _SMALL
    with written(path) as temporary:
        pq.write_table(
            data,
            temporary,
            compression="zstd",
            use_dictionary=not small,
            write_statistics=not small,
            store_schema=not small,
        )


def read_part(path: Path) -> pa.Table:
    """The rows of one part."""
    import pyarrow.parquet as pq

    with path.open("rb") as stream:
        return pq.read_table(stream)


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of a table."""
    import pyarrow as pa

    types: dict[str, pa.DataType] = {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMP": pa.timestamp("us"),
    }
    types |= {f"{name}[]": pa.list_(of) for name, of in types.items()}
    return pa.schema([(c.name, types[c.type]) for c in table.columns])


def fitted(data: pa.Table | pa.RecordBatch, table: Table) -> pa.Table:
    """Rows with the columns of the schema: those that they lack are NULL, others go."""
    import pyarrow as pa

    schema = arrow_schema(table)
    columns = [
        data.column(f.name).cast(f.type)
        if f.name in data.schema.names
        else pa.nulls(len(data), f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema)
