"""A device's dumps against the simulation; onnxruntime's integer kernels are the device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import hmct_track
from hmct_track import demo
from hmct_track.analyses import ANALYSES
from hmct_track.analyses.runner import run_analysis
from hmct_track.cli.main import main
from hmct_track.dumped import open_dumps
from hmct_track.engine import pair_statistics
from hmct_track.errors import DataError, UsageError
from hmct_track.lake import DEVICE_TENSORS, Lake
from hmct_track.model import load_model, qdq_model, whole_proto
from hmct_track.recording import Recording
from hmct_track.types import QuantConfig, Quantization

COUNT = 3
MODEL, DATA = str(demo.model_path()), str(demo.calibration_data_path())
SAMPLES = [np.load(demo.calibration_data_path() / "input" / f"{k}.npy") for k in range(COUNT)]

Dumped = dict[str, list[np.ndarray]]


def qdq() -> onnx.ModelProto:
    skeleton, _ = qdq_model(load_model(MODEL), QuantConfig(Quantization.AS_CALIBRATED))
    return whole_proto(skeleton)


def run_chip(model: onnx.ModelProto, inputs: list[dict[str, Any]]) -> Dumped:
    """What fused integer kernels give of each quantized tensor, as integers."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    names = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: Dumped = {}
    for feed in inputs:
        for output, array in zip(session.get_outputs(), session.run(None, feed), strict=True):
            found.setdefault(names.get(output.name, output.name), []).append(array)
    return found


def device(outputs: Any, lake: Path, **given: Any) -> Any:
    analysis = ANALYSES["device"](
        model_or_file=given.pop("model", MODEL),
        calibrated_data=given.pop("data", DATA),
        device_outputs=outputs,
        data_num=given.pop("data_num", COUNT),
        save_dir=given.pop("save_dir", None),
        **given,
    )
    return run_analysis(analysis, Recording(lake=lake, track=False, progress=False))


@pytest.fixture(scope="module")
def chip() -> Dumped:
    found = run_chip(qdq(), [{"input": x} for x in SAMPLES])
    assert found["Relu_5_output"][0].dtype == np.int8
    return found


def test_integer_kernels_are_explained_by_rounding(chip: Dumped, tmp_path: Path) -> None:
    result = device(chip, tmp_path)
    assert len(result.rows) == len(chip)
    assert not [row["tensor"] for row in result.rows if row["parts"]]
    off = [row["own_steps"] for row in result.rows if row["own_steps"] is not None]
    assert max(off) == pytest.approx(1, abs=1e-3), "its kernels do round otherwise"
    (row,) = [row for row in result.rows if row["is_output"]]
    assert row["device_value"] < 60 < row["own"], "what others rounded is not its own"
    # The distance of float and device, worked out anew from the float model.
    plain = onnx.load(MODEL)
    quantizers = {n.output[0]: n.input[0] for n in plain.graph.node if n.op_type == "HzCalibration"}
    kept = [n for n in plain.graph.node if n.op_type != "HzCalibration"]
    for node in kept:
        node.input[:] = [quantizers.get(name, name) for name in node.input]
    del plain.graph.node[:]
    plain.graph.node.extend(kept)
    session = ort.InferenceSession(plain.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.stack([session.run(None, {"input": s})[0] for s in SAMPLES]).astype(float)
    d = x - np.stack(chip["logits"])
    assert row["total"] == pytest.approx(10 * np.log10((x**2).sum() / (d**2).sum()), abs=1e-3)


def test_a_fault_in_one_layer_is_named(chip: Dumped, tmp_path: Path) -> None:
    """GIVEN a device whose Conv_12 has one weight of another value
    THEN that tensor is the first to part, and those behind it, which only inherit it, do not.
    """
    faulty = qdq()
    conv = next(n for n in faulty.graph.node if "Conv_12_output" in n.output)
    maker = next(n for n in faulty.graph.node if conv.input[1] in n.output)
    weight = next(t for t in faulty.graph.initializer if t.name == maker.input[0])
    values = numpy_helper.to_array(weight).copy()
    values[3] = -values[3]
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    broken = run_chip(faulty, [{"input": x} for x in SAMPLES])
    result = device(broken, tmp_path / "lake", save_dir=tmp_path / "out", label="board")
    parting = [row["tensor"] for row in result.rows if row["parts"]]
    assert parting == ["Conv_12_output"]
    (first,) = [row for row in result.rows if row["is_first"]]
    assert (first["tensor"], first["node"], first["hidden"]) == ("Conv_12_output", "Conv_12", 0)
    text = (tmp_path / "out" / "device.log").read_text()
    assert "board: parts from the simulation at Conv_12_output of node Conv_12" in text
    assert (tmp_path / "out" / "device.png").read_bytes().startswith(b"\x89PNG")
    # With few tensors dumped, what lies between is searched: the first dumped one behind it parts.
    few = {name: broken[name] for name in ("Relu_5_output", "Relu_14_output", "logits")}
    named = next(row for row in device(few, tmp_path / "lake").rows if row["is_first"])
    assert named["tensor"] == "Relu_14_output"
    assert named["hidden"] > 0


def test_a_gate_asks_for_what_parts_and_for_the_outputs(
    chip: Dumped,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "all.npz", **{name: np.stack(given) for name, given in chip.items()})
    np.savez(tmp_path / "one.npz", Relu_5_output=np.stack(chip["Relu_5_output"]))
    broken = {**chip, "logits": [-given for given in chip["logits"]]}
    np.savez(tmp_path / "broken.npz", **{name: np.stack(given) for name, given in broken.items()})

    def gate(dumps: str, condition: str, *more: str) -> tuple[int, str]:
        line = ["device", MODEL, DATA, str(tmp_path / dumps), "-d", str(COUNT), *more]
        line += ["--lake", str(tmp_path / "lake"), "--no-track", "--no-progress"]
        caplog.clear()
        code = main([*line, "--fail-if", condition])
        return code, caplog.text + capfd.readouterr().err

    code, said = gate("all.npz", "parting > 0")
    assert (code, "failed" in said) == (0, False)
    tensors = len(chip) - 1  # all but the output, which is float
    assert f"'Relu_3_output' and {tensors - 3} more are of integers" in said
    code, said = gate("all.npz", "[parting > 9, simulation_device < 1000]")
    assert (code, "failed: device: simulation_device < 1000" in said) == (4, True)
    also = ("--also", f"old={tmp_path / 'all.npz'}")
    code, said = gate("broken.npz", "parting > 0", *also)
    assert (code, said.count("failed: "), "failed: device: parting > 0" in said) == (4, 1, True)
    code, said = gate("one.npz", "float_device < 1 or parting >= 0")
    assert (code, "device gave no output of the model" in said) == (2, True)
    code, said = gate("all.npz", "max_drop > 0")
    assert (code, "known are parting, float_simulation" in said) == (2, True)


def test_saturating_kernels_are_found(tmp_path: Path) -> None:
    """GIVEN a convolution whose sums of two products leave 16 bits
    THEN the device parts on a CPU whose kernels saturate, and only there.
    """
    import hmct_track

    rng = np.random.default_rng(1)
    weight = rng.uniform(0.9, 1.0, (8, 64, 1, 1)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
         onnx.helper.make_node("Conv", ["c", "w2"], ["y"], name="last")],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 64, 4, 4])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 2, 4, 4])],
        [numpy_helper.from_array(weight, "w"),
         numpy_helper.from_array(rng.uniform(-1, 1, (2, 8, 1, 1)).astype(np.float32), "w2")],
    )  # fmt: skip
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    proto.ir_version = 8
    onnx.save(proto, tmp_path / "float.onnx")
    xs = [rng.uniform(0.8, 1, (1, 64, 4, 4)).astype(np.float32) for _ in range(2)]
    hmct_track.calibrate(
        tmp_path / "float.onnx", {"x": xs}, tmp_path / "c.onnx", data_num=None,
        activation_type="uint8",        lake=tmp_path / "lake", track=False,
    )  # fmt: skip
    skeleton, _ = qdq_model(
        load_model(tmp_path / "c.onnx"), QuantConfig(Quantization.AS_CALIBRATED)
    )
    found = run_chip(whole_proto(skeleton), [{"x": x} for x in xs])
    result = device(
        found, tmp_path / "lake", model=str(tmp_path / "c.onnx"), data={"x": xs}, data_num=None
    )
    parting = [row["tensor"] for row in result.rows if row["parts"]]
    # What the kernels do is told by exact integers, of the device's own inputs.
    of = {n.input: n.params for n in load_model(tmp_path / "c.onnx").calibration_nodes}
    scale = np.asarray(of["w"].scales)[:, None, None, None]
    integers = np.clip(np.round(weight / scale), -128, 127)[:, :, 0, 0]
    saturates = False
    for x, given in zip(found["x"], found["c"], strict=True):
        sums = np.einsum("oi,ihw->ohw", integers, x[0].astype(np.int64) - of["x"].zero_points[0])
        exact = sums * scale[..., 0] * of["x"].scales[0] / of["c"].scales[0]
        exact = np.clip(np.round(exact) + of["c"].zero_points[0], 0, 255)
        saturates |= bool(np.abs(exact - given[0]).max() > 1)
    assert parting == (["c"] if saturates else [])


def test_forms_of_dumps_give_the_same(chip: Dumped, tmp_path: Path) -> None:
    """GIVEN the same tensors as folders, files, an .npz, NHWC, and with scales of their own
    THEN they load the same.
    """
    names = ["Relu_5_output", "logits"]
    shapes = {name: chip[name][0].shape for name in names}
    quantizer = next(n for n in load_model(MODEL).calibration_nodes if n.input == names[0])
    for name in names:
        folder = tmp_path / "folders" / name
        folder.mkdir(parents=True)
        for k, array in enumerate(chip[name]):
            np.save(folder / f"{k}.npy", array)
    (tmp_path / "files").mkdir()
    stacked = {name: np.concatenate(chip[name]) for name in names}
    for name in names:
        np.save(tmp_path / "files" / f"{name}.npy", stacked[name])
    np.savez(tmp_path / "all.npz", **stacked)
    turned = {names[0]: [a.transpose(0, 2, 3, 1) for a in chip[names[0]]], names[1]: chip[names[1]]}
    scale, zero = quantizer.params.scales[0], quantizer.params.zero_points[0]
    (tmp_path / "scales.json").write_text(
        json.dumps({names[0]: {"scale": scale, "zero_point": int(zero)}})
    )
    sources: Mapping[str, Any] = {
        "folders": tmp_path / "folders", "files": tmp_path / "files",
        "npz": tmp_path / "all.npz", "turned": turned,
    }  # fmt: skip
    for scales in (None, tmp_path / "scales.json"):
        for what, source in sources.items():
            dumps = open_dumps(source, names, ["logits"], COUNT, scales)
            for k in range(COUNT):
                params = None if scales else quantizer.params
                x = dumps.load(names[0], k, shapes[names[0]], params)
                expected = (chip[names[0]][k].astype(float) - zero) * scale
                np.testing.assert_allclose(x, expected, rtol=1e-6, err_msg=what)
                y = dumps.load(names[1], k, shapes[names[1]], None)
                np.testing.assert_array_equal(y, chip[names[1]][k])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"absent": [np.zeros(3)]}, "a tensor 'absent', which the model has not"),
        ({}, "hold no tensors"),
        ({"logits": [np.zeros((1, 10), np.float32)]}, "1 samples; 3 were expected"),
        (
            {"logits": [np.zeros((1, 7), np.float32)] * 3},
            r"shape \[1, 7\]; the model's is \[1, 10\]",
        ),
        ({"logits": [np.zeros((1, 10), np.int8)] * 3}, "give its scale with --scales"),
        ("no/such/folder", "do not exist"),
    ],
)
def test_dumps_that_do_not_fit_are_complained_of(source: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        device(source, tmp_path)


def test_devices_stand_side_by_side_and_need_names(
    chip: Dumped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "logits.npy", np.concatenate(chip["logits"]))
    np.save(tmp_path / "new" / "logits.npy", -np.concatenate(chip["logits"]))
    arguments = ["device", MODEL, DATA, str(tmp_path / "old"), "-d", str(COUNT), "-l", "v1"]
    recorded = ["--lake", str(tmp_path / "lake"), "--no-track"]
    assert main([*arguments, "--also", f"v2={tmp_path / 'new'}", *recorded]) == 0
    text = capsys.readouterr().out
    assert "v1: rounding explains all 1 tensors" in text
    assert "v2: parts from the simulation at logits" in text
    with pytest.raises(UsageError, match="NAME=OUTPUTS"):
        device(chip, tmp_path / "lake", also="new")


@pytest.fixture(scope="module")
def two_devices(chip: Dumped, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A lake with a run of the kernels, and one of a runtime whose Relu_14 is off by 3 steps."""
    folder = tmp_path_factory.mktemp("devices")
    broken = {
        **chip,
        "Relu_14_output": [x + np.int8(3) * (x < 120) for x in chip["Relu_14_output"]],
    }
    broken = {name: given for name, given in broken.items() if name != "Relu_3_output"}
    runs = [
        device(given, folder / "lake", label=label, metric="sqnr")
        for label, given in (("v1", chip), ("v2", broken))
    ]
    return folder / "lake", *runs


def test_two_runs_of_a_device_are_compared_tensor_by_tensor(
    two_devices: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    lake, before, after = two_devices
    result = hmct_track.compare(
        before.run_id,
        fail_if="newly_parting > 0 and output_drop <= 0",
        lake=lake,
        save_dir=tmp_path,
    )
    assert result.failed == ("newly_parting > 0 and output_drop <= 0",)
    old, new = ({r["tensor"]: r for r in run.rows} for run in (before, after))
    rows = {row["tensor"]: row for row in result.rows}
    assert rows.keys() == old.keys() == {*new, "Relu_3_output"}
    removed = rows["Relu_3_output"]
    assert (removed["status"], removed["device_b"], removed["drop"]) == ("removed", None, None)
    for tensor, run in new.items():
        row, then = rows[tensor], old[tensor]
        assert (row["value_a"], row["value_b"]) == (then["device_value"], run["device_value"])
        assert (row["parts_a"], row["parts_b"]) == (then["parts"], run["parts"])
        same = then["device_value"] == run["device_value"]
        drop = 0 if same else then["device_value"] - run["device_value"]
        assert row["drop"] == pytest.approx(drop)
    newly = [t for t, r in rows.items() if r["parts_b"] and not r["parts_a"]]
    assert "Relu_14_output" in newly
    assert result.summary["newly_parting"] == len(newly) == result.summary["parting_b"]
    text = (tmp_path / "comparison.log").read_text()
    assert f"v1 -> v2: rounding explains all {len(old)} tensors -> parts at Relu_14_output" in text
    assert "v1 -> v2 at output logits: sqnr of simulation and device" in text
    assert "simulate two models" not in text
    assert text.count(" newly\n") == len(newly), "each that parts newly is listed"
    assert max(map(len, text.splitlines())) < 300, "long settings are cut"
    assert "**Failed:** `newly_parting > 0" in (tmp_path / "comparison.md").read_text()
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "Relu_14_output" in result._repr_html_()
    assert len(result.to_frame()) == len(old)


def test_references_to_runs_of_a_device(
    two_devices: tuple[Path, Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lake, before, after = two_devices

    def compared(*line: str) -> tuple[int, str]:
        code = main(["compare", *line, "--lake", str(lake)])
        out = capsys.readouterr()
        return code, out.out + out.err

    code, said = compared("latest~1", "latest", "-n", "device", "--fail-if", "removed == 1")
    assert (code, "failed: removed == 1" in said) == (4, True)
    assert f"A  {before.run_id}\nB  {after.run_id}" in said
    (found,) = (json.loads(compared(MODEL, before.run_id, "--json")[1]),)
    assert (found["run_a"], found["run_b"]) == (after.run_id, before.run_id)
    assert found["summary"]["no_longer_parting"] == found["summary"]["parting_a"] > 0
    for line, expected in (
        ((before.run_id, before.run_id, "--fail-if", "worse > 0"), "both references mean run"),
        ((before.run_id, "--fail-if", "whole_drop > 0"), "known are newly_parting"),
        (("latest~2", "-n", "device"), "finished run of device number 3"),
    ):
        code, said = compared(*line)
        assert (code, expected in said) == (2, True), said


def test_what_agrees_with_its_own_inputs_does_not_part(tmp_path: Path) -> None:
    """GIVEN tensors behind hidden quantizers, far from the simulation by rounding upstream
    THEN one parts only where it is also off from what the device itself has put in.
    """
    lake = Lake.create(tmp_path)
    x, far = np.linspace(1, 2, 8, dtype=np.float32), np.linspace(2, 1, 8, dtype=np.float32)
    for tensor, own in (("agrees", far), ("parts", x)):
        pairs = {"quantization": (x, x), "device": (x, far), "total": (x, far), "own": (own, far)}
        pairs["rounding 1"] = (x, x * np.float32(1.001))
        row = {"run_id": "r", "device": "d", "tensor": tensor, "sample_id": "s", "position": 1,
               "node": "n", "is_output": True, "step": None, "hidden": 2}  # fmt: skip
        lake.append(
            DEVICE_TENSORS,
            [{**row, "pair": pair, **vars(pair_statistics(a, b))}
             for pair, (a, b) in pairs.items()],
        )  # fmt: skip
    rows = {row["tensor"]: row for row in lake.query("device_tensors", run_id="r")}
    assert (rows["agrees"]["parts"], rows["agrees"]["ratio"]) == (False, 0)
    assert rows["parts"]["parts"]
    assert rows["parts"]["ratio"] > 1
