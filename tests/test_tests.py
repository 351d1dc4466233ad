"""What the tests are written against: what is public, and no other test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module, and every name, that is imported, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def is_private(name: str) -> bool:
    """Whether a name is; what has underscores at both ends, as ``_repr_html_``, is a protocol.

    ``os._exit`` is documented, for all its underscore.
    """
    return name.startswith("_") and not name.endswith("_")


def private_reaches(tree: ast.AST) -> Iterator[str]:
    """Private names that are reached for: as attributes, in imports, or for ``monkeypatch``."""
    for name in imported(tree):
        if is_private(name.rpartition(".")[2]):
            yield name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                yield from {ast.unparse(node)} - {"os._exit"}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", "getattr")):
            given = [a.value for a in node.args if isinstance(a, ast.Constant)]
            if any(isinstance(a, str) and is_private(a.rpartition(".")[2]) for a in given):
                yield ast.unparse(node)


def test_the_rules_find_what_they_are_for() -> None:
    bad = """
import a._b
from c import _d
e._f; e._g.h
monkeypatch.setattr(i, "_j", 1)
monkeypatch.setattr("k._l", 1)
"""
    assert len(list(private_reaches(ast.parse(bad)))) == 6
    good = "self._a; os._exit(0); b._repr_html_; c.__name__; from __future__ import d\nf('_x')"
    assert list(private_reaches(ast.parse(good))) == []
    assert list(imported(ast.parse("from tests.test_a import b; import c"))) == [
        "tests.test_a.b",
        "c",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_tests_reach_for_what_is_public_and_share_through_support(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(private_reaches(tree)) == []
    others = [name for name in imported(tree) if name.startswith("tests.test_")]
    assert others == [], "what tests share lies in tests/support"
