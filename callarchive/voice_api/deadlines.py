"""Deadlines that hold even when a response drips.

The time-out of a socket is per read, so a server that sends a byte now and then keeps a caller for ever. Here a
watchdog shuts the socket down when the deadline has passed, whatever part of the response is being read.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

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
