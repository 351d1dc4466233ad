"""The evaluator of a run: this machine's cores, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hmct_track.engine.evaluate import Engine
from hmct_track.errors import UsageError
from hmct_track.model import QuantModel


def make_engine(
    model: QuantModel,
    *,
    threads: int | None = None,
    memory: int | None = None,
    providers: Sequence[str] = (),
    scheduler: Any = None,
    workers: int | None = None,
) -> Engine:
    """What evaluates a model.

    Args:
        model: the model.
        threads: as of `Engine`; of each worker, where there are some.
        memory: as of `Engine`; of each worker, where there are some.
        providers: as of `Engine`.
        scheduler: the address of a Dask scheduler, or a `distributed.Client`; for workers of its.
        workers: how many processes on this machine measure.

    Raises:
        UsageError: a provider or Dask is not there, or no scheduler or worker answers in time.
    """
    if scheduler is None and workers is None:
        return Engine(model, threads=threads, memory=memory, providers=providers)
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; give a number above 0, or None")
    # Dask takes a second to import, where it is installed at all.
    from hmct_track.engine.distributed import DistributedEngine, connect

    connection = connect(scheduler, workers)
    return DistributedEngine(model, connection, threads=threads, memory=memory, providers=providers)
