"""One SFTP session: requests and replies over one SSH channel, used by one thread at a time.

Several requests are sent before the first reply is awaited, so a round trip is paid once for many; every wait is
bounded. What the packets hold is in `sftp_messages`, which requests make a listing in `sftp`, which make a download in
`sftp_download`, and where sessions come from in `sftp_pool`.
"""

import contextlib
import struct
import time
from collections.abc import Iterable, Sequence

import paramiko

from callarchive.landing.sftp_messages import CLOSE, INIT, READ_SIZE_MAX, VERSION, Reply, SessionLostError, string

_VERSION_SPOKEN = 3
_PACKET_MAX = 1 << 20
_RECEIVE_AT_ONCE = 1 << 20


class SftpSession:
    """An SFTP session on an open channel whose `sftp` subsystem was started. Not thread-safe.

    Every method raises SessionLostError; after that only `close` may be called.
    """

    def __init__(self, channel: paramiko.Channel, *, stall_timeout_s: float) -> None:
        self.read_size = READ_SIZE_MAX
        self._channel = channel
        self._stall_timeout_s = stall_timeout_s
        self._received = bytearray()
        self._next_request = 0
        self._unwanted: set[int] = set()
        self._lost = False
        self._silent = False

    @property
    def silent(self) -> bool:
        """Whether it was lost because nothing came: the connection under it may be dead, too."""
        return self._silent

    @property
    def usable(self) -> bool:
        return not self._lost and not self._channel.closed

    def start(self, *, deadline: float) -> None:
        """The two sides have told each other their versions."""
        self._transmit(struct.pack(">IBI", 5, INIT, _VERSION_SPOKEN))
        packet = self._packet(deadline=deadline)
        if packet[0] != VERSION:
            raise self._nonsense(f"it began with a packet of kind {packet[0]}")

    def request(self, *requests: tuple[int, bytes]) -> list[int]:
        """The requests (kind and body) are on their way, in this order. Returns the numbers that replies will bear."""
        numbers = []
        packets = []
        for kind, body in requests:
            self._next_request = (self._next_request + 1) & 0xFFFFFFFF
            numbers.append(self._next_request)
            packets.append(struct.pack(">IBI", len(body) + 5, kind, self._next_request) + body)
        self._transmit(b"".join(packets))
        return numbers

    def forget(self, numbers: Iterable[int]) -> None:
        """Replies to these requests will be dropped when they come."""
        self._unwanted.update(numbers)

    def close_handle(self, handle: bytes) -> None:
        """The server has been asked to let go of the handle; its reply is not awaited."""
        self.forget(self.request((CLOSE, string(handle))))

    def reply(self, *, deadline: float) -> Reply:
        """The next reply that somebody wants, whichever request it answers."""
        while True:
            packet = self._packet(deadline=deadline)
            if len(packet) < 5:
                raise self._nonsense("a packet is too short")
            number = int.from_bytes(packet[1:5], "big")
            if number in self._unwanted:
                self._unwanted.discard(number)
                continue
            return Reply(request=number, kind=packet[0], body=packet[5:])

    def exchange(self, requests: Sequence[tuple[int, bytes]], *, deadline: float) -> list[Reply]:
        """The replies to the requests, in the order of the requests. All are sent before the first reply is awaited."""
        numbers = self.request(*requests)
        replies: dict[int, Reply] = {}
        while len(replies) < len(numbers):
            reply = self.reply(deadline=deadline)
            if reply.request not in numbers:
                raise self._nonsense(f"it answers request {reply.request}, which was not made")
            replies[reply.request] = reply
        return [replies[number] for number in numbers]

    def close(self) -> None:
        """The channel is closed. May be called twice, and from another thread, which then stops waiting."""
        self._lost = True
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the connection may be gone already
            self._channel.close()

    def _transmit(self, packets: bytes) -> None:
        self._channel.settimeout(self._stall_timeout_s)
        try:
            self._channel.sendall(packets)
        except TimeoutError as err:
            raise self._loss(f"the server took nothing for {self._stall_timeout_s:g} s", silent=True) from err
        except (OSError, EOFError, paramiko.SSHException) as err:
            raise self._loss("the connection broke") from err

    def _packet(self, *, deadline: float) -> bytes:
        """The next packet, from its kind on."""
        buffer = self._received
        while True:
            if len(buffer) >= 4:
                length = int.from_bytes(buffer[:4], "big")
                if not 1 <= length <= _PACKET_MAX:
                    raise self._nonsense(f"it announces a packet of {length} bytes")
                if len(buffer) >= 4 + length:
                    with memoryview(buffer) as view:
                        packet = bytes(view[4 : 4 + length])
                    del buffer[: 4 + length]
                    return packet
            buffer += self._receive(deadline=deadline)

    def _receive(self, *, deadline: float) -> bytes:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise self._loss("it took longer than it may as a whole", silent=True)
        self._channel.settimeout(min(left_s, self._stall_timeout_s))
        try:
            data = self._channel.recv(_RECEIVE_AT_ONCE)
        except TimeoutError as err:
            if left_s <= self._stall_timeout_s:
                raise self._loss("it took longer than it may as a whole", silent=True) from err
            raise self._loss(f"nothing came for {self._stall_timeout_s:g} s", silent=True) from err
        except (OSError, EOFError, paramiko.SSHException) as err:
            raise self._loss("the connection broke") from err
        if not data:
            raise self._loss("the server closed the connection")
        return data

    def _nonsense(self, what: str) -> SessionLostError:
        return self._loss(f"the server does not speak SFTP: {what}")

    def _loss(self, message: str, *, silent: bool = False) -> SessionLostError:
        self._lost = True
        self._silent = silent
        return SessionLostError(message, silent=silent)
