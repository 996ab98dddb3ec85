"""SFTP packets from an SSH channel."""

import threading
import time

import paramiko
from paramiko.buffered_pipe import BufferedPipe, PipeTimeout

from callarchive.storage.landing.sftp.messages import NAME, SessionLostError, not_sftp

PACKET_MAX = 1 << 20
"""No reply but a listing is larger."""
LISTINGS_MAX = 64 << 20
"""A listing in one reply, as Erlang's server sends it: some 250,000 entries. Also for several unread ones together."""
_PLAUSIBLE_MAX = 1 << 30
_AWAITED_MAX = 1 << 18
"""Well below the window: the server sends no more of a listing before a part of it is read."""


class _Arrivals(BufferedPipe):  # type: ignore[type-arg]  # generic in the stubs alone
    """What arrived on a channel, for one reader.

    paramiko wakes the reader for each SSH packet, several times for one reply of SFTP, and copies the bytes twice.

    Attributes:
        awaited: the number of bytes for which the reader is woken, unless it times out.
        heard_at: when data last arrived, by `time.monotonic`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.awaited = 1
        self.heard_at = time.monotonic()
        self._changed = threading.Condition()
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False

    def feed(self, data: bytes) -> None:
        with self._changed:
            self.heard_at = time.monotonic()
            self._pieces.append(data)
            self._size += len(data)
            if self._size >= self.awaited:
                self._changed.notify()

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - all is returned
        with self._changed:
            enough = self._changed.wait_for(lambda: self._size >= self.awaited or self._ended, timeout)
            if not enough and not self._size:
                raise PipeTimeout
            pieces, self._pieces, self._size = self._pieces, [], 0
        return b"".join(pieces)

    def close(self) -> None:
        super().close()
        with self._changed:
            self._ended = True
            self._changed.notify()


class PacketReader:
    """Reads packets from a channel. For one thread.

    Attributes:
        waits_for_ever: whether a time-out of the channel is ignored.
        large_bytes: size of the listings in memory that are larger than other packets, and not read yet.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self.waits_for_ever = False
        self.large_bytes = 0
        self._channel = channel
        self._arrivals = channel.in_buffer = _Arrivals()
        if channel.closed or channel.eof_received:
            self._arrivals.close()
        self._received = b""
        self._read_to = 0

    @property
    def heard_at(self) -> float:
        """When data was last received, by `time.monotonic`."""
        return self._arrivals.heard_at

    def read(self) -> tuple[int, int, memoryview]:
        """Return the next packet: its kind, the number of its request (of VERSION the version), and its body.

        Raises:
            SessionLostError: the channel has ended, a listing is too large, or the data is not SFTP.
        """
        self._gather(9)
        length = int.from_bytes(self._received[self._read_to : self._read_to + 4], "big")
        is_listing = self._received[self._read_to + 4] == NAME and length <= _PLAUSIBLE_MAX
        if not 5 <= length <= (_PLAUSIBLE_MAX if is_listing else PACKET_MAX):
            raise not_sftp(f"it announces a packet of {length} bytes")
        if length > PACKET_MAX and self.large_bytes + length > LISTINGS_MAX:
            raise SessionLostError(
                f"the server sends a folder's whole listing in one reply of {length >> 20} MiB"
                f"{f', beside others of {self.large_bytes >> 20} MiB' if self.large_bytes else ''}; "
                f"up to {LISTINGS_MAX >> 20} MiB are read: keep fewer files in one folder"
            )
        self._gather(4 + length)
        begin = self._read_to + 4
        self._read_to = begin + length
        number = int.from_bytes(self._received[begin + 1 : begin + 5], "big")
        body = memoryview(self._received)[begin + 5 : self._read_to]
        if 4 * length < len(self._received):
            body = memoryview(bytes(body))  # a small reply must not keep a large buffer alive
        return self._received[begin], number, body

    def text(self) -> bytes:
        """Return what was received and is no packet, if it is text: a packet begins with a NUL, its length's first byte."""
        unread = self._received[self._read_to :]
        return b"" if unread[:1] in (b"", b"\0") else unread

    def _gather(self, count: int) -> None:
        """Receive until `_received` has at least this many unread bytes."""
        missing = count - (len(self._received) - self._read_to)
        if missing <= 0:
            return
        pieces = [self._received[self._read_to :]] if self._read_to < len(self._received) else []
        try:
            while missing > 0:
                self._arrivals.awaited = min(missing, _AWAITED_MAX)
                pieces.append(self._receive())
                missing -= len(pieces[-1])
        finally:
            self._received = b"".join(pieces)
            self._read_to = 0

    def _receive(self) -> bytes:
        while True:
            try:
                data = self._channel.recv(PACKET_MAX)
            except TimeoutError as err:
                if self.waits_for_ever:
                    continue  # the callers watch the time
                raise SessionLostError("it took longer than it may as a whole", silent=True) from err
            except (OSError, EOFError, paramiko.SSHException) as err:
                raise SessionLostError("the connection broke") from err
            if not data:
                raise SessionLostError("the server closed the connection")
            return data
