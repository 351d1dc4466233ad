"""``inspect``: what is in a model, and what is odd."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import hmct_track
from hmct_track import demo
from hmct_track.cli import main
from tests.support import graphs
from tests.support.floats import float_model


def odd_model() -> onnx.ModelProto:
    """Each oddity once, and a MatMul that nothing quantizes."""
    scales = [0.1, 0.1, 1e-8, 0.1]
    return graphs.model(
        [
            graphs.calibration("x", "xq", "off", scales=[0.1], thresholds=[12.7], switch="OFF"),
            graphs.calibration("w", "wq", "dead", scales=scales, axis=1, qtype="int8"),
            helper.make_node("MatMul", ["xq", "wq"], ["a"], name="MatMul_0"),
            graphs.calibration("a", "aq", "empty", scales=[1e-10], thresholds=[1e-8]),
            helper.make_node("Relu", ["aq"], ["b"], name="Relu_1"),
            helper.make_node("MatMul", ["b", "w"], ["c"], name="MatMul_2"),
            graphs.calibration("c", "y", "last", scales=[0.2], zero_point=[3], qtype="uint8"),
        ],
        constants={"w": np.eye(4, dtype=np.float32)},
    )


def test_what_is_odd() -> None:
    found = hmct_track.inspect_model(odd_model())
    assert {odd.node: odd.what.split(":")[0].split(",")[0] for odd in found.oddities} == {
        "off": "switch is OFF",
        "dead": "1 of 4 channels are dead (2)",
        "empty": "its threshold is zero",
        "last": "feeds the model's output",
    }
    assert found.unquantized_weighted == ("MatMul_2",)
    assert found.quantized_ops == {"MatMul": 1, "Relu": 1}
    groups = {(g.kind, g.qtype, g.granularity, g.symmetric): g.count for g in found.groups}
    assert groups == {
        ("activation", "int8", "per tensor", True): 2,
        ("activation", "uint8", "per tensor", False): 1,
        ("weight", "int8", "per channel", True): 1,
    }


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(demo.model_path())]) == 0
    text = capsys.readouterr().out
    assert "22 can be quantized" in text and "weight int8 per tensor, symmetric" in text
    onnx.save(float_model(), tmp_path / "float.onnx")
    assert main(["inspect", str(tmp_path / "float.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration_nodes"] == 0
    assert main(["inspect", str(tmp_path / "float.onnx")]) == 0
    assert "hmct-debugger calibrate" in capsys.readouterr().out
