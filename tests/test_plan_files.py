"""What a plan is written to is read back by what it is for."""

from __future__ import annotations

import json
import logging
import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnxruntime.quantization import quantize_static

import hmct_track
from hmct_track import demo
from hmct_track.analyses.plan import PlanResult
from hmct_track.analyses.plan_files import plan_view
from hmct_track.exporting import (
    aimet_encodings,
    horizon_node_info,
    horizon_quant_config,
    modelopt_exclusions,
    nncf_scope,
    onnxruntime_script,
    quark_config,
)
from hmct_track.model import load_model
from hmct_track.types import QuantConfig, Quantization, QuantType
from tests.support import graphs
from tests.support.floats import Reader, float_model
from tests.support.planned import SAMPLE, close, expected, run


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlanResult, Path]:
    """A plan of the demo, and the folder with its files."""
    folder = tmp_path_factory.mktemp("plan")
    result = hmct_track.plan(
        demo.model_path(),
        demo.calibration_data_path(),
        "error <= 10 %",
        data_num=8,
        output_folder=folder / "out",
        lake=folder / "lake",
        track=False,
    )
    return result, folder / "out"


def test_both_models_give_the_planned_numbers(planned: tuple[PlanResult, Path]) -> None:
    result, folder = planned
    model = load_model(demo.model_path())
    want = expected(model, result.config, SAMPLE)
    again = load_model(folder / "calibrated_model.onnx")
    np.testing.assert_array_equal(expected(again, graphs.CALIBRATED, SAMPLE), want)
    assert close(run(folder / "qdq_model.onnx", SAMPLE), want)
    assert not close(expected(model, graphs.CALIBRATED, SAMPLE), want)


def test_the_json_says_what_the_plan_does(planned: tuple[PlanResult, Path]) -> None:
    result, folder = planned
    told = json.loads((folder / "plan.json").read_text())
    assert QuantConfig.from_json(json.dumps(told["config"])) == result.config
    changed = {
        name
        for name, node in told["nodes"].items()
        if any(i["planned"] != i["calibrated"] for i in node["inputs"])
    }
    assert changed == set(result.types)
    lists = {"nncf_ignored_scope.json", "modelopt_exclude.txt"}
    assert told["unsaid"].keys() == {*lists, "quark_config.json"}


def test_horizon_is_told_of_each_node(planned: tuple[PlanResult, Path]) -> None:
    result, folder = planned
    config = json.loads((folder / "horizon_quant_config.json").read_text())
    assert config["model_config"] == {"all_node_type": "int8"}
    assert config["node_config"] == {name: {"qtype": "int16"} for name in result.types}
    info = yaml.safe_load((folder / "horizon_node_info.yaml").read_text())
    nodes = info["model_parameters"]["node_info"]
    assert nodes.keys() == set(result.types)
    assert all(n["ON"] == "BPU" and n["InputType"] == "int16" for n in nodes.values())


def test_onnxruntime_quantizes_the_float_model_as_planned(
    planned: tuple[PlanResult, Path], tmp_path: Path
) -> None:
    """WHEN its quantizer is given the file, for the float model
    THEN the tensors that the plan raises have the plan's types and scales.
    """
    result, folder = planned
    arguments = runpy.run_path(str(folder / "onnxruntime_quantize.py"))["QUANTIZE"]
    source, target = tmp_path / "float.onnx", tmp_path / "quantized.onnx"
    onnx.save(float_model(), source)
    logging.disable(logging.WARNING)
    try:
        quantize_static(source, target, Reader(), **arguments)
    finally:
        logging.disable(logging.NOTSET)
    quantized = load_model(target, source)
    view = plan_view(load_model(demo.model_path()), result.config, "")
    raised = {t.tensor: t for t in view.tensors if t.is_changed}
    assert raised
    found = {}
    for node in quantized.calibration_nodes:
        name = node.input.removesuffix(":float").removesuffix("_DequantizeLinear_Output")
        found[name] = node.params
    for name, tensor in raised.items():
        assert found[name].qtype.name == "int16", name
        assert found[name].scales == pytest.approx(tensor.params.scales), name
    unchanged = {t.tensor for t in view.tensors if not t.is_changed}
    assert all(found[name].qtype.name == "int8" for name in unchanged)


def in_types(**types: str) -> object:
    """Two convolutions, some calibration nodes with other types."""
    model = load_model(graphs.two_convolutions())
    overrides = {
        f"{name[1:]}_HzCalibration": Quantization.OFF if t == "float32" else QuantType(t)
        for name, t in types.items()
    }
    known = {n.name for n in model.calibration_nodes}
    assert overrides.keys() <= known
    return plan_view(model, QuantConfig(Quantization.AS_CALIBRATED, overrides), "test")


def test_inputs_of_different_types_are_named_one_by_one() -> None:
    view = in_types(_1="int16")
    config = json.loads(horizon_quant_config(view).text)
    assert config["node_config"] == {"Conv_0": {"input0": "int16", "input1": "int8"}}
    said = horizon_node_info(view)
    assert "Conv_0" in said.text
    assert said.unsaid
    assert "inputs of different types" in said.unsaid[0]


def test_what_lists_of_float_nodes_cannot_say_is_listed() -> None:
    view = in_types(_1="float32", _2="float32")
    assert json.loads(nncf_scope(view).text)["names"] == ["Conv_0"]
    assert modelopt_exclusions(view).text == "^Conv_0$\n"
    assert not nncf_scope(view).unsaid
    raised = in_types(_1="int16", _2="int16")
    assert json.loads(nncf_scope(raised).text)["names"] == []
    assert "Conv_0" in nncf_scope(raised).unsaid[0]
    assert "NODES_TO_EXCLUDE = ['Conv_0']" in onnxruntime_script(view).text


def test_quark_is_told_of_layers_by_their_types() -> None:
    """THEN it is what ``QConfig.to_dict`` of amd-quark 0.13 gives, less what is optional."""

    def spec(kind: str, each: str = "Tensor") -> dict[str, object]:
        return {
            "symmetric": True,
            "scale_type": "ScaleType.Float32",
            "calibration_method": "CalibMethod.MinMax",
            "quant_granularity": f"QuantGranularity.{each}",
            "data_type": kind,
        }

    found = quark_config(in_types(_1="int16", _2="int16"))
    told = json.loads(found.text)
    plain = {"input_tensors": spec("Int8"), "weight": spec("Int8", "Channel")}
    assert told["global_config"] == plain
    wide = {"input_tensors": spec("Int16"), "weight": spec("Int16")}
    assert told["specific_layer_config"] == [[wide, ["Conv_0"]]]
    assert told["exclude"] == []
    assert found.unsaid == ["thresholds and scales: Quark finds its own, by minimum and maximum"]
    found = quark_config(in_types(_1="float32", _2="float32"))
    told = json.loads(found.text)
    assert "node 'Conv_0': Quark still quantizes what it reads of other nodes" in found.unsaid
    assert (told["specific_layer_config"], told["exclude"]) == ([], ["Conv_0"])
    half = quark_config(in_types(_1="float32"))
    assert json.loads(half.text)["specific_layer_config"] == []
    assert "node 'Conv_0': float32, int8" in half.unsaid


def test_aimet_offsets_count_from_the_smallest_integer() -> None:
    """THEN (q + offset) * scale, q from 0, is what the calibration node gives out."""
    view = in_types(_1="int16")
    encodings = json.loads(aimet_encodings(view).text)
    assert encodings["version"] == "1.0.0"
    (first,) = [e for e in encodings["activation_encodings"] if e["name"] == "x"]
    assert (first["bw"], first["dtype"], first["offset"]) == (16, "INT", [-(2**15)])
    assert first["scale"] == pytest.approx([12.7 / (2**15 - 1)])
    (weight,) = [e for e in encodings["param_encodings"] if e["name"] == "w0"]
    assert weight["offset"] == [-128]
