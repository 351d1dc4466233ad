"""The form of any analysis, made of its declaration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import DescendantFocus
from textual.widgets import Button, Checkbox, Input, Label, Select, Static

from hmct_track.analyses import ANALYSES, Analysis
from hmct_track.errors import UsageError
from hmct_track.options import Option, options_of
from hmct_track.options.kinds import MAYBE_NAMES, NAME, NAMES, SELECTION
from hmct_track.options.patterns import matching
from hmct_track.options.recording import Recording

from .base import LakeScreen, Then, feet
from .fields import PLACES, Field
from .launch import Command
from .reads import RunInfo
from .text import clean, plain

_OURS = ("lake", "progress")
"""Options that are this application's: it is on a lake, and shows the progress itself."""

_OF_NODES = (NAME, NAMES, MAYBE_NAMES, SELECTION)
_GROUPS = ("weight", "activation")
_ABOUT = ("model_or_file", "calibrated_data", "float_model")
"""What a run is about: they go together."""


class StartScreen(LakeScreen):
    """Choose an analysis and its options; the command is shown as one would type it.

    Args:
        analysis: what the form begins with; what the newest run was about by default.
        recording: likewise, of the machine.
        then: called once the analysis has succeeded.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start", priority=True),
        Binding("escape", "app.pop_screen", "Back"),
    ]

    def __init__(
        self,
        analysis: Analysis | None = None,
        recording: Recording | None = None,
        then: Then | None = None,
    ) -> None:
        super().__init__()
        self._begun, self._recording, self._on_success = analysis, recording, then
        self._command = analysis.command if analysis else next(iter(ANALYSES))
        self._samples: int | None = None
        self._names: list[str] = []
        self._filled: dict[str, str] = {}
        """What this form itself has put into the fields of `_ABOUT`."""

    def compose(self) -> ComposeResult:
        """The fields; what they mean, and what they make, stays in sight below them."""
        with VerticalScroll(can_focus=False, id="fields"):
            with Vertical(classes="field"):
                yield Select.from_values(
                    ANALYSES, allow_blank=False, value=self._command, compact=True, id="analysis"
                )
            yield Vertical(*self._fields(self._given()), id="options")
        yield Static(markup=False, id="hint")
        yield Static(markup=False, id="trouble")
        yield Static(markup=False, id="preview")
        yield Button("Start  ctrl+s", variant="primary", id="start", compact=True)
        yield from feet()

    def on_mount(self) -> None:
        """Look at what the first fields hold; what follows up a run only needs to be started."""
        first = "#start" if self._begun else "#analysis"
        if not self._begun and not self._raw("model_or_file"):
            first = "#of-model_or_file"  # nothing is known here yet
        self.query_one(first).focus()
        self._changed()
        self._look()

    # The fields

    @property
    def _declared(self) -> type[Analysis]:
        return ANALYSES[self._command]

    def _options(self) -> list[Option]:
        machine = [o for o in options_of(Recording) if o.name not in _OURS]
        return [*options_of(self._declared), *machine]

    def _given(self) -> dict[str, Any]:
        """The values that the form begins with."""
        found: dict[str, Any] = {}
        for declared in (self._begun, self._recording):
            if declared:
                found |= {o.name: getattr(declared, o.name) for o in options_of(type(declared))}
        if not self._begun:
            newest = next((r for r in self.debugger.runs if r.model_path and r.data_path), None)
            found = _about(newest) if newest else dict.fromkeys(_ABOUT[:1], _first(_models_here()))
            self._filled = {name: value or "" for name, value in found.items()}
        return found

    def _fields(self, given: Mapping[str, Any]) -> list[Label | Field]:
        made: list[Label | Field] = []
        group = None
        for o in self._options():
            if o.group != group:
                group = o.group
                made.append(Label(f"{group}", classes="group"))
            values = [given[o.name]] if given.get(o.name) is not None else []
            made.append(Field(o, *values, suggested=self._suggested(o)))
        return made

    def _suggested(self, o: Option) -> list[str]:
        runs = self.debugger.runs
        if o.name == "model_or_file":
            return list(dict.fromkeys([*(r.model_path or "" for r in runs), *_models_here()]))
        if o.name == "calibrated_data":
            return list(dict.fromkeys(r.data_path or "" for r in runs))
        return self._names if o.kind in _OF_NODES else []

    @on(Select.Changed, "#analysis")
    async def _chosen(self) -> None:
        command = str(self.query_one("#analysis", Select).value)
        if command == self._command:
            return
        before = {f.option.name: (f.option.kind, f.raw) for f in self.query(Field)}
        self._command = command
        place = self.query_one("#options", Vertical)
        await place.remove_children()
        await place.mount_all(self._fields({}))
        for field in self.query(Field):
            kind, raw = before.get(field.option.name, (None, None))
            if kind == field.option.kind:
                field.raw = raw
        self._changed()

    @on(Input.Changed, "#of-model_or_file")
    def _model_changed(self) -> None:
        """What goes with a known model comes with it, unless other values were typed."""
        run = self._run_of(self._raw("model_or_file"))
        if run:
            for name, value in _about(run).items():
                field = next(iter(self.query(f"#row-{name}").results(Field)), None)
                if field and name != "model_or_file" and field.raw in ("", self._filled.get(name)):
                    field.raw = self._filled[name] = value or ""
        self._look()

    @on(Input.Changed, "#of-calibrated_data")
    def _look(self) -> None:
        run, data = self._run_of(self._raw("model_or_file")), self._raw("calibrated_data")
        self.ask("surroundings", partial(self._surroundings, run, data))

    def _run_of(self, model: str) -> RunInfo | None:
        return next((r for r in self.debugger.runs if model and r.model_path == model), None)

    def _surroundings(self, run: RunInfo | None, data: str) -> tuple[int | None, list[str]]:
        """In a worker: the number of samples in the folder, and the nodes of a known model."""
        names = list(self.reader.nodes(run)) if run else []
        return _count_samples(Path(data).expanduser()), names

    def show_surroundings(self, found: tuple[int | None, list[str]]) -> None:
        """Use what is known of model and data to check the fields."""
        self._samples, self._names = found
        for field in self.query(Field):
            if field.option.kind in _OF_NODES:
                field.suggest(self._names)
        self._changed()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Say what the field means."""
        place = event.widget.parent
        hint = place.hint if isinstance(place, Field) else self._declared.summary
        self.query_one("#hint", Static).update(plain(hint))

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    def _changed(self) -> None:
        trouble, warning, preview = "", "", Text()
        try:
            analysis, recording = self.read()
            warning = self._doubt(analysis)
            preview = Text(clean(Command.of(analysis, recording).shown()))
        except UsageError as error:
            trouble = str(error)
        self.query_one("#preview", Static).update(preview)
        self.query_one("#trouble", Static).update(plain(trouble or warning))
        self.query_one("#start", Button).disabled = bool(trouble)

    # What they say

    def _raw(self, name: str) -> str:
        field = next(iter(self.query(f"#row-{name}").results(Field)), None)
        return str(field.raw).strip() if field else ""

    def read(self) -> tuple[Analysis, Recording]:
        """The analysis and the machine.

        Raises:
            UsageError: a field is missing, or its value is not allowed.
        """
        values = {field.option.name: _placed(field) for field in self.query(Field)}
        machine = {o.name for o in options_of(Recording)}
        own = {name: value for name, value in values.items() if name not in machine}
        used = {name: value for name, value in values.items() if name in machine}
        analysis = self._declared(**own)
        self._check_places(analysis)
        return analysis, Recording(**used)

    def _check_places(self, analysis: Analysis) -> None:
        for name in ("model_or_file", "float_model"):
            path = getattr(analysis, name)
            if path and not Path(path).is_file():
                raise UsageError(f"{name}: there is no file {str(path)!r}")
        if not Path(str(analysis.calibrated_data)).exists():
            raise UsageError(
                f"calibrated_data: there is no folder {str(analysis.calibrated_data)!r}"
            )
        asked, most = analysis.data_num, self._samples
        if asked is not None and (asked < 1 or (most and asked > most)):
            raise UsageError(
                f"data_num: a number from 1 to {most or 'the size of the data'}, or None for all"
            )

    def _doubt(self, analysis: Analysis) -> str:
        """What is probably mistyped: only the analysis knows all that names may stand for."""
        for o in self._options():
            if o.kind in _OF_NODES and self._names:
                for name in _flat(getattr(analysis, o.name)):
                    if name not in _GROUPS and not matching(name, self._names):
                        return f"{o.name}: the model has no node {name!r}"
        return ""

    @on(Button.Pressed, "#start")
    def _pressed(self) -> None:
        self.action_start()

    def action_start(self) -> None:
        """Start it, unless a field is wrong."""
        try:
            analysis, recording = self.read()
        except UsageError as error:
            self.app.notify(str(error), severity="error", markup=False)
            return
        self.app.pop_screen()
        self.debugger.start(analysis, recording, self._on_success)


def _about(run: RunInfo) -> dict[str, str | None]:
    """What a run was about, by the names of the options."""
    return dict(zip(_ABOUT, (run.model_path, run.data_path, run.parameters.get("float_model")),
                    strict=True))  # fmt: skip


def _placed(field: Field) -> Any:
    """The value of a field; a place of the user's own is found as a shell would."""
    value = field.read()
    if field.option.kind in PLACES and isinstance(value, str):
        return str(Path(value).expanduser())
    return value


def _flat(names: Any) -> Iterable[str]:
    if isinstance(names, str):
        yield names
    else:
        for name in names or ():
            yield from _flat(name)


def _first(paths: list[str]) -> str:
    return paths[0] if paths else ""


def _models_here() -> list[str]:
    return sorted(str(path) for path in Path.cwd().glob("*.onnx"))


def _count_samples(folder: Path) -> int | None:
    """Number of arrays of the first input; None if the folder is not laid out so."""
    try:
        inputs = sorted(path for path in folder.iterdir() if path.is_dir())
        return sum(1 for _ in inputs[0].glob("*.npy")) or None if inputs else None
    except OSError:
        return None
