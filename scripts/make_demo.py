"""Train, calibrate and write the demo model: ``python -m scripts.make_demo``.

Needs the ``train`` extra (PyTorch, scikit-learn). Everything is seeded; on the same PyTorch build
it reproduces the shipped files. Prints the accuracies that the README states.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from hmct_track import demo
from scripts.calibrate_demo import calibrate

OUT = Path(demo.__file__).parent
CALIBRATION_SAMPLES = 64
EPOCHS = 60
GAIN_SPREAD = 1.0
# (expansion, output channels, stride) of each inverted-residual block, MobileNetV2's design.
BLOCKS = ((2, 16, 1), (3, 24, 2), (3, 24, 1), (3, 32, 2), (3, 32, 1))


class ConvBn(nn.Module):
    """Convolution, batch normalisation and, unless it is linear, ReLU.

    The gains of the normalisation start far apart, and ReLU has no upper bound: after folding, the
    channels of a layer differ widely in range. So it is in real MobileNets, after longer training
    on more data, and it is what per-tensor quantization suffers from.
    """

    def __init__(self, cin: int, cout: int, k: int, stride: int, groups: int, relu: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(cout)
        with torch.no_grad():
            self.bn.weight.normal_(0, GAIN_SPREAD).exp_()
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn(self.conv(x))
        return torch.relu(y) if self.relu else y

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias with the batch normalisation folded in."""
        bn = self.bn
        assert bn.running_var is not None and bn.running_mean is not None
        gain = bn.weight / torch.sqrt(bn.running_var + bn.eps)
        weight = self.conv.weight * gain[:, None, None, None]
        return weight.detach().numpy(), (bn.bias - bn.running_mean * gain).detach().numpy()


class Block(nn.Module):
    """Inverted residual: expand, depthwise, project; added to its input where shapes agree."""

    def __init__(self, cin: int, expand: int, cout: int, stride: int) -> None:
        super().__init__()
        mid = cin * expand
        self.expand = ConvBn(cin, mid, 1, 1, 1, True)
        self.depthwise = ConvBn(mid, mid, 3, stride, mid, True)
        self.project = ConvBn(mid, cout, 1, 1, 1, False)
        self.residual = cin == cout and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class Net(nn.Module):
    """16 x 16 digits to ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBn(1, 16, 3, 1, 1, True)
        blocks, channels = [], 16
        for expand, cout, stride in BLOCKS:
            blocks.append(Block(channels, expand, cout, stride))
            channels = cout
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvBn(channels, 64, 1, 1, 1, True)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        for block in self.blocks:
            y = block(y)
        return self.classifier(self.head(y).mean((2, 3)))


def train(x: torch.Tensor, y: torch.Tensor) -> Net:
    """Train with one-cycle SGD and shifts of up to two pixels."""
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=1e-4, nesterov=True)
    steps = EPOCHS * (len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))[: len(x) // 64 * 64].view(-1, 64)
        for batch in order:
            dx, dy = torch.randint(-2, 3, (2,)).tolist()
            shifted = torch.roll(x[batch], (dx, dy), (2, 3))
            loss = nn.functional.cross_entropy(net(shifted), y[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def export(net: Net) -> onnx.ModelProto:
    """Write the network as plain ONNX with the names that Horizon's toolchain gives nodes."""
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def add(op: str, inputs: list[str], **attributes: object) -> str:
        name = f"{op}_{len(nodes)}"
        output = f"{name}_output"
        nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def const(name: str, value: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def conv(x: str, layer: ConvBn, name: str) -> str:
        weight, bias = layer.folded()
        pad, groups = layer.conv.padding[0], layer.conv.groups
        y = add(
            "Conv",
            [x, const(f"{name}.weight", weight), const(f"{name}.bias", bias)],
            kernel_shape=list(weight.shape[2:]),
            pads=[pad] * 4,  # type: ignore[list-item]
            strides=list(layer.conv.stride),
            group=groups,
        )
        return add("Relu", [y]) if layer.relu else y

    x = conv("input", net.stem, "stem")
    for i, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        y = conv(x, block.expand, f"blocks.{i}.expand")
        y = conv(y, block.depthwise, f"blocks.{i}.depthwise")
        y = conv(y, block.project, f"blocks.{i}.project")
        x = add("Add", [x, y]) if block.residual else y
    x = add("GlobalAveragePool", [conv(x, net.head, "head")])
    x = add("Flatten", [x])
    classifier = net.classifier
    logits = add(
        "Gemm",
        [
            x,
            const("classifier.weight", classifier.weight.detach().numpy()),
            const("classifier.bias", classifier.bias.detach().numpy()),
        ],
        transB=1,
    )
    nodes[-1].output[0] = "logits"
    assert logits
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Make the demo's files and print how accurate the float network is."""
    torch.manual_seed(3)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    raw_train, raw_test, y_train, y_test = train_test_split(
        digits.images, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    x_train = demo.preprocess(raw_train)
    net = train(torch.from_numpy(x_train), torch.from_numpy(y_train))
    with torch.no_grad():
        logits = net(torch.from_numpy(demo.preprocess(raw_test)))
    print(f"held-out accuracy: {(logits.argmax(1).numpy() == y_test).mean():.4f} of {len(y_test)}")

    samples = [{"input": x[None]} for x in x_train[:CALIBRATION_SAMPLES]]
    calibrated = calibrate(export(net), samples)
    onnx.save(calibrated, OUT / "calibrated_model.onnx")
    folder = OUT / "calibration_data" / "input"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for i, sample in enumerate(samples):
        np.save(folder / f"{i}.npy", sample["input"])
    np.savez_compressed(
        OUT / "heldout.npz", images=raw_test.astype(np.uint8), labels=y_test.astype(np.uint8)
    )


if __name__ == "__main__":
    main()
