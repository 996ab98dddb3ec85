"""SFTP packets from an SSH channel."""

import threading
import time
from collections import deque
from collections.abc import Callable

from paramiko.buffered_pipe import BufferedPipe

from callarchive.storage.landing.sftp.messages import DATA, NAME, SessionLostError, not_sftp, torn

PACKET_MAX = 1 << 20
"""No reply but a listing is larger."""
LISTINGS_MAX = 64 << 20
"""A listing in one reply, as Erlang's server sends it: some 250,000 entries. Also for several unread ones together."""
_PLAUSIBLE_MAX = 1 << 30
_CONFIRMED_BYTES = 2 << 20
"""How much may arrive before the server may send as much again; well below the window."""
_HEADER_BYTES = 9


class PacketReader(BufferedPipe):  # type: ignore[type-arg]  # generic in the stubs alone
    """Takes packets apart as they arrive, in paramiko's thread, which saves a thread switch and two copies of the bytes.

    It is the channel's `in_buffer`. `recv` on the channel returns no data: it only lets the server send more.

    Args:
        on_packet: is called with each packet: its kind, the number of its request (of VERSION the version), and its body,
            of DATA the data alone. It raises SessionLostError to end the reading.
        on_end: is called at least once, with the error that ended the reading: the channel has ended, a listing is too
            large, or the data is not SFTP.

    Attributes:
        large_bytes: size of the listings in memory that are larger than other packets, and not read yet.
        heard_at: when data last arrived, by `time.monotonic`.
    """

    def __init__(
        self, on_packet: Callable[[int, int, bytes], None], on_end: Callable[[SessionLostError], None]
    ) -> None:
        super().__init__()
        self.large_bytes = 0
        self.heard_at = time.monotonic()
        self._on_packet, self._on_end = on_packet, on_end
        self._pieces: deque[bytes | memoryview] = deque()
        self._size = 0
        self._header = b""  # of the packet whose body is arriving
        self._missing = _HEADER_BYTES  # size of the header, or the body, that is arriving
        self._is_over = self._has_ended = False
        self._changed = threading.Condition()
        self._unconfirmed_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self.heard_at = time.monotonic()
        if self._is_over:
            return
        self._pieces.append(data)
        self._size += len(data)
        try:
            while self._size >= self._missing:
                self._take_packet()
        except SessionLostError as err:
            self._is_over = True
            self._on_end(err)
        with self._changed:
            self._unconfirmed_bytes += len(data)
            if self._unconfirmed_bytes >= _CONFIRMED_BYTES:
                self._changed.notify()

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - without a limit
        """Wait until much has arrived, and return as many bytes: paramiko then lets the server send more. At the end, none."""
        with self._changed:
            self._changed.wait_for(lambda: self._unconfirmed_bytes >= _CONFIRMED_BYTES or self._has_ended)
            count, self._unconfirmed_bytes = self._unconfirmed_bytes, 0
            return bytes(0 if self._has_ended else count)

    def close(self) -> None:
        """Note the end of the channel."""
        super().close()
        with self._changed:
            self._has_ended = True
            self._changed.notify()
        self._on_end(SessionLostError("the server closed the connection"))

    def text(self) -> bytes:
        """Return what was received and is no packet, if it is text: a packet begins with a NUL, its length's first byte."""
        unread = self._header + b"".join(self._pieces)
        return b"" if unread[:1] in (b"", b"\0") else unread

    def _take_packet(self) -> None:
        """Take the header, or the body, that has arrived."""
        if not self._header:
            self._header = self._take(_HEADER_BYTES)
            self._missing = self._length() + 4 - _HEADER_BYTES
            return
        kind, number = self._header[4], int.from_bytes(self._header[5:], "big")
        body_bytes, rest_bytes = self._missing, 0
        if kind == DATA:
            body_bytes = int.from_bytes(self._take(min(4, self._missing)), "big")
            rest_bytes = self._missing - 4 - body_bytes
            if rest_bytes < 0:
                raise torn()
        body = self._take(body_bytes)
        self._take(rest_bytes)
        self._header, self._missing = b"", _HEADER_BYTES
        self._on_packet(kind, number, body)

    def _length(self) -> int:
        """Return the length that the header announces. Raises SessionLostError."""
        length = int.from_bytes(self._header[:4], "big")
        is_listing = self._header[4] == NAME and length <= _PLAUSIBLE_MAX
        if not 5 <= length <= (_PLAUSIBLE_MAX if is_listing else PACKET_MAX):
            raise not_sftp(f"it announces a packet of {length} bytes")
        if length > PACKET_MAX and self.large_bytes + length > LISTINGS_MAX:
            raise SessionLostError(
                f"the server sends a folder's whole listing in one reply of {length >> 20} MiB"
                f"{f', beside others of {self.large_bytes >> 20} MiB' if self.large_bytes else ''}; "
                f"up to {LISTINGS_MAX >> 20} MiB are read: keep fewer files in one folder"
            )
        return length

    def _take(self, count: int) -> bytes:
        """Return the next bytes, which have arrived."""
        taken: list[bytes | memoryview] = []
        self._size -= count
        while count:
            piece = self._pieces.popleft()
            if len(piece) > count:
                self._pieces.appendleft(memoryview(piece)[count:])
                piece = memoryview(piece)[:count]
            taken.append(piece)
            count -= len(piece)
        return b"".join(taken)
