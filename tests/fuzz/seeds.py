"""The models that are mutated: small, and together of all kinds that are understood."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.graphs import calibration, model, two_convolutions

node = helper.make_node


def _weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / 4


def _activation(source: str, target: str, qtype: str = "int8") -> onnx.NodeProto:
    return calibration(source, target, f"{source}_cal", scales=[0.05], qtype=qtype)


def _weight(source: str, target: str, channels: int, axis: int = 0) -> onnx.NodeProto:
    scales = np.linspace(0.01, 0.02, channels, dtype=np.float32).tolist()
    return calibration(source, target, f"{source}_cal", scales=scales, qtype="int8", axis=axis)


def residual() -> onnx.ModelProto:
    """Convolutions, a sum and a Gemm."""
    nodes = [
        _activation("x", "xq"),
        _weight("w1", "w1q", 4),
        node("Conv", ["xq", "w1q", "b1"], ["a"], "Conv_0", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["r"], "Relu_1"),
        _activation("r", "rq", "uint8"),
        _weight("w2", "w2q", 4),
        node("Conv", ["rq", "w2q"], ["c"], "Conv_2"),
        _activation("c", "cq", "int16"),
        node("Add", ["cq", "rq"], ["s"], "Add_3"),
        node("GlobalAveragePool", ["s"], ["p"], "Pool_4"),
        node("Flatten", ["p"], ["f"], "Flatten_5"),
        _activation("f", "fq"),
        _weight("w3", "w3q", 5, axis=1),
        node("Gemm", ["fq", "w3q"], ["y"], "Gemm_6"),
    ]
    constants = {
        "w1": _weights(4, 3, 3, 3),
        "b1": _weights(4),
        "w2": _weights(4, 4, 1, 1, seed=1),
        "w3": _weights(4, 5, seed=2),
    }
    return model(nodes, {"x": [1, 3, 8, 8]}, constants=constants)


def horizon() -> onnx.ModelProto:
    """The horizon domain's ops."""

    def own(op: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
        return node(op, inputs, [output], output, domain="horizon", **attributes)

    nodes = [
        own("HzPreprocess", ["x", "pw", "pb"], "pre", channel_group=3, data_format="NCHW"),
        own("HzSpaceToDepth", ["pre"], "deep", block_height=2, block_width=2),
        _activation("deep", "dq"),
        _weight("w1", "w1q", 4),
        node("Conv", ["dq", "w1q"], ["c"], "Conv_0"),
        own("HzReluX", ["c"], "relu", clip_value=4.0),
        own("HzGelu", ["relu"], "gelu", approximate="none"),
        own("HzRsqrt", ["relu"], "root", epsilon=0.5),
        _activation("gelu", "gq"),
        _activation("root", "rq"),
        node("Mul", ["gq", "rq"], ["m"], "Mul_1"),
        _activation("m", "mq"),
        own("HzSoftmax", ["mq"], "y", axis=1),
    ]
    constants = {
        "pw": _weights(3, 1, 1, 1, seed=3),
        "pb": _weights(3, seed=4),
        "w1": _weights(4, 12, 1, 1, seed=5),
    }
    return model(nodes, {"x": [1, 3, 8, 8]}, constants=constants)


def bodies() -> onnx.ModelProto:
    """An If and a Loop, whose bodies read tensors of the graph."""

    def value(name: str, kind: int, shape: list[int] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    floats = TensorProto.FLOAT
    then = helper.make_graph(
        [node("Mul", ["m", "two"], ["t"], "then_mul")], "then", [], [value("t", floats, None)]
    )
    other = helper.make_graph(
        [node("Neg", ["m"], ["e"], "else_neg")], "else", [], [value("e", floats, None)]
    )
    loop = helper.make_graph(
        [
            node("Add", ["v", "mq"], ["v2"], "loop_add"),
            node("Identity", ["go"], ["go2"], "loop_go"),
        ],
        "loop",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []),
         value("v", floats, None)],
        [value("go2", TensorProto.BOOL, []), value("v2", floats, None)],
    )  # fmt: skip
    nodes = [
        _activation("x", "xq"),
        _weight("w1", "w1q", 8, axis=1),
        node("MatMul", ["xq", "w1q"], ["m"], "MatMul_0"),
        node("ReduceSum", ["m"], ["s"], "Sum_1", keepdims=0),
        node("Greater", ["s", "zero"], ["cond"], "Greater_2"),
        _activation("m", "mq"),
        node("If", ["cond"], ["b"], "If_3", then_branch=then, else_branch=other),
        node("Loop", ["three", "go_on", "b"], ["l"], "Loop_4", body=loop),
        _activation("l", "lq"),
        node("MatMul", ["lq", "w2"], ["y"], "MatMul_5"),
    ]
    constants = {
        "w1": _weights(16, 8, seed=6),
        "w2": _weights(8, 3, seed=7),
        "zero": np.array(0, np.float32),
        "two": np.array(2, np.float32),
        "three": np.array(3, np.int64),
        "go_on": np.array(True),  # without it the reference does not loop
    }
    return model(nodes, {"x": [4, 16]}, constants=constants)


def qdq() -> onnx.ModelProto:
    """Pairs of QuantizeLinear and DequantizeLinear, and an integer weight."""

    def pair(source: str, number: int) -> list[onnx.NodeProto]:
        scale = ["s", "z"]
        return [
            node("QuantizeLinear", [source, *scale], [f"q{number}"], f"Q_{number}"),
            node("DequantizeLinear", [f"q{number}", *scale], [f"d{number}"], f"DQ_{number}"),
        ]

    nodes = [
        *pair("x", 0),
        node("DequantizeLinear", ["wi", "ws", "wz"], ["w"], "w_DQ", axis=0),
        node("Conv", ["d0", "w"], ["c"], "Conv_0"),
        *pair("c", 1),
        node("GlobalAveragePool", ["d1"], ["p"], "Pool_1"),
        node("Flatten", ["p"], ["f"], "Flatten_2"),
        *pair("f", 2),
        node("MatMul", ["d2", "w2"], ["y"], "MatMul_3"),
    ]
    rng = np.random.default_rng(8)
    constants = {
        "s": np.array(0.05, np.float32),
        "z": np.array(3, np.int8),
        "wi": rng.integers(-127, 128, (4, 3, 3, 3), np.int8),
        "ws": np.linspace(0.001, 0.004, 4, dtype=np.float32),
        "wz": np.zeros(4, np.int8),
        "w2": _weights(4, 5, seed=9),
    }
    return model(nodes, {"x": [1, 3, 8, 8]}, constants=constants)


def function() -> onnx.ModelProto:
    """A function that calls another."""
    proto = model(
        [
            _activation("x", "xq"),
            node("Outer", ["xq"], ["o"], "call", domain="fd"),
            _activation("o", "oq"),
            _weight("w", "wq", 5, axis=1),
            node("MatMul", ["oq", "wq"], ["y"], "MatMul_1"),
        ],
        {"x": [4, 16]},
        constants={"w": _weights(16, 5, seed=10)},
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("fd", 1)]
    leaky = node("LeakyRelu", ["a"], ["m"], "leaky", alpha=0.25)
    inner = [node("Neg", ["a"], ["n"], "neg"), node("Exp", ["n"], ["b"], "exp")]
    outer = [leaky, node("Inner", ["m"], ["b"], "inner_call", domain="fd")]
    proto.functions.append(helper.make_function("fd", "Inner", ["a"], ["b"], inner, opsets))
    proto.functions.append(helper.make_function("fd", "Outer", ["a"], ["b"], outer, opsets))
    proto.opset_import.append(helper.make_opsetid("fd", 1))
    return proto


def external() -> onnx.ModelProto:
    """Weights in a file of their own; see `with_external_data`."""
    return two_convolutions()


def unquantized() -> onnx.ModelProto:
    """A float model, to be calibrated."""
    nodes = [
        node("Conv", ["x", "w1"], ["c"], "Conv_0"),
        node("BatchNormalization", ["c", "g", "h", "m", "v"], ["n"], "BN_1"),
        node("Sigmoid", ["n"], ["s"], "Sigmoid_2"),
        node("Conv", ["s", "w2"], ["y"], "Conv_3"),
    ]
    constants = {
        "w1": _weights(4, 3, 3, 3, seed=11),
        **{name: np.abs(_weights(4, seed=12)) + 0.5 for name in "ghmv"},
        "w2": _weights(2, 4, 1, 1, seed=13),
    }
    # Before opset 14 the reference takes BatchNormalization for one that is trained.
    return model(nodes, {"x": [1, 3, 8, 8]}, constants=constants, opset=15)


def with_external_data(proto: onnx.ModelProto) -> bytes:
    """Move the initializers' bytes out of ``proto`` into the file ``weights``, given back."""
    data = b""
    for tensor in proto.graph.initializer:
        raw = numpy_helper.to_array(tensor).tobytes()
        for key, value in (("location", "weights"), ("offset", len(data)), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        data += raw
    return data


SEEDS: list[Callable[[], onnx.ModelProto]] = [
    residual,
    horizon,
    bodies,
    qdq,
    function,
    external,
    unquantized,
]
