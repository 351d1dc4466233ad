"""MobileNetV2 as a float ONNX model with random weights: what it computes means nothing."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Expansion, channels, repeats, first stride: table 2 of Sandler et al., "MobileNetV2: Inverted
# Residuals and Linear Bottlenecks", 2018.
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(0)

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def node(self, op: str, inputs: list[str], **attributes: object) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, group: int = 1
    ) -> str:
        shape = (outputs, inputs // group, kernel, kernel)
        scale = np.sqrt(2 / (shape[1] * kernel * kernel))
        name = f"w{len(self.nodes)}"
        weight = self.constant(name, self.rng.standard_normal(shape) * scale)
        bias = self.constant(f"{name}_bias", self.rng.standard_normal(outputs) * 0.1)
        return self.node(
            "Conv",
            [x, weight, bias],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=group,
        )

    def relu6(self, x: str) -> str:
        return self.node("Clip", [x, "zero", "six"])


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNetV2 for 224 x 224 images, batch normalization folded; input ``x``, output ``y``."""
    w = _Writer()
    w.constant("zero", np.array(0))
    w.constant("six", np.array(6))
    x, channels = w.relu6(w.conv("x", 3, 32, 3, 2)), 32
    for expansion, width, repeats, first in BLOCKS:
        for k in range(repeats):
            stride, inner, into = first if k == 0 else 1, channels * expansion, x
            if expansion > 1:
                x = w.relu6(w.conv(x, channels, inner, 1))
            x = w.relu6(w.conv(x, inner, inner, 3, stride, inner))
            x = w.conv(x, inner, width, 1)
            if stride == 1 and channels == width:
                x = w.node("Add", [into, x])
            channels = width
    x = w.relu6(w.conv(x, channels, 1280, 1))
    x = w.node("Flatten", [w.node("GlobalAveragePool", [x])])
    weight = w.constant("classes", w.rng.standard_normal((1280, 1000)) * 0.03)
    w.nodes.append(helper.make_node("Gemm", [x, weight], ["y"], name="Gemm"))
    graph = helper.make_graph(
        w.nodes,
        "mobilenet_v2",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1000])],
        w.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
