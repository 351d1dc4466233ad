"""onnxruntime: the only module that imports it. Lowered models in, sessions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hmct_track.errors import EngineError
from hmct_track.model import LoweredModel

RUNTIME = f"onnxruntime-{ort.__version__}"
"""Name of what computes; part of a measurement's key."""


class Session:
    """A lowered model that runs."""

    def __init__(self, session: ort.InferenceSession, outputs: Sequence[str]) -> None:
        self._session = session
        self.outputs = tuple(outputs)

    def run(self, sample: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs for one sample, in the order of ``outputs``.

        Raises:
            EngineError: the runtime failed.
        """
        try:
            results: list[NDArray[Any]] = self._session.run(list(self.outputs), dict(sample))
        except Exception as error:  # onnxruntime raises classes of its own without a common base
            raise EngineError(f"onnxruntime failed while running the model: {error}") from error
        return results


class Runtime:
    """Makes sessions that share one copy of a model's weights."""

    def __init__(
        self, weights: Mapping[str, NDArray[np.generic]], *, threads: int | None = None
    ) -> None:
        # The values must outlive the sessions, which hold pointers into them.
        self._weights = {n: ort.OrtValue.ortvalue_from_numpy(w) for n, w in weights.items()}
        self._threads = threads

    def session(self, lowered: LoweredModel) -> Session:
        """A session of a lowered model.

        Raises:
            EngineError: the runtime refuses the model.
        """
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if self._threads:
            options.intra_op_num_threads = self._threads
        # Fused Q/DQ pairs would run as integer kernels, which saturate on CPUs without VNNI.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        if lowered.weights:
            values = [self._weights[name] for name in lowered.weights]
            options.add_external_initializers(list(lowered.weights), values)
        try:
            session = ort.InferenceSession(
                lowered.proto, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises classes of its own without a common base
            raise EngineError(f"onnxruntime cannot load the model: {error}") from error
        return Session(session, lowered.outputs)
