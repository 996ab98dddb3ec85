"""Lookups and the check of the API key, against a faulty server."""

import gzip
import ipaddress
import logging
import ssl
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from callarchive.domain.errors import AccessDeniedError, ConfigurationError, UnavailableError
from callarchive.domain.models import ApiStatus, LookupStatus
from callarchive.voice_api.api_key import ApiKey

SESSION = "e35e3d0e-065a-11ec-b119-676cb2bc33ef"
RECORDING = "eef54fc2-065a-11ec-bce9-ed1000154345"
OK = {"recordings": [{"recordingId": RECORDING, "sessionId": SESSION, "status": "PROCESSING"}], "statusCode": 0}
OK_TEXT = b'{"recordings": [{"recordingId": "eef54fc2-065a-11ec-bce9-ed1000154345", "status": "PROCESSING"}]}'


def head(status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_lookup_sends_the_key_and_the_encoded_account(server, make_client, reply, key, now):
    server.reply_with(reply(body=OK))

    found = make_client(subaccount_id="a&b.c").look_up(SESSION.upper())

    (ask,) = server.received
    assert (ask.method, ask.path) == ("GET", f"/api/v1/subaccounts/a%26b.c/recordings/{SESSION}")
    assert ask.headers["authorization"] == f"Bearer {key}"
    assert (found.session_id, found.status, found.looked_up_at) == (SESSION, LookupStatus.OK, now)
    assert [(r.recording_id, r.api_status) for r in found.recordings] == [(RECORDING, ApiStatus.PROCESSING)]


def test_a_prefix_in_the_api_url_is_kept(server, make_client, reply):
    server.reply_with(reply(404))
    make_client(api_url=f"{server.url}/gateway/").look_up(SESSION)
    assert server.received[0].path == f"/gateway/api/v1/subaccounts/acme_sg/recordings/{SESSION}"


@pytest.mark.parametrize(
    ("status", "body", "expected", "requested"),
    [
        (404, b'{"statusCode": "1404", "statusMessage": "Session not found"}', LookupStatus.NOT_FOUND, 1),
        (404, b"", LookupStatus.ERROR, 1),
        (404, b"<html>nothing", LookupStatus.ERROR, 1),
        (200, b'{"recordings": [], "statusCode": 0}', LookupStatus.NO_RECORDINGS, 1),
        (200, b'{"recordings": null, "statusCode": 0}', LookupStatus.NO_RECORDINGS, 1),
        (200, b'{"recordings": null}', LookupStatus.ERROR, 1),
        (200, b'{"statusCode": 0, "statusMessage": "ok"}', LookupStatus.ERROR, 1),
        (200, b'{"statusCode": 17, "statusMessage": "no"}', LookupStatus.ERROR, 1),
        (400, b"{}", LookupStatus.ERROR, 1),
        (422, b'{"statusCode": "1001"}', LookupStatus.ERROR, 1),
        (204, b"", LookupStatus.ERROR, 1),
        (304, b"", LookupStatus.ERROR, 1),
        (200, b"<html>", LookupStatus.ERROR, 6),
        (200, b"", LookupStatus.ERROR, 6),
        (500, b"{}", LookupStatus.ERROR, 6),
        (503, b"", LookupStatus.ERROR, 6),
        (408, b"", LookupStatus.ERROR, 6),
    ],
)
def test_each_status_has_its_meaning_and_only_temporary_ones_are_retried(
    server, make_client, reply, status, body, expected, requested
):
    server.reply_with(reply(status, body))
    found = make_client().look_up(SESSION)
    assert (found.status, found.http_status, len(server.received)) == (expected, status, requested)
    assert (found.error is not None) == (expected is LookupStatus.ERROR)
    assert not found.unreachable


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 429},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"body": OK_TEXT, "cut": 20},
        {"body": OK_TEXT, "framing": "chunked", "cut": 20},
        {"body": OK_TEXT, "framing": "chunked", "cut": len(OK_TEXT) + 6},
        {"body": OK_TEXT, "framing": "close", "cut": 20},
        {"body": gzip.compress(OK_TEXT)[:-12], "headers": {"Content-Encoding": "gzip"}},
        {"body": OK_TEXT, "headers": {"Content-Encoding": "gzip"}},
        {"pieces": []},
        {"pieces": [b"\x00\xff garbage\r\n\r\n"]},
        {"pieces": [head(Content_Length="5"), b"{}"]},
        {"pieces": [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n{}"]},
        {"pieces": [head(Transfer_Encoding="chunked"), b"-5\r\n{}\r\n0\r\n\r\n"]},
        {"pieces": [head(Transfer_Encoding="chunked"), b"zz\r\n"]},
        {"pieces": [b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(200)) + b"\r\n{}"]},
        {"pieces": [b"HTTP/1.1 200 OK\r\nlong: " + b"x" * 70_000 + b"\r\n\r\n{}"]},
    ],
)
def test_a_temporary_fault_does_not_affect_the_result(server, make_client, reply, fault):
    server.reply_with(reply(**fault), reply(body=OK_TEXT))
    found = make_client().look_up(SESSION)
    assert (found.status, len(server.received)) == (LookupStatus.OK, 2)


def test_complete_responses_are_read_in_any_framing(server, make_client, reply):
    client = make_client()
    for framing in ("length", "chunked", "close"):
        server.reply_with(reply(body=OK_TEXT, framing=framing))
        assert client.look_up(SESSION).status is LookupStatus.OK
    server.reply_with(reply(body=gzip.compress(OK_TEXT), headers={"Content-Encoding": "gzip"}))
    assert client.look_up(SESSION).body == OK_TEXT.decode()


def test_connections_are_reused(server, make_client, reply):
    server.reply_with(reply(body=OK))
    client = make_client()
    for _ in range(5):
        client.look_up(SESSION)
    assert len({ask.peer for ask in server.received}) == 1


def test_retry_after_is_obeyed_in_seconds_and_as_a_date(server, make_client, reply, slept, now):
    client = make_client()
    later = format_datetime(now + timedelta(seconds=11), usegmt=True)
    server.reply_with(
        reply(429, headers={"Retry-After": "7"}), reply(503, headers={"Retry-After": later}), reply(body=OK)
    )
    assert client.look_up(SESSION).status is LookupStatus.OK
    pauses = [pause for pause in slept if pause > 0.1]
    assert 7 <= pauses[0] <= 7.7
    assert 11 <= pauses[1] <= 12.1


@pytest.mark.parametrize("value", ["86400", "9" * 400, "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_an_excessive_retry_after_ends_only_this_lookup(server, make_client, reply, slept, value):
    server.answer = lambda ask: (
        reply(429, headers={"Retry-After": value}) if ask.path.endswith(SESSION) else reply(body={"recordings": []})
    )
    client = make_client()
    found = client.look_up(SESSION)
    assert (found.status, found.http_status, len(server.received)) == (LookupStatus.ERROR, 429, 1)
    assert "Retry-After" in (found.error or "")
    assert max(slept, default=0) < 1
    assert client.look_up(RECORDING).status is LookupStatus.NO_RECORDINGS


@pytest.mark.parametrize("value", ["", "soon", "-5", "Fri, 99 Foo 2026", "٣"])
def test_an_invalid_retry_after_is_ignored(server, make_client, reply, value):
    server.reply_with(
        reply(pieces=[b"HTTP/1.1 429 No\r\nContent-Length: 0\r\nRetry-After: " + value.encode() + b"\r\n\r\n"]),
        reply(body=OK),
    )
    assert make_client().look_up(SESSION).status is LookupStatus.OK


def test_status_429_is_retried_more_often_than_a_failure(server, make_client, reply):
    server.reply_with(*[reply(429, headers={"Retry-After": "0"})] * 12, reply(body=OK))
    assert make_client().look_up(SESSION).status is LookupStatus.OK


def test_pauses_grow_and_stay_within_the_deadline(server, make_client, reply, slept):
    server.reply_with(reply(500))
    make_client().look_up(SESSION)
    pauses = [pause for pause in slept if pause > 0.1]
    assert len(pauses) == 5
    for number, pause in enumerate(pauses):
        assert 0.125 * 2**number <= pause <= 0.25 * 2**number

    server.received.clear()
    slept.clear()
    found = make_client(deadline_s=1.0).look_up(SESSION)
    assert found.status is LookupStatus.ERROR
    assert sum(pause for pause in slept if pause > 0.1) < 1.0
    assert len(server.received) < 6


@pytest.mark.parametrize(
    "pieces",
    [
        [head(Content_Length="1000"), *([b" "] * 1000)],
        [head(), *([b" "] * 1000)],
        [head(Transfer_Encoding="chunked"), *([b"1\r\n{\r\n"] * 1000)],
        [b"HTTP/1.1 200 OK\r\n", *([b"X: y\r\n"] * 1000)],
        [bytes([byte]) for byte in b"HTTP/1.1 200 OK" + b" " * 1000],
    ],
)
def test_a_dripping_response_ends_at_the_deadline(server, make_client, reply, pieces):
    """Each piece arrives well within the read timeout; together they would take half a minute."""
    server.reply_with(reply(pieces=pieces, every_s=0.03))
    begun = time.monotonic()
    found = make_client(deadline_s=0.3, timeout_s=5).look_up(SESSION)
    assert time.monotonic() - begun < 10
    assert found.status is LookupStatus.ERROR
    assert "within 0.3 s" in (found.error or "")


def test_a_silent_server_is_unreachable_and_a_responding_one_is_not(server, make_client, reply):
    server.reply_with(reply(wait_s=30))
    silent = make_client(timeout_s=0.05, deadline_s=0.4).look_up(SESSION)
    assert (silent.status, silent.unreachable, silent.http_status) == (LookupStatus.ERROR, True, None)
    server.reply_with(reply(body=OK_TEXT, cut=3))
    assert not make_client().look_up(SESSION).unreachable
    server.reply_with(reply(500), reply(pieces=[]))
    half = make_client().look_up(SESSION)
    assert (half.unreachable, half.http_status) == (False, 500)


def test_a_refused_connection_and_an_unknown_host_are_unreachable(make_client, other_server):
    url = other_server.url
    other_server.server_close()
    refused = make_client(api_url=url).look_up(SESSION)
    assert refused.unreachable
    assert "Connection refused" in (refused.error or "")
    unknown = make_client(api_url="http://voice.invalid", deadline_s=3).look_up(SESSION)
    assert unknown.unreachable
    assert "cannot be resolved" in (unknown.error or "")


def test_an_endless_body_is_refused(server, make_client, reply):
    server.reply_with(reply(body=b" " * (10 * 1024 * 1024 + 1)))
    found = make_client().look_up(SESSION)
    assert found.status is LookupStatus.ERROR
    assert "longer than" in (found.error or "")
    assert len(server.received) == 1
    server.reply_with(reply(body=gzip.compress(b" " * (30 * 1024 * 1024)), headers={"Content-Encoding": "gzip"}))
    assert "longer than" in (make_client().look_up(SESSION).error or "")


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_key_stops_everything_after_one_request(server, make_client, reply, status):
    server.reply_with(reply(status, wait_s=0.1))
    client = make_client()
    errors = []

    def look_up(_):
        try:
            client.look_up(SESSION)
        except AccessDeniedError as err:
            errors.append(str(err))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(look_up, range(64)))
    assert len(errors) == 64
    assert len(server.received) == 1
    assert all("acme_sg" in text and "api_key" in text and "TEST_API_KEY" in text for text in errors)
    with pytest.raises(AccessDeniedError):
        client.check()
    assert len(server.received) == 1


def test_no_request_begins_before_a_rejection_is_recorded(server, make_client, reply, monkeypatch):
    server.reply_with(reply(401))
    reject = ApiKey.reject

    def reject_late(key, status):
        time.sleep(0.2)
        reject(key, status)

    monkeypatch.setattr(ApiKey, "reject", reject_late)
    client = make_client()

    def look_up(_):
        with pytest.raises(AccessDeniedError):
            client.look_up(SESSION)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look_up, range(4)))
    assert len(server.received) == 1


def test_a_key_revoked_later_stops_everything(server, make_client, reply):
    server.reply_with(reply(body=OK), reply(401))
    client = make_client()
    client.look_up(SESSION)
    for _ in range(3):
        with pytest.raises(AccessDeniedError):
            client.look_up(SESSION)
    assert len(server.received) == 2


def test_a_first_request_that_hangs_does_not_block_the_others(server, make_client, reply):
    hanging = threading.Event()

    def answer(ask):
        if ask.path.endswith(SESSION):
            hanging.set()
            return reply(wait_s=30)
        return reply(body={"recordings": []})

    server.answer = answer
    client = make_client(timeout_s=1, deadline_s=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.look_up, SESSION)
        hanging.wait(5)
        second = pool.submit(client.look_up, RECORDING)
        assert second.result(5).status is LookupStatus.NO_RECORDINGS
        assert first.result(5).unreachable


@pytest.mark.parametrize("bad", ["", "../../etc", "e35e3d0e", SESSION + "\n", "x" * 10_000, "é" * 36])
def test_an_invalid_id_is_never_sent(server, make_client, bad):
    found = make_client().look_up(bad)
    assert (found.status, server.received) == (LookupStatus.ERROR, [])
    assert "not a session id" in (found.error or "")
    assert len(found.error or "") < 120


def test_redirects_are_followed_within_the_origin_only(server, other_server, make_client, reply):
    client = make_client()
    server.answer = lambda ask: reply(body=OK) if ask.path == "/moved" else reply(301, headers={"Location": "/moved"})
    assert client.look_up(SESSION).status is LookupStatus.OK

    for target in (
        f"{other_server.url}/steal",
        f"http://localhost:{other_server.port}/steal",
        f"//127.0.0.1:{other_server.port}/steal",
        f"http://127.0.0.1:{server.port}@127.0.0.1:{other_server.port}/steal",
        f"https://127.0.0.1:{server.port}/",
        "http://[::1",
        "file:///etc/passwd",
        f"http://127.0.0.1:{server.port}\\@127.0.0.1:{other_server.port}/",
        "",
    ):
        server.received.clear()
        server.reply_with(reply(302, headers={"Location": target}))
        found = client.look_up(SESSION)
        assert (found.status, len(server.received)) == (LookupStatus.ERROR, 1), target
        assert "redirect" in (found.error or "")
    assert other_server.received == []
    server.reply_with(reply(302, headers={"Location": "https://evil.example/x"}))
    assert "evil.example" in (client.look_up(SESSION).error or "")


def test_a_redirect_loop_ends(server, make_client, reply):
    server.reply_with(reply(307, headers={"Location": "/again"}))
    assert make_client().look_up(SESSION).status is LookupStatus.ERROR
    assert len(server.received) == 4


def test_a_netrc_file_does_not_replace_the_key(server, make_client, reply, key, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.reply_with(reply(body=OK))
    make_client().look_up(SESSION)
    assert server.received[0].headers["authorization"] == f"Bearer {key}"


def test_a_proxy_of_the_environment_is_used(server, other_server, make_client, reply, monkeypatch):
    other_server.reply_with(reply(body=OK))
    monkeypatch.setenv("http_proxy", other_server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert make_client(api_url="http://voice.invalid").look_up(SESSION).status is LookupStatus.OK
    assert other_server.received[0].path.startswith("http://voice.invalid/api/v1/")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return a self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls_url(server, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server.url.replace("http:", "https:")


def test_an_invalid_certificate_is_reported_after_one_attempt(server, tls_url, make_client, slept):
    found = make_client(api_url=tls_url).look_up(SESSION)
    assert found.unreachable
    assert "certificate is invalid" in (found.error or "")
    assert (server.received, slept) == ([], [])


def test_responses_over_tls_are_read_and_dripping_ones_end(
    server, tls_url, certificate, make_client, reply, monkeypatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    server.reply_with(reply(body=OK))
    assert make_client(api_url=tls_url).look_up(SESSION).status is LookupStatus.OK
    server.reply_with(reply(pieces=[head(Content_Length="1000"), *[b" "] * 1000], every_s=0.03))
    begun = time.monotonic()
    found = make_client(api_url=tls_url, deadline_s=0.3).look_up(SESSION)
    assert time.monotonic() - begun < 10
    assert "within 0.3 s" in (found.error or "")


def test_cookies_are_not_kept(server, make_client, reply):
    server.reply_with(reply(body=OK, headers={"Set-Cookie": "a=b"}))
    client = make_client()
    client.look_up(SESSION)
    client.look_up(SESSION)
    assert "cookie" not in server.received[1].headers


def test_the_key_is_in_no_repr_log_or_exception(server, make_client, reply, key, caplog):
    caplog.set_level(logging.DEBUG)
    client = make_client()
    server.reply_with(reply(500), reply(pieces=[]), reply(302, headers={"Location": "https://evil.example/"}))
    texts = [repr(client), repr(client.look_up(SESSION))]
    server.reply_with(reply(401))
    with pytest.raises(AccessDeniedError) as denied:
        client.look_up(SESSION)
    texts += ["".join(traceback.format_exception(denied.value)), caplog.text]
    assert "acme_sg" in repr(client)
    assert all(key not in text for text in texts)


@pytest.mark.parametrize("bad", ["two words", "line\nend", "caf\u00e9", " begins-with-a-blank"])
def test_a_key_that_is_invalid_in_a_header_is_reported_and_not_shown(server, make_client, monkeypatch, bad):
    client = make_client()
    monkeypatch.setenv("TEST_API_KEY", bad)
    with pytest.raises(ConfigurationError, match="api_key of acme_sg") as err:
        client.look_up(SESSION)
    assert bad not in "".join(traceback.format_exception(err.value))
    assert server.received == []


def test_a_new_key_is_used_from_the_next_request(server, make_client, reply, monkeypatch):
    server.reply_with(reply(body=OK))
    client = make_client()
    client.look_up(SESSION)
    monkeypatch.setenv("TEST_API_KEY", "rotated")
    client.look_up(SESSION)
    assert server.received[1].headers["authorization"] == "Bearer rotated"


@pytest.mark.parametrize("status", [200, 404])
def test_an_accepted_key_passes_the_check(server, make_client, reply, status):
    server.reply_with(reply(status, b"{}"))
    make_client().check()
    assert [(ask.method, ask.path) for ask in server.received] == [
        ("GET", "/api/v1/subaccounts/acme_sg/recording-push-config")
    ]


@pytest.mark.parametrize("status", [301, 400, 500, 204])
def test_the_check_reports_unexpected_responses(server, make_client, reply, status):
    server.reply_with(reply(status))
    with pytest.raises(UnavailableError, match="acme_sg"):
        make_client().check()


def test_the_rate_cap_applies_to_all_threads_and_to_retries(server, make_client, reply):
    failed = set()

    def answer(ask):
        with server.lock:
            first = ask.path not in failed
            failed.add(ask.path)
        return reply(429, headers={"Retry-After": "0"}) if first and ask.path[-1] in "05a" else reply(body=b"{}")

    server.answer = answer
    client = make_client(requests_per_second=200, sleep=time.sleep)
    sessions = [f"e35e3d0e-065a-11ec-b119-676cb2bc{number:04x}" for number in range(64)]
    begun = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(client.look_up, sessions))
    times = sorted(ask.at for ask in server.received)
    assert len(times) == 64 + sum(1 for session in sessions if session[-1] in "05a")
    # Slot n is n/200 s after the first at the earliest, so no n + 1 requests can precede it.
    for number, at in enumerate(times):
        assert at >= begun + number / 200 - 0.001


def test_waiting_for_a_slot_does_not_use_up_the_deadline(server, make_client, reply):
    server.reply_with(reply(body=OK))
    client = make_client(requests_per_second=5, deadline_s=0.15, sleep=time.sleep)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(client.look_up, [SESSION] * 3))
    assert [lookup.status for lookup in found] == [LookupStatus.OK] * 3


def test_close_may_be_called_twice_and_leaves_no_thread(server, make_client, reply):
    before = set(threading.enumerate())
    server.reply_with(reply(body=OK))
    client = make_client()
    client.look_up(SESSION)
    client.close()
    client.close()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "http-deadlines"]
