"""The receiver while its inbox fails, and under hostile clients."""

import asyncio
import contextlib
import json
import resource
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callarchive.events.inbox.inbox import Inbox
from callarchive.events.receiver.app import Receiver
from callarchive.events.receiver.metrics import Metrics
from callarchive.events.receiver.writer import Writer
from callarchive.settings import ReceiverSettings

ACCOUNT, OPEN = "acme_sg", "open.to%26all"
Start = Callable[..., Any]
Make = Callable[..., dict[str, Any]]

POISON = (
    "create trigger poison before insert on inbox_events when new.event_type = 'POISON' "
    "begin select raise(abort, 'not this one'); end"
)


def kept(url: str) -> set[str]:
    """Return the recording ids in the inbox."""
    inbox = Inbox.open(url)
    sessions = {change.session_id for change in inbox.changes(0, limit=1_000_000)}
    found = {recording.recording_id for recording in inbox.recordings(ACCOUNT, sessions)}
    inbox.close()
    return found


def test_an_event_that_the_database_rejects_blocks_no_other(
    start_receiver: Start, events: Make, tmp_path: Path
) -> None:
    running = start_receiver()
    file = tmp_path / "inbox.sqlite3"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(POISON)
        other.execute("BEGIN IMMEDIATE")  # so that all events wait for the same commit
        answers: dict[str, int] = {}

        def post(name: str, event: dict[str, Any]) -> None:
            answers[name] = running.post(event).status

        good = [events() for _ in range(20)]
        bodies = {event["payload"]["recordingId"]: event for event in good} | {"poison": {"eventType": "POISON"}}
        threads = [threading.Thread(target=post, args=item) for item in bodies.items()]
        for thread in threads:
            thread.start()
        time.sleep(0.5)  # by then all but the first wait for the next commit; if not, the test holds all the same
        other.execute("ROLLBACK")
        for thread in threads:
            thread.join()
    assert answers.pop("poison") == 503
    assert set(answers.values()) == {200}
    assert kept(f"sqlite:///{file}") == set(answers)
    assert running.get("/healthz").status == 200


def test_health_recovers_without_an_event_once_the_inbox_accepts_writes(
    start_receiver: Start, events: Make, tmp_path: Path
) -> None:
    running = start_receiver()
    with contextlib.closing(sqlite3.connect(tmp_path / "inbox.sqlite3", isolation_level=None)) as other:
        other.execute("create trigger full before insert on inbox_events begin select raise(abort, 'x'); end")
        other.execute("create trigger full2 before update on inbox_about begin select raise(abort, 'x'); end")
        assert running.post(events()).status == 503
        assert running.get("/healthz").status == 503
        other.execute("drop trigger full")
        other.execute("drop trigger full2")
    # No proxy sends an event to an unhealthy receiver.
    assert running.get("/healthz").status == 200


def test_health_fails_while_events_are_rejected_and_other_writes_are_not(
    start_receiver: Start, events: Make, tmp_path: Path
) -> None:
    running = start_receiver()
    with contextlib.closing(sqlite3.connect(tmp_path / "inbox.sqlite3", isolation_level=None)) as other:
        other.execute("create trigger full before insert on inbox_events begin select raise(abort, 'x'); end")
        assert running.post(events()).status == 503
        assert [running.get("/healthz").status for _ in range(2)] == [503, 503]
        other.execute("drop trigger full")
    assert running.get("/healthz").status == 200
    assert running.post(events()).status == 200


def test_health_fails_while_the_disk_is_full_and_recovers_after_a_write(
    start_receiver: Start, events: Make, tmp_path: Path
) -> None:
    running = start_receiver()
    first, last = events(), events()
    assert running.post(first).status == 200
    pid, kind = running.process.pid, resource.RLIMIT_FSIZE
    before = resource.prlimit(pid, kind)
    written = (tmp_path / "inbox.sqlite3-wal").stat().st_size
    resource.prlimit(pid, kind, (written, before[1]))  # no file of the process can grow beyond this
    assert running.post(events()).status == 503
    assert [running.get("/healthz").status for _ in range(2)] == [503, 503]
    resource.prlimit(pid, kind, before)
    assert running.get("/healthz").status == 200  # a proxy would send no event
    assert running.post(last).status == 200
    assert kept(f"sqlite:///{tmp_path}/inbox.sqlite3") == {e["payload"]["recordingId"] for e in (first, last)}


def test_a_disk_that_fills_up_without_events_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callarchive.events.receiver.app._PROBE_AFTER_S", 0.0)
    inbox = Inbox.open(f"sqlite:///{tmp_path}/inbox.sqlite3")
    writer = Writer(inbox, Metrics(), room=9)
    receiver = Receiver({}, ReceiverSettings(), inbox=inbox, writer=writer, metrics=Metrics())
    request: Any = None

    async def health() -> int:
        answers = await asyncio.gather(*(receiver._health(request) for _ in range(5)))
        (status,) = {answer.status_code for answer in answers}
        return status

    try:
        assert asyncio.run(health()) == 200
        with contextlib.closing(sqlite3.connect(tmp_path / "inbox.sqlite3", isolation_level=None)) as other:
            other.execute("create trigger full before insert on inbox_events begin select raise(abort, 'x'); end")
            assert asyncio.run(health()) == 503
            other.execute("drop trigger full")
        assert asyncio.run(health()) == 200
        assert inbox.changes(0) == []
        assert inbox.statistics() == []
    finally:
        writer.close()
        inbox.close()


@pytest.mark.needs("initdb", "pg_ctl")
def test_a_killed_database_server_is_503_and_loses_no_acknowledged_event(
    start_receiver: Start, load: Any, own_postgresql_server: Any, events: Make
) -> None:
    with own_postgresql_server.database() as database:
        url = database.url.replace(f":{database.password}", "")
        running = start_receiver(inbox=url, environment={"PGPASSWORD": database.password})
        with load(lambda: running.port) as clients:
            time.sleep(0.5)
            own_postgresql_server.stop_at_once()
            before = len(clients.acknowledged)
            answer = running.post(events())
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert running.get("/healthz").status == 503
            own_postgresql_server.start()
            give_up_at = time.monotonic() + 30
            while running.get("/healthz").status != 200:
                assert time.monotonic() < give_up_at, running.log.read_text()
                time.sleep(0.1)
            time.sleep(0.5)
        assert 0 < before < len(clients.acknowledged)
        assert not set(clients.acknowledged) - kept(database.url)
        assert "Traceback" not in running.log.read_text()
        assert database.password not in running.log.read_text()
        running.process.terminate()
        assert running.process.wait(30) == 0


def test_hundreds_of_dripping_connections_delay_nobody_and_are_dropped(start_receiver: Start, events: Make) -> None:
    running = start_receiver(receiver="headers_deadline_s = 3\nbody_deadline_s = 3")
    head = f"POST /webhooks/{OPEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        dripping = []
        for number in range(200):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=20))
            raw.sendall(head.encode() + (b"\r\n" if number % 2 else b"X-Slow: "))
            dripping.append(raw)

        def drip() -> None:
            while not stop.wait(0.2):
                for raw in dripping:
                    with contextlib.suppress(OSError):
                        raw.send(b"x")

        dripper = threading.Thread(target=drip)
        dripper.start()
        try:
            for _ in range(10):
                begun_at = time.monotonic()
                assert running.post(events()).status == 200
                assert time.monotonic() - begun_at < 1
            for raw in dripping:  # even while they keep sending
                with contextlib.suppress(ConnectionError):
                    while raw.recv(1000):
                        pass
        finally:
            stop.set()
            dripper.join()
    assert "Traceback" not in running.log.read_text()


def test_pipelined_and_odd_requests_get_a_response_or_a_closed_connection(start_receiver: Start, events: Make) -> None:
    running = start_receiver()
    body = json.dumps(events()).encode()
    good = f"POST /webhooks/{OPEN} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as raw:
        raw.sendall((good + b"\r\n" + body) * 3)
        received = b""
        while received.count(b" 200 OK") < 3:
            received += raw.recv(4000) or pytest.fail(received.decode())
    for odd in (
        b"\0" * 100,
        b"GET /" + b"x" * 100_000,
        b"POST /webhooks/x HTTP/9.9\r\n\r\n",
        good.replace(b"Content-Length: ", b"Content-Length: -") + b"\r\n",
        good.replace(b"Content-Length: ", b"Content-Length: 9" + b"9" * 30) + b"\r\n",
        good + b"Content-Length: 1\r\n\r\n",
        good + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /webhooks/%00%ff HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ):
        address = ("127.0.0.1", running.port)
        with contextlib.suppress(ConnectionError), socket.create_connection(address, timeout=15) as raw:
            raw.sendall(odd)
            answer = raw.recv(4000)
            assert not answer or 400 <= int(answer.split(b" ", 2)[1]) < 500, (odd[:80], answer)
    assert running.post(events()).status == 200
    assert "Traceback" not in running.log.read_text()
