"""The page of the documentation about the commands, from their declarations.

``python -m hmct_track.cli.commands_page`` prints ``docs/commands.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hmct_track.analyses import ANALYSES
from hmct_track.options import Option, options_of
from hmct_track.options.recording import Recording

_HEAD = """\
# Commands and their options

Made from the declarations by `make derived`; a test holds it equal to them. Names of options may be
written with hyphens or underscores, and are the names of the parameters in Python. Lists are
written `[a,b]`; quote them where the shell would take brackets for a pattern.
"""


def commands_page() -> str:
    """The page as markdown."""
    parts = [_HEAD]
    for command, analysis in ANALYSES.items():
        parts.append(f"## {command}\n\n{analysis.summary}\n")
        parts.append("\n".join(_table(options_of(analysis))) + "\n")
    parts.append("## Options of all of these\n")
    parts.append("\n".join(_table(options_of(Recording))) + "\n")
    return "\n".join(parts)


def _table(options: Iterable[Option]) -> Iterator[str]:
    yield "| option | value | default | meaning |"
    yield "|---|---|---|---|"
    for o in options:
        cells = [_forms(o), "" if o.off else f"`{o.metavar}`", _default(o), o.help]
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _forms(o: Option) -> str:
    if o.is_positional:
        return f"`{o.metavar}`"
    return ", ".join(f"`{form}`" for form in o.forms if "_" not in form)


def _default(o: Option) -> str:
    if o.is_positional or o.is_required:
        return "required"
    default = o.command_default
    if o.off or default is None or default in ([], (), {}):
        return ""
    return f"`{o.kind.show(default)}`"


if __name__ == "__main__":
    print(commands_page(), end="")
