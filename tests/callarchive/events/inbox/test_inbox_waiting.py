"""Locks between writers, lost connections, and events that the inbox accepts in any case."""

import json
import os
import pwd
import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from callarchive.domain.errors import StoreError, UnavailableError
from callarchive.events.inbox import database
from callarchive.events.inbox.events import ReadEvent, read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.simulator.generation import uuid_at

ACCOUNT = "acme_sg"
AT = datetime(2026, 11, 19, 10, tzinfo=UTC)


def read(event: dict[str, Any]) -> tuple[str, ReadEvent]:
    return ACCOUNT, read_event(json.dumps(event).encode(), subaccount_id=ACCOUNT, mask=lambda _: None)


def ended(seed: int = 1) -> dict[str, Any]:
    return {"eventType": "SESSION_SUMMARY", "payload": {"sessionId": uuid_at(AT, random.Random(seed))}}


def test_events_of_unknown_types_are_accepted_and_block_no_others(url: str) -> None:
    inbox = Inbox.open(url)
    types = ("a\0b", "\ud800", "x" * 5000, "\u202e", "+6591234567")
    session = ended()
    assert inbox.add([read(session), *(read({"eventType": text, "more": text, text: 1}) for text in types)]) == 6
    assert len(inbox.events_of(session["payload"]["sessionId"])) == 1
    counted = inbox.unknown_events()
    assert sum(counted.values()) == 5
    assert not [name for name in counted if "6591234567" in name]
    inbox.close()


def test_a_writer_times_out_behind_another_and_can_write_later(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_S", 0.2)
    inbox, other = Inbox.open(url), Inbox.open(url)
    with other._engine.begin() as connection:
        database.lock_writers(connection)
        with pytest.raises(UnavailableError, match=r"inbox\.url"):
            inbox.add([read(ended())])
        with pytest.raises(UnavailableError, match=r"inbox\.url"):
            inbox.probe_write()
        assert inbox.latest_number() == 0, "readers never wait"
        connection.rollback()
    inbox.probe_write()
    assert inbox.latest_number() == 0
    assert inbox.add([read(ended())]) == 1
    for opened in (inbox, other):
        opened.close()


@pytest.mark.needs("initdb")
def test_a_vanished_writer_blocks_the_others_for_a_limited_time(
    postgresql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, vanished = Inbox.open(postgresql.url), Inbox.open(postgresql.url)
    monkeypatch.setattr(database, "_IDLE_S", 0.5)
    connection = vanished._engine.connect()
    transaction = connection.begin()
    database.lock_writers(connection)  # and falls silent
    assert inbox.add([read(ended())]) == 1
    with pytest.raises(sa.exc.DBAPIError):
        connection.execute(sa.text("select 1"))
    transaction.close()
    connection.close()
    for opened in (inbox, vanished):
        opened.close()


@pytest.mark.needs("initdb")
def test_a_commit_waits_for_the_disk_even_if_the_role_turned_that_off(postgresql: Any) -> None:
    postgresql.run(f"alter role {postgresql.user} set synchronous_commit = off")
    inbox = Inbox.open(postgresql.url)
    shown = sa.text("show synchronous_commit")
    with inbox._engine.begin() as connection:
        assert connection.execute(shown).scalar() == "off"
        database.lock_writers(connection)
        assert connection.execute(shown).scalar() == "on"
    inbox.close()


@pytest.mark.needs("initdb")
def test_a_connection_closed_by_the_server_is_reopened(postgresql: Any) -> None:
    inbox = Inbox.open(postgresql.url)
    inbox.add([read(ended())])
    ours = "usename = user and pid <> pg_backend_pid()"
    assert postgresql.run(f"select pg_terminate_backend(pid) from pg_stat_activity where {ours}")
    assert inbox.add([read(ended(2))]) == 1
    inbox.close()


def test_a_read_only_folder_is_reported() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:  # root may write anywhere
            os.seteuid(pwd.getpwnam("nobody").pw_uid)
        with pytest.raises(StoreError, match="cannot be created: Permission denied"):
            Inbox.open(f"sqlite:///{folder}/inbox.sqlite3")
    finally:
        os.seteuid(user)
        folder.rmdir()
