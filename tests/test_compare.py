"""``runs``, ``tag`` and ``compare`` on real runs: the demo model, and one that clips more."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import onnx
import pytest
from onnx import helper

import hmct_track
import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.errors import UsageError
from hmct_track.lake import Lake
from tests.support import graphs
from tests.support.here import run_here


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with rankings of two models, the second with one scale and all names changed."""
    folder = tmp_path_factory.mktemp("compared")
    model = onnx.load(demo.model_path())
    for k, node in enumerate(model.graph.node):
        if node.name == "303_HzCalibration":
            for attribute in node.attribute:
                if attribute.name in ("scales", "thresholds"):
                    attribute.floats[:] = [value / 2 for value in attribute.floats]
        node.name = f"/net/{node.op_type}/{k}"
    onnx.save(model, folder / "clipped.onnx")
    for path in (demo.model_path(), folder / "clipped.onnx"):
        dbg.get_sensitivity_of_nodes(
            path,
            calibrated_data=demo.calibration_data_path(),
            data_num=2,
            lake=folder / "lake",
            track=path == demo.model_path(),
            wait=True,
        )
    return folder


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here(place, *arguments, "--lake", "lake")


def test_runs_are_listed_with_model_data_state_and_worst_node(place: Path) -> None:
    done = run(place, "runs", "--json")
    newest, oldest = json.loads(done.stdout)
    assert newest["model"] == "clipped"
    assert (oldest["kind"], oldest["state"], oldest["data_num"]) == ("sensitivity", "FINISHED", 2)
    ranking = Lake.open(place / "lake").query(
        "sensitivity", run_id=oldest["run_id"], metric="cosine-similarity"
    )
    worst = (ranking[0]["subject"], ranking[0]["cosine_similarity"])
    assert (oldest["worst_node"], oldest["worst_value"]) == worst
    shown = run(place, "runs", "--model", "CLIPPED").stdout
    assert newest["run_id"] in shown and oldest["run_id"] not in shown
    assert run(place, "runs", "--kind", "nonsense").stdout == ""


@pytest.mark.parametrize(
    "arguments", [["--since", "yesterday"], ["--most", "0"], ["--state", "DONE"]]
)
def test_filters_out_of_range_are_refused(place: Path, arguments: list[str]) -> None:
    assert run(place, "runs", *arguments).returncode == 2


def test_a_change_is_found_where_it_was_made(place: Path) -> None:
    result = hmct_track.compare("latest~1", "latest", lake=place / "lake")
    (changed,) = result.comparison.calibration
    assert changed["node_a"] == "303_HzCalibration"
    assert changed["threshold_b"] == pytest.approx(changed["threshold_a"] / 2)
    assert result.summary["renamed"] == len(result.rows) == 22
    model = onnx.load(demo.model_path())
    tensor = next(n for n in model.graph.node if n.name == "303_HzCalibration").output[0]
    consumers = {n.name for n in model.graph.node if tensor in n.input}
    # Quantizing one node alone is changed by no other node's scales.
    assert {row["node_a"] for row in result.rows if row["status"] != "same"} == consumers
    assert "303_HzCalibration" not in result.table and "threshold" in result.table
    assert len(result.to_frame()) == 22
    assert result._repr_png_().startswith(b"\x89PNG")
    assert not result.notes


def test_a_run_compared_with_itself_is_the_same(place: Path) -> None:
    result = hmct_track.compare("latest", "latest", lake=place / "lake")
    assert result.failed == () and result.summary["same"] == 22
    assert result.comparison.settings == []


def test_two_models_are_compared_by_their_newest_rankings(place: Path) -> None:
    done = run(place, "compare", str(demo.model_path()), "clipped.onnx", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert [r["run_id"] for r in json.loads(run(place, "runs", "--json").stdout)] == [
        found["run_b"],
        found["run_a"],
    ]


def test_the_gate_has_an_exit_code_and_a_summary(place: Path) -> None:
    arguments = ["compare", "latest~1", "latest", "--markdown", "pr.md", "-s", "saved"]
    done = run(place, *arguments, "--fail-if", "max_drop > 0.0001", "--fail-if", "removed > 0")
    assert done.returncode == 4
    assert "failed: max_drop > 0.0001" in done.stderr and "failed: removed" not in done.stderr
    summary = (place / "pr.md").read_text()
    assert "**Failed:** `max_drop > 0.0001`" in summary and "`303_HzCalibration`" not in summary
    assert {p.name for p in (place / "saved").iterdir()} == {
        "comparison.log",
        "comparison.md",
        "comparison.png",
        "comparison.svg",
    }
    assert run(place, *arguments, "--fail-if", "removed > 0").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "no run is called 'nonsense'"),
        (["latest~7"], "has 2"),
        (["2"], "the beginning of 2 run ids"),
        (["latest", "-m", "psnr"], "psnr"),
        (["latest", "-n", "layer"], "layer"),
        (["latest", "-n", "weight"], "finished ranking of weights"),
        (["latest", "--fail-if", "drops > 1"], "known are whole_drop"),
        (["latest", "--tolerance", "-1"], "tolerance"),
        (["latest", "--markdown", "no/such/folder.md"], "folder.md"),
        (["lake/lake.json"], "lake.json"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(
    place: Path, arguments: list[str], message: str
) -> None:
    done = run(place, "compare", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("hmct-debugger: error: ") and message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_tag_is_of_one_run_in_lake_and_mlflow(place: Path) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{place / 'lake' / 'mlflow.db'}")
    (row,) = Lake.open(place / "lake").query("runs", model="calibrated_model")
    assert run(place, "tag", row["run_id"][:22]).returncode == 0
    assert client.get_run(row["mlflow_run_id"]).data.tags["hmct_track.tag.baseline"] == "true"
    result = hmct_track.compare("baseline", lake=place / "lake")
    assert result.comparison.run_a == row["run_id"]
    assert "[baseline]" in run(place, "runs").stdout
    assert run(place, "tag", "latest", "baseline").returncode == 0
    assert "hmct_track.tag.baseline" not in client.get_run(row["mlflow_run_id"]).data.tags
    assert hmct_track.compare("baseline", lake=place / "lake").summary["same"] == 22


def test_a_note_is_on_a_run_in_lake_and_mlflow(place: Path) -> None:
    """It comes before what MLflow's description says by itself, as text, and goes without a trace.

    A run that MLflow is told of later has it as well.
    """
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{place / 'lake' / 'mlflow.db'}")
    (row,) = Lake.open(place / "lake").query("runs", model="calibrated_model")
    run_id, told = row["run_id"], row["mlflow_run_id"]

    def description() -> str:
        return str(client.get_run(told).data.tags["mlflow.note.content"])

    before = description()
    for note, shown in (("as *before*", "> as \\*before\\*"), ("better", "> better")):
        assert run(place, "note", run_id, note).returncode == 0
        assert run(place, "note", run_id).stdout == f"{note}\n"
        assert description() == f"{shown}\n\n{before}"
        assert client.get_run(told).data.tags["hmct_track.note"] == note
    (found,) = Lake.open(place / "lake").query("runs", model="calibrated_model")
    assert found["note"] == "better"
    assert run(place, "note", run_id, "").returncode == 0
    assert description() == before
    assert "hmct_track.note" not in client.get_run(told).data.tags
    assert Lake.open(place / "lake").query("runs", run=run_id)[0]["note"] is None
    for wrong in ("a\nb", "x" * 1001):
        done = run(place, "note", run_id, wrong)
        assert done.returncode == 2 and "write one line" in done.stderr


def test_rankings_of_different_sorts_are_not_compared(place: Path, tmp_path: Path) -> None:
    for kind in ("node", "weight"):
        dbg.get_sensitivity_of_nodes(
            demo.model_path(),
            calibrated_data=demo.calibration_data_path(),
            node_type=kind,
            lake=tmp_path,
            track=False,
        )
    weights, nodes = (row["run_id"] for row in Lake.open(tmp_path).query("runs"))
    with pytest.raises(UsageError, match=r"ranks nodes and run .* weights"):
        hmct_track.compare(nodes, weights, lake=tmp_path)
    same = hmct_track.compare(weights, "latest", node_type="weight", lake=tmp_path)
    assert same.summary["same"] == len(same.rows) > 0


def test_the_whole_model_comes_first_and_can_be_a_gate(place: Path) -> None:
    """GIVEN a model whose thresholds were halved at one place
    THEN the whole model's change is the first line, and a quantity of the gate.
    """
    done = run(place, "compare", "latest~1", "latest", "--fail-if", "whole_drop > 0")
    assert done.stdout.splitlines()[3].startswith("all nodes quantized: cosine-similarity ")
    summary = hmct_track.compare("latest~1", "latest", lake=place / "lake").summary
    assert summary["whole_drop"] == pytest.approx(summary["whole_a"] - summary["whole_b"])
    assert done.returncode == (4 if summary["whole_drop"] > 0 else 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latest"], "both references mean run"),
        (["latest", "latest"], "both references mean run"),
    ],
)
def test_a_gate_that_decides_nothing_does_not_pass(
    place: Path, arguments: list[str], message: str
) -> None:
    done = run(place, "compare", *arguments, "--fail-if", "max_drop > 0.1")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_gate_needs_something_in_common(place: Path) -> None:
    """GIVEN runs of unrelated models, of other samples, and of another output
    THEN none of them passes a gate.
    """
    lake = place / "other"
    small = graphs.model(
        [
            graphs.calibration("input", "q", "q_HzCalibration"),
            helper.make_node("Sigmoid", ["q"], ["y"], name="other/Sigmoid"),
        ],
        inputs={"input": (1, 1, 16, 16)},
    )
    onnx.save(small, place / "small.onnx")
    for path, count, node in (
        (demo.model_path(), 2, None),
        (demo.model_path(), 1, None),
        (demo.model_path(), 2, "Conv_10"),
        (place / "small.onnx", 2, None),
    ):
        dbg.get_sensitivity_of_nodes(
            path,
            calibrated_data=demo.calibration_data_path(),
            data_num=count,
            output_node=node,
            lake=lake,
            track=False,
        )
    wrong = {"latest~2": "other samples", "latest~1": "other outputs", "latest": "other outputs"}
    for other, why in wrong.items():
        with pytest.raises(UsageError, match=why):
            hmct_track.compare("latest~3", other, fail_if="max_drop > 0.1", lake=lake)
    assert hmct_track.compare("latest~3", "latest", lake=lake).summary["max_drop"] is None
