"""The HTTP/1.1 server of the simulated API, and the effects of faults on the bytes that it sends."""

import json
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock
from typing import Any, Protocol

from callarchive.simulator.faults import Fault

_MAX_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, and the fault that affects it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None

    @classmethod
    def of(cls, status: int, value: Any) -> "Reply":
        """Return a reply with a JSON body."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


class Answering(Protocol):
    """A function that answers requests."""

    def __call__(self, method: str, target: str, *, authorization: str | None, body: bytes) -> Reply:
        """Return the response to a request."""


class HttpServer(ThreadingHTTPServer):
    """A server that can close its kept-alive connections, and so end their threads."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Answering) -> None:
        self.answer = answer
        self.stopping = Event()
        self._connections: set[socket.socket] = set()
        self._resets: set[socket.socket] = set()
        self._lock = Lock()
        super().__init__(address, _Handler)

    def remember(self, connection: socket.socket) -> None:
        """Register a connection for `hang_up`."""
        with self._lock:
            self._connections.add(connection)
        if self.stopping.is_set():
            _shut(connection)

    def forget(self, connection: socket.socket) -> None:
        """Deregister a connection that its own thread is about to close."""
        with self._lock:
            self._connections.discard(connection)

    def reset(self, connection: socket.socket) -> None:
        """End the connection with RST, without a FIN before it."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self._lock:
            self._resets.add(connection)

    def hang_up(self) -> None:
        """Shut down all connections, which ends their threads."""
        self.stopping.set()
        with self._lock:
            for connection in self._connections:
                _shut(connection)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._lock:
            to_reset = request in self._resets
            self._resets.discard(request)
        if to_reset:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that hung up, and print any other error, which is a bug here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client closed it first


class _Handler(BaseHTTPRequestHandler):
    """One connection. Replies are buffered, because a separate header would wait for the client's delayed ACK."""

    protocol_version = "HTTP/1.1"
    server_version = "simulated-8x8"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    server: HttpServer

    def setup(self) -> None:
        super().setup()
        self.server.remember(self.connection)

    def finish(self) -> None:
        self.server.forget(self.connection)
        try:
            super().finish()
        except OSError:  # the client is gone
            self.rfile.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server gives it
        """Log nothing: `SimulatedApi.requests` is the log."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._send(Reply.of(413, {"statusCode": "1413", "statusMessage": "Body too large"}))
            return
        body = self.rfile.read(int(length))
        self._send(
            self.server.answer(self.command, self.path, authorization=self.headers.get("Authorization"), body=body)
        )

    def _send(self, reply: Reply) -> None:
        fault = reply.fault or Fault()
        if fault.delay_s:
            self.server.stopping.wait(fault.delay_s)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if fault.broken == "no_length":
            self.send_header("Connection", "close")
        elif reply.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        body = b"" if self.command == "HEAD" else reply.body
        if fault.broken is None:
            self.wfile.write(body)
        elif fault.broken == "drip":
            self._drip(body, fault.seconds)
        else:
            self._send_broken(body, fault)

    def _drip(self, body: bytes, seconds_per_byte: float) -> None:
        for position in range(len(body)):
            self.wfile.write(body[position : position + 1])
            self.wfile.flush()
            if self.server.stopping.wait(seconds_per_byte):
                return

    def _send_broken(self, body: bytes, fault: Fault) -> None:
        whole = fault.broken == "no_length" and fault.at_bytes is None
        half = len(body) if whole else len(body) // 2
        at = half if fault.at_bytes is None else fault.at_bytes
        self.wfile.write(body[:at])
        self.wfile.flush()
        if fault.broken == "stall":
            self.server.stopping.wait(fault.seconds)
            self.wfile.write(body[at:])
            return
        self.close_connection = True
        if fault.broken == "reset":
            self.server.reset(self.connection)
