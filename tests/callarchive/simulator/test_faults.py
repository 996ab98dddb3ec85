"""Each fault as a client sees it, and how faults are counted."""

import http.client
import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.faults import ANY, FOREVER, Fault, Faults
from callarchive.simulator.world import Answer, World

HEADERS = {"Authorization": "Bearer key-of-acme"}


@pytest.fixture
def session_id(world: World) -> str:
    return next(each.session_id for each in world.sessions_of("acme_sg") if each.answer is Answer.RECORDINGS)


@pytest.fixture
def url(api: SimulatedApi, session_id: str) -> str:
    return f"{api.url}/api/v1/subaccounts/acme_sg/recordings/{session_id}"


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.headers.update(HEADERS)
        yield opened


@pytest.mark.parametrize("status", [401, 403, 404, 500, 502, 503])
def test_a_status_applies_the_planned_number_of_times(
    api: SimulatedApi, client: requests.Session, url: str, session_id: str, status: int
) -> None:
    api.faults.add(Fault.answer(status), match=session_id, times=2)
    assert [client.get(url, timeout=10).status_code for _ in range(3)] == [status, status, 200]


def test_too_many_requests_has_retry_after(api: SimulatedApi, client: requests.Session, url: str) -> None:
    api.faults.add(Fault.too_many_requests(retry_after=86400))
    answer = client.get(url, timeout=10)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "86400")


@pytest.mark.parametrize(
    ("fault", "content_type", "content"),
    [
        (Fault.answer(body="<html>Sorry</html>"), "text/html; charset=utf-8", b"<html>Sorry</html>"),
        (Fault.answer(body={}), "application/json", b"{}"),
        (Fault.answer(body=b"\x00\xff"), "application/octet-stream", b"\x00\xff"),
        (Fault.answer(body=b"{", headers={"Content-Type": "application/json"}), "application/json", b"{"),
    ],
)
def test_a_reply_can_have_any_body(
    api: SimulatedApi, client: requests.Session, url: str, fault: Fault, content_type: str, content: bytes
) -> None:
    api.faults.add(fault)
    answer = client.get(url, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, content_type, content)


def raw_get(url: str, *, timeout_s: float = 10.0) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    connection.request("GET", parts.path, headers=HEADERS)
    return connection, connection.getresponse()


def test_a_short_body_ends_before_its_content_length(api: SimulatedApi, url: str) -> None:
    api.faults.add(Fault.short_body(at_bytes=10))
    connection, answer = raw_get(url)
    assert int(answer.headers["Content-Length"]) > 10
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    assert len(caught.value.partial) == 10
    connection.close()


def test_a_body_without_a_length_may_be_truncated_unnoticed(api: SimulatedApi, url: str) -> None:
    api.faults.add(Fault.no_length())
    api.faults.add(Fault.no_length(at_bytes=10))
    connection, answer = raw_get(url)
    assert "Content-Length" not in answer.headers
    whole = answer.read()
    assert json.loads(whole)["statusCode"] == 0
    connection.close()
    connection, answer = raw_get(url)
    assert answer.read() == whole[:10]
    connection.close()


def test_a_reset_breaks_the_body(api: SimulatedApi, url: str) -> None:
    api.faults.add(Fault.reset())
    connection, answer = raw_get(url)
    with pytest.raises(ConnectionResetError):
        answer.read()
    connection.close()


def test_a_stall_outlasts_the_timeout_of_the_client_but_not_the_server(world: World, session_id: str) -> None:
    with SimulatedApi(world, keys={"acme_sg": "key-of-acme"}) as api:
        api.faults.add(Fault.stall(at_bytes=10))
        connection, answer = raw_get(f"{api.url}/api/v1/subaccounts/acme_sg/recordings/{session_id}", timeout_s=0.2)
        assert answer.read(10) == b'{"recordin'
        with pytest.raises(TimeoutError):
            answer.read()
        connection.close()
        began = time.monotonic()
    assert time.monotonic() - began < 60  # an hour of stalling was not waited for


def test_the_rest_follows_after_a_stall(api: SimulatedApi, client: requests.Session, url: str) -> None:
    api.faults.add(Fault.stall(seconds=0.01))
    assert client.get(url, timeout=10).json()["statusCode"] == 0


def test_a_delayed_reply_is_unchanged(api: SimulatedApi, client: requests.Session, url: str) -> None:
    api.faults.add(Fault.delay(0.05))
    began = time.monotonic()
    assert client.get(url, timeout=10).status_code == 200
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "error", "empty"])
def test_an_export_job_has_the_planned_outcome(api: SimulatedApi, client: requests.Session, outcome: str) -> None:
    api.faults.add(Fault.export_job(outcome), match="exports")  # type: ignore[arg-type]
    exports = f"{api.url}/api/v1/subaccounts/acme_sg/messages/exports"
    window = {"from": "2026-03-03", "to": "2026-03-05"}
    for expected in (outcome, "succeeded"):
        job_id = client.post(exports, json=window, timeout=10).json()["jobId"]
        jobs = [client.get(f"{exports}/{job_id}", timeout=10).json() for _ in range(3)]
        assert [each["status"] for each in jobs] == ["queued", "running", expected]


def test_links_of_an_expired_export_are_404(api: SimulatedApi, client: requests.Session) -> None:
    api.faults.add(Fault.export_job("expired"))
    exports = f"{api.url}/api/v1/subaccounts/acme_sg/messages/exports"
    job_id = client.post(exports, json={"from": "2026-03-03", "to": "2026-03-05"}, timeout=10).json()["jobId"]
    job = [client.get(f"{exports}/{job_id}", timeout=10).json() for _ in range(3)][-1]
    assert job["status"] == "succeeded"
    assert client.get(job["data"][0], timeout=10).status_code == 404


def test_faults_apply_only_to_matching_requests(api: SimulatedApi, client: requests.Session, url: str) -> None:
    for match in ("download", "exports", "push-config", "webhooks", "b&b.asia", "POST"):
        api.faults.add(Fault.answer(500), match=match, times=FOREVER)
    base = f"{api.url}/api/v1/subaccounts"
    assert client.get(url, timeout=10).status_code == 200
    api.faults.add(Fault.answer(503), match="recordings")
    asked = {
        "recordings": client.get(url, timeout=10),
        "download": client.get(f"{base}/acme_sg/messages/download/x", timeout=10),
        "exports": client.get(f"{base}/acme_sg/messages/exports/x", timeout=10),
        "push-config": client.get(f"{base}/acme_sg/recording-push-config", timeout=10),
        "webhooks": client.get(f"{base}/acme_sg/webhooks", timeout=10),
        "account": client.get(f"{base}/b%26b.asia/recordings/x", timeout=10),
    }
    assert {name: answer.status_code for name, answer in asked.items()} == {
        **dict.fromkeys(asked, 500),
        "recordings": 503,
    }
    api.faults.clear()
    assert client.get(f"{base}/acme_sg/webhooks", timeout=10).status_code == 200


def test_faults_can_be_deferred_and_apply_in_the_order_in_which_they_were_added() -> None:
    faults = Faults()
    faults.add(Fault.answer(500), after=1)
    faults.add(Fault.answer(502), match="get", times=2)
    taken = [faults.take({"GET"}) for _ in range(4)]
    assert [None if fault is None else fault.status for fault in taken] == [502, 500, 502, None]


def test_a_fault_with_zero_times_is_rejected() -> None:
    with pytest.raises(ValueError, match="times"):
        Faults().add(Fault.answer(500), match=ANY, times=0)
