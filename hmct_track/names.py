"""What things are called for people."""

from __future__ import annotations

from pathlib import PurePath

GENERIC = ("calibrated_model", "model")
"""What toolchains call every model: its folder tells more."""


def model_label(path: str | None, graph_name: str | None) -> str:
    """A model's name for people.

    Args:
        path: its file; None if it was given as an object.
        graph_name: the name of its graph.

    Returns:
        The file's stem, behind its folder where the stem says nothing; the graph's name without a
        file.
    """
    if path is None:
        return graph_name or "model"
    file = PurePath(path)
    generic = file.stem in GENERIC and file.parent.name
    return f"{file.parent.name}/{file.stem}" if generic else file.stem
