"""Distributions: statistics against NumPy on tensors of rebuilt models, and what is refused."""

from __future__ import annotations

import io
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import hmct_track.debug as dbg
from benchmarks import rebuild
from hmct_track import demo
from hmct_track.engine import Spill, channel_summaries, histogram, summaries, summarize
from hmct_track.engine.summaries import MOST_OUTLIERS
from hmct_track.errors import EngineError, HmctTrackError, UnknownNodeError, UsageError
from hmct_track.lake import Lake
from hmct_track.model import load_model
from tests.support import graphs
from tests.support.real import real_model


def tensors(name: str, names: list[str], *, quantized: bool) -> list[np.ndarray]:
    """Values of tensors over two samples, one behind the other."""
    real = real_model(name)
    every = [n.name for n in load_model(real.calibrated).calibration_nodes] if quantized else []
    found = rebuild.run(rebuild.build(real.calibrated, every, names), real.samples[:2], names)
    return [np.concatenate([values[k] for values in found]) for k in range(len(names))]


@pytest.mark.parametrize("name", ["demo", "docorient", "ocr-cls"])
def test_series_of_every_kind_of_node_equal_numpy(name: str, tmp_path: Path) -> None:
    real = real_model(name)
    model = load_model(real.calibrated)
    node = next(n for n in model.quantizable_nodes[2:] if n.op_type == "Conv")
    activation, weight = (model.calibration_by_name[c] for c in node.calibration_nodes)
    result = dbg.plot_distribution(
        model_or_file=real.calibrated,
        calibrated_data={key: [s[key] for s in real.samples[:2]] for key in real.samples[0]},
        nodes_list=[activation.name, weight.name, node.name],
        data_num=2,
        lake=tmp_path,
        track=False,
    )
    names = [activation.output, node.outputs[0]]
    (taken, before), (_, after) = (tensors(name, names, quantized=q) for q in (False, True))
    expected = {
        (activation.name, "input"): taken,
        (node.name, "before"): before,
        (node.name, "after"): after,
        (node.name, "error"): after - before,
    }
    rows = {(row["node"], row["series"]): row for row in result.rows}
    assert set(rows) == {*expected, (weight.name, "before"), (weight.name, "after")}
    for key, values in expected.items():
        row, scale = rows[key], float(np.abs(values).max())
        wanted = np.quantile(values.astype(np.float64), [0.01, 0.25, 0.5, 0.75, 0.99])
        got = [row[q] for q in ("q01", "q25", "median", "q75", "q99")]
        np.testing.assert_allclose(got, wanted, atol=2e-3 * scale)
        assert row["count"] == values.size
        assert row["abs_max"] == pytest.approx(scale, rel=0.01)
        assert row["mean"] == pytest.approx(float(values.mean()), abs=1e-3 * scale)
        assert row["std"] == pytest.approx(float(values.std()), rel=0.01)
    assert rows[(activation.name, "input")]["threshold"] == activation.params.max_threshold
    changed = rows[(weight.name, "after")]["mean"] - rows[(weight.name, "before")]["mean"]
    assert changed != 0
    counted = Lake.open(tmp_path).sql(
        "SELECT node, series, sum(count) FROM histograms GROUP BY ALL"
    )
    assert {(n, s): int(c) for n, s, c in counted.rows} == {k: r["count"] for k, r in rows.items()}


@pytest.mark.parametrize("name", ["demo", "ocr-cls"])
def test_boxes_of_channels_equal_numpy(name: str, tmp_path: Path) -> None:
    real = real_model(name)
    model = load_model(real.calibrated)
    node = next(n for n in model.quantizable_nodes[2:] if n.op_type == "Conv")
    activation, weight = (model.calibration_by_name[c] for c in node.calibration_nodes)
    result = dbg.get_channelwise_data_distribution(
        model_or_file=real.calibrated,
        calibrated_data={key: [s[key] for s in real.samples[:2]] for key in real.samples[0]},
        nodes_list=[activation.name, weight.name],
        data_num=2,
        lake=tmp_path,
        track=False,
    )
    (values,) = tensors(name, [activation.output], quantized=False)
    rows = [row for row in result.rows if row["node"] == activation.name]
    assert len(rows) == values.shape[1]
    for row in rows:
        channel = values[:, row["channel"]].astype(np.float64).ravel()
        got = [row[q] for q in ("min", "q25", "median", "q75", "max", "mean")]
        wanted = [*np.quantile(channel, [0, 0.25, 0.5, 0.75, 1]), channel.mean()]
        np.testing.assert_allclose(got, wanted, atol=1e-4 * max(np.abs(channel).max(), 1))
    rows = [row for row in result.rows if row["node"] == weight.name]
    assert {row["axis"] for row in rows} == {weight.params.axis}


FINITE = st.floats(-1e3, 1e3, width=32)


@given(arrays(np.float32, st.integers(1, 60), elements=FINITE))
def test_a_box_has_its_documented_parts(values: np.ndarray) -> None:
    (box,) = channel_summaries([values[None]], 0)
    wide = values.astype(np.float64)
    q25, q75 = np.quantile(wide, [0.25, 0.75])
    low, high = q25 - 1.5 * (q75 - q25), q75 + 1.5 * (q75 - q25)
    inside = wide[(wide >= low) & (wide <= high)]
    assert (box.whisker_low, box.whisker_high) == (inside.min(), inside.max())
    assert box.outliers == wide.size - inside.size
    outside = sorted(set(wide.tolist()) - set(inside.tolist()))
    assert sorted(set(box.outlier_sample)) == outside


PARTS = st.sampled_from([np.float16, np.float32, np.float64]).flatmap(
    lambda dtype: st.lists(
        arrays(
            dtype,
            st.tuples(st.integers(0, 3), st.just(3), st.integers(0, 4)),
            elements=st.floats(width=8 * np.dtype(dtype).itemsize),
        ),
        min_size=1,
        max_size=4,
    )
)


@given(PARTS)
def test_statistics_over_samples_are_those_of_all_values_at_once(parts: list[np.ndarray]) -> None:
    spill = Spill()
    for part in parts:
        spill.append(part)
    for kept, part in zip(spill, parts, strict=True):
        np.testing.assert_array_equal(kept, part)
    whole = np.concatenate([part.ravel() for part in parts]).astype(np.float64)
    finite = whole[np.isfinite(whole)]
    with np.errstate(over="ignore", invalid="ignore"):
        summary = summarize(spill)
        assert (summary.count, summary.nan) == (whole.size, np.isnan(whole).sum())
        if not finite.size:
            return
        assert (summary.min, summary.max) == (finite.min(), finite.max())
        wanted = np.quantile(finite, [0.01, 0.25, 0.5, 0.75, 0.99], method="lower")
        nearest = np.sort(finite)[np.searchsorted(np.sort(finite), wanted)]
        np.testing.assert_array_equal(wanted, nearest)
        if np.abs(finite).max() < 1e100:
            quantiles = np.quantile(finite, [0.01, 0.25, 0.5, 0.75, 0.99])
            got = [summary.q01, summary.q25, summary.median, summary.q75, summary.q99]
            np.testing.assert_allclose(got, quantiles, atol=1e-12 * np.abs(finite).max())
            smallest = 1e-12 * np.abs(finite).max()  # equal values have rounding for a deviation
            np.testing.assert_allclose(summary.std, finite.std(), rtol=1e-6, atol=smallest)


def test_channels_over_samples_are_those_of_all_values_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    parts = [random.normal(size=(n, 7, 5)).astype(np.float32) for n in (1, 3, 2)]
    parts[0][0, 2] = np.nan
    parts[1][:, 4] = np.inf
    parts[0][:, 4], parts[2][:, 4] = np.nan, -np.inf
    whole = channel_summaries([np.concatenate(parts)], 1)
    monkeypatch.setattr(summaries, "BLOCK_VALUES", 60)  # two channels at a time
    boxes = channel_summaries(parts, -2)
    assert [box.count for box in boxes] == [30, 30, 25, 30, 0, 30, 30]
    for box, other in zip(boxes, whole, strict=True):
        for a, b in zip(astuple(box), astuple(other), strict=True):
            np.testing.assert_allclose(a, b)
    values = np.concatenate([part[:, 2] for part in parts])
    assert boxes[2].median == np.nanmedian(values.astype(np.float64))
    with pytest.raises(UsageError, match="samples have 1 to 3 channels along axis 0"):
        channel_summaries(parts, 0)


def test_no_room_for_values_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    spill = Spill()
    with pytest.raises(EngineError, match=r"No space left.*set TMPDIR"):
        spill.append(np.ones(3))


def test_of_many_outliers_some_are_kept_the_extremes_among_them() -> None:
    values = np.concatenate([np.zeros(10_000), np.arange(1, 1001), [-5]])
    (box,) = channel_summaries([values[None]], 0)
    assert box.outliers == 1001
    assert len(box.outlier_sample) == MOST_OUTLIERS
    assert (min(box.outlier_sample), max(box.outlier_sample)) == (-5, 1000)


def test_nan_and_inf_are_counted_and_left_out() -> None:
    values = np.array([1, np.nan, -np.inf, 0, 3], np.float32)
    summary = summarize([values])
    assert (summary.count, summary.nan, summary.inf, summary.zeros) == (5, 1, 1, 1)
    assert (summary.min, summary.max, summary.mean) == (0, 3, pytest.approx(4 / 3))
    edges, counts = histogram([values[:3], values[3:]], 3)
    assert (edges.tolist(), counts.tolist()) == ([0, 1, 2, 3], [1, 1, 1])
    assert np.isnan(summarize([np.array([np.nan])]).mean)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (dbg.plot_distribution, {"nodes_list": []}, UsageError, "nodes_list is empty"),
        (dbg.plot_distribution, {"nodes_list": "Conv_1"}, UnknownNodeError, "closest names: Conv"),
        (
            dbg.get_channelwise_data_distribution,
            {"nodes_list": ["Conv_2"]},
            UsageError,
            "'Conv_2' .* is not a calibration node; those of this one are 30",
        ),
        (
            dbg.get_channelwise_data_distribution,
            {"nodes_list": ["301_HzCalibration"], "axis": 4},
            UsageError,
            "axis 4 is beyond the data of '301_HzCalibration', which have 4 dimensions",
        ),
    ],
)
def test_what_is_refused_writes_nothing(
    function: Any, arguments: dict[str, Any], error: type[HmctTrackError], message: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    with pytest.raises(error, match=message):
        function(
            model_or_file=demo.model_path(),
            calibrated_data=demo.calibration_data_path(),
            lake=tmp_path / "lake",
            **arguments,
        )
    assert not (tmp_path / "lake").exists()


def test_a_node_without_a_float_output_is_told(tmp_path: Path) -> None:
    import onnx

    model = graphs.model(
        [
            graphs.calibration("x", "xq", "1_HzCalibration"),
            onnx.helper.make_node("ArgMax", ["xq"], ["i"], name="ArgMax_0"),
            onnx.helper.make_node("Relu", ["xq"], ["y"], name="Relu_1"),
        ]
    )
    with pytest.raises(UsageError, match=r"'ArgMax_0' \(ArgMax\) has no float output"):
        dbg.plot_distribution(
            model_or_file=model,
            calibrated_data={"x": [np.ones((1, 4), np.float32)]},
            nodes_list=["ArgMax_0"],
            lake=tmp_path / "lake",
        )


def test_files_are_named_after_their_nodes(tmp_path: Path) -> None:
    result = dbg.plot_distribution(
        save_dir=tmp_path / "out",
        model_or_file=demo.model_path(),
        calibrated_data=demo.calibration_data_path(),
        nodes_list=["Conv_2", "301_HzCalibration"],
        lake=tmp_path / "lake",
    )
    assert [f.name for f in result.files] == [
        "00_Conv_2.png",
        "00_Conv_2.svg",
        "01_301_HzCalibration.png",
        "01_301_HzCalibration.svg",
    ]
