"""`python -m benchmarks.delay ROUND_TRIP_MS PORT`: a way of that length to a port of this machine, for many connections.

What comes in at one end goes out at the other half a round trip later, in order and as fast as both ends take it: the
bandwidth is that of loopback, so only latency is added. A new connection costs a round trip of its own before its first
byte leaves, as TCP's handshake does. A process of its own, so that nobody's CPU time holds the delay's. It writes its port
to standard output and ends when its standard input does.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import cast

import uvloop

from benchmarks.stand_ins import end_with_input


class Line:
    """Acts under way: each is done `delay_s` after it was sent off. The delay is the same for all, so they stay in order."""

    def __init__(self, delay_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay_s = delay_s
        self._under_way: deque[tuple[float, Callable[[], None]]] = deque()

    def send(self, act: Callable[[], None]) -> None:
        """The act will be done."""
        due_at = self._loop.time() + self._delay_s
        if not self._under_way:
            self._loop.call_at(due_at, self._arrive)
        self._under_way.append((due_at, act))

    def _arrive(self) -> None:
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now:
            self._under_way[0][1]()
            self._under_way.popleft()
        if self._under_way:
            self._loop.call_at(self._under_way[0][0], self._arrive)


class End(asyncio.Protocol):
    """One side of a connection: what it receives is under way to its `other` side."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.other: End | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass; both set TCP_NODELAY
        for data in self._early:
            self.transport.write(data)
        self._early.clear()
        if self._ended:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        other = self.other
        assert other is not None
        self._line.send(lambda: other.give(data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._ended = True
        if self.other is not None:
            self._line.send(self.other.end)

    def give(self, data: bytes) -> None:
        """The bytes go out at this side."""
        if self.transport is None:
            self._early.append(data)
        elif not self._ended and not self.transport.is_closing():
            self.transport.write(data)

    def end(self) -> None:
        """This side is closed once everything given has gone out."""
        self._ended = True
        if self.transport is not None:
            self.transport.close()

    # Whoever does not take what is given stops the sender: the delay holds what is under way, never a whole file.

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class Entrance(End):
    """The side that a client connects to; the server is connected to when the handshake would have come through."""

    def __init__(self, line: Line, round_trip_s: float, port: int) -> None:
        super().__init__(line)
        self._round_trip_s = round_trip_s
        self._port = port
        self.other = End(line)
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
        exit_ = self.other
        assert exit_ is not None
        try:
            await loop.create_connection(lambda: exit_, "127.0.0.1", self._port)
        except OSError:
            self._line.send(self.end)


async def _relay(round_trip_s: float, port: int) -> None:
    loop = asyncio.get_running_loop()
    line = Line(round_trip_s / 2)
    server = await loop.create_server(lambda: Entrance(line, round_trip_s, port), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Relays until standard input ends."""
    round_trip_ms, port = sys.argv[1:]
    end_with_input()
    uvloop.run(_relay(float(round_trip_ms) / 1000, int(port)))


if __name__ == "__main__":
    main()
