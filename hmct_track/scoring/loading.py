"""Scores from their names: built in, a file's, a module's, or Python objects."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hmct_track.errors import UsageError
from hmct_track.scoring.builtin import BUILT_IN
from hmct_track.scoring.judge import Scorer
from hmct_track.types import digest

Score = str | Callable[..., Any]
"""A name, a function, or a class (or an object) with the methods sample and total."""


def load_scores(given: Score | Sequence[Score]) -> list[Scorer]:
    """The scores that are asked for, the one that ranks first.

    Raises:
        UsageError: one cannot be found or loaded, is no score, or two have one name.
    """
    chosen = list(given) if isinstance(given, list | tuple) else [given]
    if not chosen:
        raise UsageError(f"score is empty; give {', '.join(BUILT_IN)} or FILE.py:NAME")
    scorers = [_load(score) for score in chosen]
    names = [scorer.name for scorer in scorers]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"score has {name!r} twice; give them different names")
    return scorers


def _load(score: Any) -> Scorer:
    if not isinstance(score, str):
        return _scorer(score, _name(score), f"a {type(score).__name__}", _content(score))
    if score in BUILT_IN:
        function = BUILT_IN[score]
        return _scorer(function, score, score, digest(b"built in", score.encode()))
    place, colon, name = score.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(
            f"score {score!r} is not known; give {', '.join(BUILT_IN)}, FILE.py:NAME or "
            "package.module:NAME"
        )
    module = _file(place, score) if place.endswith(".py") else _module(place, score)
    try:
        found = getattr(module, name)
    except AttributeError as error:
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(
            f"score {score!r}: {place} has no {name!r}; it has {', '.join(known) or 'nothing'}"
        ) from error
    file = getattr(module, "__file__", None)
    content = Path(file).read_bytes() if file else b""
    return _scorer(found, _name(found, name), score, digest(content, name.encode()))


def _file(place: str, score: str) -> Any:
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"score {score!r}: there is no file {place!r}")
    # A name of its own by content, so that a file changed in one session is loaded anew.
    name = f"hmct_score_{digest(str(path.resolve()).encode(), path.read_bytes())}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: S101 - of a .py file it is known
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit):
            raise
        raise UsageError(
            f"score {score!r}: {place} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return module


def _module(place: str, score: str) -> Any:
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise UsageError(
            f"score {score!r}: module {place!r} cannot be imported: "
            f"{type(error).__name__}: {error}; a file is written FILE.py:NAME"
        ) from error


def _scorer(found: Any, name: str, source: str, content: str) -> Scorer:
    """A score of a function, a class or an object.

    Raises:
        UsageError: it is none.
    """
    higher = bool(getattr(found, "higher_is_better", True))
    if isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            raise UsageError(
                f"score {source!r} cannot be made without arguments: "
                f"{type(error).__name__}: {error}; give one made, from Python or in the file"
            ) from error
    sample, total = getattr(found, "sample", None), getattr(found, "total", None)
    if not (callable(sample) and callable(total)):
        if not callable(found):
            raise UsageError(
                f"score {source!r} is a {type(found).__name__}; a function of outputs and label, "
                "or a class with the methods sample(outputs, label) and total(parts) was expected"
            )
        sample, total = found, None
    try:
        parameters = list(inspect.signature(sample).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = {p.name for p in parameters}
    places = [p for p in places if p.name != "float_outputs"]
    takes_label = not parameters or len(places) > 1
    takes_float = "float_outputs" in named
    return Scorer(name, source, content, sample, total, higher, takes_label, takes_float)


def _name(found: Any, name: str | None = None) -> str:
    own = getattr(found, "score_name", None)
    return str(own or name or getattr(found, "__name__", None) or type(found).__name__)


def _content(found: Any) -> str:
    """Hash of what a Python object computes; another each time where that cannot be known."""
    kind = found if isinstance(found, type) or inspect.isroutine(found) else type(found)
    name = str(getattr(kind, "__qualname__", ""))
    try:
        file = inspect.getsourcefile(kind)
        is_file = file is not None and Path(file).is_file()
    except TypeError:
        is_file = False
    if kind is found and is_file and file and "<" not in name:
        return digest(Path(file).read_bytes(), name.encode())
    # Objects hold state, inner functions what is around them, cells of notebooks anything.
    return digest(secrets.token_bytes(16))
