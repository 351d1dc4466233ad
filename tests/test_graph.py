"""The graph of a network: how it folds, its colours, and that names stay text."""

from __future__ import annotations

import hashlib
from importlib import resources

import pytest

from hmct_track.report.folding import FOLDED, fold
from hmct_track.report.graph_page import libraries, scripts
from hmct_track.report.shades import PALETTES, color, shade


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
