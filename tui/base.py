"""What screens share: asking the lake in workers, colours of severity, the bar of analyses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol, cast

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Input, Label, Static
from textual.worker import get_current_worker

from hmct_track.analyses import Analysis
from hmct_track.errors import HmctTrackError
from hmct_track.options.recording import Recording

from .grid import Grid
from .launch import Job, say
from .reads import Ranking, Reader, RunInfo
from .text import plain, seconds

_STYLES = {"bad": "text-error", "poor": "text-warning", "good": "text-success"}


Then = Callable[[Job], None]
"""What is done once an analysis has succeeded."""


class Debugger(Protocol):
    """What screens use of the application."""

    reader: Reader
    runs: list[RunInfo]
    jobs: list[Job]
    marks: dict[str, list[str]]
    """Run id to the nodes that are marked in it."""
    tried_as: str | None
    """What marked nodes are tried as: empty for nothing, None until the user chooses."""

    def show_form(self, analysis: Analysis, recording: Recording, then: Then | None) -> None:
        """Show an analysis with its command, to be changed and started."""

    def show_figure(self, run_id: str, node: str | None = None) -> None:
        """Make the figure of a run, and show it as this place can."""

    def open_run(self, run: RunInfo) -> None:
        """The screen for a run of its kind."""

    def show_run(self, run_id: str, asked_from: Screen[Any]) -> None:
        """Open a run where it was asked for; elsewhere say that it is ready, and open it by key."""

    def show_page(self, run_id: str) -> None:
        """Open a run in MLflow's web UI."""

    def open_node(self, ranking: Ranking, name: str) -> None:
        """One node of a ranking's model."""

    def start(
        self, analysis: Analysis, recording: Recording, then: Then | None = None
    ) -> Job | None:
        """Start an analysis; None if it cannot be."""


class Found(Message):
    """What a worker found."""

    def __init__(self, what: str, value: Any, asked: int | None = None) -> None:
        super().__init__()
        self.what, self.value, self.asked = what, value, asked


class Refusal(Message):
    """Why a worker found nothing."""

    def __init__(self, what: str, reason: str, asked: int) -> None:
        super().__init__()
        self.what, self.reason, self.asked = what, reason, asked


class JobBar(Static):
    """One line on the newest analysis that runs; hidden when there is none."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.display = False

    def show_job(self, job: Job | None, others: int) -> None:
        """Show how far it is."""
        self.display = job is not None
        if job:
            more = f"  and {others} more" if others else ""
            self.update(plain(f"{job.state.lower()} {job.command.analysis}  {how_far(job)}{more}"))


class LakeScreen(Screen[Any]):
    """A screen that asks the lake.

    `ask` runs a call in a worker, which posts its answer; the method ``show_<what>`` takes it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "below", show=False),
        # First in every footer: in a narrow terminal what is last is out of sight.
        Binding("question_mark", "app.help", "Help", key_display="?"),
    ]

    _then: Then | None = None

    def __init__(self) -> None:
        super().__init__()
        self._times_asked: dict[str, int] = {}
        """How often each was asked."""

    def ask(self, what: str, call: Callable[[], Any]) -> None:
        """Run ``call`` in a thread; a call of the same name that still runs is forgotten."""
        self._times_asked[what] = self._times_asked.get(what, 0) + 1
        work = partial(self._work, what, call, self._times_asked[what])
        self.run_worker(work, thread=True, group=what, exclusive=True, exit_on_error=False)

    def _work(self, what: str, call: Callable[[], Any], asked: int) -> None:
        worker = get_current_worker()
        message: Message
        try:
            message = Found(what, call(), asked)
        except (HmctTrackError, OSError) as error:
            message = Refusal(what, str(error), asked)
        if not worker.is_cancelled:
            self.post_message(message)

    def follow_up(self, run_id: str, command: str, then: Then | None = None, **given: Any) -> None:
        """Show the form of another analysis of what a run was about, with all that it was given."""
        self._then = then
        self.ask("follow_up", partial(self.reader.follow_up, run_id, command, given))

    def show_answer(self, job: Job) -> None:
        """Open the run that a job made: what is done once a follow-up has succeeded."""
        if job.run_id:
            self.debugger.show_run(job.run_id, self)

    def show_follow_up(self, found: tuple[Analysis, Recording]) -> None:
        """The form, with its command."""
        self.debugger.show_form(*found, self._then)

    @on(Found)
    def _take_found(self, message: Found) -> None:
        # It may have been on its way while something else was asked, such as of the next node.
        if message.asked in (None, self._times_asked.get(message.what)):
            getattr(self, f"show_{message.what}")(message.value)

    @on(Refusal)
    def _take_refusal(self, message: Refusal) -> None:
        if message.asked == self._times_asked.get(message.what):
            self.refused(message.what, message.reason)

    def refused(self, what: str, reason: str) -> None:
        """Say why there is no answer."""
        self.app.notify(reason, severity="error", markup=False, timeout=10)

    def lake_changed(self) -> None:
        """The lake has new rows."""

    def on_mount(self) -> None:
        """Colours are those of the theme, whichever it becomes."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self.resized())

    def on_resize(self) -> None:
        """Columns are as wide as there is room."""
        self.resized()

    def resized(self) -> None:
        """The terminal has another size, or other colours."""

    def action_below(self) -> None:
        """From a field to the table below it, or to the next field."""
        table = next(iter(self.query(Grid)), None)
        if isinstance(self.focused, Input) and table:
            self.set_focus(table)
        else:
            self.focus_next()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The key of the filter is a letter like others while one types.

        It has priority, so that keys which come in one burst, as over a slow line, already go to
        the filter: others are handed on before the one in front of them has had its effect.
        """
        return not (action == "filter" and isinstance(self.focused, Input))

    @property
    def debugger(self) -> Debugger:
        """The application."""
        return cast("Debugger", self.app)

    @property
    def reader(self) -> Reader:
        """What asks the lake."""
        return self.debugger.reader

    def color(self, severity: str) -> str:
        """The style of a severity in the current theme."""
        return str(self.app.theme_variables[_STYLES[severity]])


class ListScreen(LakeScreen):
    """A table below a field that filters it."""

    def fill(self, *, from_top: bool = False) -> None:
        """Show the rows anew.

        Args:
            from_top: put the cursor on the first row, as for the first match of a filter.
        """
        raise NotImplementedError

    @property
    def words(self) -> list[str]:
        """What the rows are filtered by: all of it has to be there."""
        return self.query_one(Input).value.lower().split()

    def resized(self) -> None:
        """Names are cut only where there is no room."""
        self.fill()

    @property
    def run_here(self) -> RunInfo | None:
        """The run that is looked at, or under the cursor."""
        return None

    def action_page(self) -> None:
        """Open the run in MLflow's web UI."""
        if self.run_here:
            self.debugger.show_page(self.run_here.run_id)

    def action_note(self) -> None:
        """Write a remark on the run."""
        run = self.run_here
        if run is None:
            return

        def note(text: str | None) -> None:
            if text is not None and text != (run.note or ""):
                self.ask("noted", partial(say, self.reader.path, "note", run.run_id, "--", text))

        asks = Question("Note", "A remark on this run; empty takes it away.", "", run.note or "")
        self.app.push_screen(asks, note)

    def show_noted(self, said: str) -> None:
        """What the command said."""
        self.app.notify(said.strip(), markup=False)
        self.lake_changed()

    @on(Input.Changed)
    def _filter_changed(self) -> None:
        self.fill(from_top=True)

    @on(Input.Submitted)
    def _filter_done(self) -> None:
        self.set_focus(self.query_one(Grid))

    def action_filter(self) -> None:
        """Go to the filter."""
        self.set_focus(self.query_one(Input))

    def action_back(self) -> None:
        """Empty the filter, or go back."""
        field = self.query_one(Input)
        if field.value or field.has_focus:
            field.value = ""
            self.set_focus(self.query_one(Grid))
        else:
            self.app.pop_screen()


class Notice(ModalScreen[str | None]):
    """A text and some keys that answer it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, title: str, body: str | Text, answers: dict[str, str] | None = None) -> None:
        super().__init__()
        self._title, self._body, self._answers = title, body, answers or {}

    def compose(self) -> ComposeResult:
        """The text, and the keys below it."""
        with VerticalScroll(id="notice") as box:
            box.border_title = self._title
            body = self._body
            if body:
                yield Static(body if isinstance(body, Text) else Text(body), markup=False)
            keys = [f"{key}  {meaning}" for key, meaning in self._answers.items()]
            above = [""] if body else []
            yield Static(Text("\n".join([*above, *keys, "esc  back"])), markup=False)

    def on_key(self, event: Any) -> None:
        """Answer."""
        if event.key in self._answers:
            event.stop()
            self.dismiss(event.key)


class Question(ModalScreen[str | None]):
    """A field that is to be filled."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, title: str, asked: str, example: str, value: str = "") -> None:
        super().__init__()
        self._title, self._asked, self._example, self._value = title, asked, example, value

    def compose(self) -> ComposeResult:
        """A field."""
        with Vertical(id="notice") as box:
            box.border_title = self._title
            yield Label(self._asked, markup=False)
            yield Input(self._value, placeholder=self._example)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer."""
        self.dismiss(event.value.strip())


def how_far(job: Job) -> str:
    """How far a job is, its rate and the time left."""
    state = job.progress
    if state is None:
        return "starting"
    if state.done == state.total:
        return f"{state.what} done, going on"  # to what nobody counts, or to recording
    percent = 100 * state.done // state.total if state.total else 0
    rate = f", {state.rate:.3g} {state.unit}/s" if state.rate else ""
    left = f", {seconds(state.left)} left" if state.left is not None else ""
    return f"{state.what} {percent} %  {state.done}/{state.total} {state.unit}{rate}{left}"


def feet() -> ComposeResult:
    """What every screen ends with."""
    yield JobBar()
    yield Footer()
