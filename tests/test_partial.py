"""Partial quantization against the rebuild reference, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import onnx
import pytest

import hmct_track.debug as dbg
from benchmarks import rebuild
from hmct_track import demo
from hmct_track.analyses import SensitivityAnalysis
from hmct_track.analyses.growing import Talk, serve
from hmct_track.analyses.runner import run_analysis
from hmct_track.errors import HmctTrackError, UnknownNodeError, UsageError
from hmct_track.lake import Lake
from hmct_track.model import load_model
from hmct_track.options.recording import Recording
from tests.support.real import real_model
from tests.support.tracked import client


@pytest.mark.parametrize("name", ["demo", "docorient", "ocr-cls"])
def test_steps_equal_those_of_rebuilt_models(name: str, tmp_path: Path) -> None:
    real = real_model(name)
    feeding = rebuild.feeding(real.calibrated)
    nodes = list(feeding)[1:4]
    result = dbg.sensitivity_analysis(
        real.calibrated,
        {key: [s[key] for s in real.samples[:2]] for key in real.samples[0]},
        data_num=2,
        sensitive_nodes=nodes,
        metric="sqnr",
        lake=tmp_path,
        track=False,
    )
    every = [n.name for n in load_model(real.calibrated).calibration_nodes]
    subjects = {node: feeding[node] for node in nodes}
    for count in range(4):
        off = {c for node in nodes[:count] for c in feeding[node]}
        subjects[f"without {count}"] = [c for c in every if c not in off]
    expected = rebuild.sensitivity(real.calibrated, real.samples[:2], subjects)
    assert [row["node"] for row in result.rows] == ["none", *nodes], "in the order given"
    for row in result.rows:
        partial = expected[f"without {row['step']}"]["sqnr"]
        assert noise(row["partial"]) == pytest.approx(noise(partial), rel=0.01, abs=1e-4)
        if row["step"]:
            single = expected[row["node"]]["sqnr"]
            assert noise(row["single"]) == pytest.approx(noise(single), rel=0.01, abs=1e-4)


def noise(sqnr: float) -> float:
    """The noise's part of the output's norm: below 80 dB what is left is that of float32."""
    return float(10 ** (-sqnr / 20))


def test_nodes_worse_than_the_threshold_are_picked_most_sensitive_first(tmp_path: Path) -> None:
    ranking = dbg.get_sensitivity_of_nodes(
        demo.model_path(),
        calibrated_data=demo.calibration_data_path(),
        lake=tmp_path,
        track=False,
    )
    result = dbg.sensitivity_analysis(
        demo.model_path(),
        demo.calibration_data_path(),
        pick_threshold=0.99,
        sensitive_nodes=[],
        lake=tmp_path,
        track=False,
    )
    picked = [node for node, values in ranking.items() if values["cosine-similarity"] < 0.99]
    assert len(picked) >= 2
    assert [row["node"] for row in result.rows] == ["none", *picked]
    assert result.rows[-1]["partial"] > result.rows[0]["partial"] + 0.01, "it helps"


def test_where_no_node_is_sensitive_the_worst_few_are_tested_and_told_as_such(
    tmp_path: Path,
) -> None:
    result = dbg.sensitivity_analysis(
        demo.model_path(),
        demo.calibration_data_path(),
        pick_threshold=-1.0,
        lake=tmp_path,
        track=False,
    )
    ranked = dbg.get_sensitivity_of_nodes(
        demo.model_path(),
        calibrated_data=demo.calibration_data_path(),
        lake=tmp_path,
        track=False,
    )
    assert [row["node"] for row in result.rows] == ["none", *list(ranked)[:3]]
    said = result.answer.analysis.text(result.answer).splitlines()
    assert said[0].startswith("all nodes quantized: cosine-similarity 0.")
    assert said[1] == "no node alone is worse than the threshold of -1; these are the 3 worst"


def int16(node: onnx.NodeProto) -> None:
    """Make a calibration node int16 with the same thresholds."""
    for attribute in node.attribute:
        if attribute.name == "qtype":
            attribute.s = b"int16"
        if attribute.name == "scales":
            scales = np.array(attribute.floats) * 127 / 32767
            del attribute.floats[:]
            attribute.floats.extend(scales.tolist())


def test_sensitive_nodes_can_become_int16(tmp_path: Path) -> None:
    real = real_model("demo")
    feeding = rebuild.feeding(real.calibrated)
    changed = onnx.ModelProto()
    changed.CopyFrom(real.calibrated)
    for node in changed.graph.node:
        if node.name in feeding["Conv_21"]:
            int16(node)
    every = [n.name for n in load_model(changed).calibration_nodes]
    wanted = rebuild.sensitivity(changed, real.samples[:1], {"all": every})["all"]
    result = dbg.sensitivity_analysis(
        real.calibrated,
        {"input": [real.samples[0]["input"]]},
        sensitive_nodes="Conv_21",
        metric="mse",
        qtype="int16",
        lake=tmp_path,
        track=False,
    )
    assert result.rows[1]["partial"] == pytest.approx(wanted["mse"], rel=0.01)
    assert result.rows[1]["partial"] < result.rows[0]["partial"]


def test_files_and_nested_runs(tmp_path: Path) -> None:
    result = dbg.sensitivity_analysis(
        demo.model_path(),
        demo.calibration_data_path(),
        sensitive_nodes=["Conv_21", "Conv_10"],
        save_dir=tmp_path / "out",
        lake=tmp_path / "lake",
        wait=True,
    )
    assert [f.name for f in result.files] == [
        "partial_quantization.png",
        "partial_quantization.svg",
    ]
    store = client(tmp_path / "lake")
    experiment = store.get_experiment_by_name("hmct-track").experiment_id
    runs = store.search_runs([experiment])
    nested = {r.info.run_name: r for r in runs if "mlflow.parentRunId" in r.data.tags}
    assert sorted(nested) == ["000 none", "001 Conv_21", "002 Conv_10"]
    last = nested["002 Conv_10"].data
    assert last.params["nodes"] == '["Conv_21", "Conv_10"]'
    assert last.metrics["cosine-similarity"] == result.rows[2]["partial"]
    assert last.metrics["cosine-similarity.single"] == result.rows[2]["single"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sensitive_nodes": ["Conv_211"]}, UnknownNodeError, "closest names: Conv_21"),
        ({"sensitive_nodes": ["Flatten_33"]}, UsageError, "cannot be quantized"),
        ({"metric": "accuracy"}, UsageError, "'accuracy' is not known"),
        ({"qtype": "int4"}, UsageError, "'int4' is not known; choose from float32, int16, float16"),
        ({"data_num": 0}, UsageError, "1 to 64 samples"),
    ],
)
def test_what_is_refused_writes_nothing(
    arguments: dict[str, Any], error: type[HmctTrackError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        dbg.sensitivity_analysis(
            demo.model_path(), demo.calibration_data_path(), lake=tmp_path / "lake", **arguments
        )
    assert not (tmp_path / "lake").exists()


def test_a_growing_one_answers_what_the_command_measures_of_the_same_nodes(tmp_path: Path) -> None:
    """Asked one after the other: more nodes, fewer, others, unknown ones, another type and metric.

    Questions that came while one was measured are left out; the last one stands.
    """
    about: dict[str, Any] = {
        "model_or_file": str(demo.model_path()),
        "calibrated_data": str(demo.calibration_data_path()),
        "data_num": 2,
    }
    questions = [
        [(["Conv_2"], "int16", "sqnr")],
        [
            (["Conv_2", "Conv_4"], "int16", "sqnr"),
            (["Conv_2", "Conv_4", "Conv_6"], "int16", "sqnr"),
        ],
        [(["Conv_2"], "int16", "mse")],
        [(["Conv_2", "nope"], "int16", "sqnr")],
        [(["Conv_4", "Conv_2"], "int16", "sqnr")],
        [(["Conv_4", "Conv_2"], "float32", "sqnr")],
    ]
    waiting: SimpleQueue[str | None] = SimpleQueue()
    told: list[dict[str, Any]] = []

    def tell(answer: dict[str, Any]) -> None:
        told.append(answer)
        place = answer.get("number", -1)
        rows, nodes = answer.get("rows", ()), questions[place][-1][0] if place >= 0 else ()
        if place >= 0 and "error" not in answer and len(rows) <= len(nodes):
            return  # the steps before the last one follow
        if place + 1 == len(questions):
            waiting.put(None)
            return
        for nodes, qtype, metric in questions[place + 1]:
            given = {"number": place + 1, "nodes": nodes, "qtype": qtype, "metric": metric}
            waiting.put(json.dumps(given))

    serve(
        SensitivityAnalysis(**about),
        Recording(lake=tmp_path / "grown", track=False),
        Talk(iter(waiting.get, None), tell),
    )
    assert told[0] == {"ready": True}
    last = {answer["number"]: answer for answer in told[1:]}
    assert list(last) == list(range(len(questions)))
    assert last[3]["error"] == "the model has no node named 'nope'"
    for number, asked_last in enumerate(q[-1] for q in questions):
        if number == 3:
            continue
        nodes, qtype, metric = asked_last
        alone = run_analysis(
            SensitivityAnalysis(**about, sensitive_nodes=nodes, qtype=qtype, metric=metric),
            Recording(lake=tmp_path / "alone", track=False),
        )
        for row, expected in zip(last[number]["rows"], alone.rows, strict=True):
            assert row["node"] == expected["node"]
            assert row["partial"] == pytest.approx(expected["partial"], rel=1e-3)
    runs = Lake.open(tmp_path / "grown").query("run_list")
    assert [json.loads(run["parameters"])["sensitive_nodes"] for run in reversed(runs)] == [
        ["Conv_2", "Conv_4", "Conv_6"], ["Conv_4", "Conv_2"], ["Conv_4", "Conv_2"],
    ]  # fmt: skip
    assert {run["state"] for run in runs} == {"FINISHED"}
