"""Deadlines that hold: over several attempts, and over an answer that drips.

The time-out of a socket is per read, so a server that sends a byte now and then keeps a caller for ever. Here a
watchdog shuts the socket down when the deadline has passed, whatever part of the answer is being read.
What is sent, and what an answer means, is decided in `transport`.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class Deadline:
    """A span of time that is used up. Not thread-safe: one belongs to one call.

    Seconds asked of the injected `sleep` count as passed even if it returns at once, so a test that does not sleep sees
    the same waits and the same end.
    """

    def __init__(self, seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.seconds = seconds
        self._sleep = sleep
        self._ends_at = time.monotonic() + seconds

    @property
    def remaining_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._ends_at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.remaining_s == 0

    def at_most(self, seconds: float) -> "Deadline":
        """A deadline of its own, no later than this one."""
        return Deadline(min(seconds, self.remaining_s), sleep=self._sleep)

    def sleep(self, seconds: float) -> None:
        """`seconds` have passed, or what is left if that is less."""
        wait_s = min(seconds, self.remaining_s)
        begun_at = time.monotonic()
        self._sleep(wait_s)
        self._ends_at -= max(0.0, wait_s - (time.monotonic() - begun_at))

    def extend(self, seconds: float) -> None:
        """Time that passed for reasons of our own, such as the rate cap, is given back."""
        self._ends_at += seconds


_watch: ContextVar["_Watch | None"] = ContextVar("_watch", default=None)


class _Watch:
    """The socket of one request under way, once it is known."""

    __slots__ = ("barked", "ends_at", "socket")

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.socket: socket.socket | None = None
        self.barked = False

    def bark(self) -> None:
        self.barked = True
        if self.socket is not None:
            # The base class's method: SSLSocket's own also forgets its TLS state under the reading thread's feet.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class Watchdog:
    """Ends requests whose deadline has passed by shutting down their sockets. Thread-safe; one thread for all."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._watched: set[_Watch] = set()
        self._thread: threading.Thread | None = None
        self._wakes_at = float("inf")
        self._closed = False

    @contextlib.contextmanager
    def watching(self, seconds: float) -> Iterator[_Watch]:
        """Requests sent in this thread, inside the block, over watched connections, end within `seconds`."""
        watch = _Watch(time.monotonic() + seconds)
        with self._wake:
            self._watched.add(watch)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="http-deadlines", daemon=True)
                self._thread.start()
            elif watch.ends_at < self._wakes_at:
                self._wake.notify()
        token = _watch.set(watch)
        try:
            yield watch
        finally:
            _watch.reset(token)
            with self._wake:
                self._watched.discard(watch)

    def close(self) -> None:
        """The thread has ended. May be called twice."""
        with self._wake:
            self._closed = True
            thread, self._thread = self._thread, None
            self._wake.notify()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        with self._wake:
            while not self._closed:
                now = time.monotonic()
                for watch in [watch for watch in self._watched if watch.ends_at <= now]:
                    watch.bark()
                    # Again shortly: the connection may only just have been made.
                    watch.ends_at = now + 0.05
                self._wakes_at = min((watch.ends_at for watch in self._watched), default=float("inf"))
                self._wake.wait(None if self._wakes_at == float("inf") else max(0.0, self._wakes_at - now))


class WatchedConnection(HTTPConnection):
    """A connection that tells the watch of the thread that uses it which socket to shut down."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        _note(self)
        return super().getresponse()


class WatchedTlsConnection(HTTPSConnection):
    """The same over TLS."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        _note(self)
        return super().getresponse()


def _note(connection: HTTPConnection) -> None:
    """The socket itself is kept: http.client forgets it while the body of a closing connection is still being read."""
    watch = _watch.get()
    if watch is not None:
        watch.socket = connection.sock
