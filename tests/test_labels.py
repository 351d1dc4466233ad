"""A model's name for people is the same in Python and in SQL."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmct_track.lake.macros import scalar_macros
from hmct_track.names import model_label

NAMED = [
    ("/nets/lenet/calibrated_model.onnx", "g", "lenet/calibrated_model"),
    ("lenet/model.onnx", "g", "lenet/model"),
    ("/calibrated_model.onnx", "g", "calibrated_model"),
    ("model.onnx", None, "model"),
    ("./model.onnx", None, "model"),
    ("/nets/lenet//./model.onnx", "g", "lenet/model"),
    ("/nets/net.v2.onnx", "g", "net.v2"),
    ("/nets/my_model.onnx", "g", "my_model"),
    ("/nets/it's a \U0001f600.onnx", None, "it's a \U0001f600"),
    (None, "graph", "graph"),
    (None, "", "model"),
    (None, None, "model"),
]


@pytest.fixture(scope="module")
def client() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for statement in scalar_macros().values():
        connection.execute(statement)
    return connection


def in_sql(client: duckdb.DuckDBPyConnection, path: str | None, graph: str | None) -> str:
    select = "SELECT model_label($path::VARCHAR, $graph::VARCHAR)"
    (found,) = client.execute(select, {"path": path, "graph": graph}).fetchall()
    return str(found[0])


@pytest.mark.parametrize(("path", "graph", "label"), NAMED)
def test_models_that_toolchains_call_alike_are_told_apart_by_their_folder(
    client: duckdb.DuckDBPyConnection, path: str | None, graph: str | None, label: str
) -> None:
    assert model_label(path, graph) == in_sql(client, path, graph) == label


PART = st.one_of(
    st.sampled_from(["model", "calibrated_model", "model.onnx", "a.b.onnx", ".onnx", "."]),
    st.text("ab._-\n \N{DOUBLE ACUTE ACCENT}", min_size=1, max_size=6).filter(lambda t: t != ".."),
)


@given(parts=st.lists(PART, min_size=1, max_size=3), absolute=st.booleans())
@settings(max_examples=200, deadline=None)
def test_the_macro_agrees_with_the_function(
    client: duckdb.DuckDBPyConnection, parts: list[str], absolute: bool
) -> None:
    path = "/" * absolute + "/".join(parts)
    assert model_label(path, None) == in_sql(client, path, None)
