"""The ranking that is a dict, and more than one."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.analyses.get_sensitivity_of_nodes import Ranking
from hmct_track.report.html import channels, ranking
from hmct_track.types import Metric


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    return dbg.get_sensitivity_of_nodes(
        demo.model_path(),
        ["cosine-similarity", "sqnr"],
        demo.calibration_data_path(),
        lake=tmp_path_factory.mktemp("lake"),
        track=False,
    )


def test_a_ranking_is_a_dict_in_everything(ranked: dict[str, dict[str, float]]) -> None:
    assert isinstance(ranked, Ranking)
    plain = {row["subject"]: {m: row[Metric(m).column] for m in ("cosine-similarity", "sqnr")}
             for row in ranked.rows}  # fmt: skip
    assert ranked == plain
    assert plain == ranked
    assert list(ranked) == list(plain)
    assert repr(ranked) == repr(plain)
    assert json.dumps(ranked) == json.dumps(plain)
    for other in (copy.copy(ranked), copy.deepcopy(ranked), pickle.loads(pickle.dumps(ranked))):  # noqa: S301
        assert type(other) is dict
        assert other == plain


def test_a_ranking_has_its_rows_and_figure(ranked: Ranking) -> None:
    frame = ranked.to_frame()
    assert frame["subject"].tolist() == list(ranked)
    assert {m.column for m in Metric} <= set(frame.columns)
    assert list(ranked.figures) == ["sensitivity_of_node"]
    assert ranked.files == ()


def _row(name: str, value: float | None) -> dict[str, object]:
    return {"subject": name, "consumers": None, **{m.column: value for m in Metric}}


@pytest.mark.parametrize(
    ("metric", "values", "shares"),
    [
        (Metric.COSINE_SIMILARITY, [0.5, 0.75, 1.0, None], [1, 0.5, 0, None]),
        (Metric.MSE, [4.0, 1.0, float("inf"), float("nan")], [1, 0.25, None, None]),
        (Metric.SQNR, [20.0, 40.0, float("inf")], [1, 0.1, 0]),
        (Metric.MRE, [0.0, 0.0], [0, 0]),
    ],
)
def test_bars_are_parts_of_the_worst_error(
    metric: Metric, values: list[float | None], shares: list[float | None]
) -> None:
    rows = [{**_row(f"n{k}", value), "position": k} for k, value in enumerate(values)]
    table = ranking(rows, [metric])
    assert table.shares == pytest.approx(shares)


def test_the_widest_channel_is_named() -> None:
    ranges = [(0, 1), (-8, 2), (0, 1), (float("nan"), float("nan"))]
    rows = [
        {"node": "a", "channel": k, "min": low, "max": high, "outliers": k}
        for k, (low, high) in enumerate(ranges)
    ]
    assert channels(rows).rows[0][:5] == ["a", "4", "1", "-8", "2"]
