"""Rows as a table for people, or as CSV or JSON for programs."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hmct_track.lake.result import plain, to_json
from hmct_track.text import visible

if TYPE_CHECKING:
    from hmct_track.lake import Result, Row


def print_table(result: Result) -> None:
    """Print rows between lines; into a file or a pipe nothing is cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # In a terminal long cells fold.
    console = Console() if sys.stdout.isatty() else Console(width=100_000)
    table = Table()
    for position, name in enumerate(result.columns):
        numeric = any(isinstance(row[position], int | float) for row in result.rows)
        justify: Any = "right" if numeric else "left"
        table.add_column(Text(visible(name)), justify=justify, overflow="fold")
    for row in result.rows:
        table.add_row(*(Text(visible(_shown(value))) for value in row))
    console.print(table)


def stream_json(columns: Sequence[str], chunks: Iterable[list[tuple[Any, ...]]]) -> None:
    """Print rows as a JSON list of objects, as they come."""
    before = "[\n"
    for rows in chunks:
        for row in rows:
            value = plain(dict(zip(columns, row, strict=True)))
            text = json.dumps(value, indent=2, default=str, ensure_ascii=False)
            print(before + textwrap.indent(text, "  ", lambda _: True), end="")
            before = ",\n"
    print("[]" if before == "[\n" else "\n]")


def print_json_value(value: Sequence[Row] | Row) -> None:
    """Print objects as JSON."""
    json.dump(plain(value), sys.stdout, indent=2, default=str, ensure_ascii=False)
    print()


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return to_json(value)
    if isinstance(value, float):
        return f"{value:.7g}"  # CSV and JSON have all the digits
    return str(value)
