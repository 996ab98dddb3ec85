"""One SFTP session: an SSH channel that many threads share.

Each thread uses a `Caller`, which sends several requests in one round trip and waits for its own replies only, so a stalled
file delays no other. paramiko's thread passes replies on and never waits for a caller: unread replies stay with the caller,
whose requests bound them. Packets are in `messages`.
"""

import contextlib
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Self

import paramiko

from callarchive.domain.foreign_text import cleaned
from callarchive.storage.landing.sftp.messages import (
    CLOSE,
    HANDLE,
    INIT,
    READ_SIZE_MAX,
    VERSION,
    Reply,
    SessionLostError,
    not_sftp,
    string,
)
from callarchive.storage.landing.sftp.packet_reader import PACKET_MAX, PacketReader

_VERSION_SPOKEN = 3
_NUMBERS = 1 << 32


class SftpSession:
    """An SFTP session on an open channel whose `sftp` subsystem was started. Thread-safe once `start` has returned.

    Attributes:
        read_size: the size of one READ, learned from the server's replies.
        stall_timeout_s: how long a caller waits without a reply.
        silent: whether a caller timed out; the connection may be dead, too.
        handles_max: how many handles may be open at once; `None` if there is no limit.
        handles_kept_apart: how many were open when the server gave one of them to another file; `None` as long as it has not.
    """

    def __init__(self, channel: paramiko.Channel, *, stall_timeout_s: float) -> None:
        self.read_size = READ_SIZE_MAX
        self.stall_timeout_s = stall_timeout_s
        self.silent = False
        self.handles_max: int | None = None
        self.handles_kept_apart: int | None = None
        self._channel = channel
        self._outbox: list[bytes] = []
        self._sending = threading.Lock()
        self._booking = threading.Lock()  # guards what follows up to `_loss`; held for moments only
        self._number = 0
        self._callers: dict[int, Caller | None] = {}  # by request, in order; None: the reply is dropped
        self._handles: set[bytes] = set()  # open at the server
        self._closing: dict[int, bytes] = {}  # by request
        self._due = 0  # number of awaited replies
        self._loss: SessionLostError | None = None
        self._retired = False
        self._begun = threading.Event()  # VERSION has arrived, or the session is lost
        self._packets = channel.in_buffer = PacketReader(self._dispatch, self._lose)
        if channel.closed or channel.eof_received:
            self._packets.close()

    @property
    def usable(self) -> bool:
        """Whether the session takes new requests."""
        return self._loss is None and not self._retired and not self._channel.closed

    @property
    def alive(self) -> bool:
        """Whether replies may still arrive."""
        return self._loss is None

    def start(self, *, deadline: float) -> None:
        """Exchange versions with the server. Raises SessionLostError."""
        self._channel.settimeout(max(0.0, deadline - time.monotonic()))
        self._outbox.append(struct.pack(">IBI", 5, INIT, _VERSION_SPOKEN))
        self._send_outbox()
        if not self._begun.wait(deadline - time.monotonic()):
            raise SessionLostError("it took longer than it may as a whole", silent=True)
        if self._loss is not None:
            raise self.loss()
        self._channel.settimeout(self.stall_timeout_s)
        threading.Thread(target=self._open_window, name="sftp-window", daemon=True).start()

    def greeting(self) -> str:
        """Return the text that the server sent in place of a packet; empty if it sent none."""
        return cleaned(self._packets.text().decode("utf-8", "replace").strip())

    def exchange(self, requests: Sequence[tuple[int, bytes]], *, deadline: float) -> list[Reply]:
        """Send all requests, and return their replies in the same order.

        Raises:
            SessionLostError: not all replies came in time.
        """
        with Caller(self, deadline=deadline) as caller:
            numbers = caller.request(*requests)
            replies = {reply.request: reply for reply in (caller.reply() for _ in numbers)}
        return [replies[number] for number in numbers]

    def close_handle(self, handle: bytes) -> None:
        """Close the handle, unless the session is lost, without waiting for the reply.

        While others wait for replies, the request is sent with their next one.
        """
        with contextlib.suppress(SessionLostError):
            self.post([(CLOSE, string(handle))], None, closes=handle)
            if not self._due:
                self._send_outbox()

    def retire(self, *, silent: bool = False) -> None:
        """Take no new callers."""
        self._retired = True
        self.silent = self.silent or silent

    def close(self) -> None:
        """Close the channel; waiting callers get an error. May be called twice."""
        self._lose(SessionLostError("the connection was closed"))
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the connection may be gone already
            self._channel.close()

    # For callers

    def request(self, requests: Sequence[tuple[int, bytes]], caller: "Caller") -> range:
        """Send requests (kind and body), and return their numbers.

        Raises:
            SessionLostError: the session has ended.
        """
        numbers = self.post(requests, caller)
        self._send_outbox()
        return numbers

    def post(
        self, requests: Sequence[tuple[int, bytes]], caller: "Caller | None", *, closes: bytes | None = None
    ) -> range:
        """Queue requests to be sent with the next ones. Replies are dropped if `caller` is `None`."""
        with self._booking:
            if self._loss is not None:
                raise self.loss()
            if self._number + len(requests) >= _NUMBERS:
                self._number = 0
            numbers = range(self._number + 1, self._number + 1 + len(requests))
            self._number += len(requests)
            self._callers.update(dict.fromkeys(numbers, caller))
            if closes is not None:
                self._closing[numbers[0]] = closes
            if caller is not None:
                self._due += len(requests)
                caller.due += len(requests)
            for number, (kind, body) in zip(numbers, requests, strict=True):
                self._outbox.append(struct.pack(">IBI", len(body) + 5, kind, number) + body)
        return numbers

    def forget(self, numbers: range | list[int], caller: "Caller") -> None:
        """Drop the replies to the caller's requests."""
        with self._booking:
            for number in numbers:
                if self._callers.get(number) is caller:
                    self._callers[number] = None
                    self._due -= 1

    def count_as_read(self, replies: Iterable[Reply]) -> None:
        """Stop counting the replies among those that fill the memory."""
        large = sum(len(reply.body) for reply in replies if len(reply.body) > PACKET_MAX)
        if large:
            with self._booking:
                self._packets.large_bytes -= large

    def is_queued(self, caller: "Caller") -> bool:
        """Return whether the server is sending replies, and owes other callers earlier ones."""
        with self._booking:
            first = next((one for one in self._callers.values() if one is not None), caller)
        return first is not caller and time.monotonic() - self._packets.heard_at < self.stall_timeout_s

    def loss(self) -> SessionLostError:
        """Return the error that ended the session, as a new object."""
        assert self._loss is not None
        return SessionLostError(str(self._loss), silent=self._loss.silent)

    # The channel

    def _send_outbox(self) -> None:
        """Send what is queued, unless another thread is sending it."""
        while self._outbox and self._sending.acquire(blocking=False):
            try:
                with self._booking:
                    packets = b"".join(self._outbox)
                    self._outbox.clear()
                self._channel.sendall(packets)
            except TimeoutError as err:
                loss = SessionLostError(f"the server took nothing for {self.stall_timeout_s:g} s", silent=True)
                self._lose(loss)
                raise loss from err
            except (OSError, EOFError, paramiko.SSHException) as err:
                loss = SessionLostError("the connection broke")
                self._lose(loss)
                raise loss from err
            finally:
                self._sending.release()

    def _open_window(self) -> None:
        """Let the server send more when much has arrived, until the channel ends.

        paramiko's thread cannot do it: it must not wait for the server to receive.
        """
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the channel's end is noticed elsewhere
            while self._channel.recv(1):
                pass

    def _dispatch(self, kind: int, number: int, body: bytes) -> None:
        """Give a reply to its caller. Called by paramiko's thread. Raises SessionLostError."""
        if not self._begun.is_set():
            if kind != VERSION:
                raise not_sftp(f"it began with a packet of kind {kind}")
            self._begun.set()
            return
        with self._booking:
            if number not in self._callers:
                raise not_sftp(f"it answers request {number}, which was not made")
            reply = Reply(request=number, kind=kind, body=body)
            if kind == HANDLE:
                self._keep_apart(reply.handle(""))
            self._handles.discard(self._closing.pop(number, b""))
            caller = self._callers.pop(number)
            if caller is not None:
                self._due -= 1
                self._packets.large_bytes += len(body) if len(body) > PACKET_MAX else 0
                caller.receive(reply)

    def _keep_apart(self, handle: bytes) -> None:
        """Note an open handle. Raise SessionLostError if it is already open: reads from it would mix two files up."""
        if handle in self._handles:
            self.handles_kept_apart = len(self._handles)
            raise SessionLostError("the server gave the handle of an open file to another one")
        self._handles.add(handle)

    def _lose(self, loss: SessionLostError) -> None:
        """End the session, with this error if it is the first, and wake its callers."""
        with self._booking:
            self._loss = self._loss or loss
            self.silent = self.silent or loss.silent
            for caller in self._callers.values():
                if caller is not None:
                    caller.ring()
            self._callers.clear()
            self._outbox.clear()
            self._due = 0
            self._begun.set()


class Caller:
    """One thread's requests on a session and their replies. A context manager: leaving it drops outstanding replies.

    Attributes:
        due: number of outstanding replies. Guarded by the session.
    """

    def __init__(self, session: SftpSession, *, deadline: float) -> None:
        self.due = 0
        self._session = session
        self._deadline = deadline
        self._requests: list[range] = []
        self._replies: deque[Reply] = deque()
        self._unread_bytes = 0
        self._bell = threading.Lock()
        self._bell.acquire()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.due:
            for numbers in self._requests:
                self._session.forget(numbers, self)
        self._session.count_as_read(self._replies)

    def request(self, *requests: tuple[int, bytes]) -> range:
        """Send requests (kind and body), and return their numbers.

        Raises:
            SessionLostError: the session has ended.
        """
        numbers = self._session.request(requests, self)
        self._requests.append(numbers)
        return numbers

    def reply(self) -> Reply:
        """Return the next reply, to any of this caller's requests.

        Raises:
            SessionLostError: the session has ended, nothing came for the stall time-out, or the deadline passed. In the
                last two cases other callers may finish, but the session takes no new ones.
        """
        while True:
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                raise self._timed_out("it took longer than it may as a whole")
            if self._replies:
                reply = self._replies.popleft()
                self._unread_bytes = 0
                self._session.count_as_read((reply,))
                return reply
            if not self._session.alive:
                raise self._session.loss()
            if self._bell.acquire(timeout=min(left_s, self._session.stall_timeout_s)) or self._replies:
                continue
            if left_s > self._session.stall_timeout_s and not self._session.is_queued(self):
                raise self._timed_out(f"nothing came for {self._session.stall_timeout_s:g} s")

    def receive(self, reply: Reply) -> None:
        """Add a reply, and wake the caller if it is the last outstanding one, or a READ's worth of replies is unread.

        Called by paramiko's thread. Waking once for many replies reduces contention for the interpreter lock.
        """
        self.due -= 1
        self._replies.append(reply)
        self._unread_bytes += len(reply.body)
        if not self.due or self._unread_bytes >= self._session.read_size:
            self.ring()

    def ring(self) -> None:
        """Wake the caller, or keep it from sleeping the next time. Called by one thread at a time."""
        if self._bell.locked():
            self._bell.release()

    def _timed_out(self, message: str) -> SessionLostError:
        self._session.retire(silent=True)
        return SessionLostError(message, silent=True)
