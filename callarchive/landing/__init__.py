"""Landings: the stores that 8x8 pushes recordings to. Read-only: nothing here writes to one.

Paths are relative to the landing's root (the prefix or folder in the account's `landing`), with `/` between parts,
already decoded, and checked by `places.check_path` before they get here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LandingObject:
    """An object as a listing, a stat or an opened download describes it.

    Attributes:
        path: relative to the landing's root.
        uri: the whole place, without credentials, for people and tables.
        etag: without quotes; null on SFTP.
        modified_at: null where the server does not tell.
    """

    path: str
    uri: str
    size_bytes: int
    etag: str | None = None
    modified_at: datetime | None = None

    def same_as(self, *, size_bytes: int, etag: str | None, modified_at: datetime | None) -> bool:
        """Whether this is, as far as the store tells, the object that those facts were read from."""
        if self.size_bytes != size_bytes:
            return False
        if self.etag is not None and etag is not None:
            return self.etag == etag
        return self.modified_at == modified_at


class Download(Protocol):
    """An object being read: what the store says it is, and its bytes once.

    Iterating yields non-empty chunks of at most 1 MiB and ends only when as many bytes came as `object.size_bytes` says.
    It raises TransferError when fewer or more came, when nothing came for the stall time-out, when the deadline for
    the whole object passed, or when the connection broke.
    """

    object: LandingObject

    def __iter__(self) -> Iterator[bytes]: ...

    def verify_md5(self, md5_hex: str) -> None:
        """Returns when the store's own hash of the object, if it has one, is that of the bytes that came.

        Need not be called for an object without an ETag.

        Raises:
            TransferError: it differs.
        """


class Landing(Protocol):
    """A place where 8x8 puts recordings. Thread-safe.

    Every method raises AccessDeniedError (credentials or permissions), HostKeyError (SFTP), or UnavailableError when the
    store cannot be reached after its own retries; each message names the landing.
    """

    uri: str
    concurrency: int
    """How many downloads at once do this landing good."""
    walks_folders: bool
    """Whether a listing goes from folder to folder, so that it is quicker when some are left out."""

    def list(self, folder: str) -> list[LandingObject]:
        """Every object below `folder`, at any depth; empty when there is no such folder."""

    def pages(self, folder: str, *, skip: Callable[[str], bool] | None = None) -> "Iterator[Sequence[LandingObject]]":
        """The same objects, a part at a time where the store gives them so: all of a landing may be a million.

        Folders for whose path `skip` is true may be left out. A landing that walks folders does so at any depth.
        """

    def uri_of(self, path: str) -> str:
        """The whole place of an object, without credentials, as listings give it. Contacts nothing."""

    def existing_folders(self, names: Sequence[str]) -> set[str]:
        """Those of the folders directly below the root that are there: costs about as much as to ask for one."""

    def open(self, path: str) -> AbstractContextManager[Download]:
        """Begins to read one object. Raises ObjectNotFoundError on entering when there is none."""

    def stat_many(self, paths: Iterable[str]) -> dict[str, LandingObject | None]:
        """What the store says of each path now, null for one that is not there. Costs far less than a read of each."""

    def check(self) -> None:
        """Returns when the landing can be listed."""

    def sample(self) -> LandingObject | None:
        """Some object below the root, or null if there is none; looks at no more than a few folders."""

    def close(self) -> None:
        """Lets go of connections. May be called twice."""
