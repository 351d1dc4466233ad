"""The application: its screens, the analyses it started, and the watch on the lake."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

from textual import on
from textual.app import App, SuspendNotSupported, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.theme import Theme
from textual.widgets import Input
from textual.worker import get_current_worker

from hmct_track.analyses import Analysis, Calibrate
from hmct_track.errors import HmctTrackError
from hmct_track.options.recording import Recording

from .base import JobBar, LakeScreen, Notice, Then
from .help import HELP
from .launch import Command, Job, WebUi, make_figure, open_in_viewer, viewer
from .ranking import RankingScreen
from .reads import Ranking, Reader, RunInfo
from .runs import RunsScreen, open_run
from .sql import SqlScreen
from .text import clean, moment
from .themes import THEMES

_WATCH_SECONDS = 1.0
_JOB_SECONDS = 0.25
_CANCEL_SECONDS = 5.0
_BURY_SECONDS = 5.0
_CLOSED_SECONDS = 0.1
"""After which the palette is gone from the screen."""
_PAGE_TOLD = """\
{}

It is in the clipboard. The web UI listens on this machine only, and ends with this application.
From elsewhere, ssh -L PORT:127.0.0.1:PORT with its port brings it to a browser there.
"""


class LakeChanged(Message):
    """Somebody wrote to the lake."""


class FigureMade(Message):
    """A figure is on disk."""

    def __init__(self, path: Path, asked_from: Screen[Any] | None = None) -> None:
        super().__init__()
        self.path, self.asked_from = path, asked_from


class RunReady(Message):
    """An analysis has been recorded."""

    def __init__(self, run: RunInfo, asked_from: Screen[Any]) -> None:
        super().__init__()
        self.run, self.asked_from = run, asked_from


class PageFound(Message):
    """Where MLflow's web UI has a run."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address


class Complaint(Message):
    """Something that a worker could not do."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class LakeCommands(Provider):
    """Runs, shipped queries, and the nodes of the ranking that is looked at, by their names."""

    async def discover(self) -> Hits:
        """What the screen can do, before anything is typed."""
        app = cast("DebuggerApp", self.app)
        for text, what, call in app.own_actions(self.screen):
            yield DiscoveryHit(Content(clean(text)), call, text=clean(text), help=what)

    async def search(self, query: str) -> Hits:
        """Those that fit; names are shown as they are, never taken for markup."""
        app = cast("DebuggerApp", self.app)
        matcher = self.matcher(query)
        for text, what, call in app.places(self.screen):
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, Content(clean(text)), call, text=clean(text), help=what)


class DebuggerApp(App[None]):
    """Runs, ranked nodes, one node, two runs, SQL, and new analyses."""

    CSS_PATH = "app.tcss"
    COMMANDS = App.COMMANDS | {LakeCommands}
    TITLE = "hmct-debugger"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012 - not ours
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New"),
        Binding("q", "quit", "Quit"),
        Binding("question_mark,f1", "help", "Help", show=False),
        Binding("f2", "sql", "SQL"),
        Binding("f3", "dark", "Light/dark", show=False),
        Binding("f4", "jobs", "Jobs", show=False),
        Binding("f6", "calibrate", "Calibrate", show=False),
        Binding("v", "view", "View what is ready", show=False),
    ]

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader
        self.web = WebUi(reader.path)
        self.runs: list[RunInfo] = []
        self.jobs: list[Job] = []
        self.left_running: list[str] = []
        self.marks: dict[str, list[str]] = {}
        self.tried_as: str | None = None
        self._images: bool | None = None
        self._newest: Callable[[], None] | None = None
        """Shows the newest figure, or the newest answer."""
        self._then: dict[Job, Then] = {}
        self._told: set[Job] = set()
        self._shown = reader.revision()
        """The revision of the lake that screens were told of."""

    def on_mount(self) -> None:
        """Show the runs, and begin to watch."""
        self.install_screen(SqlScreen(), "sql")  # what was typed there outlives its closing
        self.push_screen(RunsScreen())
        self.set_interval(_BURY_SECONDS, self._bury)
        self.set_interval(_WATCH_SECONDS, self._watch)
        self.set_interval(_JOB_SECONDS, self._show_jobs)

    def get_theme(self, theme_name: str) -> Theme | None:
        """Textual's themes with our colours."""
        return THEMES.get(theme_name) or super().get_theme(theme_name)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the command palette offers beside what Textual does."""
        # Textual's own fails without a word where there is no folder for downloads.
        yield from (c for c in super().get_system_commands(screen) if c.title != "Screenshot")
        keep = partial(self.set_timer, _CLOSED_SECONDS, self.keep_screenshot)
        yield SystemCommand("Screenshot", "Save this screen as an SVG in the present folder", keep)
        yield SystemCommand("New analysis", "Choose model, data and options", self.action_new)
        yield SystemCommand("Calibrate", "Make a calibrated model of a float one",
                            self.action_calibrate)  # fmt: skip
        yield SystemCommand("SQL", "Ask the lake", self.action_sql)
        yield SystemCommand("Jobs", "Analyses that were started here", self.action_jobs)
        yield SystemCommand("Light or dark", "Switch the theme", self.action_dark)

    def places(self, screen: Screen[Any]) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """What the palette finds: a name, what it is, and how to go there."""
        from hmct_track.lake import Use, query_names

        for run in self.runs:
            told = f"{run.label} {run.model} {moment(run.started_at)} {run.run_id}"
            yield told, "a run", partial(self.open_run, run)
        for name in query_names(Use.USER):
            yield name, "a shipped query", partial(self._open_query, name)
        yield from self.own_actions(screen)
        ranking = screen.ranking if isinstance(screen, RankingScreen) else None
        if ranking:
            for name in ranking.nodes:
                yield name, "a node", partial(self.open_node, ranking, name)

    def own_actions(self, screen: Screen[Any]) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """What the screen can do itself, with the keys for it."""
        for key, (of, bound, is_enabled, _) in screen.active_bindings.items():
            if of is screen and bound.description and is_enabled:
                call = partial(self.run_action, bound.action, of)
                yield bound.description, f"here: {bound.key_display or key}", call

    def keep_screenshot(self) -> None:
        """Save what is on the screen where the application was started, and say where."""
        try:
            self.notify(f"saved {self.save_screenshot(path=str(Path.cwd()))}", markup=False)
        except OSError as error:
            said = f"cannot save the screenshot: {error}"
            self.notify(said, severity="error", markup=False, timeout=10)

    def _open_query(self, name: str) -> None:
        self.action_sql()
        cast("SqlScreen", self.get_screen("sql")).take_query(name)

    # The watch on the lake

    def _watch(self) -> None:
        self.run_worker(self._look, thread=True, group="watch", exclusive=True)

    def _look(self) -> None:
        revision = self.reader.revision()
        # Whoever reads the runs first, for whatever screen, must not keep it from the others.
        is_new = revision != self._shown or revision != self.reader.seen
        if not get_current_worker().is_cancelled and is_new:
            self._shown = revision
            self.post_message(LakeChanged())

    def _bury(self) -> None:
        self.run_worker(self._look_for_dead, thread=True, group="bury", exclusive=True)

    def _look_for_dead(self) -> None:
        with contextlib.suppress(HmctTrackError, OSError):  # a lake that may only be read
            self.reader.bury()

    @on(LakeChanged)
    def _lake_changed(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, LakeScreen) and screen.is_mounted:
                screen.lake_changed()

    # Analyses

    def start(
        self, analysis: Analysis, recording: Recording, then: Then | None = None
    ) -> Job | None:
        """Start an analysis; ``then`` is called once it has succeeded."""
        try:
            job = Job(Command.of(analysis, recording), self.reader.path)
        except OSError as error:
            self.notify(f"cannot start it: {error}", severity="error", markup=False)
            return None
        self.jobs.append(job)
        if then:
            self._then[job] = then
        self.notify(f"started {job.command.analysis}; f4 shows it", markup=False)
        self._show_jobs()
        return job

    @property
    def running(self) -> list[Job]:
        """The analyses that have not ended."""
        return [job for job in self.jobs if job.is_running]

    def _show_jobs(self) -> None:
        running = self.running
        for screen in self.screen_stack:
            try:
                bar = screen.query_one(JobBar)
            except NoMatches:
                continue
            bar.show_job(running[-1] if running else None, len(running) - 1)
        for job in self.jobs:
            if not job.is_running and job not in self._told:
                self._told.add(job)
                self._ended(job)

    def _ended(self, job: Job) -> None:
        what = job.command.analysis
        if job.succeeded:
            self.notify(f"{what} has finished", markup=False)
            then = self._then.pop(job, None)
            if then:
                then(job)
        elif job.state == "KILLED":
            self.notify(f"{what} was cancelled; what it measured is kept", markup=False)
        else:
            said = job.error or f"{what} failed"
            self._newest = partial(self._tell, f"{what} failed", said)
            self.notify(f"{said} (v shows it again)", severity="error", markup=False, timeout=15)

    # Figures

    def show_figure(self, run_id: str, node: str | None = None) -> None:
        """Make the figure of a run, unless it exists, and show it as this place can."""
        self.notify("drawing the figure ...", markup=False, timeout=3)
        work = partial(self._draw, run_id, node, self.screen)
        self.run_worker(work, thread=True, group="figure", exclusive=True, exit_on_error=False)

    def _draw(self, run_id: str, node: str | None, asked_from: Screen[Any]) -> None:
        try:
            path = make_figure(self.reader.path, run_id, node)
            self.post_message(FigureMade(path, asked_from))
        except (HmctTrackError, OSError) as error:
            self.post_message(Complaint(str(error)))

    @on(FigureMade)
    def _figure_made(self, message: FigureMade) -> None:
        """Show it where it was asked for; elsewhere it must not swallow what is typed."""
        self._newest = partial(self._view_figure, message.path)
        if message.asked_from in (None, self.screen):
            self.action_view()
        else:
            self.notify("the figure is ready; v shows it", markup=False)

    def action_view(self) -> None:
        """Show what was made last: a figure, or the answer of a follow-up."""
        if self._newest is None:
            self.notify("nothing was made yet; p makes a figure", markup=False)
        else:
            self._newest()

    def _view_figure(self, path: Path) -> None:
        from .picture_screen import PictureScreen
        from .pictures import NO_IMAGES, has_images

        program = viewer()
        if program:
            try:
                open_in_viewer(program, path)
                self.notify(f"opened {path}", markup=False)
            except HmctTrackError as error:
                self.notify(str(error), severity="error", markup=False)
        elif self._shows_images():
            self.push_screen(PictureScreen(path))
        else:
            self.copy_to_clipboard(str(path))
            more = "" if has_images() else "\n" + NO_IMAGES
            said = f"{path}\n\nNo viewer here; the path is in the clipboard.{more}"
            self.push_screen(Notice("Figure", said))

    def _shows_images(self) -> bool:
        """Whether the terminal does; it is asked once, while Textual does not read from it."""
        from .pictures import ask_terminal, has_images

        if self._images is None and has_images():
            try:
                with self.suspend():
                    self._images = ask_terminal()
            except SuspendNotSupported:
                self._images = False
        return bool(self._images)

    @on(Complaint)
    def _complain(self, message: Complaint) -> None:
        self.notify(message.reason, severity="error", markup=False, timeout=10)

    # Answers

    def show_run(self, run_id: str, asked_from: Screen[Any]) -> None:
        """Open a run where it was asked for; elsewhere say that it is ready, and open it by key."""
        work = partial(self._find_run, run_id, asked_from)
        self.run_worker(work, thread=True, group="ready", exit_on_error=False)

    def _find_run(self, run_id: str, asked_from: Screen[Any]) -> None:
        try:
            run = next((r for r in self.reader.runs() if r.run_id == run_id), None)
        except (HmctTrackError, OSError) as error:
            self.post_message(Complaint(str(error)))
            return
        if run:
            self.post_message(RunReady(run, asked_from))

    @on(RunReady)
    def _run_ready(self, message: RunReady) -> None:
        """It must not swallow what is typed, not even in the filter where it was asked for."""
        self._newest = partial(self.open_run, message.run)
        if message.asked_from is self.screen and not isinstance(self.focused, Input):
            self._newest()
        else:
            self.notify(f"the {message.run.kind} is ready; v shows it", markup=False)

    # MLflow

    def show_page(self, run_id: str) -> None:
        """Open a run in MLflow's web UI, which is started for that and ends with this."""
        said = "MLflow's web UI is started, and told of runs that wait; this takes a while ..."
        self.notify(said, markup=False, timeout=20)
        work = partial(self._find_page, run_id)
        self.run_worker(work, thread=True, group="page", exclusive=True, exit_on_error=False)

    def _find_page(self, run_id: str) -> None:
        try:
            self.post_message(PageFound(self.web.page_of(run_id)))
        except (HmctTrackError, OSError) as error:
            self.post_message(Complaint(str(error)))

    @on(PageFound)
    def _page_found(self, message: PageFound) -> None:
        """In the browser of this desktop, if there is one; the address is in the clipboard."""
        address, program = message.address, viewer()
        self.copy_to_clipboard(address)
        if program:
            try:
                open_in_viewer(program, address)
            except HmctTrackError as error:
                self.notify(str(error), severity="error", markup=False)
        self._newest = partial(self._tell, "In MLflow", _PAGE_TOLD.format(address))
        self.notify(f"{address} is in the clipboard; v shows it", markup=False, timeout=15)

    def _tell(self, title: str, text: str) -> None:
        self.push_screen(Notice(title, text))

    # Screens

    def open_run(self, run: RunInfo) -> None:
        """The screen for a run of its kind."""
        open_run(self, run)

    def open_node(self, ranking: Ranking, name: str) -> None:
        """One node of a ranking's model."""
        from .node import NodeScreen

        self.push_screen(NodeScreen(ranking, [name], 0, ranking.run.metric))

    # Keys

    def show_form(self, analysis: Analysis, recording: Recording, then: Then | None) -> None:
        """Show an analysis with its command, to be changed and started."""
        from .start import StartScreen

        self.push_screen(StartScreen(analysis, recording, then))

    def action_new(self) -> None:
        """The form of a new analysis."""
        from .start import StartScreen

        if not isinstance(self.screen, StartScreen):
            self.push_screen(StartScreen())

    def action_calibrate(self) -> None:
        """The form of a calibration, of the float model of the newest run where that is known."""
        run = next((r for r in self.runs if r.data_path), None)
        given = run.parameters.get("float_model") if run else None
        data = run.data_path if run else None
        found = Calibrate(model_or_file=given or "", calibrated_data=data or "", output="")
        self.show_form(found, Recording(), None)

    def action_sql(self) -> None:
        """The SQL pane."""
        if not isinstance(self.screen, SqlScreen):
            self.push_screen("sql")

    def action_jobs(self) -> None:
        """The analyses that were started here."""
        from .jobs import JobsScreen

        if not isinstance(self.screen, JobsScreen):
            self.push_screen(JobsScreen())

    def action_help(self) -> None:
        """All keys."""
        self.push_screen(Notice("Help", HELP))

    def action_dark(self) -> None:
        """Light or dark."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    async def action_quit(self) -> None:
        """Quit; ask first if analyses are running."""
        if not self.running:
            self.exit()
            return
        names = ", ".join(job.command.analysis for job in self.running)
        answers = {"l": "leave it running and quit", "c": "cancel it and quit"}
        self.push_screen(Notice("Quit?", f"Still running: {names}", answers), self._quit)

    def _quit(self, answer: str | None) -> None:
        if answer == "l":
            self.left_running = [
                f"left running: {job.command.analysis}, process {job.pid}, log {job.log}"
                for job in self.running
            ]
            self.exit()
        elif answer == "c":
            self.run_worker(self._cancel_all, thread=True, group="quit")

    def _cancel_all(self) -> None:
        jobs = self.running
        for job in jobs:
            job.cancel()
        for job in jobs:
            if not job.wait(_CANCEL_SECONDS):
                job.cancel()
                job.wait(_CANCEL_SECONDS)
        self.call_from_thread(self.exit)
