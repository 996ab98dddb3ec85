"""Faults in the delivery of alerts: damaged memory, certificates, endless responses, two processes."""

import contextlib
import http.server
import json
import logging
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from callarchive.domain.errors import ConfigurationError
from callarchive.monitoring.alerts import Alert, Alerts, check_channels
from callarchive.settings import AlertSettings
from callarchive.storage.stores.opening import open_store

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PASSWORD, TOKEN = "pass-word-of-mail", "tok-en-of-hook"
ALERT = Alert("checks_failed", "2026-11-19", "2026-11-19: 2 checks fail", ("lookups_succeeded: 3 of 9",))


class Smtp(socketserver.ThreadingTCPServer):
    """Offers STARTTLS where it has a certificate, rejects one command, and ends the session wrongly."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, context: ssl.SSLContext | None, refuses: bytes = b"") -> None:
        self.words: list[bytes] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    self.talk()
                self.connection.close()

            def talk(self) -> None:
                self.wfile.write(b"220 sink\r\n")
                while line := self.rfile.readline():
                    word = line.split()[0].upper()
                    outer.words.append(word)
                    if word == b"EHLO":
                        self.wfile.write(b"250-sink\r\n250-AUTH PLAIN\r\n" + (b"250-STARTTLS\r\n" if context else b""))
                        self.wfile.write(b"250 OK\r\n")
                    elif word == b"STARTTLS" and context is not None:
                        self.wfile.write(b"220 go\r\n")
                        self.connection = context.wrap_socket(self.request, server_side=True)
                        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                    elif word == b"DATA":
                        self.wfile.write(b"354 go\r\n")
                        while self.rfile.readline() != b".\r\n":
                            pass
                        self.wfile.write(b"250 ok\r\n")
                    elif word == refuses:
                        self.wfile.write(b"535 " + line)
                    else:
                        self.wfile.write(b"250 ok\r\n")

        super().__init__(("127.0.0.1", 0), Handler)


class Web(http.server.ThreadingHTTPServer):
    """Accepts posts; never ends its response if `endless`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.posted: list[tuple[dict[str, str], Any]] = []
        self.endless = False
        self.over = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posted.append((dict(self.headers), json.loads(body)))
                self.send_response(200)
                self.send_header("Content-Length", "1000000" if outer.endless else "0")
                self.end_headers()
                if outer.endless:
                    outer.over.wait(60)

            def log_message(self, *_: object) -> None:
                return

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def serve() -> Iterator[Callable[[Any], Any]]:
    with contextlib.ExitStack() as running:

        def start(server: Any) -> Any:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            running.callback(server.server_close)
            running.callback(thread.join)
            running.callback(server.shutdown)
            thread.start()
            return server

        yield start


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS with a certificate that it made itself, and that certificate."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, format_, none = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, format_, none))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


def alerts(folder: Path, **channels: Any) -> Alerts:
    return Alerts(AlertSettings(**channels), store=open_store(f"file://{folder}/catalog"), clock=lambda: NOW)


def by_mail(folder: Path, server: Smtp, **more: Any) -> Alerts:
    smtp = {"host": "localhost", "port": server.server_address[1], "sender": "a@acme.example"}
    return alerts(folder, smtp={**smtp, "recipients": ["b@acme.example"], **more})


def by_web(folder: Path, server: Web, *, max_per_hour: int = 10, **more: Any) -> Alerts:
    webhook = {"url": f"http://127.0.0.1:{server.server_port}/{TOKEN}", **more}
    return alerts(folder, webhook=webhook, max_per_hour=max_per_hour)


def test_an_untrusted_certificate_is_rejected_and_no_password_is_sent(
    serve: Any, certified: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    server = serve(Smtp(certified[0]))
    alerts_ = by_mail(tmp_path, server, username="u", password={"env": "MAIL_PASSWORD"})
    error = alerts_.send_test(ALERT)["smtp"]
    assert error is not None
    assert error.startswith("alerts.smtp: localhost: invalid certificate: self")
    assert {b"AUTH", b"MAIL"}.isdisjoint(server.words)


def test_a_login_uses_tls_and_its_error_does_not_show_the_password(
    serve: Any, certified: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context, certificate = certified
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    server = serve(Smtp(context, refuses=b"AUTH"))
    with caplog.at_level(logging.DEBUG):
        assert not by_mail(tmp_path, server, username="u", password={"env": "MAIL_PASSWORD"}).send(ALERT)
    assert server.words[:4] == [b"EHLO", b"STARTTLS", b"EHLO", b"AUTH"]
    assert b"MAIL" not in server.words
    assert "localhost rejected alerts.smtp.username and password" in caplog.text
    assert PASSWORD not in caplog.text
    assert by_mail(tmp_path, server).send(ALERT), "without a login, over the same TLS"


@pytest.mark.parametrize("refused", [b"MAIL", b"RCPT"])
def test_a_rejected_mail_is_one_clear_error(serve: Any, tmp_path: Path, refused: bytes) -> None:
    error = by_mail(tmp_path, serve(Smtp(None, refuses=refused)), security="none").send_test(ALERT)["smtp"]
    assert error is not None
    assert error.startswith("alerts.smtp: localhost rejected the mail: SMTP")


@pytest.mark.parametrize(
    "security",
    ["tls", "starttls"],
)
def test_a_server_that_is_down_or_has_no_tls_is_one_clear_error(serve: Any, tmp_path: Path, security: str) -> None:
    server = serve(Smtp(None))
    error = by_mail(tmp_path, server, security=security).send_test(ALERT)["smtp"]
    assert error is not None
    assert error.startswith("alerts.smtp: localhost")
    gone = by_mail(tmp_path, server, security=security, port=9).send_test(ALERT)["smtp"]
    assert gone == "alerts.smtp: localhost, port 9: Connection refused"


def test_the_configured_header_is_sent_even_with_a_netrc(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("ALERT_HEADER", f"Bearer {TOKEN}")
    server = serve(Web())
    assert by_web(tmp_path, server, auth_header={"env": "ALERT_HEADER"}).send(ALERT)
    ((headers, body),) = server.posted
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert body == {
        "kind": "checks_failed",
        "key": "2026-11-19",
        "title": ALERT.title,
        "text": f"{ALERT.title}\n\nlookups_succeeded: 3 of 9",
        "lines": ["lookups_succeeded: 3 of 9"],
    }


def test_an_endless_response_blocks_nothing(serve: Any, tmp_path: Path) -> None:
    server = serve(Web())
    server.endless = True
    sent: list[bool] = []
    thread = threading.Thread(target=lambda: sent.append(by_web(tmp_path, server).send(ALERT)))
    thread.start()
    thread.join(10)
    server.over.set()
    thread.join()
    assert sent == [True]
    assert len(server.posted) == 1


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"told": [], "recent": 3, "held": "x"}',
        b'{"told": {"webhook|a|b": "yesterday"}, "recent": [], "held": 0}',
        b'{"told": {"webhook|a|b": "2026-11-20T11:00:00"}, "recent": [], "held": 0}',
        b'{"told": {"webhook|a|b": 7}, "recent": ["2026-11-20T11:00:00"], "held": 0}',
        b'{"told": {}, "recent": [], "held": null}',
        b'{"told": {}, "recent": [], "held": Infinity}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_memory_repeats_an_alert_and_fails_no_run(serve: Any, tmp_path: Path, damaged: bytes) -> None:
    server = serve(Web())
    alerts_ = by_web(tmp_path, server)
    state = tmp_path / "catalog" / "_alerts" / "sent.json"
    state.parent.mkdir(parents=True)
    state.write_bytes(damaged)
    assert alerts_.send(ALERT)
    assert not alerts_.send(ALERT)
    assert len(server.posted) == 1


def test_text_that_mail_cannot_encode_is_still_sent(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(Smtp(None))
    odd = Alert("run_failed", "x", "2026-11-19 \udcff\r\nBcc: c@d.example", ("no file /a/\udcff\udcfe", "ü" * 2000))
    assert by_mail(tmp_path, server, security="none").send(odd)
    assert server.words.count(b"RCPT") == 1
    assert "error" not in caplog.text.lower()


def test_without_a_writable_catalog_alerts_are_sent_within_the_limits(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "catalog").write_bytes(b"")
    server = serve(Web())
    # A run over many days sends each alert from an object of its own.
    sent = [by_web(tmp_path, server, max_per_hour=3).send(Alert("run_failed", f"day {n % 5}", "x")) for n in range(10)]
    assert sent == [True] * 3 + [False] * 7
    assert len(server.posted) == 3
    assert "only this process remembers which alerts were sent" in caplog.text
    # Its state is saved as soon as the catalog can be written.
    (tmp_path / "catalog").unlink()
    assert not by_web(tmp_path, server, max_per_hour=30).send(Alert("run_failed", "day 0", "x"))
    assert by_web(tmp_path, server, max_per_hour=30).send(Alert("run_failed", "day 9", "x"))
    assert set(json.loads((tmp_path / "catalog" / "_alerts" / "sent.json").read_bytes())["told"]) == {
        f"webhook|run_failed|day {n}" for n in (0, 1, 2, 9)
    }


def test_a_failure_that_is_only_logged_is_logged_without_numbers(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(Web())
    server.shutdown()
    server.server_close()
    assert not by_web(tmp_path, server).send(Alert("test", "x", "call of +65 9123 4567"))
    assert "was not delivered by webhook" in caplog.text
    assert "9123" not in caplog.text


def test_an_unset_secret_is_named_by_its_key_and_fails_no_run(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {
        "webhook": {"url": {"env": "NO_URL"}, "auth_header": {"env": "NO_HEADER"}},
        "smtp": {"host": "h", "username": "u", "password": {"env": "NO_PASS"}, "sender": "a@b", "recipients": ["c@d"]},
    }
    with pytest.raises(ConfigurationError) as caught:
        check_channels(AlertSettings.model_validate(settings))
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "alerts.webhook.url",
        "alerts.webhook.auth_header",
        "alerts.smtp.password",
    ]
    assert not alerts(tmp_path, webhook=settings["webhook"]).send(ALERT)
    assert "NO_URL is not set" in caplog.text


def test_two_processes_send_an_alert_once(serve: Any, tmp_path: Path) -> None:
    server = serve(Web())
    script = (
        "import sys; from datetime import UTC, datetime\n"
        "from callarchive.monitoring.alerts import Alert, Alerts\n"
        "from callarchive.settings import AlertSettings\n"
        "from callarchive.storage.stores.opening import open_store\n"
        "settings = AlertSettings(webhook={'url': sys.argv[1]})\n"
        "alerts = Alerts(settings, store=open_store('file://' + sys.argv[2]), clock=lambda: datetime.now(UTC))\n"
        "print(sum(alerts.send(Alert('test', str(n), 'x')) for n in range(5)))\n"
    )
    words = [sys.executable, "-c", script, f"http://127.0.0.1:{server.server_port}/x", str(tmp_path / "catalog")]
    children = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sent = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(sent) == 5
    assert sorted(body["key"] for _, body in server.posted) == ["0", "1", "2", "3", "4"]
