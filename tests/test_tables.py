"""The text tables, against those printed in the documentation (which collapses whitespace)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from hmct_track.report import (
    channels_text,
    curves_text,
    distribution_text,
    format_value,
    sensitivity_table,
    table_markdown,
)
from hmct_track.report.html import Table
from hmct_track.types import Metric, NodeType

COSINE, MSE = Metric.COSINE_SIMILARITY, Metric.MSE


def row(subject: str, cosine: float | None = 0.5, mse: float | None = 2.0, **more: Any) -> dict:
    columns = dict.fromkeys((m.column for m in Metric), 0.0)
    return {
        "subject": subject,
        "consumers": ["Conv_0"],
        "threshold": 1.0,
        "bits": 8,
        **columns,
        COSINE.column: cosine,
        MSE.column: mse,
        **more,
    }


def table(
    rows: Sequence[dict], node_type: str = "node", metrics: str = "cosine-similarity,mse"
) -> list[str]:
    chosen = [Metric(m) for m in metrics.split(",")]
    return sensitivity_table(rows, NodeType(node_type), chosen).split("\n")


# The first rows of the documented tables. The page leaves out the rows with the longest names, on
# which the widths depend; names of their length stand for them.
NODES = [
    row("Conv_60", 0.77795, 68.02103),
    row("Conv_42", 0.83787, 49.4949),
    row("GlobalAveragePool_97", 0.99999, 0.5),
]
WEIGHTS = [
    row("471_HzCalibration", 0.99978, 0.07519, consumers=["Conv_2"]),
    row("468_HzCalibration", 0.99997, 0.0091, consumers=["Conv_0"]),
    row(
        "features.18.1.99classifier.1.weight_conv_weight_HzCalibration",
        0.99999,
        0.00359,
        consumers=["Gemm_99"],
    ),
]
ACTIVATIONS = [
    row("406_HzCalibration", 0.77851, 67.82422, consumers=["Conv_60"], threshold=0.91501),
    row("440_HzCalibration", 0.8041, 61.0322, consumers=["Conv_82"], threshold=2.01577),
    row("432_HzCalibration", 0.89895, 32.0417, consumers=["Conv_77"], threshold=2.54515, bits=16),
    row("391_HzCalibration", 0.93984, 19.72109, consumers=["Conv_50", "Add_55"], threshold=2.92598),
    row("330_HzCalibration", 0.99, 0.1, consumers=["Conv_10", "Conv_12", "Add_5"], threshold=0.5),
]


@pytest.mark.parametrize(
    ("node_type", "rows", "dashes", "fill", "texts"),
    [
        (
            "node",
            NODES,
            51,
            17,
            ["node cosine-similarity mse", "Conv_60 0.77795 68.02103", "Conv_42 0.83787 49.4949"],
        ),
        (
            "weight",
            WEIGHTS,
            89,
            36,
            [
                "weight node cosine-similarity mse",
                "471_HzCalibration Conv_2 0.99978 0.07519",
                "468_HzCalibration Conv_0 0.99997 0.0091",
                "...99classifier.1.weight_conv_weight_HzCalibration Gemm_99 0.99999 0.00359",
            ],
        ),
        (
            "activation",
            ACTIVATIONS,
            87,
            35,
            [
                "activation node threshold bit cosine-similarity mse",
                "406_HzCalibration Conv_60 0.91501 8 0.77851 67.82422",
                "440_HzCalibration Conv_82 2.01577 8 0.8041 61.0322",
                "432_HzCalibration Conv_77 2.54515 16 0.89895 32.0417",
                "391_HzCalibration Conv_50;Add_55 2.92598 8 0.93984 19.72109",
            ],
        ),
    ],
)
def test_the_documented_tables_come_out_as_documented(
    node_type: str, rows: list[dict], dashes: int, fill: int, texts: list[str]
) -> None:
    title, header, line, *body = table(rows, node_type)
    assert title == "=" * fill + "node sensitivity" + "=" * fill
    assert line == "-" * dashes
    assert [" ".join(text.split()) for text in (header, *body)][: len(texts)] == texts
    assert len(body) == len(rows)


@pytest.mark.parametrize(
    ("node_type", "rows"), [("node", NODES), ("weight", WEIGHTS), ("activation", ACTIVATIONS)]
)
def test_columns_are_two_spaces_wider_than_their_widest_cell(
    node_type: str, rows: list[dict]
) -> None:
    _, *lines = table(rows, node_type)
    del lines[1]
    cells = [line.split() for line in lines]
    widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
    for line, parts in zip(lines, cells, strict=True):
        padded = "".join(part.ljust(width) for part, width in zip(parts, widths, strict=True))
        assert line == padded.rstrip()


def test_rows_keep_their_order() -> None:
    rows = [row(name) for name in ("b", "c", "a")]
    assert [line.split()[0] for line in table(rows)[3:]] == ["b", "c", "a"]


def test_metrics_are_columns_in_the_order_asked_for() -> None:
    assert table([row("a")], metrics="mse,sqnr,mre,chebyshev,cosine-similarity")[1].split() == [
        "node",
        "mse",
        "sqnr",
        "mre",
        "chebyshev",
        "cosine-similarity",
    ]


@pytest.mark.parametrize(
    ("length", "shown"), [(49, "x" * 49), (50, "x" * 50), (51, "..." + "x" * 47)]
)
def test_names_over_50_characters_keep_their_last_47(length: int, shown: str) -> None:
    assert table([row("x" * length)])[3].split()[0] == shown


def test_the_end_of_a_long_name_is_what_is_kept() -> None:
    name = "/backbone/" * 9 + "conv/Conv_1"
    assert table([row(name)])[3].split()[0] == "..." + name[-47:]


def test_many_consumers_are_joined_and_shortened_as_a_name_is() -> None:
    consumers = [f"Conv_{k}" for k in range(20)]
    shown = table([row("a", consumers=consumers)], "weight")[3].split()[1]
    assert shown == "..." + ";".join(consumers)[-47:]


def test_general_nodes_among_weights_or_activations_have_no_consumers() -> None:
    assert table([row("Conv_1", consumers=None)], "weight")[3].split() == ["Conv_1", "0.5", "2.0"]


def test_names_with_spaces_stay_whole() -> None:
    assert table([row("my  node [0]")])[3].startswith("my  node [0]  0.5")


def test_a_table_of_one_short_row_is_still_aligned() -> None:
    assert table([row("a", 0.25)], metrics="cosine-similarity") == [
        "====node sensitivity====",
        "node  cosine-similarity",
        "-" * 25,
        "a     0.25",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.777954, "0.77795"),
        (68.02103, "68.02103"),
        (49.4949, "49.4949"),
        (0.00910, "0.0091"),
        (1.0, "1.0"),
        (0.0, "0.0"),
        (-0.5, "-0.5"),
        (100.0, "100.0"),
        (0.999999, "1.0"),
        (0.0000049, "0.0"),
        (1e20, "100000000000000000000.0"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (None, "nan"),
    ],
)
def test_values_have_at_most_5_decimals_and_no_trailing_zeros(
    value: float | None, text: str
) -> None:
    assert format_value(value) == text


@pytest.mark.parametrize(("value", "text"), [(math.inf, "inf"), (math.nan, "nan"), (None, "nan")])
def test_values_that_are_no_numbers_are_shown_in_their_column(
    value: float | None, text: str
) -> None:
    assert table([row("a", value, 1.5)])[3].split() == ["a", text, "1.5"]


def test_a_missing_threshold_is_shown() -> None:
    shown = table([row("a", threshold=None, bits=16)], "activation")[3].split()
    assert shown[:4] == ["a", "Conv_0", "nan", "16"]


def test_curves_are_told_by_where_they_end_also_without_a_value() -> None:
    ends = [("a", "n0", 0.5), ("a", "n1", 0.25), ("b", "n0", 0.5), ("b", "n1", None)]
    rows = [{"curve": curve, "node": node, "value": value} for curve, node, value in ends]
    assert curves_text(rows, COSINE) == (
        "a: cosine-similarity 0.25000 at n1\nb: cosine-similarity nan at n1"
    )


def test_distributions_are_told_in_a_line_each() -> None:
    numbers = {"min": -1.0, "max": 2.0, "mean": 0.5, "std": 0.25}
    rows = [
        {"node": "n", "series": "before", "threshold": 1.5, **numbers},
        {"node": "n", "series": "error", "threshold": None, **numbers},
    ]
    assert distribution_text(rows).splitlines() == [
        "n before: -1 to 2, mean 0.5, std 0.25, threshold 1.5",
        "n error: -1 to 2, mean 0.5, std 0.25",
    ]


def test_channels_are_told_by_the_widest() -> None:
    rows = [
        {"node": node, "channel": k, "min": -width, "max": width}
        for node, widths in {"n": [1.0, 3.0, 2.0], "m": [4.0]}.items()
        for k, width in enumerate(widths)
    ]
    assert channels_text(rows).splitlines() == [
        "n: 3 channels, widest 1 (-3 to 3)",
        "m: 1 channels, widest 0 (-4 to 4)",
    ]


def test_a_description_has_the_first_rows_and_says_how_to_get_all() -> None:
    table = Table(("node", "value"), [[f"n|{k}", "1"] for k in range(17)])
    lines = table_markdown("Nodes", table, "thresholds", "r").splitlines()
    assert lines[:5] == ["**Nodes:**", "", "| node | value |", "| --- | --- |", "| `n_0` | 1 |"]
    assert lines[-3] == "and 2 more"
    assert lines[-1] == "All of it: `hmct-debugger sql -q thresholds -p run_id=r`"
