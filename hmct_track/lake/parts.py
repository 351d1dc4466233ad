"""Immutable Parquet parts: written under a temporary name, then renamed, so that a reader sees a
whole part or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmct_track.lake.layout import part_name
from hmct_track.lake.places import written
from hmct_track.lake.schema import FILLED, Table

if TYPE_CHECKING:
    import pyarrow as pa

_SMALL = 64
"""Rows."""

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

    data = pa.Table.from_pylist([dict(row) for row in rows], schema=arrow_schema(table))
    keys = {row[table.key[0]] for row in rows}
    path = folder / f"{name or part_name(0, keys)}.parquet"
    write_table(path, data)
    return path


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
