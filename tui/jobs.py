"""The analyses that run: those that were started here, and those of other terminals."""

from __future__ import annotations

import platform
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from .base import LakeScreen, Notice, feet, how_far
from .grid import Grid, GridColumn
from .launch import Job, interrupt
from .reads import Elsewhere
from .text import STATES, moment, plain

_COLUMNS = (
    GridColumn("state", "", 2),
    GridColumn("command", "analysis", 34),
    GridColumn("far", "how far", 60),
    GridColumn("run", "run id", 27),
)


class JobsScreen(LakeScreen):
    """How far they are; what they complained of."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "cancel", "Cancel"),
        Binding("enter", "open", "Log"),
        Binding("escape", "app.pop_screen", "Back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._elsewhere: list[Elsewhere] = []

    def compose(self) -> ComposeResult:
        """A table, renewed four times a second."""
        heading = "Analyses that were started here, and those of other terminals that run"
        yield Static(heading, markup=False, classes="heading")
        yield Grid("None yet: n starts one.", id="jobs")
        yield from feet()

    def on_mount(self) -> None:
        """Begin to renew."""
        self.query_one(Grid).focus()
        self._fill()
        self.set_interval(0.25, self._fill)
        self.lake_changed()

    def lake_changed(self) -> None:
        """Runs have begun or ended."""
        self.ask("elsewhere", self.reader.elsewhere)

    def show_elsewhere(self, found: list[Elsewhere]) -> None:
        """Runs that no process of ours makes."""
        self._elsewhere = found
        self._fill()

    def _fill(self) -> None:
        jobs = list(reversed(self.debugger.jobs))
        own = {run_id for job in jobs for run_id in job.run_ids} | {None}
        pids = {job.pid for job in jobs}
        others = [it for it in self._elsewhere if it.run_id not in own and it.pid not in pids]
        self.query_one(Grid).show(_COLUMNS, [*jobs, *others], self._cells, _key)

    def _cells(self, job: Job | Elsewhere) -> list[Text]:
        if isinstance(job, Elsewhere):
            far = f"since {moment(job.started_at)} in process {job.pid} on {job.host}"
            return [plain("▶", self.color("poor")), plain(job.kind), plain(far), plain(job.run_id)]
        far = how_far(job) if job.is_running else job.state.lower()
        if job.state == "FAILED":
            far = f"failed: {job.error}"
        color = {"FAILED": "bad", "KILLED": "bad", "FINISHED": "good"}.get(job.state, "poor")
        return [
            plain(STATES.get(job.state, "▶"), self.color(color)),
            plain(job.command.analysis),
            plain(far),
            plain(job.run_id or ""),
        ]

    def action_cancel(self) -> None:
        """Interrupt the job under the cursor."""
        job = self.query_one(Grid).current
        if isinstance(job, Elsewhere):
            if job.host == platform.node():
                self.ask("interrupted", partial(interrupt, job.pid))
            else:
                said = f"it runs on {job.host}; cancel it there"
                self.app.notify(said, severity="warning", markup=False)
        elif job and job.is_running:
            job.cancel()

    def show_interrupted(self, _: None) -> None:
        """It ends as Ctrl-C would end it."""
        self.app.notify("interrupted; what was measured is kept", markup=False)

    @on(Grid.Chosen)
    def _chosen(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """What was typed and what it said."""
        job = self.query_one(Grid).current
        if isinstance(job, Job):
            said = "\n".join([job.command.shown(), "", *job.messages[-200:]])
            self.app.push_screen(Notice(job.state.lower(), said))


def _key(job: Job | Elsewhere) -> object:
    return job.run_id if isinstance(job, Elsewhere) else id(job)
