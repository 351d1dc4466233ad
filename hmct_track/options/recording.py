"""Where a run is kept, what it shows and what it may use: the same for every analysis."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hmct_track.options.declared import option
from hmct_track.options.kinds import CORES, FOLDER, SCHEDULER, SIZE, SWITCH, TEXT, texts

RECORDING, MACHINE = "recording", "machine"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Where a run is kept, what it shows, and what it may use."""

    lake: str | os.PathLike[str] | None = option(
        FOLDER, "the lake (default: HMCT_LAKE, else ./hmct_lake)", default=None, group=RECORDING,
        stored=False,
    )  # fmt: skip
    experiment: str | None = option(
        TEXT, "MLflow experiment (default: MLFLOW_EXPERIMENT_NAME, else hmct-track)",
        default=None, metavar="NAME", group=RECORDING, stored=False,
    )  # fmt: skip
    reuse: bool = option(
        SWITCH, "measure again what the lake has already", default=True, off="--no-reuse",
        group=RECORDING, stored=False,
    )  # fmt: skip
    track: bool = option(
        SWITCH, "do not log the run to MLflow", default=True, off="--no-track", group=RECORDING,
        stored=False,
    )  # fmt: skip
    progress: bool = option(
        SWITCH, "show no progress on stderr", default=True, off="--no-progress", group=RECORDING,
        stored=False,
    )  # fmt: skip
    threads: int | None = option(CORES, "cores to use (default: all)", default=None, group=MACHINE)
    memory: int | None = option(
        SIZE, "what tensors held for several samples may take, such as 4G (default: a quarter of "
        "the machine's memory)", default=None, group=MACHINE,
    )  # fmt: skip
    providers: Sequence[str] = option(
        texts("LIST"), "execution providers of onnxruntime, the preferred first (default: the "
        "CPU's)", default=(), group=MACHINE,
    )  # fmt: skip
    scheduler: Any = option(
        SCHEDULER, "measure on the workers of this Dask scheduler", default=None, group=MACHINE,
        stored=False,
    )  # fmt: skip
    workers: int | None = option(
        CORES, "measure in so many processes of this machine, by Dask", default=None,
        group=MACHINE, stored=False,
    )  # fmt: skip
