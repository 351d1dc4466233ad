"""Mutated models end in an answer that the reference shares, or in one line; see `tests.fuzz`."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tests.fuzz.cases import AGREES, REFUSED, difference
from tests.fuzz.oracle import float_outputs
from tests.fuzz.runner import FINE, run
from tests.fuzz.seeds import SEEDS, external

CASES = 150
"""`python -m tests.fuzz 10000` is the slow tier."""


def test_mutated_models() -> None:
    told = list(run(range(CASES)))
    wrong = [t for t in told if t["outcome"] not in FINE]
    assert not wrong
    assert [t["case"] for t in told] == list(range(CASES))
    # That nearly everything is refused would prove little: enough must be compared.
    counts = Counter(t["outcome"] for t in told)
    assert counts[AGREES] >= CASES // 8
    assert counts[REFUSED] >= CASES // 8


def test_the_reference_takes_every_seed() -> None:
    for seed in SEEDS:
        proto = seed()
        dims = proto.graph.input[0].type.tensor_type.shape.dim
        x = np.random.default_rng(0).standard_normal([d.dim_value for d in dims])
        found = float_outputs(proto, {"x": x.astype(np.float32)})
        assert found is not None, seed.__name__
        assert np.isfinite(found["y"]).all()
        assert seed is external or found["y"].size > 1


def test_the_judge_tells_wrong_outputs() -> None:
    y = np.array([1.0, np.nan], np.float32)
    assert difference({"y": y}, {"y": y})["outcome"] == AGREES
    for other in (y * 1.01, y[:1], y.astype(np.float64), np.array([np.nan, 1], np.float32)):
        assert difference({"y": other}, {"y": y})["outcome"] == "differs"
    assert difference({}, {"y": y})["outcome"] == "differs"
