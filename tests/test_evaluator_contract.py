"""The local engine is an evaluator, with any number of threads and with hardly any memory."""

from __future__ import annotations

import pytest

from hmct_track.engine import Engine
from hmct_track.engine.protocols import Evaluator
from hmct_track.model import load_model
from tests.support.evaluator_contract import EvaluatorContract, network


@pytest.fixture(params=[{"threads": 1}, {"threads": 3}, {"memory": 64}], ids=str)
def evaluator(request: pytest.FixtureRequest) -> Evaluator:
    return Engine(load_model(network()), **request.param)


class TestEngine(EvaluatorContract):
    """The contract, kept by the local engine."""
