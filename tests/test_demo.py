"""The demo model is what the README says it is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx

from benchmarks import rebuild
from hmct_track import demo
from hmct_track.model import load_model

FOLDER = Path(demo.__file__).parent


def accuracy(on: list[str]) -> float:
    images, labels = demo.heldout()
    model = rebuild.build(onnx.load(demo.model_path()), on)
    ((logits,),) = rebuild.run(model, [{"input": images}], ["logits"])
    return float((logits.argmax(1) == labels).mean())


def test_it_is_accurate_and_calibration_cost_it_accuracy() -> None:
    readme = " ".join((FOLDER.parents[1] / "README.md").read_text().split())
    stated = [float(number) for number in re.findall(r"(\d\d\.\d+) % of the 450 held-out", readme)]
    every = [node.name for node in load_model(demo.model_path()).calibration_nodes]
    measured = [round(100 * accuracy([]), 2), round(100 * accuracy(every), 2)]
    assert measured[0] >= 97
    assert measured[1] < measured[0] - 1
    assert stated == measured


def test_it_is_a_depthwise_separable_network_with_residual_adds() -> None:
    model = load_model(demo.model_path())
    graph = onnx.load(demo.model_path()).graph
    groups = [a.i for n in graph.node for a in n.attribute if a.name == "group" and a.i > 1]
    assert len(groups) == 5, "depthwise convolutions"
    assert Counter(n.op_type for n in model.general_nodes)["Add"] == 3
    assert 15 <= len(model.quantizable_nodes) <= 30


def test_it_is_small_and_has_64_samples_that_are_not_held_out() -> None:
    files = list(demo.calibration_data_path().glob("input/*.npy"))
    assert len(files) == 64
    size = sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file())
    assert size < 1_000_000
    heldout = {image.tobytes() for image in demo.heldout()[0]}
    assert not heldout & {np.load(f).tobytes() for f in files}


def test_thresholds_are_plain_maxima() -> None:
    model = load_model(demo.model_path())
    samples = [{"input": np.load(f)} for f in demo.calibration_data_path().glob("input/*.npy")]
    nodes = [n for n in model.calibration_nodes if n.kind == "activation" and n.input != "input"]
    proto = rebuild.build(onnx.load(demo.model_path()), [])
    tensors = [node.input for node in nodes]
    runs = rebuild.run(rebuild.build(proto, [], tensors), samples, tensors)
    for k, node in enumerate(nodes):
        largest = max(float(np.abs(run[k]).max()) for run in runs)
        np.testing.assert_allclose(node.params.max_threshold, largest, rtol=1e-5)
