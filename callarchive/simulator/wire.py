"""The HTTP/1.1 server of the simulated API, and the effects of faults on the bytes that it sends."""

import json
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any, Protocol

from callarchive.simulator.faults import Fault

_MAX_BODY_BYTES = 1 << 20
_RESET = struct.pack("ii", 1, 0)
"""The linger option with which closing a socket sends RST."""


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


class Answer(Protocol):
    """A function that answers requests."""

    def __call__(self, method: str, target: str, *, authorization: str | None, body: bytes) -> Reply:
        """Return the reply."""


class HttpServer(ThreadingHTTPServer):
    """A server that can close its kept-alive connections, and so end their threads."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Answer) -> None:
        self.answer = answer
        self.stopping = Event()
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its own thread."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """After `shutdown`, end all connections and so their threads."""
        self.stopping.set()
        for connection in list(self._connections):
            with suppress(OSError):  # the client closed it first
                connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        self._connections.discard(request)
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == _RESET:
            self.close_request(request)  # without the FIN of a shutdown before it
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that hung up, and print any other error, which is a bug here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection. Replies are buffered, because a separate header would wait for the client's delayed ACK."""

    protocol_version = "HTTP/1.1"
    server_version = "simulated-8x8"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    server: HttpServer

    def finish(self) -> None:
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
            return
        whole = fault.broken == "no_length" and fault.at_bytes is None
        at = len(body) if whole else len(body) // 2 if fault.at_bytes is None else fault.at_bytes
        self.wfile.write(body[:at])
        self.wfile.flush()
        if fault.broken == "stall":
            self.server.stopping.wait(fault.seconds)
            self.wfile.write(body[at:])
            return
        self.close_connection = True
        if fault.broken == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
