"""What a Dask worker does: it holds a model, and evaluates the blocks that it is sent."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker
from numpy.typing import NDArray

from hmct_track.engine.evaluate import Engine
from hmct_track.engine.protocols import Judge, Keeper, Kept, Record
from hmct_track.engine.runtime import RUNTIME
from hmct_track.errors import HmctTrackError
from hmct_track.model import QuantModel, load_model
from hmct_track.types import NUMERIC_VERSION, QuantConfig


@dataclass(frozen=True)
class Facts:
    """What tells one worker from another where values are concerned."""

    cpu: str
    runtime: str
    package: str
    numeric_version: int

    def __str__(self) -> str:
        return f"{self.cpu}, {self.runtime}"

    @property
    def versions(self) -> str:
        """What must be the same everywhere."""
        return f"hmct-track {self.package} (numbers {self.numeric_version}), {self.runtime}"


@dataclass(frozen=True)
class Done:
    """What came of a task."""

    records: list[Record]
    noise: float | None
    seconds: float
    facts: Facts
    error: tuple[str, str] | None = None
    """Class and text of an error of ours, which need not be one that can be sent."""
    has_model: bool = True
    """Whether the worker has the model at all; if not, nothing was done."""


@dataclass(frozen=True)
class Work:
    """Configurations, as JSON, and samples with their inputs."""

    configs: tuple[str, ...]
    samples: Mapping[str, Mapping[str, NDArray[Any]]]


class ModelPlugin(WorkerPlugin):  # type: ignore[misc] # Dask has no types
    """A model on a worker: it came once, by content hash, and its sessions stay.

    Args:
        name: what tasks ask for it by.
        model_id: its content hash.
        model: the model; None where workers are to read it from the path.
        path: a file of the model that workers may be able to read.
        threads: cores of a worker to use; those that the worker was given by default.
        memory: as of `Engine`.
        providers: as of `Engine`.
    """

    idempotent = True

    def __init__(
        self,
        name: str,
        model_id: str,
        model: QuantModel | None,
        path: str | None,
        *,
        threads: int | None,
        memory: int | None,
        providers: Sequence[str],
    ) -> None:
        self.name = name
        self._model_id = model_id
        self._model = model
        self._path = path
        self._given = {"threads": threads, "memory": memory, "providers": tuple(providers)}

    def setup(self, worker: Worker) -> None:
        """Called by Dask when the plugin reaches a worker; work is left to the first task."""
        self._cores = worker.state.nthreads
        self._engine: Engine | None = None
        self._judges: dict[str, Judge] = {}
        # A worker may run several tasks at a time, an engine one: it uses all cores itself.
        self.lock = threading.Lock()

    def judges(self, judges: Sequence[Judge]) -> list[Judge]:
        """Those of an identity that came before, which know float values already."""
        return [self._judges.setdefault(judge.identity, judge) for judge in judges]

    def engine(self) -> Engine | None:
        """The engine; None if this worker has no way to the model."""
        if self._engine is None:
            model = self._model or self._read()
            if model is None:
                return None
            given = {**self._given, "threads": self._given["threads"] or self._cores}
            self._engine = Engine(model, **given)  # type: ignore[arg-type]
        return self._engine

    def _read(self) -> QuantModel | None:
        """The model from the path, if the very same one is there."""
        if self._path is None or not Path(self._path).is_file():
            return None
        try:
            model = load_model(self._path)
        except HmctTrackError:
            return None
        return model if model.model_id == self._model_id else None


def facts() -> Facts:
    """What this process computes with."""
    return Facts(_cpu(), RUNTIME, version("hmct-track"), NUMERIC_VERSION)


def evaluate(
    name: str,
    work: Sequence[Work],
    outputs: Sequence[str],
    judges: Sequence[Judge],
    keeper: Keeper | None = None,
) -> Done:
    """Evaluate blocks on this worker.

    Args:
        name: of the model's plugin.
        work: what to measure.
        outputs: what is compared.
        judges: who judges.
        keeper: what keeps the records, if it can here.
    """
    own, nothing = facts(), Done([], None, 0.0, facts(), has_model=False)
    plugin = get_worker().plugins.get(name)
    if not isinstance(plugin, ModelPlugin):
        return nothing
    records: list[Record] = []
    with plugin.lock:
        began = time.monotonic()
        error, engine = None, None
        try:
            engine = plugin.engine()
            if engine is None:
                return nothing
            for block in work:
                configs = [QuantConfig.from_json(text) for text in block.configs]
                found = engine.records(configs, block.samples, outputs, plugin.judges(judges))
                with closing(found):  # type: ignore[type-var]
                    for record in found:
                        records.append(record)
                        if _is_cancelled():
                            break
        except HmctTrackError as failure:
            error = type(failure).__name__, str(failure)
        noise = engine.noise_floor if engine else None
        part = keeper.keep(records) if keeper and records else None
        if part is not None:
            records = [replace(record, value=Kept(part)) for record in records]
        return Done(records, noise, time.monotonic() - began, own, error)


def float_values(
    name: str, sample: Mapping[str, NDArray[Any]], tensors: Sequence[str]
) -> dict[str, NDArray[Any]] | None:
    """Float values of tensors on this worker; None if it has not the model."""
    plugin = get_worker().plugins.get(name)
    if not isinstance(plugin, ModelPlugin):
        return None
    with plugin.lock:
        engine = plugin.engine()
        if engine is None:
            return None
        return next(engine.observe(QuantConfig(), {"": sample}, tensors))


def _is_cancelled() -> bool:
    """Whether the client has taken the task back: Dask leaves a running one alone."""
    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state == "cancelled"


def _cpu() -> str:
    """The CPU's model, as Linux tells it; elsewhere what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
