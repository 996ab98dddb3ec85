"""Requests that the receiver accepts and refuses, over real sockets."""

import contextlib
import json
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callarchive.events.inbox.inbox import Inbox

ACCOUNT, OPEN = "acme_sg", "open.to%26all"
AUTH = "Bearer s3cret-of-the-receiver"
PHONE = "6591234567"
Start = Callable[..., Any]
Make = Callable[..., dict[str, Any]]


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Inbox]:
    inbox = Inbox.open(f"sqlite:///{folder}/inbox.sqlite3")
    try:
        yield inbox
    finally:
        inbox.close()


def test_an_event_is_in_the_inbox_at_the_response_200_and_repeats_are_one(
    start_receiver: Start, events: Make, tmp_path: Path
) -> None:
    running, event = start_receiver(), events()
    assert [running.post(event).status for _ in range(3)] == [200, 200, 200]
    with opened(tmp_path) as inbox:
        (kept,) = inbox.events_of(event["payload"]["recordingId"])
    assert kept.subaccount_id == ACCOUNT
    assert kept.delivery_count == 3


def test_a_trailing_slash_in_the_url_makes_no_difference(start_receiver: Start, events: Make) -> None:
    running, event = start_receiver(), events()
    assert running.post(event, path="/webhooks/acme_sg/").status == 200
    assert running.post(event, path="/webhooks/acme_sg/", auth=None).status == 401
    assert running.post(event, path="/webhooks/nobody/").status == 404
    assert b'callarchive_events_total{account="acme_sg",kind="recording"} 1.0' in running.get("/metrics").body


def test_events_in_any_order_give_the_same_state(start_receiver: Start, events: Make, tmp_path: Path) -> None:
    running = start_receiver()
    session, recording = str(uuid.uuid1()), str(uuid.uuid1())
    recordings = [
        events(session, recording, status=word) for word in ("UPLOAD_COMPLETED", "PROCESSING", "CALLBACK_COMPLETED")
    ]
    summaries = [
        {"eventType": "SESSION_SUMMARY", "payload": {"sessionId": session, "sessionStatus": word}}
        for word in ("NO ANSWER", "COMPLETED", "CANCELLED")
    ]
    both = [*recordings, *summaries] * 2
    random.Random(5).shuffle(both)
    assert {running.post(event).status for event in both} == {200}
    with opened(tmp_path) as inbox:
        (found,) = inbox.recordings(ACCOUNT, [session])
        assert found.status == "CALLBACK_COMPLETED"
        at = inbox.changes(0)[0].call_at
        assert at is not None
        (known,) = inbox.sessions(ACCOUNT, at, at.replace(year=at.year + 1))
    assert known.summary is not None
    assert known.summary.session_status == "COMPLETED"


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"path": "/webhooks/nobody"}, 404),
        ({"path": "/webhooks/acme_sg/more"}, 404),
        ({"path": "/"}, 404),
        ({"auth": None}, 401),
        ({"auth": AUTH + "x"}, 401),
        ({"auth": AUTH.lower()}, 401),
        ({"auth": ""}, 401),
        ({"method": "GET"}, 405),
        ({"headers": {"Content-Encoding": "gzip"}}, 415),
    ],
)
def test_unauthorized_requests_are_refused(start_receiver: Start, events: Make, options: Any, status: int) -> None:
    answer = start_receiver().post(events(), **options)
    assert answer.status == status
    assert answer.status in {405, 404} or answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b'"text"',
        b"[" * 100_000,
        json.dumps({"eventType": "SESSION_SUMMARY"}).encode(),
        json.dumps({"eventType": "CALL_RECORDING_STATUS", "payload": {"sessionId": "x", "recordingId": "y"}}).encode(),
        json.dumps({"eventType": "X", "payload": [0] * 20_000}).encode(),
        json.dumps(
            {"eventType": "SESSION_SUMMARY", "payload": {"sessionId": str(uuid.uuid1()), "subAccountId": "other"}}
        ).encode(),
    ],
)
def test_bodies_that_are_not_an_event_of_the_account_are_400(
    start_receiver: Start, body: bytes, tmp_path: Path
) -> None:
    running = start_receiver()
    assert running.post(body).status == 400
    with opened(tmp_path) as inbox:
        assert inbox.latest_number() == 0


def test_a_long_body_is_413_by_its_length_and_in_chunks(start_receiver: Start) -> None:
    running = start_receiver(receiver="max_body_bytes = 2000")
    assert running.post(b"x" * 2001).status == 413
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as raw:
        head = f"POST /webhooks/{OPEN} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode() + (b"400\r\n" + b"x" * 0x400 + b"\r\n") * 2)
        assert b" 413 " in raw.recv(200)


def test_two_authorization_headers_are_refused_even_if_one_is_right(start_receiver: Start, events: Make) -> None:
    running = start_receiver()
    body = json.dumps(events()).encode()
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as raw:
        head = f"POST /webhooks/{ACCOUNT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        head += f"Authorization: {AUTH}\r\nAuthorization: {AUTH}\r\n\r\n"
        raw.sendall(head.encode() + body)
        assert b" 401 " in raw.recv(200)


def test_an_account_without_a_header_is_logged_at_the_start_and_accepts_events(
    start_receiver: Start, events: Make
) -> None:
    running = start_receiver()
    assert "open.to&all: accepts events from anyone" in running.log.read_text()
    assert running.post(events(), path=f"/webhooks/{OPEN}", auth=None).status == 200


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ("18.140.80.2", 200),
        ("203.0.113.9", 403),
        ("18.140.80.2, 203.0.113.9", 403),  # the left entry may be forged
        ("203.0.113.9, 18.140.80.2", 200),
        ("18.140.80.2:4711", 200),
        ("::ffff:18.140.80.2", 200),
        ("nonsense", 403),
        (None, 403),
    ],
)
def test_the_allow_list_sees_through_the_trusted_proxy(
    start_receiver: Start, events: Make, forwarded: str | None, status: int
) -> None:
    running = start_receiver(receiver='allow_from = ["8x8-singapore"]\ntrusted_proxies = ["127.0.0.1"]')
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    assert running.post(events(), headers=headers).status == status


def test_the_header_of_an_untrusted_proxy_is_ignored(start_receiver: Start, events: Make) -> None:
    running = start_receiver(receiver='allow_from = ["8x8-singapore"]')
    assert running.post(events(), headers={"X-Forwarded-For": "18.140.80.2"}).status == 403


def test_a_slow_body_runs_into_the_deadline(start_receiver: Start) -> None:
    running = start_receiver(receiver="body_deadline_s = 0.5")
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as raw:
        raw.sendall(f"POST /webhooks/{OPEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert b" 408 " in raw.recv(300)
        assert raw.recv(300) in (b"", b"timeout while reading the body\n")


def test_endless_headers_run_into_the_deadline(start_receiver: Start) -> None:
    running = start_receiver(receiver="headers_deadline_s = 0.5")
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as raw:
        raw.sendall(b"POST /webhooks/x HTTP/1.1\r\nX-Slow: ")
        with contextlib.suppress(ConnectionError):
            assert raw.recv(300) == b""


def test_two_hundred_slow_connections_delay_no_other_request(start_receiver: Start, events: Make) -> None:
    running = start_receiver()
    with contextlib.ExitStack() as stack:
        for number in range(200):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=20))
            head = f"POST /webhooks/{OPEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            raw.sendall(head.encode() + (b"\r\n{" if number % 2 else b"X-Slow: "))
        waits = []
        for _ in range(10):
            begun_at = time.monotonic()
            assert running.post(events()).status == 200
            waits.append(time.monotonic() - begun_at)
    assert max(waits) < 1


def test_a_flood_gets_retry_after_and_accepted_events_are_kept(
    start_receiver: Start, events: Make, tmp_path: Path
) -> None:
    running = start_receiver(receiver="max_in_flight = 1")
    answers: list[Any] = []

    def flood() -> None:
        answers.extend(running.post(events()) for _ in range(20))

    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as raw:
        raw.sendall(f"POST /webhooks/{OPEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        time.sleep(0.3)
        threads = [threading.Thread(target=flood) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {answer.status for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"1"}
    for _ in range(50):
        if running.post(events()).status == 200:
            break
        time.sleep(0.1)
    with opened(tmp_path) as inbox:
        assert inbox.latest_number() == 1


def test_an_inbox_that_rejects_writes_is_503_and_recovers(start_receiver: Start, events: Make, tmp_path: Path) -> None:
    running = start_receiver()
    assert running.post(events()).status == 200
    with contextlib.closing(sqlite3.connect(tmp_path / "inbox.sqlite3", isolation_level=None)) as other:
        other.execute("ALTER TABLE inbox_events RENAME TO elsewhere")
        answer = running.post(events())
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert running.get("/healthz").status == 503
        other.execute("ALTER TABLE elsewhere RENAME TO inbox_events")
    assert running.post(events()).status == 200
    assert running.get("/healthz").status == 200


def test_events_of_unknown_types_are_stored_and_counted(start_receiver: Start, tmp_path: Path) -> None:
    running = start_receiver()
    assert running.post({"eventType": "SOMETHING_NEW", "payload": {"x": 1}}).status == 200
    assert running.post({"nothing": "of the kind"}).status == 200
    with opened(tmp_path) as inbox:
        assert inbox.unknown_events() == {"SOMETHING_NEW": 1, "": 1}
        assert inbox.changes(0) == []


def test_metrics_name_only_configured_accounts(start_receiver: Start, events: Make) -> None:
    running = start_receiver()
    running.post(events())
    for number in range(5):
        running.post(events(), path=f"/webhooks/stranger-{number}")
    text = running.get("/metrics").body.decode()
    assert 'callarchive_events_total{account="acme_sg",kind="recording"} 1.0' in text
    assert 'callarchive_refused_requests_total{reason="account"} 5.0' in text
    assert "stranger" not in text


def test_logs_contain_no_secret_no_payload_and_no_phone_number(start_receiver: Start, events: Make) -> None:
    running = start_receiver()
    session_id = str(uuid.uuid1())
    summary = {
        "eventType": "SESSION_SUMMARY",
        "payload": {"sessionId": session_id, "details": {"callA": {"source": PHONE, "destination": int(PHONE)}}},
    }
    assert running.post(summary).status == 200
    running.post(summary, auth="Bearer wrong-secret")
    running.post(b'{"phone": "' + PHONE.encode() + b'"')
    log = running.log.read_text()
    assert "refused, HTTP 401" in log
    assert not [word for word in (PHONE, AUTH, "wrong-secret", session_id) if word in log]


def test_a_flood_of_invalid_http_does_not_fill_the_log(start_receiver: Start) -> None:
    running = start_receiver()
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as raw:
            raw.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
            assert raw.recv(20).startswith(b"HTTP/1.1 400")
    # A slow machine, which needs ten seconds for this, logs it again.
    assert 1 <= running.log.read_text().count("Invalid HTTP request") < 5


def test_phone_numbers_are_dropped_before_events_are_stored(start_receiver: Start, tmp_path: Path) -> None:
    running, session = start_receiver(), str(uuid.uuid1())
    legs = {"callA": {"source": PHONE, "destination": int(PHONE)}, "callB": {"msisdn": f"+{PHONE}"}}
    assert (
        running.post({"eventType": "SESSION_SUMMARY", "payload": {"sessionId": session, "details": legs}}).status == 200
    )
    running.process.terminate()
    running.process.wait(20)
    assert PHONE.encode() not in b"".join(file.read_bytes() for file in tmp_path.glob("inbox.sqlite3*"))


def serve(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from callarchive.cli import main; main()", "webhooks", "serve", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_failed_start_is_one_message(start_receiver: Start, tmp_path: Path) -> None:
    running = start_receiver()
    taken = serve(tmp_path, "--port", str(running.port), RECEIVER_AUTH="x")
    assert taken.returncode == 1
    assert f"cannot listen on 127.0.0.1, port {running.port}" in taken.stderr
    unset = serve(tmp_path, "--port", "0")
    assert unset.returncode == 2
    assert "accounts.0.webhooks.auth_header: the environment variable RECEIVER_AUTH is not set" in unset.stderr
    for done in (taken, unset):
        assert "Traceback" not in done.stderr


def test_only_the_owner_can_read_the_inbox(start_receiver: Start, events: Make, tmp_path: Path) -> None:
    running = start_receiver()
    running.post(events())
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("inbox.sqlite3*")} == {0o600}
