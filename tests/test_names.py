"""Patterns, globs and module paths wherever nodes are listed; plain names beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import hmct_track.debug as dbg
from hmct_track.analyses import (
    GetChannelwiseDataDistribution,
    GetSensitivityOfNodes,
    PlotAccError,
    PlotDistribution,
    Seen,
    SensitivityAnalysis,
)
from hmct_track.analyses.configurations import WHOLE
from hmct_track.engine import Engine
from hmct_track.errors import UnknownNodeError, UsageError
from hmct_track.model import expand, load_model
from hmct_track.types import Planned, Quantization
from tests.support import graphs

NAMES = ["/model.6/m.0/cv1/conv/Conv", "/model.6/m.0/cv2/conv/Conv", "/model.6/cv3/conv/Conv",
         "/model.60/conv/Conv", "Conv_1", "Conv_10", "odd[1]*"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Conv_1", [4]),
        ("odd[1]*", [6]),
        (r"re:/model\.6/.*", [0, 1, 2]),
        ("re:Conv_1.*", [4, 5]),
        ("re:Conv", []),
        ("/model.6/*", [0, 1, 2]),
        ("Conv_?", [4]),
        ("/model.6/m.0", [0, 1]),
        ("model.6.m.0", [0, 1]),
        ("model.6.m.0.cv1.conv", [0]),
        ("/model.6/", [0, 1, 2]),
        ("Conv_", []),
    ],
)
def test_what_a_name_stands_for(name: str, expected: list[int]) -> None:
    if expected:
        assert expand(name, NAMES) == [NAMES[k] for k in expected]
    else:
        with pytest.raises(UnknownNodeError, match="has no node named"):
            expand(name, NAMES)


def test_a_plain_name_wins_in_every_group() -> None:
    assert expand("a/b", ["a/b/c"], ["a/b"]) == ["a/b"]
    with pytest.raises(UsageError, match="not a regular expression"):
        expand("re:(", NAMES)


def network() -> onnx.ModelProto:
    """Two modules of two MatMul nodes each."""
    nodes, constants, last = [], {}, "x"
    for k, name in enumerate(("/enc/a/MatMul", "/enc/b/MatMul", "/dec/a/MatMul", "/dec/b/MatMul")):
        constants[f"w{k}"] = np.eye(4, dtype=np.float32) * (k + 1.03)
        target = f"t{k}" if k < 3 else "y"
        nodes += [
            graphs.calibration(last, f"q{k}", f"{k}_HzCalibration"),
            helper.make_node("MatMul", [f"q{k}", f"w{k}"], [target], name=name),
        ]
        last = target
    return graphs.model(nodes, constants=constants)


def test_every_list_takes_patterns(tmp_path: Path) -> None:
    model = load_model(network())
    enc, dec = ["/enc/a/MatMul", "/enc/b/MatMul"], ["/dec/a/MatMul", "/dec/b/MatMul"]
    given = {"model_or_file": "", "calibrated_data": ""}

    def asked(analysis: type[Any], **options: Any) -> list[Planned]:
        return list(analysis(**given, **options).ask(model, Seen()).planned)

    planned = asked(GetSensitivityOfNodes, interested_nodes=["re:/dec/.*", "/enc/a/MatMul"])
    assert [p.subject for p in planned] == [enc[0], *dec, WHOLE]
    planned = asked(GetSensitivityOfNodes, interested_nodes=["re:[01]_Hz.*"])
    assert [p.subject for p in planned] == ["0_HzCalibration", "1_HzCalibration", WHOLE]
    curves = asked(PlotAccError, quantize_node=["/enc"])
    assert [p.subject for p in curves] == [*enc, WHOLE]
    (nested, _) = asked(PlotAccError, non_quantize_node=[["/dec/*", "/dec/a"]])
    assert nested.config.state("3_HzCalibration") is Quantization.OFF
    assert nested.config.state("0_HzCalibration") is Quantization.AS_CALIBRATED
    steps = asked(SensitivityAnalysis, sensitive_nodes=["dec"])
    assert [p.subject for p in steps if p.role == "partial"] == ["none", *dec]
    seen = PlotDistribution(**given, nodes_list=["/dec/*"]).observed(model, Engine(model))
    assert [o.node for o in seen] == dec
    boxes = GetChannelwiseDataDistribution(**given, nodes_list=["re:.*_Hz.*"]).observed(model)
    assert len(boxes) == 4
    got = dbg.get_sensitivity_of_nodes(
        network(), calibrated_data={"x": np.ones((1, 1, 4), np.float32)}, lake=tmp_path,
        interested_nodes="re:/enc/.*", track=False)  # fmt: skip
    assert set(got) == set(enc)


@pytest.mark.parametrize("name", ["/enc/a/MatMul", "re:/enc/a/.*", "/enc/a*", "enc.a"])
def test_an_output_node_is_one_node(name: str, tmp_path: Path) -> None:
    """GIVEN a name, a pattern or a module path of one node
    THEN its output is compared, as for the plain name.
    """
    got = dbg.get_sensitivity_of_nodes(
        network(), "mse", {"x": np.full((1, 1, 4), 0.123, np.float32)}, name, lake=tmp_path,
        interested_nodes="/enc/*", track=False)  # fmt: skip
    assert got["/enc/a/MatMul"]["mse"] > 0
    assert got["/enc/b/MatMul"]["mse"] == 0, "it lies behind the output"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/dec", r"'/dec' stands for 2 nodes.*choose one of /dec/a/MatMul, /dec/b/MatMul$"),
        ("0_HzCalibration", r"is a calibration node.*those that read it: '/enc/a/MatMul'"),
        ("/dec/c/MatMul", "no node named '/dec/c/MatMul'; closest names: /dec/"),
    ],
)
def test_an_output_node_that_is_not_one_general_node(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_model(network()).output_node(name)
