"""Deadlines that hold even if a response arrives byte by byte.

A socket's timeout is per read, so a server that sends a byte now and then would block a caller forever. A watchdog shuts the
socket down after the deadline, whatever part of the response is being read.
"""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from callarchive.voice_api.replies import Reply, response_of

_watch: ContextVar["_Watch | None"] = ContextVar("_watch", default=None)


class _Watch:
    """A running request and, once it is known, its socket."""

    __slots__ = ("ends_at", "socket", "timed_out")

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.socket: socket.socket | None = None
        self.timed_out = False

    def abort(self) -> None:
        """Fail the read in progress by shutting its socket down, and record that the deadline is the reason."""
        self.timed_out = True
        if self.socket is not None:
            # The base class's method: SSLSocket's own also drops its TLS state while another thread reads.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class Watchdog:
    """Aborts requests after their deadline by shutting down their sockets. Thread-safe; one thread for all."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._watched: set[_Watch] = set()
        self._thread: threading.Thread | None = None
        self._wakes_at = float("inf")
        self._closed = False

    @contextlib.contextmanager
    def watching(self, seconds: float) -> Iterator[_Watch]:
        """Abort requests of this thread over watched connections that take longer than `seconds` inside the block."""
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
        """End the thread. May be called twice."""
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
                    watch.abort()
                    # Repeat shortly: the connection may have been made only now.
                    watch.ends_at = now + 0.05
                self._wakes_at = min((watch.ends_at for watch in self._watched), default=float("inf"))
                self._wake.wait(None if self._wakes_at == float("inf") else max(0.0, self._wakes_at - now))


class _Watched:
    """A connection that registers its socket with the watch of the current thread."""

    response_class = Reply
    sock: socket.socket
    timeout: float | None

    def getresponse(self) -> urllib3.HTTPResponse:
        # Keep the socket itself: http.client drops it while the body of a closing connection is still being read.
        if (watch := _watch.get()) is not None:
            watch.socket = self.sock
        if (
            self.sock.gettimeout() != self.timeout
        ):  # setting it is a system call, in which other threads take the interpreter
            self.sock.settimeout(self.timeout)
        return response_of(http.client.HTTPConnection.getresponse(cast("http.client.HTTPConnection", self)))


class WatchedConnection(_Watched, HTTPConnection):  # type: ignore[misc]
    """A connection whose requests a `Watchdog` can abort."""


class WatchedTlsConnection(_Watched, HTTPSConnection):  # type: ignore[misc]
    """A `WatchedConnection` over TLS."""
