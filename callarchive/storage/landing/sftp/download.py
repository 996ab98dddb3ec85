"""Read one open file over an SFTP session, with several reads in flight.

A file whose size the server does not report is read twice to its end, and both readings must agree.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from callarchive.domain.errors import TransferError
from callarchive.domain.landing_objects import LandingObject, SourceEvidence
from callarchive.storage.landing.sftp.messages import (
    DATA,
    END_OF_FILE,
    READ_SIZE_MIN,
    Reply,
    SessionLostError,
    read_request,
)
from callarchive.storage.landing.sftp.session import Caller, SftpSession


class SftpDownload:
    """A file being read, of the size that the server reported when it was opened, if it reports one.

    Args:
        ahead_bytes: how far requests run ahead of the consumer; bounds the memory of a download.
    """

    def __init__(
        self, session: SftpSession, handle: bytes, described: LandingObject, *, deadline: float, ahead_bytes: int
    ) -> None:
        self.object = described
        self._session = session
        self._handle = handle
        self._deadline = deadline
        self._ahead_bytes = ahead_bytes
        self._begun = False

    def verify_md5(self, md5_hex: str) -> None:
        """Do nothing: SFTP servers keep no hash of a file."""

    def __iter__(self) -> Iterator[bytes]:
        if self._begun:
            raise TransferError(f"{self.object.uri}: its bytes were handed out already; open it again")
        self._begun = True
        try:
            if self.object.size_bytes is None:
                yield from self._twice()
                return
            with Caller(self._session, deadline=self._deadline) as caller:
                yield from self._chunks(caller, self.object.size_bytes)
            self.object = replace(self.object, evidence=SourceEvidence.SSH)
        except SessionLostError as err:
            self._session.retire()
            raise SessionLostError(f"{self.object.uri}: {err}", silent=err.silent) from err

    def _twice(self) -> Iterator[bytes]:
        """Yield the bytes up to the end, read them again, and compare."""
        first, second, size = hashlib.sha256(), hashlib.sha256(), 0
        with Caller(self._session, deadline=self._deadline) as caller:
            for chunk in self._chunks_to_the_end(caller):
                first.update(chunk)
                size += len(chunk)
                yield chunk
            for chunk in self._chunks_to_the_end(caller):
                second.update(chunk)
        if first.digest() != second.digest():
            raise TransferError(
                f"{self.object.uri}: the server reports no size, and reading it twice gave different bytes; "
                "it may not be complete yet"
            )
        self.object = replace(self.object, size_bytes=size, evidence=SourceEvidence.REREAD)

    def _chunks_to_the_end(self, caller: Caller) -> Iterator[bytes]:
        """Yield the bytes in order, up to the first offset where the server reports the end."""
        uri = self.object.uri
        asked: dict[int, tuple[int, int]] = {}
        arrived: dict[int, bytes] = {}
        handed_on = ask_at = 0
        end: int | None = None
        while end is None or handed_on < end or asked:
            wanted = []
            until = self._ask_until(handed_on, ask_at)
            while end is None and ask_at < until:
                wanted.append((ask_at, self._session.read_size))
                ask_at += self._session.read_size
            self._ask(caller, wanted, asked)
            reply = caller.reply()
            offset, length = asked.pop(reply.request)
            if _is_end(reply, self.object.uri):
                end = offset if end is None else min(end, offset)
            else:
                self._take(caller, reply, offset, length, asked, arrived)
            while handed_on in arrived:
                chunk = arrived.pop(handed_on)
                handed_on += len(chunk)
                yield chunk
            if end is not None and (handed_on > end or (arrived and max(arrived) >= end)):
                raise TransferError(f"{uri}: the server reports its end at byte {end}, and sends bytes behind it")

    def _take(
        self,
        caller: Caller,
        reply: Reply,
        offset: int,
        length: int,
        asked: dict[int, tuple[int, int]],
        arrived: dict[int, bytes],
    ) -> None:
        """Add the reply's data to `arrived`, and request what it lacks."""
        data = reply.data(self.object.uri)
        if not 0 < len(data) <= length:
            raise SessionLostError(f"the server sent {len(data)} bytes when asked for {length}")
        arrived[offset] = data
        if len(data) < length:
            self._session.read_size = min(self._session.read_size, max(len(data), READ_SIZE_MIN))
            self._ask(caller, [(offset + len(data), length - len(data))], asked)

    def _chunks(self, caller: Caller, size: int) -> Iterator[bytes]:
        """Yield the bytes in order."""
        uri = self.object.uri
        asked: dict[int, tuple[int, int]] = {}  # offset and length of each request without a reply
        arrived: dict[int, bytes] = {}  # data that arrived out of order, by offset
        handed_on = ask_at = 0
        end_seen = end_asked = False
        while handed_on < size or not end_seen:
            wanted = []
            until = self._ask_until(handed_on, ask_at)
            while ask_at < min(size, until):
                wanted.append((ask_at, min(self._session.read_size, size - ask_at)))
                ask_at += wanted[-1][1]
            if ask_at >= size and not end_asked:
                # The byte after the last: only its absence proves the size.
                wanted.append((size, 1))
                end_asked = True
            self._ask(caller, wanted, asked)
            reply = caller.reply()
            offset, length = asked.pop(reply.request)
            if _is_end(reply, uri):
                if offset < size:
                    raise TransferError(f"{uri} ended before byte {offset}; the server promised {size} bytes")
                end_seen = True
                continue
            if offset >= size and reply.kind == DATA:
                raise TransferError(f"{uri} goes on after byte {size}, where the server said that it ends")
            self._take(caller, reply, offset, length, asked, arrived)
            while handed_on in arrived:
                chunk = arrived.pop(handed_on)
                handed_on += len(chunk)
                yield chunk

    def _ask_until(self, handed_on: int, ask_at: int) -> int:
        """Return the offset up to which to request data: several READs share a packet."""
        return handed_on + self._ahead_bytes if ask_at - handed_on <= self._ahead_bytes * 3 // 4 else ask_at

    def _ask(self, caller: Caller, wanted: list[tuple[int, int]], asked: dict[int, tuple[int, int]]) -> None:
        if wanted:
            numbers = caller.request(*(read_request(self._handle, at, length) for at, length in wanted))
            asked.update(zip(numbers, wanted, strict=True))


def _is_end(reply: Reply, uri: str) -> bool:
    """Return whether the file ends where it was read: some servers send no bytes there, and no status."""
    return reply.status == END_OF_FILE or (reply.kind == DATA and not reply.data(uri))
