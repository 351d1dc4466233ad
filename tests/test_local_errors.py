"""Local errors: the query on rows by hand, and a real network against onnxruntime's own tool."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization import qdq_loss_debug as peer

from hmct_track import demo
from hmct_track.cli import main
from hmct_track.engine import Engine, pair_statistics
from hmct_track.engine.local import local_errors
from hmct_track.errors import QueryError
from hmct_track.lake import CALIBRATION_NODES, LOCAL_ERRORS, RUNS, Lake
from hmct_track.model import load_model
from hmct_track.types import CalibrationKind, Metric, PairStatistics
from tests.support import real
from tests.support.rows import run_row

PEER_DB = 4e-4
"""How far our decibels are from those of qdq_loss_debug at most, where both measure the same."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake.create(tmp_path)
    made.append(RUNS, [run_row("r", kind="local-errors")])
    return made


def add(
    lake: Lake, node: str, position: int, own: PairStatistics, accumulated: PairStatistics,
    sample_id: str | None = "s",
) -> None:  # fmt: skip
    for error, pair in (("own", own), ("accumulated", accumulated)):
        row = {"run_id": "r", "position": position, "node": node, "error": error}
        lake.append(LOCAL_ERRORS, [{**row, "sample_id": sample_id, **asdict(pair)}])


def calibration_row(node: str, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {column.name: None for column in CALIBRATION_NODES.columns}
    return row | {"model_id": "m", "node": node, "node_index": 0} | changes


def x_and(error: float) -> tuple[np.ndarray, np.ndarray]:
    x = np.array([3.0, -4.0, 12.0])
    return x, x + np.array([error, -error, 0])


@pytest.mark.parametrize("metric", list(Metric))
def test_samples_are_summed_and_the_worst_comes_first_by_every_metric(
    lake: Lake, metric: Metric
) -> None:
    """GIVEN two samples of an activation, and a weight
    THEN values are those of both samples as one tensor, by NumPy, and the larger error is first.
    """
    parts = [x_and(0.5), x_and(2.0)]
    for k, (x, y) in enumerate(parts):
        add(lake, "act", 1, pair_statistics(x, y), pair_statistics(x, y + 1), f"s{k}")
    x, y = x_and(0.25)
    add(lake, "weight", 0, pair_statistics(x, y), pair_statistics(x, y), None)
    lake.append(CALIBRATION_NODES, [calibration_row("act", kind="activation", consumers=["A", "B"],
                                                    qtype="int8")])  # fmt: skip
    first, second = lake.query("local_errors", run_id="r", metric=metric)
    assert (first["node"], first["kind"], first["consumers"]) == ("act", "activation", ["A", "B"])
    assert (first["rank"], first["samples"], first["elements"], first["qtype"]) == (1, 2, 6, "int8")
    assert (second["node"], second["samples"], second["kind"]) == ("weight", 0, None)
    x, y = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    assert first["own"] == pytest.approx(by_hand(metric, x, y))
    assert first["accumulated"] == pytest.approx(by_hand(metric, x, y + 1))
    assert second["own"] == second["accumulated"] == pytest.approx(by_hand(metric, *x_and(0.25)))
    assert first["own_sqnr"] == pytest.approx(by_hand(Metric.SQNR, x, y))
    assert first["accumulated_sqnr"] == pytest.approx(by_hand(Metric.SQNR, x, y + 1))


def by_hand(metric: Metric, x: np.ndarray, y: np.ndarray) -> float:
    norm = np.linalg.norm
    return {
        Metric.COSINE_SIMILARITY: lambda: x @ y / norm(x) / norm(y),
        Metric.MSE: lambda: np.mean((x - y) ** 2),
        Metric.MRE: lambda: np.abs(x - y).sum() / np.abs(x).sum(),
        Metric.SQNR: lambda: 20 * math.log10(norm(x) / norm(x - y)),
        Metric.CHEBYSHEV: lambda: np.abs(x - y).max(),
    }[metric]()


def test_what_ranks_can_be_the_accumulated_error(lake: Lake) -> None:
    """GIVEN a quantizer that is bad itself and one that is bad because of those before it
    THEN by says which comes first; an exact one is last and one without a value first.
    """
    small, large = (pair_statistics(*x_and(error)) for error in (0.1, 3.0))
    exact, none = (pair_statistics(np.ones(3), np.full(3, v)) for v in (1, math.nan))
    add(lake, "late", 2, small, large)
    add(lake, "bad", 1, large, small)
    add(lake, "exact", 0, exact, exact)
    add(lake, "nan", 3, none, none)

    def order(**options: str) -> list[str]:
        return [r["node"] for r in lake.query("local_errors", run_id="r", metric="sqnr", **options)]

    assert order() == order(by="own") == ["nan", "bad", "late", "exact"]
    assert order(by="accumulated") == ["nan", "late", "bad", "exact"]
    rows = {r["node"]: r for r in lake.query("local_errors", run_id="r", metric="sqnr")}
    assert rows["nan"]["own"] is None and rows["nan"]["nonfinite"] == 3
    assert rows["exact"]["own"] == math.inf
    with pytest.raises(QueryError, match="by is own or accumulated, not both"):
        order(by="both")
    with pytest.raises(QueryError, match="no metric of this name: snr"):
        lake.query("local_errors", run_id="r", metric="snr")
    assert lake.query("local_errors", run_id="other", metric="sqnr") == []


def test_the_command_lists_them_the_worst_first_and_keeps_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GIVEN two samples of the demo network
    THEN the table has what the engine measures, and the lake, the log and the run have it as well.
    """
    command = ["local-errors", str(demo.model_path()), str(demo.calibration_data_path()), "-d", "2",
               "-i", "[Conv_2,305_HzCalibration]", "--lake", str(tmp_path), "--no-track",
               "--no-progress", "-s", str(tmp_path / "saved")]  # fmt: skip
    assert main([*command, "--by", "accumulated"]) == 0
    printed = capsys.readouterr().out
    model = load_model(demo.model_path())
    names = [*model.calibrations_of("Conv_2"), "305_HzCalibration"]
    files = sorted(demo.calibration_data_path().glob("input/*.npy"))[:2]
    data = {file.stem: {"input": np.load(file)} for file in files}
    expected: dict[str, list[PairStatistics]] = defaultdict(list)
    for found in local_errors(Engine(model), data, names):
        expected[found.node].append(found.accumulated)
    lake = Lake.open(tmp_path)
    (run,) = lake.query("runs")
    rows = lake.query("local_errors", run_id=run["run_id"], metric="sqnr", by="accumulated")
    assert {r["node"]: r["accumulated"] for r in rows} == pytest.approx(
        {name: decibels(pairs) for name, pairs in expected.items()}
    )
    assert [r["accumulated"] for r in rows] == sorted(r["accumulated"] for r in rows)
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(rows)]] == [r["node"] for r in rows]
    assert (tmp_path / "saved" / "local_errors.log").read_text() in printed
    assert (run["kind"], run["worst_node"]) == ("local-errors", rows[0]["node"])
    assert main([*command, "--by", "both"]) == 2
    assert "by 'both' is not known; choose from own, accumulated" in capsys.readouterr().err


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: list[dict[str, np.ndarray]]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)


def read(model: onnx.ModelProto | Path, folder: Path, name: str, samples: list[Any]) -> Any:
    """What the peer collects of a model's tensors."""
    source = model if isinstance(model, Path) else folder / f"{name}.onnx"
    if isinstance(model, onnx.ModelProto):
        onnx.save(model, source)
    augmented = folder / f"augmented-{name}.onnx"
    peer.modify_model_output_intermediate_tensors(source, augmented)
    # With the kernels that the engine has: others add in another order, and so round elsewhere.
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return peer.collect_activations(str(augmented), Reader(samples), options)


def decibels(pairs: list[PairStatistics]) -> float:
    """Of several samples taken as one tensor, as the peer takes them."""
    return 10 * math.log10(sum(p.sum_xx for p in pairs) / sum(p.sum_dd for p in pairs))


@pytest.fixture
def quietly() -> Iterator[None]:
    logging.disable(logging.ERROR)  # the peer complains of weights in Constant nodes
    yield
    logging.disable(logging.NOTSET)


def test_of_mobilenet_they_are_what_onnxruntime_s_loss_debugger_tells(
    tmp_path: Path, quietly: None
) -> None:
    """GIVEN a trained MobileNetV2 that onnxruntime quantized, and real images
    THEN every weight's error and every activation's accumulated error is that of qdq_loss_debug.
    """
    source, target = real.docorient_file(), tmp_path / "qdq.onnx"
    samples = real.docorient_samples()[:2]
    quantize_static(
        source, target, Reader(samples), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    theirs = [read(path, tmp_path, name, samples) for path, name in ((source, "float"),
                                                                     (target, "qdq"))]  # fmt: skip
    activations = peer.compute_activation_error(peer.create_activation_matching(*theirs[::-1]))
    weights = peer.compute_weight_error(peer.create_weight_matching(str(source), str(target)))
    model = load_model(target, source)
    # The peer dequantizes integers in float64. That counts in biases of int32, at 90 dB and above.
    nodes = {n.name: n for n in model.switchable_calibrations if n.params.qtype.name != "int32"}
    ours: dict[str, list[PairStatistics]] = defaultdict(list)
    data = {str(k): sample for k, sample in enumerate(samples)}
    for found in local_errors(Engine(model), data, list(nodes)):
        ours[found.node].append(found.accumulated)
    compared = {CalibrationKind.WEIGHT: 0, CalibrationKind.ACTIVATION: 0}
    differences = []
    for name, node in nodes.items():
        held = node.output.removesuffix("_DequantizeLinear_Output")
        their = (
            weights.get(held)
            if node.kind is CalibrationKind.WEIGHT
            else activations.get(node.input, {}).get("xmodel_err")
        )
        if their is not None:
            compared[node.kind] += 1
            differences.append(abs(decibels(ours[name]) - their))
    assert compared == {CalibrationKind.WEIGHT: 53, CalibrationKind.ACTIVATION: 65}
    assert max(differences) <= PEER_DB
