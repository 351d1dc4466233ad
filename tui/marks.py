"""Marked nodes: what is done with them, and what the whole model would be without them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from hmct_track.analyses import (
    Analysis,
    Diagnose,
    Mend,
    Plan,
    PlotAccError,
    PlotDistribution,
    SensitivityAnalysis,
)
from hmct_track.errors import UsageError
from hmct_track.options.parsing import parse_flat_list, show_names
from hmct_track.options.patterns import matching
from hmct_track.options.recording import Recording
from hmct_track.planning.target import parse_target
from hmct_track.types import Metric

from .base import Found, ListScreen, Notice, Question
from .grid import Grid
from .launch import Command
from .reads import Ranked, Ranking, RunInfo
from .text import clean, number, plain, severity
from .trying import Tried, Trying

if TYPE_CHECKING:
    from hmct_track.lake.rows import PartialQuantizationRow

_RAISED = ("int16", "float32", None)
_FEW_SAMPLES = 32
"""Of more, nothing is tried unless one asks for it."""
_ACTIONS = {
    "p": "plan: which of them have to change to meet a target",
    "f": "plan around them: they change in any case, what else has to?",
    "i": "raise them to int16, one after the other",
    "l": "leave them out of quantization, one after the other",
    "o": "quantize only them: the error curve",
    "n": "quantize all but them: the error curve",
    "w": "diagnose them: why they cost accuracy, and what mends them",
    "h": "mend them: remedies that cost nothing at run time",
    "d": "histograms of them",
    "y": "copy their names as a list",
    "c": "mark none",
}


_OF_ALL = {
    "p": "plan: which nodes have to change to meet a target",
    "h": "mend: remedies that cost nothing at run time, for the whole model",
    "w": "diagnose the worst: why they cost accuracy, and what mends them",
}
"""What is done where nothing is marked."""

_TARGETS = {
    Metric.COSINE_SIMILARITY: "error <= 10 %, or cosine-similarity >= 0.99",
    Metric.SQNR: "error <= 10 %, or sqnr >= 30",
    Metric.MRE: "error <= 10 %, or mre <= 0.1",
}
"""Such as fit the metric that is looked at; of others, which have no scale, that of SQNR."""

_FEWEST = 4
"""Samples that it takes to choose by some and to judge by others."""


class MarkingScreen(ListScreen):
    """A list of ranked nodes some of which are marked, in the order in which they were."""

    run: RunInfo

    def __init__(self) -> None:
        super().__init__()
        self._metric = Metric.COSINE_SIMILARITY
        self._ranking: Ranking | None = None
        self.marked: list[str] = []
        self._steps: list[PartialQuantizationRow] = []
        """What the model would be: the last answer that there was."""
        self.trying: Trying | None = None
        """The process that tries what is marked."""
        self._number = 0
        """Of the newest question."""
        self._answered = 0
        self._problem = ""
        """Why there is no answer to the newest question."""
        self._target = "error <= 10 %"
        """What the last plan was to reach."""

    # Marking

    def action_mark(self) -> None:
        """Mark the node under the cursor, or no longer, and go to the next."""
        grid = self.query_one(Grid)
        if row := grid.current:
            self._set([*self.marked, row.name] if row.name not in self.marked
                      else [name for name in self.marked if name != row.name])  # fmt: skip
            grid.cursor += 1

    def action_mark_many(self) -> None:
        """Mark what is worse than a value, or what a pattern stands for."""
        asks = Question(
            "Mark",
            "A value: what is worse. Or names, patterns, paths of modules.",
            "0.999, Conv_*, re:.*attn.*, model.6, [Conv_1,Conv_2]",
        )
        self.app.push_screen(asks, self._mark_many)

    def _mark_many(self, text: str | None) -> None:
        if not text:
            return
        rows: list[Ranked] = list(self.query_one(Grid).rows)
        try:
            found = self._found(text, rows)
        except UsageError as error:
            self.app.notify(str(error), severity="error", markup=False)
            return
        if not found:
            self.app.notify(f"nothing in this list fits {text}", severity="warning", markup=False)
        self._set(list(dict.fromkeys([*self.marked, *found])))

    def _found(self, text: str, rows: list[Ranked]) -> list[str]:
        try:
            limit = self._metric.badness(float(text))
        except ValueError:
            names = [row.name for row in rows]
            return [n for asked in parse_flat_list(text) for n in matching(asked, names)]
        return [r.name for r in rows if self._metric.badness(r.values[self._metric]) > limit]

    def recall_marks(self) -> None:
        """The marks that this run had when it was last looked at."""
        if found := self.debugger.marks.get(self.run.run_id):
            self._set(list(found))

    def _set(self, marked: list[str]) -> None:
        self.marked = self.debugger.marks[self.run.run_id] = marked
        self.fill()
        self._try_marked()

    # Acting

    def action_act(self) -> None:
        """Choose what is done with the marked nodes, or with all of them if none is."""
        if self.marked:
            notice = Notice(f"{len(self.marked)} marked", "", _ACTIONS)
        else:
            said = "Nothing is marked: space marks a node, m by value or pattern."
            notice = Notice("All nodes", said, _OF_ALL)
        self.app.push_screen(notice, self._act)

    def _act(self, answer: str | None) -> None:
        marked, metric = list(self.marked), self._metric.value
        partly = {"sensitive_nodes": marked, "metric": metric}
        curve = {"quantize_node": None, "non_quantize_node": None, "metric": metric}
        asked: dict[str, tuple[str, dict[str, Any]]] = {
            "i": (SensitivityAnalysis.command, {**partly, "qtype": "int16"}),
            "l": (SensitivityAnalysis.command, {**partly, "qtype": "float32"}),
            "o": (PlotAccError.command, {**curve, "quantize_node": [marked]}),
            "n": (PlotAccError.command, {**curve, "non_quantize_node": [marked]}),
            "w": (Diagnose.command, {"nodes": marked or None, "metric": metric}),
            "h": (
                Mend.command,
                {**self._enough(), "nodes": marked or None, "output": self._beside("mended.onnx")},
            ),
            "d": (PlotDistribution.command, {"nodes_list": marked}),
        }
        if answer == "y":
            self.app.copy_to_clipboard(show_names(marked))
            self.app.notify(f"copied {len(marked)} names", markup=False)
        elif answer == "c":
            self._set([])
        elif answer == "p":
            self._ask_target({"nodes": marked or None, "raised": None})
        elif answer == "f":
            self._ask_target({"nodes": None, "raised": marked})
        elif answer in asked:
            command, given = asked[answer]
            self.follow_up(self.run.run_id, command, self.show_answer, **given)

    def _enough(self) -> dict[str, Any]:
        """All samples, where the run that one comes from had too few to judge by others."""
        return {"data_num": None} if self.run.data_num < _FEWEST else {}

    def _beside(self, ending: str) -> str:
        """A file in the present folder, named after the model."""
        return str(Path.cwd() / f"{Path(self.run.model_path or 'model').stem}_{ending}")

    # Planning

    def _ask_target(self, given: dict[str, Any]) -> None:
        """Ask what a plan is to reach, with what the whole model has now beside it."""
        metric, whole = self._metric, self._ranking.whole if self._ranking else {}
        such = _TARGETS.get(metric, _TARGETS[Metric.SQNR])
        asked = f"What is to be reached? Such as {such}."
        if metric in whole:
            asked += f"\nNow, all quantized: {metric.value} {number(whole[metric])}, error 100 %."
        if self._steps and self._raised and self._is_current:
            tried = number(self._steps[-1]["partial"])
            asked += f"\nWith the marked as {self._raised}: {metric.value} {tried}."
        asks = Question("Plan", asked, such, self._target)
        self.app.push_screen(asks, partial(self._plan, given))

    def _plan(self, given: dict[str, Any], target: str | None) -> None:
        if not target:
            return
        self._target = target
        try:
            if not self.run.parameters.get("score"):  # a target may be of a score of the user's
                parse_target(target)
        except UsageError as error:
            self.app.notify(str(error), severity="error", markup=False, timeout=10)
            self._ask_target(given)
            return
        given = {**self._enough(), **given, "target": target, "moves": [self._raised or "int16"]}
        self.follow_up(self.run.run_id, Plan.command, self.show_answer, **given)

    # Trying

    @property
    def _raised(self) -> str | None:
        """What marked nodes are tried as; nothing is tried without."""
        chosen = self.debugger.tried_as
        if chosen is not None:
            return chosen or None
        is_cheap = 0 < self.run.data_num <= _FEW_SAMPLES
        asked = self.run.parameters
        return None if not is_cheap or asked.get("scheduler") or asked.get("score") else _RAISED[0]

    def action_try_out(self) -> None:
        """Have each mark show what the whole model would be: as int16, as float, or not at all."""
        following = _RAISED[(_RAISED.index(self._raised) + 1) % len(_RAISED)]
        self.debugger.tried_as = following or ""
        self._steps = []
        if not following:
            self._stop_trying()
        self._try_marked()

    def _try_marked(self) -> None:
        """Ask what the model would be; of marks that come quickly, the process takes the last."""
        self._number += 1
        self._problem = ""
        if self._raised and self.marked:
            self._ask_now()
        else:
            self._steps, self._answered = [], self._number
        self.fill()

    def _ask_now(self) -> None:
        """Ask the process, which is started with the first question of a screen."""
        if self.trying and self._raised:
            self.trying.ask(self._number, self.marked, self._raised, self._metric.value)
        elif self._raised:
            given = {"sensitive_nodes": list(self.marked), "qtype": self._raised,
                     "metric": self._metric.value, "save_dir": None}  # fmt: skip
            command = SensitivityAnalysis.command
            self.ask("trial", partial(self.reader.follow_up, self.run.run_id, command, given))

    def show_trial(self, found: tuple[Analysis, Recording]) -> None:
        """Start the process, and ask it."""
        analysis, recording = found
        if self.trying is None and self.is_attached:
            # One of many small trials: MLflow need not list each of them.
            command = Command.of(analysis, replace(recording, track=False))
            try:
                self.trying = Trying(command, self.reader.path, self._post_tried)
            except OSError as error:
                self._give_up(f"cannot start it: {error}")
        if self.trying:
            self._ask_now()

    def _post_tried(self, tried: Tried) -> None:
        self.post_message(Found("tried", tried))

    def show_tried(self, tried: Tried) -> None:
        """What the process says; of what is marked no more, nothing is shown."""
        if tried.has_ended:
            was_ready = self.trying is not None and self.trying.is_ready
            self._stop_trying()
            if was_ready:  # something has killed it: the next mark starts another
                self._problem = f"the process that tries them has ended: {tried.error}"
            else:
                self._give_up(tried.error)
        elif tried.number == self._number:
            self._answered, self._problem = self._number, tried.error
            if not tried.error:
                self._steps = list(tried.rows)
        self.fill()

    def _give_up(self, reason: str) -> None:
        """Nothing can be tried here: say it once, not at every mark."""
        self.debugger.tried_as = ""
        self._steps = []
        said = f"marked nodes cannot be tried: {reason} (x tries again)"
        self.app.notify(said, severity="warning", markup=False, timeout=10)

    def refused(self, what: str, reason: str) -> None:
        """Where the run was no file's, there is nothing to try it on."""
        if what == "trial":
            self._give_up(reason)
            self.fill()
        else:
            super().refused(what, reason)

    def _stop_trying(self) -> None:
        if self.trying:
            self.trying.close()
            self.trying = None

    def on_unmount(self) -> None:
        """Nobody asks any more."""
        self._stop_trying()

    @property
    def so_far(self) -> dict[str, float | None]:
        """Marked node to the value of the model with it and those marked before it raised.

        Of the last answer, as far as the marks are still those.
        """
        known = {row["node"]: row["partial"] for row in self._steps[1:]}
        if self._is_current:
            return known
        last = self._steps[-1]["node"] if self._steps else None
        asked = self.marked[: self.marked.index(last) + 1] if last in self.marked else []
        return known if list(known) == asked else {}

    @property
    def _is_current(self) -> bool:
        """Whether the last answer is to the last question."""
        return self._answered == self._number

    def told(self) -> Text:
        """A line on what is marked, and on what it would give."""
        if not self.marked:
            return Text()
        text = Text("\n").append_text(plain(f"{len(self.marked)} marked"))
        tried = self._raised
        if tried:
            text.append_text(plain(f", tried as {tried}"))
        else:
            text.append_text(plain(", x tries them as int16", "dim"))
        if self._problem:
            return text.append_text(plain(f": {clean(self._problem)}", self.color("bad")))
        if self._steps:
            text.append_text(
                plain(f": {self._metric.value} {number(self._steps[0]['partial'])} -> ")
            )
        if not self._is_current:
            is_first = self.trying is None or not self.trying.is_ready
            return text.append_text(plain("... (the model is loaded once)" if is_first else "..."))
        if self._steps:
            value = self._steps[-1]["partial"]
            style = self.color(severity(value, self._metric))
            text.append_text(plain(number(value) or "nan", style))
        return text
