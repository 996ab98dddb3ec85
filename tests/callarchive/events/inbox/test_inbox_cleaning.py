"""Inboxes of older versions, which stored whole bodies, are cleaned once, while events arrive."""

import hashlib
import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from callarchive.events.inbox.database import EVENTS
from callarchive.events.inbox.events import event_in, read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.simulator.generation import uuid_at

ACCOUNT = "acme_sg"
AT = datetime(2026, 1, 5, tzinfo=UTC)
NUMBER, SIGNATURE = "6591234567", "5ecre7" * 6
BEGIN, END = AT - timedelta(days=1), AT + timedelta(days=9)


def session_of(seed: int) -> str:
    return uuid_at(AT + timedelta(minutes=seed), random.Random(seed))


def bodies(seed: int) -> Iterator[dict[str, Any]]:
    """Yield bodies of an older version: two VRU events that parse the same, a VSS event, one of an unknown type."""
    session, recording = session_of(seed), uuid_at(AT, random.Random(-1 - seed))
    for attempt in (1, 2):
        yield {
            "eventType": "CALL_RECORDING_STATUS",
            "description": f"attempt {attempt} for +{NUMBER}",
            "payload": {
                "sessionId": session,
                "recordingId": recording,
                "durationSeconds": 25,
                "filePath": f"up/{NUMBER}/2026-01-05/{session}/{recording}.mp3?X-Amz-Signature={SIGNATURE}",
                "status": "UPLOAD_COMPLETED",
                "caller": int(NUMBER),
                "url": f"https://u:{SIGNATURE}@host/x",
            },
        }
    legs = {"callA": {"callDuration": 9, "note": f"abc{NUMBER}xyz"}, "callB": {"callDuration": 12}}
    summary = {"sessionId": session, "sessionStatus": "NO ANSWER", "startTime": "2026-01-06T10:00:00.123Z"}
    yield {"eventType": "SESSION_SUMMARY", "payload": {**summary, "callCount": 2, "details": legs}}
    yield {"eventType": "OTHER", "payload": {"url": f"https://host/x?sig={SIGNATURE}", "n": seed, "to": NUMBER}}


def fill_as_before(url: str, count: int) -> None:
    """Insert rows as versions before the cleaning wrote them."""
    inbox = Inbox.open(url)
    rows: list[dict[str, Any]] = []
    events = []
    for seed in range(count):
        for body in bodies(seed):
            payload = json.dumps(body, sort_keys=True, separators=(",", ":"))
            read = read_event(payload.encode(), subaccount_id=ACCOUNT, mask=lambda _: None)
            events.append((ACCOUNT, read))
            kind = {"CALL_RECORDING_STATUS": "recording", "SESSION_SUMMARY": "session"}.get(
                body["eventType"], "unknown"
            )
            fields = body["payload"]
            rows.append(
                {
                    "identity": hashlib.sha256(f"{ACCOUNT}\0{payload}".encode()).hexdigest(),
                    "subaccount_id": ACCOUNT,
                    "kind": kind,
                    "event_type": "OTHER" if kind == "unknown" else None,
                    "session_id": fields.get("sessionId"),
                    "recording_id": fields.get("recordingId"),
                    "first_received_at": AT + timedelta(seconds=len(rows)),
                    "last_received_at": AT + timedelta(seconds=len(rows)),
                    "delivery_count": 1,
                    "payload": payload,
                }
            )
    inbox.add(events)
    with inbox._engine.begin() as connection:
        connection.execute(sa.delete(EVENTS))
        connection.execute(sa.insert(EVENTS), rows)
    inbox.close()


def results(inbox: Inbox, count: int) -> tuple[Any, ...]:
    """Return what a day reads from the inbox."""
    sessions = inbox.sessions(ACCOUNT, BEGIN, END)
    return sessions, inbox.recordings(ACCOUNT, [session_of(seed) for seed in range(count)]), inbox.undated(ACCOUNT)


def stored(inbox: Inbox) -> list[Any]:
    with inbox._engine.connect() as connection:
        return list(connection.execute(sa.select(EVENTS).order_by(EVENTS.c.number)).all())


def test_cleaning_removes_unused_fields_and_changes_no_result(url: str) -> None:
    fill_as_before(url, 120)
    inbox = Inbox.open(url)
    before, deliveries = results(inbox, 120), sum(row.delivery_count for row in stored(inbox))
    assert inbox.clean() > 0
    rows = stored(inbox)
    assert results(inbox, 120) == before
    assert sum(row.delivery_count for row in rows) == deliveries
    assert not [row for row in rows if NUMBER in str(row) or SIGNATURE in str(row)]
    assert len(rows) == 120 * 2 + 1  # repeats are one event, and so are events of one unknown type
    [first] = [row for row in rows if row.session_id == session_of(0) and row.kind == "recording"]
    assert json.loads(first.payload)["payload"].keys() == {
        "sessionId",
        "recordingId",
        "durationSeconds",
        "filePath",
        "status",
    }
    assert (first.last_received_at - first.first_received_at, first.delivery_count) == (timedelta(seconds=1), 2)
    # A repeat is recognized, and there is nothing left to do.
    again = [read_event(json.dumps(b).encode(), subaccount_id=ACCOUNT, mask=lambda _: None) for b in bodies(7)]
    assert inbox.add([(ACCOUNT, read) for read in again]) == 0
    assert inbox.clean() == 0
    inbox.close()


def test_cleaning_leaves_no_old_bytes_in_sqlites_files(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/inbox.sqlite3"
    fill_as_before(url, 50)
    # Pages that were freed before bytes were overwritten.
    with closing(sqlite3.connect(tmp_path / "inbox.sqlite3", isolation_level=None)) as other:
        other.execute("delete from inbox_events where number % 3 = 0")
    assert NUMBER.encode() in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    with closing(Inbox.open(url)) as inbox:
        inbox.clean()
        there = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (NUMBER, SIGNATURE):
        assert secret.encode() not in there


def test_only_the_reason_is_kept_of_an_unreadable_event(url: str) -> None:
    fill_as_before(url, 1)
    inbox = Inbox.open(url)
    with inbox._engine.begin() as connection:
        odd = sa.update(EVENTS).where(EVENTS.c.kind == "session")
        connection.execute(odd.values(payload=f'{{"eventType":"SESSION_SUMMARY","payload":"{NUMBER}"}}'))
        connection.execute(sa.update(EVENTS).where(EVENTS.c.kind == "unknown").values(payload=f"[{NUMBER}"))
    before = results(inbox, 1)
    inbox.clean()
    assert results(inbox, 1) == before
    reasons = {row.kind: json.loads(row.payload) for row in stored(inbox) if row.kind != "recording"}
    assert reasons == {
        "session": {"unreadable": "SESSION_SUMMARY: the payload is not a JSON object"},
        "unknown": {"unreadable": "is not JSON at character 11 of 11"},
    }
    inbox.close()


KILLED = """
import sys
from callarchive.events.inbox import cleaning
from callarchive.events.inbox.inbox import Inbox
cleaning._AT_ONCE = 10
inbox = Inbox.open(sys.argv[1])
cleaning._clean_some(inbox._engine)
print("begun", flush=True)
inbox.clean()
"""


def test_a_killed_cleaning_resumes(url: str) -> None:
    fill_as_before(url, 60)
    with closing(Inbox.open(url)) as inbox:
        before = results(inbox, 60)
    process = subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    time.sleep(0.05)
    process.kill()
    process.communicate()
    with closing(Inbox.open(url)) as inbox:
        assert results(inbox, 60) == before
        inbox.clean()
        assert results(inbox, 60) == before
        assert NUMBER not in str(stored(inbox))
        assert sum(row.delivery_count for row in stored(inbox)) == 240


def test_events_are_accepted_during_cleaning(url: str) -> None:
    fill_as_before(url, 150)
    inbox, stop, longest_s, new = Inbox.open(url), threading.Event(), 0.0, 0

    def write() -> None:
        nonlocal longest_s, new
        while not stop.is_set():
            body = next(bodies(1000 + new))
            begun_at = time.monotonic()
            read = read_event(json.dumps(body).encode(), subaccount_id=ACCOUNT, mask=lambda _: None)
            new += inbox.add([(ACCOUNT, read)])
            longest_s = max(longest_s, time.monotonic() - begun_at)
            stop.wait(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        inbox.clean()
    finally:
        stop.set()
        writer.join()
    assert new > 0
    assert longest_s < 10
    inbox.clean()
    assert NUMBER not in str(stored(inbox))
    assert len({event_in(row.payload) for row in stored(inbox)}) == 150 * 2 + 1 + new
    inbox.close()
