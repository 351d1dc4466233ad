"""Rows become the same Arrow data as by Arrow's own conversion."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmct_track.lake.parts import arrow_schema, read_part, write_part
from hmct_track.lake.schema import TABLES, Table

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "VARCHAR": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "DOUBLE": st.floats() | st.integers(-9, 9),
    "BOOLEAN": st.booleans(),
    "TIMESTAMP": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
}
VALUES |= {f"{kind}[]": st.lists(st.none() | items, max_size=3) for kind, items in VALUES.items()}


def rows_of(table: Table) -> st.SearchStrategy[list[dict[str, Any]]]:
    columns = {c.name: st.none() | VALUES[c.type] for c in table.columns}
    return st.lists(st.fixed_dictionaries(columns), max_size=12)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@settings(max_examples=15)
@given(st.data())
def test_rows_become_what_arrow_makes_of_them(
    table: Table, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rows = data.draw(rows_of(table))
    folder: Path = tmp_path_factory.mktemp("parts")
    found = read_part(write_part(folder, table, rows))
    wanted = pa.Table.from_pylist(rows, schema=arrow_schema(table))
    found.validate(full=True)
    assert found.schema.names == wanted.schema.names
    assert repr(found.to_pylist()) == repr(wanted.to_pylist())  # NaN is no equal of itself


@pytest.mark.parametrize(
    ("kind", "value"),
    [("VARCHAR", 1), ("BIGINT", 1.5), ("BIGINT", "1"), ("DOUBLE", "1"), ("TIMESTAMP", 5)],
)
def test_a_value_of_another_type_is_refused(kind: str, value: object, tmp_path: Path) -> None:
    table, name = next((t, c.name) for t in TABLES for c in t.columns if c.type == kind)
    row: dict[str, object] = dict.fromkeys(c.name for c in table.columns)
    with pytest.raises(TypeError):
        write_part(tmp_path, table, [{**row, name: value}])
    assert not list(tmp_path.iterdir())
