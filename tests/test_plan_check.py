"""Whether a built model has the types of its plan, and what it costs if not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hmct_track
from hmct_track import demo
from hmct_track.analyses.plan_session import split
from hmct_track.cli.main import main
from hmct_track.lake import Lake
from hmct_track.model import QuantModel, load_model, planned_model, qdq_model, save_model
from hmct_track.types import QuantConfig, Quantization
from tests.support.planned import expected

MODEL, DATA = str(demo.model_path()), str(demo.calibration_data_path())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of the demo, its files, and its lake."""
    folder = tmp_path_factory.mktemp("plan")
    hmct_track.plan(
        MODEL, DATA, "error <= 10 %", data_num=8, output_folder=folder, lake=folder / "lake",
        track=False,
    )  # fmt: skip
    return folder


def check(folder: Path, built: Path, capsys: pytest.CaptureFixture[str]) -> str:
    kept = ["--lake", str(folder / "lake"), "--no-track"]
    assert main(["plan-check", str(folder), str(built), "-d", "2", *kept]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["calibrated_model.onnx", "qdq_model.onnx"])
def test_our_own_files_honour_the_plan(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the plan is honoured" in check(folder, folder / name, capsys)


def test_nodes_that_fell_back_are_listed_with_what_they_cost(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GIVEN a model in which one node of the plan is int8 all the same
    THEN that node alone is listed, and its value is that of the model as it was built.
    """
    plan = json.loads((folder / "plan.json").read_text())
    config = QuantConfig.from_json(json.dumps(plan["config"]))
    node = next(
        name
        for name, node in plan["nodes"].items()
        if any(i["planned"] == "int16" for i in node["inputs"])
    )
    lost = [i["calibration_node"] for i in plan["nodes"][node]["inputs"]]
    model = load_model(MODEL)
    states = {**config.overrides, **dict.fromkeys(lost, Quantization.AS_CALIBRATED)}
    built = tmp_path / "built.onnx"
    fallen = QuantConfig(Quantization.AS_CALIBRATED, states)
    save_model(qdq_model(model, fallen)[0], built)
    printed = check(folder, built, capsys)
    assert "have other types than planned" in printed
    assert node in printed
    lake = Lake.open(folder / "lake")
    run = max(r["run_id"] for r in lake.query("run_list") if r["kind"] == "plan-check")
    rows = lake.query("plan_check", run_id=run, metric="mse")
    values = {row["role"]: row["value"] for row in rows}
    assert values["built"] > values["planned"]
    known = [n.name for n in model.calibration_nodes]
    ids = {row["role"]: row["config_id"] for row in rows}
    assert ids["built"] == fallen.canonical(known).config_id


def test_nodes_that_are_not_there_are_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model(MODEL)
    written, _ = planned_model(model, QuantConfig(Quantization.AS_CALIBRATED))
    for node in written.proto.graph.node:
        node.name = f"renamed_{node.name}"
    save_model(written, tmp_path / "built.onnx")
    assert "not there" in check(folder, tmp_path / "built.onnx", capsys)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no JSON"),
        ("[]", "is not a plan"),
        ('{"hmct_track_plan": 2}', "form 1 was expected"),
        ('{"hmct_track_plan": 1, "config": {"default": "off", "overrides": {}}}', "not a plan"),
    ],
)
def test_what_is_no_plan_is_refused_in_a_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text(text)
    code = main(["plan-check", str(tmp_path), MODEL, "--lake", str(tmp_path / "l"), "--no-track"])
    assert code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "l").exists()


def test_free_remedies_come_first_and_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """WHEN free is among the moves of the demo, whose weights have one scale per tensor.

    THEN shares are of the model as it was given, less has to be raised than without, nothing of the
    held-out samples was looked at, and what is written has both the remedies and the plan.
    """
    kept = {"data_num": 8, "lake": tmp_path / "lake", "track": False, "progress": False}
    plain = hmct_track.plan(MODEL, DATA, "error <= 3 %", **kept).summary
    found = hmct_track.plan(
        MODEL, DATA, "error <= 3 %", moves="free,int16", allow="per-channel",
        output_folder=tmp_path, **kept,
    )  # fmt: skip
    row = found.summary
    assert row["freed"]
    assert row["cost"] < plain["cost"]
    held, choosing = split(8, 0.25)[::-1]
    given, mended = load_model(MODEL), load_model(tmp_path / "mended_model.onnx")
    for calibrated, places, share in (
        (QuantConfig(Quantization.AS_CALIBRATED), choosing, row["calibrated"]),
        (found.config, held, row["held_out_value"]),
    ):
        of_given = mse(given, QuantConfig(Quantization.AS_CALIBRATED), places)
        assert share == pytest.approx(mse(mended, calibrated, places) / of_given, rel=1e-4)
    assert "the plan is honoured" in check(tmp_path, tmp_path / "calibrated_model.onnx", capsys)


def mse(model: QuantModel, config: QuantConfig, places: list[int]) -> float:
    """The mean over samples of the demo, of the first output."""
    files = sorted(demo.calibration_data_path().glob("input/*.npy"), key=lambda f: int(f.stem))
    values = []
    for k in places:
        sample = {"input": np.load(files[k])}
        (want,) = expected(model, QuantConfig(Quantization.OFF), sample)
        (got,) = expected(model, config, sample)
        values.append(float(np.square(got.astype(np.float64) - want).mean()))
    return float(np.mean(values))
