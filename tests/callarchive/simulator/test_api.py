"""The simulated API over HTTP: routes, keys and the bodies of 8x8's documentation page and OpenAPI file."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.world import Answer, Session, World

Ask = Callable[..., requests.Response]
A, B = "acme_sg", "b%26b.asia"

# Field names, written down from 8x8's documents.
RECORDING_FIELDS = {"recordingId", "subAccountId", "status", "externalFileUrl", "startRecordingTime"}
DOCUMENTED_STATUSES = {
    "PROCESSING",
    "PROCESSING_FAILED",
    "UPLOAD_COMPLETED",
    "UPLOAD_FAILED",
    "CALLBACK_COMPLETED",
    "CALLBACK_FAILED",
    "UNKNOWN",
    "completed",
}
CSV_HEADER = (
    "SessionId,CallId,AccountId,SubAccountId,Direction,SourceCountryCode,SourceCountry,SourceOperator,SourceMCC,"
    "SourceMNC,SourceEndpoint,DestinationCountryCode,DestinationCountry,DestinationOperator,DestinationMCC,"
    "DestinationMNC,DestinationEndpoint,InitiatedAt,ConnectedAt,DisconnectedAt,DurationInSec,Product,BillingUnit,"
    "BillingIncrement,BillableDurationInSec,UnitPrice,UnitPriceCurrency,TotalPriceOfCall,CallType,SipStatus,"
    "SessionStatus,CallStatus,TTSLength,MOS,Content"
)
PUSH = {"protocol": "SFTP", "host": "203.0.113.7", "port": 22, "username": "u", "password": "s3cr3t", "path": "/up/"}


@pytest.fixture
def ask(api: SimulatedApi) -> Iterator[Ask]:
    with requests.Session() as client:

        def asking(method: str, path: str, *, key: str | None = "key-of-acme", **rest: Any) -> requests.Response:
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            return client.request(method, f"{api.url}/api/v1/subaccounts/{path}", headers=headers, timeout=10, **rest)

        yield asking


def first(world: World, answer: Answer) -> Session:
    return next(session for session in world.sessions_of("acme_sg") if session.answer is answer)


def test_recordings_have_the_documented_fields(world: World, ask: Ask) -> None:
    spellings, durations, starts = set(), set(), set()
    for session in world.sessions_of("acme_sg"):
        answer = ask("GET", f"{A}/recordings/{session.session_id}")
        if session.answer is not Answer.RECORDINGS:
            continue
        assert answer.status_code == 200
        body = answer.json()
        assert (body["statusCode"], body["statusMessage"]) == (0, "ok")
        assert [each["recordingId"] for each in body["recordings"]] == [r.recording_id for r in session.recordings]
        for each in body["recordings"]:
            spelling = {"sessionId", "sessionid"} & set(each)
            assert set(each) - {"duration"} - spelling == RECORDING_FIELDS
            assert [each[key] for key in spelling] == [session.session_id]
            assert each["status"] in DOCUMENTED_STATUSES
            spellings |= spelling
            durations.add(type(each.get("duration")))
            starts.add(each["startRecordingTime"] == "1969-12-31T23:59:59.999Z")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each["startRecordingTime"])
    assert spellings == {"sessionId", "sessionid"}
    assert durations == {int, type(None)}
    assert starts == {True, False}


def test_there_are_three_responses_for_sessions_without_recordings(world: World, ask: Ask) -> None:
    missing = ask("GET", f"{A}/recordings/{first(world, Answer.NOT_FOUND).session_id}")
    assert missing.status_code == 404
    assert set(missing.json()) == {"errorId", "statusCode", "statusMessage", "timestamp"}
    assert ask("GET", f"{A}/recordings/{first(world, Answer.EMPTY_LIST).session_id}").json()["recordings"] == []
    assert ask("GET", f"{A}/recordings/{first(world, Answer.NULL_LIST).session_id}").json()["recordings"] is None


def test_a_session_is_found_in_any_case_and_only_in_its_own_account(world: World, ask: Ask) -> None:
    session_id = first(world, Answer.RECORDINGS).session_id
    assert ask("GET", f"{A}/recordings/{session_id.upper()}").status_code == 200
    assert ask("GET", f"{B}/recordings/{session_id}", key="key-of-b").status_code == 404


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("wrong", 401), ("key-of-b", 403), ("key-of-acme", 404)])
@pytest.mark.parametrize(
    "path", ["recordings/00000000-0000-1000-8000-000000000000", "messages/exports/none", "messages/download/none"]
)
def test_requests_without_the_right_key_are_refused(ask: Ask, path: str, key: str | None, status: int) -> None:
    assert ask("GET", f"{A}/{path}", key=key).status_code == status


def test_an_unknown_job_has_a_different_error_body(ask: Ask) -> None:
    for method in ("GET", "DELETE"):
        answer = ask(method, f"{A}/messages/exports/unknown")
        assert answer.status_code == 404
        assert set(answer.json()) == {"code", "message", "errorId", "timestamp"}
        assert answer.json()["code"] == 4018


def test_late_recordings_are_processing_until_they_are_ready(world: World, clock: MovableClock, ask: Ask) -> None:
    late = next(each for each in world.recordings if each.ready_at is not None and each.subaccount_id == "acme_sg")
    assert late.ready_at is not None

    def reported() -> dict[str, Any]:
        found = ask("GET", f"{A}/recordings/{late.session_id}").json()["recordings"]
        return next(each for each in found if each["recordingId"] == late.recording_id)

    clock.set(late.ready_at - timedelta(seconds=1))
    assert (reported()["status"], reported()["externalFileUrl"]) == ("PROCESSING", None)
    assert not late.has_file(clock())
    clock.advance(timedelta(seconds=1))
    assert (reported()["status"], reported()["externalFileUrl"]) == ("UPLOAD_COMPLETED", late.external_file_url)
    assert late.has_file(clock())


def test_the_push_configuration_never_contains_its_password(api: SimulatedApi, ask: Ask) -> None:
    shown = {key: value for key, value in PUSH.items() if key != "password"}
    shape = {"subAccountId": "acme_sg", **shown, "passwordSet": True, "statusCode": 0, "statusMessage": "ok"}
    assert ask("GET", f"{A}/recording-push-config").status_code == 404
    assert ask("POST", f"{A}/recording-push-config", json=PUSH).json() == shape
    assert ask("GET", f"{A}/recording-push-config").json() == shape
    config = api.push_config("acme_sg")
    assert config is not None
    assert config.password == "s3cr3t"
    assert "s3cr3t" not in repr(config)
    assert ask("DELETE", f"{A}/recording-push-config").json() == {"delete": True, **shape}
    assert ask("GET", f"{A}/recording-push-config").status_code == 404


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'{"protocol": "S3"}', b'{"protocol": "carrier pigeon"}'])
def test_an_invalid_body_is_422_with_a_status_code_as_string(ask: Ask, body: bytes) -> None:
    answer = ask("POST", f"{A}/recording-push-config", data=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"errorId", "statusCode", "statusMessage", "timestamp"}
    assert answer.json()["statusCode"] == "1001"


def test_webhooks_are_created_listed_and_deleted(api: SimulatedApi, ask: Ask) -> None:
    hook = {"type": "VRU", "url": "https://hooks.example/a", "httpAuthHeader": "Bearer hush"}
    webhook = {"type": "VRU", "url": "https://hooks.example/a", "enabled": True, "httpAuthHeaderAvailable": True}
    listed = {"subAccountId": "acme_sg", "count": 1, "webhooks": [webhook], "statusCode": 0, "statusMessage": "ok"}
    assert ask("GET", f"{A}/webhooks").json()["webhooks"] == []
    assert ask("POST", f"{A}/webhooks", json=hook).json() == listed
    assert ask("GET", f"{A}/webhooks").json() == listed
    assert [each.http_auth_header for each in api.webhooks("acme_sg")] == ["Bearer hush"]
    off = {"type": "VSS", "url": "https://hooks.example/b", "active": False}
    assert ask("POST", f"{A}/webhooks", json=off).json()["count"] == 2
    gone = {"subAccountId": "acme_sg", **webhook, "statusCode": 0, "statusMessage": "deleted"}
    assert ask("DELETE", f"{A}/webhooks/VRU").json() == gone
    assert ask("DELETE", f"{A}/webhooks/VRU").status_code == 404
    assert [each["enabled"] for each in ask("GET", f"{A}/webhooks").json()["webhooks"]] == [False]
    assert ask("POST", f"{A}/webhooks", json={**hook, "type": "XXX"}).status_code == 422


def export(ask: Ask, subaccount: str, key: str, **window: Any) -> tuple[list[str], list[str]]:
    """Run a job, and return its states and the text of its files."""
    started = ask("POST", f"{subaccount}/messages/exports", key=key, json=window)
    assert started.status_code == 202
    assert set(started.json()) == {"jobId"}
    states: list[str] = []
    while True:
        job = ask("GET", f"{subaccount}/messages/exports/{started.json()['jobId']}", key=key).json()
        states.append(job["status"])
        if job["status"] not in ("queued", "running"):
            break
        assert len(states) < 10
    texts = []
    for link in job.get("data", ()):
        path = link.split("/subaccounts/", 1)[1]
        assert ask("GET", path, key=None).status_code == 401
        answer = ask("GET", path, key=key)
        assert answer.headers["Content-Type"].startswith("text/csv")
        texts.append(answer.text)
    return states, texts


def test_an_export_has_each_leg_of_its_window_once_in_several_files(world: World, ask: Ask) -> None:
    states, texts = export(ask, A, "key-of-acme", **{"from": "2026-03-03", "to": "2026-03-05", "limit": 0})
    assert states == ["queued", "running", "succeeded"]
    assert len(texts) > 1
    assert {text.splitlines()[0] for text in texts} == {CSV_HEADER}
    rows = [row for text in texts for row in csv.DictReader(io.StringIO(text))]
    begin, end = datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC)
    expected = [
        leg for s in world.sessions_of("acme_sg") for leg in s.legs if begin <= leg.initiated_at <= end
    ]  # sessions of this account are all exported
    assert sorted(row["CallId"] for row in rows) == sorted(leg.call_id for leg in expected)
    by_call = {leg.call_id: leg for leg in expected}
    for row in rows:
        leg = by_call[row["CallId"]]
        assert row["SubAccountId"] == "acme_sg"
        assert datetime.fromisoformat(row["InitiatedAt"]) == leg.initiated_at
        assert row["SourceEndpoint"] == leg.source.digits
        assert int(row["DurationInSec"]) == leg.duration_s
        assert (row["ConnectedAt"] == "") == (row["CallStatus"] != "COMPLETED")


def test_an_account_may_export_times_without_an_offset_and_omit_sessions(world: World, ask: Ask) -> None:
    window = {"from": "2026-03-02T08:00:00+08:00", "to": "2026-03-09T00:00:00Z"}
    _, texts = export(ask, B, "key-of-b", **window)
    rows = [row for text in texts for row in csv.DictReader(io.StringIO(text))]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", row["InitiatedAt"]) for row in rows)
    exported = {row["SessionId"] for row in rows}
    assert exported == {session.session_id for session in world.sessions_of("b&b.asia") if session.exported}


def test_a_window_without_calls_is_empty(ask: Ask) -> None:
    states, texts = export(ask, A, "key-of-acme", **{"from": "2020-01-01", "to": "2020-01-02"})
    assert (states[-1], texts) == ("empty", [])


@pytest.mark.parametrize(
    "window",
    [
        {"from": "2026-03-05", "to": "2026-03-05"},
        {"from": "yesterday"},
        {"from": "2026-13-01"},
        {"to": "2026-03-05"},
        [1],
    ],
)
def test_an_invalid_window_is_rejected(ask: Ask, window: Any) -> None:
    assert ask("POST", f"{A}/messages/exports", json=window).status_code == 422


def test_a_job_can_be_cancelled_and_links_expire_after_30_days(ask: Ask, clock: MovableClock) -> None:
    window = {"from": "2026-03-03", "to": "2026-03-05"}
    job_id = ask("POST", f"{A}/messages/exports", json=window).json()["jobId"]
    assert ask("GET", f"{B}/messages/exports/{job_id}", key="key-of-b").status_code == 404
    cancelled = ask("DELETE", f"{A}/messages/exports/{job_id}")
    assert (cancelled.status_code, cancelled.content) == (204, b"")
    assert ask("GET", f"{A}/messages/exports/{job_id}").json() == {"status": "cancelled"}

    job_id = ask("POST", f"{A}/messages/exports", json=window).json()["jobId"]
    job = [ask("GET", f"{A}/messages/exports/{job_id}").json() for _ in range(3)][-1]
    assert set(job) == {"status", "data", "expires"}
    assert datetime.fromisoformat(job["expires"]) == clock() + timedelta(days=30)
    path = job["data"][0].split("/subaccounts/", 1)[1]
    assert ask("GET", path).status_code == 200
    clock.advance(timedelta(days=31))
    assert ask("GET", path).status_code == 404


def test_requests_are_recorded_without_their_keys(api: SimulatedApi, ask: Ask) -> None:
    ask("GET", f"{B}/webhooks", key="key-of-b")
    ask("POST", f"{A}/messages/exports", json={})
    recorded = [(request.method, request.path) for request in api.requests]
    assert recorded == [
        ("GET", "/api/v1/subaccounts/b%26b.asia/webhooks"),
        ("POST", "/api/v1/subaccounts/acme_sg/messages/exports"),
    ]
    assert "key-of" not in repr(api.requests)


def test_an_unknown_route_or_method_is_404(ask: Ask) -> None:
    assert ask("GET", f"{A}/unheard-of").status_code == 404
    assert ask("PUT", f"{A}/webhooks").status_code == 404


def test_connections_are_kept_alive_and_end_with_the_server(world: World) -> None:
    with requests.Session() as client:
        with SimulatedApi(world, keys={"acme_sg": "k"}) as api:
            ports = set()
            for _ in range(3):
                answer = client.get(f"{api.url}/x", stream=True, timeout=10)
                connection = answer.raw.connection
                assert connection is not None
                ports.add(connection.sock.getsockname()[1])
                assert answer.json()["statusCode"] == "1401"
            assert len(ports) == 1
        with pytest.raises(requests.ConnectionError):
            client.get(f"http://127.0.0.1:{answer.url.split(':')[2]}", timeout=10)
