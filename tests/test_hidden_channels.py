"""Channels of an output that hide the error of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import hmct_track.debug as dbg
from hmct_track.engine import Engine
from tests.support.graphs import calibration, model

SAMPLE = np.random.default_rng(0).normal(0, 1, (1, 6, 8)).astype(np.float32)


def detector(*behind: onnx.NodeProto) -> onnx.ModelProto:
    """Six channels along axis 1, the first four as large as boxes in pixels, as output ``y``."""
    scale = np.array([300, 300, 300, 300, 0.5, 0.5] + [0.5] * 6, np.float32).reshape(1, 12, 1)
    nodes = [
        calibration("x", "xq", "cx"),
        helper.make_node("Concat", ["xq", "xq"], ["both"], name="concat", axis=1),
        helper.make_node("Mul", ["both", "scale"], ["m"], name="scale"),
        *(behind or [helper.make_node("Identity", ["m"], ["y"], name="end")]),
    ]
    return model(nodes, {"x": [1, 6, 8]}, constants={"scale": scale})


def rank(proto: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    dbg.get_sensitivity_of_nodes(
        path, "sqnr", {"x": [SAMPLE]}, lake=tmp_path / "lake", track=False, progress=False
    )


def test_large_channels_are_told_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rank(detector(), tmp_path)
    (told,) = [text for text in caplog.messages if "hides" in text]
    assert "of output 'y' (axis 1) is" in told
    assert 'look at a part (--output "y[:, 4:]")' in told
    assert '--output "y/rms(1)"' in told


@pytest.mark.parametrize("op", ["Sigmoid", "Softmax", "Tanh"])
def test_of_outputs_within_one_the_float_model_is_not_run_to_see(
    op: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observed: list[object] = []
    monkeypatch.setattr(Engine, "float_values", lambda *given: observed.append(given) or iter(()))
    rank(detector(helper.make_node(op, ["m"], ["y"], name="end")), tmp_path)
    assert observed == []
    assert not [text for text in caplog.messages if "hides" in text]

    rank(detector(), tmp_path)
    assert len(observed) == 1
