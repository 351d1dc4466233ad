"""A configuration written into models: read back, and run by onnxruntime, it gives its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from hmct_track import demo
from hmct_track.model import load_model, planned_model, qdq_model, save_model
from hmct_track.types import CalibrationKind, QuantConfig, Quantization, QuantType
from tests.support import graphs
from tests.support.planned import SAMPLE, close, expected, run
from tests.support.quantized import quantized

TYPES = ("int16", "float16", "uint16", "int4", "uint8", "int12")


def mixed(model: object, seed: int) -> QuantConfig:
    """A type for each calibration node, at random; weights stay signed."""
    rng = np.random.default_rng(seed)
    overrides: dict[str, object] = {}
    for node in model.calibration_nodes:
        name = str(rng.choice([*TYPES, "off", "calibrated"]))
        if node.kind is CalibrationKind.WEIGHT:
            name = name.removeprefix("u")
        if name == "off":
            overrides[node.name] = Quantization.OFF
        elif name != "calibrated":
            overrides[node.name] = QuantType(name)
    return QuantConfig(Quantization.AS_CALIBRATED, overrides)


@pytest.mark.parametrize("seed", range(3))
def test_the_calibrated_model_of_a_configuration_is_read_back_as_it(
    seed: int, tmp_path: Path
) -> None:
    model = load_model(demo.model_path())
    config = mixed(model, seed)
    written, unsaid = planned_model(model, config)
    assert not unsaid
    path = tmp_path / "calibrated_model.onnx"
    save_model(written, path)
    again = load_model(path)
    assert [n.name for n in again.calibration_nodes] == [n.name for n in model.calibration_nodes]
    same = expected(again, graphs.CALIBRATED, SAMPLE)
    np.testing.assert_array_equal(same, expected(model, config, SAMPLE))
    # Switched off it is the float model still.
    np.testing.assert_array_equal(
        expected(again, QuantConfig(), SAMPLE), expected(model, QuantConfig(), SAMPLE)
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_qdq_model_of_a_configuration_runs_with_its_numbers(seed: int, tmp_path: Path) -> None:
    model = load_model(demo.model_path())
    config = mixed(model, seed)
    written, unsaid = qdq_model(model, config)
    assert all("behind a clip" in line for line in unsaid)
    path = tmp_path / "qdq_model.onnx"
    save_model(written, path)
    onnx.checker.check_model(str(path))
    assert close(run(path, SAMPLE), expected(model, config, SAMPLE))
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "HzCalibration" not in kinds
    assert "DequantizeLinear" in kinds


@pytest.mark.parametrize(("opset", "domain"), [(13, "com.microsoft"), (21, "")])
def test_sixteen_bits_are_of_the_standard_where_that_has_them(
    opset: int, domain: str, tmp_path: Path
) -> None:
    proto = graphs.two_convolutions()
    proto.opset_import[0].version = opset
    proto.ir_version = 10
    model = load_model(proto)
    every = [node.name for node in model.calibration_nodes]
    config = QuantConfig(Quantization.AS_CALIBRATED, dict.fromkeys(every, QuantType("int16")))
    path = tmp_path / "qdq.onnx"
    save_model(qdq_model(model, config)[0], path)
    found = {n.domain for n in onnx.load(path).graph.node if n.op_type == "QuantizeLinear"}
    assert found == {domain}
    sample = {"x": np.random.default_rng(0).standard_normal((1, 4, 5, 5)).astype(np.float32)}
    assert close(run(path, sample), expected(model, config, sample))
    assert load_model(path).calibration_nodes[0].params.qtype.name == "int16"


def test_a_qdq_model_of_a_qdq_model_is_as_good(tmp_path: Path) -> None:
    """GIVEN a model of onnxruntime's quantizer, its float model, and weights raised to 16 bits."""
    source = quantized(tmp_path, "q", per_channel=True)
    model = load_model(source, tmp_path / "float.onnx")
    for config in (graphs.CALIBRATED, QuantConfig.all_but([model.calibration_nodes[0].name])):
        for write in (planned_model, qdq_model):
            path = tmp_path / "written.onnx"
            save_model(write(model, config)[0], path)
            want = expected(model, config, SAMPLE)
            again = load_model(path) if write is planned_model else None
            got = expected(again, graphs.CALIBRATED, SAMPLE) if again else run(path, SAMPLE)
            assert close(got, want), write.__name__
