"""Write the tables of ``docs/lake.md`` from the schema: ``make derived``."""

from __future__ import annotations

from pathlib import Path

from hmct_track.lake import TABLES, Table

TARGET = Path(__file__).parent.parent / "docs" / "lake.md"


def page() -> str:
    """The page with its tables as the schema has them; the rest as it is."""
    text = TARGET.read_text()
    first = text.index("\n### ") + 1
    after = text.find("\n## ", first)
    rest = text[after:] if after >= 0 else "\n"
    tables = "\n".join(map(_section, TABLES))
    return f"{text[:first]}{tables.rstrip()}\n{rest.rstrip()}\n" if rest.strip() else (
        f"{text[:first]}{tables.rstrip()}\n"
    )  # fmt: skip


def _section(table: Table) -> str:
    meaning = table.meaning[0].upper() + table.meaning[1:]
    key = ", ".join(f"`{name}`" for name in table.key)
    lines = [f"### {table.name}", "", f"{meaning}. Key: {key}.", ""]
    lines += ["| column | type | meaning |", "|---|---|---|"]
    for column in table.columns:
        told = column.meaning.replace("|", "\\|")
        lines.append(f"| `{column.name}` | {column.type} | {told} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    TARGET.write_text(page())
