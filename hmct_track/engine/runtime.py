"""onnxruntime: the only module that imports it. Lowered models in, sessions out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hmct_track.errors import EngineError, UsageError
from hmct_track.memory import give_back
from hmct_track.model import LoweredModel

CPU = "CPUExecutionProvider"
RUNTIME = f"onnxruntime-{ort.__version__}"
"""The library that computes, and its version."""


_CUDA = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""Options of providers. By default CUDA's convolutions and products of matrices round float to 10
bits of mantissa, see onnxruntime's page of its CUDA provider. Untested: no GPU was at hand."""

_DEVICE = threading.Lock()
"""A device has memory for one run, which keeps it busy alone, whatever model it is of; cores are
shared out."""

LARGE = 100 * 2**20
"""Bytes of weights from which on a copy of them is worth being rid of: about as much as Python and
the libraries take by themselves."""
FREED = 64 * 2**20
"""Bytes of weights that sessions are made of before what they freed is given back, which takes some
milliseconds."""

_FATAL = 4
"""Of onnxruntime's levels of logging."""


@cache
def _share_memory() -> None:
    """Have memory of the process that sessions take tensors from while they run.

    Without it each run asks the system for new pages, and gives them back at its end, which takes
    up to a fifth of the time of a ranking.
    """
    kind, use = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, ort.OrtMemType.DEFAULT
    # By default its size doubles, so that a large model would leave much of it unused.
    as_asked = ort.OrtArenaCfg(0, 1, -1, -1)
    ort.create_and_register_allocator(ort.OrtMemoryInfo("Cpu", kind, 0, use), as_asked)


def _run_options() -> ort.RunOptions:
    options = ort.RunOptions()
    options.log_severity_level = _FATAL
    return options


class Session:
    """A lowered model that runs."""

    def __init__(
        self,
        session: ort.InferenceSession,
        outputs: Sequence[str],
        values: Sequence[ort.OrtValue],
        runtime: Runtime,
    ) -> None:
        self._session = session
        self._values = values  # the session holds pointers into them
        self._runtime = runtime
        self.outputs = tuple(outputs)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs, in the order of ``outputs``. Several threads may call it at a time.

        Raises:
            EngineError: the runtime failed.
        """
        try:
            with self._runtime.turn:
                results: list[NDArray[Any]] = self._session.run(
                    list(self.outputs), dict(inputs), self._runtime.run_options
                )
        except Exception as error:  # onnxruntime raises classes of its own without a common base
            raise EngineError(f"onnxruntime failed while running the model: {error}") from error
        return results


class Runtime:
    """Makes sessions from one copy of a model's weights.

    onnxruntime copies the weights into each session, or lays them out anew for faster runs.

    Args:
        weights: the model's large constants.
        threads: cores for a session that runs alone; as many as there are by default.
        providers: execution providers, the preferred first; the CPU's by default.

    Raises:
        UsageError: this build of onnxruntime has not one of the providers.
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[np.generic]],
        *,
        threads: int | None = None,
        providers: Sequence[str] = (),
    ) -> None:
        there = ort.get_available_providers()
        for provider in providers:
            if provider not in there:
                raise UsageError(
                    f"execution provider {provider!r} is not in this build of onnxruntime; it has "
                    f"{', '.join(there)}"
                )
        # The values must outlive the sessions, which hold pointers into them.
        self._weights = {n: ort.OrtValue.ortvalue_from_numpy(w) for n, w in weights.items()}
        self._sizes = {name: weight.nbytes for name, weight in weights.items()}
        self.is_large = sum(self._sizes.values()) > LARGE
        """Whether a copy of the weights matters."""
        self._freed = 0
        self._lock = threading.Lock()
        self._threads = threads
        self._providers = list(providers) or [CPU]
        self.run_options = _run_options()
        on_device = any(provider != CPU for provider in self._providers)
        self.turn: AbstractContextManager[Any] = _DEVICE if on_device else nullcontext()
        """Held while a session runs."""

    @property
    def name(self) -> str:
        """Name of what computes; part of a measurement's key."""
        others = [p.removesuffix("ExecutionProvider") for p in self._providers if p != CPU]
        return "-".join((RUNTIME, *others))

    def stop(self) -> None:
        """Cut short whatever is running now."""
        self.run_options.terminate = True
        self.run_options = _run_options()

    def session(self, lowered: LoweredModel, *, alone: bool = True, packed: bool = True) -> Session:
        """A session of a lowered model.

        Args:
            lowered: the model.
            alone: whether a run may use all cores, or is one of many at a time.
            packed: whether a copy of weights is made that is laid out for faster runs.

        Raises:
            EngineError: the runtime refuses the model.
        """
        options = ort.SessionOptions()
        # An error reaches the user as an exception; the log would write names as they are.
        options.log_severity_level = _FATAL
        if not alone:
            options.intra_op_num_threads = 1
            # Such a session runs a few times: memory of its own costs more than it saves.
            _share_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
            options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        elif self._threads:
            options.intra_op_num_threads = self._threads
        # Fused Q/DQ pairs would run as integer kernels, which saturate on CPUs without VNNI.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        # Of two pairs in a row, onnxruntime would keep one, which rounds otherwise than both.
        options.add_session_config_entry("session.disable_double_qdq_remover", "1")
        if not packed:
            options.add_session_config_entry("session.disable_prepacking", "1")
        values = {name: self._weights[weight] for name, weight in lowered.weights.items()}
        values |= {n: ort.OrtValue.ortvalue_from_numpy(a) for n, a in lowered.arrays.items()}
        if values:
            options.add_external_initializers(list(values), list(values.values()))
        try:
            session = ort.InferenceSession(
                lowered.proto,
                options,
                providers=self._providers,
                provider_options=[_CUDA.get(name, {}) for name in self._providers],
            )
        except Exception as error:  # onnxruntime raises classes of its own without a common base
            raise EngineError(f"onnxruntime cannot load the model: {error}") from error
        if self.is_large:
            self._give_back(lowered)
        return Session(session, lowered.outputs, list(values.values()), self)

    def _give_back(self, lowered: LoweredModel) -> None:
        """Give back what sessions freed: onnxruntime copies weights while it lays them out."""
        freed = sum(self._sizes[weight] for weight in lowered.weights.values())
        freed += sum(array.nbytes for array in lowered.arrays.values())
        with self._lock:
            self._freed += freed
            if self._freed < FREED:
                return
            self._freed = 0
        give_back()
