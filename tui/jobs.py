"""The analyses that were started here."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from .base import LakeScreen, Notice, feet, how_far
from .grid import Grid, GridColumn
from .launch import Job
from .text import STATES, plain

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

    def compose(self) -> ComposeResult:
        """A table, renewed four times a second."""
        yield Static("Analyses that were started here", markup=False, classes="heading")
        yield Grid("None yet: n starts one.", id="jobs")
        yield from feet()

    def on_mount(self) -> None:
        """Begin to renew."""
        self.query_one(Grid).focus()
        self._fill()
        self.set_interval(0.25, self._fill)

    def _fill(self) -> None:
        jobs = list(reversed(self.debugger.jobs))
        self.query_one(Grid).show(_COLUMNS, jobs, self._cells)

    def _cells(self, job: Job) -> list[Text]:
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
        if job and job.is_running:
            job.cancel()

    @on(Grid.Chosen)
    def _chosen(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """What was typed and what it said."""
        if job := self.query_one(Grid).current:
            said = "\n".join([job.command.shown(), "", *job.messages[-200:]])
            self.app.push_screen(Notice(job.state.lower(), said))
