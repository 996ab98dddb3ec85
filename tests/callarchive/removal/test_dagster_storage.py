"""Ids of what was erased, masked in text of every kind, and where Dagster keeps its data."""

import re
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from callarchive.domain.errors import ConfigurationError, StoreError
from callarchive.removal.dagster_storage import DagsterTraces, dagster_home, erase_from_dagster
from callarchive.removal.id_masking import IdMask
from callarchive.settings import load_settings

ERASED = "4f0c8a52-b1d0-11f0-9a55-0242ac120002"
KEPT = "4f0c8a52-b1d0-11f0-9a55-0242ac120003"  # one digit differs
NEUTRAL = "erased------------------------------"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"session {ERASED}: HTTP 500", f"session {NEUTRAL}: HTTP 500"),
        (f'{{"id": "{ERASED.upper()}"}}', f'{{"id": "{NEUTRAL}"}}'),
        (f"a/{ERASED}/{ERASED}_2.mp3", f"a/{NEUTRAL}/{NEUTRAL}_2.mp3"),
        (f"cafe{ERASED}cafe", f"cafe{NEUTRAL}cafe"),
        (ERASED.replace("-", ""), NEUTRAL[:32]),
        (f"cut {ERASED[:35]}", f"cut {NEUTRAL[:35]}"),
        (f"cut {ERASED[:13]}…", f"cut {NEUTRAL[:13]}…"),
        (f"{KEPT} {KEPT[:12]} {ERASED[:8]}", f"{KEPT} {KEPT[:12]} {ERASED[:8]}"),
        (f"{ERASED.replace('-', '')}{'0' * 32}", f"{ERASED.replace('-', '')}{'0' * 32}"),  # a hash
    ],
)
@pytest.mark.parametrize("others", [0, 1000, -1000])
def test_ids_are_replaced_by_as_many_characters_in_every_form_that_a_log_gives_them(
    text: str, masked: str, others: int
) -> None:
    """Also among 1,000 others, of the same version or of random ones: they are searched for in another way."""
    later = uuid.UUID(ERASED).int + (1 << 112)
    more = {str(uuid.UUID(int=later + (number << (100 if others > 0 else 60)))) for number in range(abs(others))}
    found = IdMask({ERASED, *more}).masked(text.encode()).decode()
    is_too_short = others > 0 and len(text) < 20  # less than three groups of the id
    assert found == (text if is_too_short else masked)
    assert len(found) == len(text)


def home_with(folder: Path, config: str = "") -> Path:
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(config)
    return home


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_log_is_masked_in_place_while_a_program_appends_to_it(tmp_path: Path) -> None:
    home = home_with(tmp_path)
    log = write(home / "storage" / "run" / "compute_logs" / "step.err", f"{ERASED} was not found\n")
    with log.open("a") as appending:
        assert erase_from_dagster(home, {ERASED}) == DagsterTraces(files=1)
        appending.write("and so on\n")
    assert log.read_text() == f"{NEUTRAL} was not found\nand so on\n"
    assert erase_from_dagster(home, {ERASED}) == DagsterTraces()


def test_only_files_of_dagster_are_changed(tmp_path: Path) -> None:
    home = home_with(tmp_path)
    others = [write(home / name, ERASED) for name in ("archive/x.mp3", "notes.txt", "catalog/recordings/x.parquet")]
    assert erase_from_dagster(home, {ERASED}) == DagsterTraces()
    assert [path.read_text() for path in others] == [ERASED] * len(others)


def test_folders_that_dagster_yaml_names_are_searched_and_buckets_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGS", str(tmp_path / "logs"))
    config = """
        storage: {sqlite: {base_dir: data}}
        compute_logs:
          module: dagster_aws.s3.compute_log_manager
          class: S3ComputeLogManager
          config: {bucket: acme-logs, local_dir: {env: LOGS}}
        run_launcher: {config: {broker: {env: NOT_NEEDED}}}
    """
    home = home_with(tmp_path, config)
    log = write(tmp_path / "logs" / "run" / "compute_logs" / "step.out", ERASED)
    database = home / "data" / "history" / "runs.db"
    database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE runs (run_body TEXT, n INTEGER, snapshot BLOB)")
        connection.execute("INSERT INTO runs VALUES (?, 1, ?)", (f'"{ERASED}"', ERASED.encode()))
        connection.execute("INSERT INTO runs VALUES (?, 2, NULL)", (KEPT,))
    found = erase_from_dagster(home, {ERASED})
    assert found == DagsterTraces(2, 1, (f"compute_logs of {home / 'dagster.yaml'}",))
    assert log.read_text() == NEUTRAL
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT * FROM runs").fetchall() == [
            (f'"{NEUTRAL}"', 1, NEUTRAL.encode()),
            (KEPT, 2, None),
        ]
    monkeypatch.delenv("LOGS")
    with pytest.raises(ConfigurationError, match=r"dagster\.yaml names the variable LOGS: set it as for Dagster"):
        erase_from_dagster(home, {ERASED})


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_rows_that_were_deleted_or_replaced_earlier_leave_no_trace(tmp_path: Path, journal: str) -> None:
    home = home_with(tmp_path)
    database = home / "history" / "runs.db"
    database.parent.mkdir()
    with closing(sqlite3.connect(database, isolation_level=None)) as busy:
        busy.execute("PRAGMA secure_delete = OFF")
        busy.execute(f"PRAGMA journal_mode = {journal}")
        busy.execute("CREATE TABLE kvs (value TEXT)")
        for n in range(200):
            busy.execute("INSERT INTO kvs VALUES (?)", (f"{n} {ERASED}" * 40,))
        busy.execute("DELETE FROM kvs WHERE rowid % 2 = 0")
        assert erase_from_dagster(home, {ERASED}).values == 100
        assert not [path for path in database.parent.iterdir() if ERASED[:13].encode() in path.read_bytes()]
        assert busy.execute("SELECT count(*), sum(length(value)) FROM kvs").fetchone()[0] == 100


def test_a_reader_that_keeps_old_contents_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callarchive.removal.masked_databases._WAIT_S", 0.1)
    home = home_with(tmp_path)
    database = home / "history" / "runs.db"
    database.parent.mkdir()
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("PRAGMA journal_mode = wal")
        reader.execute("CREATE TABLE kvs (value TEXT)")
        reader.execute("INSERT INTO kvs VALUES (?)", (ERASED,))
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM kvs").fetchall()
        with pytest.raises(StoreError, match=re.escape(f"{database}: ")):
            erase_from_dagster(home, {ERASED})
        reader.execute("COMMIT")
        assert erase_from_dagster(home, {ERASED}).values == 0, "the row was replaced already"
        assert not [path for path in database.parent.iterdir() if ERASED.encode() in path.read_bytes()]


def test_the_home_is_that_of_the_environment_or_the_one_that_belongs_to_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    config = write(
        tmp_path / "callarchive.toml",
        """
        start_date = 2026-10-23
        archive.url = "archive"
        catalog.url = "catalog"
        [[accounts]]
        subaccount_id = "acme_sg"
        api_key = { env = "A_KEY_THAT_IS_NOT_SET" }
        landing = "s3://acme-recordings/pushed"
        session_sources = [{ kind = "log_export" }]
        """,
    )
    settings = load_settings(config)
    assert dagster_home(settings) is None
    write(tmp_path / ".dagster" / "catalog-url", "file:///another\n")
    assert dagster_home(settings) is None
    write(tmp_path / ".dagster" / "catalog-url", f"{settings.catalog.url}\n")
    assert dagster_home(settings) == tmp_path / ".dagster"
    (tmp_path / ".dagster").rename(tmp_path / "dagster")
    assert dagster_home(settings) == tmp_path / "dagster", "as in the demo's folder"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "other"))
    assert dagster_home(settings) == tmp_path / "other"
    with pytest.raises(ConfigurationError, match="is not a folder: correct DAGSTER_HOME"):
        erase_from_dagster(tmp_path / "other", {ERASED})
