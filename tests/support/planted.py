"""Small calibrated networks with one planted cause each, and samples for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.support.graphs import calibration, model

CHANNELS = 8
Array = np.ndarray


@dataclass
class Network:
    """x -> Conv_0 -> Relu_1 -> Conv_2 -> y, int8, all scales from maxima unless planted."""

    first: Array
    second: Array
    samples: list[dict[str, Array]]
    bias: Array = field(default_factory=lambda: np.zeros(CHANNELS, np.float32))
    per_channel: bool = True
    clip: float = 1.0
    """The share of its maximum at which the activation of Conv_2 is clipped."""

    def hidden(self, sample: dict[str, Array]) -> Array:
        """What Conv_2 reads, in float."""
        x = np.einsum("oi,nihw->nohw", self.first[..., 0, 0], sample["x"])
        return np.maximum(x + self.bias.reshape(1, -1, 1, 1), 0)

    def output(self, sample: dict[str, Array]) -> Array:
        """What it gives, in float: an oracle without onnxruntime."""
        return np.einsum("oi,nihw->nohw", self.second[..., 0, 0], self.hidden(sample))

    def calibrated(self) -> onnx.ModelProto:
        """The network with HzCalibration nodes."""
        top = max(float(np.abs(s["x"]).max()) for s in self.samples)
        inner = self.clip * max(float(self.hidden(s).max()) for s in self.samples)
        nodes = [
            _quantizer("x", "xq", "x_q", np.array([top])),
            _quantizer("w0", "w0q", "w0_q", self._tops(self.first), axis=0),
            helper.make_node("Conv", ["xq", "w0q", "b0"], ["a"], name="Conv_0"),
            helper.make_node("Relu", ["a"], ["b"], name="Relu_1"),
            _quantizer("b", "bq", "b_q", np.array([inner])),
            _quantizer("w2", "w2q", "w2_q", self._tops(self.second), axis=0),
            helper.make_node("Conv", ["bq", "w2q"], ["y"], name="Conv_2"),
        ]
        shape = list(self.samples[0]["x"].shape)
        constants = {"w0": self.first, "w2": self.second, "b0": self.bias}
        return model(nodes, {"x": shape}, constants=constants)

    def data(self) -> dict[str, list[Array]]:
        """The samples as a mapping."""
        return {"x": [sample["x"] for sample in self.samples]}

    def _tops(self, weight: Array) -> Array:
        tops = np.abs(weight).reshape(len(weight), -1).max(1)
        return tops if self.per_channel else tops.max(keepdims=True)


def _quantizer(source: str, target: str, name: str, tops: Array, axis: int = 1) -> onnx.NodeProto:
    values: dict[str, Any] = {"scales": (tops / 127).tolist(), "thresholds": tops.tolist()}
    return calibration(source, target, name, qtype="int8", axis=axis, **values)


def healthy(seed: int = 0, samples: int = 8) -> Network:
    """Nothing planted."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32) for _ in "ab"]
    data = [{"x": rng.standard_normal((1, CHANNELS, 8, 8)).astype(np.float32)}
            for _ in range(samples)]  # fmt: skip
    bias = rng.standard_normal(CHANNELS).astype(np.float32)
    return Network(*weights, data, bias)


def clipped() -> Network:
    """The activation of Conv_2 is clipped at a fifth of its maximum."""
    network = healthy()
    network.clip = 0.2
    return network


def outlier_channel() -> Network:
    """A channel of the activation of Conv_2 is 200 times larger, and its weights smaller."""
    network = healthy()
    network.first[3] *= 200
    network.bias[3] *= 200
    network.second[:, 3] /= 200
    return network


def shifted_mean() -> Network:
    """All weights of Conv_2 are rounded down by 0.4 steps, and what it reads is about constant."""
    network = healthy()
    network.per_channel = False
    network.bias[:] = 20
    network.first *= 0.2
    steps = np.random.default_rng(1).integers(20, 100, network.second.shape) + 0.4
    steps[0, 0] = 127
    network.second[:] = (steps / 127).astype(np.float32)
    return network


def dead_channel() -> Network:
    """Channel 5 of what Conv_2 reads is always zero."""
    network = healthy()
    network.first[5], network.bias[5] = 0, -1
    return network


def huge_channel() -> Network:
    """One output channel of the weight of Conv_0 is 300 times larger, with one scale for all."""
    network = healthy()
    network.per_channel = False
    network.first[2] *= 300
    network.bias[2] *= 300
    network.second[:, 2] /= 300
    return network
