"""What figures say: whose curve, whose weight, how sure, and what lies beyond the axis."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from hmct_track.report.accumulation import accumulation_figure
from hmct_track.report.distribution import channel_figure, distribution_figure, threshold_pairs
from hmct_track.report.dumbbell import comparison_figure
from hmct_track.report.partial import cancelling_steps, partial_figure
from hmct_track.report.ranking import ranking_figure
from hmct_track.report.style import png
from hmct_track.types import Metric

COSINE = Metric.COSINE_SIMILARITY
INF, NAN = math.inf, math.nan
ODD = ["$x_1$", "<b>bold</b>", "a_b^{c", "/" + "/".join(f"block.{k}" for k in range(30)), "größe"]


def legend(figure: Figure) -> str:
    found = [*figure.legends, *(a.get_legend() for a in figure.axes if a.get_legend())]
    return "\n".join(text.get_text() for one in found for text in one.get_texts())


def words(figure: Figure) -> str:
    return "\n".join([figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)])


def ranked(values: list[float | None]) -> list[dict[str, Any]]:
    return [
        {"subject": f"n{k}", "position": k, **{m.column: v for m in Metric}}
        for k, v in enumerate(values)
    ]


def segments(axes: Axes) -> list[np.ndarray]:
    lines = [c for c in axes.collections if isinstance(c, LineCollection)]
    return [segment for c in lines for segment in c.get_segments()]


def test_intervals_of_a_ranking_are_drawn_from_low_to_high() -> None:
    intervals = [(0.85, 0.93), None, (0.98, 1.0)]
    rows = ranked([0.9, 0.95, 0.99])
    figure = ranking_figure(rows, COSINE, "", intervals=intervals, interval_name="95 % interval")
    assert "95 % interval" in legend(figure)
    above, _ = figure.axes
    spans = {segment[0, 0]: sorted(segment[:, 1]) for segment in segments(above) if len(segment)}
    np.testing.assert_allclose(spans[0], [0.07, 0.15])
    low, high = spans[2]
    assert low < 0.0199 < high == pytest.approx(0.02)  # the end without an error has a place
    assert "interval" not in legend(ranking_figure(rows, COSINE, ""))


def test_the_whole_model_is_a_line_across_both_axes_and_told() -> None:
    figure = ranking_figure(ranked([0.999, 0.9999]), COSINE, "", whole=0.9726)
    assert "fully quantized model: cosine-similarity 0.97260" in legend(figure)
    above, below = figure.axes
    assert above.lines[-1].get_ydata()[0] == pytest.approx(1 - 0.9726)
    assert below.lines[-1].get_xdata()[0] == pytest.approx(1 - 0.9726)


def test_nodes_without_an_error_are_drawn_hollow_and_are_not_the_most_sensitive() -> None:
    figure = ranking_figure(ranked([0.5, 0.6, 1.0, 1.0, 1.0, 1.0]), COSINE, "")
    assert "the 2 most sensitive" in legend(figure)
    assert "equal to float: no error (4)" in legend(figure)
    assert [t.get_text() for t in figure.axes[0].texts] == ["1", "2"]


def curve(name: str, values: list[float | None], role: str = "curve") -> list[dict[str, Any]]:
    return [
        {"curve": name, "role": role, "step": k, "node": f"node_{k}", "value": v}
        for k, v in enumerate(values)
    ]


def test_curves_say_which_nodes_they_are_about() -> None:
    rows = [*curve("partial_qmodel_0", [0.5, 0.1]), *curve("Conv_9", [0.2, 0.3])]
    nodes = {"partial_qmodel_0": ["Conv_2", "Conv_90", "Conv_3"], "Conv_9": ["Conv_9"]}
    figure = accumulation_figure(
        rows, Metric.MSE, "", average_mode=False, curve_nodes=nodes, quantized=False
    )
    one, other = legend(figure).split("\n2  ")
    assert one.startswith("1  partial_qmodel_0: Conv_2, Conv_90 and 1 more not quantized")
    assert one.endswith("worst mse 0.5 at node_0")
    assert other.startswith("Conv_9: Conv_9 not quantized")
    assert other.endswith("worst mse 0.3 at node_1")


def test_numbers_of_worst_nodes_do_not_cover_each_other() -> None:
    rows = [r for k in range(10) for r in curve(f"c{k}", [0.1, 0.2, 1 + k * 1e-4, 0.3])]
    figure = accumulation_figure(rows, Metric.MSE, "", average_mode=False)
    png(figure)
    discs = [t for t in figure.axes[0].texts if isinstance(t, Annotation)]
    assert [t.get_text() for t in discs] == [str(k) for k in range(1, 11)]
    boxes = [t.get_bbox_patch().get_window_extent() for t in discs]  # type: ignore[union-attr]
    apart = [
        math.dist((a.x0 + a.x1, a.y0 + a.y1), (b.x0 + b.x1, b.y0 + b.y1)) / 2
        for a, b in itertools.combinations(boxes, 2)
    ]
    assert min(apart) > 0.9 * boxes[0].width


def test_an_error_of_1e_2_and_one_of_1e_4_are_apart_and_none_has_a_place() -> None:
    rows = curve("c", [1.0, 1 - 1e-4, 1 - 1e-2])
    axes = accumulation_figure(rows, COSINE, "", average_mode=False).axes[0]
    assert axes.get_yscale() == "log"
    heights = axes.transAxes.inverted().transform(
        axes.transData.transform(np.column_stack(axes.lines[0].get_data()))
    )[:, 1]
    assert (np.diff(heights) > 0.1).all()


@pytest.mark.parametrize("values", [[1.0, 1.0], [None, NAN], [INF, -INF], [0.5]])
def test_curves_of_any_values_and_names_are_drawn(values: list[float | None]) -> None:
    for metric in Metric:
        rows = [r for name in ODD for r in curve(name, values)]
        rows += curve("calibrated_model", values, "reference")
        named = dict.fromkeys(ODD, ODD)
        png(accumulation_figure(rows, metric, ODD[0], average_mode=True, curve_nodes=named))


def steps(partial: list[float | None]) -> list[dict[str, Any]]:
    return [
        {"step": k, "node": f"n{k}" if k else "none", "single": 0.9995 if k else None, "partial": v}
        for k, v in enumerate(partial)
    ]


def test_a_step_that_makes_it_worse_is_ringed_and_told() -> None:
    rows = steps([0.90, 0.95, 0.93, 0.97, 0.96])
    assert cancelling_steps(rows, COSINE) == [2, 4]
    assert cancelling_steps(rows, COSINE, tolerance=0.015) == [2]
    assert cancelling_steps(rows, Metric.MSE) == [1, 3]
    figure = partial_figure(rows, COSINE, "title")
    assert "made it worse 2 times: errors had cancelled" in words(figure)
    rings = [
        c for c in figure.axes[0].collections
        if isinstance(c, PathCollection) and c.get_label().startswith("worse than")
    ]  # fmt: skip
    np.testing.assert_allclose(rings[0].get_offsets(), [[2, 0.07], [4, 0.04]])
    assert "cancelled" not in words(partial_figure(steps([0.9, 0.9, 0.95]), COSINE, ""))


def test_missing_values_cancel_nothing() -> None:
    assert cancelling_steps(steps([0.9, None, NAN, 0.95]), COSINE) == []
    assert cancelling_steps(steps([INF, 40.0, 60.0]), Metric.SQNR) == []


def test_no_node_beyond_the_threshold_is_said_in_words() -> None:
    alone = partial_figure(steps([0.9726]), COSINE, "title", threshold=0.999)
    assert "no node alone is worse than 0.999" in words(alone)
    assert "fully quantized model: cosine-similarity 0.97260" in words(alone)
    assert "only this node quantized" not in legend(alone)
    few = partial_figure(steps([0.97, 0.98, 0.99]), COSINE, "", threshold=0.999, worst_instead=True)
    assert "no node alone is worse than 0.999; these are the 2 worst" in words(few)


def test_the_baseline_is_the_documented_one_on_top() -> None:
    axes = partial_figure(steps([0.9, 0.99]), COSINE, "").axes[0]
    baseline = next(line for line in axes.lines if line.get_label() == "float model")
    assert (baseline.get_color(), baseline.get_linestyle()) == ("blue", "--")
    ticks = {
        t.get_text(): p for t, p in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
    }
    assert ticks["1"] == baseline.get_ydata()[0]
    low, high = axes.transData.transform([(0, ticks["0.9"]), (0, ticks["1"])])[:, 1]
    assert high > low


def boxes(count: int, far: float = 0.0) -> list[dict[str, Any]]:
    found = []
    for k in range(count):
        top = far if far and k == 7 else 1.2
        found.append(
            {"node": "304_HzCalibration", "axis": 0, "channel": k, "min": -1.2, "max": top,
             "mean": 0.0, "q25": -0.5, "median": 0.0, "q75": 0.5, "whisker_low": -1.0,
             "whisker_high": 1.0, "outliers": 2, "outlier_sample": [-1.2, top]}
        )  # fmt: skip
    return found


def test_one_outlier_does_not_flatten_the_boxes_and_is_told() -> None:
    figure = channel_figure(boxes(480, 500.0), "weight", consumers=["/layer1/conv/Conv"])
    assert figure.get_suptitle().startswith("304_HzCalibration: weight of /layer1/conv/Conv")
    low, high = figure.axes[0].get_ylim()
    assert high - low < 8
    told = "1 value in 1 of 480 channels, up to 500 (channel 7)"
    assert f"beyond the axis: {told}" in words(figure)
    assert "channel 7: 500" in {t.get_text() for t in figure.axes[0].texts}
    assert "beyond" not in words(channel_figure(boxes(480), "weight"))


def test_box_plots_show_thresholds_of_all_channels_and_of_each() -> None:
    shared = channel_figure(boxes(20), "activation", thresholds=[(-2.0, 3.0)])
    ends = {round(float(s[0, 1]), 6) for s in segments(shared.axes[0])}
    assert {-2.0, 3.0} <= ends
    assert "threshold 3" in legend(shared)
    pairs = threshold_pairs([1 + k / 100 for k in range(20)], 20)
    each = channel_figure(boxes(20), "weight", thresholds=pairs)
    ends = {round(float(s[0, 1]), 6) for s in segments(each.axes[0])}
    assert {-1.19, 1.19, 1.0} <= ends
    assert "threshold of the channel" in legend(each)
    far = channel_figure(boxes(20), "activation", thresholds=[(-900.0, 900.0)])
    assert "the threshold 900 is beyond the axis" in words(far)
    assert "threshold" not in legend(channel_figure(boxes(20), "weight", thresholds=[(0, 1)] * 3))


def test_thresholds_are_maxima_or_both_ends() -> None:
    assert threshold_pairs([2.0, 3.0], 2) == [(-2, 2), (-3, 3)]
    assert threshold_pairs([-1.0, 3.0], 1) == [(-1, 3)]
    assert threshold_pairs([], 1) == []


def test_histograms_say_whose_weight_it_is() -> None:
    row = {"node": "304_HzCalibration", "kind": "activation", "series": "input", "threshold": 1.0,
           "min": 0.0, "max": 1.0, "mean": 0.0, "std": 1.0, "abs_max": 1.0}  # fmt: skip
    bins = [{"series": "input", "low": 0.0, "high": 1.0, "count": 3}]
    figure = distribution_figure([row], bins, consumers=["Conv_1", "Add_7"])
    assert figure.get_suptitle() == "304_HzCalibration: input of Conv_1, Add_7"


def change(name: str, a: float | None, b: float | None) -> dict[str, Any]:
    drop = INF if b is None else (a or 0) - b
    status = "worse" if drop > 0 else "better" if drop < 0 else "same"
    return {"node": name, "value_a": a, "value_b": b, "drop": drop, "status": status}


def test_a_comparison_has_the_worse_on_top_and_hides_no_large_change() -> None:
    tiny = [change(f"tiny_{k}", 0.9, 0.9 - 1e-6) for k in range(60)]
    rows = [*tiny, change("better", 0.9, 0.99), change("worse", 0.9, 0.8), change("same", 1, 1)]
    figure = comparison_figure(rows, COSINE, "a", "b", whole=(0.97, 0.96))
    names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert names[:2] == ["fully quantized model", "worse"]
    assert names[-1] == "better"
    assert len(names) == 41
    assert "not shown: 23 nodes" in figure.axes[0].get_xlabel()
    assert figure.axes[0].get_xscale() == "log"
    assert "same" not in legend(figure)


@pytest.mark.parametrize("metric", Metric)
def test_comparisons_of_any_values_and_names_are_drawn(metric: Metric) -> None:
    values = [(0.5, None), (None, 0.5), (INF, 1.0), (0.0, 1.0), (1.0, 1.0)]
    rows = [change(name, *pair) for name, pair in zip(ODD, values, strict=True)]
    png(comparison_figure(rows, metric, ODD[0], ODD[1]))
    nothing = comparison_figure([], metric, "a", "b")
    assert [t.get_text() for t in nothing.axes[0].texts] == ["no node in common"]
