"""``device``: what a device really gave, against the float model and the simulation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hmct_track.analyses.base import Analysis, Answer, data_num, save_dir
from hmct_track.analyses.configurations import every
from hmct_track.errors import DataError, UsageError
from hmct_track.options import option
from hmct_track.options.condition import Condition, parse_condition
from hmct_track.options.kinds import FILE, FOLDER, METRIC, TEXT, as_list, texts
from hmct_track.report.drawings import Drawing
from hmct_track.types import CalibrationKind, Metric, QuantConfig, Quantization

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from hmct_track.dumped import Dumps
    from hmct_track.engine import Engine
    from hmct_track.lake.rows import DeviceTensorsRow
    from hmct_track.model import QuantModel
    from hmct_track.quantization import QuantParams
    from hmct_track.recording import Run, Subject
    from hmct_track.report.html import Table

_STEM = "device"
_COPIES = 2
"""Moved copies of each sample, on which is measured what rounding ties do."""

_PAIRS = {
    "float_simulation": "quantization",
    "simulation_device": "device_value",
    "float_device": "total",
}
"""What is compared at the outputs, and its column."""
GATED = ("parting", *_PAIRS)
"""What conditions may be about: how many tensors part, and the metric at the worst output."""


@dataclass(frozen=True, kw_only=True)
class Device(Analysis["DeviceTensorsRow"]):
    """Compare what a device gave with the float model and the simulation, tensor by tensor."""

    command: ClassVar[str] = "device"
    kind: ClassVar[str] = "device"
    summary: ClassVar[str] = "Compare a device's outputs with the float model and the simulation."

    device_outputs: Any = option(
        FOLDER, "what the device gave: a folder per tensor, a TENSOR.npy per tensor, or an .npz",
        positional=True, metavar="OUTPUTS",
    )  # fmt: skip
    label: str = option(TEXT, "what the device is called", "-l", default="device", metavar="NAME")
    also: str | Sequence[str] | None = option(
        texts("LIST"), "other devices or runtimes beside it, as NAME=OUTPUTS", default=None
    )
    scales: str | os.PathLike[str] | None = option(
        FILE, "JSON of tensor to scale, or to scale, zero_point and axis, for integer dumps",
        default=None,
    )  # fmt: skip
    fail_if: str | Sequence[str] | None = option(
        texts("CONDITIONS"), "exit code 4 where one of these holds for a device, such as "
        '"parting > 0 or simulation_device < 40"', default=None,
    )  # fmt: skip
    metric: str = option(METRIC, f"one of: {', '.join(Metric)}", "-m", default=Metric.SQNR.value)
    data_num: int | None = data_num("-d", None)
    save_dir: str | os.PathLike[str] | None = save_dir("-s")

    def check(self) -> None:
        """Check the parameters by themselves."""
        super().check()
        self._sources()
        self._conditions()

    def _conditions(self) -> list[Condition]:
        """What makes the gate fail.

        Raises:
            UsageError: one is not understood.
        """
        return [parse_condition(text, list(GATED)) for text in as_list(self.fail_if)]

    def _failed(self, answer: Answer[DeviceTensorsRow]) -> list[str]:
        """The conditions that hold, each with the device that it holds for.

        Raises:
            UsageError: one asks for what no dump has.
        """
        conditions, found = self._conditions(), []
        if conditions:
            for device, values in _gated(answer.rows, Metric(self.metric)).items():
                why = dict.fromkeys(GATED, _why_unknown(device))
                held = [c.text for c in conditions if c.holds(values, why)]
                found += [f"{device}: {text}" for text in held]
        return found

    def extras(self, answer: Answer[DeviceTensorsRow], run: Run) -> dict[str, Any]:
        """Whether a condition holds."""
        return {"refused": bool(self._failed(answer))}

    def _sources(self) -> dict[str, Any]:
        """Device to what it gave.

        Raises:
            UsageError: one has no name, or two have the same.
        """
        found = {self.label: self.device_outputs}
        for text in as_list(self.also):
            name, equals, source = text.partition("=")
            if not (name and equals and source):
                raise UsageError(f"also has {text!r}; NAME=OUTPUTS was expected")
            if name in found:
                raise UsageError(f"two devices are called {name!r}; give them different names")
            found[name] = source
        return found

    def outputs(self, model: QuantModel, engine: Engine) -> tuple[str, ...]:
        """The outputs of the model."""
        return engine.output_tensors([spec.name for spec in model.outputs])

    def _dumps(self, subject: Subject) -> dict[str, Dumps]:
        from hmct_track.dumped import open_dumps

        model = subject.model
        tensors = [spec.name for spec in model.inputs]
        tensors += [name for node in model.general_nodes for name in node.outputs if name]
        return {
            name: open_dumps(
                source,
                tensors,
                [spec.name for spec in model.outputs],
                len(subject.samples),
                self.scales,
            )
            for name, source in self._sources().items()
        }

    def check_subject(self, subject: Subject) -> None:
        """The dumps must be there, and be of this model's tensors.

        Raises:
            DataError: they are not.
        """
        self._dumps(subject)

    def observe(self, run: Run) -> None:
        """Record how far float, simulation and device are apart, tensor by tensor."""
        from hmct_track.lake import DEVICE_TENSORS

        for name, dumps in self._dumps(run.subject).items():
            run.lake.append(DEVICE_TENSORS, list(_rows(run, name, dumps)))
            run.remarks += [f"{name}: {remark}" for remark in dumps.remarks]

    def rows(self, answer: Answer[DeviceTensorsRow]) -> list[DeviceTensorsRow]:
        """The tensors of each device, in topological order."""
        return answer.lake.query("device_tensors", run_id=answer.run_id, metric=self.metric)

    def text(self, answer: Answer[DeviceTensorsRow]) -> str:
        """A line for each device, and a table of its tensors."""
        from hmct_track.report.device import device_text

        return device_text(answer.rows, Metric(self.metric))

    def warnings(self, answer: Answer[DeviceTensorsRow]) -> Iterator[str]:
        """Conditions that hold, and values that are no numbers."""
        yield from (f"failed: {text}" for text in self._failed(answer))
        bad = [row for row in answer.rows if row["nonfinite"]]
        if bad:
            yield (
                f"{bad[0]['device']} gave NaN or Inf in {len(bad)} tensors, first in "
                f"{bad[0]['tensor']!r}; such tensors part from the simulation"
            )

    def heading(self, answer: Answer[DeviceTensorsRow]) -> str:
        """What it shows."""
        return "Device against simulation"

    def table(self, answer: Answer[DeviceTensorsRow]) -> Table:
        """The tensors."""
        from hmct_track.report.device import device_table

        return device_table(answer.rows, Metric(self.metric))

    def drawings(self, answer: Answer[DeviceTensorsRow]) -> list[Drawing]:
        """The distances over depth."""

        def draw() -> Figure:
            from hmct_track.report.device import device_figure

            if not answer.rows:
                raise UsageError(f"run {answer.run_id!r} has compared no tensor")
            return device_figure(answer.rows, f"Device against simulation, {answer.label}")

        return [Drawing(_STEM, draw)]

    def texts(self, answer: Answer[DeviceTensorsRow]) -> Mapping[str, str]:
        """The table."""
        return {f"{_STEM}.log": self.text(answer) + "\n"}

    def worst(self, answer: Answer[DeviceTensorsRow]) -> tuple[str, float | None] | None:
        """The first tensor at which a device parts from the simulation."""
        row = next((row for row in answer.rows if row["parts"]), None)
        return (row["tensor"], row["device_value"]) if row else None

    def run_summary(self, answer: Answer[DeviceTensorsRow]) -> dict[str, float]:
        """The distances at the outputs, and how many tensors part."""
        found: dict[str, float] = {}
        for row in answer.rows:
            values: Mapping[str, Any] = row
            for name, column in _PAIRS.items():
                if row["is_output"] and values[column] is not None:
                    found[f"{row['device']}.{name}.{self.metric}"] = values[column]
        for device in dict.fromkeys(row["device"] for row in answer.rows):
            parting = [r for r in answer.rows if r["device"] == device and r["parts"]]
            found[f"{device}.tensors_parting"] = float(len(parting))
        return found

    def run_curves(self, answer: Answer[DeviceTensorsRow]) -> dict[str, list[tuple[int, float]]]:
        """How far each device is from the simulation over depth, in what rounding explains."""
        curves: dict[str, list[tuple[int, float]]] = {}
        for row in answer.rows:
            if row["ratio"] is not None:
                name = f"{row['device']}.of_rounding"
                curves.setdefault(name, []).append((row["position"], row["ratio"]))
        return curves

    def note(self, answer: Answer[DeviceTensorsRow]) -> str:
        """The tensors."""
        from hmct_track.report import table_markdown

        query = f"device_tensors -p metric={self.metric}"
        return table_markdown("Tensors by depth", self.table(answer), query, answer.run_id)


def _gated(rows: Sequence[DeviceTensorsRow], metric: Metric) -> dict[str, dict[str, float | None]]:
    """Device to what conditions may be about; of several outputs the worst, None of none or NaN."""
    found: dict[str, dict[str, float | None]] = {}
    for device in dict.fromkeys(row["device"] for row in rows):
        own = [row for row in rows if row["device"] == device]
        values = found[device] = {"parting": float(sum(row["parts"] for row in own))}
        outputs: list[Mapping[str, Any]] = [row for row in own if row["is_output"]]
        for name, column in _PAIRS.items():
            given = [row[column] for row in outputs]
            values[name] = max(given, key=metric.badness, default=None)
    return found


def _why_unknown(device: str) -> str:
    return f"{device} gave no output of the model, or gave NaN; dump the outputs as well"


def _rows(run: Run, device: str, dumps: Dumps) -> Iterator[dict[str, Any]]:
    """Rows of ``device_tensors``: sums of each pair, tensor and sample."""
    from hmct_track.engine import pair_statistics
    from hmct_track.model import effective_params, fake_quantize
    from hmct_track.recording.moved import MovedSamples, moved_id

    subject = run.subject
    model, engine, inputs = subject.model, subject.engine, subject.inputs()
    config = QuantConfig(Quantization.AS_CALIBRATED).canonical(every(model))
    made = {o: (k, n.name) for k, n in enumerate(model.general_nodes, 1) for o in n.outputs}
    tensors = sorted(dumps.tensors, key=lambda name: made.get(name, (0, ""))[0])
    readers = {
        node.input: effective_params(node, config)
        for node in reversed(model.calibration_nodes)
        if node.kind is CalibrationKind.ACTIVATION
    }
    outputs = {spec.name for spec in model.outputs}
    moved = MovedSamples(inputs, range(1, _COPIES + 1))
    runs = zip(
        inputs,
        engine.observe(QuantConfig(), inputs, tensors),
        engine.observe(config, inputs, tensors),
        *(
            engine.observe(config, {moved_id(s, c): moved[moved_id(s, c)] for s in inputs}, tensors)
            for c in range(1, _COPIES + 1)
        ),
        strict=True,
    )
    stages = engine.stages(config, next(iter(inputs.values())), tensors)
    for place, (sample_id, x, y, *others) in enumerate(runs):
        given = dict(inputs[sample_id])
        for tensor in tensors:
            if y[tensor].dtype.kind != "f":
                raise DataError(f"tensor {tensor!r} holds no float values to compare")
            params: QuantParams | None = readers.get(tensor)
            z = given[tensor] = dumps.load(tensor, place, y[tensor].shape, params)
            stage = stages.get(tensor)
            row = {
                "run_id": run.run_id,
                "device": device,
                "tensor": tensor,
                "sample_id": sample_id,
                "position": made.get(tensor, (0, ""))[0],
                "node": made.get(tensor, (0, None))[1],
                "is_output": tensor in outputs,
                "step": _step(params),
                "hidden": stage.hidden if stage else 0,
            }
            simulated = [y[tensor], *(other[tensor] for other in others)]
            # Of what the device itself has put in, so that no error before this tensor counts.
            own = stage.run(given) if stage else y[tensor]
            # A device that computes in integers gives a tensor as its reader's quantizer has it.
            # Told by its own inputs: far behind a fault, the simulation is near to neither.
            if params is not None and _on_grid(z, own, fake_quantize(own, params)):
                simulated = [fake_quantize(each, params) for each in simulated]
                own = fake_quantize(own, params)
            pairs = {
                "quantization": (x[tensor], simulated[0]),
                "device": (simulated[0], z),
                "total": (x[tensor], z),
                "own": (own, z),
            }
            pairs |= {f"rounding {c}": (simulated[0], s) for c, s in enumerate(simulated[1:], 1)}
            for pair, (a, b) in pairs.items():
                yield {**row, "pair": pair, **asdict(pair_statistics(a, b))}


def _on_grid(z: NDArray[Any], plain: NDArray[Any], quantized: NDArray[Any]) -> bool:
    """Whether a dump is nearer to the quantized tensor than to the one before its quantizer."""
    return bool(abs(z - quantized).sum() <= abs(z - plain).sum())


def _step(params: QuantParams | None) -> float | None:
    """The largest step of the quantizer that reads a tensor."""
    if params is None or not params.qtype.is_integer:
        return None
    return float(max(params.scales))
