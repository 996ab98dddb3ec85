"""A loopback server that responds as each test defines, even wrongly, and records its requests."""

import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from callarchive.settings import AccountSettings, LookupSettings
from callarchive.voice_api.client import VoiceClient

NOW = datetime(2026, 11, 2, 6, tzinfo=UTC)
KEY = "key-T0P-secret-7f3a"


@dataclass(frozen=True)
class ReceivedRequest:
    """A received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    peer: tuple[str, int]


@dataclass
class Reply:
    """A response to send. `framing` announces its end; `cut` truncates the body to that many bytes."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    framing: str = "length"
    cut: int | None = None
    pieces: list[bytes] | None = None
    """Raw bytes instead of a response, `every_s` apart."""
    every_s: float = 0.0
    wait_s: float = 0.0

    @property
    def payload(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "FaultyServer"

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def log_message(self, *args: object) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {key.lower(): value for key, value in self.headers.items()}
        ask = ReceivedRequest(self.command, self.path, headers, body, time.monotonic(), self.client_address)
        with self.server.lock:
            self.server.received.append(ask)
        reply = self.server.answer(ask)
        # In many of these tests the client hangs up.
        with contextlib.suppress(OSError):
            self._send(reply)

    do_GET = do_POST = do_DELETE = do_PUT = _serve  # noqa: N815 - http.server's names

    def _send(self, reply: Reply) -> None:
        if self.server.stopping.wait(reply.wait_s):
            return
        if reply.pieces is not None:
            self.close_connection = True
            for piece in reply.pieces:
                self.connection.sendall(piece)
                if self.server.stopping.wait(reply.every_s):
                    return
            return
        payload = reply.payload
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.framing == "length":
            self.send_header("Content-Length", str(len(payload)))
        elif reply.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            payload = b"%x\r\n%s\r\n0\r\n\r\n" % (len(payload), payload)
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if reply.cut is not None:
            payload = payload[: reply.cut]
            self.close_connection = True
        if reply.framing == "close":
            self.close_connection = True
        self.wfile.write(payload)


class FaultyServer(http.server.ThreadingHTTPServer):
    """A server that responds with `answer`, which a test sets."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.received: list[ReceivedRequest] = []
        self.connections: list[socket.socket] = []
        self.stopping = threading.Event()
        self.answer: Callable[[ReceivedRequest], Reply] = lambda _: Reply(404)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reply_with(self, *replies: Reply) -> None:
        """Send one reply after the other, and repeat the last."""
        left = list(replies)

        def answer(_: ReceivedRequest) -> Reply:
            with self.lock:
                return left.pop(0) if len(left) > 1 else left[0]

        self.answer = answer

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that hang up."""

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


@contextlib.contextmanager
def _running() -> Iterator[FaultyServer]:
    server = FaultyServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with _running() as running:
        yield running


@pytest.fixture
def other_server() -> Iterator[FaultyServer]:
    with _running() as running:
        yield running


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def slept() -> list[float]:
    """Return the list of pauses of clients of `make_client`, which do not really sleep unless given a `sleep`."""
    return []


@pytest.fixture
def make_client(
    server: FaultyServer, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., VoiceClient]]:
    """Yield a maker of clients of `server`, with options of AccountSettings and LookupSettings."""
    monkeypatch.setenv("TEST_API_KEY", KEY)
    made: list[VoiceClient] = []

    def make(*, sleep: Callable[[float], None] = slept.append, **options: Any) -> VoiceClient:
        lookup_options = {key: options.pop(key) for key in list(options) if key in LookupSettings.model_fields}
        account = {
            "subaccount_id": "acme_sg",
            "api_url": server.url,
            "api_key": {"env": "TEST_API_KEY"},
            "requests_per_second": 100_000,
            "landing": "s3://acme-recordings",
            "session_sources": [{"kind": "log_export"}],
        } | options
        client = VoiceClient(
            AccountSettings.model_validate(account),
            LookupSettings.model_validate({"timeout_s": 5, "deadline_s": 20, "export_deadline_s": 60} | lookup_options),
            clock=lambda: NOW,
            sleep=sleep,
        )
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
