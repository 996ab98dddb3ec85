"""The inbox's database: permissions, errors and queries."""

import json
import os
import random
import stat
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from callarchive.domain.errors import ArchiveError, ConfigurationError, StoreError, UnavailableError
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.simulator.generation import uuid_at

ACCOUNT = "acme_sg"
AT = datetime(2026, 1, 5, tzinfo=UTC)
NUMBER = "6591234567"


def uploaded(at: datetime = AT, seed: int | None = None, **more: Any) -> tuple[str, Any]:
    payload = {"sessionId": uuid_at(at, random.Random(seed)), "recordingId": str(uuid.uuid4()), **more}
    body = json.dumps({"eventType": "CALL_RECORDING_STATUS", "payload": payload}).encode()
    return ACCOUNT, read_event(body, subaccount_id=ACCOUNT, mask=lambda number: number)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "inbox.sqlite3"


@pytest.fixture
def inbox(file: Path) -> Iterator[Inbox]:
    opened = Inbox.open(f"sqlite:///{file}")
    yield opened
    opened.close()


def test_only_the_owner_can_read_the_inboxs_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        opened = Inbox.open(f"sqlite:///{tmp_path}/inbox.sqlite3")
        opened.add([uploaded()])
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"inbox.sqlite3": 0o600, "inbox.sqlite3-wal": 0o600, "inbox.sqlite3-shm": 0o600}
    opened.close()


def test_every_commit_waits_for_the_disk_on_every_connection(inbox: Inbox) -> None:
    with inbox._engine.connect() as one, inbox._engine.connect() as two:
        for connection in (one, two):
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_path_with_characters_special_in_urls_is_a_path(tmp_path: Path) -> None:
    for name in ("with space.sqlite3", "50%25.sqlite3", "a#b.sqlite3"):
        opened = Inbox.open(f"sqlite:///{tmp_path}/{name}")
        opened.add([uploaded()])
        opened.close()
        assert (tmp_path / name).exists()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_removed_file_is_not_recreated(inbox: Inbox, file: Path) -> None:
    inbox.close()
    file.unlink()
    with pytest.raises(UnavailableError, match="unable to open"):
        inbox.latest_number()
    with pytest.raises(UnavailableError, match="unable to open"):
        Inbox.open(f"sqlite:///{file}", create=False)
    assert not file.exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_an_inbox_in_memory_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="names no file"):
        Inbox.open(url)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_becomes_an_inbox(file: Path) -> None:
    file.touch()  # as by a process that was killed at this point
    opened = Inbox.open_existing(f"sqlite:///{file}")
    assert opened is not None
    assert opened.add([uploaded()]) == 1
    opened.close()


def test_a_full_disk_is_a_store_error_and_loses_nothing(inbox: Inbox, file: Path) -> None:
    inbox.add([uploaded()])
    inbox.close()

    @event.listens_for(inbox._engine, "connect")
    def _no_room(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # its current size

    many = [uploaded(filePath="x" * 4000) for _ in range(50)]
    with pytest.raises(StoreError, match="rejects writes: database or disk is full"):
        inbox.add(many)
    again = Inbox.open(f"sqlite:///{file}")
    assert again.latest_number() == 1
    assert again.add([uploaded()]) == 1
    again.close()


def test_a_damaged_file_is_a_store_error(file: Path) -> None:
    opened = Inbox.open(f"sqlite:///{file}")
    opened.add([uploaded(seed=seed) for seed in range(300)])
    opened.close()
    data = bytearray(file.read_bytes())
    data[4096 * 2 :] = b"\xff" * (len(data) - 4096 * 2)
    file.write_bytes(data)

    def open_and_read() -> None:
        with closing(Inbox.open(f"sqlite:///{file}")) as damaged:
            damaged.prune(datetime.now(UTC) + timedelta(days=1))

    with pytest.raises(StoreError, match="is not an inbox, or is damaged"):
        open_and_read()


def test_an_error_shows_nothing_of_the_event(url: str) -> None:
    inbox = Inbox.open(url)
    with inbox._engine.begin() as connection:
        connection.exec_driver_sql("drop table inbox_sessions")
    with pytest.raises(ArchiveError) as caught:
        inbox.add([uploaded(caller=NUMBER)])
    error: BaseException | None = caught.value
    while error is not None:
        assert NUMBER not in str(error)
        error = error.__cause__  # as a log would show it
    assert caught.value.__suppress_context__
    assert NUMBER not in repr(inbox)
    assert inbox.latest_number() == 0, "all or none"
    inbox.close()


def test_an_index_finds_a_days_sessions(inbox: Inbox) -> None:
    inbox.add([uploaded(AT + timedelta(minutes=minute), minute) for minute in range(200)])
    plans: list[str] = []

    @event.listens_for(inbox._engine, "before_cursor_execute")
    def _explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plans.extend(row[3] for row in cursor.fetchall())

    assert len(inbox.sessions(ACCOUNT, AT, AT + timedelta(minutes=10))) == 10
    assert not [plan for plan in plans if plan.startswith("SCAN")]
    assert [plan for plan in plans if "inbox_sessions_by_call (subaccount_id=? AND call_at>? AND call_at<?)" in plan]
    plans.clear()
    assert list(inbox.older_than(AT)) == []
    assert [plan for plan in plans if "inbox_events_by_arrival (last_received_at<?)" in plan]
    assert not [plan for plan in plans if plan.startswith("SCAN")]


@pytest.mark.needs("initdb")
def test_an_index_finds_a_days_sessions_on_postgresql(postgresql: Any) -> None:
    inbox = Inbox.open(postgresql.url)
    inbox.add([uploaded(AT + timedelta(minutes=minute), minute) for minute in range(500)])
    begin, end = (int((AT + timedelta(minutes=m)).timestamp() * 1_000_000) for m in (0, 10))
    query = f"subaccount_id = '{ACCOUNT}' and call_at >= {begin} and call_at < {end}"
    plan = postgresql.run("analyze", "set enable_seqscan = off", f"explain select * from inbox_sessions where {query}")
    assert "inbox_sessions_by_call" in str(plan)
    assert len(inbox.sessions(ACCOUNT, AT, AT + timedelta(minutes=10))) == 10
    inbox.close()


def test_events_of_one_commit_are_written_by_one_transaction(url: str) -> None:
    inbox = Inbox.open(url)
    commits: list[Any] = []
    event.listen(inbox._engine, "commit", commits.append)
    assert inbox.add([uploaded() for _ in range(50)]) == 50
    assert len(commits) == 1
    with inbox._engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from inbox_events")).scalar() == 50
    inbox.close()


@pytest.mark.needs("initdb")
def test_a_database_of_the_encoding_sql_ascii_keeps_events(postgresql: Any) -> None:
    """psycopg returns bytes from it, unless the connection has an encoding."""
    with postgresql.recoded("SQL_ASCII") as url:
        inbox = Inbox.open(url)
        inbox.add([uploaded(AT)])
        (session,) = inbox.sessions(ACCOUNT, AT - timedelta(days=1), AT + timedelta(days=1))
        assert isinstance(session.session_id, str)
        inbox.close()
