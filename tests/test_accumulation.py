"""Error accumulation: the curves, against the rebuild reference, and what is refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hmct_track.debug as dbg
from benchmarks import rebuild
from hmct_track import demo
from hmct_track.analyses import PlotAccError, Seen
from hmct_track.analyses.plot_acc_error import Selection
from hmct_track.errors import HmctTrackError, UnknownNodeError, UsageError
from hmct_track.lake import Lake
from hmct_track.model import QuantModel, load_model
from hmct_track.types import Metric, Planned
from tests.support.real import real_model
from tests.support.tracked import client

MODEL = load_model(demo.model_path())


def plan(
    model: QuantModel, quantize_node: Selection, non_quantize_node: Selection
) -> Sequence[Planned]:
    analysis = PlotAccError(
        model_or_file="",
        calibrated_data="",
        quantize_node=quantize_node,
        non_quantize_node=non_quantize_node,
    )
    return analysis.ask(model, Seen()).planned


def curves(rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, float]]]:
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in rows:
        found[row["curve"]].append((row["node"], row["value"]))
    return found


def reference(name: str, on: list[str]) -> dict[str, dict[str, float]]:
    """Metrics of every general node's output with these calibration nodes on."""
    real = real_model(name)
    tensors = {
        node.output[0]: node.name
        for node in real.calibrated.graph.node
        if node.op_type not in ("HzCalibration", "Constant")
    }
    found = rebuild.run(
        rebuild.build(real.calibrated, (), list(tensors)), real.samples[:1], list(tensors)
    )
    got = rebuild.run(
        rebuild.build(real.calibrated, on, list(tensors)), real.samples[:1], list(tensors)
    )
    return {
        node: rebuild.metrics(x, y)
        for node, x, y in zip(tensors.values(), found[0], got[0], strict=True)
        if x.dtype == np.float32
    }


def kinds(model: onnx.ModelProto) -> dict[str, list[str]]:
    quant = load_model(model)
    return {
        kind: [n.name for n in quant.calibration_nodes if n.kind == kind]
        for kind in ("weight", "activation")
    }


@pytest.mark.parametrize("name", ["demo", "docorient", "ocr-cls"])
def test_curves_equal_those_of_rebuilt_models(name: str, tmp_path: Path) -> None:
    """GIVEN the curves of two metrics, the second of what was measured for the first."""
    real = real_model(name)
    by_kind = kinds(real.calibrated)
    every = [*by_kind["weight"], *by_kind["activation"]]
    expected = [reference(name, on) for on in (*by_kind.values(), every)]
    for metric in ("cosine-similarity", "sqnr"):
        result = dbg.plot_acc_error(
            calibrated_data={key: [value] for key, value in real.samples[0].items()},
            model_or_file=real.calibrated,
            quantize_node=["weight", "activation"],
            metric=metric,
            lake=tmp_path,
            track=False,
        )
        got = curves(result.rows)
        only = [f"only_{kind}_calibrated" for kind in ("weight", "activation")]
        assert list(got) == [*only, "calibrated_model"]
        for curve, values in zip(got, expected, strict=True):
            assert len(got[curve]) > 20
            for node, value in got[curve]:
                wanted = values[node][metric]
                if metric == "sqnr" and wanted > 80:
                    continue  # errors of 1e-4 of the signal and less feel the order of sums
                assert value == pytest.approx(wanted, rel=0.01, abs=2e-5), (curve, node)


def test_the_documented_selections_name_their_curves() -> None:
    def names(**selection: Any) -> list[str]:
        both = {"quantize_node": None, "non_quantize_node": None} | selection
        return [p.subject for p in plan(MODEL, **both)]

    assert names(quantize_node=["Conv_2", "Conv_10"]) == ["Conv_2", "Conv_10", "calibrated_model"]
    assert names(quantize_node="Conv_2") == ["Conv_2", "calibrated_model"]
    nested = [["Conv_2"], ["Conv_2", "Conv_10"]]
    expected = ["partial_qmodel_0", "partial_qmodel_1", "calibrated_model"]
    assert names(quantize_node=nested) == names(non_quantize_node=nested) == expected


def test_not_quantizing_is_the_complement_of_quantizing() -> None:
    every = {node.name for node in MODEL.calibration_nodes}
    only, _ = plan(MODEL, ["Conv_2"], None)
    all_but, _ = plan(MODEL, None, ["Conv_2"])
    off = {name for name in every if all_but.config.state(name).value == "off"}  # type: ignore[union-attr]
    on = {name for name in every if only.config.state(name).value == "calibrated"}  # type: ignore[union-attr]
    assert off == on == set(MODEL.calibrations_of("Conv_2"))


@pytest.mark.parametrize(
    ("selection", "error", "message"),
    [
        ({}, UsageError, "neither was given"),
        ({"quantize_node": []}, UsageError, "neither was given"),
        ({"quantize_node": ["Conv_2"], "non_quantize_node": ["Conv_2"]}, UsageError, "both were"),
        ({"non_quantize_node": ["weight"]}, UsageError, "cannot have 'weight'"),
        ({"quantize_node": [["activation"]]}, UsageError, "plain list only"),
        ({"quantize_node": ["Conv_2", ["Conv_4"]]}, UsageError, "mixes names and lists"),
        ({"quantize_node": [[]]}, UsageError, "is empty"),
        ({"quantize_node": ["Conv_22"]}, UnknownNodeError, "'Conv_22'; closest names: .*Conv_2"),
        ({"quantize_node": ["Flatten_33"]}, UsageError, "cannot be quantized"),
        ({"quantize_node": ["Conv_2"], "metric": "psnr"}, UsageError, "'psnr' is not known"),
        ({"quantize_node": ["Conv_2"], "data_num": 65}, UsageError, "1 to 64 samples"),
    ],
)
def test_what_is_refused_writes_nothing(
    selection: dict[str, Any], error: type[HmctTrackError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        dbg.plot_acc_error(
            calibrated_data=demo.calibration_data_path(),
            model_or_file=demo.model_path(),
            lake=tmp_path / "lake",
            **selection,
        )
    assert not (tmp_path / "lake").exists()


def test_figures_files_and_nested_runs(tmp_path: Path) -> None:
    result = dbg.plot_acc_error(
        save_dir=tmp_path / "out",
        calibrated_data=demo.calibration_data_path(),
        model_or_file=demo.model_path(),
        non_quantize_node=[["Conv_21"], ["Conv_21", "Conv_10"]],
        average_mode=True,
        lake=tmp_path / "lake",
    )
    stem = "accumulated_error_cosine-similarity_average"
    assert [f.name for f in result.files] == [f"{stem}.png", f"{stem}.svg"]
    assert all(f.stat().st_size > 1000 for f in result.files)
    assert len(result.to_frame()) == len(result.rows)
    assert "data:image/png;base64," in result._repr_html_()
    parent = f"tags.mlflow.parentRunId = '{_parent(tmp_path / 'lake', result.run_id)}'"
    experiment = client(tmp_path / "lake").get_experiment_by_name("hmct-track").experiment_id
    nested = client(tmp_path / "lake").search_runs([experiment], parent)
    assert {run.info.run_name for run in nested} == {
        "partial_qmodel_0",
        "partial_qmodel_1",
        "calibrated_model",
    }
    for run in nested:
        points = client(tmp_path / "lake").get_metric_history(
            run.info.run_id, "by_node.cosine-similarity"
        )
        expected = curves(result.rows)[run.info.run_name]
        assert [p.value for p in sorted(points, key=lambda p: p.step)] == [v for _, v in expected]


def _parent(lake: Path, run_id: str) -> str:
    rows = Lake.open(lake).sql("SELECT run_id, mlflow_run_id FROM runs").rows
    return str(dict(rows)[run_id])


def test_what_was_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured() -> int:
        (found,) = Lake.open(tmp_path).sql("SELECT count(*) FROM measurements").rows
        return int(found[0])

    def analyse(**changes: Any) -> Any:
        arguments: dict[str, Any] = {"pick_threshold": 0.99, "lake": tmp_path, "track": False}
        data = demo.calibration_data_path()
        return dbg.sensitivity_analysis(demo.model_path(), data, **(arguments | changes))

    ranking = dbg.get_sensitivity_of_nodes(
        demo.model_path(),
        calibrated_data=demo.calibration_data_path(),
        lake=tmp_path,
        track=False,
    )
    assert measured() == len(ranking) + 1, "each node, and the whole model"
    first = analyse()
    picked = [node for node, values in ranking.items() if values["cosine-similarity"] < 0.99]
    assert measured() == len(ranking) + len(picked) + 1, "none, and each node left out"
    load, loaded = np.load, []
    monkeypatch.setattr(np, "load", lambda *a, **k: (loaded.append(a[0]), load(*a, **k))[1])
    again = analyse()
    assert len(loaded) < len(ranking), "a sample is not read to see whether it is known"
    assert (again.measured, again.known) == (0, len(ranking) + len(picked) + 1), (
        "the whole model is asked for in both rounds, and is one configuration"
    )
    assert again.rows == first.rows
    before = measured()
    assert analyse(reuse=False).measured == first.measured + first.known
    assert measured() == before, "a row written twice counts once"
    assert analyse(data_num=2).known == 0, "a new sample was never measured"


def test_metrics_can_all_be_asked_of_one_measurement(tmp_path: Path) -> None:
    for metric in Metric:
        result = dbg.plot_acc_error(
            calibrated_data=demo.calibration_data_path(),
            model_or_file=demo.model_path(),
            quantize_node=["Conv_21"],
            metric=metric,
            lake=tmp_path,
            track=False,
        )
        assert result.measured == (2 if metric is Metric.COSINE_SIMILARITY else 0)
        assert all(row["value"] is not None for row in result.rows)
