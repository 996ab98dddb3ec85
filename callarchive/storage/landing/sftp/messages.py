"""SFTP version 3 as bytes: requests, replies and attributes (draft-ietf-secsh-filexfer-02)."""

import stat
import struct
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from callarchive.domain.errors import AccessDeniedError, ArchiveError, ObjectNotFoundError, TransferError
from callarchive.domain.foreign_text import cleaned

INIT, VERSION, OPEN, CLOSE, READ, LSTAT, FSTAT = 1, 2, 3, 4, 5, 7, 8
OPENDIR, READDIR, REMOVE, REALPATH, STAT = 11, 12, 13, 16, 17
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
OK, END_OF_FILE, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = 0, 1, 2, 3, 4
BAD_MESSAGE, NO_CONNECTION, CONNECTION_LOST, UNSUPPORTED = 5, 6, 7, 8
REFUSALS = frozenset((PERMISSION_DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED))
"""The statuses of a server that does not know a request, or was configured not to serve it."""

OPEN_TO_READ = struct.pack(">II", 1, 0)
"""The end of an OPEN after the name: the flag for reading, and no attributes."""

READ_SIZE_MAX = 255 * 1024
"""OpenSSH's limit for a reply's data; servers with shorter replies get smaller requests."""
READ_SIZE_MIN = 32 * 1024
"""The size that every server must support in one reply."""

_TEXT_MAX = 200


class SessionLostError(TransferError):
    """The connection ended, timed out or broke the protocol. The session is unusable.

    Attributes:
        silent: it timed out.
    """

    def __init__(self, message: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.silent = silent


def not_sftp(what: str) -> SessionLostError:
    """Return the error for data that breaks the protocol."""
    return SessionLostError(f"the server does not speak SFTP: {what}")


@dataclass(frozen=True, slots=True)
class Attributes:
    """A file's attributes; `None` where the server sends none."""

    size_bytes: int | None = None
    mode: int | None = None
    modified_at: datetime | None = None

    def has_kind(self) -> bool:
        """Return whether the kind of file is known: some servers send permissions alone, or nothing."""
        return self.mode is not None and stat.S_IFMT(self.mode) != 0

    def is_folder(self) -> bool:
        """Return whether this is a folder."""
        return self.mode is not None and stat.S_ISDIR(self.mode)

    def is_link(self) -> bool:
        """Return whether this is a symbolic link."""
        return self.mode is not None and stat.S_ISLNK(self.mode)

    def is_file(self) -> bool:
        """Return whether this is a regular file: no folder, symbolic link, pipe or device."""
        return self.mode is not None and stat.S_ISREG(self.mode)

    def completed_by(self, other: "Attributes") -> "Attributes":
        """Return these attributes, with what they lack from `other`."""
        return Attributes(
            size_bytes=other.size_bytes if self.size_bytes is None else self.size_bytes,
            mode=self.mode if self.has_kind() or not other.has_kind() else other.mode,
            modified_at=self.modified_at or other.modified_at,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a folder. `name` is not decoded."""

    name: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply to one request. `body` of DATA is the data without its length."""

    request: int
    kind: int
    body: bytes

    @property
    def status(self) -> int | None:
        """The status code; `None` if the reply has the requested data."""
        return _take_int(self.body, 0) if self.kind == STATUS else None

    def refusal(self, place: str, *, to: str = "read it") -> ArchiveError:
        """Return the error for a status. `place`, and what the request was made `to` do, are for its message."""
        code = self.status
        if code is None:
            return SessionLostError(f"{place}: the server answered with a packet of kind {self.kind}, out of place")
        if code == NO_SUCH_FILE:
            return ObjectNotFoundError(f"{place}: there is no such file")
        if code == PERMISSION_DENIED:
            return AccessDeniedError(f"{place}: the server denies permission; have its owner let this user {to}")
        if code in (NO_CONNECTION, CONNECTION_LOST):
            return SessionLostError(f"{place}: the server lost its connection to what it serves")
        return TransferError(f"{place}: the server says {self._status_text()!r} (SFTP status {code})")

    def _status_text(self) -> str:
        try:
            raw, _ = _take_string(self.body, 4)
        except SessionLostError:  # some servers send the bare code
            return ""
        return cleaned(raw.decode("utf-8", "replace"), limit=_TEXT_MAX)

    def handle(self, place: str) -> bytes:
        """Return the handle in the reply. Raises what `refusal` returns."""
        if self.kind != HANDLE:
            raise self.refusal(place)
        return _take_string(self.body, 0)[0]

    def data(self, place: str) -> bytes:
        """Return the data in the reply. Raises what `refusal` returns."""
        if self.kind != DATA:
            raise self.refusal(place)
        return self.body

    def attributes(self, place: str) -> Attributes:
        """Return the attributes in the reply. Raises what `refusal` returns."""
        if self.kind != ATTRS:
            raise self.refusal(place)
        return _take_attributes(self.body, 0)[0]

    def stated(self, place: str, *, unknown: Collection[int]) -> Attributes:
        """Return the attributes in the reply; none of them if its status is in `unknown`: the server does not serve LSTAT."""
        return Attributes() if self.status in unknown else self.attributes(place)

    def entries(self, place: str) -> list[Entry]:
        """Return the entries in the reply. Raises what `refusal` returns."""
        if self.kind != NAME:
            raise self.refusal(place)
        count = _take_int(self.body, 0)
        at, entries = 4, []
        for _ in range(count):
            name, at = _take_string(self.body, at)
            long_name, at = _take_string(self.body, at)
            attributes, at = _take_attributes(self.body, at)
            entries.append(Entry(name, _with_mode(attributes, long_name)))
        return entries


def string(value: bytes) -> bytes:
    """Return the value as an SFTP string, with its length in front."""
    return struct.pack(">I", len(value)) + value


def read_request(handle: bytes, offset: int, length: int) -> tuple[int, bytes]:
    """Return a READ of `length` bytes at `offset`."""
    return READ, string(handle) + struct.pack(">QI", offset, length)


def _take_string(body: bytes, at: int) -> tuple[bytes, int]:
    length = _take_int(body, at)
    end = at + 4 + length
    if end > len(body):
        raise torn()
    return body[at + 4 : end], end


def _take_int(body: bytes, at: int) -> int:
    if at + 4 > len(body):
        raise torn()
    return int.from_bytes(body[at : at + 4], "big")


def torn() -> SessionLostError:
    """Return the error for a packet that is shorter than it says."""
    return not_sftp("a packet ends too early")


def _take_attributes(body: bytes, at: int) -> tuple[Attributes, int]:
    """Return the attributes (section 5 of the draft) and the position after them."""
    flags = _take_int(body, at)
    at += 4
    size = mode = modified_at = None
    if flags & 0x1:
        size = _take_int(body, at) << 32 | _take_int(body, at + 4)
        at += 8
    if flags & 0x2:
        at += 8  # owner and group
    if flags & 0x4:
        mode = _take_int(body, at)
        at += 4
    if flags & 0x8:
        modified_at = datetime.fromtimestamp(_take_int(body, at + 4), UTC)
        at += 8
    if flags & 0x80000000:
        count = _take_int(body, at)
        at += 4
        for _ in range(count):
            _, at = _take_string(body, at)
            _, at = _take_string(body, at)
    return Attributes(size_bytes=size, mode=mode, modified_at=modified_at), at


def _with_mode(attributes: Attributes, long_name: bytes) -> Attributes:
    """Return the attributes with the kind of file from an `ls -l` line.

    Some servers send no mode in listings, others the mode of a link's target; the line describes the link itself.
    """
    kind = {b"d": stat.S_IFDIR, b"-": stat.S_IFREG, b"l": stat.S_IFLNK}.get(long_name[:1])
    if kind is None or (attributes.has_kind() and kind != stat.S_IFLNK):
        return attributes
    return Attributes(size_bytes=attributes.size_bytes, mode=kind, modified_at=attributes.modified_at)
