"""Figures: drawn whatever the values and names, readable, and without global state."""

from __future__ import annotations

import io
import itertools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from hmct_track.report.accumulation import accumulation_figure
from hmct_track.report.distribution import channel_figure, distribution_figure
from hmct_track.report.partial import partial_figure
from hmct_track.report.ranking import ranking_figure
from hmct_track.report.samples import samples_figure
from hmct_track.report.style import WHITE_GRID, png
from hmct_track.types import Metric
from tests.support.rows import ranked_rows as rows

INF, NAN = math.inf, math.nan
ODD_NAMES = [
    "$",
    "$x_1$",
    "$\\nonsense{$",
    "a_b^c{d}",
    "\\frac{1}{2}",
    "\\",
    "[0](1)",
    "{",
    "}",
    "%&#~",
    "größe",
    "x" * 200,
]


def ramp(count: int) -> list[float]:
    """Values over seven decades, on either side of 1 - value."""
    return [1 - 10.0 ** -(1 + 6 * k / count) for k in range(count)]


def save(figure: Figure, kind: str = "png") -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=figure.dpi)
    return stream.getvalue()


def tick_labels(figure: Figure) -> Iterator[list[Text]]:
    """The tick labels that can be seen, axis by axis."""
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = sorted(limits)
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            yield [t.label1 for t in ticks if t.label1.get_text() and low <= t.get_loc() <= high]


def annotations(figure: Figure, axes: int) -> list[Annotation]:
    return [t for t in figure.axes[axes].texts if isinstance(t, Annotation)]


def assert_readable(figure: Figure) -> None:
    """Of a figure that was saved as PNG: tick labels apart, and all text inside."""
    for labels in tick_labels(figure):
        assert labels
        boxes = [(label.get_window_extent(), label.get_text()) for label in labels]
        for (one, a), (other, b) in itertools.combinations(boxes, 2):
            assert not one.overlaps(other), f"{a} and {b} overlap"
    texts = [label for labels in tick_labels(figure) for label in labels]
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
    frame = figure.bbox.padded(1)
    for text in filter(Text.get_text, texts):
        box = text.get_window_extent()
        inside = (
            frame.x0 <= box.x0 <= box.x1 <= frame.x1 and frame.y0 <= box.y0 <= box.y1 <= frame.y1
        )
        assert inside, f"{text.get_text()} is cut"


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("count", [1, 2, 22, 300, 1000])
def test_a_ranking_of_any_length_is_drawn_and_readable(count: int, metric: Metric) -> None:
    figure = ranking_figure(rows(ramp(count)), metric, f"{count} nodes")
    assert save(figure).startswith(b"\x89PNG")
    assert_readable(figure)
    above, below = figure.axes
    assert len(above.collections[0].get_offsets()) == count
    assert len(below.get_yticks()) == min(count, 30)
    shown = f"the 30 most sensitive of {count} nodes" if count > 30 else "all nodes"
    assert shown in below.get_xlabel()


VALUES: dict[str, list[float | None]] = {
    "no values": [None] * 5,
    "all NaN": [NAN] * 5,
    "all infinite": [INF] * 5,
    "all zero": [0.0] * 5,
    "all one": [1.0] * 5,
    "all equal": [0.25] * 30,
    "all but one missing": [NAN, 0.5, None],
    "every kind": [None, NAN, INF, -INF, -0.5, 0.0, 1.0, 0.5, 1e-12],
    "over and under one": [1 + 1e-15, 1.0, 1 - 1e-15],
    "far apart": [1e-30, 1e-9, 1.0, 1e30],
    "one, missing": [None],
    "one, zero": [0.0],
}


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("kind", VALUES)
def test_values_of_any_kind_are_drawn_and_each_is_written_down(kind: str, metric: Metric) -> None:
    values = VALUES[kind]
    figure = ranking_figure(rows(values), metric, kind)
    save(figure)
    assert_readable(figure)
    written = np.array([float(t.get_text()) for t in annotations(figure, 1)])
    if "1 - cosine-similarity;" in figure.axes[1].get_xlabel():
        written = 1 - written
    wanted = [NAN if v is None else v for v in values]
    np.testing.assert_allclose(written, wanted, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("metric", Metric)
def test_nodes_without_a_value_keep_their_place_on_both_axes(metric: Metric) -> None:
    figure = ranking_figure(rows([None, None, 0.5, 0.25, None, None]), metric, "")
    above, below = figure.axes
    left, right = above.get_xlim()
    assert left < 0 and right > 5
    bottom, top = below.get_ylim()
    assert top < 0 and bottom > 5


def test_the_most_sensitive_is_on_top_and_numbered_where_it_stands_in_the_graph() -> None:
    figure = ranking_figure(rows([0.1, 0.2, 0.3], ["a", "b", "c"]), Metric.COSINE_SIMILARITY, "")
    save(figure)
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert names == ["a  1", "b  2", "c  3"]
    heights = [label.get_window_extent().y0 for label in figure.axes[1].get_yticklabels()]
    assert heights == sorted(heights, reverse=True)
    ranks = {t.get_text(): t.xy for t in annotations(figure, 0)}
    assert ranks == {"1": (2, 0.9), "2": (1, 0.8), "3": (0, 0.7)}


@pytest.mark.parametrize(
    ("metric", "label", "scale"),
    [
        (Metric.COSINE_SIMILARITY, "1 - cosine similarity", "log"),
        (Metric.MSE, "mse", "log"),
        (Metric.MRE, "mre", "log"),
        (Metric.SQNR, "sqnr (dB)", "linear"),
        (Metric.CHEBYSHEV, "chebyshev", "log"),
    ],
)
def test_axes_say_what_they_show(metric: Metric, label: str, scale: str) -> None:
    above, below = ranking_figure(rows([0.5, 0.25]), metric, "").axes
    assert (above.get_ylabel(), above.get_yscale(), below.get_xscale()) == (label, scale, scale)
    assert below.get_xlabel().startswith(label)
    assert f"beside each point: {metric.value};" in below.get_xlabel()


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_names_and_titles_are_drawn_as_they_are(kind: str) -> None:
    title = "Sensitivity of $\\nonsense_{$ [0]"
    figure = ranking_figure(rows(ramp(len(ODD_NAMES)), ODD_NAMES), Metric.MSE, title)
    assert save(figure, kind)
    if kind == "png":
        assert_readable(figure)
    shown = [label.get_text().rsplit("  ", 1)[0] for label in figure.axes[1].get_yticklabels()]
    assert shown[:-1] == ODD_NAMES[:-1]
    assert shown[-1] == "x" * 13 + "…" + "x" * 28
    assert figure.get_suptitle() == title


def test_svg_is_saved_with_text_that_can_be_found() -> None:
    figure = ranking_figure(rows([0.5], ["$Conv_1$"]), Metric.MSE, "title")
    with mpl.rc_context({"svg.fonttype": "none"}):
        text = save(figure, "svg").decode()
    assert "$Conv_1$  1" in text
    assert "<svg" in text


def _refused(*_: object, **__: object) -> None:
    raise AssertionError("pyplot was used")


@pytest.mark.parametrize("name", ["figure", "subplots", "gcf", "gca", "show", "sca"])
def test_pyplot_is_not_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, name, _refused)  # seaborn imports it; nothing may call it
    figure = ranking_figure(rows([0.5, 0.25]), Metric.SQNR, "")
    monkeypatch.undo()
    assert figure.axes
    assert plt.get_fignums() == []


@pytest.fixture
def own_style() -> Iterator[dict[str, Any]]:
    """A style that seaborn would change."""
    with mpl.rc_context({"axes.facecolor": "red", "grid.color": "red"}):
        yield dict(mpl.rcParams)


def test_the_look_is_seaborns_white_grid() -> None:
    import seaborn as sns

    wanted = {k: v for k, v in sns.axes_style("whitegrid").items() if k != "image.cmap"}
    assert wanted == WHITE_GRID


def test_the_style_of_the_process_is_neither_used_nor_changed(own_style: dict[str, Any]) -> None:
    figure = ranking_figure(rows([0.5]), Metric.MSE, "")
    save(figure)
    assert figure.axes[0].get_facecolor() == (1, 1, 1, 1)
    assert dict(mpl.rcParams) == own_style


def _in_threads(work: Callable[[int], None], count: int) -> list[BaseException]:
    errors: list[BaseException] = []

    def guarded(k: int) -> None:
        try:
            work(k)
        except BaseException as error:  # noqa: BLE001 - a thread's error would be lost
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_several_threads_draw_at_once_what_one_draws(own_style: dict[str, Any]) -> None:
    metrics = [Metric.COSINE_SIMILARITY, Metric.MSE, Metric.SQNR]
    expected = {m: png(ranking_figure(rows(ramp(8)), m, m.value)) for m in metrics}
    drawn: list[tuple[Metric, bytes]] = []

    def work(k: int) -> None:
        turned = metrics[k % 3 :] + metrics[: k % 3]
        drawn.extend((m, png(ranking_figure(rows(ramp(8)), m, m.value))) for m in turned)

    assert _in_threads(work, 4) == []
    assert len(drawn) == 12
    assert [metric for metric, image in drawn if image != expected[metric]] == []
    assert dict(mpl.rcParams) == own_style


CURVE = {"role": "curve", "curve": "only_weight_calibrated"}
LONG = "/model/backbone/stage3/block.7/depthwise/conv/Conv_"


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_error_curves_of_any_length_are_readable(count: int) -> None:
    points = [
        {"step": k, "node": f"{LONG}{k}", "value": 1 - 0.5 * (k * 37 % count) / count}
        for k in range(count)
    ]
    drawn = [{**CURVE, **p} for p in points]
    drawn += [{"role": "reference", "curve": "calibrated_model", **p} for p in points]
    figure = accumulation_figure(drawn, Metric.SQNR, "title", average_mode=False)
    save(figure)
    assert_readable(figure)
    assert [t.get_text() for t in annotations(figure, 0)] == ["1"]
    worst = min(points, key=lambda p: p["value"])["node"]
    entry, reference = (text.get_text() for text in figure.legends[0].get_texts())
    assert entry.startswith("1  only_weight_calibrated: weights quantized")
    assert entry.endswith(worst[-12:])
    assert reference == "calibrated_model: all nodes quantized"


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_partial_quantization_of_any_length_is_readable(count: int) -> None:
    drawn = [
        {"step": k, "node": f"{LONG}{k}" if k else "none", "partial": 0.9, "single": 0.99}
        for k in range(count + 1)
    ]
    figure = partial_figure(drawn, Metric.COSINE_SIMILARITY, "title")
    save(figure)
    assert_readable(figure)


def box(channel: int) -> dict[str, Any]:
    spread = 1 + channel % 7
    ends = {"min": -2.0 * spread, "whisker_low": -spread, "q25": -spread / 2, "median": 0.0}
    ends |= {"q75": spread / 2, "whisker_high": spread, "max": 2.5 * spread, "mean": 0.1}
    beyond = [ends["min"], ends["max"]]
    return {
        **ends,
        "node": LONG,
        "axis": 1,
        "channel": channel,
        "outliers": 2,
        "outlier_sample": beyond,
    }


@pytest.mark.parametrize("count", [1, 3, 96, 2048])
def test_boxes_of_any_number_of_channels_are_few_artists_and_readable(count: int) -> None:
    boxes = [box(k) for k in range(count)]
    figure = channel_figure(boxes, "weight")
    save(figure)
    assert_readable(figure)
    assert len(figure.axes) == -(-count // 128)
    assert all(len(axes.lines) == 0 and len(axes.collections) <= 8 for axes in figure.axes)
    drawn = sum(len(axes.collections[0].get_paths()) for axes in figure.axes)
    assert drawn == count
    first = max(boxes[:128], key=lambda row: (row["max"], row["channel"]))
    assert annotations(figure, 0)[0].get_text() == f"channel {first['channel']}: {first['max']:.4g}"


def test_a_channel_without_values_has_no_box() -> None:
    empty = {name: NAN for name in box(0) if isinstance(box(0)[name], float)}
    figure = channel_figure([box(0), {**box(1), **empty, "outlier_sample": []}], "weight")
    save(figure)
    assert_readable(figure)
    assert len(figure.axes[0].collections[0].get_paths()) == 1


@pytest.mark.parametrize("series", [["input"], ["before", "after"], ["before", "after", "error"]])
def test_histograms_leave_room_for_their_legend(series: list[str]) -> None:
    drawn = [
        {"node": LONG, "kind": "weight", "series": name, "threshold": 3.0, "min": -4.0, "max": 4.0,
         "mean": 0.0, "std": 1.0, "abs_max": 4.0}
        for name in series
    ]  # fmt: skip
    bins = [
        {"series": name, "low": low / 10, "high": (low + 1) / 10, "count": 1000}
        for name in series
        for low in range(-40, 40)
    ]
    figure = distribution_figure(drawn, bins)
    save(figure)
    assert_readable(figure)
    for axes in figure.axes:
        assert axes.collections
        legend = axes.get_legend().get_window_extent()
        assert legend.y1 < axes.bbox.y0, "the legend covers a threshold line"
        assert legend.y0 > 0


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("count", [1, 100, 1000])
def test_samples_of_any_number_are_readable_and_the_worst_named(count: int, metric: Metric) -> None:
    drawn = [
        {
            "rank": k + 1,
            "sample": count - 1 - k,
            "source": f"/{LONG}/{count - 1 - k}.npy",
            "value": v,
        }
        for k, v in enumerate(ramp(count))
    ]
    figure = samples_figure(drawn, metric, "title")
    save(figure)
    assert_readable(figure)
    above, below = figure.axes
    assert len(above.collections[0].get_offsets()) == count
    names = [label.get_text() for label in below.get_yticklabels()]
    assert names == [f"{count - 1 - k}.npy  {k + 1}" for k in range(min(count, 30))]
    assert [t.get_text() for t in annotations(figure, 0)] == list("12345")[:count]
    assert ("the 30 worst of" if count > 30 else "all samples") in below.get_xlabel()
    assert all(float(place).is_integer() for place in above.get_xticks())


def test_samples_without_a_value_or_a_file_are_drawn() -> None:
    drawn = [
        {"rank": k + 1, "sample": k, "source": "", "value": v} for k, v in enumerate([None, 1])
    ]
    figure = samples_figure(drawn, Metric.SQNR, "title")
    save(figure)
    assert_readable(figure)
    assert figure.axes[1].get_yticklabels()[0].get_text() == "sample 0  1"
