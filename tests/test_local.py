"""Local errors of quantizers, against onnxruntime's own debugging tools and NumPy."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization import QuantType as OrtType
from onnxruntime.quantization import qdq_loss_debug as peer

from hmct_track.engine import Engine
from hmct_track.engine.local import local_errors
from hmct_track.errors import UnknownNodeError
from hmct_track.model import load_model
from hmct_track.types import CalibrationKind, PairStatistics
from tests.support import graphs

SAMPLES = {
    str(k): {"x": np.random.default_rng(k).normal(0, 1, (1, 3, 8, 8)).astype(np.float32)}
    for k in range(3)
}


OUTPUT = "_QuantizeLinear_Input"
"""What onnxruntime appends to the name of an output that it quantizes."""


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self._samples = iter([dict(sample) for sample in SAMPLES.values()])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)


def network() -> onnx.ModelProto:
    rng = np.random.default_rng(7)
    weights = {
        "w0": rng.normal(0, 0.4, (8, 3, 3, 3)),
        "w1": rng.normal(0, 0.2, (8, 8, 3, 3)) * rng.uniform(0.1, 3, (8, 1, 1, 1)),
        "w2": rng.normal(0, 0.1, (8 * 4 * 4, 5)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w0"], ["c0"], name="c0"),
            helper.make_node("Sigmoid", ["c0"], ["s0"], name="s0"),
            helper.make_node("Conv", ["s0", "w1"], ["c1"], name="c1"),
            helper.make_node("Tanh", ["c1"], ["s1"], name="s1"),
            helper.make_node("Flatten", ["s1"], ["f"], name="f"),
            helper.make_node("MatMul", ["f", "w2"], ["y"], name="m"),
        ],
        "local",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("local")
    source, target = folder / "float.onnx", folder / "qdq.onnx"
    onnx.save(network(), source)
    logging.disable(logging.WARNING)
    try:
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=OrtType.QUInt8,
            weight_type=OrtType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
    return source, target


def sqnr(several: list[PairStatistics]) -> float:
    return 10 * math.log10(sum(s.sum_xx for s in several) / sum(s.sum_dd for s in several))


def test_they_are_what_onnxruntime_s_loss_debugger_tells(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = models
    theirs = []
    for path in (source, target):
        augmented = tmp_path / path.name
        peer.modify_model_output_intermediate_tensors(path, augmented)
        theirs.append(peer.collect_activations(str(augmented), Reader()))
    in_float, in_qdq = theirs
    activations = peer.compute_activation_error(peer.create_activation_matching(in_qdq, in_float))
    weights = peer.compute_weight_error(peer.create_weight_matching(str(source), str(target)))

    loaded = load_model(target, source)
    nodes = {node.name: node for node in loaded.calibration_nodes}
    found = list(local_errors(Engine(loaded), SAMPLES, list(nodes)))

    compared = []
    for name, node in nodes.items():
        own = [e.own for e in found if e.node == name]
        accumulated = [e.accumulated for e in found if e.node == name]
        tensor = node.input.removesuffix(OUTPUT)
        if node.kind is CalibrationKind.WEIGHT:
            # Its float values are kept under a name of our own; the quantized ones tell whose.
            (tensor,) = [w for w in weights if node.output.startswith(w)]
            assert len(own) == 1
            assert sqnr(own) == pytest.approx(weights[tensor], abs=1e-3)
        else:
            assert len(own) == len(SAMPLES)
            xmodel = activations[tensor]["xmodel_err"]
            assert sqnr(accumulated) == pytest.approx(xmodel, abs=1e-3), tensor
            if tensor == "x":  # nothing before it differs
                assert sqnr(own) == pytest.approx(activations[tensor]["qdq_err"], abs=1e-3)
        compared.append(tensor)
    assert {"x", "w0", "s0", "w1", "w2"} <= set(compared)


def test_own_errors_are_those_of_rounding_the_float_tensor(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = models
    augmented = tmp_path / "float.onnx"
    peer.modify_model_output_intermediate_tensors(source, augmented)
    in_float = peer.collect_activations(str(augmented), Reader())
    qdq = onnx.load(target)
    constants = {t.name: numpy_helper.to_array(t) for t in qdq.graph.initializer}
    loaded = load_model(target, source)
    nodes = {n.name: n for n in loaded.calibration_nodes if n.kind is CalibrationKind.ACTIVATION}

    found = list(local_errors(Engine(loaded), SAMPLES, list(nodes)))

    for name, node in nodes.items():
        (q,) = (n for n in qdq.graph.node
                if n.op_type == "QuantizeLinear" and n.input[0] == node.input)  # fmt: skip
        scale, zero = constants[q.input[1]], constants[q.input[2]].astype(np.float32)
        x = in_float[node.input.removesuffix(OUTPUT)]
        y = [(np.clip(np.round(v / scale) + zero, 0, 255) - zero) * scale for v in x]
        oracle = peer.compute_signal_to_quantization_noice_ratio(x, y)
        assert sqnr([e.own for e in found if e.node == name]) == pytest.approx(oracle, abs=1e-3)


def test_a_calibrated_model_by_hand() -> None:
    proto = graphs.two_convolutions()
    loaded, engine = load_model(proto), Engine(load_model(proto))
    sample = {"x": np.random.default_rng(0).normal(0, 3, (1, 4, 5, 5)).astype(np.float32)}
    found = {e.node: e for e in local_errors(engine, {"0": sample, "1": sample},
                                             ["3_HzCalibration", "2_HzCalibration"])}  # fmt: skip
    assert {n: e.sample_id for n, e in found.items()} == {
        "2_HzCalibration": None,
        "3_HzCalibration": "1",
    }
    (b,) = graphs.run(loaded, sample, graphs.QuantConfig(), ["b"])
    (bq,) = graphs.run(loaded, sample, outputs=["bq"])
    scale = np.float32(0.05)
    own = np.clip(np.round(b / scale), 0, 255) * scale
    error = found["3_HzCalibration"]
    assert error.own.sum_dd == pytest.approx(np.square((b - own).astype(np.float64)).sum())
    assert error.accumulated.sum_dd == pytest.approx(np.square((b - bq).astype(np.float64)).sum())
    assert error.accumulated.sum_dd > error.own.sum_dd
    w = numpy_helper.to_array(proto.graph.initializer[0])
    scale = np.float32(0.02)
    rounded = np.clip(np.round(w / scale), -128, 127) * scale
    weight = found["2_HzCalibration"]
    assert weight.own.sum_dd == pytest.approx(np.square((w - rounded).astype(np.float64)).sum())
    assert weight.accumulated == weight.own


def test_an_unknown_calibration_node_is_told() -> None:
    engine = Engine(load_model(graphs.two_convolutions()))
    with pytest.raises(UnknownNodeError, match=r"no calibration node named '9_Hz.*closest names"):
        list(local_errors(engine, {}, ["9_HzCalibration"]))
