"""Which quantizers a node has: docs/nodes.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.engine import Engine
from hmct_track.model import QuantModel, load_model
from hmct_track.types import CalibrationKind, QuantConfig
from tests.support import graphs

DOCUMENT = Path(__file__).parents[1] / "docs" / "nodes.md"


def test_output_quantizers_are_those_that_read_what_a_node_gives() -> None:
    model = load_model(graphs.two_convolutions())
    assert model.output_quantizers("Relu_1") == ("3_HzCalibration",)
    assert model.output_quantizers("Conv_0") == ()


def test_ranking_of_outputs_switches_what_reads_them(tmp_path: Path) -> None:
    """GIVEN -n output
    THEN a node's value is that of the activation quantizer behind it, and others are not listed.
    """
    x = {"x": [np.random.default_rng(8).standard_normal((1, 4, 5, 5)).astype(np.float32)]}
    found = {
        kind: dbg.get_sensitivity_of_nodes(
            graphs.two_convolutions(), "mse", x, node_type=kind, lake=tmp_path
        )
        for kind in ("output", "activation")
    }
    assert {**found["output"]} == {"Relu_1": found["activation"]["3_HzCalibration"]}


def errors(model: QuantModel, switched: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Squared error over eight samples with these calibration nodes alone, by name."""
    every = [node.name for node in model.calibration_nodes]
    configs = {name: QuantConfig.only(nodes).canonical(every) for name, nodes in switched.items()}
    samples = {
        file.stem: {"input": np.load(file)}
        for file in sorted(demo.calibration_data_path().glob("input/*.npy"))[:8]
    }
    found: dict[str, float] = defaultdict(float)
    wanted = list({config.config_id: config for config in configs.values()}.values())
    for measured in Engine(model).evaluate(wanted, samples, [model.outputs[0].name]):
        found[measured.config_id] += measured.statistics.sum_dd
    return {name: found[config.config_id] for name, config in configs.items()}


def test_the_document_says_how_far_two_meanings_of_a_node_are_apart() -> None:
    """GIVEN the demo model ranked by inputs and weights, and by weights and outputs
    THEN Kendall's tau of the two orders is the one in docs/nodes.md.
    """
    model = load_model(demo.model_path())
    kinds = {node.name: node.kind for node in model.calibration_nodes}
    reads = {n.name: model.calibrations_of(n.name) for n in model.quantizable_nodes}
    gives = {
        node.name: [
            *(c for c in node.calibration_nodes if kinds[c] is CalibrationKind.WEIGHT),
            *model.output_quantizers(node.name),
        ]
        for node in model.general_nodes
    }
    both = [name for name in reads if gives[name]]
    by_input = errors(model, {name: reads[name] for name in both})
    by_output = errors(model, {name: gives[name] for name in both})
    pairs = list(combinations(both, 2))
    order = [(by_input[a] - by_input[b]) * (by_output[a] - by_output[b]) for a, b in pairs]
    tau = sum(np.sign(order)) / len(pairs)
    said = f"Kendall's tau of\n{tau:.2f} over the {len(both)} nodes"
    assert said in DOCUMENT.read_text(encoding="utf-8"), said
