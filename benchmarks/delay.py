"""`python -m benchmarks.delay ROUND_TRIP_MS PORT`: relay connections to a local port with added latency.

Bytes arrive half a round trip after they were sent, in order and as fast as both ends accept them: the bandwidth is that of
loopback. A new connection costs a round trip before its first byte leaves, as TCP's handshake does. The relay is a separate
process, so that its CPU time is counted separately. It prints its port to standard output and exits at the end of standard
input.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import cast

import uvloop

from benchmarks.simulators import exit_on_stdin_eof


class Line:
    """A queue of actions, each executed `delay_s` after it was sent. The delay is constant, so they stay in order."""

    def __init__(self, delay_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay_s = delay_s
        self._pending: deque[tuple[float, Callable[[], None]]] = deque()

    def send(self, action: Callable[[], None]) -> None:
        """Execute the action after the delay."""
        due_at = self._loop.time() + self._delay_s
        if not self._pending:
            self._loop.call_at(due_at, self._arrive)
        self._pending.append((due_at, action))

    def _arrive(self) -> None:
        now = self._loop.time()
        while self._pending and self._pending[0][0] <= now:
            self._pending[0][1]()
            self._pending.popleft()
        if self._pending:
            self._loop.call_at(self._pending[0][0], self._arrive)


class Endpoint(asyncio.Protocol):
    """One side of a connection. It sends what it receives to its `other` side."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.other: Endpoint | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's transport is not a subclass; both set TCP_NODELAY
        for data in self._early:
            self.transport.write(data)
        self._early.clear()
        if self._ended:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        other = self.other
        assert other is not None
        self._line.send(lambda: other.write(data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._ended = True
        if self.other is not None:
            self._line.send(self.other.end)

    def write(self, data: bytes) -> None:
        """Write the bytes to this side's connection."""
        if self.transport is None:
            self._early.append(data)
        elif not self._ended and not self.transport.is_closing():
            self.transport.write(data)

    def end(self) -> None:
        """Close this side once everything has been written."""
        self._ended = True
        if self.transport is not None:
            self.transport.close()

    # A slow receiver pauses the sender, so that the relay buffers only what is in flight, never a whole file.

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class ClientEndpoint(Endpoint):
    """The client side. It connects to the server after the time of a TCP handshake."""

    def __init__(self, line: Line, round_trip_s: float, port: int) -> None:
        super().__init__(line)
        self._round_trip_s = round_trip_s
        self._port = port
        self.other = Endpoint(line)
        self.other.other = self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        loop = asyncio.get_running_loop()
        loop.call_later(self._round_trip_s, self._answered)
        loop.call_later(1.5 * self._round_trip_s, lambda: loop.create_task(self._connect()))

    def _answered(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        server_side = self.other
        assert server_side is not None
        try:
            await loop.create_connection(lambda: server_side, "127.0.0.1", self._port)
        except OSError:
            self._line.send(self.end)


async def _relay(round_trip_s: float, port: int) -> None:
    loop = asyncio.get_running_loop()
    line = Line(round_trip_s / 2)
    server = await loop.create_server(lambda: ClientEndpoint(line, round_trip_s, port), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Relay until the end of standard input."""
    round_trip_ms, port = sys.argv[1:]
    exit_on_stdin_eof()
    uvloop.run(_relay(float(round_trip_ms) / 1000, int(port)))


if __name__ == "__main__":
    main()
