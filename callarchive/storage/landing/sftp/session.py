"""One SFTP session: one SSH channel that many threads share. Requests go out as they are made, replies to whom they concern.

Each thread talks as a `Caller`: it sends several requests before it awaits the first reply, so a round trip is paid once
for many, and it waits for its own replies only, so that a file that stalls holds up no other. A thread of the session's
own reads the channel and never waits for a caller: what arrives for one that is slow stays with that caller, who bounds it
by how much it asks for. What the packets hold is in `sftp_messages`, which requests make a listing in `sftp_tree`, which
make a download in `sftp_download`, and where sessions come from in `sftp_pool`.
"""

import contextlib
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence

import paramiko

from callarchive.storage.landing.sftp.messages import (
    CLOSE,
    INIT,
    READ_SIZE_MAX,
    VERSION,
    Reply,
    SessionLostError,
    not_sftp,
    string,
)
from callarchive.storage.landing.sftp.packet_reader import PacketReader

_VERSION_SPOKEN = 3
_NUMBERS = 1 << 32


class SftpSession:
    """An SFTP session on an open channel whose `sftp` subsystem was started. Thread-safe once `start` has returned.

    Attributes:
        read_size: how many bytes one READ may ask for, as far as the server's replies have told.
        stall_timeout_s: how long a caller waits while nothing comes for it.
        silent: whether somebody waited in vain: the connection under it may be dead, too.
    """

    def __init__(self, channel: paramiko.Channel, *, stall_timeout_s: float) -> None:
        self.read_size = READ_SIZE_MAX
        self.stall_timeout_s = stall_timeout_s
        self.silent = False
        self._channel = channel
        self._outbox: list[bytes] = []
        self._sending = threading.Lock()
        self._booking = threading.Lock()  # guards what follows up to `_loss`; held for moments only
        self._number = 0
        self._callers: dict[int, Caller | None] = {}  # by request, in the order of asking; null: nobody wants the reply
        self._due = 0  # how many replies somebody wants
        self._loss: SessionLostError | None = None
        self._retired = False
        self._packets = PacketReader(channel)

    @property
    def usable(self) -> bool:
        """Whether it is worth while to call here for something new."""
        return self._loss is None and not self._retired and not self._channel.closed

    @property
    def alive(self) -> bool:
        """Whether replies may still come."""
        return self._loss is None

    def start(self, *, deadline: float) -> None:
        """The two sides have told each other their versions.

        Raises:
            SessionLostError: they have not.
        """
        self._channel.settimeout(max(0.0, deadline - time.monotonic()))
        self._outbox.append(struct.pack(">IBI", 5, INIT, _VERSION_SPOKEN))
        self._send_outbox()
        kind, _, _ = self._packets.read()
        if kind != VERSION:
            raise not_sftp(f"it began with a packet of kind {kind}")
        self._channel.settimeout(self.stall_timeout_s)
        self._packets.waits_for_ever = True
        threading.Thread(target=self._hand_out, name="sftp-replies", daemon=True).start()

    def exchange(self, requests: Sequence[tuple[int, bytes]], *, deadline: float) -> list[Reply]:
        """The replies to the requests, in the order of the requests. All are sent before the first reply is awaited.

        Raises:
            SessionLostError: not all of them came in time.
        """
        with Caller(self, deadline=deadline) as caller:
            numbers = caller.request(*requests)
            replies = {reply.request: reply for reply in (caller.reply() for _ in numbers)}
        return [replies[number] for number in numbers]

    def close_handle(self, handle: bytes) -> None:
        """The server is asked to let go of the handle, unless the session is lost; its reply is not awaited.

        While others wait for replies the request goes with the next one of theirs: the last of them sends it at the latest.
        """
        with contextlib.suppress(SessionLostError):
            self.post([(CLOSE, string(handle))], None)
            if not self._due:
                self._send_outbox()

    def retire(self, *, silent: bool = False) -> None:
        """Those who are here may finish, nobody new should come."""
        self._retired = True
        self.silent = self.silent or silent

    def close(self) -> None:
        """The channel is closed, and whoever waits for a reply stops waiting. May be called twice."""
        self._lose(SessionLostError("the connection was closed"))
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the connection may be gone already
            self._channel.close()

    # For callers

    def request(self, requests: Sequence[tuple[int, bytes]], caller: "Caller") -> range:
        """The requests (kind and body) are on their way, in this order. Replies will bear the numbers returned.

        Raises:
            SessionLostError: the session has ended.
        """
        numbers = self.post(requests, caller)
        self._send_outbox()
        return numbers

    def post(self, requests: Sequence[tuple[int, bytes]], caller: "Caller | None") -> range:
        """The requests will go with the next that are sent. Null for a caller when nobody wants the replies."""
        with self._booking:
            if self._loss is not None:
                raise self.loss()
            if self._number + len(requests) >= _NUMBERS:
                self._number = 0
            numbers = range(self._number + 1, self._number + 1 + len(requests))
            self._number += len(requests)
            self._callers.update(dict.fromkeys(numbers, caller))
            if caller is not None:
                self._due += len(requests)
                caller.due += len(requests)
            for number, (kind, body) in zip(numbers, requests, strict=True):
                self._outbox.append(struct.pack(">IBI", len(body) + 5, kind, number) + body)
        return numbers

    def forget(self, numbers: range | list[int], caller: "Caller") -> None:
        """Replies to the caller's requests will be dropped when they come."""
        with self._booking:
            for number in numbers:
                if self._callers.get(number) is caller:
                    self._callers[number] = None
                    self._due -= 1

    def in_a_queue(self, caller: "Caller") -> bool:
        """Whether replies come, and some were asked for before the caller's: the server is busy with others first."""
        with self._booking:
            first = next((one for one in self._callers.values() if one is not None), caller)
        return first is not caller and time.monotonic() - self._packets.heard_at < self.stall_timeout_s

    def loss(self) -> SessionLostError:
        """What ended the session, as an error of the caller's own."""
        assert self._loss is not None
        return SessionLostError(str(self._loss), silent=self._loss.silent)

    # The channel

    def _send_outbox(self) -> None:
        """What is in the outbox is sent, by this thread or by the one that is sending already."""
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

    def _hand_out(self) -> None:
        """Every reply is given to its caller, until the channel ends."""
        try:
            while True:
                kind, number, body = self._packets.read()
                with self._booking:
                    if number not in self._callers:
                        raise not_sftp(f"it answers request {number}, which was not made")
                    caller = self._callers.pop(number)
                    if caller is not None:
                        self._due -= 1
                        caller.receive(Reply(request=number, kind=kind, body=body))
        except SessionLostError as err:
            self._lose(err)

    def _lose(self, loss: SessionLostError) -> None:
        """The session has ended, by this loss if it is the first, and its callers have been told."""
        with self._booking:
            self._loss = self._loss or loss
            self.silent = self.silent or loss.silent
            for caller in self._callers.values():
                if caller is not None:
                    caller.ring()
            self._callers.clear()
            self._outbox.clear()
            self._due = 0


class Caller:
    """One thread's requests on a session and the replies to them. A context manager: replies that are due when it is left
    are dropped when they come.

    Attributes:
        due: how many replies have not come. Guarded by the session.
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

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        if self.due:
            for numbers in self._requests:
                self._session.forget(numbers, self)

    def request(self, *requests: tuple[int, bytes]) -> range:
        """The requests (kind and body) are on their way, in this order. Returns the numbers that replies will bear.

        Raises:
            SessionLostError: the session has ended.
        """
        numbers = self._session.request(requests, self)
        self._requests.append(numbers)
        return numbers

    def reply(self) -> Reply:
        """The next reply to this caller, whichever of its requests it answers.

        Raises:
            SessionLostError: the session has ended, nothing came for the stall time-out, or the deadline passed. In the
                last two cases others may go on with the session, which gets no new callers.
        """
        while True:
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                raise self._in_vain("it took longer than it may as a whole")
            if self._replies:
                reply = self._replies.popleft()
                self._unread_bytes = 0
                return reply
            if not self._session.alive:
                raise self._session.loss()
            if self._bell.acquire(timeout=min(left_s, self._session.stall_timeout_s)) or self._replies:
                continue
            if left_s > self._session.stall_timeout_s and not self._session.in_a_queue(self):
                raise self._in_vain(f"nothing came for {self._session.stall_timeout_s:g} s")

    def receive(self, reply: Reply) -> None:
        """The reply is there for the caller, who is woken when it was the last that is due or a READ's worth of them came.

        Called by the session's thread. One wake-up for many replies is what keeps threads from fighting for the
        interpreter.
        """
        self.due -= 1
        self._replies.append(reply)
        self._unread_bytes += len(reply.body)
        if not self.due or self._unread_bytes >= self._session.read_size:
            self.ring()

    def ring(self) -> None:
        """The caller is woken, or will not go to sleep the next time. Called by one thread at a time."""
        if self._bell.locked():
            self._bell.release()

    def _in_vain(self, message: str) -> SessionLostError:
        self._session.retire(silent=True)
        return SessionLostError(message, silent=True)
