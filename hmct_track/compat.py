"""Old import lines for scripts that must not change.

``install()`` makes ``import horizon_nn.debug`` and ``import hmct.quantizer.debugger`` resolve to
`hmct_track.debug`, each only where the real package is not installed. It is opt-in: call it, or run
a script as ``python -m hmct_track.compat script.py``.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from types import ModuleType

_OLD = ("horizon_nn.debug", "hmct.quantizer.debugger")


def install() -> tuple[str, ...]:
    """Make the old names importable and return those that were made.

    A name whose top-level package is really installed is left alone.
    """
    from hmct_track import debug

    made = []
    for name in _OLD:
        package = name.partition(".")[0]
        if package in sys.modules or importlib.util.find_spec(package) is not None:
            continue
        parent, _, leaf = name.rpartition(".")
        holder = _package(parent)
        setattr(holder, leaf, debug)
        sys.modules[name] = debug
        made.append(name)
    return tuple(made)


def _package(name: str) -> ModuleType:
    """An empty package of this name, and of those above it."""
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name, f"Stands in for {name}: see hmct_track.compat.")
    module.__path__ = []
    sys.modules[name] = module
    parent, _, leaf = name.rpartition(".")
    if parent:
        setattr(_package(parent), leaf, module)
    return module


def main() -> None:
    """Run a script, with its arguments, in which the old names can be imported."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m hmct_track.compat SCRIPT [ARGUMENT ...]")
    install()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
