"""The free remedies of a plan: what costs nothing is done before anything is raised."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hmct_track.analyses.configurations import whole
from hmct_track.analyses.mend import shown_counted
from hmct_track.errors import UsageError

if TYPE_CHECKING:
    from hmct_track.data import Samples
    from hmct_track.engine import Engine
    from hmct_track.model import QuantModel, Skeleton
    from hmct_track.recording import Subject
    from hmct_track.remedies import Family
    from hmct_track.remedies.search import Step

LOG = logging.getLogger(__name__)

FEWEST = 3
"""Samples that choose: two to choose remedies by, one to check them by."""
ByOutput = dict[str, dict[int, float]]


@dataclass(frozen=True)
class Freed:
    """A calibrated model with its free remedies, and what it was before."""

    given: QuantModel
    engine: Engine
    """Of the model as it was given."""
    skeleton: Skeleton
    """The model with the remedies in it."""
    steps: Sequence[Step]
    compared: Sequence[str]
    """The tensors whose errors the gains of steps are of."""

    def mse(self, subject: Subject) -> ByOutput:
        """Output to position of a sample to mean squared error, of the model as it was given."""
        place = {sample: k for k, sample in enumerate(subject.sample_ids)}
        found: ByOutput = {}
        config = whole(self.given).config
        for m in self.engine.evaluate([config], subject.inputs(), subject.outputs):
            value = m.statistics.sum_dd / m.statistics.count
            found.setdefault(m.output, {})[place[m.sample_id]] = value
        return found

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of ``mending_steps``; nothing was held out of these alone."""
        return [
            {
                "run_id": run_id,
                "position": position,
                "step": step.what,
                "nodes": step.nodes,
                "choosing": step.choosing,
                "checking": step.checking,
                "compared": list(self.compared),
                "held_out": None,
                "held_out_low": None,
                "held_out_high": None,
            }
            for position, step in enumerate(self.steps)
        ]


def free_first(
    model: QuantModel,
    engine_of: Callable[[QuantModel], Engine],
    samples: Samples,
    choosing: Sequence[int],
    outputs: Sequence[str],
    families: Sequence[Family],
    *,
    shown: bool,
) -> Freed | None:
    """The free remedies that help, chosen as `mend` chooses them; None where none does.

    Args:
        model: the calibrated model.
        engine_of: makes what evaluates a model.
        samples: all of them.
        choosing: positions of those that may choose; every third of these checks.
        outputs: what is compared.
        families: the remedies that may be taken.
        shown: whether progress is.

    Raises:
        DataError: a sample is broken or does not fit the model.
        UsageError: there are too few samples.
        ModelError: the model holds weights only as they were rounded.
    """
    from hmct_track.model import mended
    from hmct_track.remedies.search import Search

    if len(choosing) < FEWEST:
        raise UsageError(
            f"moves has free, for which at least {FEWEST} samples have to choose; there are "
            f"{len(choosing)}. Give more samples, or leave free out"
        )
    checks = set(choosing[2::3])
    picked: dict[bool, dict[str, Any]] = {False: {}, True: {}}
    for k in choosing:
        picked[k in checks][samples.verify(k)] = dict(samples[k])
    search = Search(
        model, engine_of, picked[False], picked[True], outputs, families,
        watch=lambda told: LOG.info("%s", told), counted=shown_counted(shown),
    )  # fmt: skip
    config = search.run()
    if not search.steps:
        return None
    return Freed(model, engine_of(model), mended(model, config), search.steps, search.compared)
