"""Erased sessions and recordings leave no byte in the inbox's database, while events arrive."""

import json
import random
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from callarchive.domain.erased_ids import ErasedIds
from callarchive.domain.errors import UnavailableError
from callarchive.events.inbox import database
from callarchive.events.inbox.events import ReadEvent, read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.simulator.generation import uuid_at
from tests.traces import traces_of

AT = datetime(2026, 1, 5, tzinfo=UTC)
BEGIN, END = AT - timedelta(days=1), AT + timedelta(days=9)
SESSIONS = [uuid_at(AT + timedelta(minutes=number), random.Random(number)) for number in range(300)]
RECORDINGS = [uuid_at(AT + timedelta(minutes=number), random.Random(-1 - number)) for number in range(300)]
GONE = ErasedIds("acme", frozenset(SESSIONS[50:90]), frozenset([*RECORDINGS[50:90], RECORDINGS[7]]))


def events(number: int, **fields: Any) -> list[tuple[str, ReadEvent]]:
    """A summary of the session, and its recording."""
    ids = {"sessionId": SESSIONS[number], "recordingId": RECORDINGS[number]}
    path = f"up/2026-01-05/{SESSIONS[number].upper()}/{RECORDINGS[number]}.mp3"
    uploaded = {**ids, "filePath": path, "status": "UPLOAD_COMPLETED", **fields}
    bodies = (
        {"eventType": "CALL_RECORDING_STATUS", "payload": uploaded},
        {
            "eventType": "SESSION_SUMMARY",
            "payload": {"sessionId": SESSIONS[number], "startTime": "2026-01-05T10:00:00Z"},
        },
    )
    return [
        ("acme", read_event(json.dumps(body).encode(), subaccount_id="acme", mask=lambda _: None)) for body in bodies
    ]


def names(inbox: Inbox) -> set[str]:
    """Return the ids that the inbox has."""
    sessions = {session.session_id for session in inbox.sessions("acme", BEGIN, END)}
    return sessions | {one.recording_id for one in inbox.recordings("acme", SESSIONS)}


@pytest.fixture
def files(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Any:
    """Return a function to the files of the database: of PostgreSQL, those of its tables and indexes."""
    if url.startswith("sqlite"):
        return lambda: sorted(tmp_path.glob("inbox.sqlite3*"))
    server, base = request.getfixturevalue("postgresql_server"), request.getfixturevalue("postgresql")

    def of_postgresql() -> list[Path]:
        admin = f"host=127.0.0.1 port={base.port} user=postgres dbname={base.user}"
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("checkpoint")
            found = connection.execute("select pg_relation_filepath(oid) from pg_class where relname like 'inbox%'")
            return [server.data / "db" / path for (path,) in found if path is not None]

    return of_postgresql


def test_no_byte_of_an_erased_id_stays_while_events_arrive(url: str, files: Any) -> None:
    stop, failed = threading.Event(), list[BaseException]()

    def receive() -> None:
        with closing(Inbox.open(url)) as inbox:
            for number in range(200, 300):
                try:
                    inbox.add(events(number))
                except BaseException as err:
                    failed.append(err)
                if stop.is_set():
                    return

    with closing(Inbox.open(url)) as inbox:
        inbox.add([event for number in range(200) for event in events(number)])
        inbox.add(events(9, filePath=f"up/{RECORDINGS[7]}.mp3"))
        assert traces_of(SESSIONS[60], *files())
        thread = threading.Thread(target=receive)
        thread.start()
        erased = inbox.erase(GONE)
        stop.set()
        thread.join()
        assert not failed
        assert erased == 2 * 40 + 2, "both events of a session; of the recording its own and one with its id in a path"
        assert not names(inbox) & GONE.all
        assert names(inbox) >= {*SESSIONS[:50], *SESSIONS[90:200]}
        assert inbox.erase(GONE) == 0
    assert [found for one in sorted(GONE.all) for found in traces_of(one, *files())] == []
    assert traces_of(SESSIONS[100], *files())


def test_a_reader_that_holds_old_bytes_is_reported_and_repeating_removes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_S", 0.2)
    url = f"sqlite:///{tmp_path}/inbox.sqlite3"
    with closing(Inbox.open(url)) as inbox, closing(Inbox.open(url)) as other:
        inbox.add([event for number in range(100) for event in events(number)])
        with other._engine.connect() as reader:
            reader.exec_driver_sql("begin")
            assert reader.exec_driver_sql("select count(*) from inbox_events").scalar() == 200
            with pytest.raises(UnavailableError, match="others use it: run this again"):
                inbox.erase(GONE)
            assert not names(inbox) & GONE.all
        assert inbox.erase(GONE) == 0
    assert [found for one in sorted(GONE.all) for found in traces_of(one, tmp_path)] == []


def test_another_account_keeps_its_events_of_the_same_ids(url: str) -> None:
    with closing(Inbox.open(url)) as inbox:
        inbox.add([("other", event) for _, event in events(60)] + events(61))
        inbox.erase(GONE)
        assert [one.session_id for one in inbox.sessions("other", BEGIN, END)] == [SESSIONS[60]]
        assert not names(inbox)
