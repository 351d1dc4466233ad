"""One case: a mutated model, an analysis of it, and what is to be said of the outcome."""

from __future__ import annotations

import tempfile
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

import hmct_track
from hmct_track import debug
from hmct_track.engine import Engine
from hmct_track.errors import HmctTrackError
from hmct_track.model import load_model
from hmct_track.types import QuantConfig, Quantization
from tests.fuzz.mutations import mutate_bytes, mutate_field, mutate_structure
from tests.fuzz.oracle import float_outputs
from tests.fuzz.seeds import SEEDS, external, unquantized, with_external_data

Inputs = dict[str, np.ndarray]

AGREES, UNJUDGED, REFUSED = "agrees", "unjudged", "refused"
"""An answer whose float outputs are the reference's; one of which the reference has none to compare
with; an error of hmct-track's own."""

TOLERANCE = 1e-3
"""Of the largest value: float32 in another order."""

_FIGURES = ("plot_distribution", "channelwise", "plot_acc_error", "sensitivity_analysis")


def run_case(number: int) -> dict[str, Any]:
    """What became of case ``number``: ``outcome``, and ``detail`` where it should not be so."""
    rng = np.random.default_rng([11, number])
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place)
        seed, kind = _write(folder, rng)
        told = {"case": number, "seed": seed, "mutation": kind}
        try:
            return {**told, **_judge(folder, seed == unquantized.__name__, rng)}
        except HmctTrackError as error:
            said = str(error)
            if len(said) > 300 or len(said.splitlines()) != 1 or not said.strip():
                return {**told, "outcome": "message", "detail": said}
            return {**told, "outcome": REFUSED, "detail": said}
        except BaseException as error:  # noqa: BLE001 - this is what is looked for
            own = [
                f for f in traceback.extract_tb(error.__traceback__) if "hmct_track" in f.filename
            ]
            where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
            detail = f"{type(error).__name__} at {where}: {error}"[:400]
            return {**told, "outcome": "exception", "detail": detail}


def _write(folder: Path, rng: np.random.Generator) -> tuple[str, str]:
    """The mutated model, its external data beside it."""
    seed = SEEDS[int(rng.integers(len(SEEDS)))]
    proto = seed()
    if seed is external:
        (folder / "weights").write_bytes(with_external_data(proto))
    kind = ("bytes", "fields", "structure")[int(rng.integers(3))]
    for _ in range(1 + (rng.random() < 0.2)):
        try:
            if kind == "fields":
                mutate_field(proto, rng)
            elif kind == "structure":
                mutate_structure(proto, rng)
        except (ValueError, TypeError, IndexError):
            pass  # the mutation before left nothing for this one
    data = proto.SerializeToString()
    (folder / "model.onnx").write_bytes(mutate_bytes(data, rng) if kind == "bytes" else data)
    return seed.__name__, kind


def _data(file: Path) -> list[Inputs]:
    """Samples that fit the model's inputs as far as it says what they are."""
    try:
        inputs = onnx.load(file, load_external_data=False).graph.input
        shapes = {
            v.name: [
                d.dim_value if 0 < d.dim_value < 100 else 1 for d in v.type.tensor_type.shape.dim
            ]
            for v in inputs
        }
    except DecodeError:
        shapes = {"x": [1, 3, 8, 8]}
    return [
        {
            n: np.random.default_rng(k).standard_normal(s).astype(np.float32)
            for n, s in shapes.items()
        }
        for k in range(2)
    ]


def _judge(folder: Path, is_float: bool, rng: np.random.Generator) -> dict[str, Any]:
    file = folder / "model.onnx"
    samples = _data(file)
    columns = {name: [sample[name] for sample in samples] for name in samples[0]}
    if is_float:
        methods = ("max", "percentile", "kl", "mse")
        made = hmct_track.calibrate(
            file, columns, lake=folder / "lake", track=False, progress=False,
            method=str(rng.choice(methods)), asymmetric=bool(rng.integers(2)),
        )  # fmt: skip
        subject: Any = made.model
    else:
        subject = file
    verdict = _compare(subject, file, samples[0])
    if "detail" not in verdict:
        _analyse(subject, columns, folder, rng)
    return verdict


def _compare(subject: Any, file: Path, sample: Inputs) -> dict[str, Any]:
    """The float outputs that the engine compares with, against the reference's."""
    model = load_model(subject)
    engine = Engine(model, threads=1)
    outputs = engine.output_tensors([spec.name for spec in model.outputs])
    (found,) = engine.observe(QuantConfig(), {"0": sample}, outputs)
    names = [n.name for n in model.calibration_nodes][:4]
    configs = [QuantConfig.only([name]) for name in names] + [
        QuantConfig(Quantization.AS_CALIBRATED)
    ]
    canonical = {c.config_id: c for c in (c.canonical([n.name for n in model.calibration_nodes])
                                          for c in configs)}  # fmt: skip
    measured = list(engine.evaluate(list(canonical.values()), {"0": sample}, outputs))
    if len(measured) != len(canonical) * len(set(outputs)):
        return {"outcome": "missing", "detail": f"{len(measured)} measurements"}
    if any(
        node.op_type == "Relu" and node.name.endswith(":Relu") for node in model.proto.graph.node
    ):
        return {"outcome": UNJUDGED}  # an activation that was put back, as the warning says
    expected = float_outputs(onnx.load(file), sample)
    if expected is None:
        return {"outcome": UNJUDGED}
    return difference(found, expected)


def difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Whether float outputs are those of the reference, and which one is not."""
    missing = [
        name for name, value in expected.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name not in found
    ]  # fmt: skip
    if missing:
        return {"outcome": "differs", "detail": f"float outputs {missing} are left out"}
    for name, value in found.items():
        if name not in expected:
            continue
        other = np.asarray(expected[name])
        if value.shape != other.shape or value.dtype != other.dtype:
            detail = f"{name}: {value.dtype}{value.shape}, not {other.dtype}{other.shape}"
            return {"outcome": "differs", "detail": detail}
        x, y = value.astype(np.float64), other.astype(np.float64)
        finite = np.isfinite(x) & np.isfinite(y)  # what is infinite may overflow elsewhere
        same = (x == y) | finite | ~np.isfinite(x) & ~np.isfinite(y)
        scale = np.abs(y[finite]).max(initial=1e-6)
        if not np.all(same) or np.abs(x - y)[finite].max(initial=0) > TOLERANCE * scale:
            detail = f"{name}: {x.ravel()[:4]}, not {y.ravel()[:4]}"
            return {"outcome": "differs", "detail": detail}
    return {"outcome": AGREES}


def _analyse(subject: Any, columns: Any, folder: Path, rng: np.random.Generator) -> None:
    """Once in a while one of the analyses whole, with lake, tables and figures."""
    options: Any = {"lake": folder / "lake", "track": False, "progress": False}
    draw = rng.random()
    if draw < 0.3:
        debug.get_sensitivity_of_nodes(
            subject, ["sqnr", "mse"], columns, data_num=2, node_type="activation", **options
        )
    elif draw < 0.35:
        names = [n.name for n in load_model(subject).calibration_nodes]
        analysis = _FIGURES[int(rng.integers(len(_FIGURES)))]
        out = folder / "saved"
        if analysis == "plot_distribution":
            debug.plot_distribution(out, subject, columns, "*", **options)
        elif analysis == "channelwise":
            debug.get_channelwise_data_distribution(out, subject, columns, names, **options)
        elif analysis == "plot_acc_error":
            debug.plot_acc_error(out, columns, subject, non_quantize_node=names[:1], **options)
        else:
            debug.sensitivity_analysis(subject, columns, save_dir=out, **options)
