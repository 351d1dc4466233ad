"""What the program says on the demo stays what it was, but for what a change means to change.

The goldens are in ``tests/goldens``: every ``--help``, the public signatures, and for each analysis
what it prints, its rows in the lake, what MLflow is told, and the page. After a change that is
meant, ``HMCT_UPDATE_GOLDENS=1 pytest tests/test_goldens.py`` writes them anew; the difference is
read before it is committed.

Nothing here imports what an analysis is made of: only the command line, ``hmct_track.debug``, the
lake and MLflow's store.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchmarks import rebuild
from hmct_track import debug, demo
from hmct_track.cli import main
from hmct_track.lake import Lake
from tests.support.golden import Golden

MODEL, DATA = str(demo.model_path()), str(demo.calibration_data_path())
COMMANDS = (
    "get-sensitivity-of-nodes",
    "plot-acc-error",
    "plot-distribution",
    "get-channelwise-data-distribution",
    "sensitivity-analysis",
    "runall",
    "select-sensitive-samples",
    "local-errors",
    "interactions",
    "diagnose",
    "mend",
    "device",
    "plan",
    "plan-check",
    "calibrate",
    "runs",
    "compare",
    "tag",
    "note",
    "repeat",
    "figure",
    "graph",
    "tui",
    "inspect",
    "nodes",
    "sql",
    "lake",
    "ui",
    "demo",
)
# Each set in this order in a lake of its own, so that what is known is told as well. What saves
# files says where; the others are quicker, as each figure is drawn once.
RANKINGS: dict[str, list[str]] = {
    "get-sensitivity-of-nodes": ["-m", "[cosine-similarity,mse,sqnr]", "-d", "2", "-s", "."],
    "get-sensitivity-of-nodes-weight": ["-n", "weight"],
    "get-sensitivity-of-nodes-activation": ["-n", "activation", "-m", "mre"],
    "get-sensitivity-of-nodes-at-a-node": ["-o", "Conv_21", "-i", "[Conv_2,326_HzCalibration]"],
    "sensitivity-analysis": ["-sd", "."],
    "sensitivity-analysis-int16": ["-sn", "[Conv_21,Conv_10]", "-q", "int16", "-m", "sqnr"],
    "select-sensitive-samples": ["-d", "8", "-sn", "2", "-s", "."],
}
CURVES: dict[str, list[str]] = {
    "plot-acc-error": ["-q", "[weight,activation]", "-s", "."],
    "plot-acc-error-nested": ["-q", "[[Conv_2,Conv_21],[Conv_10]]", "-m", "mse", "-a", "True"],
    "plot-acc-error-all-but": ["-nq", "[Conv_21,Conv_10]", "--data-num", "2"],
    "plot-distribution": ["-n", "[Conv_21,326_HzCalibration,305_HzCalibration]", "-s", "."],
    "get-channelwise-data-distribution": ["-n", "[326_HzCalibration,305_HzCalibration]", "-s", "."],
}
NAMED = sorted(COMMANDS, key=len, reverse=True)
RUN = (
    "kind, state, model_id, model_path, data_id, data_path, data_num, metrics, outputs, parameters,"
    " runtime, numeric_version, mlflow_run_id, error, parent_run_id, worst_node, worst_value"
)
OF_A_RUN = {
    "configurations": (
        "SELECT position, subject, role, config_id, config FROM run_configs"
        " JOIN configs USING (config_id) WHERE run_id = '{}' ORDER BY position"
    ),
    "measured": (
        "SELECT output, count(DISTINCT config_id) AS configurations,"
        " count(DISTINCT sample_id) AS samples, sum(sum_dd) AS sum_dd"
        " FROM measurements WHERE run_id = '{}' GROUP BY output ORDER BY output"
    ),
    "summaries": (
        "SELECT position, node, kind, series, threshold, count, min, max, mean, std, median, zeros"
        " FROM tensor_summaries WHERE run_id = '{}' ORDER BY position, series"
    ),
    "histograms": (
        "SELECT node, series, count(*) AS bins, min(low) AS low, max(high) AS high,"
        " sum(count) AS count FROM histograms WHERE run_id = '{}'"
        " GROUP BY node, series ORDER BY node, series"
    ),
    "channels": (
        "SELECT node, axis, count(*) AS channels, sum(count) AS count, min(min) AS min,"
        " max(max) AS max, sum(outliers) AS outliers FROM channel_summaries WHERE run_id = '{}'"
        " GROUP BY node, axis ORDER BY node"
    ),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with texts as wide as those of the goldens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse lays its help out another way")
def test_help(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = Golden("help", {})
    for command in ("", *COMMANDS):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"] if command else ["--help"])
        assert ended.value.code == 0
        golden.text(f"{command or 'hmct-debugger'}.txt", capsys.readouterr().out)
    golden.finish()


def test_every_command_has_its_help_here(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    shown = [line.split()[0] for line in lines if line[:4] == "    " and line[4:5].isalpha()]
    assert tuple(shown) == COMMANDS


def test_public_signatures() -> None:
    golden = Golden("signatures", {})
    for name in ("hmct_track", "hmct_track.debug", "hmct_track.api"):
        golden.text(f"{name}.txt", "\n".join(_signatures(importlib.import_module(name))))
    golden.finish()


@pytest.mark.parametrize(
    ("name", "analyses"), [("rankings", RANKINGS), ("curves", CURVES)], ids=["rankings", "curves"]
)
def test_analyses(
    name: str, analyses: dict[str, list[str]], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = Golden(name, _places(place))
    for analysis, options in analyses.items():
        command = next(c for c in NAMED if analysis.startswith(c))
        _run(golden, analysis, [command, MODEL, DATA, *options], place, capsys)
    golden.finish()


def test_what_a_notebook_gets_and_shows(place: Path) -> None:
    golden = Golden("notebook", _places(place))
    returned = debug.get_sensitivity_of_nodes(
        MODEL, ["cosine-similarity", "sqnr"], DATA, lake=place / "lake", track=False
    )
    golden.json("get-sensitivity-of-nodes.json", dict(returned))
    golden.text("get-sensitivity-of-nodes.html", returned._repr_html_())  # type: ignore[attr-defined]
    golden.finish()


def test_runall(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = Golden("runall", _places(place))
    command = ["runall", MODEL, DATA, "-dn", "2", "-s", "."]
    _run(golden, "runall", command, place, capsys)
    assert main(["runs", "--steps", "--lake", str(place / "lake")]) == 0
    golden.text("runs.txt", _without_seconds(capsys.readouterr().out))
    golden.finish()


def test_calibrate_inspect_compare_and_runs(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = Golden("calibrate", _places(place))
    model, made = place / "digits.onnx", str(place / "made.onnx")
    onnx.save(rebuild.build(onnx.load(MODEL), []), model)
    _run(golden, "calibrate", ["calibrate", str(model), DATA, "-o", made, "-d", "4"], place, capsys)
    rank = ["get-sensitivity-of-nodes", "-v", "False", "--no-progress", "--no-track"]
    lake = ["--lake", str(place / "lake")]
    for ranked in (MODEL, made):
        assert main([*rank, ranked, DATA, *lake]) == 0
    runs = [run_id for run_id, _ in _run_ids(Lake.open(place / "lake"))]
    for k, run_id in enumerate(runs[1:], start=2):
        golden.replace(run_id, f"<run-{k}>")
    capsys.readouterr()
    for name, command in {
        "inspect": ["inspect", made],
        "inspect-float": ["inspect", str(model)],
        "compare": ["compare", *runs[1:], *lake],
        "runs": ["runs", *lake],
    }.items():
        assert main(command) == 0
        shown = _without_seconds(capsys.readouterr().out)
        # Columns are as wide as the paths of this machine.
        golden.text(f"{name}.txt", re.sub(" {3,}", "  ", shown) if name == "compare" else shown)
    golden.finish()


def _places(place: Path) -> dict[str, str]:
    return {str(Path(MODEL).parent): "<demo>", str(place): "<here>", place.as_uri(): "<here-uri>"}


def _dicts(lake: Lake, sql: str) -> list[dict[str, Any]]:
    result = lake.sql(sql)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def _run_ids(lake: Lake) -> list[tuple[str, str]]:
    """Of each run its id, and that of MLflow."""
    rows = lake.sql("SELECT run_id, mlflow_run_id FROM runs ORDER BY run_id").rows
    return [(row[0], row[1]) for row in rows]


def _run(
    golden: Golden, name: str, command: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run an analysis; compare what it printed, saved, put into the lake and told MLflow."""
    out = place / name
    out.mkdir()
    command = [str(out) if word == "." else word for word in command]
    capsys.readouterr()
    assert main([*command, "--lake", str(place / "lake"), "--no-progress"]) == 0
    printed = capsys.readouterr()
    lake = Lake.open(place / "lake")
    runs = [ids for ids in _run_ids(lake) if not golden.knows(ids[0])]
    # A run that fails midway must not look like one that has nothing to say.
    assert runs and all(mlflow for _, mlflow in runs)
    for k, (run_id, mlflow) in enumerate(runs, start=1):
        golden.replace(run_id, f"<run-{k}>")
        golden.replace(mlflow, f"<mlflow-{k}>")
    golden.text(f"{name}/stdout.txt", printed.out)
    golden.text(f"{name}/stderr.txt", printed.err)
    golden.json(f"{name}/lake.json", [_in_the_lake(lake, run_id) for run_id, _ in runs])
    _check_mlflow(golden, name, runs[0][1], place)
    saved = sorted(str(f.relative_to(out)) for f in out.rglob("*") if f.is_file())
    golden.text(f"{name}/saved.txt", "\n".join(saved))
    for page in out.rglob("*.html"):
        golden.text(f"{name}/saved/{page.relative_to(out)}", page.read_text())


def _in_the_lake(lake: Lake, run_id: str) -> dict[str, Any]:
    """What the lake has of a run."""
    (row,) = _dicts(lake, f"SELECT {RUN} FROM runs WHERE run_id = '{run_id}'")  # noqa: S608
    row["parameters"] = json.loads(row["parameters"])
    parts = {name: _dicts(lake, sql.format(run_id)) for name, sql in OF_A_RUN.items()}
    return {"run": row, **{name: rows for name, rows in parts.items() if rows}}


def _check_mlflow(golden: Golden, name: str, run_id: str, place: Path) -> None:
    """Compare what MLflow's store has of a run and those below it."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{place / 'lake' / 'mlflow.db'}")
    told = _told(client, run_id, golden, f"{name}/mlflow")
    golden.json(f"{name}/mlflow.json", told)


def _told(client: Any, run_id: str, golden: Golden, folder: str) -> dict[str, Any]:
    run = client.get_run(run_id)
    tags = {k: v for k, v in sorted(run.data.tags.items()) if k != "mlflow.user"}
    note = tags.pop("mlflow.note.content", None)
    if note is not None:
        golden.text(f"{folder}/note.md", note)
    artifacts = sorted(file.path for file in client.list_artifacts(run_id))
    for path in artifacts:
        if not path.endswith(".png"):
            text = Path(client.download_artifacts(run_id, path)).read_text()
            golden.text(f"{folder}/{path}", text)
    below = client.search_runs(
        [run.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{run_id}'",
        order_by=["attributes.run_name"],
    )
    nested = [(f"{folder}/{k:02}", found) for k, found in enumerate(below)]
    return {
        "name": run.info.run_name,
        "experiment": client.get_experiment(run.info.experiment_id).name,
        "status": run.info.status,
        "parameters": dict(sorted(run.data.params.items())),
        "tags": {k: "<version>" if k == "hmct_track.version" else v for k, v in tags.items()},
        "metrics": {
            metric: _history(client, run_id, metric)
            for metric in sorted(run.data.metrics)
            if not metric.startswith("system/")
        },
        "artifacts": artifacts,
        "inputs": [_input(given) for given in run.inputs.dataset_inputs],
        "nested": [_told(client, found.info.run_id, golden, at) for at, found in nested],
    }


def _history(client: Any, run_id: str, metric: str) -> Any:
    """The value of a summary, or the values of a curve by step."""
    points = sorted((p.step, p.value) for p in client.get_metric_history(run_id, metric))
    assert [step for step, _ in points] == list(range(points[0][0], points[0][0] + len(points)))
    values = [value for _, value in points]
    return (
        values[0] if len(values) == 1 and not points[0][0] else {"from": points[0][0], "": values}
    )


def _input(given: Any) -> dict[str, Any]:
    dataset = given.dataset
    context = {tag.key: tag.value for tag in given.tags}
    about = {"source": json.loads(dataset.source), "profile": json.loads(dataset.profile)}
    return {"name": dataset.name, "digest": dataset.digest, **about, "tags": context}


def _without_seconds(table: str) -> str:
    """A list of runs without its last column; another text as it is."""
    lines = table.splitlines()
    if not lines or not re.match(r"run .* s$", lines[0]):
        return table
    return "\n".join(re.sub(r" +\S+$", "", line) for line in lines)


def _signatures(module: Any) -> Iterator[str]:
    """Public names of a module, with what they take and give."""
    names = getattr(module, "__all__", None) or sorted(
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    )
    for name in names:
        yield from _signature(name, getattr(module, name))
    if hasattr(module, "Recording"):
        yield "Recording"
        for key, kind in module.Recording.__annotations__.items():
            yield f"    {key}: {getattr(kind, '__forward_arg__', kind)}"


def _signature(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield f"class {name}"
        return
    signature = inspect.signature(value)
    yield f"{name} -> {signature.return_annotation}"
    for parameter in signature.parameters.values():
        yield f"    {parameter.kind.description}: {parameter}"
