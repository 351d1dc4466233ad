"""A partial quantization that grows as nodes are given: what `SensitivityAnalysis` asks, in parts.

A process that stays has model, samples, sessions and float values at hand, so that it knows soon
what one node more would give. It is measured, recorded and answered as any other.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hmct_track.analyses.base import Round, Seen
from hmct_track.analyses.configurations import alone, whole
from hmct_track.analyses.runner import open_subject, run_analysis, warm_up
from hmct_track.analyses.sensitivity_analysis import NONE, SensitivityAnalysis
from hmct_track.errors import HmctTrackError, UsageError
from hmct_track.options import options_of

if TYPE_CHECKING:
    from hmct_track.lake.rows import PartialQuantizationRow
    from hmct_track.model import QuantModel
    from hmct_track.options.recording import Recording
    from hmct_track.recording import Run
    from hmct_track.types import Planned

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Asked:
    """Nodes that are to be something else, in the order in which they were chosen."""

    number: int
    """By which the answer is known."""
    nodes: tuple[str, ...]
    qtype: str
    metric: str

    @classmethod
    def read(cls, line: str) -> Asked:
        """From a line of JSON.

        Raises:
            UsageError: it is none, or lacks something.
        """
        try:
            given = json.loads(line)
            return cls(
                int(given["number"]), tuple(map(str, given["nodes"])), str(given["qtype"]),
                str(given["metric"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{line.strip()!r} is not understood; a line such as "
                '{"number": 1, "nodes": ["Conv_1"], "qtype": "int16", "metric": "sqnr"} was '
                "expected"
            ) from error


class Talk:
    """Lines that ask, of which only the newest counts, and what is answered.

    Args:
        lines: lines of JSON; their end is that of the talk.
        tell: takes an answer.
    """

    def __init__(self, lines: Iterable[str], tell: Tell) -> None:
        self._tell = tell
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._has_ended = False
        self.present: Asked | None = None
        """What was asked last; None once nobody asks any more."""
        self.is_answered = True
        self.waits_for_rest = False
        """Whether it was answered without all steps."""
        # Lines are read while it is measured: what is asked meanwhile comes first.
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def begin(self) -> None:
        """Say that answers come at once from now on, and take the first question."""
        self._tell({"ready": True})
        self.take(wait=True)

    def take(self, *, wait: bool) -> bool:
        """Take what was asked last, if that is new, and tell whether it is.

        Args:
            wait: until there is something new, or the end.
        """
        newest: Asked | None = None
        while not self._has_ended and ((wait and newest is None) or not self._waiting.empty()):
            line = self._waiting.get()
            self._has_ended = line is None
            if line is None or not line.strip():
                continue
            try:
                newest = Asked.read(line)
            except UsageError as error:
                self._tell({"number": None, "error": str(error)})
        if newest is not None:
            self.present, self.is_answered, self.waits_for_rest = newest, False, False
        elif self._has_ended:
            self.present = None
        return newest is not None

    def answer(self, run_id: str, rows: Sequence[Any], *, is_whole: bool = True) -> None:
        """Answer what was asked: with the fully quantized model, then nodes as far as measured.

        Args:
            run_id: the run.
            rows: of the query ``partial_quantization``.
            is_whole: whether there is nothing more to say; else it is answered once more.
        """
        self._finish({"run": run_id, "rows": rows})
        self.waits_for_rest = not is_whole

    def refuse(self, error: HmctTrackError) -> None:
        """Say why there is no answer."""
        self._finish({"error": str(error)})

    def _finish(self, told: dict[str, Any]) -> None:
        self.is_answered = True
        self._tell({"number": self.present and self.present.number, **told})

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._waiting.put(line)
        self._waiting.put(None)


@dataclass(frozen=True, kw_only=True)
class Growing(SensitivityAnalysis):
    """`SensitivityAnalysis` of nodes that are given one after the other.

    Its run goes on as long as what is asked begins with its nodes, or is their beginning.
    """

    talk: Talk
    nodes: list[str] = field(default_factory=list)
    """Those of the run so far."""
    planned: list[Planned] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    """Ids of the configurations that were measured."""

    def ask(self, model: QuantModel, seen: Seen) -> Round:
        """What is asked now, the steps before it while nobody asks anything else, and the rest.

        Raises:
            UsageError: a node does not exist, or cannot be quantized.
        """
        if not seen.rounds:
            self._grow(model)
        while True:
            if self._is_asked():
                if wanted := self._missing([self.planned[0], self._step(self._asked.nodes)]):
                    return self._round(wanted)
                self.talk.answer(seen.run_id, self._known(seen), is_whole=not self._rest)
            rest = self._rest
            if not rest and self.talk.waits_for_rest:
                self.talk.answer(seen.run_id, self._known(seen))
            if self.talk.is_answered and self.talk.take(wait=not rest):
                if self._is_asked():
                    self._try_to_grow(model)
                continue
            return self._round(rest or self._missing(self.planned))

    def observe(self, run: Run) -> None:
        """Record the scores, and which nodes they became in the end."""
        super().observe(run)
        kept = {**json.loads(run.row["parameters"]), "sensitive_nodes": self.nodes}
        run.row["parameters"] = json.dumps(kept)

    @property
    def _asked(self) -> Asked:
        assert self.talk.present  # noqa: S101 - there is a run as long as somebody asks
        return self.talk.present

    def _is_asked(self) -> bool:
        """Whether something is to be answered that this run can answer."""
        if self.talk.is_answered or self.talk.present is None:
            return False
        asked = self._asked
        shared = min(len(asked.nodes), len(self.nodes))
        return asked.qtype == self.qtype and list(asked.nodes[:shared]) == self.nodes[:shared]

    def _try_to_grow(self, model: QuantModel) -> None:
        try:
            self._grow(model)
        except UsageError as error:
            self.talk.refuse(error)

    def _grow(self, model: QuantModel) -> None:
        """Plan the nodes that are new."""
        had, asked = len(self.nodes), model.expand(self._asked.nodes)
        planned = alone(model, asked[had:])
        steps = self._steps(model, asked)
        planned += steps[had + 1 :] if had else steps
        self.planned.extend(planned if had else [whole(model), *planned])
        self.nodes.extend(asked[had:])

    def _step(self, nodes: Sequence[str]) -> Planned:
        """The configuration in which these are something else."""
        return [p for p in self.planned if p.role == "partial"][len(nodes)]

    @property
    def _rest(self) -> list[Planned]:
        """Steps before the last one. What each node costs alone is measured in the end."""
        return self._missing([p for p in self.planned if p.role == "partial"])

    def _missing(self, planned: Sequence[Planned]) -> list[Planned]:
        return [p for p in planned if p.config.config_id not in self.done]

    def _round(self, wanted: list[Planned]) -> Round:
        self.done.update(p.config.config_id for p in wanted)
        return Round(wanted, plan=self.planned if wanted else ())

    def _known(self, seen: Seen) -> list[PartialQuantizationRow]:
        """The steps of what is asked, as far as they were measured."""
        assert seen.lake  # noqa: S101 - a round was measured
        rows = seen.lake.query(
            "partial_quantization", run_id=seen.run_id, metric=self._asked.metric
        )
        asked = {NONE, *self._asked.nodes}
        return [row for row in rows if row["node"] in asked]


def serve(analysis: SensitivityAnalysis, recording: Recording, talk: Talk) -> None:
    """Answer what is asked of a model until nobody asks any more.

    Args:
        analysis: of which model and data; what becomes of which nodes is asked.
        recording: where it is kept.
        talk: the questions.

    Raises:
        HmctTrackError: the model or the data cannot be read.
    """
    given = {o.name: getattr(analysis, o.name) for o in options_of(SensitivityAnalysis)}
    analysis.check()
    about = open_subject(analysis, recording)
    warm_up(about.subject)
    talk.begin()
    while asked := talk.present:
        own = {"sensitive_nodes": asked.nodes, "qtype": asked.qtype, "metric": asked.metric}
        try:
            run_analysis(Growing(**{**given, **own}, talk=talk), recording, opened=about)
        except HmctTrackError as error:
            talk.refuse(error)
        if talk.is_answered:
            talk.take(wait=True)
