"""The SFTP sessions that the threads of a landing share: few, on few connections.

One session carries many downloads. A second one helps with servers that process each session's requests in sequence, a second
connection on lines where one TCP stream is slow. Servers limit both (OpenSSH: MaxSessions 10 per connection, MaxStartups 10
connections that have not logged in yet), so they are opened one after the other, and threads share what the server allows.

A server that gives the handle of an open file to another one (Erlang's: to the third) cannot be shared: from then on each
session has one thread, which opens no more files and folders at once than the server kept apart.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from callarchive.domain.errors import AccessDeniedError, ArchiveError, UnavailableError
from callarchive.runtime.retry import Backoff
from callarchive.storage.landing.sftp.connection import Connection, SessionRefusedError
from callarchive.storage.landing.sftp.login import LogInCutOffError
from callarchive.storage.landing.sftp.session import SftpSession

CALLERS_PER_SESSION = 8
SESSIONS_PER_CONNECTION = 4
CONNECTIONS_MAX = 8

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Slot:
    """A connection and its sessions, each with the number of threads that use it. Guarded by the pool's lock.

    Attributes:
        room: the most sessions.
        proved: a session was opened on it.
        retired: it gets no new sessions.
    """

    connection: Connection
    room: int = SESSIONS_PER_CONNECTION
    callers: dict[SftpSession, int] = field(default_factory=dict)
    proved: bool = False
    retired: bool = False

    @property
    def session_count(self) -> int:
        return sum(callers > 0 or session.usable for session, callers in self.callers.items())

    @property
    def serves(self) -> bool:
        return not self.retired and self.connection.alive


class SessionPool:
    """Lends each session to several threads, and connects when needed. Thread-safe.

    Args:
        connect: returns a connection; raises what `connection.connect` raises.
        uri: the server, for messages.
        callers_max: the number of threads, which limits the number of sessions.
        attempts: the most attempts at a connection, or at the first session on one, before the server counts as unavailable.
        backoff: the pauses between attempts.
        outage_s: how long no thread tries a server that counts as unavailable or refused our log-in.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        uri: str,
        callers_max: int,
        attempts: int,
        backoff: Backoff,
        outage_s: float,
    ) -> None:
        self._connect = connect
        self._uri = uri
        self._callers_max = callers_max
        self._handles_max: int | None = None
        self._attempts = attempts
        self._backoff = backoff
        self._outage_s = outage_s
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._slots: list[_Slot] = []
        self._growing = False  # one thread at a time connects or opens a session
        self._connections_max = CONNECTIONS_MAX
        self._useless_in_a_row = 0  # connections on which not even one session could be opened
        self._outages = 0
        self._outage_until = 0.0
        self._outage: ArchiveError | None = None

    def acquire(self, *, wait_s: float) -> SftpSession:
        """Return the session with the fewest callers, to be returned with `release`.

        Raises:
            UnavailableError: the server is unreachable, there was no session within `wait_s`, or the pool is closed.
            AccessDeniedError, HostKeyError, ConfigurationError: as `connect` raises them.
        """
        until = time.monotonic() + wait_s
        outages = self._outages
        failures = 0
        while True:
            with self._changed:
                session = self._find(outages)
                while session is None and (self._growing or not self._has_room()):
                    left_s = until - time.monotonic()
                    if left_s <= 0:
                        raise UnavailableError(f"{self._uri}: no session was opened within {wait_s:g} s")
                    self._changed.wait(left_s)
                    session = self._find(outages)
                if session is not None:
                    session.handles_max = self._handles_max
                    return session
                self._growing = True
            try:
                self._grow()
            except UnavailableError:
                failures += 1
                if failures >= self._attempts or self._outages != outages:
                    raise
            finally:
                with self._changed:
                    self._growing = False
                    self._changed.notify_all()

    def release(self, session: SftpSession) -> None:
        """Return a session; an unusable one is closed by its last caller.

        After a time-out its connection gets no new sessions, because it may be dead.
        """
        with self._changed:
            for slot in self._slots:
                if session in slot.callers:
                    slot.callers[session] -= 1
                    slot.retired = slot.retired or session.silent
            if session.handles_kept_apart is not None and session.handles_max == self._handles_max:
                kept_apart = session.handles_kept_apart
                self._handles_max = max(1, min(kept_apart, (self._handles_max or kept_apart + 1) - 1))
                _log.info("%s: mixes up open files; at most %d at once in a session", self._uri, self._handles_max)
            if not session.usable or self._handles_max:
                self._changed.notify_all()
        if not session.usable:
            self._prune()

    def close(self) -> None:
        """Close all connections; threads that wait for a session or a reply get an error."""
        self._closing.set()
        with self._changed:
            slots, self._slots = self._slots, []
            self._changed.notify_all()
        for slot in slots:
            slot.connection.close()

    def pause(self, seconds: float) -> None:
        """Wait for this time, or until the pool is closed."""
        self._closing.wait(seconds)

    def _find(self, outages: int) -> SftpSession | None:
        """Return the session with the fewest callers, and count the new one; `None` if another should be opened first.

        The lock is held.
        """
        if self._closing.is_set():
            raise UnavailableError(f"{self._uri}: the landing was closed")
        serving = self._serving()
        usable = [(callers, slot, one) for slot in serving for one, callers in slot.callers.items() if one.usable]
        if self._handles_max:
            free = [found for found in usable if not found[0]]
            if usable and not free:
                return None
            usable = free
        if usable:
            callers, slot, session = min(usable, key=lambda found: found[0])
            if callers >= CALLERS_PER_SESSION and not self._growing and self._has_room():
                return None
            slot.callers[session] += 1
            return session
        tried = self._outages != outages or time.monotonic() < self._outage_until
        if self._outage is not None and tried and not serving:
            # Another thread has just tried. More refused passwords, or a hundred log-ins to a failing server, may lock us
            # out.
            raise type(self._outage)(str(self._outage)) from self._outage
        return None

    def _serving(self) -> list[_Slot]:
        return [slot for slot in self._slots if slot.serves]

    def _has_room(self) -> bool:
        """Return whether one more session may be tried. The lock is held."""
        serving = self._serving()
        callers_per_session = 1 if self._handles_max else CALLERS_PER_SESSION
        if sum(slot.session_count for slot in serving) >= math.ceil(self._callers_max / callers_per_session):
            return False
        return len(serving) < self._connections_max or any(slot.session_count < slot.room for slot in serving)

    def _prune(self) -> None:
        """Close and drop unusable sessions and connections without callers."""
        with self._changed:
            kept = []
            done: list[SftpSession | Connection] = []
            for slot in self._slots:
                unusable = [one for one, callers in slot.callers.items() if not callers and not one.usable]
                for session in unusable:
                    del slot.callers[session]
                if slot.serves or any(slot.callers.values()):
                    kept.append(slot)
                    done += unusable
                else:
                    done.append(slot.connection)
            self._slots = kept
            if not kept:
                self._connections_max = CONNECTIONS_MAX
            self._changed.notify_all()
        for one in done:
            one.close()

    def _grow(self) -> None:
        """Open one more session, unless the server allows no more or the pool is closed. `_growing` is ours.

        Raises:
            UnavailableError: the connection is broken, or has never opened a session and there is no other.
            AccessDeniedError, HostKeyError, ConfigurationError: as `connect` raises them.
        """
        self._prune()
        with self._changed:
            slot = next((slot for slot in self._serving() if slot.session_count < slot.room), None)
        if slot is None:
            try:
                connection = self._try_connecting()
            except ArchiveError as err:
                with self._changed:
                    self._note_outage(err)
                raise
            if connection is None:
                return
            slot = _Slot(connection)
            with self._changed:
                self._slots.append(slot)
        self._open_session(slot)
        if self._closing.is_set():
            slot.connection.close()  # it may have been added after the others were closed

    def _note_outage(self, err: ArchiveError) -> None:
        """Raise this error in waiting threads, and for a while in new ones. The lock is held."""
        self._outages += 1
        self._outage = err
        self._useless_in_a_row = 0
        if isinstance(err, UnavailableError | AccessDeniedError):
            self._outage_until = time.monotonic() + self._outage_s

    def _try_connecting(self) -> Connection | None:
        """Return a connection; `None` if the server allows no more, or the pool is closed."""
        if self._useless_in_a_row:
            self._closing.wait(self._backoff.pause_s(self._useless_in_a_row))
        for attempt in range(1, self._attempts + 1):
            try:
                return self._connect()
            except UnavailableError as err:
                with self._changed:
                    serving = len(self._serving())
                    if serving:
                        # The server may allow no more.
                        self._connections_max = serving
                        _log.debug("%s: staying with %d connections: %s", self._uri, serving, err)
                        return None
                    last = attempt == self._attempts or isinstance(err, LogInCutOffError)
                    if last or self._closing.is_set():
                        raise
                _log.debug("%s: attempt %d of %d: %s", self._uri, attempt, self._attempts, err)
            if self._closing.wait(self._backoff.pause_s(attempt)):
                break
        return None

    def _open_session(self, slot: _Slot) -> None:
        """Open one more session on the connection, unless it allows no more and another connection serves."""
        try:
            session = slot.connection.open_session()
        except UnavailableError as err:
            with self._changed:
                slot.room = slot.session_count
                full = isinstance(err, SessionRefusedError) and slot.serves
                slot.retired = slot.retired or not full or slot.room <= 0
                others = len(self._serving())
                if full and others:
                    self._connections_max = others if slot.retired else self._connections_max
                    _log.debug("%s: %d sessions on a connection: %s", self._uri, slot.room, err)
                elif not slot.proved and not others:
                    self._useless_in_a_row += 1
                    if self._useless_in_a_row >= self._attempts:
                        self._note_outage(err)
            self._prune()
            if not (full and others):
                raise
        else:
            with self._changed:
                slot.callers[session] = 0
                slot.proved = True
                self._useless_in_a_row = 0
                self._outage = None
