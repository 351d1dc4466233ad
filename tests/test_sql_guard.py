"""A user's SQL can write nothing, whatever it says: it has no way to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from hmct_track.errors import QueryError
from hmct_track.lake import CONFIGS, Lake
from hmct_track.lake import lake as lake_module
from hmct_track.lake.duck import Limits, guarded_connection
from hmct_track.lake.guard import PartsOnly

ROWS = "(SELECT * FROM configs WHERE false)"
FILES = [
    "{lake}/tables/configs/{part}",
    "{lake}/tables/configs/new.parquet",
    "{lake}/lake.json",
    "{outside}/kept.txt",
    "{outside}/new.txt",
    "file://{outside}/new.txt",
    "lake://configs/{part}",
    "lake://configs/new.parquet",
    "lake://new.txt",
    "lake://../lake.json",
    "lake://configs/../../lake.json",
    "new.txt",
    "/dev/stdout",
]
COPIES = [
    *(f"COPY {ROWS} TO '{file}' (FORMAT {kind})" for file in FILES for kind in ("parquet", "csv")),
    f"COPY {ROWS} TO '{{lake}}/lake.json' (FORMAT json, USE_TMP_FILE false)",
    f"COPY {ROWS} TO 'lake://configs/{{part}}' (FORMAT parquet, USE_TMP_FILE false)",
    *(
        f"COPY (FROM configs) TO '{place}' (FORMAT parquet, PARTITION_BY (config_id), {option})"
        for place in ("{lake}/tables/configs", "lake://configs", "lake://", "{outside}", "new")
        for option in ("OVERWRITE", "OVERWRITE_OR_IGNORE", "APPEND")
    ),
    f"COPY {ROWS} TO 'lake://configs' (FORMAT parquet, PER_THREAD_OUTPUT, OVERWRITE)",
    "COPY (FROM configs) TO '{outside}' (FORMAT csv, FILE_SIZE_BYTES 10, OVERWRITE)",
]
WRAPPERS = [
    "{copy}",
    "WITH x AS ({copy}) FROM x",
    "WITH x AS MATERIALIZED ({copy}) SELECT 1",
    "WITH y AS (WITH x AS ({copy}) FROM x) FROM y",
    "SELECT * FROM (WITH x AS ({copy}) FROM x)",
    "SELECT (WITH x AS ({copy}) SELECT count(*) FROM x)",
    "FROM configs WHERE EXISTS (WITH x AS ({copy}) FROM x)",
    "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 3), "
    "x AS ({copy}) FROM r, x",
    "FROM configs UNION ALL BY NAME (WITH x AS ({copy}) SELECT 'a' AS config_id FROM x)",
    "EXPLAIN ANALYZE {copy}",
    "EXPLAIN ANALYZE WITH x AS ({copy}) FROM x",
    "PREPARE p AS {copy}",
    "CREATE TEMP TABLE t AS WITH x AS ({copy}) FROM x",
    "CREATE VIEW v AS WITH x AS ({copy}) FROM x",
    "SUMMARIZE (WITH x AS ({copy}) FROM x)",
    "DESCRIBE (WITH x AS ({copy}) FROM x)",
    "SET VARIABLE a = (WITH x AS ({copy}) SELECT count(*) FROM x)",
]
OTHERS = """
EXPORT DATABASE '{outside}/x'
EXPORT DATABASE 'lake://configs'
IMPORT DATABASE '{outside}'
ATTACH '{outside}/x.db'
ATTACH 'lake://x.db'
ATTACH '{outside}/x.db' (READ_ONLY false)
ATTACH 'x.db' AS other
ATTACH '{lake}/lake.duckdb' AS other
COPY FROM DATABASE memory TO other
INSTALL httpfs
INSTALL httpfs FROM '{outside}'
FORCE INSTALL httpfs FROM core_nightly
LOAD httpfs
LOAD '{outside}/kept.txt'
UPDATE EXTENSIONS
SET enable_external_access = true
SET disabled_filesystems = ''
RESET disabled_filesystems
SET lock_configuration = false
SET GLOBAL lock_configuration = false
SET allowed_directories = ['/']
SET allowed_paths = ['{outside}/new.txt']
SET temp_directory = '{outside}/spill'
SET home_directory = '{outside}'
SET extension_directory = '{outside}'
SET secret_directory = '{outside}'
SET log_query_path = '{outside}/log.txt'
SET profiling_output = '{outside}/new.txt'
SET enable_profiling = 'json'
SET memory_limit = '1TB'
SET python_enable_replacements = true
PRAGMA enable_profiling
PRAGMA enable_profiling = 'json'
PRAGMA profiling_output = '{outside}/new.txt'
PRAGMA database_list
PRAGMA import_database('{outside}')
PRAGMA force_checkpoint
CALL enable_logging(storage = 'file', storage_path = '{outside}')
FROM enable_logging('QueryLog', storage = 'file', storage_path = '{outside}')
FROM enable_logging(storage = 'file', storage_config = {{'path': '{outside}'}})
FROM enable_profiling(save_location = '{outside}/new.txt')
FROM truncate_duckdb_logs()
FROM checkpoint()
FROM force_checkpoint()
FROM query('COPY configs TO ''{outside}/new.txt''')
FROM query('WITH x AS (COPY configs TO ''{outside}/new.txt'') FROM x')
FROM query_table('{outside}/kept.txt')
FROM read_duckdb('{lake}/lake.duckdb')
FROM register_external_resource('t', 'n', MAP {{'a': 'b'}})
CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')
CREATE SECRET s IN local_file (TYPE http, BEARER_TOKEN 'x')
CREATE TABLE t AS SELECT 1
CREATE OR REPLACE VIEW configs AS SELECT 1
CREATE OR REPLACE MACRO sensitivity(a, b) AS TABLE SELECT 1
CREATE SCHEMA s
CREATE SEQUENCE s
CREATE TYPE t AS ENUM ('a')
CREATE INDEX i ON configs (config_id)
ALTER VIEW configs RENAME TO other
COMMENT ON VIEW configs IS 'x'
DROP VIEW configs
DROP SCHEMA main CASCADE
INSERT INTO configs VALUES ('x', 'y')
UPDATE configs SET config = 'x'
DELETE FROM configs
TRUNCATE configs
MERGE INTO configs USING (SELECT 1 AS i) AS s ON (true) WHEN MATCHED THEN DELETE
WITH x AS (INSERT INTO configs VALUES ('x', 'y') RETURNING *) FROM x
WITH x AS (DELETE FROM configs RETURNING *) FROM x
WITH x AS (UPDATE configs SET config = 'x' RETURNING *) FROM x
VACUUM ANALYZE
CHECKPOINT
FORCE CHECKPOINT
USE other
DETACH memory
BEGIN
COMMIT
COPY configs FROM '{outside}/kept.txt'
""".strip().splitlines()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sql")
    Lake.create(folder / "lake").append(CONFIGS, [{"config_id": "a", "config": "{}"}], "part")
    (folder / "outside").mkdir()
    (folder / "outside" / "kept.txt").write_text("kept")
    return folder


def everything(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """What every file below a folder holds, and when it was written."""
    return {
        path: (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def statements(place: Path) -> Iterator[str]:
    names = {"lake": place / "lake", "outside": place / "outside", "part": "part.parquet"}
    for copy in COPIES:
        for wrapper in WRAPPERS:
            yield wrapper.replace("{copy}", copy.format(**names))
    for text in OTHERS:
        yield text.format(**names)


def test_nothing_that_a_statement_says_changes_a_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without the look at what kind of statement it is, which is for plain messages only."""
    monkeypatch.chdir(place / "outside")
    monkeypatch.setenv("HOME", str(place / "outside"))
    before = everything(place)
    lake = Lake.open(place / "lake")
    for look in (True, False):
        if not look:
            monkeypatch.setattr(lake_module, "check_statement", lambda *_: None)
        done, told = 0, []
        for text in statements(place):
            done += 1
            try:
                lake.sql(text)
            except QueryError as error:
                told.append(str(error))
        assert done == 843  # as docs/reliability.md says
        assert not [text for text in told if "Traceback" in text]
        assert everything(place) == before, "some statement wrote"
        assert lake.sql("FROM configs").rows == [("a", "{}", None)], "some statement changed a view"


def test_what_would_write_is_refused_and_not_only_without_effect(place: Path) -> None:
    lake = Lake.open(place / "lake")
    for target in ("lake://configs/part.parquet", f"{place}/lake/tables/configs/part.parquet"):
        for kind in ("parquet", "csv"):
            text = f"WITH x AS (COPY {ROWS} TO '{target}' (FORMAT {kind})) FROM x"
            with pytest.raises(QueryError, match=r"read-only for SQL|LocalFileSystem .*disabled"):
                lake.sql(text)


def test_the_settings_hold_and_cannot_be_undone(place: Path) -> None:
    connection = guarded_connection(place / "lake", None)
    settings = dict(connection.execute("SELECT name, value FROM duckdb_settings()").fetchall())
    assert settings["enable_external_access"] == "false"
    assert settings["lock_configuration"] == "true"
    assert settings["temp_directory"] == ""
    assert settings["allow_persistent_secrets"] == "false"


@pytest.mark.parametrize(
    "source",
    [
        "read_text('{outside}/kept.txt')",
        "read_blob('{lake}/lake.json')",
        "read_text('lake://../lake.json')",
        "read_text('lake://configs/../../../outside/kept.txt')",
        "read_text('lake:///{outside}/kept.txt')",
        "read_csv('{outside}/kept.txt')",
        "read_parquet('{lake}/tables/configs/part.parquet')",
        "read_text('/dev/stdin')",
        "glob('{outside}/*')",
        "'{outside}/kept.txt'",
        "place",
    ],
)
def test_no_other_file_is_read_nor_a_variable_of_python(place: Path, source: str) -> None:
    text = f"FROM {source.format(outside=place / 'outside', lake=place / 'lake')}"
    try:
        rows = Lake.open(place / "lake").sql(text).rows
    except QueryError:
        rows = []
    assert rows == []


def test_the_file_system_has_no_way_to_write(place: Path) -> None:
    from fsspec.implementations.local import LocalFileSystem

    parts = PartsOnly(LocalFileSystem(), str(place / "lake" / "tables"))
    before = everything(place)
    target, source = "lake://configs/part.parquet", str(place / "outside" / "kept.txt")
    attempts = [
        *(lambda mode=mode: parts.open(target, mode) for mode in ("wb", "ab", "r+b", "xb", "w")),
        lambda: parts.rm(target),
        lambda: parts.rm_file(target),
        lambda: parts.rm("lake://configs", recursive=True),
        lambda: parts.mv(target, "lake://configs/other.parquet"),
        lambda: parts.copy(target, "lake://configs/other.parquet"),
        lambda: parts.put_file(source, target),
        lambda: parts.pipe_file(target, b""),
        lambda: parts.touch(target),
        lambda: parts.open("lake://configs/../../lake.json", "rb"),
        lambda: parts.ls("lake://configs/.."),
    ]
    for attempt in attempts:
        with pytest.raises((OSError, NotImplementedError)):
            attempt()
    parts.makedirs("lake://configs/new/folder")
    parts.rmdir("lake://configs")
    assert everything(place) == before


def test_rows_are_streamed_and_not_held(place: Path) -> None:
    lake, seen = Lake.open(place / "lake"), 0
    with lake.stream_sql("SELECT i, repeat('x', 1000) FROM range(1000000000) AS t(i)") as rows:
        assert rows.columns[0] == "i"
        for chunk in rows:
            seen += len(chunk)
            if seen >= 50_000:
                break
    assert seen >= 50_000
    assert lake.sql("FROM range(30000)", most=25_000).is_cut
    assert len(lake.sql("FROM range(30000)", most=25_000).rows) == 25_000
    assert not lake.sql("FROM range(10000)", most=10_000).is_cut
    assert len(lake.sql("FROM range(30000)").rows) == 30_000


BOMBS = [
    "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r",
    "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c "
    "WHERE a.range + b.range = c.range * 7 + 1.5",
    "SELECT sleep_ms(100000)",
]


@pytest.mark.parametrize("text", BOMBS)
def test_a_query_without_end_meets_its_time(place: Path, text: str) -> None:
    started = datetime.now()
    with pytest.raises(QueryError, match=r"longer than the 0.5 seconds.*--seconds"):
        Lake.open(place / "lake").sql(text, limits=Limits(seconds=0.5))
    assert (datetime.now() - started).total_seconds() < 20


def test_a_query_that_takes_all_memory_meets_its_limit(place: Path) -> None:
    text = "SELECT list(i ORDER BY random()) FROM range(1000000000) AS t(i)"
    with pytest.raises(QueryError, match=r"more memory than it may have.*--memory"):
        Lake.open(place / "lake").sql(text, limits=Limits(memory=100 * 2**20, seconds=120))
