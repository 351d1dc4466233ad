"""Dropping runs: parts that hold what goes are written anew without it, the others stay.

What goes is a run's own rows, and of what runs share (models, samples, configurations and
measurements) what no run that stays rests on. Nothing of a lake is held in memory but keys, and
those are spilled.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hmct_track.errors import LakeError
from hmct_track.lake.duck import Connection, is_gone, spilling_connection, translated
from hmct_track.lake.lake import EMPTY, Lake
from hmct_track.lake.layout import Keys, may_hold, part_name, span_of
from hmct_track.lake.places import names_in, written
from hmct_track.lake.schema import (
    CALIBRATION_NODES,
    CONFIGS,
    MEASUREMENTS,
    MODELS,
    MOVED_MEASUREMENTS,
    NODES,
    RUN_CONFIGS,
    RUNS,
    SAMPLES,
    SCORES,
    TABLES,
    TAGS,
    Table,
)
from hmct_track.lake.views import glob_escaped, literal, select_rows

_ROUNDS = 20
_PAUSE = 0.1
_LISTED = 5000
"""Of more keys, all parts of a table are looked at."""


def drop(lake: Lake, run_ids: Sequence[str], grace: float) -> None:
    """Drop runs, their steps, and what no other run rests on.

    Where others merge meanwhile, what they bring back is dropped as well, as long as they end
    before this does.

    Args:
        lake: the lake.
        run_ids: the runs.
        grace: seconds that parts stay for those who are reading them.

    Raises:
        LakeError: a part cannot be read or written; nothing of a run that stays is lost.
        QueryError: likewise.
    """
    clean: set[Path] = set()
    with translated(), spilling_connection(lake.path) as connection:
        _find(lake, connection, run_ids)
        for _ in range(_ROUNDS):
            # Others may have merged parts that were listed, or that were not yet: look again.
            looked = [_without(lake, connection, table, clean) for table in _ORDER]
            before = [part for parts, _ in looked for part in parts]
            if before:
                time.sleep(grace)
            for part in before:
                part.unlink(missing_ok=True)
            if not before and all(whole for _, whole in looked):
                return
            time.sleep(0 if before else _PAUSE)
    raise LakeError(f"others merge parts of the lake {str(lake.path)!r} all the time; try again")


_LAST = (RUNS, CONFIGS, SAMPLES, NODES, CALIBRATION_NODES, MODELS)
_ORDER = (*(table for table in TABLES if table not in _LAST), *_LAST)
"""In which old parts go: after a kill a run is still there, and the same again drops the rest; what
leads to another row goes before it."""


def _find(lake: Lake, connection: Connection, run_ids: Sequence[str]) -> None:
    """Make tables of what goes: runs, models, data, configurations; and of what is used still."""
    for table in (RUNS, RUN_CONFIGS, SAMPLES, TAGS):
        rows = select_rows(table, lake.source(table), lake.has_imports)
        connection.execute(f"CREATE TEMP VIEW own_{table.name} AS {rows}")
    asked = "CREATE TEMP TABLE asked AS SELECT unnest($1::VARCHAR[]) AS run_id"
    connection.execute(asked, [list(run_ids)])
    for name, sql in _TABLES.items():
        connection.execute(f"CREATE TEMP TABLE {name} AS {sql}")


_TABLES = {
    "every_run": "SELECT run_id, parent_run_id, model_id, data_id FROM own_runs",
    "gone_run": """
        SELECT run_id FROM asked UNION
        SELECT run_id FROM every_run WHERE parent_run_id IN (SELECT run_id FROM asked)
    """,
    "gone": "FROM every_run SEMI JOIN gone_run USING (run_id)",
    "kept": "FROM every_run ANTI JOIN gone_run USING (run_id)",
    "gone_model": "SELECT model_id FROM gone EXCEPT SELECT model_id FROM kept",
    "gone_data": "SELECT data_id FROM gone EXCEPT SELECT data_id FROM kept",
    "gone_config": """
        SELECT config_id FROM own_run_configs SEMI JOIN gone_run USING (run_id) EXCEPT
        SELECT config_id FROM own_run_configs ANTI JOIN gone_run USING (run_id)
    """,
    # A tag that points at a run that goes, goes: with its last row alone, an earlier would count.
    "gone_tag": "SELECT tag FROM own_tags SEMI JOIN gone_run USING (run_id)",
    "touched_model": "SELECT DISTINCT model_id FROM gone",
    "used": """
        SELECT DISTINCT model_id, config_id, sample_id
        FROM (FROM kept SEMI JOIN touched_model USING (model_id))
        JOIN own_run_configs USING (run_id)
        JOIN own_samples USING (data_id)
        ORDER BY ALL
    """,
}

_USED = "(model_id, config_id, sample_id)"


def _goes(table: Table) -> tuple[str, str]:
    """Which rows of a table go, in SQL, and which table has the keys of parts with such rows."""
    if table is TAGS:
        return "run_id IN (FROM gone_run) OR tag IN (FROM gone_tag)", "gone_tag"
    if table in (MEASUREMENTS, MOVED_MEASUREMENTS, SCORES):
        unused = f"{_USED} NOT IN (SELECT {_USED} FROM used)"  # noqa: S608
        return f"model_id IN (FROM touched_model) AND {unused}", "touched_model"
    whose = {"run_id": "gone_run", "model_id": "gone_model", "data_id": "gone_data"}
    whose |= {"config_id": "gone_config"}
    first = table.key[0]
    return f"{first} IN (FROM {whose[first]})", whose[first]


def _without(
    lake: Lake, connection: Connection, table: Table, clean: set[Path]
) -> tuple[list[Path], bool]:
    """Write the parts of a table that hold what goes anew.

    Args:
        lake: the lake.
        connection: has the tables of what goes.
        table: the table.
        clean: parts that hold nothing of it; those that are found are added.

    Returns:
        The parts that may go now, and whether all were looked at.
    """
    condition, keys_of = _goes(table)
    keys = None
    if table is not TAGS:
        rows = connection.execute(f"FROM {keys_of} LIMIT {_LISTED + 1}").fetchall()
        if not rows:
            return [], True
        if len(rows) <= _LISTED:
            keys = Keys(frozenset(row[0] for row in rows if row[0] is not None))
    before: list[Path] = []
    folder = lake.path / "tables" / table.name
    for name in sorted(names_in(folder)):
        part, stem = folder / name, name.removesuffix(".parquet")
        if name in (stem, EMPTY) or part in clean:
            continue
        if keys is not None and not may_hold(stem, keys):
            continue
        try:
            rewritten = rewrite(connection, table, part, condition)
        except Exception as error:
            if isinstance(error, FileNotFoundError) or is_gone(error):
                return before, False  # merged meanwhile; what it became is looked at next
            raise
        if rewritten is None:
            clean.add(part)
        else:
            before.append(part)
            clean.update(rewritten)
    return before, True


def rewrite(connection: Connection, table: Table, part: Path, condition: str) -> list[Path] | None:
    """Write what stays of a part, if anything does; None if nothing of it goes."""
    source = f"read_parquet({literal(glob_escaped(part))})"
    goes = f"coalesce({condition}, false)"
    first = table.key[0]
    ends = f"min({first}), max({first})"
    rows = connection.execute(f"SELECT {goes} AS g, {ends} FROM {source} GROUP BY g").fetchall()  # noqa: S608
    found = {bool(gone): keys for gone, *keys in rows}
    if True not in found:
        return None
    if False not in found:
        return []
    span = span_of(part.stem)
    target = part.with_name(f"{part_name(span.depth if span else 0, found[False])}.parquet")
    stays = f"SELECT * FROM {source} WHERE NOT {goes} ORDER BY {', '.join(table.key)}"  # noqa: S608
    options = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"
    with written(target) as temporary:
        connection.execute(f"COPY ({stays}) TO {literal(temporary)} ({options})")
    return [target]
