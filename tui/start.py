"""The form that starts an analysis."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Label, Select, Static

from hmct_track.types import Metric, NodeType

from .base import LakeScreen, feet
from .launch import Analysis, names_argument
from .text import clean, plain

_QUANTIZE = {
    "weights, activations": ("-q", "[weight,activation]"),
    "only weights": ("-q", "[weight]"),
    "only activations": ("-q", "[activation]"),
    "only these nodes": ("-q", None),
    "all but these nodes": ("-nq", None),
}

# What each command takes beside model and data, and under which option.
_COMMANDS: dict[str, dict[str, str]] = {
    "get-sensitivity-of-nodes": {"metric": "-m", "type": "-n", "samples": "-d", "nodes": "-i"},
    "runall": {"metric": "-nm", "type": "-nt", "samples": "-dn", "folder": "-s"},
    "plot-distribution": {"samples": "--data-num", "nodes": "-n", "folder": "-s"},
    "get-channelwise-data-distribution": {"samples": "--data-num", "nodes": "-n", "folder": "-s"},
    "plot-acc-error": {"metric": "-m", "samples": "--data-num", "quantize": "", "nodes": "",
                       "folder": "-s"},
    "sensitivity-analysis": {"metric": "-m", "threshold": "-p", "samples": "-d", "nodes": "-sn",
                             "folder": "-sd"},
    "select-sensitive-samples": {"metric": "-m", "samples": "-d", "folder": "-s"},
}  # fmt: skip
_NEEDS_NODES = ("plot-distribution", "get-channelwise-data-distribution")


class StartScreen(LakeScreen):
    """Choose an analysis, a model, data and options; the command is shown as one would type it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start"),
        Binding("escape", "app.pop_screen", "Back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._samples: int | None = None
        self._names: list[str] = []

    def compose(self) -> ComposeResult:
        """The fields."""
        newest = next((r for r in self.debugger.runs if r.model_path and r.data_path), None)
        runs = self.debugger.runs
        models = dict.fromkeys([*(r.model_path for r in runs if r.model_path), *_models_here()])
        folders = dict.fromkeys(r.data_path for r in runs if r.data_path)
        with VerticalScroll(can_focus=False):
            yield from self._field("analysis", Select.from_values(_COMMANDS, allow_blank=False))
            yield from self._field(
                "model",
                Input(
                    (newest.model_path if newest else next(iter(models), "")) or "",
                    placeholder="calibrated_model.onnx",
                    suggester=SuggestFromList(models),
                ),
            )
            yield from self._field("data", Input(
                (newest.data_path if newest else "") or "", placeholder="calibration_data",
                suggester=SuggestFromList(folders)))  # fmt: skip
            yield from self._field("samples", Input("1", placeholder="a number, or all"))
            yield from self._field("metric", Select.from_values(list(Metric), allow_blank=False))
            yield from self._field("type", Select.from_values(list(NodeType), allow_blank=False))
            yield from self._field("quantize", Select.from_values(_QUANTIZE, allow_blank=False))
            yield from self._field("threshold", Input("0.999"))
            yield from self._field("nodes", Input(placeholder="names, separated by spaces"))
            yield from self._field("folder", Input(placeholder="save figures here as well"))
            yield Static(markup=False, id="trouble")
            yield Static(markup=False, id="preview")
            yield Button("Start  ctrl+s", variant="primary", id="start")
        yield from feet()

    def _field(self, name: str, widget: Input | Select[Any]) -> ComposeResult:
        widget.id = name
        widget.compact = True
        with Horizontal(classes="field", id=f"row-{name}"):
            yield Label(name)
            yield widget

    def on_mount(self) -> None:
        """Show the fields of the first command."""
        self.query_one("#analysis").focus()
        self._changed()
        self._look()

    @on(Input.Changed, "#model")
    @on(Input.Changed, "#data")
    def _look(self) -> None:
        model, data = self._value("model"), self._value("data")
        run = next((r for r in self.debugger.runs if r.model_path == model), None)
        self.ask("surroundings", partial(self._surroundings, run, data))

    def _surroundings(self, run: Any, data: str) -> tuple[int | None, list[str]]:
        """In a worker: the number of samples in the folder, and the nodes of a known model."""
        names = list(self.reader.nodes(run)) if run else []
        return _count_samples(Path(data).expanduser()), names

    def show_surroundings(self, found: tuple[int | None, list[str]]) -> None:
        """Use what is known of model and data to check the fields."""
        self._samples, self._names = found
        self.query_one("#nodes", Input).suggester = _LastWord(self._names)
        self._changed()

    @on(Input.Changed)
    @on(Select.Changed)
    def _changed(self) -> None:
        fields = _COMMANDS[self._value("analysis")]
        for name in ("samples", "metric", "type", "quantize", "threshold", "nodes", "folder"):
            shown = name in fields
            if name == "nodes" and "quantize" in fields:
                shown = _QUANTIZE[self._value("quantize")][1] is None
            self.query_one(f"#row-{name}").display = shown
        trouble = self._trouble()
        self.query_one("#trouble", Static).update(plain(trouble))
        self.query_one("#start", Button).disabled = bool(trouble)
        preview = Text(clean(self._analysis().shown()))
        self.query_one("#preview", Static).update(preview)

    def _value(self, name: str) -> str:
        widget = self.query_one(f"#{name}")
        value = widget.value if isinstance(widget, Input | Select) else ""
        return str(value).strip()

    def _chosen_nodes(self) -> list[str]:
        """The names in the field: those of the model may have spaces in them."""
        text, found = self._value("nodes"), []
        known = sorted(self._names, key=len, reverse=True)
        while text:
            name = next((n for n in known if text == n or text.startswith(f"{n} ")), None)
            name = name or text.split()[0]
            found.append(name)
            text = text[len(name) :].strip()
        return found

    def _trouble(self) -> str:  # noqa: PLR0911 - a return for each field
        """What is wrong with the fields; empty if nothing is."""
        command = self._value("analysis")
        fields = _COMMANDS[command]
        model, data = (
            Path(self._value("model")).expanduser(),
            Path(self._value("data")).expanduser(),
        )
        if not self._value("model") or not model.is_file():
            return f"model: there is no file {str(model)!r}"
        if not self._value("data") or not data.is_dir():
            return f"data: there is no folder {str(data)!r}"
        samples = self._value("samples").lower()
        if samples != "all":
            most = self._samples
            if not samples.isdecimal() or int(samples) < 1 or (most and int(samples) > most):
                return f"samples: a number from 1 to {most or 'the size of the data'}, or all"
        if "threshold" in fields:
            try:
                float(self._value("threshold"))
            except ValueError:
                return "threshold: a number"
        nodes = self._chosen_nodes()
        unknown = [n for n in nodes if self._names and n not in self._names]
        if unknown and self.query_one("#row-nodes").display:
            return f"nodes: the model has no node {unknown[0]!r}"
        wanted = "quantize" in fields and _QUANTIZE[self._value("quantize")][1] is None
        if not nodes and (command in _NEEDS_NODES or wanted):
            return "nodes: at least one"
        return ""

    def _analysis(self) -> Analysis:
        command = self._value("analysis")
        options: list[str] = []
        for name, option in _COMMANDS[command].items():
            value = self._value(name)
            if name == "quantize":
                flag, listed = _QUANTIZE[value]
                options += [flag, listed or names_argument(self._chosen_nodes())]
            elif name == "nodes" and option and self._chosen_nodes():
                options += [option, names_argument(self._chosen_nodes())]
            elif name == "samples":
                options += [option, "None" if value.lower() == "all" else value]
            elif name == "folder" and value:
                options += [option, str(Path(value).expanduser().absolute())]
            elif name in ("metric", "type", "threshold"):
                options += [option, value]
        return Analysis(command, self._value("model"), self._value("data"), tuple(options))

    @on(Button.Pressed, "#start")
    def _pressed(self) -> None:
        self.action_start()

    def action_start(self) -> None:
        """Start it, unless a field is wrong."""
        trouble = self._trouble()
        if trouble:
            self.app.notify(trouble, severity="error", markup=False)
            return
        analysis = self._analysis()
        self.app.pop_screen()
        self.debugger.start(analysis)


class _LastWord(SuggestFromList):
    """Completes the last of several names."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self._all = names

    async def get_suggestion(self, value: str) -> str | None:
        """The text with its last name completed."""
        begun = value.rsplit(" ", maxsplit=1)[-1]
        fits = (n for n in self._all if begun and n.startswith(begun))
        name = next(fits, None)
        return value[: len(value) - len(begun)] + name if name else None


def _models_here() -> list[str]:
    return sorted(str(path) for path in Path.cwd().glob("*.onnx"))


def _count_samples(folder: Path) -> int | None:
    """Number of arrays of the first input; None if the folder is not laid out so."""
    try:
        inputs = sorted(path for path in folder.iterdir() if path.is_dir())
        return sum(1 for _ in inputs[0].glob("*.npy")) or None if inputs else None
    except OSError:
        return None
