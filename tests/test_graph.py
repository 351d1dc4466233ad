"""The graph of a network: how it folds, its colours, and what other programs read of it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest

import hmct_track
import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.cli import main
from hmct_track.errors import UsageError
from hmct_track.lake import Lake, compare_runs
from hmct_track.reading.graph import NetworkGraph
from hmct_track.report.folding import FOLDED, fold
from hmct_track.report.formats import coloring_of, dot_text
from hmct_track.report.graph_page import libraries, scripts
from hmct_track.report.network import Item, Network
from hmct_track.report.shades import PALETTES, color, colorings, css_color, shade
from hmct_track.types import Metric

ODD = """</svg><script>a"b'c\\N</script>"""
QUANTIZER = "303_HzCalibration"


@pytest.mark.parametrize("name", ["/model/layer.{block}/op{k}", "op{k}"])
def test_ten_thousand_nodes_open_folded_and_no_node_is_lost(name: str) -> None:
    names = [name.format(block=k // 12, k=k) for k in range(10_000)]
    folding = fold(names, [("Conv", "Relu", "Add", "Mul")[k % 4] for k in range(10_000)])
    shown = set()
    for k, inner in enumerate(folding.group_of):
        group, seen = inner, f"node {k}"
        while group is not None:
            seen = seen if folding.groups[group].opened else f"group {group}"
            group = folding.groups[group].parent
        shown.add(seen)
    assert 1 < len(shown) <= FOLDED
    top = [n for g in folding.groups if g.parent is None for n in g.nodes]
    alone = [k for k, group in enumerate(folding.group_of) if group is None]
    assert sorted(top + alone) == list(range(10_000))


def test_a_shade_is_a_decade_and_the_ends_are_the_palettes() -> None:
    assert [round(shade(10**-k, 1), 9) for k in range(6)] == [1, 0.75, 0.5, 0.25, 0, 0]
    for theme in ("light", "dark"):
        stops = PALETTES["error"][theme]
        assert tuple(color(k / 4, "error", theme) for k in range(5)) == stops


def test_the_libraries_are_what_was_fetched_and_carry_their_licence() -> None:
    text = scripts()
    for library in libraries():
        file = resources.files("hmct_track.report") / "vendor" / library["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == library["sha256"]
        assert library["license"] == "MIT"
    assert text.count("Permission is hereby granted") >= 2
    assert "\0" not in text


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> NetworkGraph:
    """The graph of a ranking, where a name is made to break out of whatever it is written to."""
    model = onnx.load(demo.model_path())
    next(node for node in model.graph.node if node.op_type == "Conv").name = ODD
    lake = tmp_path_factory.mktemp("odd") / "lake"
    ranked = dbg.get_sensitivity_of_nodes(
        model, "mse", demo.calibration_data_path(), lake=lake, track=False, progress=False
    )
    return hmct_track.graph(ranked.run_id, lake=lake)  # type: ignore[attr-defined]


def test_graphviz_reads_what_is_written_and_has_every_node_and_edge(odd: NetworkGraph) -> None:
    program = shutil.which("dot")
    if program is None:
        pytest.skip("no Graphviz: dot is not on PATH; apt-get install graphviz")
    read = subprocess.run(
        [program, "-Tjson"], input=odd.text("dot").encode(), capture_output=True, check=True
    )
    objects = json.loads(read.stdout)
    nodes = [o for o in objects["objects"] if "nodes" not in o and "shape" in o]
    items = odd.network.items
    assert {o["name"] for o in nodes} == {f"n{k}" for k in range(len(items))}
    named = {o["_gvid"]: int(o["name"][1:]) for o in nodes}
    edges = {(named[e["tail"]], named[e["head"]]) for e in objects["edges"]}
    assert edges == set(odd.network.edges)
    place = next(k for k, item in enumerate(items) if item.name == ODD)
    of = next(o for o in nodes if o["name"] == f"n{place}")
    assert of["tooltip"].replace("\\\\", "\\").startswith(f"{ODD}: mse")
    assert of["fillcolor"] == css_color(colorings(odd.network)[0], place)
    drawn = ElementTree.fromstring(odd.text("svg"))  # noqa: S314
    tags = {element.tag.rpartition("}")[2] for element in drawn.iter()}
    assert "polygon" in tags
    assert "script" not in tags


def test_a_large_network_is_drawn_folded_in_the_colours_of_its_worst_nodes() -> None:
    """GIVEN 1,000 nodes in 50 modules of 20, each error larger than the one before
    THEN at most 150 shapes are drawn, each node in one of them, and unfolded all of them.
    """
    names = [f"/model/layer.{k // 20}/op{k}" for k in range(1000)]
    operators = ["Conv" if k % 3 else "Relu" for k in range(1000)]
    items = [Item(name, "node", op) for name, op in zip(names, operators, strict=True)]
    for k, item in enumerate(items):
        item.row = dict.fromkeys((m.column for m in Metric), 10.0 ** (k / 250 - 5)) | {"rank": 1}
    edges = [(k, k + 1) for k in range(999)]
    run = {"run_id": "r", "model": "large"}
    network = Network(run, Metric.MSE, items, edges, fold(names, operators))
    way = coloring_of(network, "mse")
    text = dot_text(network, way)
    shapes = dict(re.findall(r"^ *([gn]\d+) \[(.*)\];$", text, re.MULTILINE))
    assert 40 <= len(shapes) <= FOLDED
    groups = network.folding.groups
    held = [n for shape in shapes if shape[0] == "g" for n in groups[int(shape[1:])].nodes]
    held += [int(shape[1:]) for shape in shapes if shape[0] == "n"]
    assert sorted(held) == list(range(1000))
    ends = re.findall(r"^ *([gn]\d+) -> ([gn]\d+);$", text, re.MULTILINE)
    assert {end for pair in ends for end in pair} == shapes.keys()
    assert len(ends) == len(set(ends)) == len(shapes) - 1, "one after the other"
    folder = next(shape for shape in shapes if shape[0] == "g")
    worst = max(groups[int(folder[1:])].nodes)
    assert f'fillcolor="{css_color(way, worst)}"' in shapes[folder]
    assert f"worst {way.texts[worst]}" in shapes[folder]
    whole = dot_text(network, way, folded=False)
    assert all(f" n{k} [" in whole for k in range(1000))


def test_without_graphviz_an_svg_is_refused_in_one_line(
    odd: NetworkGraph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs Graphviz, whose program dot is not on PATH"):
        odd.save(tmp_path / "graph.svg")
    assert not (tmp_path / "graph.svg").exists()


def test_node_data_have_the_values_of_the_lake(odd: NetworkGraph) -> None:
    ((name, graph),) = json.loads(odd.text("model-explorer")).items()
    assert name == odd.network.name
    by_name = {item.name: item for item in odd.network.items if item.row is not None}
    assert graph["results"].keys() == by_name.keys()
    for node, result in graph["results"].items():  # the ids that its adapter for ONNX gives
        assert result["value"] == (by_name[node].row or {})["mse"]


def test_model_explorer_takes_the_node_data(odd: NetworkGraph) -> None:
    builder = pytest.importorskip(
        "model_explorer.node_data_builder",
        reason="no Model Explorer: pip install hmct-track[model-explorer]",
    )
    text = odd.text("model-explorer")
    ((name, graph),) = json.loads(text).items()
    results = {k: builder.NodeDataResult(**v) for k, v in graph["results"].items()}
    data = builder.GraphNodeData(results=results, name=graph["name"])
    kept = json.loads(builder.ModelNodeData(graphsData={name: data}).to_json_string())
    assert kept[name]["results"] == graph["results"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "colour<b>"], "there is nothing to colour by 'colour<b>'; there is mse"),
        (["-o", "no/such/folder/graph.html"], "cannot write the graph to"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    odd: NetworkGraph,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = str(odd.lake)
    assert main(["graph", odd.run_id, "--lake", lake, *arguments]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert said in told[0]


def test_two_runs_are_coloured_by_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, lake = onnx.load(demo.model_path()), tmp_path / "lake"
    runs = []
    for times in (1, 4):  # then four times coarser weights of one node
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.name == QUANTIZER and attribute.name in ("scales", "thresholds"):
                    attribute.floats[:] = [value * times for value in attribute.floats]
        found = dbg.get_sensitivity_of_nodes(
            model, "mse", demo.calibration_data_path(), lake=lake, track=False, progress=False
        )
        runs.append(found.run_id)  # type: ignore[attr-defined]
    file = tmp_path / "change.html"
    assert main(["graph", *runs, "--lake", str(lake), "-o", str(file)]) == 0
    assert capsys.readouterr().out.strip() == str(file)
    network = hmct_track.graph(*runs, lake=lake).network
    way = colorings(network)[0]
    assert way.id == "change"
    rows = {r["node_b"]: r for r in compare_runs(Lake.open(lake), *runs, Metric.MSE).nodes}
    worse = max(rows.values(), key=lambda row: row["drop"] or 0)
    place = next(k for k, i in enumerate(network.items) if i.name == worse["node_b"])
    assert way.t[place] == 1
    assert QUANTIZER in [network.items[q].name for q in network.items[place].quantizers]
    with pytest.raises(UsageError, match="nothing to colour by 'change'"):
        hmct_track.graph(runs[1], lake=lake, by="change")
