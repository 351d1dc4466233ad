"""Reads Parquet of unknown origin in a process of its own: whatever it holds, only that one dies.

``parts`` says of each part whether it is whole. ``archive`` takes the tables out of an exported
run, checks every value and writes them anew, so that nobody else reads what its maker wrote.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hmct_track.errors import UsageError
from hmct_track.lake.layout import span_of
from hmct_track.lake.places import lake_path
from hmct_track.lake.schema import TABLES, Table

_ADDRESSES = 8 * 2**30
"""Bytes of address space; far more than reading in batches takes."""
_BATCH = 8192
"""Rows."""


def main(arguments: Sequence[str]) -> None:
    """``parts`` with paths on stdin, or ``archive FILE FOLDER``; a line of JSON for each answer."""
    _limit_memory()
    if arguments[0] == "parts":
        answers = part_problems(json.load(sys.stdin))
    else:
        answers = archive_problem(Path(arguments[1]), Path(arguments[2]))
    for answer in answers:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)  # threads of a reader that failed may keep others from ending


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def part_problems(parts: list[tuple[str, str]]) -> Iterator[str]:
    """What is wrong with each part, given as table and path; an empty text if nothing is."""
    tables = {table.name: table for table in TABLES}
    for name, path in parts:
        try:
            yield part_problem(tables[name], lake_path(path))
        except Exception as error:  # noqa: BLE001 - whatever a damaged part makes a library raise
            yield f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}"


def part_problem(table: Table, path: Path) -> str:
    """What is wrong with a part; an empty text if nothing is, and any error of a reader."""
    import pyarrow.parquet as pq

    from hmct_track.lake.parts import fitted

    if not path.is_file():
        return "is no regular file"  # a FIFO would be waited for without end
    with path.open("rb") as stream:
        # Neither threads nor reading ahead: a reader that fails leaves nothing behind that runs.
        file = pq.ParquetFile(stream, pre_buffer=False)
        lacking = [name for name in table.key if name not in file.schema_arrow.names]
        if lacking:
            return f"is no part of {table.name}: it lacks {', '.join(lacking)}"
        span = span_of(path.stem)
        for batch in file.iter_batches(_BATCH, use_threads=False):
            rows = fitted(batch, table)
            rows.validate(full=True)
            keys = rows.column(table.key[0]).unique().to_pylist()
            if span and not all(key and span.low <= key <= span.high for key in keys):
                return f"has a {table.key[0]} that its name says is not in it"
    return ""


def archive_problem(source: Path, folder: Path) -> Iterator[str]:
    """What is wrong with an archive, whose tables are written to a folder; empty if nothing is."""
    from hmct_track.lake.archive_rules import extract

    try:
        extract(source, folder)
    except UsageError as error:
        yield str(error)
    except MemoryError:
        yield "it takes too much memory to read"
    except Exception as error:  # noqa: BLE001 - whatever a broken archive makes a library raise
        yield f"it is no run that hmct-debugger lake export wrote: {' '.join(str(error).split())}"
    else:
        yield ""


if __name__ == "__main__":
    main(sys.argv[1:])
