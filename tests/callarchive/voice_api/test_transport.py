"""The transport where no caller shows it: a full disk, and the causes of failures."""

import contextlib
import time
from pathlib import Path

import pytest

from callarchive.domain.errors import StoreError
from callarchive.settings import AccountSettings, LookupSettings
from callarchive.voice_api.transport import NoResponseError, Request, Transport


@pytest.fixture
def transport(server, now, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", "x")
    account = {
        "subaccount_id": "acme_sg",
        "api_url": server.url,
        "api_key": {"env": "TEST_API_KEY"},
        "landing": "s3://acme-recordings",
        "session_sources": [{"kind": "log_export"}],
    }
    made = Transport(AccountSettings.model_validate(account), LookupSettings(), clock=lambda: now, sleep=time.sleep)
    yield made
    made.close()


def test_a_full_disk_is_distinguished_from_a_bad_connection(server, reply, transport):
    server.reply_with(reply(body=b"x" * 300_000))
    request = Request(method="GET", url=f"{server.url}/file", save_to=Path("/dev/full"), limit_bytes=10**6)
    with pytest.raises(StoreError, match="No space left"):
        transport.send(request, deadline=transport.deadline(10))
    assert len(server.received) == 1


def test_a_saved_body_is_hashed_and_an_unsaved_one_is_not(server, reply, transport, tmp_path):
    server.reply_with(reply(body=b"abc"))
    saved = transport.send(
        Request(method="GET", url=server.url, save_to=tmp_path / "file"), deadline=transport.deadline(10)
    )
    # FIPS 180-2, appendix B.1
    assert saved.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert ((tmp_path / "file").read_bytes(), saved.body) == (b"abc", b"")
    held = transport.send(Request(method="GET", url=server.url), deadline=transport.deadline(10))
    assert (held.sha256, held.body) == (None, b"abc")


@pytest.mark.parametrize(("framing", "announced"), [("length", True), ("chunked", True), ("close", False)])
def test_a_response_shows_whether_its_end_was_announced(server, reply, transport, framing, announced):
    server.reply_with(reply(body=b"abc", framing=framing))
    response = transport.send(Request(method="GET", url=server.url), deadline=transport.deadline(10))
    assert response.end_announced is announced


def test_a_silent_api_is_tried_once_on_the_next_day_until_it_responds(server, reply, transport, monkeypatch):
    monkeypatch.setattr(transport, "_sleep", lambda _: None)

    def attempts(*replies, begin_day=True, most=6):
        if begin_day:
            transport.begin_day()
        server.reply_with(*replies)
        before = len(server.received)
        with contextlib.suppress(NoResponseError):
            transport.send(Request(method="GET", url=server.url, attempts=most), deadline=transport.deadline(60))
        return len(server.received) - before

    silence, busy, fine = reply(pieces=[]), reply(status=503), reply()
    assert attempts(silence, most=1) == 1
    assert attempts(silence) == 6
    assert attempts(silence, begin_day=False) == 6, "an outage within a day is waited for"
    assert attempts(silence) == 1
    assert attempts(silence) == 1
    assert attempts(busy, fine) == 2, "it responds again, so it is waited for"
    assert attempts(silence, fine, begin_day=False) == 2
    assert attempts(busy) == 6
    assert attempts(busy) == 6, "a response with an error is no silence"


def test_the_repr_shows_only_the_account(transport):
    assert repr(transport) == "Transport(account='acme_sg')"
