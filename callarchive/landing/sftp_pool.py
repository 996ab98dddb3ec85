"""The SFTP sessions that the threads of a landing share: a few connections, several sessions on each.

Servers bound both (OpenSSH: MaxSessions 10 a connection, MaxStartups 10 connections that have not logged in yet), so
connections are made one after the other and filled before the next is made; a server that allows less is taken at its
word. What is asked of a session is not known here.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from callarchive.errors import ArchiveError, UnavailableError
from callarchive.landing.sftp_connection import Connection, LogInCutOffError, SessionRefusedError
from callarchive.landing.sftp_session import SftpSession

SESSIONS_PER_CONNECTION = 8
CONNECTIONS_MAX = 8

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Slot:
    """A connection and how many of its sessions are open or being opened. Guarded by the pool's lock.

    Attributes:
        proved: a session was opened on it. Until then only one thread tries, and the others wait for the outcome.
    """

    connection: Connection
    room: int = SESSIONS_PER_CONNECTION
    sessions: int = 0
    proved: bool = False
    retired: bool = False

    @property
    def serves(self) -> bool:
        return not self.retired and self.connection.alive


_CONNECT = _Slot(None)  # type: ignore[arg-type]


class SessionPool:
    """Hands out sessions, each to one thread at a time, and makes connections as they are needed. Thread-safe.

    Args:
        connect: makes a connection; raises what `sftp_connection.connect` raises.
        uri: the server, for messages.
        sessions_max: how many sessions may be open at once.
        attempts: how often a connection, or the first session on one, is tried before the server counts as unavailable.
        backoff_s: how long is waited before the second attempt; twice as long before each further one.
        outage_s: how long a server that counts as unavailable is not tried again, by any thread.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        uri: str,
        sessions_max: int,
        attempts: int,
        backoff_s: float,
        outage_s: float,
    ) -> None:
        self._connect = connect
        self._uri = uri
        self._sessions_max = sessions_max
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._outage_s = outage_s
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._slots: list[_Slot] = []
        self._idle: list[SftpSession] = []
        self._homes: dict[SftpSession, _Slot] = {}
        self._connecting = False
        self._connections_max = CONNECTIONS_MAX
        self._useless_in_a_row = 0  # connections on which not even one session could be opened
        self._outages = 0
        self._outage_until = 0.0
        self._outage: ArchiveError | None = None

    def acquire(self, *, wait_s: float) -> SftpSession:
        """A session for the calling thread alone, to be given back with `release`.

        Raises:
            UnavailableError: the server cannot be reached, no session became free in `wait_s`, or the pool is closed.
            AccessDeniedError, HostKeyError, ConfigurationError: as `connect` raises them.
        """
        until = time.monotonic() + wait_s
        outages = self._outages
        failures = 0
        while True:
            with self._changed:
                found = self._find(outages)
                while found is None:
                    left_s = until - time.monotonic()
                    if left_s <= 0:
                        raise UnavailableError(f"{self._uri}: no session became free within {wait_s:g} s")
                    self._changed.wait(left_s)
                    found = self._find(outages)
            if isinstance(found, SftpSession):
                return found
            if found is _CONNECT:
                self._add_connection()
                continue
            try:
                session = self._open_session(found)
            except UnavailableError:
                failures += 1
                if failures >= self._attempts:
                    raise
            else:
                if session is not None:
                    return session

    def release(self, session: SftpSession) -> None:
        """The session is free for another thread; if it cannot be used any more, it is closed instead.

        After silence its connection gets no new sessions: it may be dead altogether.
        """
        with self._changed:
            slot = self._homes.get(session)
            if slot is not None and session.usable and slot.serves and not self._closing.is_set():
                self._idle.append(session)
            elif slot is not None:
                del self._homes[session]
                slot.sessions -= 1
                slot.retired = slot.retired or session.silent
                slot = None
            self._changed.notify_all()
        if slot is None:
            session.close()
            with self._changed:
                self._prune()

    def close(self) -> None:
        """All connections are closed; threads that wait for a session or a reply stop waiting."""
        self._closing.set()
        with self._changed:
            slots, self._slots = self._slots, []
            self._idle.clear()
            self._changed.notify_all()
        for slot in slots:
            slot.connection.close()

    def pause(self, seconds: float) -> None:
        """So much time has passed, or the pool was closed."""
        self._closing.wait(seconds)

    def _find(self, outages: int) -> SftpSession | _Slot | None:
        """What the caller may do next: use this session, open one on this connection, connect (`_CONNECT`), or wait.

        A place on the connection, or the right to connect, is then taken. The lock is held.
        """
        self._prune()
        if self._closing.is_set():
            raise UnavailableError(f"{self._uri}: the landing was closed")
        while self._idle:
            session = self._idle.pop()
            if session.usable:
                return session
            self._homes.pop(session).sessions -= 1
        serving = [slot for slot in self._slots if slot.serves]
        tried = self._outages != outages or time.monotonic() < self._outage_until
        if self._outage is not None and tried and not serving:
            # Another thread has just tried. Each further refusal of a password brings a lock-out nearer, and so may
            # a hundred log-ins to a server that is out of order.
            raise type(self._outage)(str(self._outage)) from self._outage
        if sum(slot.sessions for slot in self._slots) < self._sessions_max:
            for slot in serving:
                if slot.sessions < (slot.room if slot.proved else 1):
                    slot.sessions += 1
                    return slot
            wanted = len(serving) < self._connections_max and (not serving or any(slot.proved for slot in serving))
            if wanted and not self._connecting:
                self._connecting = True
                return _CONNECT
        return None

    def _prune(self) -> None:
        """Only connections that still serve somebody are kept. The lock is held."""
        kept = []
        for slot in self._slots:
            if not slot.serves:
                for session in [session for session in self._idle if self._homes[session] is slot]:
                    self._idle.remove(session)
                    del self._homes[session]
                    slot.sessions -= 1
                slot.retired = True
            if slot.retired and slot.sessions <= 0:
                slot.connection.close()
            else:
                kept.append(slot)
        self._slots = kept
        if not kept:
            self._connections_max = CONNECTIONS_MAX

    def _add_connection(self) -> None:
        """There is one more connection, unless the server allows no more or the pool was closed. `_connecting` is ours."""
        connection = None
        try:
            connection = self._try_connecting()
        except ArchiveError as err:
            with self._changed:
                self._note_outage(err)
            raise
        finally:
            with self._changed:
                self._connecting = False
                if connection is not None and not self._closing.is_set():
                    self._slots.append(_Slot(connection))
                    connection = None
                self._changed.notify_all()
        if connection is not None:
            connection.close()  # the pool was closed meanwhile

    def _note_outage(self, err: ArchiveError) -> None:
        """Threads that wait now, and after UnavailableError those that come soon, get the same error. The lock is held."""
        self._outages += 1
        self._outage = err
        self._useless_in_a_row = 0
        if isinstance(err, UnavailableError):
            self._outage_until = time.monotonic() + self._outage_s

    def _try_connecting(self) -> Connection | None:
        if self._useless_in_a_row:
            self._closing.wait(self._backoff_s * 2 ** (self._useless_in_a_row - 1))
        for attempt in range(1, self._attempts + 1):
            try:
                return self._connect()
            except UnavailableError as err:
                with self._changed:
                    serving = sum(slot.serves for slot in self._slots)
                    if serving:
                        # One more may simply be more than the server wants.
                        self._connections_max = serving
                        _log.debug("%s: staying with %d connections: %s", self._uri, serving, err)
                        return None
                    last = attempt == self._attempts or isinstance(err, LogInCutOffError)
                    if last or self._closing.is_set():
                        raise
                _log.debug("%s: attempt %d of %d: %s", self._uri, attempt, self._attempts, err)
            if self._closing.wait(self._backoff_s * 2 ** (attempt - 1)):
                break
        return None

    def _open_session(self, slot: _Slot) -> SftpSession | None:
        """A session on the connection, null when that can have no more. A place on it was taken already.

        Raises:
            UnavailableError: the connection is broken, or has never opened a session and there is no other.
        """
        try:
            session = slot.connection.open_session()
        except UnavailableError as err:
            with self._changed:
                slot.sessions -= 1
                slot.room = slot.sessions
                full = isinstance(err, SessionRefusedError) and slot.serves
                if not full or slot.room <= 0:
                    slot.retired = True
                others = sum(other.serves for other in self._slots)
                if full and others:
                    self._connections_max = others if slot.retired else self._connections_max
                    _log.debug("%s: %d sessions on a connection: %s", self._uri, slot.room, err)
                elif not slot.proved and not others:
                    self._useless_in_a_row += 1
                    if self._useless_in_a_row >= self._attempts:
                        self._note_outage(err)
                self._prune()
                self._changed.notify_all()
            if full and others:
                return None
            raise
        with self._changed:
            self._homes[session] = slot
            slot.proved = True
            self._useless_in_a_row = 0
            self._outage = None
            self._changed.notify_all()
        if self._closing.is_set():
            self.release(session)
            return None
        return session
